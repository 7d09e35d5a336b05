"""`particles-geometry`: N geometries of any registered type."""

from typing import Any, NoReturn

from ...errors import UserError
from ...host import register
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
