"""Base class of the guidance modules: builds prior, base method and force, and returns losses to threestudio."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...distillation import (
    EXACT,
    CameraCondition,
    HeldForce,
    HeldTarget,
    Method,
    RepulsiveDistillation,
    RepulsiveGradient,
    TimestepSchedule,
    loss_with_gradient,
)
from ...errors import UserError, in_range, one_of
from ...finite import note
from ...host import BaseModule, C, get_device, info
from ...particles.ranks import Shard
from ...particles.recomputing import in_chunks
from ...priors import Prior, PromptEmbedding
from ...priors.noise_levels import interval_from
from ..prior_config import PriorConfig, configured_prior, configured_seed
from ..prompt_embedding import embedding_of_views
from .noise import GuidanceNoise, NoiseConfig
from .repulsion import RENDER, RepulsionConfig, acting_gamma, check_repulsion, make_force
from .samples import SampleImages

HALF = "system.guidance.half_precision_weights=false"  # of priors that overflow in half precision
REDUCTIONS = ("sum", "mean")


class RepulsiveGuidance(SampleImages, BaseModule):
    """Guidance that pulls each image of a batch towards the prior and away from the other images (Alg. 1).

    The computation is `RepulsiveDistillation`. Subclasses define the base method (`make_method`) and the name of its
    loss (`loss_name`).

    Raises:
        UserError: an invalid config value; names the key, the value and what is accepted.
    """

    @dataclass
    class Config(NoiseConfig, RepulsionConfig, PriorConfig, BaseModule.Config):
        # Base method.
        min_step_percent: Any = 0.02  # lowest t / T; number or schedule; threestudio
        max_step_percent: Any = 0.98  # highest t / T; number or schedule; threestudio
        timestep_schedule: str = "random"  # random (C.1), descending, shrinking (ours)
        total_steps: int | None = None  # length of the run in steps, for descending and shrinking (ours)
        # w(t): sds, uniform, fantasia3d, snr (gradient x - D), or exact (ours): lambda_t - lambda_{t_next} with
        # lambda = sigma / alpha, for plain gradient descent (SGD, lr 1) and descending t; with fixed noise it is DDIM
        weighting_strategy: str = "sds"
        inner_steps: int = 1  # optimizer steps for each target D, with weighting_strategy=snr; SDI
        guidance_interval: list[float] | None = None  # levels sigma / alpha in (low, high] with guidance; null: all
        grad_clip: Any | None = None  # clip each gradient value to this magnitude; number or schedule; threestudio
        view_dependent_prompting: bool = True  # add the direction of view to the prompt; threestudio
        # Loss and seed.
        # sum over the particles, with a mean over the views of each (ours), or mean over the batch (threestudio)
        loss_reduction: str = "sum"
        seed: int | None = None  # seed of noise and timesteps; null: seed of the run

    cfg: Config
    prior: Prior
    method: Any
    loss_name = ""
    spreads_particles = True  # whether particles may be spread over ranks
    lowered = f"guidance_scale; {HALF}"  # keys to lower where the direction is not finite

    def make_method(self) -> Method:
        """Base method, built on `self.prior`."""
        raise NotImplementedError

    def configure(self) -> None:
        cfg = self.cfg
        one_of("loss_reduction", cfg.loss_reduction, REDUCTIONS)
        check_repulsion(cfg)
        in_range("inner_steps", cfg.inner_steps, 1)
        if cfg.weighting_strategy == EXACT and cfg.timestep_schedule != "descending":
            raise UserError(
                f"weighting_strategy='exact' follows descending noise levels, which timestep_schedule="
                f"{cfg.timestep_schedule!r} does not give; accepted: timestep_schedule='descending'."
            )
        if cfg.inner_steps > 1 and cfg.weighting_strategy != "snr":
            raise UserError(
                f"inner_steps={cfg.inner_steps} holds the target of the gradient x - D; accepted with it: "
                f"weighting_strategy='snr', not {cfg.weighting_strategy!r}."
            )
        prior = configured_prior(cfg)
        object.__setattr__(self, "prior", prior)  # not a submodule: checkpoints never hold its weights
        self.seed = configured_seed(cfg.seed)
        self.schedule = TimestepSchedule(cfg.timestep_schedule, _targets(cfg.total_steps, cfg.inner_steps), self.seed)
        self.method = self.make_method()
        self.distillation = RepulsiveDistillation(
            self.method,
            make_force(cfg, prior, get_device()),
            cfg.kernel_input,
            cfg.weighting_strategy,
            cfg.force_scale,
            interval_from("guidance_interval", cfg.guidance_interval),
            interval_from("repulsion_interval", cfg.repulsion_interval),
        )
        self.noise = GuidanceNoise(cfg, self._refresh_rate, prior, self.seed)
        self.held_force = HeldForce(cfg.repulsion_refresh) if cfg.repulsion_refresh > 1 else None
        self.held_target = HeldTarget(cfg.inner_steps) if cfg.inner_steps > 1 else None
        self.update_step(0, 0)
        info(f"Repulsive guidance on {prior.fingerprint}, gamma {cfg.gamma}, features {cfg.features}")

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Evaluate the schedules at this step."""
        cfg = self.cfg
        self.step = global_step
        last = self._last_timestep
        self.min_t = round(scheduled("min_step_percent", cfg.min_step_percent, epoch, global_step, 1.0) * last)
        self.max_t = round(scheduled("max_step_percent", cfg.max_step_percent, epoch, global_step, 1.0) * last)
        self.gamma = scheduled("gamma", cfg.gamma, epoch, global_step)
        self.grad_clip = None if cfg.grad_clip is None else scheduled("grad_clip", cfg.grad_clip, epoch, global_step)

    @property
    def _last_timestep(self) -> int:
        """Timestep of max_step_percent=1: where exact steps can start from pure noise, that of pure noise."""
        if self.cfg.weighting_strategy == EXACT and self.prior.denoises_pure_noise:
            return self.prior.num_train_timesteps - 1
        return self.prior.last_timestep

    def __call__(
        self,
        rgb: Tensor,
        prompt_utils: Any,
        elevation: Tensor,
        azimuth: Tensor,
        camera_distances: Tensor,
        rgb_as_latents: bool = False,
        **batch: Any,
    ) -> dict[str, Any]:
        """Losses whose gradient with respect to `rgb` is that of RSD.

        Args:
            rgb: images (N, H, W, 3) in [0, 1], or latents (N, H, W, C) if `rgb_as_latents`.
            prompt_utils: output of the prompt processor.
            elevation: elevation of each camera, degrees, (N,).
            azimuth: azimuth of each camera, degrees, (N,).
            camera_distances: distance of each camera from the origin, (N,).
            rgb_as_latents: whether `rgb` holds latents.
            **batch: other entries of the data's batch. `views_per_particle` = V: the rows are V views of each
                particle, one particle after the other; by default each row is a particle. `c2w`, `mvp_mtx`
                (N, 4, 4): camera matrices, read if the base method has a camera condition. `shard`: particles of this
                rank, where the rows are those of one rank. `rows_at_once`: rows whose graph is held in memory at once.

        Returns:
            `loss_NAME`, which systems weight by `loss.lambda_NAME`, and scalars to log.

        Raises:
            UserError: the number of rows is not a multiple of V.
        """
        v = self._views_per_particle(len(rgb), batch)
        shard = batch.get("shard")
        if shard is None or shard.is_whole:  # also where the particles are the views of one object
            shard = Shard.whole(len(rgb) // v)
        particles = rgb.permute(0, 3, 1, 2).float()
        note("the render", rgb.unflatten(0, (-1, v)), lower="the learning rate system.optimizer")
        if not rgb_as_latents:
            particles = in_chunks(self.prior.encode, particles, batch.get("rows_at_once"))
            note("the encoded image", particles.unflatten(0, (-1, v)), lower=HALF)
        embedding = self._embedding(prompt_utils, elevation, azimuth, camera_distances)
        cameras = self.cameras(prompt_utils, elevation, azimuth, camera_distances, batch)
        cameras_of_batch = {"elevation": elevation, "azimuth": azimuth, **batch}
        t, t_next = self._timesteps()
        if self.held_target is not None and not self.held_target.is_due(self.step):
            gradient, facts = self.held_target.gradient(particles), {}
        else:
            noise = self.noise(self.step, particles.shape, v, t, self.max_t, embedding, cameras_of_batch, shard)
            noise = self.particle_noise(noise, particles, t, embedding)
            gamma = 0.0 if self.cfg.feature_decoder == RENDER else self._gamma_at(t)
            held = self._held_force(batch)
            result = self.distillation(particles, t, noise, embedding, gamma, cameras, v, t_next, held, shard)
            if self.held_force is not None:
                self.held_force.update(self.step, result.force)
            gradient = result.gradient
            self._note(result, t, v)
            force_norm = 0.0 if result.force is None else result.force.norm()
            facts = {"direction_norm": result.direction.norm(), "force_norm": force_norm}
            if self.held_target is not None:
                self.held_target.update(particles, gradient)
        if self.grad_clip is not None:
            gradient = gradient.clamp(-self.grad_clip, self.grad_clip)
        loss = loss_with_gradient(particles, gradient)
        if self.cfg.feature_decoder == RENDER:
            render_loss, facts["force_norm"] = self._render_repulsion(rgb, rgb_as_latents, t, t_next, v, shard)
            loss = loss + render_loss
        loss = loss / (shard.total * v if self.cfg.loss_reduction == "mean" else v)
        return {
            f"loss_{self.loss_name}": loss,
            "grad_norm": gradient.norm(),
            **facts,
            "timestep": float(t),
            "gamma": float(self.gamma),
            **self.method_losses(particles, embedding, cameras, shard.views(v)),
        }

    def _note(self, result: RepulsiveGradient, t: int, v: int) -> None:
        """Have the parts of the gradient checked for numbers that are not finite."""
        note("the direction", result.direction.unflatten(0, (-1, v)), t=t, lower=f"system.guidance.{self.lowered}")
        if result.force is not None:
            note("the repulsive force", result.force.unflatten(0, (-1, v)), t=t, lower="system.guidance.gamma")
        note("the gradient", result.gradient.unflatten(0, (-1, v)), t=t, lower="system.guidance.gamma")

    def _held_force(self, batch: dict[str, Any]) -> Tensor | None:
        """Force of an earlier step, where it is used again.

        Raises:
            UserError: the batch has cameras, which move between the steps.
        """
        if self.held_force is None:
            return None
        if "c2w" in batch:
            raise UserError(
                f"repulsion_refresh={self.cfg.repulsion_refresh} is impossible in 3D, where the cameras move between "
                "the steps; accepted: 1."
            )
        return self.held_force.at(self.step, self.prior.device)

    def _render_repulsion(
        self, rgb: Tensor, rgb_as_latents: bool, t: int, t_next: int | None, v: int, shard: Shard
    ) -> tuple[Tensor | float, Tensor | float]:
        """Loss whose gradient is the repulsion between the renders (N V, H, W, 3) themselves, and the force's norm.

        Raises:
            UserError: they are latents, which a feature network cannot see.
        """
        if rgb_as_latents:
            raise UserError(
                "feature_decoder='render' needs images, and the particles are latents; accepted: full, resized, linear."
            )
        images = rgb.permute(0, 3, 1, 2).float()
        repulsion = self.distillation.repulsion_gradient(images.detach(), t, self._gamma_at(t), v, t_next, shard)
        if repulsion is None:
            return 0.0, 0.0
        gradient, force = repulsion
        return loss_with_gradient(images, gradient), force.norm()

    def _timesteps(self) -> tuple[int, int | None]:
        """Timesteps of the present target and of the next one; None after the last."""
        index, total = self.step // self.cfg.inner_steps, self.cfg.total_steps
        is_last = total is not None and (index + 1) * self.cfg.inner_steps >= total
        t = self.schedule(index, self.min_t, self.max_t)
        return t, None if is_last else self.schedule(index + 1, self.min_t, self.max_t)

    def _refresh_rate(self, step: int) -> float:
        """Share of the noise's variance that a step replaces."""
        return scheduled("noise_refresh_rate", self.cfg.noise_refresh_rate, 0, step, 1)

    def particle_noise(self, noise: Tensor, particles: Tensor, t: int, embedding: PromptEmbedding) -> Tensor:
        """Noise that is added to the particles, made from `noise` of the noise source; by default that itself."""
        return noise

    def cameras(
        self, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor, batch: dict[str, Any]
    ) -> CameraCondition | None:
        """Cameras of the views, for a base method whose own network takes them; None: it takes none."""
        return None

    def method_losses(
        self, particles: Tensor, embedding: PromptEmbedding, cameras: CameraCondition | None, rows: Shard
    ) -> dict[str, Tensor]:
        """Losses of networks that the base method trains beside the particles; their sums over all ranks count.

        Args:
            particles: rows of this rank.
            embedding: the prompt.
            cameras: cameras of the rows, for a network that takes them.
            rows: rows of each rank.
        """
        return {}

    def _views_per_particle(self, n_views: int, batch: dict[str, Any]) -> int:
        v = int(batch.get("views_per_particle", 1))
        if v < 1 or n_views % v:
            raise UserError(
                f"views_per_particle={v} does not divide the {n_views} views of the batch; fix the data module."
            )
        return v

    def _gamma_at(self, t: int) -> float:
        """Repulsion weight at timestep t; 0 in steps and at timesteps without force."""
        return acting_gamma(self.cfg, self.gamma, self.step, t, self.prior.num_train_timesteps)

    def _embedding(
        self, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor
    ) -> PromptEmbedding:
        """Embeddings of the views; classifier-free guidance runs against the negative prompt."""
        return embedding_of_views(
            prompt_utils,
            elevation,
            azimuth,
            camera_distances,
            self.cfg.view_dependent_prompting,
            device=self.prior.device,
        )


def _targets(total_steps: int | None, inner_steps: int) -> int | None:
    """Number of targets of a run."""
    return None if total_steps is None else math.ceil(total_steps / inner_steps)


def scheduled(key: str, value: Any, epoch: int, step: int, upper: float | None = None) -> float:
    """Value at a step of a number or schedule.

    Args:
        key: name of the setting, for the message.
        value: a number, or a schedule [start_step, start, end, end_step].
        epoch: number of finished epochs.
        step: training step.
        upper: largest accepted value; None: no upper limit.

    Raises:
        UserError: it is neither, or the value lies below 0 or above `upper`.
    """
    try:
        number = float(C(value, epoch, step))
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"{key}={value!r} is impossible; accepted: a number or a schedule [start_step, start, end, end_step]."
        ) from error
    in_range(key, number, 0.0, upper)
    return number
