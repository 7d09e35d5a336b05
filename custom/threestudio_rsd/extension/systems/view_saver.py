"""Saving the views of an evaluation: images, videos, a contact sheet and metrics.json."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...files import write_json
from ...images import save_grid
from ...metrics import spread_views, view_diversity
from ...toyworld import ToyworldJudge, judge_objects
from ...toyworld.captions import named_attributes

FPS = 30  # frames per second of the videos; threestudio


class ViewSaver:
    """Collects the renders of all particles, view by view, and saves them with the system's methods.

    Args:
        system: a `ParticleLift3DSystem`.
        name: name of the folder and the files, such as it100-test.
    """

    def __init__(self, system: Any, name: str) -> None:
        self.system = system
        self.name = name
        self.cameras: list[tuple[float, float]] = []  # azimuth and elevation of each view, degrees
        self.images: list[Tensor] = []  # images of each view, (N, H, W, 3)

    def save_row(self, out: dict[str, Any], index: int) -> None:
        """Save one view as a picture with a row for each particle.

        Args:
            out: output of the renderer, (N, H, W, C) tensors.
            index: index of the view.
        """
        rows = [view_cells(out, particle) for particle in range(len(out["comp_rgb"]))]
        self.system.save_image_grid(f"{self.name}-{index}.png", rows, name=self.name, step=self.system.true_global_step)

    def add(self, out: dict[str, Any], batch: dict[str, Any]) -> None:
        """Save one view of every particle, and keep it for `finish`.

        Args:
            out: output of the renderer, (N, H, W, C) tensors.
            batch: batch of the data module, with one view.
        """
        index = int(batch["index"][0])
        for particle in range(len(out["comp_rgb"])):
            self.system.save_image_grid(f"{self._folder(particle)}/{index}.png", view_cells(out, particle))
        rgb = out["comp_rgb"].detach().float().cpu()
        cells = [{"type": "rgb", "img": image, "kwargs": {}} for image in rgb]
        self.system.save_image_grid(f"{self.name}/all/{index}.png", cells)
        self.images.append(rgb)
        self.cameras.append((float(batch["azimuth"][0]), float(batch["elevation"][0])))

    def finish(self, facts: dict[str, Any]) -> None:
        """Save videos, a contact sheet and metrics.json of the added views.

        Args:
            facts: further entries of metrics.json.
        """
        if not self.images:
            return
        step = self.system.true_global_step
        for particle in range(len(self.images[0])):
            folder = self._folder(particle)
            self.system.save_img_sequence(folder, folder, r"(\d+)\.png", fps=FPS, name="test", step=step)
        self.system.save_img_sequence(self.name, f"{self.name}/all", r"(\d+)\.png", fps=FPS, name="test", step=step)
        chosen = spread_views(len(self.images))
        images = torch.stack([self.images[i] for i in chosen], 1).permute(0, 1, 4, 2, 3)  # (N, V, 3, H, W)
        sheet = Path(self.system.get_save_path(f"{self.name}-sheet.png"))
        save_grid(images.flatten(0, 1), sheet, columns=len(chosen))
        azimuth, elevation = torch.tensor([self.cameras[i] for i in chosen]).unbind(1)
        metrics = facts | self._measure(images, azimuth, elevation)
        write_json(Path(self.system.get_save_path("metrics.json")), metrics)

    def _measure(self, images: Tensor, azimuth: Tensor, elevation: Tensor) -> dict[str, Any]:
        system = self.system
        images = images.to(system.device)
        diversity = view_diversity(images, system.measuring_networks())
        result: dict[str, Any] = {
            "views": images.shape[1],
            "diversity": diversity,
            "similarity": {name: 1 - value for name, value in diversity.items()},
        }
        if system.is_bundled:
            judge = ToyworldJudge.bundled(system.device)
            object_class, _ = named_attributes(system.cfg.prompt_processor["prompt"])
            result |= judge_objects(images, azimuth, elevation, judge, object_class)
        return result

    def _folder(self, particle: int) -> str:
        return f"{self.name}/particle_{particle:02d}"


def view_cells(out: dict[str, Any], index: int = 0) -> list[dict[str, Any]]:
    """Cells of `save_image_grid` for one view: color, normals if there are any, and opacity.

    Args:
        out: output of the renderer: `comp_rgb` (B, H, W, 3), optionally `comp_normal` (B, H, W, 3) and `opacity`
            (B, H, W, 1).
        index: index of the view.
    """
    pictures = [out[name][index] for name in ("comp_rgb", "comp_normal") if name in out]
    cells: list[dict[str, Any]] = [{"type": "rgb", "img": image, "kwargs": {}} for image in pictures]
    if "opacity" not in out:  # some renderers of Gaussians return none
        return cells
    opacity = out["opacity"][index, :, :, 0]
    return [*cells, {"type": "grayscale", "img": opacity, "kwargs": {"cmap": None, "data_range": (0, 1)}}]
