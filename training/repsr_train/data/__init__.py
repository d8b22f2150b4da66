"""Photographs as training crops: folders and stores of them, MATLAB's LR images, crops without state to save."""

from repsr_train.data.crops import CropSampler
from repsr_train.data.folder import load_data, load_photographs
from repsr_train.data.pair import Pair, PhotoSet
from repsr_train.data.photograph import list_photographs

__all__ = ["CropSampler", "Pair", "PhotoSet", "list_photographs", "load_data", "load_photographs"]
