"""Small system and data for tests: points are trained to lie at the origin, with random targets near it."""

from dataclasses import dataclass, field

import pytorch_lightning as pl
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.finite import note
from threestudio_rsd.host import BaseObject, BaseSystem, parse_structured, register
from torch.utils.data import DataLoader, IterableDataset

CONFIG = """
name: toy
tag: ""
data_type: toy-data
data:
  n: 2
system_type: toy-system
system:
  prompt_processor:
    prompt: "a mushroom"
  points:
    n: 3
  loss:
    lambda_pull: [0, 1.0, 2.0, 10]
  optimizer:
    name: Adam
    args: {lr: 0.1, betas: [0.9, 0.99]}
    params:
      points: {lr: 0.05}
trainer:
  max_steps: 6
  log_every_n_steps: 1
  num_sanity_val_steps: 0
  val_check_interval: 2
  precision: 16-mixed
checkpoint:
  save_last: true
  save_top_k: -1
  every_n_train_steps: 3
"""


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield {}


class One(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {"index": index}


@register("toy-data")
class ToyData(pl.LightningDataModule):
    @dataclass
    class Config:
        n: int = 1

    def __init__(self, cfg=None):
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)

    def train_dataloader(self):
        return DataLoader(Endless(), batch_size=None)

    def val_dataloader(self):
        return DataLoader(One(), batch_size=None)

    test_dataloader = predict_dataloader = val_dataloader


class Counter(BaseObject):
    def configure(self):
        self.updates = []

    def update_step(self, epoch, global_step, on_load_weights=False):
        self.updates.append(global_step)


@register("toy-system")
class ToySystem(BaseSystem):
    @dataclass
    class Config(BaseSystem.Config):
        points: dict = field(default_factory=dict)
        prompt_processor: dict = field(default_factory=dict)
        fail_at: int = -1  # step
        interrupt_at: int = -1  # step
        signal: int = 2  # number of the signal that interrupts
        spoil_at: int = -1  # step in which `spoiled` is not finite
        spoiled: str = "loss"  # loss, gradient, parameter or particle

    def configure(self):
        n = self.cfg.points.get("n", 2)
        if n < 1:
            raise UserError(f"system.points.n={n} is impossible; accepted: at least 1.")
        self.points = torch.nn.Parameter(torch.ones(n, 2))
        self.counter = Counter()

    def training_step(self, batch, batch_idx):
        if self.true_global_step == self.cfg.fail_at:
            raise UserError("The step has failed.")
        if self.true_global_step == self.cfg.interrupt_at:
            import os
            import signal

            os.kill(os.getpid(), signal.Signals(self.cfg.signal))
        target = 0.1 * torch.randn(2)  # from the global generator, on purpose
        loss = self.C(self.cfg.loss.lambda_pull) * ((self.points - target) ** 2).sum()
        self.log("train/loss", loss, prog_bar=True)
        return self.spoil(loss) if self.true_global_step == self.cfg.spoil_at else loss

    def spoil(self, loss):
        """Loss of a step in which something is not finite."""
        if self.cfg.spoiled == "particle":
            note("the points", torch.where(torch.arange(3) == 1, torch.nan, self.points.detach()[:, 0]), t=7)
        if self.cfg.spoiled == "loss":
            return loss + torch.nan
        if self.cfg.spoiled == "gradient":
            self.points.register_hook(lambda gradient: gradient * torch.inf)
        if self.cfg.spoiled == "parameter":
            self.trainer.optimizers[0].register_step_post_hook(lambda *_: self.points.detach().fill_(torch.inf))
        return loss

    def validation_step(self, batch, batch_idx):
        torch.randn(3)  # validation must not change the random numbers of training
        image = self.points.detach().view(-1, 2, 1).clamp(0, 1).expand(-1, -1, 3)
        self.save_image_grid(f"it{self.true_global_step}-val.png", [{"type": "rgb", "img": image, "kwargs": {}}])

    def on_validation_epoch_end(self):
        pass

    def test_step(self, batch, batch_idx):
        self.save_json("points.json", {"points": self.points.tolist(), "step": self.true_global_step})

    def predict_step(self, batch, batch_idx):
        self.save_data("points", self.points)
