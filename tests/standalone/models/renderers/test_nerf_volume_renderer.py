"""The volume renderer on fields whose images are known in closed form, and against a dense reference."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.models.renderers import occupancy
from threestudio_rsd.standalone.models.renderers.nerf_volume_renderer import NeRFVolumeRenderer
from threestudio_rsd.standalone.models.renderers.occupancy import OccupancyGrid
from torch import nn

RADIUS = 0.6


class Ball(nn.Module):
    """Geometry: a ball of constant density and color around the origin, with outward normals."""

    def __init__(self, density=5.0, radius=RADIUS):
        super().__init__()
        self.register_buffer("bbox", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        self.density = nn.Parameter(torch.tensor(density))
        self.color = nn.Parameter(torch.tensor([0.8, 0.5, 0.2]))
        self.radius = radius
        self.sizes = []  # of the batches that were asked for

    def forward_density(self, points):
        return self.density * (points.norm(dim=-1, keepdim=True) < self.radius)

    def forward(self, points, output_normal=False):
        self.sizes.append(len(points))
        out = {"density": self.forward_density(points), "features": self.color.expand(len(points), 3)}
        if output_normal:
            normal = nn.functional.normalize(points, dim=-1)
            out |= {"normal": normal, "shading_normal": normal}
        return out


class Material(nn.Module):
    """Material whose colors are the features."""

    requires_normal = False

    def forward(self, features, viewdirs, positions, light_positions, **kwargs):
        self.seen = {"light_positions": light_positions, "positions": positions, "viewdirs": viewdirs, **kwargs}
        return features


class Background(nn.Module):
    """Blue background, or one with a trained color."""

    def __init__(self):
        super().__init__()
        self.color = nn.Parameter(torch.tensor([0.1, 0.2, 0.9]))

    def forward(self, dirs):
        return self.color.expand(*dirs.shape[:-1], 3)


def make(geometry=None, normals=False, train=True, **cfg):
    geometry = geometry or Ball()
    material = Material()
    material.requires_normal = normals
    cfg = {"num_samples_per_ray": 128, **cfg}
    renderer = NeRFVolumeRenderer(cfg, geometry=geometry, material=material, background=Background())
    if cfg.get("grid_prune", True) and hasattr(geometry, "radius"):
        # A look finds the cells at the rim by chance; these are all that the ball reaches.
        middles = (torch.arange(32) + 0.5) / 16 - 1
        distance = torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij")).norm(dim=0)
        reached = distance < geometry.radius + 3**0.5 / 32
        renderer.estimator.occs.copy_(reached.flatten() * float(geometry.density.detach()) * renderer.render_step_size)
        renderer.estimator.binaries[0] = reached & (geometry.density > 0)
    return renderer.train(train)


def views(size=12, n=2):
    """N cameras at distance 2.5, from the front and from the right, and a light for each."""
    side = torch.linspace(-0.45, 0.45, size)
    v, u = torch.meshgrid(-side, side, indexing="ij")
    front = torch.stack([-torch.ones_like(u), u, v], -1)
    right = torch.stack([-u, -torch.ones_like(u), v], -1)
    rays_d = nn.functional.normalize(torch.stack([front, right])[:n], dim=-1)
    origins = torch.tensor([[2.5, 0, 0], [0, 2.5, 0]])[:n]
    return {
        "rays_o": origins[:, None, None].expand_as(rays_d),
        "rays_d": rays_d,
        "light_positions": torch.tensor([[1.0, 2, 3], [4, 5, 6]])[:n],
    }


def chords(batch, radius=RADIUS):
    """Length and middle of each ray's chord in the ball, (B, H, W, 1)."""
    along = -(batch["rays_o"] * batch["rays_d"]).sum(-1, keepdim=True)
    miss = (batch["rays_o"] + along * batch["rays_d"]).norm(dim=-1, keepdim=True)
    return 2 * (radius**2 - miss**2).clamp(min=0).sqrt(), along


def test_a_ball_has_the_opacity_and_depth_of_its_chords():
    out = make(num_samples_per_ray=4096, train=False, prune_alpha_threshold=False)(**views())
    chord, middle = chords(views())
    density = 5.0
    opacity = 1 - torch.exp(-density * chord)
    depth = (middle - chord / 2) * opacity + opacity / density - chord * (1 - opacity)
    torch.testing.assert_close(out["opacity"], opacity, atol=0.01, rtol=0)
    torch.testing.assert_close(out["depth"], depth, atol=0.02, rtol=0)
    torch.testing.assert_close(out["comp_rgb_fg"], opacity * torch.tensor([0.8, 0.5, 0.2]), atol=0.01, rtol=0)
    behind = torch.tensor([0.1, 0.2, 0.9])
    torch.testing.assert_close(out["comp_rgb"], out["comp_rgb_fg"] + behind * (1 - out["opacity"]))
    assert (opacity > 0.5).any()
    assert (opacity == 0).any()


