"""The package, the help of each command and the answer to a mistake start without the heavy libraries."""

import json
import subprocess
import sys

import pytest
from threestudio_rsd.reproduce.experiment_files import list_experiments

HEAVY = ("torch", "numpy", "PIL", "diffusers", "transformers", "pytorch_lightning", "omegaconf", "matplotlib", "scipy")
COMMANDS = [
    "launch",
    "demo",
    "demo 3d",
    "demo inverse",
    "evaluate",
    "sweep",
    "reproduce",
    "report",
    "app",
    "toy",
    "toyworld",
]
COMMANDS += [f"toyworld {name}" for name in ("render", "check", "card", "train", "examples")]
COMMANDS += [f"reproduce {name}" for name in list_experiments()]
PROGRAM = """
import contextlib, io, json, sys
import threestudio_rsd

def run(line):
    from threestudio_rsd.cli.main import main

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        try:
            code = main(line.split())
        except SystemExit as end:
            code = end.code
    return code, shown.getvalue()

lines, heavy = json.loads(sys.argv[1]), json.loads(sys.argv[2])
results = {"import threestudio_rsd": (0, "", [name for name in heavy if name in sys.modules])}
for line in lines:
    code, shown = run(line)
    results[line] = code, shown, [name for name in heavy if name in sys.modules]
json.dump(results, sys.stdout)
"""


@pytest.fixture(scope="module")
def results() -> dict[str, tuple[int, str, list[str]]]:
    """Exit code, output, and heavy libraries that are loaded afterwards, for each command line, in one process."""
    lines = ["--help", "lunch", "--hlep", "launch --config nosuch.yaml --train", "reproduce fig99", "reproduce --list"]
    lines += ["launch --config configs/text2image/sds.yaml --train --mistyped=3"]
    lines += [f"{command} {option}" for command in COMMANDS for option in ("--help", "--mistyped")]
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines), json.dumps(HEAVY)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(finished.stdout)


def test_no_heavy_library_is_imported(results):
    assert {line: heavy for line, (_, _, heavy) in results.items() if heavy} == {}


def test_help_exits_with_0_and_mistakes_with_2(results):
    for line, (code, shown, _) in results.items():
        assert code == (0 if "--help" in line or "--list" in line or "import" in line else 2), (line, shown)


def test_mistakes_are_answered_in_one_line(results):
    for line, (code, shown, _) in results.items():
        if code:
            assert shown.startswith("rsd: error: "), line
            assert shown.count("\n") == 1, line
