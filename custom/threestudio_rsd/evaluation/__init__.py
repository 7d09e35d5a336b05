"""Metrics of image sets from runs, folders and files."""

from .equal_diversity import compare_curves
from .image_sets import Group, ImageSet, read_image_sets
from .instruments import Instruments, Measurement, Options

__all__ = ["Group", "ImageSet", "Instruments", "Measurement", "Options", "compare_curves", "read_image_sets"]
