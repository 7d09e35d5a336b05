"""The toy problem reproduces the design's table, and is computed by the package's own force."""

import functools
import json

import pytest
import torch
from threestudio_rsd.cli.main import main
from threestudio_rsd.distillation import SDS, SVGD, RepulsiveDistillation
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.reproduce import gaussian_toy, toy_figure
from threestudio_rsd.reproduce.definitions import read_settings
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


@pytest.mark.parametrize("order", gaussian_toy.ORDERS)
@pytest.mark.parametrize("kernel_input", gaussian_toy.KERNEL_INPUTS)
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
def test_batched_force_equals_one_ensemble_at_a_time(form):
    force = RepulsiveForce("euclidean", form=form)
    ensembles = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0))
    separate = torch.stack([force(ensemble) for ensemble in ensembles])
    torch.testing.assert_close(gaussian_toy.batched_force(force, ensembles), separate)


@pytest.mark.parametrize(("method", "kernel_input"), [("rsd", "noisy"), ("rsd", "clean"), ("svgd", "noisy")])
def test_a_step_equals_the_plain_implementation(method, kernel_input, monkeypatch):
    """One gradient step of the batch is what RepulsiveDistillation gives for each realization by itself."""
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


def test_command_writes_table_and_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gaussian_toy, "simulate", functools.partial(gaussian_toy.simulate, steps=3))
    assert gaussian_toy.main(["--realizations", "2", "--output", str(tmp_path / "new" / "toy")]) == 0
    printed = capsys.readouterr().out
    assert "SVGD" in printed
    assert "descending t, clean" in printed
    data = json.loads((tmp_path / "new" / "toy" / "toy.json").read_text())
    lines = sum(
        len(gaussian_toy.ORDERS) * (2 * len(gammas) + 1)
        for gammas in (gaussian_toy.CURVE_GAMMAS, gaussian_toy.FOUR_MODE_GAMMAS)
    )
    assert len(data["rows"]) == lines
    assert (tmp_path / "new" / "toy" / "toy.csv").read_text().count("\n") == lines + 1
    assert (tmp_path / "new" / "toy" / "toy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["--realizations", "0"], ["--seed", "-1"], ["--output", "/dev/null/toy"]])
def test_impossible_arguments_are_one_sentence(arguments):
    with pytest.raises(UserError, match=arguments[0]):
        gaussian_toy.main(arguments)


def test_the_figure_is_made_and_the_claim_stands_beside_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gaussian_toy, "simulate", functools.partial(gaussian_toy.simulate, steps=3))
    assert main(["reproduce", "fig9", "--quick", "--output", str(tmp_path)]) == 0
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
    assert toy_figure.read_figure("fig9").realizations == 200


@pytest.mark.parametrize("change", [{"realization": 3}, {"quick": {"steps": 3}}])
def test_an_unknown_key_of_the_figure_is_named(change, monkeypatch):
    content = {**read_settings("fig9"), **change}
    monkeypatch.setattr(toy_figure, "read_settings", lambda _: content)
    with pytest.raises(UserError, match="realization|steps"):
        toy_figure.read_figure("fig9")
