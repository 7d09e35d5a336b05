"""Isosurfaces of geometries: position, thresholds, removal of small pieces, and errors."""

import math

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import Mesh

from .geometry.test_implicit_volume import make_blob

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")

RESOLUTION = 32
# blob_magic3d with softplus: density 5 where 10 (1 - r / 0.5) = log(exp(5) - 1), about r = 0.25
BALL = {"isosurface_threshold": 5.0, "isosurface_resolution": RESOLUTION}
RADIUS = 0.5 * (1 - math.log(math.exp(5) - 1) / 10)


def as_trimesh(mesh):
    return trimesh.Trimesh(mesh.v_pos.numpy(), mesh.t_pos_idx.numpy(), process=False)


@pytest.mark.parametrize("method", ["mt", "mc-cpu"])
@pytest.mark.parametrize("coarse_to_fine", [True, False])
def test_sphere(method, coarse_to_fine):
    geometry = make_blob(**BALL, isosurface_method=method, isosurface_coarse_to_fine=coarse_to_fine)
    mesh = geometry.isosurface()
    voxel = (2.4 * RADIUS if coarse_to_fine else 2) / (RESOLUTION - 1)
    assert (mesh.v_pos.norm(dim=1) - RADIUS).abs().max() < voxel / 2
    solid = as_trimesh(mesh)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.05)  # positive: faces look outwards
    outwards = torch.nn.functional.normalize(mesh.v_pos, dim=1)
    assert (mesh.v_nrm * outwards).sum(dim=1).min() > 0.9
    assert torch.allclose(mesh.v_nrm.norm(dim=1), torch.ones(len(mesh.v_pos)))


def test_coarse_to_fine_is_finer():
    fine, coarse = (make_blob(**BALL, isosurface_coarse_to_fine=value).isosurface() for value in (True, False))
    assert len(fine.v_pos) > 3 * len(coarse.v_pos)
    assert fine.extras["bbox"].abs().max() < 0.5
    assert torch.equal(coarse.extras["bbox"], torch.tensor([[-1.0] * 3, [1.0] * 3]))


def test_an_ellipsoid_off_the_center_lies_where_its_field_is():
    center, half_axes = torch.tensor([0.3, -0.2, 0.1]), torch.tensor([0.4, 0.2, 0.3])
    geometry = make_blob(isosurface_threshold=0, isosurface_resolution=RESOLUTION)
    geometry.forward_field = lambda points: (1 - ((points - center) / half_axes).norm(dim=1, keepdim=True), None)
    mesh = geometry.isosurface()
    assert torch.allclose(mesh.v_pos.amax(dim=0), center + half_axes, atol=0.02)
    assert torch.allclose(mesh.v_pos.amin(dim=0), center - half_axes, atol=0.02)


def test_chunks_change_nothing():
    whole, chunked = (make_blob(**BALL, isosurface_chunk=chunk).isosurface() for chunk in (0, 1000))
    assert torch.allclose(whole.v_pos, chunked.v_pos, atol=1e-6)
    assert torch.equal(whole.t_pos_idx, chunked.t_pos_idx)


def test_automatic_threshold():
    mesh = make_blob(isosurface_threshold="auto", isosurface_resolution=RESOLUTION).isosurface()
    assert as_trimesh(mesh).is_watertight


def two_balls(points):
    large = 0.5 - (points - torch.tensor([-0.3, 0.0, 0.0])).norm(dim=1, keepdim=True)
    small = 0.1 - (points - torch.tensor([0.7, 0.0, 0.0])).norm(dim=1, keepdim=True)
    return torch.maximum(large, small), None


@pytest.mark.parametrize(("least", "n_pieces"), [(0.001, 2), (0.5, 1), (1, 2), (500, 1)])
def test_small_pieces_are_dropped(least, n_pieces):
    cfg = {"isosurface_resolution": RESOLUTION, "isosurface_threshold": 0}
    geometry = make_blob(**cfg, isosurface_outlier_n_faces_threshold=least)
    geometry.forward_field = two_balls
    mesh = geometry.isosurface()
    assert (mesh.v_pos[:, 0].max() > 0.5) == (n_pieces == 2)
    assert mesh.t_pos_idx.max() == len(mesh.v_pos) - 1
    assert as_trimesh(mesh).is_watertight


@pytest.mark.parametrize("chunk", [0, 1000])
def test_an_empty_field(chunk):
    geometry = make_blob(isosurface_resolution=8, isosurface_chunk=chunk)
    message = (
        r"There is no surface at isosurface_threshold=25.0: the field's largest value is [\d.]+; "
        "lower isosurface_threshold or train longer."
    )
    with pytest.raises(UserError, match=message):
        geometry.isosurface()


def test_an_empty_field_with_an_automatic_threshold():
    geometry = make_blob(isosurface_resolution=8, isosurface_threshold="auto", density_bias=-100.0)
    with pytest.raises(UserError, match=r"isosurface_threshold=auto: the field's largest value is [^;]*; lower"):
        geometry.isosurface()


def test_a_full_field():
    geometry = make_blob(isosurface_resolution=8, density_bias=100.0)
    with pytest.raises(UserError, match=r"isosurface_threshold=25\.0: the field's smallest value is 100; raise"):
        geometry.isosurface()


def test_a_field_of_no_numbers():
    geometry = make_blob(isosurface_resolution=8)
    geometry.forward_field = lambda points: (torch.full((len(points), 1), math.nan), None)
    with pytest.raises(UserError, match="the field's largest value is nan"):
        geometry.isosurface()


def test_a_surface_that_the_config_forbids():
    with pytest.raises(UserError, match="isosurface=False: this geometry has no surface"):
        make_blob(isosurface=False).isosurface()


def test_normal_of_a_vertex_without_an_area():
    mesh = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    assert mesh.v_nrm.tolist() == [[0, 0, 1]] * 3


def test_colors_of_another_mesh():
    mesh = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"Colors of shape \(4, 3\) for 3 vertices"):
        mesh.set_vertex_color(torch.zeros(4, 3))
