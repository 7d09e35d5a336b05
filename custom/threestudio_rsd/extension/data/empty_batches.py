"""`particle-image-datamodule`: one empty batch per step, for systems that need no data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ...host import parse_structured, register


class EndlessSteps(IterableDataset):
    """Endless batches with a step index only; Lightning stops the run at trainer.max_steps."""

    def __iter__(self) -> Iterator[dict[str, int]]:
        step = 0
        while True:
            yield {"index": step}
            step += 1


class OneStep(Dataset):
    """Single batch for validation, test and export."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"index": index}


@register("particle-image-datamodule")
class ParticleImageDataModule(pl.LightningDataModule):
    """Data module of the 2D systems, whose particles need no data."""

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
