"""What the runs of an experiment of the paper show, and the paper's numbers beside it."""

import json
import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..evaluation.equal_diversity import compare_curves
from ..evaluation.image_sets import Group, ImageSet, read_image_sets
from ..evaluation.instruments import TO_REFERENCE, WITHIN_GROUPS, Instruments, Options
from ..files import data_path, write_whole
from ..metrics.statistics import estimate
from ..runs.grid import PROMPT_KEYS, SEED_KEY
from ..runs.run_set import RunSet
from ..runs.trial import versions
from .definitions import BUNDLED, Arm, Experiment
from .planning import PARTICLE_KEYS, Case

METRICS = {  # by key: name, and which way is better
    "diversity_clip": ("diversity, CLIP", "higher"),
    "diversity_dino": ("diversity, DINO", "higher"),
    "vendi_clip": ("Vendi score, CLIP", "higher"),
    "vendi_dino": ("Vendi score, DINO", "higher"),
    "clip_score": ("CLIP score", "higher"),
    "aesthetic": ("aesthetic score", "higher"),
    "frechet": ("Fréchet distance", "lower"),
    "kid": ("kernel distance", "lower"),
    "recall": ("recall", "higher"),
    "coverage": ("coverage", "higher"),
    "class_accuracy": ("class accuracy", "higher"),
    "view_accuracy": ("view accuracy", "higher"),
    "colors": ("colors", "higher"),
}
DIVERSITIES = ("diversity_clip", "diversity_dino")
QUALITIES = ("clip_score", "aesthetic", "frechet")


class Panel:
    """The instruments of an experiment: those for each case, and those that need many images.

    Args:
        bundled: whether the bundled world's own networks measure.
        reference: folder of images, or None; on the bundled world its renders.
        device: where the networks run.
    """

    def __init__(self, bundled: bool, reference: str | None, device: str) -> None:
        of_case = (*WITHIN_GROUPS, "clip_score", "truth" if bundled else "aesthetic")
        reference = BUNDLED if bundled else reference
        self._of_case = Instruments(Options(metrics=of_case, device=device))
        self._of_all = Instruments(Options(metrics=tuple(TO_REFERENCE), reference=reference, device=device))

    def of_case(self, images: ImageSet) -> dict[str, float]:
        """Every metric of one case, a mean over its cameras in 3D."""
        return {key: found.mean for key, found in self._of_case.measure(images).items() if key in METRICS}

    def of_all(self, sets: Sequence[ImageSet]) -> dict[str, Any]:
        """Figures of all cases of an arm together against the reference, which have no interval."""
        if not sets or self._of_all.options.reference is None:
            return {}
        together = ImageSet("all", [group for each in sets for group in each.groups], sets[0].is_bundled)
        found = self._of_all.measure(together)
        return {key: {"mean": each.mean, "interval": None} for key, each in found.items() if key in METRICS}

    def left_out(self) -> list[dict[str, Any]]:
        """What could not be measured, and why."""
        reasons = {**self._of_case.left_out, **self._of_all.left_out}
        return [{"metrics": keys, "why": why} for why, keys in reasons.items()]


