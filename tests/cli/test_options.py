"""The argument parser of `rsd`: speed of the help, shared types, and errors in one sentence."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from threestudio_rsd.cli.main import build_parser, main, run_command
from threestudio_rsd.errors import UserError

CUSTOM = Path(__file__).parents[2] / "custom"
HEAVY = ("torch", "pytorch_lightning", "diffusers", "transformers", "matplotlib", "omegaconf", "numpy")


@pytest.mark.parametrize("arguments", [["--help"], ["lunch"], ["demo", "--gamma", "0"]])
def test_help_and_mistakes_import_no_heavy_library(arguments) -> None:
    program = (
        "import sys\n"
        "from threestudio_rsd.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PYTHONPATH": str(CUSTOM)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - started < 5  # about 0.2 s on an idle machine


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "-n", "0"], "--n-particles=0 is impossible; accepted: an integer of at least 1."),
        (["demo", "--gamma", "nan"], "--gamma=nan is impossible; accepted: a number above 0."),
        (["demo", "3d", "--seed", "1.5"], "--seed=1.5 is impossible; accepted: an integer of at least 0."),
        (["sweep", "--config", "a", "--backend", "b"], "--backend='b' is unknown; accepted: local, slurm."),
        (["launch", "--train"], "The following arguments are required: --config; `rsd launch --help` lists"),
        (["demo", "--foo"], "Unknown arguments: --foo; `rsd demo --help` lists what is accepted."),
        (["reproduce", "fig0"], "NAME='fig0' is unknown; accepted: fig2, "),
        (["toyworld", "paint"], "Command 'paint' is unknown; accepted: render, "),
    ],
)
def test_mistakes_name_option_value_and_what_is_accepted(arguments, message) -> None:
    with pytest.raises(UserError) as error:
        run_command(arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("command", ["launch", "demo", "evaluate", "sweep", "reproduce", "report", "toy", "toyworld"])
def test_every_command_has_help_and_verbose(command, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: rsd {command} ")
    assert "--verbose" in printed


def test_verbose_is_accepted_before_and_after_the_command() -> None:
    for arguments in (["--verbose", "toy"], ["toy", "--verbose"]):
        args, further = build_parser().parse_known_args(arguments)
        assert args.verbose
        assert not further
    assert not build_parser().parse_known_args(["toy"])[0].verbose
