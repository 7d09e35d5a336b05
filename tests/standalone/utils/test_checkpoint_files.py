"""Every flipped bit of a checkpoint is found, and so is every cut."""

import random

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.engine.checkpoints import WholeFiles
from threestudio_rsd.standalone.utils.checkpoint_files import SIGNATURE, damage, newest_whole
from threestudio_rsd.standalone.utils.weights import read_checkpoint

CONTENT = {"state_dict": {"x": torch.arange(300.0)}, "epoch": 0, "global_step": 3}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint(CONTENT, path)
    return path


def test_a_whole_file_is_read_by_torch_and_by_us(checkpoint) -> None:
    assert damage(checkpoint) is None
    for content in (torch.load(checkpoint, weights_only=True), read_checkpoint(str(checkpoint))):
        assert torch.equal(content["state_dict"]["x"], CONTENT["state_dict"]["x"])


def test_each_of_100_flipped_bits_is_found(checkpoint) -> None:
    whole = checkpoint.read_bytes()
    flips = random.Random(0).sample(range(8 * len(whole)), 100)
    flips += [8 * (len(whole) - SIGNATURE - back) for back in range(-SIGNATURE + 1, 30)]  # the checksum and its length
    for bit in flips:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        checkpoint.write_bytes(changed)
        assert damage(checkpoint) is not None, bit
    with pytest.raises(UserError, match="is damaged or not a checkpoint: its SHA-256 differs"):
        read_checkpoint(str(checkpoint))


def test_every_cut_is_found(checkpoint) -> None:
    whole = checkpoint.read_bytes()
    for size in {*range(0, len(whole), 97), *range(len(whole) - SIGNATURE - 30, len(whole))}:
        checkpoint.write_bytes(whole[:size])
        assert damage(checkpoint) is not None, size


def test_flipped_weights_of_threestudios_checkpoints_are_found(tmp_path) -> None:
    path = tmp_path / "epoch=0-step=3.ckpt"
    torch.save(CONTENT, path)
    assert damage(path) is None
    whole = path.read_bytes()
    place = whole.index(CONTENT["state_dict"]["x"].numpy().tobytes()) + 100
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    assert "CRC-32" in damage(path)


def test_the_newest_whole_checkpoint_is_offered(tmp_path) -> None:
    import os

    for step in (1, 2, 3):
        path = tmp_path / f"epoch=0-step={step}.ckpt"
        WholeFiles().save_checkpoint({**CONTENT, "global_step": step}, path)
        os.utime(path, (step, step))
    last = tmp_path / "last.ckpt"
    last.write_bytes(path.read_bytes()[:-5])
    path.write_bytes(b"")
    assert newest_whole(tmp_path, last).name == "epoch=0-step=2.ckpt"
    with pytest.raises(UserError, match=r"last.ckpt' is damaged .*; the newest whole .* resume='.*step=2.ckpt'"):
        read_checkpoint(str(last))


@pytest.mark.parametrize("key", ["state_dict", "epoch", "global_step"])
@pytest.mark.parametrize("value", [None, "text", 1.5])
def test_missing_and_wrong_entries_are_one_sentence(tmp_path, key, value) -> None:
    path = tmp_path / "last.ckpt"
    content = {**CONTENT, key: value}
    if value is None:
        del content[key]
    torch.save(content, path)
    with pytest.raises(UserError, match=key):
        read_checkpoint(str(path))
