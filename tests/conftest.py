"""Fixtures of all tests: they run offline, on the embedded host, with a separate cache."""

import os

os.environ.setdefault("RSD_HOST", "embedded")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import pytest
import torch
from threestudio_rsd.priors import Prior, load_prior

hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")
torch.set_num_threads(1)  # a second thread does not help networks this small, and slows them down on a busy machine


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["RSD_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def bundled() -> Prior:
    """The bundled prior, shared by all tests; tests that add a LoRA load their own."""
    return load_prior("bundled")
