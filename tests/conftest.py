"""Fixtures of all tests, which run offline, with the stand-in for threestudio and with a cache of their own."""

import os

os.environ.setdefault("RSD_HOST", "embedded")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import pytest
import torch
from threestudio_rsd.priors import Prior, load_prior

hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")
torch.set_num_threads(1)  # networks this small gain nothing from a second thread, and lose much on a busy machine


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["RSD_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def bundled() -> Prior:
    """The prior that ships; treat it as read-only (tests that add a LoRA load their own)."""
    return load_prior("bundled")
