"""`particles-geometry`: N geometries of any registered type."""

from typing import Any, NoReturn

from ...errors import UserError
from ...host import register
from .base import CountedEnsemble, find_particle_type, particles_of_parts
from .splatting import SplattingParticles


@register("particles-geometry")
class ParticlesGeometry(SplattingParticles, CountedEnsemble):
    """The shapes of the particles; each has its own initial weights. Only `particles-renderer` can render them."""

    kind = "geometry"

    @staticmethod
    def create_from(other: Any, cfg: Any = None, **kwargs: Any) -> "ParticlesGeometry":
        """Geometries of another type or resolution made from those of an earlier stage, particle by particle.

        Args:
            other: the `particles-geometry` of the earlier stage.
            cfg: the new wrapper's config.
            kwargs: for `create_from` of `particle_type`, such as copy_net.

        Raises:
            UserError: the earlier stage had no particles or another number of them.
        """
        return ParticlesGeometry(cfg, other, **kwargs)

    def configure(self, other: Any = None, **kwargs: Any) -> None:
        if other is None:
            super().configure()
            return
        earlier = [parts["geometry"] for parts in particles_of_parts(geometry=other)]
        if self.cfg.n_particles != len(earlier):
            raise UserError(
                f"system.geometry.n_particles={self.cfg.n_particles} does not fit system.geometry_convert_from, which "
                f"has {len(earlier)} particles; give the same number."
            )
        particle_type = find_particle_type(self.kind, self.cfg.particle_type)
        self.hold(
            lambda index: particle_type.create_from(earlier[index], self.cfg.particle, **kwargs),  # type: ignore
            len(earlier),
        )

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Points belong to a particle, and nobody says to which: always UserError."""
        raise UserError(
            "system.geometry_type=particles-geometry cannot be rendered by a renderer of one geometry; give "
            "system.renderer_type=particles-renderer, with that renderer as system.renderer.particle_type."
        )

    forward_density = forward_sdf = forward_field = forward
