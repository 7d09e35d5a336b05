"""Every number of the solvers."""

import math
from dataclasses import dataclass

from ..distillation import KERNEL_INPUTS
from ..errors import UserError, one_of

SOLVERS = ("rsd", "latent-reddiff", "psld", "dps", "reddiff")
X_STEPS = ("adam", "closed-form")


@dataclass
class SolverConfig:
    """Settings of a solver; null leaves a number to the solver (`DEFAULTS`)."""

    name: str = "rsd"  # rsd (Alg. 2), latent-reddiff (D.3), psld, or in pixel space dps, reddiff
    n_particles: int = 4  # N, of each image; D.2
    n_steps: int = 1000  # from t = T down; D.2
    gamma: float = 0.0  # repulsion weight; 50 in Table 1; rsd and the two reddiff
    n_repelled: int | None = None  # the first so many particles repel each other, the others do not (6.2.1); null: all
    kernel_input: str = "noisy"  # what repels: noisy (15), clean or denoised (ours)
    regularization: float | None = None  # lambda of lambda_t = lambda sigma_t / alpha_t; D.2
    coupling: float | None = None  # 1 / rho^2 between x and D(z), rsd; D.2
    lr_x: float | None = None  # Adam, x in units of [-1, 1]; D.2
    lr_z: float | None = None  # Adam, latent units, or units of [-1, 1]; D.2
    x_step: str = "adam"  # adam (D.2), or closed-form: the exact minimum, linear operators only (ours)
    likelihood_step: float | None = None  # step of the likelihood's gradient: eta of PSLD, zeta of DPS
    gluing: float | None = None  # gamma of PSLD: step towards what the autoencoder can show
    stochasticity: float | None = None  # eta of DDIM in psld and dps: 0 deterministic, 1 as DDPM
    initial_scale: float | None = None  # deviation of the start; 1 is noise, which Alg. 2 and the samplers start from
    clip_estimate: bool = True  # dps: keep the estimate of x_0 within the range of images, as its authors' code does
    prompt: str = ""  # the empty one is unconditional, omega = 0 in (24); D.2
    guidance_scale: float = 1.0  # of the prompt, as in diffusers; 1: the prompt alone
    chunk_size: int | None = None  # particles in the networks at once, to save memory; null: all
    seed: int = 0  # of the initial particles and the noise

    def __post_init__(self) -> None:
        one_of("name", self.name, SOLVERS)
        one_of("kernel_input", self.kernel_input, KERNEL_INPUTS)
        one_of("x_step", self.x_step, X_STEPS)
        for name in ("n_particles", "n_steps", "chunk_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}={value} is impossible; accepted: an integer of at least 1.")
        if self.n_repelled is not None and not 0 <= self.n_repelled <= self.n_particles:
            raise UserError(
                f"n_repelled={self.n_repelled} is impossible; accepted: null or 0 to n_particles={self.n_particles}."
            )
        for name in ("gamma", "seed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name}={value} is impossible; accepted: a number of at least 0.")
        if self.gamma > 0 and self.name in ("psld", "dps"):
            raise UserError(f"gamma={self.gamma} is impossible with name={self.name!r}; accepted: 0, or rsd.")
        for name, default in DEFAULTS[self.name].items():
            value = getattr(self, name)
            if value is None:
                setattr(self, name, default)
            elif not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name}={value} is impossible; accepted: null or a number of at least 0.")
        if self.name == "rsd" and self.coupling == 0:
            raise UserError("coupling=0 is impossible: x and D(z) would not meet; accepted: a number above 0.")

    def number(self, name: str) -> float:
        """A setting that the solver has a default for."""
        return float(getattr(self, name))


DEFAULTS: dict[str, dict[str, float]] = {
    "rsd": {"regularization": 0.01, "coupling": 0.075, "lr_x": 0.4, "lr_z": 0.8, "initial_scale": 1.0},  # D.2
    "latent-reddiff": {"regularization": 0.133, "lr_z": 0.15, "initial_scale": 1.0},  # ours: lambda rho^2 of rsd
    "reddiff": {"regularization": 0.25, "lr_z": 0.1, "initial_scale": 1.0},  # Mardani et al. (2023)
    "psld": {"likelihood_step": 1.0, "gluing": 0.1, "stochasticity": 1.0, "initial_scale": 1.0},  # Rout et al. (2023)
    "dps": {"likelihood_step": 1.0, "stochasticity": 1.0, "initial_scale": 1.0},  # Chung et al. (2022)
}
