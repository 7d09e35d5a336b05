"""Comparison of gamma, kernel input and timestep schedule: text to image on the bundled prior, one CSV line per run.

    python benchmarks/text2image_settings.py --prompt "a mushroom" --output outputs/settings

Baselines: N independent runs of one particle, each with its own random t, and N particles together at gamma 0.
"""

import argparse
import csv
import time
from pathlib import Path

import torch
from threestudio_rsd.distillation import SDS, RepulsiveDistillation, TimestepSchedule
from threestudio_rsd.files import data_path
from threestudio_rsd.images import save_grid
from threestudio_rsd.metrics import diversity
from threestudio_rsd.particles import initial_particles, particle_noise
from threestudio_rsd.priors import Prior, load_prior
from threestudio_rsd.repulsion import RepulsiveForce, load_features
from threestudio_rsd.toyworld import ToyworldJudge, modes_covered

LEARNING_RATE = 0.03  # C.1
COLUMNS = ("prompt", "t", "kernel_input", "gamma", "dino", "clip", "colors", "class", "seconds_per_step")


def distil(
    prior: Prior, prompt: str, n_particles: int, steps: int, schedule: str, kernel_input: str, gamma: float, seed: int
) -> tuple[torch.Tensor, float]:
    """Particles after SDS with repulsion, (N, ...), and seconds per step."""
    features = load_features("dino", bundled=True)
    force = RepulsiveForce(features, decode=lambda latents: prior.decode(latents, clamp=False))
    distillation = RepulsiveDistillation(SDS(prior, guidance_scale=7.5), force, kernel_input)
    timesteps = TimestepSchedule(schedule, steps, seed)
    embedding = prior.embed(prompt)
    x = initial_particles(n_particles, prior.latent_shape, seed).requires_grad_()
    adam = torch.optim.Adam([x], LEARNING_RATE, betas=(0.9, 0.99))
    started = time.perf_counter()
    for step in range(steps):
        noise = particle_noise(seed, "noise", step, n_particles, prior.latent_shape)
        x.grad = distillation(x, timesteps(step, 20, 979), noise, embedding, gamma).gradient
        adam.step()
    return x.detach(), (time.perf_counter() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default="a mushroom", help="prompt of all runs")
    parser.add_argument("-n", "--n-particles", type=int, default=8, help="number of particles N")
    parser.add_argument("--steps", type=int, default=200, help="steps of each run")
    parser.add_argument("--gammas", default="5,10,20,60", help="repulsion weights, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="seed of particles, noise and timesteps")
    parser.add_argument("--output", type=Path, default=Path("outputs/settings"), help="folder of the table and images")
    args = parser.parse_args()
    torch.set_num_threads(1)
    n = args.n_particles
    args.output.mkdir(parents=True, exist_ok=True)
    prior = load_prior("bundled")
    judge = ToyworldJudge.from_folder(data_path("load/toyworld/judge"))
    networks = {name: load_features(name, bundled=True) for name in ("dino", "clip")}
    truth = [index for index, name in enumerate(judge.CLASSES) if name in args.prompt]
    name = args.prompt.replace(" ", "_")

    def report(x: torch.Tensor, seconds: float, schedule: str, kernel_input: str, gamma: float) -> None:
        images = prior.decode(x)
        labels = judge.predict(images)
        values = [f"{float(diversity(network(images))):.3f}" for network in networks.values()]
        right = float((labels["class"] == truth[0]).float().mean()) if truth else float("nan")
        row = [args.prompt, schedule, kernel_input, gamma, *values, modes_covered(labels["color"]), right]
        with (args.output / f"{name}.csv").open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(COLUMNS)
            writer.writerow([*row, f"{seconds:.3f}"])
        print(*row, f"{seconds:.3f}", flush=True)
        save_grid(images, args.output / f"{name}-{schedule}-{kernel_input}-{gamma:g}.png")

    with torch.no_grad():
        alone = [
            distil(prior, args.prompt, 1, args.steps, "random", "clean", 0.0, 1000 + args.seed * n + i)
            for i in range(n)
        ]
        report(torch.cat([x for x, _ in alone]), sum(s for _, s in alone), "random", "independent", 0)
        for schedule in ("random", "descending"):
            report(*distil(prior, args.prompt, n, args.steps, schedule, "clean", 0.0, args.seed), schedule, "-", 0)
        for gamma in map(float, args.gammas.split(",")):
            for schedule in ("descending", "random"):
                for kernel_input in ("clean", "noisy"):
                    result = distil(prior, args.prompt, n, args.steps, schedule, kernel_input, gamma, args.seed)
                    report(*result, schedule, kernel_input, gamma)


if __name__ == "__main__":
    main()
