"""NVIDIA GPUs: driver, the context that a process shares, kernels launched by PyCUDA, a pipeline around a network."""
