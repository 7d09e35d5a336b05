"""Errors of `rsd launch` for bad input: one sentence, exit code 2, and nothing is written."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from threestudio_rsd.cli.main import main

CUSTOM = Path(__file__).parents[3] / "custom"


def complaint(rsd, workplace, *arguments, mode="train", config="toy.yaml"):
    """Run with these overrides, and return the sentence of the error."""
    before = sorted(workplace.rglob("*"))
    code, shown = rsd(mode, *arguments, config=config)
    assert code == 2
    assert sorted(workplace.rglob("*")) == before, "something was written"
    (line,) = [line for line in shown.splitlines() if line.startswith("rsd: error: ")]
    assert "Traceback" not in shown
    return line.removeprefix("rsd: error: ")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sed=3", ["sed=3", "unknown key", "did you mean seed?"]),
        ("seed=one", ["seed='one'", "wrong type", "int"]),
        ("seed=-1", ["seed=-1", "impossible"]),
        ("system.pointz.n=3", ["system.pointz", "unknown key", "did you mean system.points?"]),
        ("system.fail_at=[1]", ["system.fail_at=[1]", "wrong type", "int"]),
        ("system.points.n=0", ["system.points.n=0", "at least 1"]),
        ("data.m=3", ["data.m=3", "unknown key", "n"]),
        ("data.n=x", ["data.n='x'", "wrong type"]),
        ("system_type=toy-sistem", ["system_type='toy-sistem'", "did you mean toy-system?"]),
        ("data_type=nothing-like-it", ["data_type='nothing-like-it'", "registered:", "toy-data"]),
        ("system.optimizer.name=Adamm", ["optimizer.name='Adamm'", "AdamW"]),
        ("system.optimizer.params.foo.lr=1", ["optimizer.params.foo"]),
        ("system.optimizer.args.speed=1", ["optimizer=", "speed"]),
        ("system.loss.lambda_pull=fast", ["system.loss.lambda_pull", "'fast'", "[start, value, value, end]"]),
        ("system.loss.lambda_pull=[1]", ["system.loss.lambda_pull", "[1]"]),
        ("trainer.max_steps=0", ["trainer.max_steps=0", "at least 1"]),
        ("trainer.max_steps=-5", ["trainer.max_steps=-5", "at least 1"]),
        ("trainer.max_steps=ten", ["trainer.max_steps='ten'", "at least 1"]),
        ("trainer.max_stepz=3", ["trainer.max_stepz=3", "did you mean trainer.max_steps?"]),
        ("trainer.precision=17", ["trainer", "17"]),
        ("checkpoint.every=3", ["checkpoint.every=3", "unknown key"]),
        ("resume=nothing.ckpt", ["resume='nothing.ckpt'", "not a file"]),
        ("resume=toy.yaml", ["resume='toy.yaml'", "damaged"]),
        ("exp_root_dir=toy.yaml", ["toy.yaml", "exp_root_dir"]),
        ("trainer.max_steps=${nothing.there}", ["trainer.max_steps=", "${nothing.there}", "at least 1"]),
        ("trainer.max_steps=[", ["trainer.max_steps=["]),
        ("system.fail_at=???", ["system.fail_at", "no value"]),
        ("nonsense", ["'nonsense'", "trainer.max_steps=100"]),
        ("--nonsense", ["Unknown arguments: --nonsense"]),
        ("--gpu=one", ["--gpu='one'", "0 or 1,2"]),
    ],
)
def test_override(rsd, workplace, override, words):
    sentence = complaint(rsd, workplace, override)
    assert all(word in sentence for word in words), sentence


def test_truncated_checkpoint(rsd, workplace):
    rsd("train", "trainer.max_steps=1", "tag=run", "use_timestamp=false", "exp_root_dir=done")
    whole = (workplace / "done/toy/run/ckpts/last.ckpt").read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 30):
        (workplace / "cut.ckpt").write_bytes(whole[:size])
        assert "resume='cut.ckpt'" in complaint(rsd, workplace, "resume=cut.ckpt")


def test_file_that_is_no_training_checkpoint(rsd, workplace):
    torch.save({"weights": torch.zeros(3)}, workplace / "other.ckpt")
    assert "lacks one of state_dict" in complaint(rsd, workplace, "resume=other.ckpt")


def test_pickled_code_is_not_run(rsd, workplace):
    class Evil:
        def __reduce__(self):
            return open, (str(workplace / "hacked"), "w")

    torch.save({"state_dict": Evil(), "epoch": 0, "global_step": 0}, workplace / "evil.ckpt")
    complaint(rsd, workplace, "resume=evil.ckpt")


@pytest.mark.parametrize("mode", ["train", "test"])
def test_checkpoint_of_another_system(rsd, workplace, mode):
    rsd("train", "trainer.max_steps=1", "tag=run", "use_timestamp=false", "exp_root_dir=done")
    checkpoint = "resume=done/toy/run/ckpts/last.ckpt"
    sentence = complaint(rsd, workplace, checkpoint, "system.points.n=5", mode=mode)
    assert "system.points.n=3" in sentence
    assert "system.points.n=5" in sentence
    content = torch.load("done/toy/run/ckpts/last.ckpt", weights_only=True)
    del content["config"]  # as in checkpoints of threestudio
    torch.save(content, "foreign.ckpt")
    sentence = complaint(rsd, workplace, "resume=foreign.ckpt", "system.points.n=5", mode=mode)
    assert "(3, 2)" in sentence
    assert "(5, 2)" in sentence


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that refuses files even to root")
def test_folder_that_refuses_files(rsd, workplace):
    assert "/proc/outputs" in complaint(rsd, workplace, "exp_root_dir=/proc/outputs")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- 1\n- 2\n", "is a list"),
        (b"a: [", "YAML"),
        (b"\xff\xfe\x00", "YAML"),
        (b"a: 1\na: 2\n", "YAML"),
        (b"", "system_type"),
    ],
)
def test_bad_config_file(rsd, workplace, content, words):
    (workplace / "bad.yaml").write_bytes(content)
    assert words.replace("system_type", "data_type=''") in complaint(rsd, workplace, config="bad.yaml")


def test_missing_config_file(rsd, workplace):
    sentence = complaint(rsd, workplace, config="nowhere.yaml")
    assert "config='nowhere.yaml'" in sentence
    assert "configs/text2image/sds.yaml" in sentence


def test_error_of_a_step(rsd, workplace):
    """The trial folder exists at that time; the message has the same form."""
    code, shown = rsd("train", "system.fail_at=2")
    assert code == 2
    assert "rsd: error: The step has failed." in shown


def test_unknown_command(capsys):
    assert main(["lunch"]) == 2
    error = capsys.readouterr().err
    assert "Command 'lunch' is unknown; accepted: launch, demo, " in error
    assert "toyworld, doctor." in error


@pytest.mark.slow
def test_verbose_shows_the_traceback(workplace):
    """Run as a program, to test the exit code and both output streams."""
    command = [sys.executable, "-m", "threestudio_rsd.cli", "launch", "--config", "toy.yaml", "--train", "seed=one"]
    environment = {"PYTHONPATH": str(CUSTOM), "PATH": ""}
    process = subprocess.run([*command, "--verbose"], env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert process.stdout == ""
    assert "Traceback" in process.stderr
    assert process.stderr.endswith("rsd: error: seed='one' has a wrong type; accepted: int.\n")
