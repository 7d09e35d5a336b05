"""`mesh-exporter` and the mesh files that it writes."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from threestudio_rsd import errors, host
from threestudio_rsd.host import Mesh, SaverMixin, find
from threestudio_rsd.standalone.models import exporters

from .geometry.test_implicit_volume import make_blob

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")

BALL = {"isosurface_threshold": 5.0, "isosurface_resolution": 16}


class ColorsOfPlaces(torch.nn.Module):
    """Material whose colors are the coordinates."""

    def export(self, points, features, **kwargs):
        assert features.shape == points.shape
        return {"albedo": points + 0.5}


class NoColors(torch.nn.Module):
    def export(self, **kwargs):
        return {}


@pytest.fixture
def saver(tmp_path):
    saver = SaverMixin()
    saver.set_save_dir(str(tmp_path))
    return saver


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    exporters._warn_about_textures.cache_clear()


def export(material=None, **cfg):
    parts = {"geometry": make_blob(**BALL), "material": material or ColorsOfPlaces(), "background": None}
    (output,) = find("mesh-exporter")(cfg, **parts)()
    return output


def triangle(**parts):
    positions = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    mesh = Mesh(positions, torch.tensor([[0, 1, 2]]))
    for name, value in parts.items():
        setattr(mesh, name, value)
    return mesh


def test_colored_obj_read_back(saver, tmp_path):
    output = export(fmt="obj", save_name="ball")
    assert isinstance(output, host.ExporterOutput)
    assert (output.save_name, output.save_type) == ("ball.obj", "obj")
    paths = saver.save_obj("it3-export/ball.obj", **output.params)
    assert paths == [str(tmp_path / "it3-export" / name) for name in ("ball.obj", "ball.glb")]
    mesh = trimesh.load(paths[0], process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert np.allclose(mesh.vertices, output.params["mesh"].v_pos.numpy(), atol=1e-5)
    assert np.allclose(mesh.visual.vertex_colors[:, :3] / 255, mesh.vertices + 0.5, atol=1 / 255)


def test_glb_is_upright_in_linear_light_and_matte(saver):
    colors = torch.tensor([[0.5, 0.5, 0.5], [1.0, 1.0, 1.0], [0.0, 0.0, 0.02]])
    mesh = triangle(v_rgb=colors)
    mesh.v_pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    (loaded,) = trimesh.load(saver.save_obj("model", mesh, save_vertex_color=True)[1], process=False).geometry.values()
    assert loaded.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]  # z upwards became y upwards
    assert loaded.visual.vertex_attributes["color"][:, :3].tolist() == [[55, 55, 55], [255, 255, 255], [0, 0, 0]]
    assert loaded.visual.material.metallicFactor == 0


def test_without_trimesh_only_the_obj(saver, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert saver.save_obj("model.obj", triangle()) == [str(tmp_path / "model.obj")]


def test_obj_of_everything(saver, tmp_path):
    mesh = triangle(
        v_rgb=torch.ones(3, 3),
        v_tex=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.25]]),
        t_tex_idx=torch.tensor([[2, 1, 0]]),
    )
    maps = {"map_Kd": torch.full((4, 4, 3), 1.0), "map_Pr": torch.full((4, 4, 1), 0.5)}
    wanted = {"save_mat": True, "save_normal": True, "save_uv": True, "save_vertex_color": True, "map_format": "png"}
    paths = saver.save_obj("model", mesh, **wanted, **maps)
    files = ["model.obj", "model.mtl", "texture_kd.png", "texture_roughness.png", "model.glb"]
    assert paths == [str(tmp_path / name) for name in files]
    lines = (tmp_path / "model.obj").read_text().splitlines()
    assert lines[:3] == ["mtllib model.mtl", "usemtl default", "v 0 0 0 1 1 1"]
    assert "vt 0 0.75" in lines
    assert "vn 0 0 1" in lines
    assert lines[-1] == "f 1/3/1 2/2/2 3/1/3"
    material = (tmp_path / "model.mtl").read_text().splitlines()
    assert material[0] == "newmtl default"
    assert {"map_Kd texture_kd.png", "map_Pr texture_roughness.png"} <= set(material)
    assert np.asarray(Image.open(tmp_path / "texture_kd.png")).min() == 255


def test_obj_with_normals_only(saver, tmp_path):
    saver.save_obj("model", triangle(), save_normal=True)
    assert (tmp_path / "model.obj").read_text().splitlines()[-1] == "f 1//1 2//2 3//3"


def test_warns_once_that_there_are_no_textures(caplog):
    with caplog.at_level(logging.WARNING, logger="threestudio_rsd"):
        outputs = [export() for _ in range(2)]
    assert [output.params["save_vertex_color"] for output in outputs] == [True, True]
    assert [record.message for record in caplog.records] == [
        "fmt=obj-mtl: textures need threestudio; the mesh has vertex colors instead."
    ]


def test_without_colors(caplog):
    assert not export(fmt="obj", save_texture=False).params["save_vertex_color"]
    assert not caplog.records
    assert not export(NoColors(), fmt="obj").params["save_vertex_color"]
    assert "NoColors has no albedo to export; the mesh has no colors." in caplog.text


def test_colors_stay_within_their_range():
    assert export(fmt="obj").params["mesh"].v_rgb.aminmax().max <= 1


def test_threestudios_keys_are_accepted():
    cfg = {"texture_size": 2048, "texture_format": "png", "context_type": "cuda", "xatlas_chart_options": {"a": 1}}
    assert export(**cfg, xatlas_pack_options={}, save_uv=False, save_normal=True).params["save_normal"]


def test_unknown_format():
    with pytest.raises(errors.UserError, match="fmt='glb' is unknown; accepted: obj-mtl, obj"):
        export(fmt="glb")


def test_gaussians_need_a_geometry_that_has_them():
    parts = {"geometry": make_blob(**BALL), "material": ColorsOfPlaces(), "background": None}
    with pytest.raises(errors.UserError, match="gaussian-exporter cannot export a ImplicitVolume"):
        find("gaussian-exporter")({}, **parts)
