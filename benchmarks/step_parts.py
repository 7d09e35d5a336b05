"""Time of a step of repulsive SDS on the bundled prior, and of its parts, as ratios to the time of the U-Net call.

    python benchmarks/step_parts.py --n-particles 8

The parts are timed in turn, round by round, so that a busy machine slows all of them alike. Times are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from threestudio_rsd.distillation import SDS, RepulsiveDistillation
from threestudio_rsd.priors import load_prior
from threestudio_rsd.repulsion import RepulsiveForce, load_features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--n-particles", type=int, default=8, help="number of particles N")
    parser.add_argument("--rounds", type=int, default=15, help="timings of each part")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    prior, dino = load_prior("bundled"), load_features("dino", bundled=True)
    force = RepulsiveForce(dino, decode=lambda latents: prior.decode(latents, clamp=False))
    distillation = RepulsiveDistillation(SDS(prior), force, kernel_input="clean")
    embedding = prior.embed("a mushroom")
    x, noise = torch.randn(2, args.n_particles, *prior.latent_shape)
    images = torch.rand(args.n_particles, 3, 64, 64)
    parts: dict[str, Callable[[], object]] = {
        "U-Net (2 N images)": lambda: prior.noise_predictions(x, 500, embedding),
        "decode (no gradient)": torch.no_grad()(lambda: prior.decode(x)),
        "features (no gradient)": torch.no_grad()(lambda: dino(images)),
        "force: decode, features and backward of both": lambda: force(x),
        "step, gamma = 0": lambda: distillation(x, 500, noise, embedding, 0.0),
        "step, gamma > 0": lambda: distillation(x, 500, noise, embedding, 20.0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(args.rounds + 1):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first round warms up
    unit = medians["U-Net (2 N images)"]
    for name, value in medians.items():
        print(f"{name:<46} {value / unit:5.2f} x  {1000 * value:7.1f} ms")


if __name__ == "__main__":
    main()
