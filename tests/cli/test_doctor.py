"""`rsd doctor` names versions, what is missing and how to get it, and exits with 0."""

from importlib import metadata

import pytest
import torch
from threestudio_rsd.cli import doctor
from threestudio_rsd.cli.main import main


def test_versions_are_those_that_are_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["torch", metadata.version("torch")] in lines
    assert ["PyTorch", "threads", str(torch.get_num_threads())] in lines


def test_missing_libraries_are_named_with_the_way_to_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-library": "magic"})
    monkeypatch.setenv("RSD_CACHE", "/nowhere")
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "missing, needed for magic: pip install no-such-library" in shown
    assert "/nowhere/text_embeddings (not made yet)" in shown
