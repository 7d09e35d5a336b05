"""Sweeps: the runs of a grid of settings, their record `sweep.json`, and means over seeds and prompts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import infinities_as_text, write_json
from ..metrics.names import metric_info
from ..metrics.statistics import estimate
from ..text_tables import format_figure, format_table
from .grid import PROMPT_KEYS, SEED_KEY, Axis, expand_grid, format_value, short_names
from .result_files import damaged, read_json
from .run import Run
from .run_set import FAILED, FINISHED, Outcome, RunSet
from .trial import DIVERSITY, read_values

# Columns of the terminal's table after the diversities. All other metrics are in sweep.json.
SHOWN = ("colors", "class_accuracy", "psnr", "lpips", "seconds_per_step")


class Sweep(RunSet):
    """The runs of a grid. Their states, metrics and means are recorded in `sweep.json`.

    Args:
        command: command line that started the sweep.
        config: YAML file.
        axes: dotted keys of the config, each with its values.
        output: folder of the sweep.

    Raises:
        UserError: an impossible grid, or a folder with results of another config.
    """

    def __init__(self, command: str, config: str, axes: Sequence[Axis], output: Path) -> None:
        self.command, self.config, self.axes, self.output = command, config, axes, output
        super().__init__(_make_runs(config, axes, output), self._recorded_errors())

    def summary(self) -> list[dict[str, Any]]:
        """Means over the seeds and prompts of the finished runs, see `summarize`."""
        finished = [(each.run.settings, each.metrics) for each in self.of_state(FINISHED)]
        return summarize([(settings, metrics) for settings, metrics in finished if metrics is not None])

    def write(self) -> None:
        """Write sweep.json."""
        record = {
            "command": self.command,
            "config": self.config,
            "grid": {key: infinities_as_text(list(values)) for key, values in self.axes},
            "runs": [self._entry(outcome) for outcome in self.outcomes.values()],
            "summary": self.summary(),
        }
        write_json(self.output / "sweep.json", record)

    def _entry(self, outcome: Outcome) -> dict[str, Any]:
        run = outcome.run
        return {
            "tag": run.tag,
            "settings": infinities_as_text(run.settings),
            "state": outcome.state,
            "folder": run.folder.relative_to(self.output).as_posix(),
            "log": run.log.relative_to(self.output).as_posix(),
            "error": outcome.error,
            "metrics": outcome.metrics,
        }

    def _recorded_errors(self) -> dict[str, str]:
        """Errors of the runs that an earlier start recorded as failed, by tag."""
        file = self.output / "sweep.json"
        try:
            runs = read_json(file)["runs"] if file.is_file() else []
            return {run["tag"]: run["error"] for run in runs if run["state"] == FAILED}
        except (KeyError, TypeError) as error:
            raise damaged(file, error) from error


def one_run_for_each_value(runs: Sequence[Run]) -> list[Run]:
    """The first runs that together contain every value of every setting, except seeds and prompts."""
    seen: set[tuple[str, str]] = set()
    chosen: list[Run] = []
    for run in runs:
        values = {(key, json.dumps(value)) for key, value in _without_repetitions(run.settings).items()}
        if not chosen or values - seen:
            chosen.append(run)
            seen |= values
    return chosen


def summarize(finished: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Means of every metric for each combination of settings except seed and prompt, in the order of their first runs.

    Args:
        finished: settings and content of metrics.json of each finished run.

    Returns:
        rows {"settings", "runs", "figures": {key: {"mean", "interval"}}}, with keys as in `metrics.names`. The interval
        is a 95 % bootstrap interval over the runs, or None for a single run.
    """
    groups: dict[tuple, tuple[dict[str, Any], list[dict[str, float]]]] = {}
    for settings, metrics in finished:
        kept = _without_repetitions(settings)
        name = tuple((key, format_value(value)) for key, value in kept.items())
        groups.setdefault(name, (kept, []))[1].append(read_values(metrics))
    rows = []
    for kept, runs in groups.values():
        figures = {}
        for key in dict.fromkeys(key for run in runs for key in run):
            figures[key] = estimate([run[key] for run in runs if key in run]).record()
        rows.append({"settings": infinities_as_text(kept), "runs": len(runs), "figures": figures})
    return rows


def format_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of the rows of `summarize` for a terminal, without the settings that all rows share."""
    keys = list(dict.fromkeys(key for row in rows for key in row["settings"]))
    varied = [key for key in keys if len({format_value(row["settings"].get(key)) for row in rows}) > 1]
    names = short_names(varied)
    measured = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    shown = [*(key for key in measured if key.startswith(DIVERSITY)), *(key for key in SHOWN if key in measured)]
    forms = {key: f".{metric_info(key).digits}f" for key in shown}
    cells = []
    for row in rows:
        label = ", ".join(f"{names[key]} = {format_value(row['settings'].get(key))}" for key in varied)
        figures = [format_figure(row["figures"].get(key), form) for key, form in forms.items()]
        cells.append([label or "all", str(row["runs"]), *figures])
    return format_table(["settings", "runs", *(metric_info(key).title for key in shown)], cells)


def _make_runs(config: str, axes: Sequence[Axis], output: Path) -> list[Run]:
    """The runs of a grid.

    Raises:
        UserError: settings that the config does not accept, or a folder of results of another config.
    """
    from ..standalone.engine.checks import check_seed
    from ..standalone.utils.experiment import load_config

    runs = [Run(config, settings, output) for settings in expand_grid(axes)]
    for run in runs:
        resolved = load_config(config, cli_args=run.overrides(), n_gpus=1)
        check_seed(resolved.seed)
        run.check_folder(resolved)
    return runs


def _without_repetitions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without seed and prompt, over which means are taken."""
    return {key: value for key, value in settings.items() if key != SEED_KEY and key not in PROMPT_KEYS}
