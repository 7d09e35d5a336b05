"""Methods of a Gaussian splatting geometry that systems of threestudio-3dgs call, for N geometries.

In threestudio-3dgs (github.com/DSaurus/threestudio-3dgs) a geometry owns its optimizer, and its `update_states` adds
and removes points after the backward pass, from what the renderer returned for each view.
"""

from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from ...particles.joint_optimizer import JointOptimizer
from .exporter import particle_folder


class SplattingParticles:
    """Mixin of `particles-geometry`.

    Other attributes of the geometries (`optimizer`, `update_learning_rate`, `get_xyz` ...) need no code here:
    `ParticleEnsemble` looks them up in the particles.
    """

    particles: Any
    n_particles: int

    def update_states(self, iteration: int, visibility_filter: list, radii: list, viewspace_points: list) -> None:
        """Let each particle add and remove points, judged by its own views.

        Args:
            iteration: training step.
            visibility_filter: for each of the N V views, which points are visible.
            radii: for each view, radii of the points on the screen, pixels.
            viewspace_points: for each view, positions of the points on the screen, whose gradients are read.
        """
        per_particle = len(radii) // self.n_particles
        for index, particle in enumerate(self.particles):
            views = slice(index * per_particle, (index + 1) * per_particle)
            particle.update_states(iteration, visibility_filter[views], radii[views], viewspace_points[views])

    def merge_optimizer(self, network_optimizer: Optimizer) -> JointOptimizer:
        """Optimizer that steps those of all particles and `network_optimizer`."""
        return JointOptimizer([*(particle.optimizer for particle in self.particles), network_optimizer])

    def save_ply(self, path: str) -> None:
        """Write the points of each particle into its own folder beside `path`, under the file name of `path`."""
        for index, particle in enumerate(self.particles):
            folder = Path(path).parent / particle_folder(index)
            folder.mkdir(parents=True, exist_ok=True)
            particle.save_ply(str(folder / Path(path).name))
