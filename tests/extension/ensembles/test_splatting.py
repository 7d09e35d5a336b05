"""Gaussian splatting: geometries that own their optimizer and grow, renderers that loop over cameras."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from threestudio_rsd.host import BaseSystem, find, load_config
from threestudio_rsd.particles.joint_optimizer import JointOptimizer
from torch import nn
from torch.utils.data import DataLoader, Dataset

N, V = 3, 2


def make_scene(n=N, **particle):
    counted = {"n_particles": n}
    geometry = find("particles-geometry")({**counted, "particle_type": "stand-in-splatting", "particle": particle})
    material = find("particles-material")({**counted, "particle_type": "stand-in-material"})
    background = find("particles-background")({**counted, "particle_type": "stand-in-background"})
    renderer = find("particles-renderer")(
        {"particle_type": "stand-in-splatting-rasterizer"}, geometry=geometry, material=material, background=background
    )
    return SimpleNamespace(geometry=geometry, renderer=renderer)


def cameras(n, size=8):
    return {"c2w": torch.eye(4).repeat(n, 1, 1), "height": size, "width": size}


def test_outputs_that_are_lists_are_joined_as_lists():
    scene = make_scene()
    out = scene.renderer.batch_forward(cameras(N * V))
    assert out["comp_rgb"].shape == (N * V, 8, 8, 3)
    for name in ("viewspace_points", "visibility_filter", "radii"):
        assert isinstance(out[name], list)
        assert len(out[name]) == N * V
    scene.renderer.eval()
    assert scene.renderer(**cameras(1))["comp_rgb"].shape == (N, 8, 8, 3)


def test_points_of_all_particles_are_concatenated():
    scene = make_scene(init_num_pts=5)
    assert scene.geometry.get_xyz.shape == (5 * N, 3)
    assert scene.geometry.get_scaling.shape == (5 * N, 1)
    assert len(scene.geometry._xyz) == N  # parameters, for optimizer.params


def test_particles_are_trained_towards_their_own_colors_and_grow():
    """The steps of threestudio-3dgs's system: manual optimization, with densification between backward and step."""
    scene = make_scene()
    targets = torch.eye(3)[:, None, None, None, :]  # red, green, blue
    optimizer = scene.geometry.optimizer
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert len(optimizer.param_groups) == 3 * N
    for step in range(12):
        scene.geometry.update_learning_rate(step)
        out = scene.renderer.batch_forward(cameras(N * V))
        ((out["comp_rgb"].unflatten(0, (N, V)) - targets) ** 2).sum().backward()
        scene.geometry.update_states(step, out["visibility_filter"], out["radii"], out["viewspace_points"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    for index, particle in enumerate(scene.geometry.particles):
        assert particle._features_dc.mean(0).argmax() == index
        assert len(particle.get_xyz) > particle.cfg.init_num_pts
    assert [len(group["params"][0]) for group in optimizer.param_groups[::3]] == [
        len(particle.get_xyz) for particle in scene.geometry.particles
    ]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 / 12)


class Cameras(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return cameras(N * V)


class System(BaseSystem):
    """System that trains gaussians as in threestudio-3dgs."""

    def configure(self):
        self.automatic_optimization = False
        scene = make_scene(densification_interval=1)
        self.geometry, self.renderer = scene.geometry, scene.renderer

    def configure_optimizers(self):
        return [self.geometry.optimizer]

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        self.geometry.update_learning_rate(self.global_step)
        out = self.renderer.batch_forward(batch)
        out["comp_rgb"].square().sum().backward()
        step = self.global_step
        self.geometry.update_states(step, out["visibility_filter"], out["radii"], out["viewspace_points"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def test_lightning_accepts_the_joint_optimizer():
    system = System(load_config("{tag: test, use_timestamp: false}", from_string=True, system={}).system)
    before = system.geometry.particles[2]._features_dc.detach().clone()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(system, DataLoader(Cameras(), batch_size=None))
    sizes = [len(particle.get_xyz) for particle in system.geometry.particles]
    assert sizes == [48] * N
    assert system.geometry.particles[2]._features_dc[:12].ne(before).all()
    (optimizer,) = trainer.optimizers
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert [len(group["params"][0]) for group in optimizer.param_groups[::3]] == sizes


def test_each_particle_adds_points_from_its_own_views():
    scene = make_scene(densification_interval=1)
    out = scene.renderer.batch_forward(cameras(N * V))
    out["comp_rgb"].unflatten(0, (N, V))[1].square().sum().backward(retain_graph=True)
    (0 * out["comp_rgb"]).sum().backward()
    scene.geometry.update_states(1, out["visibility_filter"], out["radii"], out["viewspace_points"])
    assert [len(particle.get_xyz) for particle in scene.geometry.particles] == [12, 24, 12]


def test_point_clouds_are_exported_into_one_folder_per_particle(tmp_path):
    make_scene(2).geometry.save_ply(str(tmp_path / "point_cloud.ply"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.ply")) == [
        "particle_00/point_cloud.ply",
        "particle_01/point_cloud.ply",
    ]


def test_the_network_optimizer_joins_those_of_the_particles():
    scene, network = make_scene(2), nn.Linear(1, 1)
    optimizer = scene.geometry.merge_optimizer(torch.optim.SGD(network.parameters(), lr=0.5))
    assert isinstance(optimizer, JointOptimizer)
    assert len(optimizer.param_groups) == 2 * 3 + 1
