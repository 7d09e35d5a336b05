"""What the systems of threestudio-3dgs ask of a geometry beyond its attributes, for N of its geometries.

Facts from its repository, github.com/DSaurus/threestudio-3dgs: a geometry owns its optimizer, and its `update_states`
adds and removes points after the backward pass, by what the renderer says about each view.
"""

from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from ...particles.joint_optimizer import JointOptimizer
from .exporter import particle_folder


class SplattingParticles:
    """Mixin of `particles-geometry`; `optimizer`, `update_learning_rate`, `get_xyz` and so on pass by themselves."""

    particles: Any
    n_particles: int

    def update_states(self, iteration: int, visibility_filter: list, radii: list, viewspace_points: list) -> None:
        """Let each particle add and remove points by its own views; the lists have an entry for each of N V views."""
        per_particle = len(radii) // self.n_particles
        for index, particle in enumerate(self.particles):
            views = slice(index * per_particle, (index + 1) * per_particle)
            particle.update_states(iteration, visibility_filter[views], radii[views], viewspace_points[views])

    def merge_optimizer(self, network_optimizer: Optimizer) -> JointOptimizer:
        """The particles' optimizers, and one of what the system trains beside them."""
        return JointOptimizer([*(particle.optimizer for particle in self.particles), network_optimizer])

    def save_ply(self, path: str) -> None:
        """Write each particle's points as `path` with its folder before the file's name."""
        for index, particle in enumerate(self.particles):
            folder = Path(path).parent / particle_folder(index)
            folder.mkdir(parents=True, exist_ok=True)
            particle.save_ply(str(folder / Path(path).name))