def test_z_variance_is_that_of_solid_rays_only():
    out = make(num_samples_per_ray=2048, train=False)(**views())
    solid = out["opacity"] > 0.5
    assert (out["z_variance"][~solid] == 0).all()
    assert (out["z_variance"][solid] > 0).all()
    # Where the ball is thick, the distance is exponential with rate 5, nearly.
    assert out["z_variance"].max().item() == pytest.approx(1 / 25, rel=0.3)


def dense_image(renderer, batch, jitter=None):
    """Slow reference: foreground from all steps of all rays in double precision, without grid and pruning."""
    ball, step = renderer.geometry, renderer.render_step_size
    origins, directions = (batch[name].reshape(-1, 3).double() for name in ("rays_o", "rays_d"))
    middles = (torch.arange(400) + 0.5) * step
    points = origins[:, None] + middles[:, None] * directions[:, None]
    density = ball.density.double() * (points.norm(dim=-1) < ball.radius)
    passed = torch.exp(-torch.cumsum(density * step, 1))
    weights = torch.cat([torch.ones(len(passed), 1), passed[:, :-1]], 1) - passed
    return weights.sum(1, keepdim=True) * ball.color.double()


def test_image_and_gradients_equal_the_dense_reference():
    batch = views()
    renderer = make(randomized=False, prune_alpha_threshold=False)
    image = renderer(**batch)["comp_rgb_fg"].reshape(-1, 3)
    reference = dense_image(renderer, batch)
    torch.testing.assert_close(image, reference.float(), atol=2e-5, rtol=1e-4)
    ball = renderer.geometry
    target = torch.rand(image.shape)
    gradients = torch.autograd.grad(((image - target) ** 2).sum(), [ball.density, ball.color])
    expected = torch.autograd.grad(((reference - target) ** 2).sum(), [ball.density, ball.color])
    torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-4)


def test_pruning_changes_the_image_within_its_threshold():
    batch = views()
    ball = Ball(density=2.0)
    whole = make(ball, train=False, grid_prune=False)(**batch)
    gridded = make(ball, train=False, prune_alpha_threshold=False)(**batch)
    pruned = make(ball, train=False)(**batch)
    assert torch.equal(whole["opacity"], gridded["opacity"])
    torch.testing.assert_close(whole["comp_rgb"], gridded["comp_rgb"])
    torch.testing.assert_close(whole["comp_rgb"], pruned["comp_rgb"], atol=0.01, rtol=0)
    assert sum(make(ball, grid_prune=False).sample(*flat(batch)).t_dirs.shape) > 2 * sum(
        make(ball).sample(*flat(batch)).t_dirs.shape
    )


def flat(batch):
    return batch["rays_o"].reshape(-1, 3), batch["rays_d"].reshape(-1, 3)


def test_outputs_have_threestudios_names_and_shapes():
    batch = views()
    renderer = make(normals=True, return_comp_normal=True, return_normal_perturb=True)
    out = renderer(**batch, ambient_ratio=0.3)
    samples = len(out["ray_indices"])
    images = {"comp_rgb": 3, "comp_rgb_fg": 3, "comp_rgb_bg": 3, "comp_normal": 3}
    images |= {"opacity": 1, "depth": 1, "z_variance": 1}
    lists = {"weights": 1, "t_points": 1, "t_intervals": 1, "t_dirs": 3, "points": 3}
    lists |= {"density": 1, "features": 3, "normal": 3, "shading_normal": 3, "normal_perturb": 3}
    expected = {name: (2, 12, 12, channels) for name, channels in images.items()}
    expected |= {name: (samples, channels) for name, channels in lists.items()} | {"ray_indices": (samples,)}
    assert {name: tuple(value.shape) for name, value in out.items()} == expected
    assert renderer.material.seen["ambient_ratio"] == 0.3
    torch.testing.assert_close(out["t_intervals"].unique().mean().item(), renderer.render_step_size)
    opacity = torch.zeros(288).index_add(0, out["ray_indices"], out["weights"][:, 0])
    torch.testing.assert_close(opacity.reshape(2, 12, 12, 1), out["opacity"])
    evaluated = make(normals=True, train=False)(**batch)
    assert set(evaluated) == set(images)
    assert "comp_normal" not in make(normals=True)(**batch)
    assert "comp_normal" not in make(train=False)(**batch)


def test_normals_face_the_camera_and_are_black_outside():
    out = make(normals=True, train=False)(**views(n=1))
    center = out["comp_normal"][0, 5:7, 5:7].mean((0, 1))
    torch.testing.assert_close(center, torch.tensor([1.0, 0.5, 0.5]), atol=0.05, rtol=0)
    assert (out["comp_normal"][out["opacity"].expand(-1, -1, -1, 3) == 0] == 0).all()


