"""`rsd toy`: the paper's two-dimensional problem (C.3.1, Fig. 9), where the score is exact and every mode is known.

Particles are points of the plane; the prior is a mixture of Gaussians of variance 0.005. Two particles on two modes at
(+-1, 0) are the paper's problem; four particles on four modes, with SVGD beside RSD, are ours. Counted are the
realizations that collapsed (two particles ended in one mode), the share of modes covered, and the mean distance of a
particle to its nearest mode.

The paper leaves the settings open. These reproduce the table of the design, found by a search over schedules, weights,
steps, learning rates and starts:

- noise: DDPM's schedule, beta from 1e-4 to 0.02, linear, T = 1000 (Stable Diffusion's gives too weak a force at
  random t: the clean kernel then ends 0.73 rather than 0.94 from the modes at gamma = 3);
- t: 20 to 980, one per realization, shared by its particles; uniform, or descending evenly;
- w(t) = 1, s(t) = sigma_t, no classifier-free guidance;
- start: standard normal; Adam, learning rate 0.015, betas (0.9, 0.999), 1000 steps;
- RBF kernel on Euclidean distances, h = median^2 / log N, j = i left out.

All realizations of a sweep run as one batch, with the same noise for every gamma.
"""

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..distillation import svgd_direction
from ..errors import UserError
from ..files import make_folder
from ..priors import GaussianMixturePrior
from ..repulsion import RepulsiveForce, squared_distances

VARIANCE = 0.005
STEPS = 1000
LEARNING_RATE = 0.015
MIN_T, MAX_T = 20, 980
ORDERS = ("random", "descending")
KERNEL_INPUTS = ("noisy", "clean")
TABLE_GAMMAS = (0.0, 0.3, 1.0, 3.0, 10.0)
CURVE_GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 2000.0)
FOUR_MODE_GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
SCATTER_GAMMAS = (1.0, 2000.0)  # Figs. 9b and 9c
TWO_MODES = ((1.0, 0.0), (-1.0, 0.0))
FOUR_MODES = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
COLORS = {
    ("random", "noisy"): "#d55e00",
    ("random", "clean"): "#e69f00",
    ("descending", "noisy"): "#0072b2",
    ("descending", "clean"): "#009e73",
}


@dataclass(frozen=True)
class Row:
    """One line of the table: a setting and what came of its realizations."""

    modes: int
    method: str  # rsd or svgd
    order: str  # of t: random or descending
    kernel_input: str  # noisy or clean
    gamma: float | None
    realizations: int
    collapsed: float  # share of realizations in which two particles ended in one mode
    covered: float  # mean share of the modes that hold a particle
    distance: float  # mean distance of a particle to its nearest mode


