"""Metrics of N answers to each of M inverse problems: one record for each image, with keys of `metrics/names.py`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..metrics import diversity, measurement_residual, reconstruction_metrics
from ..toyworld import ToyworldJudge, modes_covered
from .problem import Problem


@torch.no_grad()
def answer_metrics(
    answers: Tensor,
    truth: Tensor,
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None,
    networks: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    judge: ToyworldJudge | None = None,
    classes: Sequence[int | None] = (),
) -> list[dict[str, Any]]:
    """Quality and diversity of the answers to each image.

    Args:
        answers: (M, N, 3, H, W) in [0, 1].
        truth: the images that were measured, (M, 3, H, W) in [0, 1].
        lpips: network of `load_lpips`; None: LPIPS is left out.
        networks: feature networks of the diversity by name, (N, 3, H, W) -> (N, D).
        judge: classifier of the bundled world.
        classes: for each image the true class, an index into CLASSES, or None where it is unknown; needed by the judge.

    Returns:
        For each image:

        - `psnr`, `ssim`, `lpips`: mean over the answers; also for the best answer (`psnr_best` ...), for the pixel-wise
          mean of the answers (`psnr_of_mean` ...), and for each answer (`answers`, a list by metric).
        - `diversity_NETWORK`: diversity (38) of the answers.
        - `class_accuracy`: share of the answers in which the judge sees the true class; `colors` and `views`: number of
          different colors and views that it sees. Only for images of a known class.

    Raises:
        UserError: answers of another shape than the truth.

    Example:
        >>> truth = torch.zeros(1, 3, 16, 16)
        >>> [record] = answer_metrics(torch.stack([truth + 0.1, truth], 1), truth)
        >>> [round(value) for value in record["answers"]["psnr"]]
        [20, 100]
        >>> round(record["psnr"]), round(record["psnr_of_mean"])
        (60, 26)
    """
    records: list[dict[str, Any]] = [{"answers": {}} for _ in answers]
    for name, values in reconstruction_metrics(answers, truth, lpips).items():
        for i, record in enumerate(records):
            record[name] = float(values["mean"][i])
            record[f"{name}_best"] = float(values["best"][i])
            record[f"{name}_of_mean"] = float(values["mean_image"][i])
            record["answers"][name] = values["particles"][i].tolist()
    for images, record in zip(answers, records, strict=True):
        for name, network in (networks or {}).items():
            record[f"diversity_{name}"] = float(diversity(network(images)))
    for images, record, true_class in zip(answers, records, classes, strict=False):
        if judge is not None and true_class is not None:
            labels = judge.predict(images)
            record["class_accuracy"] = float((labels["class"] == true_class).float().mean())
            record["colors"], record["views"] = modes_covered(labels["color"]), modes_covered(labels["view"])
    return records


@torch.no_grad()
def answer_residuals(answers: Tensor, problem: Problem) -> Tensor:
    """Root mean square of y - A(x) for each answer.

    Args:
        answers: (M, N, 3, H, W) in [0, 1].
        problem: measurement of each image, and the operator.

    Returns:
        (M, N), in units of y.
    """
    produced = problem.apply_all(answers).unbind(1)
    return torch.stack([measurement_residual(problem.measurement, each) for each in produced], 1)


def mean_metrics(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every number over the images that have it.

    Args:
        records: of `answer_metrics`.

    Example:
        >>> mean_metrics([{"psnr": 20.0, "colors": 2}, {"psnr": 30.0}])
        {'psnr': 25.0, 'colors': 2.0}
    """
    keys = dict.fromkeys(key for record in records for key, value in record.items() if isinstance(value, int | float))
    values = {key: [record[key] for record in records if key in record] for key in keys}
    return {key: sum(found) / len(found) for key, found in values.items()}
