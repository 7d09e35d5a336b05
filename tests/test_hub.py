"""The Hugging Face Hub: a short wait where it cannot be reached, and models from the local cache."""

import shutil
import socket
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from threestudio_rsd import hub
from threestudio_rsd.errors import UserError
from threestudio_rsd.files import data_path
from threestudio_rsd.priors import embed_prompts, load_prior

COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No offline mode, and an empty local cache."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    hub._answers.cache_clear()
    yield
    hub._answers.cache_clear()


@pytest.fixture
def silent_server():
    """Address that accepts connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def fill_cache(folder: Path, repo: str) -> None:
    """Put the bundled pipeline into a local cache, as a model of the Hub."""
    root = folder / f"models--{repo.replace('/', '--')}"
    shutil.copytree(data_path("load/toyworld/text-to-image"), root / "snapshots" / COMMIT)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_hub_that_cannot_be_reached_is_reported_within_seconds(
    online: None, silent_server: str, is_silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both a refused connection and one that is never answered; huggingface_hub alone retries for 24 s."""
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    address = silent_server if is_silent else "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    started = time.monotonic()
    with pytest.raises(
        UserError, match=f"there is no such folder, and it cannot be loaded .*{address} does not answer"
    ):
        load_prior("nobody/nothing")
    assert time.monotonic() - started < 5


def test_offline_mode_needs_no_network_and_is_named() -> None:
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set, and the local cache does not hold nobody/nothing"):
        load_prior("nobody/nothing")


@pytest.mark.slow
def test_a_cached_model_is_loaded_offline_and_named_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("RSD_CACHE", str(tmp_path / "embeddings"))
    fill_cache(tmp_path, "somebody/model")
    prior = load_prior("somebody/model")
    assert COMMIT in prior.fingerprint
    first = embed_prompts(["a mushroom"], "somebody/model")
    assert torch.equal(first, embed_prompts(["a mushroom"], "bundled"))
    entries = set((tmp_path / "embeddings").rglob("*.safetensors"))
    other = COMMIT[::-1]
    root = tmp_path / "models--somebody--model"
    (root / "snapshots" / COMMIT).rename(root / "snapshots" / other)
    (root / "refs" / "main").write_text(other)
    embed_prompts(["a mushroom"], "somebody/model")
    assert len(set((tmp_path / "embeddings").rglob("*.safetensors"))) == len(entries) + 1


def test_a_revision_that_is_not_cached_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    fill_cache(tmp_path, "somebody/model")
    with pytest.raises(UserError, match="the local cache does not hold somebody/model"):
        load_prior("somebody/model", revision="v2")
