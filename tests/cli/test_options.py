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


@pytest.mark.parametrize("arguments", [["--help"], ["lunch"], ["demo", "3d", "--gamma", "0"]])
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
        (["demo", "3d", "--gamma", "nan"], "--gamma=nan is impossible; accepted: a number above 0."),
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


@pytest.mark.parametrize(
    "command", ["launch", "demo", "evaluate", "sweep", "reproduce", "report", "app", "toy", "toyworld"]
)
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


@pytest.mark.parametrize("argument", ["a\0b", "caf\udce9", "\ud800"])
def test_arguments_that_are_no_valid_text_are_refused(argument, capsys) -> None:
    for line in (["report", argument], ["launch", "--config", "sds.yaml", "--train", f"tag={argument}"]):
        assert main(line) == 2
        assert "is not valid text" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["x" * 5000, "x/" * 3000, "x" * 256, __file__ + "/x"])
@pytest.mark.parametrize("line", [["report"], ["toy", "--output"], ["launch", "--train", "--config"], ["evaluate"]])
def test_paths_that_no_file_can_have_are_explained(line, path, capsys) -> None:
    assert main([*line, path]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rsd: error: ")
    assert error.count("\n") == 1
    assert len(error) < 3100


def test_errors_that_are_no_mistakes_of_the_user_keep_their_traceback(monkeypatch) -> None:
    """The fuzz test finds bugs only if the command does not hide them."""
    from threestudio_rsd.cli import report

    def broken(args):
        raise TypeError("a bug")

    monkeypatch.setattr(report, "run", broken)
    with pytest.raises(TypeError, match="a bug"):
        main(["report", "folder"])


def test_a_message_is_one_line_and_verbose_adds_the_traceback(capsys) -> None:
    assert main(["report", "no\nfolder"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["report", "--verbose", "missing"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.rstrip().split("\n")[-1].startswith("rsd: error: ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["toy", "--realizations", "99999999999999"], "--realizations=99999999999999 needs at least"),
        (["toyworld", "render", "--count", "99999999999999"], "--count=99999999999999 needs at least"),
        (["toy", "--seed", "9" * 5000], "--seed=9999"),
        (["sweep", "--config", "a", "--workers", "99999999999999"], "accepted: an integer from 1 to 1024."),
        (["sweep", "--config", "text2image/sds.yaml", "--seeds", "0:99999999999999"], "99999999999999 seeds; accepted"),
        (["evaluate", ".", "--device", "meta"], "--device='meta' cannot be used"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(line, words, capsys) -> None:
    assert main(line) == 2
    assert words in capsys.readouterr().err


def test_home_folder_in_options(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["report", "~/nothing"]) == 2
    assert f"{tmp_path}/nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 9 bytes."),
    ],
)
def test_exhausted_memory_is_explained(error, monkeypatch, capsys) -> None:
    from threestudio_rsd.cli import report

    def exhausted(args):
        raise error

    monkeypatch.setattr(report, "run", exhausted)
    assert main(["report", "folder"]) == 2
    assert "rsd: error: Memory is exhausted (" in capsys.readouterr().err
