"""The Open Inference Protocol (KServe v2) with Triton's binary tensors: what its documents say, apart from HTTP."""
