"""The paper's two-dimensional toy problem (C.3.1, Fig. 9), with an exact score and known modes.

Particles are points of the plane; the prior is a mixture of Gaussians of variance 0.005. Two particles and two modes at
(+-1, 0) are the paper's problem; four particles and four modes, with SVGD beside RSD, are ours. Three numbers are
measured: the share of realizations that collapsed (two particles ended in one mode), the share of modes covered, and
the mean distance of a particle to its nearest mode.

The paper leaves most settings open. These reproduce its figure, found by a search over schedules, weights, steps,
learning rates and starts:

- noise: DDPM's schedule, beta from 1e-4 to 0.02, linear, T = 1000 (with Stable Diffusion's schedule the force is too
  weak at random t: with the clean kernel and gamma = 3 particles end 0.73 rather than 0.94 from the modes);
- t: 20 to 980, one per realization, shared by its particles; uniform, or descending evenly;
- w(t) = 1, s(t) = sigma_t, no classifier-free guidance;
- start: standard normal; Adam, learning rate 0.015, betas (0.9, 0.999), 1000 steps;
- RBF kernel on Euclidean distances, h = median^2 / log N, j = i left out.

All realizations of a sweep run as one batch, with the same noise for every gamma.
"""

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..distillation import SDS, SVGD, RepulsiveDistillation, svgd_direction
from ..distillation.method import Step
from ..errors import in_range
from ..files import make_folder, write_json
from ..priors import GaussianMixturePrior
from ..repulsion import RepulsiveForce, squared_distances
from .definitions import read_toy_figure

VARIANCE = 0.005
STEPS = 1000
LEARNING_RATE = 0.015
MIN_T, MAX_T = 20, 980
REALIZATIONS = 200
ORDERS = ("random", "descending")
KERNEL_INPUTS = ("noisy", "clean")
TABLE_GAMMAS = (0.0, 0.3, 1.0, 3.0, 10.0)
CURVE_GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 2000.0)
FOUR_MODE_GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
SCATTER_GAMMAS = (1.0, 2000.0)  # Figs. 9b and 9c
TWO_MODES = ((1.0, 0.0), (-1.0, 0.0))
FOUR_MODES = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
PAPER_SETTING = ("rsd", "random", "noisy")  # method, order of t and kernel input, as far as the paper says


@dataclass(frozen=True)
class ToyRow:
    """One row of the table: a setting and the results of its realizations.

    Attributes:
        modes: number of modes and particles.
        method: `rsd` or `svgd`.
        order: order of t, `random` or `descending`.
        kernel_input: `noisy` or `clean`.
        gamma: repulsion weight; None for `svgd`.
        realizations: number of repetitions.
        collapsed: share of realizations in which two particles ended in one mode.
        covered: mean share of the modes that hold a particle.
        distance: mean distance of a particle to its nearest mode.
    """

    modes: int
    method: str
    order: str
    kernel_input: str
    gamma: float | None
    realizations: int
    collapsed: float
    covered: float
    distance: float


