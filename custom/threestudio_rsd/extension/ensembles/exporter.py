"""`particles-exporter`: every particle in a folder of its own."""

import dataclasses
from typing import Any

from ...errors import UserError, first_line
from ...host import BaseObject, register, warn
from .base import EnsembleConfig, answering, find_particle_type, particles_of_parts


def particle_folder(index: int) -> str:
    """Name of the folder that holds the files of particle `index`."""
    return f"particle_{index:02d}"


@register("particles-exporter")
class ParticlesExporter(BaseObject):
    """Exports each particle by an exporter of a registered type.

    Args of the constructor, after the config:
        geometry: a `particles-geometry`.
        material, background: wrappers as well, or modules that all particles share.

    Raises:
        UserError: see `ParticlesRenderer`.
    """

    @dataclasses.dataclass
    class Config(EnsembleConfig, BaseObject.Config):
        particle_type: str = "mesh-exporter"  # registered name of the exporter

    cfg: Any

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        particle_type = find_particle_type("exporter", self.cfg.particle_type)
        self.particles = [
            particle_type(self.cfg.particle, **parts)
            for parts in particles_of_parts(geometry=geometry, material=material, background=background)
        ]
        self.cfg = answering(self.cfg, self.particles[0])

    def __call__(self) -> list[Any]:
        """Files of all particles, as inner exporters describe them, in particle_00/, particle_01/ and so on.

        Particles that cannot be exported are left out, with a line that says why.

        Raises:
            UserError: none of them can be exported.
        """
        outputs, failures = [], []
        for index, exporter in enumerate(self.particles):
            folder = particle_folder(index)
            try:
                files = exporter()
            except (ValueError, IndexError) as error:
                failures.append(f"{folder} is not exported: {_reason(error)}")
                continue
            outputs += [dataclasses.replace(file, save_name=f"{folder}/{file.save_name}") for file in files]
        if len(failures) == len(self.particles):
            raise UserError(failures[0])
        for failure in failures:
            warn(failure)
        return outputs


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    # What threestudio's meshes raise where they have no vertices.
    return (
        f"its field has no surface, it seems ({first_line(error)}); lower "
        "system.geometry.particle.isosurface_threshold or train longer."
    )
