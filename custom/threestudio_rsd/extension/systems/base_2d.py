"""Base class of the 2D systems: an ensemble of images, its metrics and its output files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...errors import UserError, fits_memory, in_range, one_of
from ...files import whole_file, write_json
from ...host import BaseSystem, PromptProcessor, get_device, parse_structured, warn
from ...images import read_images, save_grid, save_image
from ...metrics import diversity, pairwise_similarity, vendi_score
from ...particles import initial_particles
from ...priors import Prior
from ...repulsion import load_features
from ...toyworld import ToyworldJudge, truth_metrics
from ...toyworld.captions import named_attributes
from ..building import build
from ..prompt_embedding import check_view_prompts
from .run_cost import RunCost

SPACES = ("latent", "pixel")
INITS = ("random", "images")
FLOAT = 4  # bytes


@dataclass
class ImageParticlesConfig:
    """Number, space and initialization of the particles: `system.particles`."""

    n_particles: int = 4  # number of particles N; C.1
    space: str = "latent"  # latent, or pixel: RGB images, which are encoded in each step
    init: str = "random"  # random (C.1) or images
    init_path: str | None = None  # image file or folder for init=images; fewer than N images are repeated in turn
    init_scale: float = 1.0  # standard deviation for init=random, in latent units or units of [-1, 1] (ours)


def measuring_networks(names: list[str], bundled: bool) -> dict[str, Any]:
    """Load feature networks that measure diversity. One that cannot be loaded is skipped with a warning.

    Args:
        names: names of the networks, as in `load_features`.
        bundled: whether to load the networks of the bundled world.

    Returns:
        networks by name.
    """
    networks = {name: _load_or_warn(name, bundled) for name in names}
    return {name: network for name, network in networks.items() if network is not None}


def _load_or_warn(name: str, bundled: bool) -> Any:
    try:
        return load_features(name, bundled=bundled, device=get_device())
    except UserError as error:
        warn(f"Diversity in {name} is not measured: {error}")
        return None


class EnsembleSystem(RunCost, BaseSystem):
    """N particles in the space of a prior, with metrics of their diversity.

    On the bundled prior the metrics also compare the images with the prompt. Subclasses call `set_prior`, then
    `make_particles`, and define how the particles are updated.

    Raises:
        UserError: an invalid config value, or initial images that cannot be read.
    """

    @dataclass
    class Config(BaseSystem.Config):
        prompt_processor_type: str = "rsd-prompt-processor"  # registered name
        prompt_processor: dict = field(default_factory=dict)  # config of the prompt processor
        particles: dict = field(default_factory=dict)  # see ImageParticlesConfig
        # feature networks in which diversity (38) is measured; names of repulsion.load_features
        diversity_features: list[str] = field(default_factory=lambda: ["dino", "clip"])
        metrics_every: int = 10  # steps between two measurements; 0: only at the end

    cfg: Config
    prior: Prior

    def configure(self) -> None:
        self.ensemble = parse_structured(ImageParticlesConfig, self.cfg.particles)
        one_of("particles.space", self.ensemble.space, SPACES)
        one_of("particles.init", self.ensemble.init, INITS)
        in_range("particles.n_particles", self.ensemble.n_particles, 1)
        if self.ensemble.init == "images" and not self.ensemble.init_path:
            raise UserError("particles.init_path is empty; particles.init=images needs an image file or a folder.")
        check_view_prompts(self.cfg.prompt_processor, getattr(self.cfg, "guidance", None))
        self.prompt_processor = build(
            "system.prompt_processor_type", self.cfg.prompt_processor_type, self.cfg.prompt_processor, PromptProcessor
        )
        self._networks: dict[str, Any] | None = None

    def set_prior(self, prior: Prior) -> None:
        """Set `self.prior`, not as a submodule, so that checkpoints do not hold its weights."""
        object.__setattr__(self, "prior", prior)
        self.watch(prior)

    def make_particles(self, seed: int) -> nn.Parameter:
        """Initial particles (N, C, H, W): latents of the prior, or images in [-1, 1]."""
        config = self.ensemble
        size = self.prior.image_size
        fits_memory("system.particles.n_particles", config.n_particles, config.n_particles * 3 * size**2 * FLOAT)
        if config.init == "random":
            shape = self.prior.latent_shape if config.space == "latent" else (3, size, size)
            return nn.Parameter(initial_particles(config.n_particles, tuple(shape), seed, config.init_scale))
        images = read_images(config.init_path, size)
        images = images[torch.arange(config.n_particles) % len(images)]
        if config.space == "pixel":
            return nn.Parameter(images * 2 - 1)
        with torch.no_grad():
            return nn.Parameter(self.prior.encode(images.to(self.prior.device)).cpu())

    def all_particles(self) -> Tensor:
        """Particles (N, C, H, W), those of all ranks where they are spread."""
        return self.particles.detach()

    @property
    def makes_results(self) -> bool:
        """Whether this process writes files and measures."""
        return True

    @torch.no_grad()
    def images(self, particles: Tensor | None = None) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] of particles; None: of all."""
        particles = self.all_particles() if particles is None else particles
        if self.ensemble.space == "pixel":
            return (particles / 2 + 0.5).clamp(0, 1)
        return self.prior.decode(particles)

    def features(self) -> dict[str, Any]:
        """Feature networks that measure diversity, by name; loaded at the first call."""
        if self._networks is None:
            self._networks = measuring_networks(self.cfg.diversity_features, self.prior.is_bundled)
        return self._networks

    @torch.no_grad()
    def diversities(self, images: Tensor) -> dict[str, float]:
        """Diversity (38) of images (N, 3, H, W) in the features of each measuring network."""
        return {name: float(diversity(network(images))) for name, network in self.features().items()}

    @torch.no_grad()
    def measure(self, images: Tensor) -> dict[str, Any]:
        """All metrics of images (N, 3, H, W) in [0, 1], as in metrics.json."""
        embedded = {name: network(images) for name, network in self.features().items()}
        result = {
            "prompt": self.prompt_processor.prompt,
            "n_particles": len(images),
            "steps": int(self.true_global_step),
            "diversity": {name: float(diversity(value)) for name, value in embedded.items()},
            "similarity": {name: float(pairwise_similarity(value)) for name, value in embedded.items()},
            "vendi": {name: float(vendi_score(value)) for name, value in embedded.items()},
            "colors": None,
            "class_accuracy": None,
        }
        if self.prior.is_bundled:
            judge = ToyworldJudge.bundled(images.device)
            object_class, color = named_attributes(result["prompt"])
            truth = truth_metrics(images, judge, object_class, color)
            result |= {"colors": truth["colors"], "class_accuracy": truth.get("class_accuracy"), "truth": truth}
        return result

    def save_results(self, folder: str) -> None:
        """Write the particles as PNG files and tensors, a grid of them, and metrics.json.

        Args:
            folder: name of the folder below save/, and of the grid.
        """
        particles, facts = self.all_particles(), self.run_facts()
        if not self.makes_results:
            return
        images = self.images(particles)
        metrics = {**self.measure(images), **facts}
        save_grid(images, Path(self.get_save_path(f"it{self.true_global_step}-{folder}.png")))
        for index, image in enumerate(images):
            save_image(image, Path(self.get_save_path(f"{folder}/particle_{index:02d}.png")))
        with whole_file(Path(self.get_save_path(f"{folder}/particles.safetensors"))) as unfinished:
            save_file({"particles": particles.cpu().contiguous()}, unfinished)
        write_json(Path(self.get_save_path("metrics.json")), metrics)

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        particles = self.all_particles()
        if self.makes_results:
            save_grid(self.images(particles), Path(self.get_save_path(f"it{self.true_global_step}-val.png")))

    def on_validation_epoch_end(self) -> None:
        pass

    def test_step(self, batch: dict, batch_idx: int) -> None:
        self.save_results("test")

    def on_test_epoch_end(self) -> None:
        pass

    def predict_step(self, batch: dict, batch_idx: int) -> None:
        self.save_results("export")

    def on_predict_epoch_end(self) -> None:
        pass

    def run_facts(self) -> dict[str, Any]:
        """Entries of metrics.json beside the metrics: the cost of the run, and what a subclass adds."""
        return self.cost_facts(self.ensemble.n_particles)
