"""`particles-renderer`: N renderers of any registered type, one for each particle."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ...errors import UserError
from ...host import get_device, joint_rendering, register, warn
from ...particles.randomness import ParticleStreams
from ...particles.ranks import Shard
from ...particles.recomputing import SameRandomNumbers
from ..prior_config import configured_seed
from .base import ParticleEnsemble, find_particle_type, parts_by_particle
from .view_batches import join_views, split_views

GRIDS_AT_ONCE = 4  # occupancy grids that are updated in one call, which needs memory for all of their cells


@register("particles-renderer")
class ParticlesRenderer(ParticleEnsemble):
    """Renders each particle with its own renderer, and so with its own occupancy grid.

    The constructor takes the config, then these parts:
        geometry: a `particles-geometry`.
        material, background: ensembles, or single modules that all particles share.

    Raises:
        UserError: the geometry is not an ensemble, the parts have different numbers of particles, or the type is not
            registered. Errors of the inner renderers are not changed.
    """

    @dataclass
    class Config(ParticleEnsemble.Config):
        batched: bool | None = None  # render all particles in one call; null: where possible and faster (ours)
        # Random numbers by particle index and step, so that a particle does not depend on N and on the number of
        # ranks; null: on several ranks (ours)
        random_by_particle: bool | None = None

    kind = "renderer"
    all_shown = False  # whether the system shows the views of all particles in evaluation; set by systems that do

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        # In a dict, so that they are not submodules: checkpoints would hold them twice.
        self.parts = {"geometry": geometry, "material": material, "background": background}
        parts = parts_by_particle(**self.parts)
        particle_type = find_particle_type(self.kind, self.cfg.particle_type)
        self.build_particles(lambda index: particle_type(self.cfg.particle, **parts[index]), geometry.n_particles)
        self.seed = configured_seed(None)
        if self.cfg.random_by_particle:
            self.particles.streams = ParticleStreams(self.seed, "render")

    def keep(self, shard: Shard) -> None:
        super().keep(shard)
        if self.cfg.random_by_particle is False:
            raise UserError(
                "system.renderer.random_by_particle=false is impossible on several devices, whose random numbers must "
                "not depend on their number; accepted: null or true."
            )
        self.particles.streams = ParticleStreams(self.seed, "render")

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        if self.particles.streams is not None:
            self.particles.streams.begin(global_step)
        together = self.training and not on_load_weights and self._updates_together()
        particle: Any  # a renderer of the host
        for particle in self.particles if joint_rendering is not None else ():
            particle.updates_grid = not together
        super().do_update_step(epoch, global_step, on_load_weights)
        if together:
            for chosen in self._groups(GRIDS_AT_ONCE):
                renderers = [self.particles[index] for index in chosen]
                joint_rendering.update_grids_together(renderers, global_step, self._random_of(chosen))

    def _updates_together(self) -> bool:
        """Whether the occupancy grids of all particles are updated in one call."""
        wanted = self.cfg.batched or (self.cfg.batched is None and get_device().type == "cuda")
        return bool(wanted) and joint_rendering is not None and joint_rendering.can_render_together(self.particles)

    def _groups(self, size: int, chosen: range | None = None) -> list[range]:
        """Particles in groups of a size."""
        chosen = range(self.n_particles) if chosen is None else chosen
        return [chosen[first : first + size] for first in range(0, len(chosen), size)]

    def _random_of(self, chosen: range) -> Callable[[int], AbstractContextManager[None]]:
        """Contexts of the random numbers of some particles, by index among them."""
        return lambda index: self.particles.random(chosen[index])

    @property
    def geometry(self) -> Any:
        return self.parts["geometry"]

    @property
    def material(self) -> Any:
        return self.parts["material"]

    @property
    def background(self) -> Any:
        return self.parts["background"]

    def forward(self, **batch: Any) -> dict[str, Any]:
        """Render every particle.

        Args:
            **batch: arguments of the inner renderers, such as rays_o, rays_d (B, H, W, 3), light_positions (B, 3) and
                bg_color. In training B = N V: V views of each particle, one particle after the other. In evaluation
                every particle renders all B views.

        Returns:
            outputs of the inner renderers, joined by `join_views`: N V views in training, N B in evaluation.

        Raises:
            UserError: in training, B is not a multiple of N.
        """
        if not self.training and not self.all_shown and self.n_particles > 1:
            _warn_of_hidden_particles()
        parts = split_views(batch, self.n_particles, share=not self.training)
        return self._render_parts(parts, range(self.n_particles))

    def in_chunks(self, batch: dict[str, Any], size: int) -> list[Callable[[], dict[str, Any]]]:
        """Functions that render `size` particles each, in training; every call draws the same random numbers.

        Args:
            batch: see `forward`.
            size: number of particles; the last chunk may have fewer.
        """
        parts = split_views(batch, self.n_particles)
        functions: list[Callable[[], dict[str, Any]]] = []
        for chosen in self._groups(size):
            render = functools.partial(self._render_parts, [parts[index] for index in chosen], chosen)
            functions.append(SameRandomNumbers(render, self.particles.streams))
        return functions

    def _render_parts(self, parts: list[dict[str, Any]], chosen: range) -> dict[str, Any]:
        """Render some particles, each with its own batch."""
        renderers = [self.particles[index] for index in chosen]
        n_rays = parts[0]["rays_o"][..., 0].numel() if "rays_o" in parts[0] else 0
        if self._renders_together(parts[0]):
            return self._render_together(parts, chosen, n_rays)
        outputs = []
        for index, renderer, part in zip(chosen, renderers, parts, strict=True):
            with self.particles.random(index):
                outputs.append(_render(renderer, part))
        return join_views(outputs, [n_rays] * len(chosen))

    def _render_together(self, parts: list[dict[str, Any]], chosen: range, n_rays: int) -> dict[str, Any]:
        """Render some particles in one call, or in several where its tables would be too large."""
        outputs, counts = [], []
        groups = self._groups(joint_rendering.groups_of(self.particles, parts[0]), chosen)
        for group in groups:
            renderers = [self.particles[index] for index in group]
            own = [parts[index - chosen.start] for index in group]
            outputs.append(joint_rendering.render_together(renderers, own, self._random_of(group)))
            counts.append(n_rays * len(group))
        return outputs[0] if len(groups) == 1 else join_views(outputs, counts)

    def _renders_together(self, part: dict[str, Any]) -> bool:
        if self.cfg.batched is False or not self.training:
            return False
        if joint_rendering is None or not joint_rendering.can_render_together(self.particles):
            if self.cfg.batched:
                raise UserError(
                    "system.renderer.batched=true is impossible: it needs nerf-volume-renderer and implicit-volume "
                    "of the stand-in, without nerfacc; accepted here: null or false."
                )
            return False
        return self.cfg.batched or joint_rendering.is_faster_together(part)

    def batch_forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Same as `forward`, under the name and with the argument that threestudio-3dgs uses."""
        return self(**batch)


@functools.cache  # once per process
def _warn_of_hidden_particles() -> None:
    warn(
        "This system shows particle 0 only in validation and test; system_type=particle-dreamfusion-system or "
        "particle-prolificdreamer-system shows all particles. Training and export have all of them."
    )


def _render(renderer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    # In threestudio-3dgs `forward` renders one camera, and `batch_forward` a batch.
    if hasattr(renderer, "batch_forward"):
        return renderer.batch_forward(batch)
    return renderer(**batch)
