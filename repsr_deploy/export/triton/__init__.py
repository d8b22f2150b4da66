"""Model repositories of Triton Inference Server: a folder with `config.pbtxt` and numbered versions of one model."""

from repsr_deploy.export.triton.config import BACKENDS, Backend, Serving
from repsr_deploy.export.triton.repository import Added, add_model

__all__ = ["BACKENDS", "Added", "Backend", "Serving", "add_model"]
