"""A particle whose numbers are not finite keeps its values and optimizer state; the others move as without it."""

import pytest
import pytorch_lightning as pl
import torch
from threestudio_rsd.errors import NonFiniteError
from threestudio_rsd.finite import note
from threestudio_rsd.particles.finite_updates import MOST_SKIPPED, FiniteUpdates, restore_particles
from torch import nn
from torch.utils.data import DataLoader

N = 3


class Settings:
    def __init__(self, nonfinite: str) -> None:
        self.nonfinite = nonfinite


class Ensemble(FiniteUpdates, pl.LightningModule):
    """Three rows of one parameter, three modules, and one shared weight; particle 1 is spoiled in some steps."""

    def __init__(self, nonfinite: str, spoiled: tuple[int, ...], by_note: bool = False) -> None:
        super().__init__()
        self.cfg = Settings(nonfinite)
        self.particles = nn.Parameter(torch.ones(N, 2))
        self.geometry = nn.Module()
        self.geometry.particles = nn.ModuleList(nn.Linear(2, 1, bias=False) for _ in range(N))
        for layer in self.geometry.particles:
            nn.init.ones_(layer.weight)
        self.spoiled, self.by_note = spoiled, by_note

    @property
    def true_global_step(self) -> int:
        return self.global_step

    def training_step(self, batch, batch_idx):
        is_spoiled = self.global_step in self.spoiled
        factor = torch.ones(N)
        factor[1] = torch.nan if is_spoiled and not self.by_note else 1.0
        if is_spoiled and self.by_note:
            note("the render", torch.tensor([0.0, torch.nan, 0.0]), t=5)
        rows = (self.particles.square().sum(1) * factor).sum()
        modules = sum(factor[i] * layer.weight.square().sum() for i, layer in enumerate(self.geometry.particles))
        return rows + modules

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


def train(module: Ensemble, steps: int = 4) -> Ensemble:
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(torch.zeros(steps, 1)))
    return module


@pytest.mark.parametrize("by_note", [False, True])
def test_the_update_of_one_particle_is_skipped(by_note, caplog) -> None:
    whole = train(Ensemble("stop", ()))
    fewer = train(Ensemble("stop", ()), steps=3)  # Adam's steps depend on their number only: the loss is separable
    skipped = train(Ensemble("skip", (2,), by_note))
    rows = skipped.particles.detach()
    assert torch.equal(rows[[0, 2]], whole.particles.detach()[[0, 2]])
    assert (rows[1] > whole.particles.detach()[1]).all()
    weights = [layer.weight.detach() for layer in skipped.geometry.particles]
    assert torch.equal(weights[0], whole.geometry.particles[0].weight.detach())
    assert torch.equal(weights[1], fewer.geometry.particles[1].weight.detach())
    (record,) = [each for each in caplog.records if "skipped" in each.getMessage()]
    assert record.getMessage().startswith("Step 2: ")


def test_it_stops_otherwise_and_before_the_step_is_counted_as_good() -> None:
    with pytest.raises(NonFiniteError, match="Step 2: the render of particle 1 is nan at t=5"):
        train(Ensemble("stop", (2,), by_note=True))


def test_a_run_that_only_skips_stops() -> None:
    with pytest.raises(NonFiniteError, match=f"Step {MOST_SKIPPED}: .* {MOST_SKIPPED} steps before"):
        train(Ensemble("skip", tuple(range(50))), steps=50)


def test_states_of_solvers_are_restored_for_some_particles() -> None:
    before = {"z": torch.zeros(2, 3, 4), "adam": {"state": {0: {"m": torch.zeros(2, 3, 4), "step": torch.tensor(1.0)}}}}
    after = {"z": torch.ones(2, 3, 4), "adam": {"state": {0: {"m": torch.ones(2, 3, 4), "step": torch.tensor(2.0)}}}}
    failed = torch.zeros(2, 3, dtype=torch.bool)
    failed[1, 2] = True
    restore_particles(before, after, failed)
    for tensor in (after["z"], after["adam"]["state"][0]["m"]):
        assert torch.equal(tensor[..., 0] == 0, failed)
    assert after["adam"]["state"][0]["step"] == 2
