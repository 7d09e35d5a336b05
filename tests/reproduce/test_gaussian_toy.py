"""The toy problem reproduces the table of the design, and steps as a plain implementation does."""

import functools
import json
from pathlib import Path

import pytest
import torch
from threestudio_rsd.distillation import SDS, SVGD, RepulsiveDistillation
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.reproduce import definitions, gaussian_toy
from threestudio_rsd.reproduce.definitions import read_toy_figure
from threestudio_rsd.reproduce.experiment_files import read_settings
from threestudio_rsd.repulsion import RepulsiveForce

REALIZATIONS = 100
GAMMAS = (0.0, 0.3, 1.0, 3.0, 10.0)
# Share of realizations that collapsed and mean distance to a mode for each gamma, from 200 realizations.
DESIGN = {
    ("random", "noisy"): ((0.47, 0.29), (0.46, 0.25), (0.43, 0.22), (0.19, 0.56), (0.11, 1.66)),
    ("random", "clean"): ((0.47, 0.29), (0.05, 0.08), (0.00, 0.30), (0.00, 0.94), (0.00, 2.20)),
    ("descending", "noisy"): ((0.51, 0.03), (0.22, 0.02), (0.03, 0.02), (0.12, 0.15), (0.13, 0.91)),
    ("descending", "clean"): ((0.51, 0.03), (0.00, 0.03), (0.00, 0.03), (0.00, 0.03), (0.00, 0.10)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("order", "kernel_input"), list(DESIGN))
def test_reproduces_the_table_within_sampling_error(order, kernel_input):
    prior = gaussian_toy.make_prior(gaussian_toy.TWO_MODES)
    finals = gaussian_toy.simulate(prior, GAMMAS, order, kernel_input, realizations=REALIZATIONS, seed=1)
    for gamma, particles, (share, distance) in zip(GAMMAS, finals, DESIGN[order, kernel_input], strict=True):
        collapsed, _, measured = gaussian_toy.evaluate(particles, prior.means)
        # Both shares are sampled: theirs over 200 realizations, ours over REALIZATIONS; three deviations.
        spread = max(share * (1 - share), 0.02)
        tolerance = 3 * (spread * (1 / 200 + 1 / REALIZATIONS)) ** 0.5
        assert abs(collapsed - share) < tolerance, f"gamma {gamma}: collapsed {collapsed:.2f}, design {share:.2f}"
        # A distance is a mean of skewed values, printed to two digits: 20 % and the rounding.
        assert abs(measured - distance) < 0.02 + 0.2 * distance, f"gamma {gamma}: {measured:.3f}, design {distance}"


@pytest.mark.parametrize("form", ["log_sum", "sum"])
def test_force_on_many_ensembles_equals_one_ensemble_at_a_time(form):
    force = RepulsiveForce("euclidean", form=form)
    ensembles = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0))
    separate = torch.stack([force(ensemble) for ensemble in ensembles])
    torch.testing.assert_close(force(ensembles.flatten(0, 1), ensembles=5).view_as(ensembles), separate)


@pytest.mark.parametrize(("method", "kernel_input"), [("rsd", "noisy"), ("rsd", "clean"), ("svgd", "noisy")])
def test_a_step_equals_the_plain_implementation(method, kernel_input, monkeypatch):
    """One gradient step of the batch equals RepulsiveDistillation on each realization alone."""
    monkeypatch.setattr(torch.optim, "Adam", lambda params, lr: torch.optim.SGD(params, lr=1.0))
    prior = gaussian_toy.make_prior(gaussian_toy.FOUR_MODES)
    after = gaussian_toy.simulate(
        prior, (0.0, 2.0), "descending", kernel_input, method, realizations=3, seed=3, steps=1
    )
    generator = torch.Generator().manual_seed(3)
    start, noise = torch.randn(3, 4, 2, generator=generator), torch.randn(3, 4, 2, generator=generator)
    nothing = prior.embed()
    for gamma, finals in zip((0.0, 2.0), after, strict=True):
        for x_0, own_noise, final in zip(start, noise, finals, strict=True):
            if method == "svgd":
                plain, weight = RepulsiveDistillation(SVGD(prior, 1.0, base="sds"), weighting_strategy="uniform"), 0.0
            else:
                force = RepulsiveForce("euclidean")
                plain, weight = RepulsiveDistillation(SDS(prior, 1.0), force, kernel_input, "uniform"), gamma
            gradient = plain(x_0, gaussian_toy.MAX_T, own_noise, nothing, weight).gradient
            torch.testing.assert_close(final, x_0 - gradient, rtol=1e-4, atol=1e-5)


