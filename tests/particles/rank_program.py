"""Program of test_ranks.py: two processes check that they compute together what one computes alone."""

import os
import sys
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from threestudio_rsd.distillation import NoiseSource, force_by_view
from threestudio_rsd.particles import ranks
from threestudio_rsd.particles.ranks import Shard
from threestudio_rsd.repulsion import POTENTIALS, RepulsiveForce

N, V = 5, 2  # particles, which two ranks cannot share evenly, and views


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def check_force() -> None:
    """The force of one rank's particles equals that of one process, for every potential, views and chunks."""
    weights = random(4, 6)
    for form in POTENTIALS:
        for v in (1, V):
            for chunk_size in (None, 1):
                force = RepulsiveForce(lambda x: torch.tanh(x @ weights), form=form, chunk_size=chunk_size)
                x, shard = random(N * v, 4), Shard.own(N)
                own = force_by_view(force, x[shard.views(v).rows], v, shard)
                torch.testing.assert_close(own, force_by_view(force, x, v)[shard.views(v).rows])


def check_noise() -> None:
    """The noise of a particle does not depend on the rank, where all noises are coupled too."""
    shard = Shard.own(N)
    for kind, coupled in (("fresh", True), ("refreshed", True), ("fixed", False)):
        rate = 0.3 if kind == "refreshed" else 0.0
        whole = NoiseSource(kind, rate, coupled)(3, N, (4,))
        own = NoiseSource(kind, rate, coupled)(3, shard.count, (4,), first=shard.first, total=N)
        assert torch.equal(own, whole[shard.rows]), kind


def check_communication() -> None:
    """Rows are gathered in order; sums and copies are made in place; objects reach the ranks that ask for them."""
    shard = Shard.own(N)
    assert torch.equal(ranks.gather_rows(torch.arange(N)[shard.rows], shard), torch.arange(N))
    columns = random(2, N)
    assert torch.equal(ranks.gather_rows(columns[:, shard.rows], shard, dim=1), columns)
    tensors = [torch.full((2, 2), 1.0 + ranks.rank()), torch.tensor(ranks.rank()), torch.zeros(0)]
    ranks.sum_over_ranks(tensors)
    assert tensors[0].tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert int(tensors[1]) == 1
    ranks.copy_from_rank_0(copied := [torch.tensor(ranks.rank())])
    assert int(copied[0]) == 0
    assert ranks.gather_objects(f"rank {ranks.rank()}") == (["rank 0", "rank 1"] if ranks.rank() == 0 else None)
    assert ranks.share(ranks.rank()) == 0
    assert ranks.largest(ranks.rank()) == 1


def check_lost_rank() -> None:
    """A rank whose partner ends raises a sentence."""
    if ranks.rank() == 1:
        os._exit(0)
    with pytest.raises(ranks.RankError, match="Another process of this run has ended or cannot be reached"):
        ranks.largest(0)


def fork(rank: int, store: str, check: Callable[[], None]) -> int:
    process = os.fork()
    if process:
        return process
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
        check()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    failed = 0
    for name in ("check_force", "check_noise", "check_communication", "check_lost_rank"):
        processes = [fork(rank, f"{sys.argv[1]}/{name}", globals()[name]) for rank in range(2)]
        failed += sum(os.waitpid(process, 0)[1] != 0 for process in processes)
    sys.exit(failed)