def make_prior(modes: Sequence[Sequence[float]]) -> GaussianMixturePrior:
    """Equal Gaussians of variance 0.005 at the modes (K, 2), under DDPM's noise schedule."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    k = len(modes)
    return GaussianMixturePrior(
        torch.tensor(modes), torch.full((k,), VARIANCE), torch.ones(k), alphas_cumprod=(1 - betas).cumprod(0)
    )


def batched_force(force: RepulsiveForce, particles: Tensor) -> Tensor:
    """`force` within each of B separate ensembles, on the particles themselves: (B, N, D) -> (B, N, D)."""
    leaf = particles.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(force.potential(leaf).sum(), leaf)[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """The tensors here are so small that several threads only wait for each other."""
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
    realizations: int = 200,
    seed: int = 0,
    steps: int = STEPS,
) -> Tensor:
    """Final particles, (len(gammas), realizations, N, 2), with one particle per mode: N = K.

    Args:
        prior: mixture of K modes in the plane.
        gammas: repulsion weights; `svgd` has none and ignores their values.
        order: of t, `random` or `descending`.
        kernel_input: `noisy` (the paper) or `clean`; for `rsd` only, SVGD's kernel sees the noisy particles.
        method: `rsd` on SDS, or `svgd` on SDS.
        realizations: independent repetitions.
        seed: of start, noise and timesteps.
        steps: of Adam.
    """
    generator = torch.Generator().manual_seed(seed)
    n = len(prior.means)
    copies = len(gammas)
    gamma = torch.tensor(gammas).view(copies, 1, 1, 1)
    force = RepulsiveForce("euclidean", form="sum" if method == "svgd" else "log_sum")
    start = torch.randn(realizations, n, 2, generator=generator)
    particles = start.repeat(copies, 1, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([particles], lr=LEARNING_RATE)
    for step in range(steps):
        if order == "random":
            t = torch.randint(MIN_T, MAX_T + 1, (realizations,), generator=generator)
        else:
            t = torch.full((realizations,), round(MAX_T + (MIN_T - MAX_T) * step / max(steps - 1, 1)))
        noise = torch.randn(realizations, n, 2, generator=generator)
        alpha, sigma = prior.alpha(t).view(-1, 1, 1), prior.sigma(t).view(-1, 1, 1)
        x_0 = particles.detach()
        x_t = alpha * x_0 + sigma * noise
        every_t = t.repeat_interleave(n).repeat(copies)
        predicted = prior.raw_predict(x_t.view(-1, 2), every_t, x_t.new_zeros(0)).view_as(x_t)
        direction = predicted - noise
        if method == "svgd":
            particles.grad = _svgd(force, direction, x_t, sigma)
        else:
            repulsion = batched_force(force, (x_t if kernel_input == "noisy" else x_0).flatten(0, 1)).view_as(x_t)
            particles.grad = direction + gamma * sigma * repulsion
        optimizer.step()
    return particles.detach()


def _svgd(force: RepulsiveForce, directions: Tensor, x_t: Tensor, sigma: Tensor) -> Tensor:
    """Direction of SVGD within each ensemble: directions and x_t (G, R, N, 2), sigma (R, 1, 1)."""
    ensembles = x_t.flatten(0, 1)
    squared = squared_distances(ensembles, ensembles)
    kernel = force.kernel.log(squared).exp()
    levels = sigma.repeat(len(x_t), 1, 1)
    separate = torch.vmap(svgd_direction)
    return separate(directions.flatten(0, 1), kernel, batched_force(force, ensembles), levels).view_as(x_t)


def evaluate(particles: Tensor, modes: Tensor) -> tuple[float, float, float]:
    """Share collapsed, mean share of modes covered, mean distance to the nearest mode: (R, N, 2), (K, 2)."""
    distances, nearest = torch.cdist(particles, modes).min(-1)
    held = torch.nn.functional.one_hot(nearest, len(modes)).sum(1)  # (R, K): particles per mode
    return (
        float((held > 1).any(1).float().mean()),
        float((held > 0).float().mean()),
        float(distances.mean()),
    )


def sweep(
    modes: Sequence[Sequence[float]], gammas: Sequence[float], realizations: int, seed: int, svgd: bool = False
) -> tuple[list[Row], dict[tuple[str, str], Tensor]]:
    """Every order of t and kernel input over the gammas, and SVGD where asked for.

    Returns:
        The rows, and the final particles (len(gammas), realizations, N, 2) by (order, kernel input).
    """
    prior = make_prior(modes)
    rows, finals = [], {}
    for order in ORDERS:
        for kernel_input in KERNEL_INPUTS:
            final = simulate(prior, gammas, order, kernel_input, "rsd", realizations, seed)
            finals[order, kernel_input] = final
            for gamma, particles in zip(gammas, final, strict=True):
                figures = evaluate(particles, prior.means)
                rows.append(Row(len(modes), "rsd", order, kernel_input, gamma, realizations, *figures))
        if svgd:
            final = simulate(prior, (0.0,), order, "noisy", "svgd", realizations, seed)
            figures = evaluate(final[0], prior.means)
            rows.append(Row(len(modes), "svgd", order, "noisy", None, realizations, *figures))
    return rows, finals


def format_table(rows: Sequence[Row], gammas: Sequence[float] = TABLE_GAMMAS) -> str:
    """One block per problem, as in the design: a line per gamma, a column per setting."""
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
        svgd = {row.order: row for row in chosen if row.method == "svgd"}
        if svgd:
            lines.append(f"{'SVGD':>8}" + "".join(_cell(svgd[order]) + f"{'':>22}" for order in ORDERS).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _find(rows: Sequence[Row], method: str, order: str, kernel_input: str, gamma: float) -> Row:
    wanted = (method, order, kernel_input, gamma)
    return next(row for row in rows if (row.method, row.order, row.kernel_input, row.gamma) == wanted)


def _cell(row: Row) -> str:
    share = row.collapsed if row.modes == 2 else row.covered
    return f"{f'{share:.0%}, {row.distance:.2f}':>22}"


def save_table(rows: Sequence[Row], folder: Path, seed: int) -> list[Path]:
    """Write toy.csv and toy.json."""
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
    data.write_text(json.dumps({"settings": settings, "rows": records}, indent=2))
    return [table, data]


def draw_figure(
    rows: Sequence[Row], finals: dict[tuple[str, str], Tensor], gammas: Sequence[float], path: Path
) -> None:
    """Fig. 9 with all four settings, and the four modes below it.

    Args:
        rows: of both problems.
        finals: final particles of the two-mode problem, by (order, kernel input).
        gammas: of the sweeps.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    curves = (
        (axes[0, 0], 2, "collapsed", "a) two modes: realizations that collapsed"),
        (axes[1, 0], 2, "distance", "d) two modes: distance to the nearest mode"),
        (axes[1, 1], 4, "covered", "e) four modes: share of modes covered"),
        (axes[1, 2], 4, "distance", "f) four modes: distance to the nearest mode"),
    )
    for axis, modes, value, title in curves:
        _draw_curves(axis, [row for row in rows if row.modes == modes], value)
        axis.set_title(title)
    for axis, gamma, letter in zip(axes[0, 1:], SCATTER_GAMMAS, "bc", strict=True):
        _draw_realization(axis, {key: final[list(gammas).index(gamma)][0] for key, final in finals.items()})
        axis.set_title(f"{letter}) two modes: one realization, gamma = {gamma:g}")
    axes[0, 0].legend(fontsize=8, loc="upper right")
    axes[1, 1].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def _draw_curves(axis, rows: Sequence[Row], value: str) -> None:
    for (order, kernel_input), color in COLORS.items():
        chosen = [row for row in rows if (row.method, row.order, row.kernel_input) == ("rsd", order, kernel_input)]
        label = f"{order} t, {kernel_input}" + (" (the paper)" if (order, kernel_input) == ("random", "noisy") else "")
        gammas, values = [row.gamma for row in chosen], [getattr(row, value) for row in chosen]
        axis.plot(gammas, values, "o-", color=color, ms=4, label=label)
    for row, style in zip((row for row in rows if row.method == "svgd"), ("--", ":"), strict=False):
        axis.axhline(getattr(row, value), color="0.4", linestyle=style, label=f"SVGD, {row.order} t")
    axis.set_xscale("symlog", linthresh=0.03, linscale=0.5)  # logarithmic, but with a place for 0
    furthest = 1.5 * max(row.gamma for row in rows if row.gamma is not None)
    ticks = [tick for tick in (0, 0.1, 1, 10, 100, 1000) if tick < furthest]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(-0.01, furthest)
    axis.set_xlabel("repulsion weight gamma")
    if value == "distance":
        axis.set_yscale("log")
    else:
        axis.set_ylim(-0.03, 1.03 if value == "covered" else 0.7)
        axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axis.grid(alpha=0.3)


