"""What all wrappers share: N modules of one registered type, built from one config."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ...errors import UserError
from ...host import BaseModule, Updateable, config_to_primitive, find
from ...particles.randomness import particle_random_state
from .attributes import common_attribute

DEFAULT_SEED_OF_TINYCUDANN = 1337


@dataclass
class EnsembleConfig:
    """What a particle is made of."""

    particle_type: str = ""  # registered name of the type that is held N times
    particle: dict = field(default_factory=dict)  # its config, the same for every particle


class ParticleList(nn.ModuleList, Updateable):
    """The particles' modules. They are updated like attributes, and what all of them have can be asked of the list."""

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        for particle in self:
            if isinstance(particle, Updateable):
                particle.do_update_step(epoch, global_step, on_load_weights=on_load_weights)

    def do_update_step_end(self, epoch: int, global_step: int) -> None:
        for particle in self:
            if isinstance(particle, Updateable):
                particle.do_update_step_end(epoch, global_step)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            modules = list(vars(self).get("_modules", {}).values())
            if not modules:
                raise
        return common_attribute(name, modules, ParticleList)


class ParticleEnsemble(BaseModule):
    """Base of the wrappers: `particles`, a list of modules of one registered type.

    What a wrapper itself lacks is asked of its particles (see `common_attribute`), and its `cfg` answers their keys:
    so a system can treat it as one of them.

    Attributes:
        particles: ParticleList of N modules.
        n_particles: N.
    """

    @dataclass
    class Config(EnsembleConfig, BaseModule.Config):
        pass

    cfg: Any
    kind = ""  # what the particles are, as in system.<kind>

    def hold(self, make: Callable[[int], nn.Module], n_particles: int) -> None:
        """Build the particles by `make(index)`; their random numbers depend on the run's seed and the index alone."""
        seed = torch.initial_seed() % 2**32
        particles = []
        for index in range(n_particles):
            with particle_random_state(seed, self.kind, index) as library_seed:
                particle = make(index)
                if not self.cfg.particle.get("weights"):
                    redraw_tinycudann(particle, library_seed)
            particles.append(particle)
        self.particles = ParticleList(particles)
        self.n_particles = n_particles
        self.cfg = answering(self.cfg, particles[0])

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            particles = vars(self).get("_modules", {}).get("particles")
            if particles is None:
                raise
        return getattr(particles, name)


class CountedEnsemble(ParticleEnsemble):
    """Particles that are built from their config alone.

    Raises:
        UserError: fewer than one particle, or a type that is not registered; the particles' own errors pass.
    """

    @dataclass
    class Config(ParticleEnsemble.Config):
        n_particles: int = 4  # N; C.1

    def configure(self) -> None:
        n = self.cfg.n_particles
        if n < 1:
            raise UserError(f"system.{self.kind}.n_particles={n} is impossible; accepted: an integer of at least 1.")
        particle_type = find_particle_type(self.kind, self.cfg.particle_type)
        self.hold(lambda index: particle_type(self.cfg.particle), n)


def find_particle_type(kind: str, name: str) -> type:
    """Class that is registered as `name`. Raises UserError where there is none."""
    try:
        return find(name)
    except UserError as error:
        reason = str(error)
    except KeyError:
        reason = f"nothing is registered under that name; give that of a registered {kind}."
    raise UserError(f"system.{kind}.particle_type={name!r} is unknown: {reason}")


def particles_of_parts(**parts: Any) -> list[dict[str, Any]]:
    """The parts of each particle.

    Args:
        parts: `geometry`, a wrapper, and other parts, which are wrappers or shared by all particles.

    Returns:
        for each particle, its parts by name.

    Raises:
        UserError: the geometry is not a wrapper, or a part has another number of particles than it.
    """
    geometry = parts["geometry"]
    if not isinstance(geometry, ParticleEnsemble):
        raise UserError(
            f"system.geometry is a single {type(geometry).__name__}, which has no particles; give "
            "system.geometry_type=particles-geometry, with that type as system.geometry.particle_type."
        )
    n = geometry.n_particles
    for name, part in parts.items():
        if isinstance(part, ParticleEnsemble) and part.n_particles != n:
            raise UserError(
                f"system.{name}.n_particles={part.n_particles} differs from system.geometry.n_particles={n}; give both "
                "the same number."
            )
    return [
        {name: part.particles[index] if isinstance(part, ParticleEnsemble) else part for name, part in parts.items()}
        for index in range(n)
    ]


def answering(cfg: Any, particle: Any) -> DictConfig:
    """The wrapper's config, with the keys of a particle's beside its own."""
    return OmegaConf.create({**config_to_primitive(particle.cfg), **config_to_primitive(cfg)})


def redraw_tinycudann(particle: nn.Module, seed: int) -> None:
    """Draw the weights of tinycudann's networks anew, for it gives all of them one seed, whatever torch's is."""
    module: Any
    for module in particle.modules():
        native = getattr(module, "native_tcnn_module", None)
        if native is not None and getattr(module, "seed", None) == DEFAULT_SEED_OF_TINYCUDANN:
            module.params.data.copy_(native.initial_params(seed))
