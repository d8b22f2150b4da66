"""The graph folder: any ONNX graph into the cheapest equal one."""
