"""Settings of `configs/text2image/flow.yaml` against plain sampling on the bundled prior: diversity and quality.

    OMP_NUM_THREADS=1 python benchmarks/text2image_flow.py --seeds 2

The prompts are the eight classes with no color. Diversity (DINO, CLIP), CLIP score, class accuracy and number of colors
are means over prompts and seeds; the Frechet distance to renders, in the judge's features, is that of all images.
"""

import argparse
from collections.abc import Callable

import torch
from threestudio_rsd.distillation import SDS, NoiseSource, RepulsiveDistillation, select_noise
from threestudio_rsd.evaluation.image_sets import Group, ImageSet
from threestudio_rsd.evaluation.instruments import Instruments, Options
from threestudio_rsd.metrics.names import metric_info
from threestudio_rsd.metrics.statistics import estimate
from threestudio_rsd.particles import particle_noise
from threestudio_rsd.priors import NoiseLevelInterval, Prior, load_prior, sample_ancestral
from threestudio_rsd.repulsion import RepulsiveForce, load_features
from threestudio_rsd.text_tables import format_table
from threestudio_rsd.toyworld import CLASSES
from threestudio_rsd.toyworld.captions import caption

STEPS = 40
KEYS = ("diversity_dino", "diversity_clip", "clip_score", "class_accuracy", "colors")
GUIDANCE_SCALE, LOW, HIGH = 5.0, 0.28, 20.0  # as in flow.yaml
SETTINGS: dict[str, dict] = {
    "fixed noise": {"high": torch.inf, "coupled": False, "candidates": 0},
    "+ guidance in (0.28, 20]": {"coupled": False, "candidates": 0},
    "+ coupled": {"candidates": 0},
    "+ gamma 5, not selected": {"candidates": 0, "gamma": 5.0},
    "+ selected (flow.yaml)": {},
    "+ selected, gamma 5": {"gamma": 5.0},
}


@torch.no_grad()
def flow(
    prior: Prior,
    prompt: str,
    seed: int,
    n_particles: int,
    high: float = HIGH,
    coupled: bool = True,
    candidates: int = 64,
    gamma: float = 0.0,
) -> torch.Tensor:
    """Images (N, 3, H, W) along the prior's own flow."""
    features = load_features("dino", bundled=True)
    force = RepulsiveForce(features, decode=lambda latents: prior.decode(latents, clamp=False)) if gamma else None
    distillation = RepulsiveDistillation(
        SDS(prior, GUIDANCE_SCALE),
        force,
        kernel_input="clean",
        weighting_strategy="exact",
        guidance_interval=NoiseLevelInterval(LOW, high),
        force_interval=NoiseLevelInterval(0.5),
    )
    embedding, shape = prior.embed(prompt), tuple(prior.latent_shape)
    timesteps = torch.linspace(prior.num_train_timesteps - 1, 0, STEPS).round().long().tolist()
    source = NoiseSource("fixed", coupled=coupled, seed=seed)
    if candidates:
        noise = particle_noise(seed, "noise", 0, candidates, shape)
        source.indices = select_noise(prior, embedding, noise, n_particles, timesteps[0], features)
    noise = source(0, n_particles, shape)
    x = torch.zeros_like(noise)
    for t, t_next in zip(timesteps, [*timesteps[1:], None], strict=True):
        x = x - distillation(x, t, noise, embedding, gamma, t_next=t_next).gradient
    return prior.decode(x)


def sample(prior: Prior, prompt: str, seed: int, n_particles: int, guidance_scale: float) -> torch.Tensor:
    """Images (N, 3, H, W) by ancestral sampling in 30 steps."""

    def noise(step: int) -> torch.Tensor:
        return particle_noise(seed, "sampling", step, n_particles, tuple(prior.latent_shape))

    return prior.decode(sample_ancestral(prior, prior.embed(prompt), n_particles, noise, guidance_scale))


def measure(make: Callable[[str, int], torch.Tensor], seeds: int, own: Instruments, together: Instruments) -> list[str]:
    """Table cells of one setting."""
    groups = [
        Group(list(make(caption(index), seed)), caption(index))
        for index in range(len(CLASSES))
        for seed in range(seeds)
    ]
    found = [own.measure(ImageSet("case", [group], True)) for group in groups]
    cells = []
    for key in KEYS:
        value = estimate([each[key].mean for each in found], [group.prompt for group in groups])
        digits = metric_info(key).digits
        cells.append(
            f"{value.mean:.{digits}f} [{value.low or value.mean:.{digits}f}, {value.high or value.mean:.{digits}f}]"
        )
    frechet = together.measure(ImageSet("all", groups, True))["frechet"].mean
    return [*cells, f"{frechet:.0f}"]


def main() -> None:
    """Measure every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-particles", "-n", type=int, default=4, help="number of particles")
    parser.add_argument("--seeds", type=int, default=4, help="number of seeds for each prompt")
    parser.add_argument("--settings", help="names of settings as in this file, separated by semicolons; all by default")
    args = parser.parse_args()
    prior, n = load_prior("bundled"), args.n_particles
    own = Instruments(Options(metrics=("diversity", "clip_score", "truth")))
    together = Instruments(Options(metrics=("frechet",), reference="bundled"))
    makers: dict[str, Callable[[str, int], torch.Tensor]] = {
        f"sampling, CFG {scale:g}": lambda prompt, seed, scale=scale: sample(prior, prompt, seed, n, scale)
        for scale in (7.5, 4.0, 2.0)
    }
    makers |= {
        name: lambda prompt, seed, options=options: flow(prior, prompt, seed, n, **options)
        for name, options in SETTINGS.items()
    }
    chosen = makers if args.settings is None else args.settings.split(";")
    rows = []
    for name in chosen:
        make = makers[name]
        rows.append([name, *measure(make, args.seeds, own, together)])
        print("  ".join(rows[-1]), flush=True)
    print(format_table(["setting", *(metric_info(key).title for key in KEYS), "Frechet"], rows))


if __name__ == "__main__":
    main()
