"""Rendering of ensembles: views are split among the particles and joined again."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.ensembles import renderer as renderer_module
from threestudio_rsd.extension.ensembles.view_batches import Meshes, join_views, split_views
from torch import nn

from .stand_ins import ensemble, scene, views

N, V = 3, 2


def render_one(parts, index, batch):
    return parts.renderer.particles[index](
        **{
            name: value[index * V : (index + 1) * V] if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }
    )


def test_training_renders_the_same_as_the_particles_alone():
    parts, batch = scene(N, threshold=0.2), views(N * V)
    out = parts.renderer(**batch)
    alone = [render_one(parts, index, batch) for index in range(N)]
    counts = [len(one["weights"]) for one in alone]
    assert len(set(counts)) > 1  # samples per particle
    for name in alone[0]:
        if name != "ray_indices":
            assert torch.equal(out[name], torch.cat([one[name] for one in alone])), name


def test_ray_indices_index_the_rays_of_all_particles():
    parts, batch = scene(N), views(N * V)
    out = parts.renderer(**batch)
    assert torch.equal(batch["rays_d"].reshape(-1, 3)[out["ray_indices"]], out["t_dirs"])
    assert torch.equal(out["ray_indices"], torch.arange(N * V * 3 * 4))


def test_particles_without_samples_have_zero_opacity():
    parts, batch = scene(N, threshold=0.0), views(N * V)
    with torch.no_grad():
        parts.geometry.particles[1].sharpness.zero_()
    out = parts.renderer(**batch)
    rays = 3 * 4 * V
    assert set((out["ray_indices"] // rays).tolist()) == {0, 2}
    assert torch.equal(batch["rays_d"].reshape(-1, 3)[out["ray_indices"]], out["t_dirs"])
    assert out["opacity"].reshape(N, -1).sum(1)[1] == 0
    out["comp_rgb"].sum().backward()


def test_gradients_stay_within_a_particle():
    parts, batch = scene(N), views(N * V)
    parts.renderer(**batch)["comp_rgb"].reshape(N, V, -1)[1].sum().backward()
    for part in (parts.geometry, parts.material, parts.background):
        for index, particle in enumerate(part.particles):
            norms = [0.0 if p.grad is None else float(p.grad.norm()) for p in particle.parameters()]
            assert (max(norms) > 0) == (index == 1)


def test_in_evaluation_every_particle_renders_every_view():
    parts, batch = scene(N), views(V)
    parts.renderer.eval()
    with torch.no_grad():
        out = parts.renderer(**batch)
        alone = [particle(**batch) for particle in parts.renderer.particles]
    assert out["comp_rgb"].shape == (N * V, 3, 4, 3)
    assert torch.equal(out["comp_rgb"], torch.cat([one["comp_rgb"] for one in alone]))
    assert "ray_indices" not in out


@pytest.mark.parametrize("shape", [(3,), (N * V, 3), (N * V, 3, 4, 3), (N * V * 3 * 4, 3)])
def test_background_colors_of_every_shape(shape):
    parts = split_views({**views(N * V), "bg_color": torch.rand(shape)}, N)
    expected = shape if len(shape) == 1 else (shape[0] // N, *shape[1:])
    assert all(part["bg_color"].shape == expected for part in parts)


def test_values_shared_by_all_views_are_passed_to_every_particle():
    batch = {**views(N * V), "render_rgb": False, "names": ["a"] * 6, "scale": torch.ones(()), "size": torch.ones(7)}
    for index, part in enumerate(split_views(batch, N)):
        assert part["render_rgb"] is False
        assert part["height"] == 3
        assert part["names"] is batch["names"]
        assert part["scale"] is batch["scale"]
        assert part["size"] is batch["size"]
        assert part["elevation"].tolist() == [2.0 * index, 2.0 * index + 1]
        assert part["c2w"].shape == (V, 4, 4)


def test_batches_with_cameras_but_without_rays_are_split():
    batch = {"mvp_mtx": torch.zeros(4, 4, 4), "height": 4}
    assert [len(part["mvp_mtx"]) for part in split_views(batch, 2)] == [2, 2]
    with pytest.raises(UserError, match="no views: it has height"):
        split_views({"height": 4}, 2)


def test_lists_scalars_and_meshes_are_joined():
    class Mesh:
        def __init__(self, value):
            self.value = torch.tensor(value)

        def normal_consistency(self):
            return self.value

        laplacian = normal_consistency

    outputs = [{"radii": [i, i + 1], "inv_std": torch.tensor(float(i)), "mesh": Mesh(float(i))} for i in range(3)]
    joined = join_views(outputs, [0, 0, 0])
    assert joined["radii"] == [0, 1, 1, 2, 2, 3]
    assert joined["inv_std"] == 1.0
    assert isinstance(joined["mesh"], Meshes)
    assert len(joined["mesh"]) == 3
    assert joined["mesh"].normal_consistency() == joined["mesh"].laplacian() == 1.0


def test_batch_size_that_is_not_a_multiple_of_n_raises_user_error():
    parts = scene(N)
    with pytest.raises(UserError, match=r"data\.batch_size=4 .* 3 particles .*such as 6"):
        parts.renderer(**views(4))
    with pytest.raises(UserError, match=r"data\.batch_size=4"):
        parts.background(views(4)["rays_d"])


def test_backgrounds_called_directly():
    background, dirs = ensemble("background", N), views(N * V)["rays_d"]
    out = background(dirs=dirs)
    for index, particle in enumerate(background.particles):
        views_of_particle = slice(index * V, (index + 1) * V)
        assert torch.equal(out[views_of_particle], particle(dirs[views_of_particle]))
    background.eval()
    assert background(dirs).shape == (N * N * V, 3, 4, 3)


def test_errors_of_renderers_are_raised_unchanged():
    parts = scene(2)
    parts.geometry.particles[0].encoding = nn.Identity()
    with pytest.raises(RuntimeError):
        parts.renderer(**views(2))


def test_systems_that_show_one_particle_are_warned_of_once(monkeypatch):
    warnings = []
    monkeypatch.setattr(renderer_module, "warn", warnings.append)
    renderer_module._warn_of_hidden_particles.cache_clear()
    parts, batch = scene(N), views(V)
    parts.renderer.eval()
    parts.renderer.all_shown = True
    parts.renderer(**batch)
    assert not warnings
    parts.renderer.all_shown = False
    for _ in range(2):
        parts.renderer(**batch)
    (warning,) = warnings
    assert "particle 0 only" in warning
    assert "particle-dreamfusion-system" in warning
