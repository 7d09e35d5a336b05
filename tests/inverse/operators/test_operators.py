"""Forward operators against adjoint identities, finite differences, Pillow and torch's resampling."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from threestudio_rsd.errors import UserError
from threestudio_rsd.inverse.operators import OPERATORS, OperatorConfig, build_operator, measure, operator_state
from threestudio_rsd.toyworld.render import render_scenes
from threestudio_rsd.toyworld.world import choose_scenes

LINEAR = ["half-box", "random", "free-form", "super-resolution", "gaussian-blur", "motion-blur", "decolorize"]
SMOOTH = ["nonlinear-blur", "phase-retrieval"]
WITHOUT_FILE = [name for name in OPERATORS if name != "mask"]


def build(name: str, height: int = 32, width: int = 32, **values):
    return build_operator(OperatorConfig(name=name, **values), (3, height, width))


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(("height", "width"), [(20, 20), (32, 48), (64, 64)])
def test_adjoint_satisfies_the_inner_product_identity(name: str, height: int, width: int) -> None:
    physics = build(name, height, width)
    x = torch.randn(2, 3, height, width)
    y = physics.A(x)
    v = torch.randn_like(y)
    left, right = (y * v).double().sum(), (x * physics.A_adjoint(v)).double().sum()
    assert abs(left - right) < 1e-4 * (y.norm() * v.norm())


@pytest.mark.parametrize("name", LINEAR)
def test_proximal_map_satisfies_its_optimality_condition(name: str) -> None:
    physics, gamma = build(name), 3.0
    z, y = torch.rand(1, 3, 32, 32), physics.A(torch.rand(1, 3, 32, 32))
    x = physics.prox_l2(z, y, gamma)
    gradient = gamma * physics.A_adjoint(physics.A(x) - y) + x - z
    assert gradient.abs().max() < 1e-4


@pytest.mark.parametrize("name", [*SMOOTH, "hdr"])
def test_gradient_equals_finite_differences(name: str) -> None:
    physics = build(name)
    x = 0.3 + 0.4 * torch.rand(1, 3, 32, 32)  # where none of them saturates
    direction, v = torch.randn_like(x), torch.randn_like(physics.A(x))
    variable = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((physics.A(variable) * v).sum(), variable)
    step = 1e-3
    change = (physics.A(x + step * direction) - physics.A(x - step * direction)).double() / (2 * step)
    scale = change.norm() * v.norm()
    assert abs((gradient * direction).double().sum() - (change * v).sum()) < 1e-3 * scale
    torch.testing.assert_close(physics.A_vjp(x, v), gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", WITHOUT_FILE)
def test_gradients_are_finite_at_black_and_white(name: str) -> None:
    physics = build(name)
    for value in (0.0, 1.0):
        x = torch.full((1, 3, 32, 32), value, requires_grad=True)
        (gradient,) = torch.autograd.grad(physics.A(x).sum(), x)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", WITHOUT_FILE)
def test_measurements_depend_only_on_image_index_and_seed(name: str) -> None:
    x = torch.rand(3, 3, 32, 32)
    config = OperatorConfig(name=name, sigma=0.1)
    physics = build_operator(config, (3, 32, 32))
    y = measure(physics, x, config)
    torch.manual_seed(1234)
    again = build_operator(config, (3, 32, 32))
    singles = torch.cat([measure(again, x[i : i + 1], config, first=i) for i in range(3)])
    torch.testing.assert_close(y, singles, rtol=0, atol=1e-5)
    assert all(
        torch.equal(a, b) for a, b in zip(operator_state(physics).values(), operator_state(again).values(), strict=True)
    )


@pytest.mark.parametrize("name", ["random", "free-form", "motion-blur", "nonlinear-blur"])
def test_different_seeds_give_different_operators(name: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    assert not torch.equal(build(name, seed=0).A(x), build(name, seed=1).A(x))


def test_noise_has_the_given_deviation_and_is_independent() -> None:
    config = OperatorConfig(name="decolorize", sigma=0.25)
    physics, x = build_operator(config, (3, 128, 128)), torch.rand(2, 3, 128, 128)
    noise = measure(physics, x, config) - physics.A(x)
    assert abs(noise.std() - 0.25) < 0.01
    assert noise.mean().abs() < 0.01
    assert not torch.equal(noise[0], noise[1])
    other = measure(physics, x, replace(config, seed=1)) - physics.A(x)
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1]) < 0.05


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_half_box_hides_one_half_in_all_channels(side: str) -> None:
    config = OperatorConfig(side=side, sigma=0.5)
    y = measure(build_operator(config, (3, 16, 16)), torch.ones(1, 3, 16, 16), config)
    halves = {"left": y[..., :8], "right": y[..., 8:], "top": y[:, :, :8], "bottom": y[:, :, 8:]}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[side]
    assert (halves[side] == 0).all()
    assert (halves[opposite] != 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 0.9999])
def test_random_mask_hides_the_given_share_of_pixels_in_all_channels(share: float) -> None:
    mask = operator_state(build("random", share=share))["mask"][0]
    assert torch.equal(mask[0], mask[1])
    assert torch.equal(mask[0], mask[2])
    assert int((mask[0] == 0).sum()) == int(share * 1024)


@pytest.mark.parametrize("seed", range(5))
def test_strokes_hide_at_least_the_given_share(seed: int) -> None:
    mask = operator_state(build("free-form", 64, 64, stroke_share=0.3, seed=seed))["mask"][0]
    assert torch.equal(mask[0], mask[2])
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert 0.3 <= 1 - mask[0].mean() < 0.7


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_super_resolution_is_antialiased_bicubic_interpolation_inside(factor: int) -> None:
    side = 24 * factor
    x = torch.rand(1, 3, side, side)
    y = build("super-resolution", side, side, factor=factor).A(x)
    expected = F.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=True)
    torch.testing.assert_close(y[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["gaussian-blur", "motion-blur", "super-resolution", "decolorize"])
def test_constant_images_are_unchanged(name: str) -> None:
    y = build(name).A(torch.full((1, 3, 32, 32), 0.4))
    torch.testing.assert_close(y, torch.full_like(y, 0.4), rtol=0, atol=1e-3)


def test_gaussian_blur_has_the_given_deviation() -> None:
    point = torch.zeros(1, 3, 65, 65)
    point[..., 32, 32] = 1
    y = build("gaussian-blur", 65, 65, kernel_size=31, blur_deviation=2.0).A(point)[0, 0]
    offset = torch.arange(65.0) - 32
    assert abs((y.sum(0) * offset.square()).sum() - 4) < 0.02


def test_phase_retrieval_ignores_rotation_by_180_degrees_and_preserves_energy() -> None:
    x = torch.rand(1, 3, 32, 32)
    physics = build("phase-retrieval", oversampling=2.0)
    y = physics.A(x)
    assert y.shape == (1, 3, 64, 64)
    torch.testing.assert_close(y, physics.A(x.flip(-1, -2)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(y.square().sum(), x.square().sum(), rtol=1e-4, atol=0)


def test_hdr_equals_the_published_curve() -> None:
    v = torch.linspace(-1, 1, 3 * 64).view(1, 3, 8, 8)
    y = build("hdr", 8, 8).A((v + 1) / 2)
    torch.testing.assert_close(y * 2 - 1, (2 * v).clamp(-1, 1))


def test_nonlinear_blur_is_not_linear_and_saturates() -> None:
    physics = build("nonlinear-blur")
    x = torch.rand(1, 3, 32, 32)
    y = physics.A(x)
    assert y.min() >= 0
    assert y.max() <= 1
    assert (physics.A(x / 2) - y / 2).abs().max() > 0.05
    flat = [float(physics.A(torch.full((1, 3, 32, 32), value)).mean()) for value in (0.0, 0.3, 0.6, 0.9)]
    rises = np.diff(flat)
    assert (rises > 0).all()
    assert rises[-1] < rises[0]


@pytest.mark.parametrize("quality", [5, 10, 50, 90])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (60, 52)])
def test_jpeg_equals_the_output_of_pillow(quality: int, height: int, width: int) -> None:
    levels = (render_scenes(choose_scenes(2, 3)) * 255).round().to(torch.uint8)[..., :height, :width]
    y = build("jpeg", height, width, quality=quality).A(levels.float() / 255)
    for image, own in zip(levels, y, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality, subsampling=0)
        theirs = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float()
        torch.testing.assert_close(own * 255, theirs, rtol=0, atol=1e-3)


def test_jpeg_has_a_straight_through_gradient() -> None:
    physics = build("jpeg")
    x = (0.4 + 0.2 * torch.rand(1, 3, 32, 32)).requires_grad_()
    v = torch.randn(1, 3, 32, 32)
    (gradient,) = torch.autograd.grad((physics.A(x) * v).sum(), x)
    torch.testing.assert_close(gradient, v, rtol=1e-3, atol=1e-3)


def test_mask_files_are_thresholded_at_mid_gray(tmp_path: Path) -> None:
    levels = torch.tensor([[0, 100, 127], [128, 200, 255]], dtype=torch.uint8)
    Image.fromarray(levels.numpy()).save(tmp_path / "mask.png")
    mask = operator_state(build("mask", 2, 3, mask_path=str(tmp_path / "mask.png")))["mask"]
    assert torch.equal(mask, (levels > 127).float().expand(1, 3, 2, 3))


def test_the_alpha_channel_of_a_mask_file_is_the_mask(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2), (255, 255, 255, 255))
    image.paste((255, 255, 255, 0), (0, 0, 2, 2))
    image.save(tmp_path / "hole.png")
    mask = operator_state(build("mask", 2, 4, mask_path=str(tmp_path / "hole.png")))["mask"]
    assert torch.equal(mask, torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 2, 4))


def test_invalid_mask_files_raise_user_error(tmp_path: Path) -> None:
    Image.new("L", (8, 6), 255).save(tmp_path / "small.png")
    Image.new("L", (32, 32), 100).save(tmp_path / "dark.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("RGBA", (32, 32), (0, 0, 0, 127)).save(tmp_path / "faint.png")
    Image.new("L", (32, 32), 200).save(tmp_path / "bright.png")
    for name, words in [
        ("small.png", "8x6.*32x32"),
        ("dark.png", "hides every"),
        ("faint.png", "hides every"),
        ("bright.png", "hides nothing"),
        ("broken.png", "broken.png"),
    ]:
        with pytest.raises(UserError, match=words):
            build("mask", mask_path=str(tmp_path / name))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "magic"}, "operator.name='magic'.*half-box"),
        ({"sigma": -0.1}, "operator.sigma=-0.1"),
        ({"sigma": float("nan")}, "operator.sigma"),
        ({"seed": -1}, "operator.seed"),
        ({"side": "middle"}, "operator.side='middle'.*left"),
        ({"name": "random", "share": 1.0}, "operator.share=1.0"),
        ({"name": "random", "share": -0.1}, "operator.share"),
        ({"name": "free-form", "stroke_share": 1.0}, "operator.stroke_share"),
        ({"name": "mask"}, "operator.mask_path is empty"),
        ({"name": "super-resolution", "factor": 5}, "operator.factor=5 does not divide 32x32"),
        ({"name": "super-resolution", "factor": 0}, "operator.factor=0"),
        ({"name": "super-resolution", "factor": 16}, "operator.factor=16 needs"),
        ({"name": "gaussian-blur", "kernel_size": 4}, "operator.kernel_size=4"),
        ({"name": "motion-blur", "kernel_size": 33}, "operator.kernel_size=33"),
        ({"name": "gaussian-blur", "blur_deviation": 0.0}, "operator.blur_deviation"),
        ({"name": "phase-retrieval", "oversampling": 0.5}, "operator.oversampling"),
        ({"name": "hdr", "exposure": 0.0}, "operator.exposure"),
        ({"name": "jpeg", "quality": 0}, "operator.quality"),
    ],
)
def test_invalid_configs_raise_user_error(values: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_operator(OperatorConfig(**values), (3, 32, 32))


def test_images_without_three_channels_raise_user_error() -> None:
    with pytest.raises(UserError, match="image_shape"):
        build_operator(OperatorConfig(), (1, 32, 32))
