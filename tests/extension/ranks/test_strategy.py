"""The strategy `particles` without processes: systems that it accepts, and the command that it starts."""

import sys
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import StrategyRegistry
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.ranks import ParticleStrategy, strategy


@pytest.fixture
def two():
    devices = [torch.device("cpu")] * 2
    return ParticleStrategy(cluster_environment=LightningEnvironment(), parallel_devices=devices)


def test_it_has_a_name_for_configs():
    assert StrategyRegistry.get("particles").__class__ is ParticleStrategy


def test_systems_of_one_device_are_refused(two):
    with pytest.raises(UserError, match=r"Module runs on one device; accepted: trainer\.devices=1"):
        two.connect(torch.nn.Module())


def test_every_process_evaluates_all_views(two):
    assert two.distributed_sampler_kwargs == {"num_replicas": 1, "rank": 0}


@pytest.mark.parametrize(
    ("folder", "added"),
    [("outputs/x/fox@20261126-171945/save", ["timestamp='@20261126-171945'"]), ("outputs/x/fox/save", []), (None, [])],
)
def test_started_processes_use_the_same_trial_folder(two, monkeypatch, folder, added):
    started = []
    launcher = strategy._SubprocessScriptLauncher
    monkeypatch.setattr(launcher, "_call_children_scripts", lambda self: started.append(list(sys.argv)))
    monkeypatch.setattr(sys, "argv", ["launch.py", "--train"])
    two._configure_launcher()
    two._lightning_module = SimpleNamespace(_save_dir=folder)
    two._launcher._call_children_scripts()
    assert started == [["launch.py", "--train", *added]]
    assert sys.argv == ["launch.py", "--train"]
