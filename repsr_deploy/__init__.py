"""RepSR Deploy: train super-resolution networks with branches, fold them with a proof, export, measure and use them."""

from repsr_deploy._version import __version__

__all__ = ["__version__"]
