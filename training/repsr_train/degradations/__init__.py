"""Degradations: what happens to photographs on their way to a low-resolution picture."""
