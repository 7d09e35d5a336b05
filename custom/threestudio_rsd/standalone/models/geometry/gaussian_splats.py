"""`gaussian-splats`: a cloud of colored Gaussians, whose number changes during training."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import UserError, fits_memory, in_range, positive
from ...utils.base import BaseModule
from ...utils.config import key_of
from ...utils.registry import register
from ..renderers.splatting import Gaussians

ROW = 15 * 4  # bytes of the parameters of one Gaussian
FASTER = 5.0  # steps of opacities and colors relative to those of positions and sizes, for one learning rate (ours)
SPLIT = 1.6  # by which the two halves of a split Gaussian are smaller; Kerbl et al.


@register("gaussian-splats")
class GaussianSplats(BaseModule):
    """Gaussians with one color each (3D Gaussian splatting, Kerbl et al., 2023, with harmonics of degree 0).

    The parameters have `max_points` rows, of which some are in use, so that the optimizer keeps its state while points
    come and go: every `densify_interval` steps, transparent Gaussians are removed and those with the largest gradient
    of their position are split, each cloud by its own gradients.

    Raises:
        UserError: a config value is impossible.
    """

    @dataclass
    class Config(BaseModule.Config):
        n_points: int = 800  # Gaussians at the start (ours)
        max_points: int = 2000  # most Gaussians (ours)
        radius: float = 1.0  # half the side of the box around the object, world units; threestudio
        init_radius: float = 0.5  # radius of the ball in which the Gaussians start, world units (ours)
        init_opacity: float = 0.1  # opacity at the start; Kerbl et al.
        densify_interval: int = 50  # steps between two changes of their number; 0: never (ours)
        densify_until: int = 250  # last step of a change (ours)
        densify_share: float = 0.2  # share of the Gaussians that are split at a time (ours)
        prune_opacity: float = 0.02  # opacity below which Gaussians are removed (ours)

    cfg: Config
    in_use: Tensor  # rows that are Gaussians, bool (max_points,)
    gradient_sums: Tensor  # gradient norms of the positions since the last change, (max_points,)

    def configure(self) -> None:
        self._check()
        n, rows = self.cfg.n_points, self.cfg.max_points
        directions = nn.functional.normalize(torch.randn(rows, 3), dim=-1)
        distances = torch.rand(rows, 1) ** (1 / 3)  # uniform in the ball
        # Each Gaussian at first fills its share of the ball.
        spacing = self.cfg.init_radius * n ** (-1 / 3)
        opacity = torch.tensor(self.cfg.init_opacity).logit() / FASTER
        self.positions = nn.Parameter(self.cfg.init_radius * distances * directions)
        self.log_scales = nn.Parameter(torch.full((rows, 3), spacing).log())
        self.rotations = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(rows, 1))
        self.opacity_logits = nn.Parameter(opacity.repeat(rows))
        self.color_logits = nn.Parameter(0.1 * torch.randn(rows, 3) / FASTER)
        self.register_buffer("in_use", torch.arange(rows) < n)
        self.register_buffer("gradient_sums", torch.zeros(rows))
        self.positions.register_hook(self._add_gradient)

    def _check(self) -> None:
        cfg = self.cfg
        in_range("n_points", cfg.n_points, 1)
        in_range("max_points", cfg.max_points, cfg.n_points)
        fits_memory(key_of(cfg, "max_points"), cfg.max_points, cfg.max_points * ROW)
        for name in ("radius", "init_radius"):
            positive(name, getattr(cfg, name))
        in_range("densify_interval", cfg.densify_interval, 0)
        in_range("densify_until", cfg.densify_until, 0)
        for name in ("init_opacity", "densify_share", "prune_opacity"):
            if not 0 < getattr(cfg, name) < 1:
                raise UserError(
                    f"{key_of(cfg, name)}={getattr(cfg, name)} is impossible; accepted: a number between 0 and 1."
                )

    def gaussians(self) -> Gaussians:
        """The Gaussians in use."""
        rows = self.in_use
        return Gaussians(
            self.positions[rows],
            self.log_scales[rows].exp(),
            self.rotations[rows],
            self._opacities()[rows],
            (FASTER * self.color_logits[rows]).sigmoid(),
        )

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Unsupported: Gaussians have no field.

        Raises:
            UserError: always.
        """
        raise UserError("gaussian-splats has no density; set the renderer to gaussian-rasterizer.")

    def isosurface(self) -> Any:
        """Unsupported: Gaussians have no surface.

        Raises:
            UserError: always.
        """
        raise UserError("gaussian-splats has no surface; set the exporter to gaussian-exporter, which writes PLY.")

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Remove and split Gaussians, where it is time to."""
        every = self.cfg.densify_interval
        is_due = every > 0 and 0 < global_step <= self.cfg.densify_until and global_step % every == 0
        if self.training and is_due and not on_load_weights and bool(self.gradient_sums.any()):
            self.densify()

    @torch.no_grad()
    def densify(self) -> None:
        """Remove transparent Gaussians, and split those with the largest gradients since the last call."""
        kept = self.in_use & (self._opacities() >= self.cfg.prune_opacity)
        if bool(kept.any()):
            self.in_use.copy_(kept)
        free = (~self.in_use).nonzero()[:, 0]
        n = min(len(free), max(1, int(self.cfg.densify_share * int(self.in_use.sum()))))
        largest = torch.where(self.in_use, self.gradient_sums, -1.0).topk(n).indices
        new = free[: len(largest)]
        shifts = self.log_scales[largest].exp() * torch.randn(len(largest), 3, device=new.device)
        for parameter in self.parameters():
            parameter[new] = parameter[largest]
        self.positions[new] += shifts
        for rows in (new, largest):
            self.log_scales[rows] -= torch.tensor(SPLIT).log()
        self.in_use[new] = True
        self.gradient_sums.zero_()

    def _opacities(self) -> Tensor:
        """Opacities of all rows, (max_points,)."""
        return (FASTER * self.opacity_logits).sigmoid()

    def _add_gradient(self, gradient: Tensor) -> None:
        self.gradient_sums += gradient.detach().norm(dim=-1)
