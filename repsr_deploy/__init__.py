"""RepSR Deploy: train super-resolution networks with branches, fold them with a proof, export, measure and use them."""

import os

from repsr_deploy._version import __version__

__all__ = ["__version__"]

# ONNX Runtime 1.31 otherwise keeps an identity of the device and a database for its makers in the user's home
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
