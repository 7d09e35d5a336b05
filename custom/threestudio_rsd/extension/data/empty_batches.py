"""`particle-image-datamodule`: what a system without views needs, one empty batch a step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ...host import parse_structured, register


class EndlessSteps(IterableDataset):
    """Batches that only count: Lightning ends the run at trainer.max_steps."""

    def __iter__(self) -> Iterator[dict[str, int]]:
        step = 0
        while True:
            yield {"index": step}
            step += 1


class OneStep(Dataset):
    """The single batch of validation, test and export."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"index": index}


@register("particle-image-datamodule")
class ParticleImageDataModule(pl.LightningDataModule):
    """Data of `particle-image-system` and `ancestral-sampling-system`: the particles are the data."""

    @dataclass
    class Config:
        pass

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(EndlessSteps(), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(OneStep(), batch_size=None)

    test_dataloader = predict_dataloader = val_dataloader
