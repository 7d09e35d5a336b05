"""Export of each particle into its own folder."""

import pytest
import torch
from threestudio_rsd import host
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.ensembles import exporter as exporter_module
from threestudio_rsd.host import find

from . import stand_ins
from .stand_ins import ensemble


def make_exporter(n=2, **particle):
    parts = {kind: ensemble(kind, n) for kind in ("geometry", "material", "background")}
    cfg = {"particle_type": "stand-in-exporter", "particle": particle}
    return parts["geometry"], find("particles-exporter")(cfg, **parts)


def test_every_particle_is_exported_into_its_folder():
    geometry, exporter = make_exporter(3)
    files = exporter()
    assert [file.save_name for file in files] == [f"particle_{index:02d}/model.json" for index in range(3)]
    assert [file.params["payload"]["sharpness"] for file in files] == [p.sharpness.item() for p in geometry.particles]
    assert {file.save_type for file in files} == {"json"}


def test_the_config_has_the_keys_of_the_inner_exporter():
    assert make_exporter(save_video=True)[1].cfg.save_video is True
    assert make_exporter()[1].cfg.save_video is False


def test_a_system_saves_the_exported_files(tmp_path):
    system = stand_ins.system(2)
    system.set_save_dir(str(tmp_path))
    system.on_predict_start()
    system.on_predict_epoch_end()
    assert sorted(path.parent.name for path in tmp_path.rglob("model.json")) == ["particle_00", "particle_01"]


def test_particles_without_surface_are_skipped_with_a_warning(monkeypatch):
    warnings = []
    monkeypatch.setattr(exporter_module, "warn", warnings.append)
    geometry, exporter = make_exporter(2)
    with torch.no_grad():
        geometry.particles[0].sharpness.zero_()
    assert [file.save_name for file in exporter()] == ["particle_01/model.json"]
    assert warnings == ["particle_00 is not exported: The field has no surface; train longer."]
    with torch.no_grad():
        geometry.particles[1].sharpness.zero_()
    with pytest.raises(UserError, match="particle_00 is not exported: The field has no surface"):
        exporter()


MLP = {"otype": "VanillaMLP", "activation": "ReLU", "n_neurons": 8, "n_hidden_layers": 1}
ENCODING = {"otype": "ProgressiveBandFrequency", "n_frequencies": 2, "n_masking_step": 0}


def real_exporter(density_bias):
    """Exporter of the host's own NeRFs."""
    particle = {
        "pos_encoding_config": ENCODING,
        "mlp_network_config": MLP,
        "density_bias": density_bias,
        "isosurface_method": "mc-cpu",
        "isosurface_resolution": 16,
        "isosurface_threshold": 1.0,
    }
    parts = {
        "geometry": ensemble("geometry", 2, "implicit-volume", **particle),
        "material": ensemble("material", 2, "no-material"),
        "background": ensemble("background", 2),
    }
    mesh = {"fmt": "obj", "save_uv": False}
    if host.HOST == "threestudio":
        mesh["context_type"] = "cuda"  # its other rasterizer needs a display
    return find("particles-exporter")({"particle": mesh}, **parts)


def test_meshes_of_the_hosts_own_geometry():
    files = real_exporter("blob_magic3d")()
    assert [file.save_name for file in files] == ["particle_00/model.obj", "particle_01/model.obj"]
    assert all(len(file.params["mesh"].v_pos) > 0 for file in files)


def test_fields_without_a_surface():
    with pytest.raises(UserError, match=r"particle_00 is not exported: .*isosurface_threshold.* or train longer\.$"):
        real_exporter(-50.0)()
