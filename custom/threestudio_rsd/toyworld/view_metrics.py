"""Measures of N objects that are each seen from V cameras: images (N, V, 3, H, W) in [0, 1]."""

from typing import Any

import torch
from torch import Tensor

from .judge import ToyworldJudge
from .truth import modes_covered
from .world import view_of

MARGIN = 10.0  # degrees from the boundary of two faces within which a view shows both


@torch.no_grad()
def judge_objects(
    images: Tensor,
    azimuth: Tensor,
    elevation: Tensor,
    judge: ToyworldJudge,
    object_class: int | None = None,
) -> dict[str, Any]:
    """What the bundled world's judge sees in N objects.

    Args:
        images: (N, V, 3, H, W) in [0, 1].
        azimuth, elevation: of the cameras, degrees, (V,).
        judge: classifier that took no part in the guidance.
        object_class: index into CLASSES of what the prompt names, if it names one.

    Returns:
        `colors`: how many colors the objects have, each being that of most of its views; `class_accuracy`:
        share of the views that show the class (with `object_class`), also `class_accuracy_each` (N values);
        `view_accuracy`: share of the views whose face is the one that the camera looks at, of those that are not near
        a boundary of two faces, None if there are none: a Janus object shows its front to more cameras than it should.
    """
    n, v = images.shape[:2]
    labels = {name: label.unflatten(0, (n, v)) for name, label in judge.predict(images.flatten(0, 1)).items()}
    clear = _shows_one_face(azimuth, elevation)
    correct_face = (labels["view"] == view_of(azimuth, elevation).to(labels["view"].device))[:, clear]
    result: dict[str, Any] = {
        "colors": modes_covered(labels["color"].mode(dim=1).values),
        "view_accuracy": float(correct_face.float().mean()) if clear.any() else None,
    }
    if object_class is not None:
        correct = (labels["class"] == object_class).float()
        result["class_accuracy"] = float(correct.mean())
        result["class_accuracy_each"] = correct.mean(1).tolist()
    return result


def _shows_one_face(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Whether a camera (V,) sees the same of VIEWS if it moves by MARGIN to either side."""
    moved = [
        view_of(azimuth + a, elevation + e) for a, e in ((-MARGIN, 0), (MARGIN, 0), (0, -MARGIN), (0, MARGIN), (0, 0))
    ]
    return (torch.stack(moved) == moved[0]).all(0)