class Reproduction(RunSet):
    """The runs of an experiment, and `reproduction.json`, which says what they show.

    Args:
        name: of the figure or table.
        cases: see `plan`.
        output: folder of reproduction.json; the runs lie where the cases say.
        command: what the user typed.
        prior: name for `load_prior`.
        quick: whether it is a short version.
    """

    def __init__(
        self,
        name: str,
        experiment: Experiment,
        cases: Sequence[Case],
        output: Path,
        command: str,
        prior: str,
        quick: bool,
    ) -> None:
        self.name, self.experiment, self.cases = name, experiment, cases
        self.output, self.command, self.prior, self.quick = output, command, prior, quick
        super().__init__(list({run.tag: run for case in cases for run in case.runs}.values()))

    def measure(self, instruments: Panel) -> dict[str, Any]:
        """Measure what has finished, and write reproduction.json.

        Args:
            instruments: see `Panel`.

        Returns:
            its content.

        Raises:
            UserError: nothing has finished.
        """
        arms = [self._measure_arm(arm, instruments) for arm in self.experiment.arms]
        if not any(arm["runs"] for arm in arms):
            raise UserError(f"Nothing of {self.name} has finished; run it without --no-run.")
        record: dict[str, Any] = {
            "name": self.name,
            "title": self.experiment.title,
            "claim": self.experiment.claim,
            "command": self.command,
            "versions": versions("torchmetrics"),
            "prior": self.prior,
            "quick": self.quick,
            "particles": self._common(PARTICLE_KEYS),
            "steps": self._common(("trainer.max_steps",)),
            "networks": {"guide": "dino", "judge": "clip"},
            "metrics": {key: {"name": name, "better": better} for key, (name, better) in METRICS.items()},
            "arms": arms,
            "missing": self._missing(),
            "left_out": instruments.left_out(),
        }
        record["comparisons"] = _compare(record, self.experiment.compared_curves)
        self.output.mkdir(parents=True, exist_ok=True)
        write_whole(self.output / "reproduction.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        return record

    def _measure_arm(self, arm: Arm, instruments: Panel) -> dict[str, Any]:
        cases = [case for case in self.cases if case.arm is arm]
        finished = [case for case in cases if all(run.metrics() is not None for run in case.runs)]
        sets = [_image_set(case) for case in finished]
        values = [instruments.of_case(each) for each in sets]
        runs = [
            {
                "prompt": case.prompt,
                "seed": case.seed,
                "folders": [_relative(run.folder, self.output) for run in case.runs],
                "values": of_case,
            }
            for case, of_case in zip(finished, values, strict=True)
        ]
        first = cases[0].runs[0]
        return {
            "label": arm.label,
            "curve": arm.curve,
            "role": arm.role,
            "position": arm.position,
            "config": Path(first.config).relative_to(data_path("configs").parent).as_posix(),
            "settings": {key: value for key, value in first.settings.items() if key not in (SEED_KEY, *PROMPT_KEYS)},
            "runs": runs,
            "figures": _figures(runs) | instruments.of_all(sets),
            "paper": arm.paper,
        }

    def _missing(self) -> list[dict[str, Any]]:
        """Cases without all of their runs, and why, where that is known."""
        missing = []
        for case in self.cases:
            states = [self.outcomes[run.tag] for run in case.runs if self.outcomes[run.tag].metrics is None]
            if states:
                error = next((each.error for each in states if each.error), None)
                missing.append({"arm": case.arm.label, "prompt": case.prompt, "seed": case.seed, "error": error})
        return missing

    def _common(self, keys: Sequence[str]) -> Any:
        """What most cases of methods that step many times have under one of these keys; all of them show it."""
        cases = [case for case in self.cases if not case.arm.separate and case.arm.role != "bound"]
        found = [case.runs[0].settings[key] for case in cases for key in keys if key in case.runs[0].settings]
        return max(set(found), key=found.count) if found else None


def _compare(record: Mapping[str, Any], pairs: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Each pair of curves at equal diversity, in each measure of quality; what cannot be compared is left out."""
    compared = []
    for first, second in pairs:
        for diversity in DIVERSITIES:
            for quality in QUALITIES:
                found = compare_curves(record, first, second, diversity, quality)
                if found is not None:
                    compared.append({"curves": [first, second], "diversity": diversity, "quality": quality, **found})
    return compared


def _image_set(case: Case) -> ImageSet:
    """The images of a case; of separate runs together, in one group."""
    sets = read_image_sets([run.folder for run in case.runs])
    if len(sets) == 1:
        return sets[0]
    images = [image for each in sets for group in each.groups for image in group.images]
    return ImageSet(case.arm.label, [Group(images, case.prompt)], sets[0].is_bundled, None)


def _figures(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and interval of every metric over the cases, by prompt and seed."""
    figures = {}
    for key in METRICS:
        measured = [run for run in runs if key in run["values"]]
        if measured:
            prompts = [run["prompt"] for run in measured]
            figures[key] = estimate([run["values"][key] for run in measured], prompts).record()
    return figures


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()
