"""Operations, memory and times against counts made by hand."""

import time
from types import SimpleNamespace

import torch
from threestudio_rsd.cli import bench
from threestudio_rsd.costs import count_flops, interleaved_seconds, peak_memory, random_features, random_prior
from threestudio_rsd.costs.flops import N, count
from threestudio_rsd.costs.timing import median_ratio


def test_operations_of_a_convolution_are_counted_for_each_particle() -> None:
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1, device="meta").requires_grad_(False)
    x = torch.zeros(N, 3, 8, 8, device="meta", requires_grad=True)
    forward = 2 * 64 * 5 * 27
    assert count(lambda: convolution(x)) == forward
    assert (
        count(lambda: torch.autograd.grad(convolution(x.view_as(x)).sum(), x)) == 2 * forward
    )  # none of the weight


def test_repulsion_adds_operations_and_cheaper_decoders_add_fewer() -> None:
    for row in count_flops("tiny", "tiny"):
        assert all(value > row.without > 0 for value in row.options.values())
        if row.name == "inverse":
            assert row.options["clean"] < row.options["noisy"]
        else:
            assert row.options["linear"] < row.options["exact"] < row.options["exact, in chunks"]
            held = row.options["exact, every 8 steps"] - row.without
            assert 8 * held == row.options["exact"] - row.without


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


def test_bench_prints_the_table_of_a_part(capsys, monkeypatch) -> None:
    monkeypatch.setattr("threestudio_rsd.costs.count_flops", lambda: count_flops("tiny", "tiny"))
    assert bench.run(SimpleNamespace(threads=1, parts=["flops"], output=None)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["TFLOP", "ratio"]
    assert lines[2].split()[-1] == "1.00"  # SDS without repulsion
