"""Base classes of the ensembles: N modules of one registered type, built from one config."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from ...errors import UserError, fits_memory, in_range
from ...host import BaseModule, Updateable, config_to_primitive, find
from ...particles.randomness import ParticleStreams, particle_random_state
from ...particles.ranks import Shard
from ..prior_config import configured_seed
from .attributes import common_attribute

DEFAULT_SEED_OF_TINYCUDANN = 1337  # default seed of the initial weights of every tinycudann network
COPIES = 4  # of each parameter: itself, its gradient, and two moments of Adam
OBJECT = 1024  # bytes, at least, of a module without parameters


@dataclass
class EnsembleConfig:
    """Type and config of the particles."""

    particle_type: str = ""  # registered name of the type that is built N times
    particle: dict = field(default_factory=dict)  # config of that type, the same for every particle


class ParticleList(nn.ModuleList, Updateable):
    """The particles' modules, each updated in every step. Its attributes are those the modules have in common.

    Args:
        modules: one module for each particle.
        first: index of the first particle, by which they are named in checkpoints.
    """

    streams: ParticleStreams | None = None  # random numbers of the updates; None: those of the run

    def __init__(self, modules: Iterable[nn.Module] = (), first: int = 0) -> None:
        super().__init__()
        self.first = first
        for index, module in enumerate(modules):
            self.add_module(str(first + index), module)

    def __getitem__(self, index: Any) -> Any:
        found = list(self._modules.values())[index]
        return ParticleList(found) if isinstance(index, slice) else found

    def random(self, index: int) -> AbstractContextManager[None]:
        """Context of code that may draw random numbers for the module at an index."""
        return nullcontext() if self.streams is None else self.streams.of(self.first + index)

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        for index, particle in enumerate(self):
            if isinstance(particle, Updateable):
                with self.random(index):
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
    """Base class of ensembles, which systems can use in place of a single module.

    An attribute that the ensemble lacks is looked up in its particles (see `common_attribute`), and its `cfg` also has
    the keys of a particle's config.

    Attributes:
        particles: ParticleList of modules of one registered type.
        n_particles: number of particles, N, or of those on this rank.
    """

    @dataclass
    class Config(EnsembleConfig, BaseModule.Config):
        pass

    cfg: Any
    kind = ""  # kind of the modules, as in the key system.<kind>

    def build_particles(self, make: Callable[[int], nn.Module], n_particles: int) -> None:
        """Build the particles.

        The random numbers of a particle depend only on the run's seed and the particle's index.

        Args:
            make: function from a particle's index to its module.
            n_particles: N.
        """
        seed = configured_seed(None)
        particles = []
        for index in range(n_particles):
            with particle_random_state(seed, self.kind, index) as library_seed:
                particle = make(index)
                if not self.cfg.particle.get("weights"):
                    redraw_tinycudann(particle, library_seed)
            particles.append(particle)
            if index == 0:
                n_bytes = sum(each.numel() * each.element_size() for each in particle.parameters())
                needed = n_particles * max(COPIES * n_bytes, OBJECT)
                fits_memory(f"system.{self.kind}.n_particles", n_particles, needed)
        self.particles = ParticleList(particles)
        self.n_particles = n_particles
        self.cfg = merged_config(self.cfg, particles[0])

    def keep(self, shard: Shard) -> None:
        """Keep the particles of this rank only."""
        self.particles = ParticleList(self.particles[shard.rows], shard.first)
        self.n_particles = shard.count

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            particles = vars(self).get("_modules", {}).get("particles")
            if particles is None:
                raise
        return getattr(particles, name)


class CountedEnsemble(ParticleEnsemble):
    """Ensemble whose config gives N, and whose particles need nothing but their config.

    Raises:
        UserError: N is below 1, or the type is not registered. Errors of the particles are not changed.
    """

    @dataclass
    class Config(ParticleEnsemble.Config):
        n_particles: int = 4  # N; C.1

    def configure(self) -> None:
        n = self.cfg.n_particles
        in_range(f"system.{self.kind}.n_particles", n, 1)
        particle_type = find_particle_type(self.kind, self.cfg.particle_type)
        self.build_particles(lambda index: particle_type(self.cfg.particle), n)


def find_particle_type(kind: str, name: str) -> type:
    """Class that is registered as `name`.

    Args:
        kind: kind of the module, for the error message.
        name: registered name.

    Raises:
        UserError: nothing is registered as `name`.
    """
    try:
        return find(name)
    except UserError as error:
        reason = str(error)
    except KeyError:
        reason = f"nothing is registered under that name; give that of a registered {kind}."
    raise UserError(f"system.{kind}.particle_type={name!r} is unknown: {reason}")


def parts_by_particle(**parts: Any) -> list[dict[str, Any]]:
    """Parts of each particle.

    Args:
        **parts: `geometry`, an ensemble, and other parts: ensembles, or single modules that all particles share.

    Returns:
        for each particle, its parts by name.

    Raises:
        UserError: the geometry is not an ensemble, or another ensemble has a different number of particles.
    """
    geometry = parts["geometry"]
    if not isinstance(geometry, ParticleEnsemble):
        raise UserError(
            f"system.geometry is a single {type(geometry).__name__}, not an ensemble; set "
            "system.geometry_type=particles-geometry and give that type as system.geometry.particle_type."
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


def merged_config(cfg: Any, particle: Any) -> DictConfig:
    """Keys of an ensemble's config and of one particle's; the ensemble's win."""
    return OmegaConf.create({**config_to_primitive(particle.cfg), **config_to_primitive(cfg)})


def redraw_tinycudann(particle: nn.Module, seed: int) -> None:
    """Draw the weights of tinycudann networks again, from `seed`.

    tinycudann gives all networks the same seed by default, whatever torch's seed is, so particles would start equal.
    Networks that were built with another seed are left as they are.

    Args:
        particle: module whose submodules are searched.
        seed: seed of the new weights.
    """
    module: Any
    for module in particle.modules():
        native = getattr(module, "native_tcnn_module", None)
        if native is not None and getattr(module, "seed", None) == DEFAULT_SEED_OF_TINYCUDANN:
            module.params.data.copy_(native.initial_params(seed))
