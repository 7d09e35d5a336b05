"""Measuring the runs of an experiment: `reproduction.json`, with the paper's numbers beside ours."""

import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..evaluation.equal_diversity import compare_curves
from ..evaluation.image_sets import Group, ImageSet, read_image_sets
from ..evaluation.instruments import TO_REFERENCE, WITHIN_GROUPS, Instruments, Options
from ..files import data_path, infinities_as_text, write_json
from ..metrics.names import metric_info
from ..metrics.statistics import Estimate, estimate
from ..runs.grid import PROMPT_KEYS, SEED_KEY
from ..runs.run_set import FINISHED, RunSet
from ..runs.trial import read_values, versions
from .definitions import Experiment, Setting
from .planning import PARTICLE_KEYS, PlannedCase

KEYS = (  # of metrics/names.py, in the order of the tables
    "diversity_clip",
    "diversity_dino",
    "vendi_clip",
    "vendi_dino",
    "clip_score",
    "aesthetic",
    "frechet",
    "kid",
    "recall",
    "coverage",
    "class_accuracy",
    "view_accuracy",
    "colors",
    "network_calls_per_particle",
    "seconds_per_particle",
)
COST_KEYS = KEYS[-2:]  # read from metrics.json of the runs
BETTER = {True: "higher", False: "lower", None: ""}  # direction of a metric in reproduction.json
GUIDE, HELD_OUT = "dino", "clip"  # feature networks: of the repulsion, and one that took no part in it
DIVERSITIES = ("diversity_clip", "diversity_dino")
QUALITIES = ("clip_score", "aesthetic", "frechet")


class Panel:
    """Instruments of an experiment: metrics of each case, and metrics that need the images of many cases.

    Args:
        bundled: whether the bundled world's own networks measure.
        reference: folder of images that the images are compared with, or `bundled`, renders of the bundled world; None:
            no comparison.
        device: device of the networks.
    """

    def __init__(self, bundled: bool, reference: str | None, device: str) -> None:
        of_case = (*WITHIN_GROUPS, "clip_score", "truth" if bundled else "aesthetic")
        self._of_case = Instruments(Options(metrics=of_case, device=device))
        self._of_all = Instruments(Options(metrics=tuple(TO_REFERENCE), reference=reference, device=device))

    def of_case(self, images: ImageSet) -> dict[str, float]:
        """Metrics of one case by key; in 3D means over the cameras.

        Args:
            images: images of the case.
        """
        return {key: found.mean for key, found in self._of_case.measure(images).items() if key in KEYS}

    def of_all(self, sets: Sequence[ImageSet]) -> dict[str, Any]:
        """Metrics of all cases of a setting together against the reference; they have no interval.

        Args:
            sets: images of each case.

        Returns:
            `Estimate.record` by metric.
        """
        if not sets or self._of_all.options.reference is None:
            return {}
        together = ImageSet("all", [group for each in sets for group in each.groups], sets[0].is_bundled)
        found = self._of_all.measure(together)
        return {key: Estimate(each.mean).record() for key, each in found.items() if key in KEYS}

    def left_out(self) -> list[dict[str, Any]]:
        """Metrics that could not be measured, with the reason."""
        reasons = {**self._of_case.left_out, **self._of_all.left_out}
        return [{"metrics": keys, "why": why} for why, keys in reasons.items()]