def _draw_realization(axis, particles: dict[tuple[str, str], Tensor]) -> None:
    modes = torch.tensor(TWO_MODES)
    for radius, alpha in ((3, 0.15), (2, 0.2), (1, 0.3)):
        for x, y in modes.tolist():
            angles = torch.linspace(0, 2 * math.pi, 60)
            deviation = radius * VARIANCE**0.5
            axis.fill(x + deviation * angles.cos(), y + deviation * angles.sin(), color="0.5", alpha=alpha, lw=0)
    for key, color in COLORS.items():
        x, y = particles[key].T.tolist()
        axis.plot(x, y, "o-", color=color, lw=0.8, ms=7, alpha=0.85, markeredgecolor="white")
    furthest = max(float(final.abs().max()) for final in particles.values())
    limit = max(1.5, 1.15 * furthest)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axis.grid(alpha=0.3)


def main(argv: Sequence[str] | None = None) -> int:
    """`rsd toy`: print the table, save it as CSV and JSON, draw the figure.

    Raises:
        UserError: an impossible argument, or an output folder that cannot be made.
    """
    parser = argparse.ArgumentParser(prog="rsd toy", description="The paper's two-dimensional problem (C.3.1, Fig. 9).")
    parser.add_argument("--realizations", type=int, default=200, help="repetitions of every setting (default: 200)")
    parser.add_argument("--output", type=Path, default=Path("outputs/toy"), help="folder (default: outputs/toy)")
    parser.add_argument("--seed", type=int, default=0, help="of start, noise and timesteps (default: 0)")
    args = parser.parse_args(argv)
    compute(args.realizations, args.seed, args.output)
    return 0


def compute(realizations: int, seed: int, output: Path) -> list[Row]:
    """Both problems: print the table, write toy.csv, toy.json and toy.png into a folder.

    Returns:
        The rows.

    Raises:
        UserError: an impossible argument, or a folder that cannot be made.
    """
    if realizations < 1:
        raise UserError(f"--realizations={realizations} is impossible; accepted: an integer of at least 1.")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed={seed} is impossible; accepted: an integer of at least 0.")
    make_folder(output)
    started = time.perf_counter()
    two, finals = sweep(TWO_MODES, CURVE_GAMMAS, realizations, seed, svgd=True)
    four, _ = sweep(FOUR_MODES, FOUR_MODE_GAMMAS, realizations, seed, svgd=True)
    rows = [*two, *four]
    print(format_table(rows))
    written = save_table(rows, output, seed)
    figure = output / "toy.png"
    draw_figure(rows, finals, CURVE_GAMMAS, figure)
    print(f"\n{time.perf_counter() - started:.0f} s; written: {', '.join(map(str, [*written, figure]))}")
    return rows
