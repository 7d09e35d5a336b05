"""`particles-geometry`: N geometries of any registered type."""

from collections.abc import Callable
from typing import Any, NoReturn

from ...errors import UserError
from ...host import register
from ...particles.randomness import ParticleStreams
from ...particles.ranks import Shard
from ..prior_config import configured_seed
from .base import CountedEnsemble, find_particle_type, parts_by_particle
from .splatting import SplattingParticles


@register("particles-geometry")
class ParticlesGeometry(SplattingParticles, CountedEnsemble):
    """Geometries of the particles, each with its own initial weights. Only `particles-renderer` can render them."""

    kind = "geometry"

    @staticmethod
    def create_from(other: Any, cfg: Any = None, **kwargs: Any) -> "ParticlesGeometry":
        """Convert the geometries of an earlier stage to another type or resolution, particle by particle.

        Args:
            other: `particles-geometry` of the earlier stage.
            cfg: config of the new ensemble.
            **kwargs: arguments of `create_from` of `particle_type`, such as copy_net.

        Returns:
            the new ensemble.

        Raises:
            UserError: `other` is not an ensemble, or has a different number of particles.
        """
        return ParticlesGeometry(cfg, other, **kwargs)

    def build_particles(self, make: Callable[[int], Any], n_particles: int) -> None:
        super().build_particles(make, n_particles)
        self._draw_by_particle()

    def keep(self, shard: Shard) -> None:
        super().keep(shard)
        self._draw_by_particle()

    def _draw_by_particle(self) -> None:
        """Let updates of the particles, such as new points, draw random numbers that do not depend on N."""
        self.particles.streams = ParticleStreams(configured_seed(None), "geometry")

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        self.particles.streams.begin(global_step)
        super().do_update_step(epoch, global_step, on_load_weights)

    def configure(self, other: Any = None, **kwargs: Any) -> None:
        if other is None:
            super().configure()
            return
        earlier = [parts["geometry"] for parts in parts_by_particle(geometry=other)]
        if self.cfg.n_particles != len(earlier):
            raise UserError(
                f"system.geometry.n_particles={self.cfg.n_particles} does not match system.geometry_convert_from, "
                f"which has {len(earlier)} particles; give the same number."
            )
        particle_type = find_particle_type(self.kind, self.cfg.particle_type)
        self.build_particles(
            lambda index: particle_type.create_from(earlier[index], self.cfg.particle, **kwargs),  # type: ignore
            len(earlier),
        )

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Unsupported, because points carry no particle index.

        Raises:
            UserError: always.
        """
        raise UserError(
            "system.geometry_type=particles-geometry cannot be rendered by a renderer of one geometry; set "
            "system.renderer_type=particles-renderer and give that renderer as system.renderer.particle_type."
        )

    forward_density = forward_sdf = forward_field = forward
