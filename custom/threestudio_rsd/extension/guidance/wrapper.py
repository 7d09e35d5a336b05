"""`repulsive-guidance`: repulsion around any registered guidance of threestudio or of another extension."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...distillation import force_by_view, loss_with_gradient
from ...errors import UserError, in_range, one_of
from ...finite import note
from ...host import BaseModule, find, get_device, info, register
from ...priors.pipelines import is_bundled
from ...repulsion import POTENTIALS, RBFKernel, RepulsiveForce, load_features
from .base import scheduled

FORCE_SCALES = ("constant", "relative")
OURS = ("views_per_particle", "n_particles", "opacity")  # entries of our batches that other guidance may not know


@register("repulsive-guidance")
class RepulsiveWrapper(BaseModule):
    """Any guidance, with a force between the images of the batch added to the gradient of its first loss.

    The force compares the clean images, for which it needs neither prior nor timestep, so that the wrapped guidance may
    be that of a multi-view model (MVDream, ImageDream), of Zero-1-to-3, or of SDI. With gamma 0 the result is that of
    the wrapped guidance, and no network is loaded. The force counts once for each row of the batch, as threestudio's
    losses do, which are means over it.

    Raises:
        UserError: an invalid config value, an unknown guidance, or one that gives no loss.
    """

    @dataclass
    class Config(BaseModule.Config):
        guidance_type: str = "stable-diffusion-guidance"  # registered name of the wrapped guidance
        guidance: dict = field(default_factory=dict)  # its config
        gamma: Any = 0.0  # repulsion weight; number or schedule [start_step, start, end, end_step]
        # constant: gamma R on the pixels; relative: R has gamma times the norm of the guidance's gradient, per particle
        force_scale: str = "constant"
        features: str = "dino"  # dino (the paper), dinov2, clip, lpips, euclidean, a folder or a hub id
        bandwidth: Any = "median"  # h in squared feature units, or median: h = m^2 / log N (6.1)
        include_self: bool = False  # include j = i in the sum, as printed in (15)
        force_form: str = "log_sum"  # log_sum (15), sum_log (8), sum (36), or order_two (SPARKE; j = i always counts)
        repulsion_every: int = 1  # the force acts in every k-th step
        chunk_size: int | None = None  # images differentiated at once; null: all where memory allows

    cfg: Config
    inner: Any

    def configure(self) -> None:
        cfg = self.cfg
        one_of("force_scale", cfg.force_scale, FORCE_SCALES)
        one_of("force_form", cfg.force_form, tuple(POTENTIALS))
        in_range("repulsion_every", cfg.repulsion_every, 1)
        if cfg.guidance_type == "repulsive-guidance":
            raise UserError("guidance.guidance_type='repulsive-guidance' wraps itself; name the guidance to wrap.")
        self.inner = find(cfg.guidance_type)(cfg.guidance)
        self._names = _accepted_names(self.inner)
        bundled = is_bundled(str(cfg.guidance.get("pretrained_model_name_or_path", "")))
        self.force: RepulsiveForce | None = None
        if cfg.gamma != 0:
            features = load_features(cfg.features, bundled=bundled, device=get_device())
            self.force = RepulsiveForce(
                features,
                RBFKernel(cfg.bandwidth),
                include_self=cfg.include_self,
                form=cfg.force_form,
                chunk_size=cfg.chunk_size,
            )
        self.update_step(0, 0)
        info(f"Repulsion around {cfg.guidance_type}, gamma {cfg.gamma}, features {cfg.features}")

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Evaluate gamma at this step; the wrapped guidance is updated by the host."""
        self.step = global_step
        self.gamma = scheduled("gamma", self.cfg.gamma, epoch, global_step)

    def __call__(self, rgb: Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Losses of the wrapped guidance, the first with the force.

        Args:
            rgb: images (N V, H, W, 3) in [0, 1].
            *args: further arguments of the wrapped guidance, as its system gives them.
            **kwargs: see `args`. `views_per_particle` = V: the rows are V views of each particle, one particle after
                the other, and view i of a particle is compared with view i of the others; by default each row is a
                particle.

        Returns:
            Output of the wrapped guidance, with `force_norm` and `gamma`.

        Raises:
            UserError: the number of rows is not a multiple of V, or rgb holds latents.
        """
        views = int(kwargs.get("views_per_particle", 1))
        if self._names is not None:
            kwargs = {name: value for name, value in kwargs.items() if name in self._names or name not in OURS}
        output: dict[str, Any] = self.inner(rgb, *args, **kwargs)
        if self.force is None or self.gamma == 0 or self.step % self.cfg.repulsion_every:
            return output
        if views < 1 or len(rgb) % views:
            raise UserError(f"views_per_particle={views} does not divide the {len(rgb)} views of the batch.")
        if rgb.shape[-1] != 3 or kwargs.get("rgb_as_latents"):
            raise UserError("repulsive-guidance compares images, and the guidance is given latents; accepted: images.")
        name = next((key for key in output if key.startswith("loss_")), None)
        if name is None:
            raise UserError(f"guidance_type={self.cfg.guidance_type!r} returns no loss; accepted: one that does.")
        gradient = self._gradient(rgb, output[name], views)
        repulsion = loss_with_gradient(rgb.float(), gradient) / len(rgb)
        return {**output, name: output[name] + repulsion, "force_norm": gradient.norm(), "gamma": float(self.gamma)}

    def _gradient(self, rgb: Tensor, loss: Tensor, views: int) -> Tensor:
        """Gradient of the repulsion on the images (N V, H, W, 3), times the number of rows."""
        assert self.force is not None
        images = rgb.detach().permute(0, 3, 1, 2).float()
        force = force_by_view(self.force, images, views).permute(0, 2, 3, 1)
        note("the repulsive force", force.unflatten(0, (-1, views)), lower="system.guidance.gamma")
        if self.cfg.force_scale == "constant":
            return self.gamma * force
        (pull,) = torch.autograd.grad(loss, rgb, retain_graph=True)
        pull_norm, force_norm = (_norms(part.float() * scale, views) for part, scale in ((pull, len(rgb)), (force, 1)))
        ratio = torch.where(force_norm > 0, pull_norm / force_norm.clamp_min(torch.finfo().tiny), 0.0)
        return self.gamma * force * ratio.repeat_interleave(views)[:, None, None, None]

    def __getattr__(self, name: str) -> Any:
        """Attributes of the wrapped guidance, which some systems read."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("inner") or self.__dict__.get("_modules", {}).get("inner")
            if inner is None or name.startswith("_"):
                raise
            return getattr(inner, name)


def _accepted_names(guidance: Any) -> frozenset[str] | None:
    """Names of the arguments that a guidance takes; None: any."""
    parameters = inspect.signature(type(guidance).__call__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def _norms(gradient: Tensor, views: int) -> Tensor:
    """Norm over the views of each particle, (N,)."""
    return gradient.unflatten(0, (-1, views)).flatten(1).norm(dim=1)