class EnsemblesSVGD(SVGD):
    """SVGD on SDS within each of several separate ensembles.

    Args:
        prior: mixture in the plane.
        ensembles: number of ensembles V; particles are (N V, 2), the V copies of the first particle first.
    """

    def __init__(self, prior: GaussianMixturePrior, ensembles: int) -> None:
        super().__init__(prior, guidance_scale=1.0, base="sds")
        self.ensembles = ensembles

    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`."""
        v = self.ensembles
        levels = self.prior.sigma(step.t)  # (N V, 1)
        x_t, directions, sigma = (
            each.unflatten(0, (-1, v)).transpose(0, 1) for each in (step.x_t, self.base.direction(step), levels)
        )  # (V, N, ...)
        kernel = self.force.kernel.log(squared_distances(x_t, x_t)).exp()
        repulsion = self.force(x_t.flatten(0, 1), ensembles=v).view_as(x_t)
        separate = torch.vmap(svgd_direction)(directions, kernel, repulsion, sigma)
        return separate.transpose(0, 1).flatten(0, 1)


def make_prior(modes: Sequence[Sequence[float]]) -> GaussianMixturePrior:
    """Equal Gaussians of variance 0.005 under DDPM's noise schedule.

    Args:
        modes: means, (K, 2).
    """
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    k = len(modes)
    return GaussianMixturePrior(
        torch.tensor(modes), torch.full((k,), VARIANCE), torch.ones(k), alphas_cumprod=(1 - betas).cumprod(0)
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the tensors of the toy problem are too small for several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def simulate(
    prior: GaussianMixturePrior,
    gammas: Sequence[float],
    order: str,
    kernel_input: str = "noisy",
    method: str = "rsd",
    realizations: int = REALIZATIONS,
    seed: int = 0,
    steps: int = STEPS,
) -> Tensor:
    """Final particles of every realization, with one particle per mode: N = K.

    The ensembles of all gammas and realizations are one batch: they are the `views` of `RepulsiveDistillation`.

    Args:
        prior: mixture of K modes in the plane.
        gammas: repulsion weights; `svgd` ignores their values.
        order: order of t, `random` or `descending`.
        kernel_input: `noisy` (the paper) or `clean`; for `rsd` only, SVGD's kernel sees the noisy particles.
        method: `rsd` on SDS, or `svgd` on SDS.
        realizations: number of independent repetitions R.
        seed: seed of start, noise and timesteps.
        steps: number of Adam's steps.

    Returns:
        (len(gammas), R, N, 2)
    """
    generator = torch.Generator().manual_seed(seed)
    n, copies = len(prior.means), len(gammas)
    ensembles = copies * realizations
    if method == "svgd":
        distillation = RepulsiveDistillation(EnsemblesSVGD(prior, ensembles), weighting_strategy="uniform")
    else:
        force = RepulsiveForce("euclidean")
        distillation = RepulsiveDistillation(SDS(prior, guidance_scale=1.0), force, kernel_input, "uniform")

    def draw() -> Tensor:
        """Normal noise that all gammas share, (N V, 2)."""
        noise = torch.randn(realizations, n, 2, generator=generator)
        return noise.transpose(0, 1).repeat(1, copies, 1).flatten(0, 1)

    gamma = torch.tensor(gammas).repeat_interleave(realizations).repeat(n)[:, None]  # (N V, 1)
    particles = draw().requires_grad_()
    optimizer = torch.optim.Adam([particles], lr=LEARNING_RATE)
    for step in range(steps):
        if order == "random":
            t = torch.randint(MIN_T, MAX_T + 1, (realizations,), generator=generator)
        else:
            t = torch.full((realizations,), round(MAX_T + (MIN_T - MAX_T) * step / max(steps - 1, 1)))
        every_t = t.repeat(n * copies)  # (N V,)
        found = distillation(particles, every_t, draw(), prior.embed(), gamma, views_per_particle=ensembles)
        particles.grad = found.gradient
        optimizer.step()
    return particles.detach().view(n, copies, realizations, 2).permute(1, 2, 0, 3)


def evaluate(particles: Tensor, modes: Tensor) -> tuple[float, float, float]:
    """Share of collapsed realizations, mean share of modes covered, and mean distance to the nearest mode.

    Args:
        particles: (R, N, 2).
        modes: (K, 2).
    """
    distances, nearest = torch.cdist(particles, modes).min(-1)
    held = torch.nn.functional.one_hot(nearest, len(modes)).sum(1)  # (R, K): particles per mode
    return float((held > 1).any(1).float().mean()), float((held > 0).float().mean()), float(distances.mean())


def sweep(
    modes: Sequence[Sequence[float]], gammas: Sequence[float], realizations: int, seed: int
) -> tuple[list[ToyRow], dict[tuple[str, str], Tensor]]:
    """RSD for every order of t, kernel input and gamma, and SVGD for every order of t.

    Args:
        modes: means of the mixture, (K, 2).
        gammas: repulsion weights.
        realizations: number of repetitions R.
        seed: seed of start, noise and timesteps.

    Returns:
        The rows, and RSD's final particles (len(gammas), R, N, 2) by (order, kernel input).
    """
    prior = make_prior(modes)
    rows, finals = [], {}
    for order in ORDERS:
        for kernel_input in KERNEL_INPUTS:
            final = simulate(prior, gammas, order, kernel_input, "rsd", realizations, seed)
            finals[order, kernel_input] = final
            for gamma, particles in zip(gammas, final, strict=True):
                results = evaluate(particles, prior.means)
                rows.append(ToyRow(len(modes), "rsd", order, kernel_input, gamma, realizations, *results))
        final = simulate(prior, (0.0,), order, "noisy", "svgd", realizations, seed)
        results = evaluate(final[0], prior.means)
        rows.append(ToyRow(len(modes), "svgd", order, "noisy", None, realizations, *results))
    return rows, finals


def format_table(rows: Sequence[ToyRow], gammas: Sequence[float] = TABLE_GAMMAS) -> str:
    """Tables for a terminal, one for each number of modes: a line per gamma, a column per setting.

    Args:
        rows: rows of one or several sweeps.
        gammas: repulsion weights that are shown.
    """
    blocks = []
    for modes in sorted({row.modes for row in rows}):
        chosen = [row for row in rows if row.modes == modes]
        name = "collapsed" if modes == 2 else "modes covered"
        settings = [(order, kernel_input) for order in ORDERS for kernel_input in KERNEL_INPUTS]
        lines = [
            f"{modes} particles, {modes} modes, {chosen[0].realizations} realizations: {name}, distance to a mode",
            f"{'gamma':>8}" + "".join(f"{f'{order} t, {kernel}':>22}" for order, kernel in settings),
        ]
        for gamma in gammas:
            line = [_find(chosen, "rsd", *setting, gamma) for setting in settings]
            lines.append(f"{gamma:>8g}" + "".join(_cell(row) for row in line))
        svgd = [_find(chosen, "svgd", order, "noisy", None) for order in ORDERS]
        lines.append(f"{'SVGD':>8}" + "".join(_cell(row) + f"{'':>22}" for row in svgd).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def describe(rows: Sequence[ToyRow]) -> list[str]:
    """Lines on the paper's own setting: two modes, at gamma 0 and at the gammas of Fig. 9.

    Args:
        rows: rows of a sweep.
    """
    two_modes = [row for row in rows if row.modes == len(TWO_MODES)]
    found = [_find(two_modes, *PAPER_SETTING, gamma) for gamma in (0.0, *SCATTER_GAMMAS)]
    return [
        f"gamma {row.gamma:g}: {row.collapsed:.0%} collapsed, distance to a mode {row.distance:.2f}" for row in found
    ]


def _find(rows: Sequence[ToyRow], method: str, order: str, kernel_input: str, gamma: float | None) -> ToyRow:
    wanted = (method, order, kernel_input, gamma)
    return next(row for row in rows if (row.method, row.order, row.kernel_input, row.gamma) == wanted)


def _cell(row: ToyRow) -> str:
    share = row.collapsed if row.modes == 2 else row.covered
    return f"{f'{share:.0%}, {row.distance:.2f}':>22}"


def save_table(rows: Sequence[ToyRow], folder: Path, seed: int, command: str) -> list[Path]:
    """Write toy.csv and toy.json.

    Args:
        rows: rows of all sweeps.
        folder: existing folder.
        seed: seed of the sweeps.
        command: command line of the user.

    Returns:
        Paths of the two files.
    """
    records = [asdict(row) for row in rows]
    table, data = folder / "toy.csv", folder / "toy.json"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    settings = {
        "seed": seed,
        "variance": VARIANCE,
        "steps": STEPS,
        "learning_rate": LEARNING_RATE,
        "timesteps": [MIN_T, MAX_T],
        "torch": torch.__version__,
    }
    write_json(data, {"command": command, "settings": settings, "rows": records})
    return [table, data]


def run(
    name: str | None, *, realizations: int | None = None, seed: int = 0, quick: bool = False, output: Path, command: str
) -> Path:
    """Simulate both problems, print the table, and write toy.csv, toy.json and toy.png.

    Args:
        name: figure of the paper, whose title and claim are printed; None: `rsd toy`.
        realizations: number of repetitions of every setting; None: the figure's, or 200.
        seed: seed of start, noise and timesteps.
        quick: use the figure's number of repetitions for --quick.
        output: folder of the files; with a `name` they go to OUTPUT/NAME or OUTPUT/NAME-quick.
        command: command line of the user, kept in toy.json.

    Returns:
        Folder of the files.

    Raises:
        UserError: an impossible argument, an unknown name, or a folder that cannot be made.
    """
    from .gaussian_toy_plot import draw_figure

    figure = None if name is None else read_toy_figure(name)
    if figure is not None:
        realizations = realizations or (figure.quick.realizations if quick else figure.realizations)
        output = output / (f"{name}-quick" if quick else str(name))
        print(figure.title)
    realizations = REALIZATIONS if realizations is None else realizations
    in_range("--realizations", realizations, 1)
    in_range("--seed", seed, 0, 2**63 - 1)
    make_folder(output)
    started = time.perf_counter()
    two, finals = sweep(TWO_MODES, CURVE_GAMMAS, realizations, seed)
    four, _ = sweep(FOUR_MODES, FOUR_MODE_GAMMAS, realizations, seed)
    rows = [*two, *four]
    print(format_table(rows))
    written = [*save_table(rows, output, seed, command), output / "toy.png"]
    draw_figure(rows, finals, CURVE_GAMMAS, written[-1])
    print(f"\n{time.perf_counter() - started:.0f} s; written: {', '.join(map(str, written))}")
    if figure is not None:
        print(f"The paper: {figure.claim}")
        print(f"Here, as in the paper (random t, kernel on noisy particles; {realizations} realizations):")
        print("\n".join(f"  {line}" for line in describe(rows)))
    return output
