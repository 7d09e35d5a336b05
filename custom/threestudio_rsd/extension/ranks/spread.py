"""`SpreadParticles`: systems whose particles may be spread over the processes of a run."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...errors import UserError
from ...particles.ranks import Shard, copy_from_rank_0, n_ranks, rank, sum_over_ranks
from .states import is_shared

NORM = "_norm"  # end of the names of norms


class SpreadParticles:
    """Mixin of systems that stands before their base class. Each rank trains consecutive particles.

    What the particles share, such as eps_phi, is the same on all ranks: its gradients are summed over the ranks after
    each backward pass. Losses are this rank's share of those of one process, so that the sums equal them. Results are
    made by rank 0 alone.

    Subclasses set `shard` to all particles in `configure`, and define `keep_particles`.
    """

    spreads_particles = True  # whether the strategy `particles` accepts the system
    shard: Shard
    trainer: Any
    _shared: list[nn.Parameter] | None = None

    def keep_particles(self, shard: Shard) -> None:
        """Keep the particles of this rank only."""
        raise NotImplementedError

    def check_ranks(self, count: int) -> None:
        """Check that the particles can be spread over ranks.

        Raises:
            UserError: there are fewer particles than ranks, or the guidance needs all of them in one process.
        """
        guidance = getattr(self, "guidance", None)
        if count > 1 and guidance is not None and not getattr(guidance, "spreads_particles", False):
            raise UserError(f"{type(guidance).__name__} runs on one device; accepted: trainer.devices=1.")
        if count > self.shard.total:
            raise UserError(
                f"trainer.devices and trainer.num_nodes give {count} processes for {self.shard.total} particles; "
                f"accepted: at most {self.shard.total} processes."
            )

    def setup(self, stage: str | None = None) -> None:
        """Spread the particles, once."""
        super().setup(stage)  # type: ignore[misc]
        if n_ranks() == 1 or not self.shard.is_whole:
            return
        if not getattr(self.trainer.strategy, "spreads_particles", False):
            raise UserError(
                f"trainer.strategy={type(self.trainer.strategy).__name__} would train the same particles in all of "
                f"the {n_ranks()} processes; accepted with several devices: trainer.strategy=particles."
            )
        self.check_ranks(n_ranks())
        shard = Shard.own(self.shard.total)
        self.keep_particles(shard)
        self.shard = shard
        named = [*self.named_parameters(), *self.named_buffers()]  # type: ignore[attr-defined]
        copy_from_rank_0(each for name, each in named if is_shared(name) and each.is_floating_point())

    @property
    def makes_results(self) -> bool:
        """Whether this process writes files and measures: rank 0."""
        return rank() == 0

    def on_after_backward(self) -> None:
        """Sum the gradients of shared parameters over the ranks."""
        super().on_after_backward()  # type: ignore[misc]
        if n_ranks() == 1:
            return
        if self._shared is None:
            named = self.named_parameters()  # type: ignore[attr-defined]
            self._shared = [each for name, each in named if is_shared(name) and each.requires_grad]
        sum_over_ranks(each.grad for each in self._shared if each.grad is not None)

    def log_step(self, values: Mapping[str, Any]) -> None:
        """Log scalars of a training step; losses and norms are those of the particles of all ranks.

        Args:
            values: scalars by name: losses `loss_NAME`, which are sums over the particles, norms `NAME_norm`, and
                values that are the same on all ranks.
        """
        for name, value in self._of_all_ranks(values).items():
            self.log(f"train/{name}", value)  # type: ignore[attr-defined]

    def _of_all_ranks(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        names = [name for name in values if name.startswith("loss_") or name.endswith(NORM)]
        if n_ranks() == 1 or not names:
            return values
        device = self.device  # type: ignore[attr-defined]
        own = [torch.as_tensor(values[name], dtype=torch.float32, device=device).detach() for name in names]
        is_norm = torch.tensor([name.endswith(NORM) for name in names], device=device)
        summed = torch.where(is_norm, torch.stack(own).square(), torch.stack(own))
        sum_over_ranks([summed])
        totals = torch.where(is_norm, summed.sqrt(), summed)
        return {**values, **dict(zip(names, totals, strict=True))}
