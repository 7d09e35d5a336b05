"""`SolverConfig`: the settings of the solvers and their defaults."""

from dataclasses import dataclass, field
from typing import Any

from ..distillation import KERNEL_INPUTS, NOISE_KINDS
from ..errors import UserError, in_range, one_of
from ..priors.noise_levels import interval_from
from .refresh_schedule import RefreshSchedule

SOLVERS = ("rsd", "latent-reddiff", "psld", "dps", "reddiff", "proximal", "daps", "resample")
UNREPELLED = ("psld", "dps", "daps", "resample")  # samplers of independent particles
X_STEPS = ("adam", "closed-form")


@dataclass
class SolverConfig:
    """Settings of a solver; null takes the solver's own default (`DEFAULTS`)."""

    # rsd (Alg. 2), proximal (ours), daps; for latent priors latent-reddiff (D.3), psld, resample; for pixel priors
    # reddiff, dps
    name: str = "rsd"
    n_particles: int = 4  # N particles of each image; D.2
    n_steps: int = 1000  # steps, with t descending from T; D.2
    gamma: float = 0.0  # repulsion weight, for rsd, proximal, reddiff and latent-reddiff; 50 in Table 1
    n_repelled: int | None = None  # number of particles, from the first, that repel each other (6.2.1); null: all
    kernel_input: str = "noisy"  # input of the repulsion kernel: noisy (15), clean or denoised (ours)
    regularization: float | None = None  # lambda of lambda_t = lambda sigma_t / alpha_t; D.2
    coupling: float | None = None  # rsd: weight 1 / rho^2 of the coupling between x and D(z); D.2
    lr_x: float | None = None  # rsd: learning rate of Adam on x, images in [-1, 1]; D.2
    lr_z: float | None = None  # learning rate of Adam on z, latents, or images in [-1, 1]; D.2
    x_step: str = "adam"  # rsd: adam (D.2), or closed-form: the exact minimum, for linear operators (ours)
    likelihood_step: float | None = None  # step size of the likelihood gradient: eta of PSLD, zeta of DPS
    gluing: float | None = None  # psld: its gamma, step size towards latents that the autoencoder maps to themselves
    stochasticity: float | None = None  # psld, dps: eta of DDIM; 0 is deterministic, 1 is DDPM
    ode_steps: float | None = None  # daps: steps of the probability-flow ODE to each estimate of x_0
    langevin_steps: float | None = None  # daps: Langevin steps at each noise level
    langevin_step: float | None = None  # daps: their size, in units of the estimate's posterior variance (ours)
    consistency_every: float | None = None  # resample: the estimate is made to agree with y in every k-th step
    consistency_steps: float | None = None  # resample: steps of Adam on the latent each time
    resampling: float | None = None  # resample: gamma, scale of the resampling variance
    initial_scale: float | None = None  # standard deviation of the initial z; 1 is pure noise, as in Alg. 2
    clip_estimate: bool = True  # dps, proximal: clip the estimate of x_0 in pixel space to [-1, 1], as DPS's code does
    noise: str = "refreshed"  # proximal: noise of the next level, fresh, fixed or refreshed (ours)
    # proximal: share g of the noise's variance that is drawn anew at each level; a number, or pairs
    # [noise level sigma / alpha, g] with ascending levels, linear in between in the logarithm of the level
    noise_refresh_rate: Any = 0.3
    noise_coupled: bool = False  # proximal: noises of mean zero over the particles, see `couple_noise`
    # proximal: noise levels sigma / alpha in (low, high] at which the correction passes through the network's Jacobian,
    # [low, high]; null: nowhere (ours)
    jacobian_interval: list[float] | None = field(default_factory=lambda: [0.3, 20.0])
    # proximal: share k of the correction by the data that stays in the noise of the next level
    correction_memory: float | None = None
    # proximal: standard deviation s of the images of a prior whose particles have 1; 0.5 for images in [0, 1]
    prior_deviation: float | None = None
    prompt: str = ""  # the empty prompt is unconditional, omega = 0 in (24); D.2
    guidance_scale: float = 1.0  # classifier-free guidance, as in diffusers; 1: the conditional prediction alone
    # number of particles that pass through the networks at once; null: all, or 40 on a CPU where no gradient is needed
    chunk_size: int | None = None
    seed: int = 0  # seed of the initial particles and of the noise

    def __post_init__(self) -> None:
        one_of("name", self.name, SOLVERS)
        one_of("kernel_input", self.kernel_input, KERNEL_INPUTS)
        one_of("x_step", self.x_step, X_STEPS)
        for name in ("n_particles", "n_steps", "chunk_size"):
            if getattr(self, name) is not None:
                in_range(name, getattr(self, name), 1)
        if self.n_repelled is not None:
            in_range("n_repelled", self.n_repelled, 0, self.n_particles, "null or an integer")
        for name in ("gamma", "seed"):
            in_range(name, getattr(self, name), 0.0)
        if self.gamma > 0 and self.name in UNREPELLED:
            raise UserError(f"gamma={self.gamma} is impossible with name={self.name!r}; accepted: 0, or rsd.")
        one_of("noise", self.noise, NOISE_KINDS)
        self.jacobian_levels = interval_from("jacobian_interval", self.jacobian_interval)
        self._refresh_schedule = RefreshSchedule(self.noise_refresh_rate)
        self._fill_defaults()
        if self.name == "rsd" and self.coupling == 0:
            raise UserError("coupling=0 is impossible: x and D(z) would not meet; accepted: a number above 0.")

    def _fill_defaults(self) -> None:
        """Replace null by the solver's default, and check the numbers that are given."""
        for name, default in DEFAULTS[self.name].items():
            if getattr(self, name) is None:
                setattr(self, name, default)
            in_range(name, getattr(self, name), 0.0, kind="null or a number")

    def number(self, name: str) -> float:
        """Value of a setting that has a default for this solver."""
        return float(getattr(self, name))

    def refresh_rate(self, level: float) -> float:
        """Share of the noise's variance that is drawn anew at a noise level; 1 for fresh noise, 0 for fixed noise."""
        if self.noise == "refreshed":
            return self._refresh_schedule(level)
        return float(self.noise == "fresh")


DEFAULTS: dict[str, dict[str, float]] = {
    "rsd": {"regularization": 0.01, "coupling": 0.075, "lr_x": 0.4, "lr_z": 0.8, "initial_scale": 1.0},  # D.2
    "latent-reddiff": {"regularization": 0.133, "lr_z": 0.15, "initial_scale": 1.0},  # ours: lambda rho^2 of rsd
    "reddiff": {"regularization": 0.25, "lr_z": 0.1, "initial_scale": 1.0},  # Mardani et al. (2023)
    "psld": {"likelihood_step": 1.0, "gluing": 0.1, "stochasticity": 1.0, "initial_scale": 1.0},  # Rout et al. (2023)
    "proximal": {"correction_memory": 1.0, "prior_deviation": 0.5, "initial_scale": 1.0},
    "daps": {"ode_steps": 5, "langevin_steps": 20, "langevin_step": 0.3, "initial_scale": 1.0},  # Zhang et al. (2025)
    "resample": {  # Song et al. (2024)
        "consistency_every": 10,
        "consistency_steps": 50,
        "lr_z": 0.05,
        "resampling": 40.0,
        "initial_scale": 1.0,
    },
    "dps": {"likelihood_step": 1.0, "stochasticity": 1.0, "initial_scale": 1.0},  # Chung et al. (2022)
}
