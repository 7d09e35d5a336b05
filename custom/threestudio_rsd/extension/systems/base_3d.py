"""What the text-to-3D systems share: N particles, each rendered from the same cameras."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ...errors import UserError
from ...host import BaseLift3DSystem, find
from ...particles.clipping import clip_particle_gradients
from ...priors.pipelines import is_bundled
from ...toyworld import view_diversity
from .base_2d import measuring_networks
from .render_losses import total_loss
from .view_saver import ParticleViews


class ParticleLift3DSystem(BaseLift3DSystem):
    """N particles pulled by a guidance and pushed apart by it, in views that the prior judges (Alg. 1).

    With `particles-geometry` and its kin there are N scenes; any other geometry is one scene, whose views make up the
    ensemble (the authors' runs, C.3.5).

    Raises:
        UserError: a loss without weight, parts with different numbers of particles, or metrics that are impossible.
    """

    @dataclass
    class Config(BaseLift3DSystem.Config):
        diversity_features: list[str] = field(
            default_factory=lambda: ["dino", "clip"]
        )  # feature networks that measure diversity
        metrics_every: int = 50  # steps from one measurement to the next; 0: only at the end

    cfg: Config
    guidance: Any

    def configure(self) -> None:
        super().configure()
        self.n_particles = int(getattr(self.geometry, "n_particles", 1))
        self._networks: dict[str, Any] | None = None
        self._views: ParticleViews | None = None
        self._seconds, self._steps = 0.0, 0

    def make_guidance(self) -> None:
        """Build prompt processor and guidance; they are needed in training only."""
        self.prompt_processor = find(self.cfg.prompt_processor_type)(self.cfg.prompt_processor)
        self.guidance = find(self.cfg.guidance_type)(self.cfg.guidance)
        self.prompt_utils = self.prompt_processor()

    @property
    def is_bundled(self) -> bool:
        """Whether the prior is the one that ships, on whose world the truth is known."""
        return is_bundled(self.cfg.guidance.get("pretrained_model_name_or_path", ""))

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Render (n_particles V, H, W, C), particle by particle; in evaluation every particle renders each view."""
        return self.renderer(**batch)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        self._started = time.perf_counter()
        self._check_views(batch)
        out = self(batch)
        self._rgb = out["comp_rgb"].detach()
        output = self.guidance(out["comp_rgb"], self.prompt_utils, **batch, rgb_as_latents=False)
        return {"loss": total_loss(self, output, out, self.n_particles)}

    def _check_views(self, batch: dict[str, Any]) -> None:
        """Raise UserError where the guidance would take other views for particles than the renderer does."""
        n = self.n_particles
        given = int(batch.get("n_particles", len(batch["rays_o"]) if n > 1 else 1))
        if given != n:
            raise UserError(
                f"data.n_particles={given} does not fit the {n} particles of system.geometry; give "
                f"data_type=particle-camera-datamodule and data.n_particles={n}."
            )

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        self._seconds += time.perf_counter() - self._started
        self._steps += 1
        every = self.cfg.metrics_every
        if every > 0 and self.true_global_step % every == 0:
            # One scene's views are an ensemble of their own, seen by one camera each.
            n = self.n_particles if self.n_particles > 1 else len(self._rgb)
            images = self._rgb.permute(0, 3, 1, 2).unflatten(0, (n, -1))
            for name, value in view_diversity(images, self.measuring_networks()).items():
                self.log(f"train/diversity_{name}", value, prog_bar=True)
                self.log(f"train/similarity_{name}", 1 - value)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """trainer.gradient_clip_val bounds the gradient of each particle for itself."""
        parts = [getattr(self, name) for name in ("geometry", "material", "background")]
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm") and self.n_particles > 1:
            clip_particle_gradients(particles_of(parts), gradient_clip_val)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def measuring_networks(self) -> dict[str, Any]:
        """The feature networks that measure diversity, by name, loaded once."""
        if self._networks is None:
            self._networks = measuring_networks(list(self.cfg.diversity_features), self.is_bundled)
        return self._networks

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.views("val").save_row(self(batch), int(batch["index"][0]))

    def on_validation_epoch_end(self) -> None:
        pass

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.views("test").add(self(batch), batch)

    def on_test_epoch_end(self) -> None:
        self.views("test").finish(self.run_facts())

    def on_test_start(self) -> None:
        self._views = None

    def on_validation_start(self) -> None:
        self._views = None

    def on_predict_start(self) -> None:
        self._views = None
        super().on_predict_start()

    def views(self, stage: str) -> ParticleViews:
        """What gathers this evaluation's views."""
        if self._views is None:
            self._views = ParticleViews(self, f"it{self.true_global_step}-{stage}")
        return self._views

    def run_facts(self) -> dict[str, Any]:
        """What metrics.json says beside the measures; seconds per step are those of this process's training."""
        guidance = getattr(self, "guidance", None)
        return {
            "prompt": self.cfg.prompt_processor.get("prompt"),
            "n_particles": self.n_particles,
            "steps": int(self.true_global_step),
            "gamma": getattr(guidance, "gamma", None),
            "seconds_per_step": self._seconds / self._steps if self._steps else None,
        }


def particles_of(parts: Sequence[Any]) -> list[nn.ModuleList]:
    """Particle by particle, what the wrappers among `parts` hold of it."""
    wrappers = [part for part in parts if hasattr(part, "particles")]
    return [nn.ModuleList(modules) for modules in zip(*(part.particles for part in wrappers), strict=True)]
