"""Base class of the text-to-3D systems: N particles, all rendered from the same cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UserError, in_range
from ...host import BaseLift3DSystem, PromptProcessor, find
from ...metrics import view_diversity
from ...particles.clipping import clip_particle_gradients
from ...particles.ranks import Shard, gather_rows, n_ranks, share
from ...particles.recomputing import recomputed
from ...priors.pipelines import is_bundled
from ...priors.row_chunks import at_most_rows
from ..building import build
from ..ensembles.base import ParticleEnsemble
from ..ensembles.view_batches import count_views
from ..prompt_embedding import check_view_prompts
from ..ranks import SpreadParticles
from .base_2d import measuring_networks
from .render_losses import render_losses, total_loss
from .run_cost import RunCost
from .view_saver import ViewSaver

IMAGES = ("comp_rgb", "comp_normal", "opacity")  # images of the renderer that are shown


class ParticleLift3DSystem(SpreadParticles, RunCost, BaseLift3DSystem):
    """N 3D scenes optimized by a guidance on their renders (Alg. 1).

    With `particles-geometry` (and ensembles of the other parts) each particle is a scene. Any other geometry is one
    scene, whose views are the particles (the authors' runs, C.3.5).

    Raises:
        UserError: a loss has no weight, or the parts have different numbers of particles.
    """

    @dataclass
    class Config(BaseLift3DSystem.Config):
        # feature networks in which diversity (38) is measured; names of repulsion.load_features
        diversity_features: list[str] = field(default_factory=lambda: ["dino", "clip"])
        metrics_every: int = 50  # steps between two measurements; 0: only at the end
        # Particles whose graph of the renders is in memory at once; the others are rendered again in the backward pass,
        # so that memory does not grow with N. null: all, which takes less time (ours)
        render_chunk_size: int | None = None

    cfg: Config
    guidance: Any

    def configure(self) -> None:
        super().configure()
        self.n_particles = int(getattr(self.geometry, "n_particles", 1))
        self.shard = Shard.whole(self.n_particles)
        self._check_chunk_size()
        self.renderer.all_shown = True  # by the view saver
        self._networks: dict[str, Any] | None = None
        self._view_saver: ViewSaver | None = None

    def _check_chunk_size(self) -> None:
        size = self.cfg.render_chunk_size
        if size is None:
            return
        in_range("system.render_chunk_size", size, 1, kind="null or an integer")
        if not hasattr(self.renderer, "in_chunks"):
            raise UserError(
                f"system.render_chunk_size={size} needs system.renderer_type=particles-renderer; accepted here: null."
            )

    def keep_particles(self, shard: Shard) -> None:
        """See `SpreadParticles`."""
        for part in (self.geometry, self.material, self.background, self.renderer):
            if isinstance(part, ParticleEnsemble):
                part.keep(shard)

    def make_guidance(self) -> None:
        """Build prompt processor and guidance, which only training needs."""
        self.prompt_processor = build(
            "system.prompt_processor_type", self.cfg.prompt_processor_type, self.cfg.prompt_processor, PromptProcessor
        )
        check_view_prompts(self.cfg.prompt_processor, self.cfg.guidance)
        self.guidance = find(self.cfg.guidance_type)(self.cfg.guidance)
        self.check_ranks(n_ranks())
        self.watch(getattr(self.guidance, "prior", None))
        self.prompt_utils = self.prompt_processor()

    @property
    def is_bundled(self) -> bool:
        """Whether the prior is the bundled one, for which a classifier can check what the renders show."""
        config = self.cfg.guidance
        wrapped = config.get("guidance", {})  # of repulsive-guidance
        return is_bundled(str({**config, **wrapped}.get("pretrained_model_name_or_path", "")))

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Render a batch of views.

        Args:
            batch: batch of the data module.

        Returns:
            output of the renderer: (N V, H, W, C) tensors in training, one particle after the other; in evaluation
            every particle renders all views.
        """
        return self.renderer(**batch)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        self._check_views(batch)
        size, n = self.cfg.render_chunk_size, self.shard.count
        if size is None or size >= n:
            out, of_renders, rows = self(batch), None, None
        else:
            out, of_renders = self._render_in_chunks(batch, size)
            rows = size * (len(out["comp_rgb"]) // n)
        self._rgb = out["comp_rgb"].detach()
        opacity = {"opacity": out["opacity"]} if "opacity" in out else {}  # for world-map noise
        with at_most_rows(getattr(self.guidance, "prior", None), rows):
            output = self.guidance(
                out["comp_rgb"],
                self.prompt_utils,
                **batch,
                **opacity,
                rgb_as_latents=False,
                shard=self.shard,
                rows_at_once=rows,
            )
        return {"loss": total_loss(self, output, out, n, of_renders)}

    def _render_in_chunks(self, batch: dict[str, Any], size: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Renders of all particles without their graphs, which the backward pass builds for `size` particles at once.

        Returns:
            comp_rgb, and opacity if there is one, without gradient; and the result of `render_losses`.
        """
        anchor = torch.zeros((), device=self.device, requires_grad=True)
        names: list[str] = []  # of the losses
        views = count_views(batch) // self.shard.count

        def outputs(render: Callable[[], dict[str, Any]], anchor: Tensor) -> tuple[Tensor, ...]:
            out = render()
            losses = render_losses(self, out, len(out["comp_rgb"]) // views)
            names[:] = losses
            opacity = (out["opacity"].detach(),) if "opacity" in out else ()
            return (out["comp_rgb"], *losses.values(), *opacity)

        chunks = [recomputed(partial(outputs, render), anchor) for render in self.renderer.in_chunks(batch, size)]
        rgb, *rest = zip(*chunks, strict=True)
        out = {"comp_rgb": torch.cat(rgb)}
        if len(rest) > len(names):
            out["opacity"] = torch.cat(rest[-1])
        return out, {name: torch.stack(values).sum() for name, values in zip(names, rest, strict=False)}

    def _check_views(self, batch: dict[str, Any]) -> None:
        """Check that data and geometry have the same number of particles.

        Raises:
            UserError: they have not.
        """
        n = self.n_particles
        given = int(batch.get("n_particles", len(batch["rays_o"]) if n > 1 else 1))
        if given != n:
            raise UserError(
                f"data.n_particles={given} does not match the {n} particles of system.geometry; give "
                f"data_type=particle-camera-datamodule and data.n_particles={n}."
            )

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        every = self.cfg.metrics_every
        if every > 0 and self.true_global_step % every == 0:
            for name, value in share(self._diversity(self._all_views(self._rgb))).items():
                self.log(f"train/diversity_{name}", value, prog_bar=True)
                self.log(f"train/similarity_{name}", 1 - value)

    def _diversity(self, rgb: Tensor) -> dict[str, float]:
        """Diversity of views (N V, H, W, 3) of all particles; empty where another rank measures it."""
        if not self.makes_results:
            return {}
        # With one scene its views are the ensemble: N particles with one view each.
        n = self.n_particles if self.n_particles > 1 else len(rgb)
        return view_diversity(rgb.permute(0, 3, 1, 2).unflatten(0, (n, -1)), self.measuring_networks())

    def _all_views(self, rows: Tensor) -> Tensor:
        """Views of the particles of all ranks, from those of this rank."""
        return gather_rows(rows, self.shard.views(len(rows) // self.shard.count))

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Images of all particles in the views of an evaluation batch."""
        out = self(batch)
        if self.shard.is_whole:
            return out
        return {name: self._all_views(out[name]) for name in IMAGES if name in out}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient norm of each particle separately, as trainer.gradient_clip_val would in a run of its own.

        Args:
            optimizer: optimizer of the system.
            gradient_clip_val: largest norm; None or 0: no clipping.
            gradient_clip_algorithm: norm, or value, which Lightning does.
        """
        parts = [getattr(self, name) for name in ("geometry", "material", "background")]
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm") and self.n_particles > 1:
            clip_particle_gradients(particles_of(parts), gradient_clip_val)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def measuring_networks(self) -> dict[str, Any]:
        """Feature networks that measure diversity, by name; loaded at the first call."""
        if self._networks is None:
            self._networks = measuring_networks(list(self.cfg.diversity_features), self.is_bundled)
        return self._networks

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        shown = self._shown(batch)
        if self.makes_results:
            self.view_saver("val").save_row(shown, int(batch["index"][0]))

    def on_validation_epoch_end(self) -> None:
        pass

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        shown = self._shown(batch)
        if self.makes_results:
            self.view_saver("test").add(shown, batch)

    def on_test_epoch_end(self) -> None:
        facts = self.run_facts()
        if self.makes_results:
            self.view_saver("test").finish(facts)

    def on_test_start(self) -> None:
        self._view_saver = None

    def on_validation_start(self) -> None:
        self._view_saver = None

    def on_predict_start(self) -> None:
        self._view_saver = None
        super().on_predict_start()

    def view_saver(self, stage: str) -> ViewSaver:
        """Saver of the views of this evaluation; `stage` is val or test."""
        if self._view_saver is None:
            self._view_saver = ViewSaver(self, f"it{self.true_global_step}-{stage}")
        return self._view_saver

    def run_facts(self) -> dict[str, Any]:
        """Entries of metrics.json beside the metrics."""
        return {
            "prompt": self.cfg.prompt_processor.get("prompt"),
            "n_particles": self.n_particles,
            "steps": int(self.true_global_step),
            "gamma": self._gamma(),
            **self.cost_facts(self.n_particles),
        }

    def _gamma(self) -> float | None:
        """Repulsion weight at the present step; None for a guidance without one. Evaluation does not build it."""
        if hasattr(self, "guidance"):
            return getattr(self.guidance, "gamma", None)
        gamma = self.cfg.guidance.get("gamma")
        return None if gamma is None else self.C(gamma)


def particles_of(parts: Sequence[Any]) -> list[nn.ModuleList]:
    """Modules of each particle in those of `parts` that are ensembles."""
    ensembles = [part for part in parts if hasattr(part, "particles")]
    return [nn.ModuleList(modules) for modules in zip(*(part.particles for part in ensembles), strict=True)]