def test_evaluate_counts_by_hand():
    modes = torch.tensor(gaussian_toy.TWO_MODES)
    apart, together = torch.tensor([[1.0, 0.1], [-1.0, 0.0]]), torch.tensor([[1.0, 0.3], [1.0, 0.0]])
    collapsed, covered, distance = gaussian_toy.evaluate(torch.stack([apart, together]), modes)
    assert (collapsed, covered) == (0.5, 0.75)
    assert distance == pytest.approx(0.1)


def test_a_mixture_takes_another_noise_schedule():
    level = torch.linspace(0.9, 0.1, 10)
    prior = GaussianMixturePrior(torch.zeros(1, 2), torch.ones(1), torch.ones(1), alphas_cumprod=level)
    assert prior.num_train_timesteps == 10
    torch.testing.assert_close(prior.alpha(3), level[3].sqrt())


@pytest.fixture
def _few_steps(monkeypatch):
    monkeypatch.setattr(gaussian_toy, "simulate", functools.partial(gaussian_toy.simulate, steps=3))


@pytest.mark.slow
@pytest.mark.usefixtures("_few_steps")
def test_run_writes_table_and_figure(tmp_path, capsys):
    folder = tmp_path / "new" / "toy"
    assert gaussian_toy.run(None, realizations=2, output=folder, command="rsd toy") == folder
    printed = capsys.readouterr().out
    assert "SVGD" in printed
    assert "descending t, clean" in printed
    data = json.loads((folder / "toy.json").read_text())
    lines = sum(
        len(gaussian_toy.ORDERS) * (2 * len(gammas) + 1)
        for gammas in (gaussian_toy.CURVE_GAMMAS, gaussian_toy.FOUR_MODE_GAMMAS)
    )
    assert data["command"] == "rsd toy"
    assert len(data["rows"]) == lines
    assert (folder / "toy.csv").read_text().count("\n") == lines + 1
    assert (folder / "toy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "word"),
    [({"realizations": 0}, "--realizations=0"), ({"seed": -1}, "--seed=-1"), ({"output": "/dev/null/toy"}, "--output")],
)
def test_impossible_arguments_are_named(change, word, tmp_path):
    arguments = {"realizations": 1, "seed": 0, "output": tmp_path, **change}
    arguments["output"] = Path(arguments["output"])
    with pytest.raises(UserError, match=word):
        gaussian_toy.run(None, **arguments, command="rsd toy")


@pytest.mark.slow
@pytest.mark.usefixtures("_few_steps")
def test_the_figure_is_drawn_and_the_claim_printed(tmp_path, capsys):
    gaussian_toy.run("fig9", quick=True, output=tmp_path, command="rsd reproduce fig9 --quick")
    printed = capsys.readouterr().out
    assert read_settings("fig9")["claim"] in printed
    data = json.loads((tmp_path / "fig9-quick" / "toy.json").read_text())
    assert {row["realizations"] for row in data["rows"]} == {10}
    wanted = {"modes": 2, "method": "rsd", "order": "random", "kernel_input": "noisy", "gamma": 2000.0}
    [row] = [row for row in data["rows"] if wanted.items() <= row.items()]
    assert f"gamma 2000: {row['collapsed']:.0%} collapsed, distance to a mode {row['distance']:.2f}" in printed
    assert printed.count("% collapsed, distance to a mode") == 3
    assert (tmp_path / "fig9-quick" / "toy.png").is_file()


def test_the_figure_has_the_papers_realizations():
    assert read_toy_figure("fig9").realizations == 200


@pytest.mark.parametrize("change", [{"realization": 3}, {"quick": {"steps": 3}}])
def test_an_unknown_key_of_the_figure_is_named(change, monkeypatch):
    content = {**read_settings("fig9"), **change}
    monkeypatch.setattr(definitions, "read_settings", lambda _: content)
    with pytest.raises(UserError, match=r"realization|steps"):
        read_toy_figure("fig9")
