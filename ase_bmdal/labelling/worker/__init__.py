"""What runs next to the reference: the worker that takes a task, and the child process that computes it."""