def test_each_view_has_its_own_light():
    renderer = make()
    out = renderer(**views())
    lights = views()["light_positions"][out["ray_indices"] // 144]
    assert torch.equal(renderer.material.seen["light_positions"], lights)
    assert len(lights.unique(dim=0)) == 2


@pytest.mark.parametrize("shape", [(2, 3), (2, 12, 12, 3)])
def test_another_background_can_be_given(shape):
    out = make(train=False)(**views(), bg_color=torch.full(shape, 0.25))
    torch.testing.assert_close(out["comp_rgb"], out["comp_rgb_fg"] + 0.25 * (1 - out["opacity"]))
    torch.testing.assert_close(out["comp_rgb_bg"][0, 0, 0], torch.tensor([0.1, 0.2, 0.9]))


@pytest.mark.parametrize("train", [True, False])
def test_an_empty_field_shows_the_background_and_has_gradients_of_zero(train):
    renderer = make(Ball(density=0.0), normals=True, train=train, return_comp_normal=True)
    out = renderer(**views())
    assert (out["opacity"] == 0).all()
    assert (out["depth"] == 0).all()
    torch.testing.assert_close(out["comp_rgb"], out["comp_rgb_bg"])
    assert all(value.isfinite().all() for value in out.values())
    loss = sum((value**2).sum() for name, value in out.items() if value.requires_grad)
    loss.backward()
    assert renderer.geometry.density.grad.item() == 0
    assert renderer.background.color.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [1000, 7, 0])
def test_evaluation_in_chunks_equals_the_whole(size):
    batch = views()
    whole = make(normals=True, train=False)(**batch)
    renderer = make(normals=True, train=False, eval_chunk_size=size)
    parts = renderer(**batch)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert size == 0 or max(renderer.geometry.sizes) == size


def test_training_begins_rays_at_random_and_evaluation_does_not():
    renderer = make()
    one, other = (renderer(**views())["t_points"] for _ in range(2))
    assert one.shape != other.shape or not torch.equal(one, other)
    renderer.eval()
    assert torch.equal(renderer(**views())["depth"], renderer(**views())["depth"])
    renderer = make(randomized=False)
    assert torch.equal(renderer(**views())["t_points"], renderer(**views())["t_points"])


def test_the_grid_is_updated_in_training_only_and_not_while_weights_are_loaded():
    renderer = NeRFVolumeRenderer({}, geometry=Ball(), material=Material(), background=Background())
    renderer.eval().update_step(0, 0)
    renderer.train().update_step(0, 0, on_load_weights=True)
    assert not renderer.estimator.binaries.any()
    renderer.update_step(0, 0)
    share = renderer.estimator.binaries.float().mean().item()
    assert share == pytest.approx(math.pi * RADIUS**3 / 6, rel=0.1)


def test_checkpoints_hold_the_grid_and_none_of_the_parts():
    renderer = make()
    state = renderer.state_dict()
    assert set(state) == {"bbox", *(f"estimator.{name}" for name in ("resolution", "aabbs", "occs", "binaries"))}
    other = NeRFVolumeRenderer(
        {"num_samples_per_ray": 128}, geometry=renderer.geometry, material=Material(), background=renderer.background
    )
    other.load_state_dict(state)
    assert torch.equal(other.eval()(**views())["comp_rgb"], renderer.eval()(**views())["comp_rgb"])
    assert [name for name, _ in renderer.named_parameters()] == []


@pytest.mark.parametrize(
    "cfg", [{"estimator": "importance"}, {"num_samples_per_ray": 0}, {"radius": 0.0}, {"far_plane": -1.0}]
)
def test_impossible_settings_are_named(cfg):
    (name, _value), *_ = cfg.items()
    with pytest.raises(UserError, match=name):
        make(**cfg)


def test_a_geometry_without_density_is_refused_in_one_sentence():
    class Splats(nn.Module):
        pass

    with pytest.raises(UserError, match="cannot render a Splats, which has no forward_density; accepted"):
        make(Splats())


def test_nerfacc_is_used_on_a_gpu_where_it_is_installed(monkeypatch):
    made = {}

    def estimator(roi_aabb, resolution, levels):
        made.update(roi_aabb=roi_aabb.tolist(), resolution=resolution, levels=levels)
        return OccupancyGrid(roi_aabb.reshape(2, 3), resolution)

    monkeypatch.setitem(sys.modules, "nerfacc", SimpleNamespace(OccGridEstimator=estimator, __spec__=SimpleNamespace()))
    make()
    assert not made
    monkeypatch.setattr(occupancy, "get_device", lambda: torch.device("cuda"))
    make()
    assert made == {"roi_aabb": [-1, -1, -1, 1, 1, 1], "resolution": 32, "levels": 1}
