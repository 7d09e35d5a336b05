"""Operations, memory and times against counts made by hand."""

import json
import time
from types import SimpleNamespace

import pytest
import torch
from threestudio_rsd.cli import bench
from threestudio_rsd.costs import FlopRow, interleaved_seconds, peak_memory, random_features, random_prior
from threestudio_rsd.costs.flops import N, count, force_flops, inverse_row, method_flops
from threestudio_rsd.costs.timing import median_ratio
from threestudio_rsd.distillation import SDS, VSD

from tests.library_versions import needs_flop_counter


@needs_flop_counter
def test_operations_of_a_convolution_are_counted_for_each_particle() -> None:
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1, device="meta").requires_grad_(False)
    x = torch.zeros(N, 3, 8, 8, device="meta", requires_grad=True)
    forward = 2 * 64 * 5 * 27
    assert count(lambda: convolution(x)) == forward
    assert count(lambda: torch.autograd.grad(convolution(x.view_as(x)).sum(), x)) == 2 * forward  # none of the weight


@needs_flop_counter
@pytest.mark.slow
def test_cheaper_forces_take_fewer_operations() -> None:
    prior = random_prior("tiny")
    forces = force_flops(prior, random_features("tiny"), "tiny")
    assert 0 < forces["linear"] < forces["tiny"] < forces["exact"] < forces["exact, in chunks"]
    assert 8 * forces["exact, every 8 steps"] == forces["exact"]


@needs_flop_counter
@pytest.mark.slow
def test_base_methods_call_the_network_as_often_as_they_should() -> None:
    prior = random_prior("tiny")
    x, text = torch.zeros(N, *prior.latent_shape, device="meta"), prior.embed("").conditional.expand(N, -1, -1)
    one_branch = count(lambda: prior.raw_predict(x, 500, text))
    assert method_flops(SDS(prior)) == 2 * one_branch
    assert method_flops(VSD(prior)) > 4.5 * one_branch  # and two of eps_phi, one with a backward pass


@needs_flop_counter
@pytest.mark.slow
def test_clean_kernel_of_the_inverse_solver_shares_its_decode() -> None:
    row = inverse_row("tiny")
    assert row.without < row.options["clean"] < row.options["noisy"]


def test_peak_memory_is_what_is_alive_at_once() -> None:
    x = torch.ones(1000)

    def function() -> torch.Tensor:
        doubled = x * 2
        summed = doubled + 1
        del doubled
        return summed * 3

    assert 8000 <= peak_memory(function) < 8200  # two of the three tensors, and a few scalars


def test_times_are_taken_in_turn() -> None:
    calls = []
    functions = {"slow": lambda: (calls.append("slow"), time.sleep(0.02)), "fast": lambda: calls.append("fast")}
    seconds = interleaved_seconds(functions, rounds=2)
    assert calls == ["slow", "fast"] * 3
    assert len(seconds["slow"]) == 2
    assert median_ratio(seconds["slow"], seconds["fast"]) > 2


def test_random_models_predict_finite_values() -> None:
    prior, features = random_prior("tiny", "cpu"), random_features("tiny", "cpu")
    x = torch.randn(2, *prior.latent_shape)
    assert prior.predict_noise(x, 500, prior.embed("")).isfinite().all()
    assert features(prior.decode(x)).shape == (2, 24)


def test_bench_prints_the_table_of_a_part(capsys, monkeypatch, tmp_path) -> None:
    rows = [FlopRow("sds", 2e12, {"exact": 7e12})]
    monkeypatch.setattr("threestudio_rsd.costs.count_flops", lambda: rows)
    output = tmp_path / "bench.json"
    assert bench.run(SimpleNamespace(threads=torch.get_num_threads(), parts=["flops"], output=output)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2:] for line in lines[1:4]] == [["TFLOP", "ratio"], ["2.00", "1.00"], ["7.00", "3.50"]]
    assert json.loads(output.read_text())["flops"][0]["without"] == 2e12
