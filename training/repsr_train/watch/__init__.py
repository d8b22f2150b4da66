"""What people watch while a network trains: a progress line, metrics, curves, sample pictures, TensorBoard."""
