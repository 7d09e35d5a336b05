"""Pictures of what a renderer returned."""

from typing import Any


def view_cells(out: dict[str, Any], index: int = 0) -> list[dict[str, Any]]:
    """Cells for `save_image_grid`: color, normals if there are any, opacity of one view.

    Args:
        out: `comp_rgb` (B, H, W, 3) and, perhaps, `comp_normal` (B, H, W, 3) and `opacity` (B, H, W, 1).
        index: of the view.
    """
    pictures = [out[name][index] for name in ("comp_rgb", "comp_normal") if name in out]
    cells: list[dict[str, Any]] = [{"type": "rgb", "img": image, "kwargs": {}} for image in pictures]
    if "opacity" not in out:  # some renderers of Gaussians
        return cells
    opacity = out["opacity"][index, :, :, 0]
    return [*cells, {"type": "grayscale", "img": opacity, "kwargs": {"cmap": None, "data_range": (0, 1)}}]
