"""`particles-exporter`: exports each particle into its own folder."""

import dataclasses
from typing import Any

from ...errors import UserError, first_line
from ...host import BaseObject, register, warn
from ...particles.ranks import gather_objects
from .base import EnsembleConfig, find_particle_type, merged_config, parts_by_particle


def particle_folder(index: int) -> str:
    """Name of the folder that holds the files of particle `index`."""
    return f"particle_{index:02d}"


@register("particles-exporter")
class ParticlesExporter(BaseObject):
    """Exports each particle with an exporter of a registered type.

    The constructor takes the config, then the same parts as `ParticlesRenderer`, and raises the same errors.
    """

    @dataclasses.dataclass
    class Config(EnsembleConfig, BaseObject.Config):
        particle_type: str = "mesh-exporter"  # registered name of the exporter

    cfg: Any

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        particle_type = find_particle_type("exporter", self.cfg.particle_type)
        self.particles = [
            particle_type(self.cfg.particle, **parts)
            for parts in parts_by_particle(geometry=geometry, material=material, background=background)
        ]
        self.first = geometry.particles.first  # index of the first particle of this rank
        self.cfg = merged_config(self.cfg, self.particles[0])

    def __call__(self) -> list[Any]:
        """Files of all particles, in the folders particle_00, particle_01 and so on.

        A particle that cannot be exported is skipped with a warning.

        Returns:
            the exporters' `ExporterOutput`s; those of all ranks on rank 0, none on the others.

        Raises:
            UserError: no particle can be exported.
        """
        outputs, failures = [], []
        for index, exporter in enumerate(self.particles):
            folder = particle_folder(self.first + index)
            try:
                files = exporter()
            except (ValueError, IndexError) as error:
                failures.append(f"{folder} is not exported: {_reason(error)}")
                continue
            outputs += [dataclasses.replace(file, save_name=f"{folder}/{file.save_name}") for file in files]
        found = gather_objects((outputs, failures))
        if found is None:
            return []
        outputs = [output for of_rank, _ in found for output in of_rank]
        failures = [failure for _, of_rank in found for failure in of_rank]
        if not outputs:
            raise UserError(failures[0])
        for failure in failures:
            warn(failure)
        return outputs


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    # threestudio's meshes raise ValueError or IndexError when they have no vertices.
    return (
        f"its field seems to have no surface ({first_line(error)}); lower "
        "system.geometry.particle.isosurface_threshold or train longer."
    )
