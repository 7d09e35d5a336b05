"""Files of tensors: read only where their settings agree."""

from pathlib import Path

import torch
from threestudio_rsd.tensor_files import read_tensors, write_tensors


def test_tensors_are_read_where_the_settings_agree(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_tensors(file, {"x": torch.arange(3)}, "settings", seconds="2.5")
    found = read_tensors(file, "settings")
    assert found is not None
    tensors, facts = found
    assert torch.equal(tensors["x"], torch.arange(3))
    assert facts["seconds"] == "2.5"
    assert read_tensors(file, "other settings") is None
    assert read_tensors(tmp_path / "b.safetensors", "settings") is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
