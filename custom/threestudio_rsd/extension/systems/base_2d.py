"""What the 2D systems share: an ensemble of images, its metrics and its results on disk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...errors import UserError, one_of
from ...host import BaseSystem, find, get_device, parse_structured, warn
from ...images import read_images, save_grid, save_image
from ...metrics import diversity, pairwise_similarity, vendi_score
from ...particles import initial_particles
from ...priors import Prior
from ...repulsion import load_features
from ...toyworld import ToyworldJudge, truth_metrics
from ...toyworld.captions import named_attributes

SPACES = ("latent", "pixel")
INITS = ("random", "images")


@dataclass
class ImageParticlesConfig:
    """The ensemble: `system.particles`."""

    n_particles: int = 4  # number of particles N; C.1
    space: str = "latent"  # latent, or pixel: RGB images, encoded anew in each step
    init: str = "random"  # random (C.1) or images
    init_path: str | None = None  # image file or folder for init=images; reused in turn where there are fewer
    init_scale: float = 1.0  # deviation of the random start, in latent units or units of [-1, 1] (ours)


def measuring_networks(names: list[str], bundled: bool) -> dict[str, Any]:
    """Feature networks by name; one that cannot be loaded is left out, with a line that says so."""
    networks = {}
    for name in names:
        try:
            networks[name] = load_features(name, bundled=bundled, device=get_device())
        except UserError as error:
            warn(f"Diversity in {name} is not measured: {error}")
    return networks


class EnsembleSystem(BaseSystem):
    """N particles in the space of a prior, with metrics of diversity, and of truth on the bundled prior.

    Subclasses call `hold_prior`, then `make_particles`, and say how the particles move.

    Raises:
        UserError: an impossible config value, or initial images that cannot be read.
    """

    @dataclass
    class Config(BaseSystem.Config):
        prompt_processor_type: str = "rsd-prompt-processor"
        prompt_processor: dict = field(default_factory=dict)
        particles: dict = field(default_factory=dict)  # see ImageParticlesConfig
        diversity_features: list[str] = field(
            default_factory=lambda: ["dino", "clip"]
        )  # feature networks that measure diversity
        metrics_every: int = 10  # steps from one measurement to the next; 0: only at the end

    cfg: Config
    prior: Prior

    def configure(self) -> None:
        self.ensemble = parse_structured(ImageParticlesConfig, self.cfg.particles)
        one_of("particles.space", self.ensemble.space, SPACES)
        one_of("particles.init", self.ensemble.init, INITS)
        if self.ensemble.n_particles < 1:
            raise UserError(
                f"particles.n_particles={self.ensemble.n_particles} is impossible; accepted: an integer of at least 1."
            )
        if self.ensemble.init == "images" and not self.ensemble.init_path:
            raise UserError("particles.init_path is empty; particles.init=images needs an image file or a folder.")
        self.prompt_processor = find(self.cfg.prompt_processor_type)(self.cfg.prompt_processor)
        self._networks: dict[str, Any] | None = None

    def hold_prior(self, prior: Prior) -> None:
        """Keep the prior, but not as a submodule: checkpoints never carry its weights."""
        object.__setattr__(self, "prior", prior)

    def make_particles(self, seed: int) -> nn.Parameter:
        """Initial particles (N, C, H, W): latents of the prior, or images in [-1, 1]."""
        config = self.ensemble
        size = self.prior.image_size
        if config.init == "random":
            shape = self.prior.latent_shape if config.space == "latent" else (3, size, size)
            return nn.Parameter(initial_particles(config.n_particles, tuple(shape), seed, config.init_scale))
        images = read_images(config.init_path, size)
        images = images[torch.arange(config.n_particles) % len(images)]
        if config.space == "pixel":
            return nn.Parameter(images * 2 - 1)
        with torch.no_grad():
            return nn.Parameter(self.prior.encode(images.to(self.prior.device)).cpu())

    @torch.no_grad()
    def images(self) -> Tensor:
        """The particles as images (N, 3, H, W) in [0, 1]."""
        if self.ensemble.space == "pixel":
            return (self.particles / 2 + 0.5).clamp(0, 1)
        return self.prior.decode(self.particles)

    def features(self) -> dict[str, Any]:
        """The measuring networks by name, loaded once."""
        if self._networks is None:
            self._networks = measuring_networks(self.cfg.diversity_features, self.prior.is_bundled)
        return self._networks

    @torch.no_grad()
    def diversities(self, images: Tensor) -> dict[str, float]:
        """Diversity (38) of the ensemble in each measuring network."""
        return {name: float(diversity(network(images))) for name, network in self.features().items()}

    @torch.no_grad()
    def measure(self, images: Tensor) -> dict[str, Any]:
        """Every metric of images (N, 3, H, W)."""
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
        """Write every particle as PNG and tensor, the metrics, and the grid."""
        images = self.images()
        metrics = {**self.measure(images), **self.run_facts()}
        save_grid(images, Path(self.get_save_path(f"it{self.true_global_step}-{folder}.png")))
        for index, image in enumerate(images):
            save_image(image, Path(self.get_save_path(f"{folder}/particle_{index:02d}.png")))
        particles = self.particles.detach().cpu().contiguous()
        save_file({"particles": particles}, self.get_save_path(f"{folder}/particles.safetensors"))
        self.save_json("metrics.json", metrics)

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        save_grid(self.images(), Path(self.get_save_path(f"it{self.true_global_step}-val.png")))

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
        """What a subclass adds to metrics.json."""
        return {}
