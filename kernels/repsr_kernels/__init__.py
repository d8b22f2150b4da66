"""Kernels between a network and pictures: one source for GPUs and processors, with a readable reference of each."""
