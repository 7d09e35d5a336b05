"""Self-supervised training: losses, updates of the teacher, augmentations and exact resumption."""

import math

import pytest
import torch
from threestudio_rsd.toyworld.training import dino, trainer
from threestudio_rsd.toyworld.training.data import Renders
from threestudio_rsd.toyworld.training.settings import Optimization
from threestudio_rsd.toyworld.world import sample_scenes
from torch import Tensor, nn

OPTIMIZATION = Optimization(steps=12, batch_size=16, learning_rate=1e-3, warmup=2, evaluate_every=1000)


@pytest.fixture(autouse=True)
def one_thread():
    """One thread, so that sums are computed in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def discs(count: int, seed: int) -> Renders:
    """Images of colored discs on gray, with unrelated scenes."""
    generator = torch.Generator().manual_seed(seed)
    colors, centers = torch.rand(count, 3, 1, 1, generator=generator), torch.rand(count, 2, generator=generator)
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    distance = (x - centers[:, 0, None, None]).square() + (y - centers[:, 1, None, None]).square()
    images = torch.where(distance[:, None] < 0.1, colors, torch.tensor(0.8))
    return Renders((255 * images).to(torch.uint8), sample_scenes(count, generator))


def task() -> dino.DinoTask:
    torch.manual_seed(0)
    return dino.DinoTask(discs(64, 1), discs(64, 2))


def test_loss_equals_equation_of_the_paper() -> None:
    teacher, student, center = [0.3, -0.2], [0.1, 0.4], [0.1, 0.0]
    weights = [math.exp((t - c) / 0.07) for t, c in zip(teacher, center, strict=True)]
    targets = [weight / sum(weights) for weight in weights]
    partition = sum(math.exp(s / 0.1) for s in student)
    expected = -sum(p * (s / 0.1 - math.log(partition)) for p, s in zip(targets, student, strict=True))
    measured = dino.dino_loss(
        dino.teacher_targets(torch.tensor([teacher]), torch.tensor(center)), torch.tensor([student])
    )
    assert measured.item() == pytest.approx(expected, rel=1e-5)


def test_contrastive_loss_equals_the_explicit_cross_entropy() -> None:
    torch.manual_seed(0)
    directions, positives, others = (nn.functional.normalize(torch.randn(n, 4), dim=1) for n in (3, 3, 5))
    expected = 0.0
    for i in range(3):
        weights = [math.exp(float(directions[i] @ key) / 0.06) for key in [*positives, *others]]
        expected -= math.log(weights[i] / sum(weights)) / 3
    assert dino.contrastive_loss(directions, positives, others).item() == pytest.approx(expected, rel=1e-4)


def test_decorrelation_is_zero_for_independent_features_and_counts_each_copy() -> None:
    independent = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert dino.decorrelation_loss(independent).item() == pytest.approx(0, abs=1e-6)
    copies = independent[:, [0, 0, 0, 1]] * torch.tensor([1.0, -5.0, 0.2, 1.0]) + 3
    assert dino.decorrelation_loss(copies).item() == pytest.approx(6 / 4, rel=2e-3)


def test_centering_removes_the_mean_cosines() -> None:
    torch.manual_seed(0)
    cosines, shared = 0.1 * torch.randn(8, 5), torch.tensor([0.9, 0.0, 0.0, -0.9, 0.0])
    centered = dino.teacher_targets(cosines + shared, shared)
    assert torch.allclose(centered, dino.teacher_targets(cosines, torch.zeros(5)), atol=1e-5)
    assert dino.teacher_targets(cosines + shared, torch.zeros(5)).argmax(1).eq(0).all()
    assert centered.argmax(1).unique().numel() > 1


def test_center_and_queue_are_updated_with_teacher_outputs() -> None:
    trained = task()
    head = trained.teacher_heads["shape"]
    seen: list[tuple[Tensor, Tensor]] = []
    head.register_forward_hook(lambda module, arguments, output: seen.append(output))
    before = head.queue.clone()
    trained.loss(16)
    directions, cosines = seen[0]
    assert torch.allclose(head.center, 0.1 * cosines.mean(0), atol=1e-6)
    assert torch.equal(head.queue, torch.cat([directions, before[:-16]]))


def test_teacher_has_no_gradients_and_is_a_moving_average() -> None:
    trained = task()
    trained.loss(16).backward()
    assert all(
        parameter.grad is None for parameter in [*trained.model.parameters(), *trained.teacher_heads.parameters()]
    )
    assert all(head.prototypes.grad.abs().max() > 0 for head in trained.student_heads.values())
    before = trained.model.layernorm.bias.clone()
    with torch.no_grad():
        trained.student.layernorm.bias += 1
    trained.after_step()
    assert torch.allclose(trained.model.layernorm.bias - before, torch.full_like(before, 0.02), atol=1e-6)
    trained.fraction = 1.0
    after = trained.model.layernorm.bias.clone()
    trained.after_step()
    assert torch.equal(trained.model.layernorm.bias, after)


@pytest.mark.slow
def test_teacher_does_not_collapse(tmp_path) -> None:
    trained = task()
    network = trainer.train(trained, OPTIMIZATION, tmp_path)
    images = discs(64, 3).batch(torch.arange(64))
    with torch.no_grad():
        features = dino.class_token(network, images)
        for head in trained.teacher_heads.values():
            targets = dino.teacher_targets(head(features)[1], head.center)
            assert targets.argmax(1).unique().numel() > 16  # not one prototype for all
            assert (targets * targets.log()).sum(1).mean() > -0.9 * math.log(dino.PROTOTYPES)  # nor all for each


@pytest.mark.slow
def test_resumed_training_equals_uninterrupted_training(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 2)
    optimization = Optimization(steps=4, batch_size=8, learning_rate=1e-3, warmup=2, evaluate_every=1000)
    whole_task, first, second = task(), task(), task()
    trainer.train(whole_task, optimization, tmp_path / "whole")

    def killed() -> None:
        if first.fraction == 0.75:
            raise KeyboardInterrupt
        dino.DinoTask.after_step(first)

    monkeypatch.setattr(first, "after_step", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(first, optimization, tmp_path / "parts")
    trainer.train(second, optimization, tmp_path / "parts")
    for name, value in whole_task.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_crops_keep_colors_and_have_sides_within_the_range() -> None:
    torch.manual_seed(0)
    plain = torch.rand(8, 3, 1, 1).expand(8, 3, 64, 64).contiguous()
    assert torch.allclose(dino.random_crops(plain), plain, atol=1e-5)
    ramp = torch.linspace(0, 1, 64).expand(256, 3, 64, 64)
    crops = dino.random_crops(ramp)[:, 0].flatten(1)
    shares = crops.amax(1) - crops.amin(1)
    assert shares.min() == pytest.approx(0.85, abs=0.02)
    assert shares.max() == pytest.approx(1, abs=0.02)
    assert crops.amin(1).std() > 0.01  # at random places


def test_student_sees_the_class_token_and_distinct_patches() -> None:
    embedded = torch.arange(65.0)[None, :, None].expand(4, 65, 2)
    kept = dino.keep_some_patches(nn.Identity(), None, embedded)[..., 0]
    assert kept.shape == (4, 41)
    assert kept[:, 0].eq(0).all()
    assert all(row.unique().numel() == 41 for row in kept)
    assert not torch.equal(kept[0].sort().values, kept[1].sort().values)


def test_changed_colors_are_independent_of_the_original_hue() -> None:
    torch.manual_seed(0)
    red = torch.tensor([0.9, 0.2, 0.2]).view(1, 3, 1, 1).expand(4000, 3, 1, 1)
    changed = dino.change_colors(red)[:, :, 0, 0]
    assert changed.min() >= 0
    assert changed.max() <= 1
    strongest = changed.argmax(1).bincount(minlength=3) / 4000
    assert torch.allclose(strongest, torch.full((3,), 1 / 3), atol=0.04)


def test_standardized_features_have_mean_0_deviation_1_and_small_cosines() -> None:
    torch.manual_seed(0)
    network: nn.Module = task().model
    images = discs(64, 3).batch(torch.arange(64))
    dino.standardize_features(network, images)
    with torch.no_grad():
        features = dino.class_token(network, images)
    assert features.mean(0).abs().max() < 1e-3
    assert (features.std(0) - 1).abs().max() < 1e-3
    directions = nn.functional.normalize(features, dim=1)
    assert (directions @ directions.T).mean().abs() < 0.05
