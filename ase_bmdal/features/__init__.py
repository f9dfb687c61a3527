"""Gradient features of the network: what the selection methods measure distances in (TensorFlow)."""
