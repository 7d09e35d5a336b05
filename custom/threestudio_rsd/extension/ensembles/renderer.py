"""`particles-renderer`: N renderers of any registered type, one for each particle."""

from dataclasses import dataclass
from typing import Any

from ...errors import UserError
from ...host import joint_rendering, register
from .base import ParticleEnsemble, find_particle_type, particles_of_parts
from .view_batches import join_views, split_views


@register("particles-renderer")
class ParticlesRenderer(ParticleEnsemble):
    """Renders each particle by a renderer of its own, and so with an occupancy grid of its own.

    Args of the constructor, after the config:
        geometry: a `particles-geometry`.
        material, background: wrappers as well, or modules that all particles share.

    Raises:
        UserError: a geometry that has no particles, parts with different numbers of them, or a type that is not
            registered; the inner renderers' own errors pass.
    """

    @dataclass
    class Config(ParticleEnsemble.Config):
        batched: bool | None = None  # all particles in one call; null: where that is possible and faster (ours)

    kind = "renderer"

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        # In a dict, so that they do not become submodules, which would double them in checkpoints.
        self.parts = {"geometry": geometry, "material": material, "background": background}
        of_particles = particles_of_parts(**self.parts)
        particle_type = find_particle_type(self.kind, self.cfg.particle_type)
        self.hold(lambda index: particle_type(self.cfg.particle, **of_particles[index]), geometry.n_particles)

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
            batch: what the inner renderers take, such as rays_o, rays_d (B, H, W, 3), light_positions (B, 3),
                bg_color. In training B = N x V views, particle by particle; in evaluation every particle renders all.

        Returns:
            what an inner renderer returns, with N V views in training, else N B (see `join_views`).

        Raises:
            UserError: in training, B does not divide by N.
        """
        parts = split_views(batch, self.n_particles, share=not self.training)
        if self._renders_together(parts[0]):
            return joint_rendering.render_together(self.particles, parts)
        outputs = [_render(renderer, part) for renderer, part in zip(self.particles, parts, strict=True)]
        n_rays = parts[0]["rays_o"][..., 0].numel() if "rays_o" in batch else 0
        return join_views(outputs, n_rays)

    def _renders_together(self, part: dict[str, Any]) -> bool:
        if self.cfg.batched is False or not self.training:
            return False
        if joint_rendering is None or not joint_rendering.can_render_together(self.particles):
            if self.cfg.batched:
                raise UserError(
                    "system.renderer.batched=true is impossible: it needs nerf-volume-renderer and implicit-volume "
                    "without threestudio or nerfacc; accepted here: null or false."
                )
            return False
        return self.cfg.batched or joint_rendering.is_faster_together(part)

    def batch_forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`forward` as threestudio-3dgs calls it."""
        return self(**batch)


def _render(renderer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    # The renderers of threestudio-3dgs have a forward for one camera, and this for a batch.
    if hasattr(renderer, "batch_forward"):
        return renderer.batch_forward(batch)
    return renderer(**batch)