class Reproduction(RunSet):
    """The runs of an experiment, and `reproduction.json` with their metrics.

    Args:
        name: figure or table.
        experiment: its definition.
        cases: planned cases, see `plan`.
        output: folder of reproduction.json; the runs lie where the cases say.
        command: command line of the user.
        prior: name for `load_prior`.
        quick: whether this is the short version.
    """

    def __init__(
        self,
        name: str,
        experiment: Experiment,
        cases: Sequence[PlannedCase],
        output: Path,
        command: str,
        prior: str,
        quick: bool,
    ) -> None:
        self.name, self.experiment, self.cases = name, experiment, cases
        self.output, self.command, self.prior, self.quick = output, command, prior, quick
        super().__init__(list({run.tag: run for case in cases for run in case.runs}.values()))

    def measure(self, instruments: Panel) -> dict[str, Any]:
        """Measure the finished cases, and write reproduction.json.

        Args:
            instruments: metrics and networks.

        Returns:
            Content of reproduction.json.

        Raises:
            UserError: no case has finished.
        """
        settings = [self._measure_setting(setting, instruments) for setting in self.experiment.settings]
        if not any(setting["runs"] for setting in settings):
            raise UserError(f"Nothing of {self.name} has finished; run it without --no-run.")
        record: dict[str, Any] = {
            "name": self.name,
            "title": self.experiment.title,
            "claim": self.experiment.claim,
            "command": self.command,
            "versions": versions("torchmetrics"),
            "prior": self.prior,
            "quick": self.quick,
            "particles": self._most_common(PARTICLE_KEYS),
            "steps": self._most_common(("trainer.max_steps",)),
            "networks": {"guide": GUIDE, "held_out": HELD_OUT},
            "metrics": {key: _describe(key) for key in KEYS},
            "settings": settings,
            "missing": self._missing(),
            "left_out": instruments.left_out(),
        }
        record["comparisons"] = _compare(record, self.experiment.compared_curves)
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(self.output / "reproduction.json", record)
        return record

    def _measure_setting(self, setting: Setting, instruments: Panel) -> dict[str, Any]:
        cases = [case for case in self.cases if case.setting is setting]
        finished = [case for case in cases if all(self.outcomes[run.tag].state == FINISHED for run in case.runs)]
        sets = [_image_set(case) for case in finished]
        values = [instruments.of_case(each) | self._costs(case) for case, each in zip(finished, sets, strict=True)]
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
        overrides = {key: value for key, value in first.settings.items() if key not in (SEED_KEY, *PROMPT_KEYS)}
        return {
            "label": setting.label,
            "curve": setting.curve,
            "role": setting.role,
            "position": setting.position,
            "config": Path(first.config).relative_to(data_path("configs").parent).as_posix(),
            "overrides": infinities_as_text(overrides),
            "runs": runs,
            "figures": _estimates(runs) | instruments.of_all(sets),
            "paper": setting.paper,
        }

    def _costs(self, case: PlannedCase) -> dict[str, float]:
        """COST_KEYS of a finished case, means over its runs; those that a run did not record are left out."""
        recorded = [read_values(self.outcomes[run.tag].metrics or {}) for run in case.runs]
        return {
            key: sum(each[key] for each in recorded) / len(recorded)
            for key in COST_KEYS
            if all(key in each for each in recorded)
        }

    def _missing(self) -> list[dict[str, Any]]:
        """Cases with unfinished runs, with the error where one is known."""
        missing = []
        for case in self.cases:
            states = [self.outcomes[run.tag] for run in case.runs if self.outcomes[run.tag].metrics is None]
            if states:
                error = next((each.error for each in states if each.error), None)
                missing.append(
                    {"setting": case.setting.label, "prompt": case.prompt, "seed": case.seed, "error": error}
                )
        return missing

    def _most_common(self, keys: Sequence[str]) -> Any:
        """Most common value under one of these keys, among the joint runs of iterative methods; all runs have it."""
        cases = [case for case in self.cases if not case.setting.separate and case.setting.role != "bound"]
        found = [case.runs[0].settings[key] for case in cases for key in keys if key in case.runs[0].settings]
        return max(set(found), key=found.count) if found else None


def _describe(key: str) -> dict[str, str]:
    """Title and direction of a metric, for reproduction.json."""
    info = metric_info(key)
    return {"name": info.title, "better": BETTER[info.higher_is_better]}


def _compare(record: Mapping[str, Any], pairs: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Each pair of curves at equal diversity, by each quality metric; pairs without a shared range are left out."""
    compared = []
    for first, second in pairs:
        for diversity in DIVERSITIES:
            for quality in QUALITIES:
                found = compare_curves(record, first, second, diversity, quality)
                if found is not None:
                    compared.append({"curves": [first, second], "diversity": diversity, "quality": quality, **found})
    return compared


def _image_set(case: PlannedCase) -> ImageSet:
    """Images of a case; those of separate runs form one group."""
    sets = read_image_sets([run.folder for run in case.runs])
    if len(sets) == 1:
        return sets[0]
    images = [image for each in sets for group in each.groups for image in group.images]
    return ImageSet(case.setting.label, [Group(images, case.prompt)], sets[0].is_bundled, None)


def _estimates(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`Estimate.record` of every metric over the cases, with prompts as clusters."""
    figures = {}
    for key in KEYS:
        measured = [run for run in runs if key in run["values"]]
        if measured:
            prompts = [run["prompt"] for run in measured]
            figures[key] = estimate([run["values"][key] for run in measured], prompts).record()
    return figures


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()
