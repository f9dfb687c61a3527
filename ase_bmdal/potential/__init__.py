"""The Gaussian-moment neural network: architecture, gradients, training, files (TensorFlow)."""
