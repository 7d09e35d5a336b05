"""`judge_objects`: the judge's metrics of N objects rendered from V cameras."""

from typing import Any

import torch
from torch import Tensor

from .judge import ToyworldJudge
from .truth import modes_covered
from .world import view_of

MARGIN = 10.0  # degrees; closer to the boundary between two views, a render shows both


@torch.no_grad()
def judge_objects(
    images: Tensor,
    azimuth: Tensor,
    elevation: Tensor,
    judge: ToyworldJudge,
    object_class: int | None = None,
) -> dict[str, Any]:
    """Colors, class accuracy and view accuracy of N objects, according to the bundled world's judge.

    Args:
        images: (N, V, 3, H, W) in [0, 1].
        azimuth: azimuths of the cameras, degrees, (V,).
        elevation: elevations of the cameras, degrees, (V,).
        judge: classifier that took no part in the guidance.
        object_class: index into CLASSES of the class that the prompt names; None: it names none.

    Returns:
        `colors`: number of colors of the objects, where an object has the color of most of its renders;
        `view_accuracy`: share of renders whose predicted side (front, side, back) matches the camera, without renders
        near the boundary between two sides; None if all are. It is low for Janus objects, whose front is seen from
        several sides. With `object_class` also `class_accuracy`, the share of renders of that class, and
        `class_accuracy_each`, a list of the N objects' shares.
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
    """True for each camera (V,) whose view stays the same if the camera moves by MARGIN."""
    moved = [
        view_of(azimuth + a, elevation + e) for a, e in ((-MARGIN, 0), (MARGIN, 0), (0, -MARGIN), (0, MARGIN), (0, 0))
    ]
    return (torch.stack(moved) == moved[0]).all(0)
