"""Answers of the solvers against the posterior of a Gaussian mixture with one measured value, in closed form.

    OMP_NUM_THREADS=1 python benchmarks/mixture_posterior.py --n-particles 400 --steps 60

Columns: total variation between the shares of the modes and their weights; error of the mean; trace of the covariance
over that of the posterior; the same within each mode.
"""

import argparse
from typing import Any

import torch
from threestudio_rsd.inverse import solve
from threestudio_rsd.inverse.mixture_posterior import MixturePosterior, mixture_posterior
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.text_tables import format_table
from torch import Tensor

MEANS = torch.tensor([[0.5, -0.9, 0.4], [0.3, 0.1, -0.8], [0.6, 0.9, 0.6], [-0.9, 0.9, 0.0]])
VARIANCE, WEIGHTS = 0.02, torch.tensor([0.2, 0.3, 0.4, 0.1])
MEASUREMENT, DEVIATION = torch.tensor([0.45]), 0.05
SETTINGS: dict[str, dict[str, Any]] = {
    f"proximal, {noise}, memory {memory:g}{', no Jacobian' if jacobian is None else ''}": {
        "name": "proximal",
        "noise": kind,
        "noise_refresh_rate": rate,
        "correction_memory": memory,
        "jacobian_interval": jacobian,
    }
    for jacobian in (None, (0.3, 20.0))
    for memory in (0.0, 1.0)
    for noise, kind, rate in (
        ("fixed noise", "fixed", 0.0),
        ("refreshed by .1", "refreshed", 0.1),
        ("refreshed by .3", "refreshed", 0.3),
        ("fresh noise", "fresh", 1.0),
    )
} | {
    "DAPS": {"name": "daps"},
    "DPS": {"name": "dps", "likelihood_step": 0.3},
    "RED-diff": {"name": "reddiff", "lr_z": 0.05},
    "RSD": {"name": "rsd", "x_step": "closed-form", "lr_z": 0.05, "coupling": 0.1},
}


class FirstValue:
    """Linear operator that measures the first of three values."""

    def A(self, x: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return x[:, :1]

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return torch.cat([y, torch.zeros(len(y), 2)], 1)

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        return torch.cat([(gamma * y + z[:, :1]) / (gamma + 1), z[:, 1:]], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--n-particles", type=int, default=400, help="number of answers")
    parser.add_argument("--steps", type=int, default=60, help="steps of every solver")
    args = parser.parse_args()
    prior = GaussianMixturePrior(MEANS, torch.full((len(MEANS),), VARIANCE), WEIGHTS)
    posterior = mixture_posterior(prior, torch.tensor([[1.0, 0.0, 0.0]]), MEASUREMENT, DEVIATION)
    rows = []
    for label, settings in SETTINGS.items():
        own = {"prior_deviation": 1.0} if settings["name"] == "proximal" else {}
        solution = solve(
            MEASUREMENT[None], FirstValue(), prior, args.n_particles, features="euclidean", n_steps=args.steps,
            measurement_deviation=DEVIATION, clip_estimate=False, progress=False, **own, **settings,
        )  # fmt: skip
        rows.append([label, *compare(solution.latents[0], posterior)])
    print(format_table(["solver", "weights", "mean", "covariance", "within modes"], rows))


def compare(samples: Tensor, posterior: MixturePosterior) -> list[str]:
    """Table cells of samples (S, D)."""
    modes = posterior.nearest_mode(samples)
    shares = torch.bincount(modes, minlength=len(posterior.weights)) / len(samples)
    within = [
        float((samples[modes == k] - posterior.means[k]).square().sum(1).mean() / posterior.covariances[k].trace())
        for k in range(len(posterior.weights))
        if int((modes == k).sum()) > 20
    ]
    return [
        f"{float((shares - posterior.weights).abs().sum() / 2):.2f}",
        f"{float((samples.mean(0) - posterior.mean).norm()):.2f}",
        f"{float(torch.cov(samples.T).trace() / posterior.covariance.trace()):.2f}",
        " ".join(f"{value:.2f}" for value in within),
    ]


if __name__ == "__main__":
    main()
