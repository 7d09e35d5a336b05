"""`latent-inverse-system` and `pixel-inverse-system`: N answers to each inverse problem (section 5, Alg. 2)."""

import copy
import hashlib
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from ...errors import NonFiniteError, UserError, one_of
from ...files import whole_file, write_json
from ...host import BaseSystem, get_device, parse_structured, register, warn
from ...images import save_grid, save_image
from ...inverse import Problem, SolverConfig, make_solver
from ...inverse.answer_metrics import answer_metrics, answer_residuals, mean_metrics
from ...inverse.solver import ANSWERS
from ...metrics import load_lpips
from ...particles.finite_updates import SKIP, restore_particles
from ...toyworld import ToyworldJudge
from ...toyworld.world import CLASSES
from ..prior_config import PriorConfig, configured_prior, configured_seed
from .base_2d import measuring_networks
from .run_cost import RunCost

# An answer fits its measurement y if its residual is at most NOISE_DEVIATIONS * sigma + TOLERANCE * rms(y).
NOISE_DEVIATIONS = 3
TOLERANCE = 0.05  # for details that a decoder cannot show (ours)
MOST_ROWS = 16  # images on a grid


class InverseSystem(RunCost, BaseSystem):
    """System whose training steps are the steps of a solver. Subclasses define the solvers and check the prior.

    Raises:
        UserError: an impossible config value, a prior that does not fit, or a problem that cannot be solved.
    """

    @dataclass
    class Config(PriorConfig, BaseSystem.Config):
        guidance_scale: float = 1.0  # weight of system.solver.prompt; 1: no classifier-free guidance
        solver: dict = field(default_factory=dict)  # see inverse.SolverConfig
        features: str = "dino"  # feature network of the repulsion; as in the guidance modules
        diversity_features: list[str] = field(
            default_factory=lambda: ["dino", "clip"]
        )  # feature networks that measure diversity
        lpips: bool = True  # whether LPIPS is measured

    cfg: Config
    settings: SolverConfig
    solvers: tuple[str, ...] = ()  # accepted names; the first is the default

    def configure(self) -> None:
        if self.cfg.weights is not None:
            raise UserError("system.weights has no effect on inverse problems; accepted: null, or resume=CHECKPOINT.")
        given: Any = self.cfg.solver
        given.setdefault("name", self.solvers[0])
        given.setdefault("seed", configured_seed(None))
        given.setdefault("guidance_scale", self.cfg.guidance_scale)
        one_of("system.solver.name", given["name"], self.solvers)
        try:
            self.settings = cast(SolverConfig, OmegaConf.to_object(parse_structured(SolverConfig, given)))
        except TypeError as error:  # a text in place of a number
            raise UserError(f"system.solver has a value of a wrong type ({error}); accepted: numbers.") from error
        prior = configured_prior(self.cfg)
        self.check_prior(prior)
        object.__setattr__(self, "prior", prior)  # not a submodule: checkpoints never carry its weights
        self.solver: Any = None
        self.automatic_optimization = False  # the solver moves the particles; the optimizer only counts the steps
        warnings.filterwarnings("ignore", message=".*no pre-optimization state was saved.*")  # there is none to save
        self.counter = nn.Parameter(torch.zeros(()))
        self.watch(prior)

    def check_prior(self, prior: Any) -> None:
        """Check that the prior is a latent or a pixel model, as the solvers need.

        Args:
            prior: prior of the config.

        Raises:
            UserError: it is of the other kind.
        """
        raise NotImplementedError

    def check_data(self, data: Any) -> None:
        """Read and measure the images, and make the solver.

        Args:
            data: an `InverseProblemDataModule`.

        Raises:
            UserError: images or an operator that the solver cannot use.
        """
        data.load(self.prior.image_size, get_device())
        if data.cfg.batch_size is not None and self.settings.chunk_size is None:
            self.settings.chunk_size = data.cfg.batch_size * self.settings.n_particles
        self.data = data
        problem = Problem(data.measurement, data.physics, data.operator.sigma)
        self.solver = make_solver(self.settings, problem, self.prior, self.cfg.features)

    def setup(self, stage: str) -> None:
        if self.solver is None:
            self.check_data(self.trainer.datamodule)
        steps, most = self.trainer.max_steps, self.settings.n_steps
        if stage == "fit" and not 1 <= steps <= most:
            raise UserError(
                f"trainer.max_steps={steps} does not fit system.solver.n_steps={most}; accepted: 1 to {most}."
            )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.counter], lr=0.0)

    def training_step(self, batch: dict, batch_idx: int) -> None:
        started = time.perf_counter()
        for name, value in self._solver_step().items():
            self.log(f"train/{name}", value, prog_bar=True)
        self.optimizers().step()
        self.count_time(time.perf_counter() - started)

    def _solver_step(self) -> dict[str, float]:
        """Step of the solver; returns values to log.

        Raises:
            NonFiniteError: a number is not finite, and system.nonfinite=stop.
        """
        before = copy.deepcopy(self.solver.state_dict()) if self.cfg.nonfinite == SKIP else None
        values, check = self.solver.checked_step(self.true_global_step)
        sentence = check.failure()
        failed = check.failed_particles(ANSWERS)
        if sentence is None:
            return values
        if before is None or failed is None:
            raise NonFiniteError(sentence)
        after = self.solver.state_dict()
        restore_particles(before, after, failed)
        self.solver.load_state_dict(after)
        warn(f"{sentence} Its update is skipped.")
        return {}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["solver"] = self.solver.state_dict()
        checkpoint |= self._problem()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        now = self._problem()
        for key in ("images", "particles"):
            if checkpoint.get(key) != now[key]:
                raise UserError(
                    f"resume: the checkpoint is of another problem: its {key} are {checkpoint.get(key)}, now they are "
                    f"{now[key]}; use the config and images of its own run."
                )
        if checkpoint.get("pixels") != now["pixels"]:
            raise UserError(
                f"resume: the checkpoint is of another problem: its images {now['images']} had other contents; use "
                "the images of its own run."
            )
        saved = checkpoint.get("solver")
        try:
            self.solver.load_state_dict(saved)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"resume: the state of the solver is incomplete or does not fit ({error}).") from error

    def _problem(self) -> dict[str, Any]:
        """What checkpoints say about the problem: names of the images, checksum of their pixels, numbers M and N."""
        pixels = self.data.images.detach().cpu().contiguous().numpy().tobytes()
        return {
            "images": list(self.data.names),
            "pixels": hashlib.sha256(pixels).hexdigest(),
            "particles": list(self.solver.z.shape[:2]),
        }

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        self._save_grid("val", self.solver.reconstructions().cpu())

    def test_step(self, batch: dict, batch_idx: int) -> None:
        self.save_results("test")

    def predict_step(self, batch: dict, batch_idx: int) -> None:
        self.save_results("export")

    def on_validation_epoch_end(self) -> None:
        pass

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    def save_results(self, folder: str) -> None:
        """Write all answers, the operator, the grid and metrics.json, and warn again of images that were left out.

        The folder of each image has `measurement.png` where the measurement is an image, `truth.png`,
        `particle_00.png` ..., `mean.png`, and `deviation.png`: twice the pixel-wise standard deviation of the answers,
        so that white is the largest possible.

        Args:
            folder: folder below save/, such as `test`.
        """
        answers, auxiliary = self.solver.reconstructions(), self.solver.auxiliary()
        metrics = self.measure(answers)
        answers, truth = answers.cpu(), self.data.images.cpu()
        self._save_grid(folder, answers)
        shown = self._measurement_images()
        for i, name in enumerate(self.data.names):
            where = Path(self.get_save_path(f"{folder}/{name}/truth.png")).parent
            pictures = {"truth": truth[i], "mean": answers[i].mean(0), "deviation": 2 * answers[i].std(0, False)}
            pictures |= {f"particle_{j:02d}": image for j, image in enumerate(answers[i])}
            tensors = {"z": self.solver.z[i], "images": answers[i], "measurement": self.data.measurement[i]}
            if shown is not None:
                pictures["measurement"] = shown[i]
            if auxiliary is not None:
                pictures |= {f"particle_{j:02d}_x": image for j, image in enumerate(auxiliary[i])}
                tensors["x"] = auxiliary[i]
            for file, image in pictures.items():
                save_image(image, where / f"{file}.png")
            tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
            with whole_file(where / "particles.safetensors") as unfinished:
                save_file(tensors, unfinished)
        from ...inverse.operators import operator_state

        with whole_file(Path(self.get_save_path(f"{folder}/operator.safetensors"))) as unfinished:
            save_file(operator_state(self.data.physics), unfinished)
        write_json(Path(self.get_save_path("metrics.json")), metrics)  # last: a run with this file is finished
        for error in self.data.failed.values():
            warn(f"Left out: {error}")

    @torch.no_grad()
    def measure(self, answers: Tensor) -> dict[str, Any]:
        """Content of metrics.json.

        Args:
            answers: (M, N, 3, H, W) in [0, 1].

        Returns:
            Settings and facts of the run; `images`, a record of metrics for each image (see `answer_metrics`); `mean`,
            the means over the images.
        """
        data = self.data
        residual, fits = self._residuals(answers)
        records = answer_metrics(
            answers,
            data.images,
            self._lpips(),
            measuring_networks(self.cfg.diversity_features, self.prior.is_bundled),
            ToyworldJudge.bundled(answers.device) if self.prior.is_bundled else None,
            [None if known is None else CLASSES.index(known["class"]) for known in data.attributes()],
        )
        for record, values, fitting in zip(records, residual, fits, strict=True):
            record |= {"residual": float(values.mean()), "consistent_with_measurement": float(fitting.float().mean())}
            record["answers"] |= {"residual": values.tolist(), "consistent_with_measurement": fitting.tolist()}
        return {
            "solver": asdict(self.settings),
            "operator": asdict(data.operator),
            "n_particles": answers.shape[1],
            "steps": int(self.true_global_step),
            **self.cost_facts(answers.shape[0] * answers.shape[1]),
            "failed": data.failed,
            "mean": mean_metrics(records),
            "images": dict(zip(data.names, records, strict=True)),
        }

    def _residuals(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Residual of each answer, and whether it fits its measurement, each (M, N)."""
        residual = answer_residuals(answers, self.solver.problem)
        scale = self.data.measurement.flatten(1).abs().square().mean(1).sqrt()
        limit = NOISE_DEVIATIONS * self.data.operator.sigma + TOLERANCE * scale
        fits = residual <= limit[:, None]
        if fits.float().mean() < 0.5:
            warn(
                f"{int((~fits).sum())} of {fits.numel()} answers do not fit their measurement: "
                "the prior may not know such images, or the run is too short."
            )
        return residual, fits

    def _lpips(self) -> Any:
        if not self.cfg.lpips:
            return None
        try:
            return load_lpips(get_device())
        except UserError as error:
            warn(f"LPIPS is not measured: {error}")
            return None

    def _measurement_images(self) -> Tensor | None:
        """Measurements at the size of the images, (M, 3, H, W); None where measurements are not images."""
        y = self.data.measurement
        if y.ndim != 4 or y.shape[1] not in (1, 3) or y.is_complex():
            return None
        size = tuple(self.data.images.shape[-2:])
        return F.interpolate(y.float().cpu(), size, mode="nearest").expand(-1, 3, -1, -1).clamp(0, 1)

    def _save_grid(self, name: str, answers: Tensor) -> None:
        """Write a grid with a row for each image: measurement (where it is an image), truth, answers."""
        shown = self._measurement_images()
        parts = [self.data.images.cpu()[:, None], answers]
        if shown is not None:
            parts.insert(0, shown[:, None])
        rows = torch.cat(parts, 1)[:MOST_ROWS]
        save_grid(rows.flatten(0, 1), Path(self.get_save_path(f"it{self.true_global_step}-{name}.png")), rows.shape[1])


@register("latent-inverse-system")
class LatentInverseSystem(InverseSystem):
    """Solvers in the latent space of a prior with a decoder."""

    solvers = ("rsd", "latent-reddiff", "psld", "proximal", "daps", "resample")

    def check_prior(self, prior: Any) -> None:
        if not prior.is_latent:
            raise UserError(
                f"system.pretrained_model_name_or_path={self.cfg.pretrained_model_name_or_path!r} has no decoder; "
                "accepted: bundled or another latent diffusion model, or system_type='pixel-inverse-system'."
            )


@register("pixel-inverse-system")
class PixelInverseSystem(InverseSystem):
    """Solvers in the pixel space of a prior without a decoder."""

    solvers = ("reddiff", "dps", "rsd", "proximal", "daps")

    def check_prior(self, prior: Any) -> None:
        if prior.is_latent:
            raise UserError(
                f"system.pretrained_model_name_or_path={self.cfg.pretrained_model_name_or_path!r} has a decoder; "
                "accepted: bundled-pixel or another pixel model, or system_type='latent-inverse-system'."
            )
