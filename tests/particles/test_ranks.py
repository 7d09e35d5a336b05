"""Particles that are spread over two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import threestudio_rsd
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.particles.ranks import Shard, gather_objects, is_lost, largest, share


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 3))
def test_every_particle_has_one_rank(total, n_ranks, v):
    shards = [Shard.of(total, rank, n_ranks) for rank in range(n_ranks)]
    assert [index for shard in shards for index in shard.indices] == list(range(total))
    assert max(shard.count for shard in shards) - min(shard.count for shard in shards) <= 1
    rows = [index for shard in shards for index in shard.views(v).indices]
    assert rows == list(range(total * v))
    assert all(shard.total == total for shard in shards)


def test_one_process_does_not_communicate():
    assert Shard.own(3) == Shard.whole(3)
    assert (gather_objects("a"), share("b"), largest(2)) == (["a"], "b", 2)


def test_exhausted_memory_is_no_lost_process():
    assert not is_lost(RuntimeError("NCCL: CUDA out of memory"))
    assert is_lost(RuntimeError("[pair.cc:534] Connection closed by peer"))
    assert not is_lost(ValueError("connection"))


def test_two_processes_equal_one(tmp_path):
    program = Path(__file__).with_name("rank_program.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path],
        env={**os.environ, "PYTHONPATH": str(Path(threestudio_rsd.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this machine allows no sockets")
    assert done.returncode == 0, done.stderr
