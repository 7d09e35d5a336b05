"""Image files: reading images of any size and mode, and writing PNG files."""

from .reading import list_images, open_image, read_image, read_images, to_tensor
from .saving import save_grid, save_image

__all__ = ["list_images", "open_image", "read_image", "read_images", "save_grid", "save_image", "to_tensor"]
