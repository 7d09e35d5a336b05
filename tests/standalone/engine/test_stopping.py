"""Signals finish the step, save it and end the run with their own exit codes; numbers that are none stop it."""

import re
import signal

import pytest
import torch
from threestudio_rsd.signals import Stopped
from threestudio_rsd.standalone.engine.stopping import StopSignals

from .test_launch import TRIAL, assert_same_state, last

PART = ("tag=part", "use_timestamp=false")


@pytest.fixture
def trained(rsd, workplace):
    assert rsd("train", *TRIAL)[0] == 0
    return workplace / "outputs" / "toy" / "run"


@pytest.mark.parametrize(
    ("number", "code", "step"), [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 3), (signal.SIGHUP, 129, 5)]
)
def test_a_signal_saves_the_step_and_the_run_can_go_on(rsd, trained, workplace, number, code, step):
    """Validation follows step 4 (index 3), and step 6 (index 5) is the last."""
    former = signal.getsignal(number)
    if former == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as under nohup")
    settings = (f"system.interrupt_at={step}", f"system.signal={int(number)}")
    shown_code, shown = rsd("train", *PART, *settings)
    part = workplace / "outputs" / "toy" / "part"
    assert shown_code == code
    assert f"{number.name}: finishing and saving this step" in shown
    assert f"Saved step {step + 1}" in shown
    assert last(part)["global_step"] == step + 1
    assert not (part / "save/points.json").exists()
    assert signal.getsignal(number) == former
    code, _ = rsd("train", f"resume={part}/ckpts/last.ckpt", config=part / "configs/parsed.yaml")
    assert code == 0
    assert_same_state(last(part), last(trained))


def test_a_signal_without_checkpoints_ends_after_the_step(rsd, workplace):
    code, shown = rsd("train", *PART, "system.interrupt_at=2", "trainer.enable_checkpointing=false")
    assert code == 130
    assert "Saved" not in shown
    assert not (workplace / "outputs/toy/part/ckpts").exists()


def test_a_second_signal_stops_at_once():
    signals = StopSignals()
    signals.on_train_start(None, None)
    signals.handle(signal.SIGTERM)
    assert signals.is_stopping
    with pytest.raises(Stopped) as stopped:
        signals.handle(signal.SIGINT)
    assert stopped.value.exit_code == 130


def test_a_signal_outside_of_training_stops_at_once():
    signals = StopSignals()
    with pytest.raises(Stopped):
        signals.handle(signal.SIGTERM)
    signals.on_train_start(None, None)
    signals.on_train_end(None, None)
    with pytest.raises(Stopped):
        signals.handle(signal.SIGTERM)


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        ("loss", "the loss is nan"),
        ("gradient", "the gradient of points is infinite"),
        ("parameter", "points is infinite"),
        ("particle", "the points of particle 1 is nan at t=7"),
    ],
)
def test_what_is_not_finite_stops_the_run_in_its_step(rsd, workplace, spoiled, words):
    code, shown = rsd("train", *PART, "system.spoil_at=3", f"system.spoiled={spoiled}")
    assert code == 2
    assert f"Step 3: {words}" in shown
    folder = workplace / "outputs/toy/part"
    assert f"The last good checkpoint is {folder.relative_to(workplace)}/ckpts/last.ckpt" in shown
    saved = [torch.load(file, weights_only=True) for file in (folder / "ckpts").glob("*.ckpt")]
    assert {each["global_step"] for each in saved} == {3}
    assert all(torch.isfinite(each["state_dict"]["points"]).all() for each in saved)


@pytest.mark.parametrize("spoiled", ["loss", "parameter"])
def test_what_belongs_to_no_particle_cannot_be_skipped(rsd, spoiled):
    code, shown = rsd("train", *PART, "system.spoil_at=3", f"system.spoiled={spoiled}", "system.nonfinite=skip")
    assert code == 2
    assert "Step 3: " in shown


def test_unknown_treatment_of_numbers_is_an_error(rsd):
    code, shown = rsd("train", *PART, "system.nonfinite=ignore")
    assert code == 2
    assert re.search(r"system.nonfinite='ignore' is unknown; accepted: stop, skip", shown)
