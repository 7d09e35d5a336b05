"""Ensembles of the host's own NeRFs, and in the host's own systems."""

import pytest
import pytorch_lightning as pl
import torch
from threestudio_rsd import host
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import BaseModule, find, register

N, V = 3, 2
MLP = {"otype": "VanillaMLP", "activation": "ReLU", "n_neurons": 8, "n_hidden_layers": 1}
ENCODING = {"otype": "ProgressiveBandFrequency", "n_frequencies": 2, "n_masking_step": 0}
PARTS = {
    "geometry": (
        "implicit-volume",
        {
            "radius": 1.0,
            "normal_type": "analytic",
            "density_bias": 5.0,
            "pos_encoding_config": ENCODING,
            "mlp_network_config": MLP,
        },
    ),
    "material": ("diffuse-with-point-light-material", {"ambient_only_steps": 0}),
    "background": ("neural-environment-map-background", {"dir_encoding_config": ENCODING, "mlp_network_config": MLP}),
}
RENDERER = {
    "particle_type": "nerf-volume-renderer",
    "batched": False,  # bit-identical to rendering the particles one by one
    "particle": {"radius": 1.0, "num_samples_per_ray": 16, "randomized": False},
}


def is_registered(name):
    try:
        find(name)
    except (KeyError, UserError):
        return False
    return True


def needs(*names):
    """Skip the test if the host lacks a module."""
    for name in names:
        if not is_registered(name):
            pytest.skip(f"{name} is not registered")


def ensemble_config(kind, n):
    particle_type, particle = PARTS[kind]
    return {"n_particles": n, "particle_type": particle_type, "particle": particle}


@pytest.fixture
def parts():
    """Ensembles of real modules by name."""
    needs("nerf-volume-renderer", *(name for name, _ in PARTS.values()))
    made = {kind: find(f"particles-{kind}")(ensemble_config(kind, N)) for kind in PARTS}
    renderer = find("particles-renderer")(RENDERER, **made)
    renderer.do_update_step(0, 0)  # fills the grids, which start empty
    return {**made, "renderer": renderer}


def cameras(n, size=6):
    """Rays from a sphere of radius 2 towards its middle."""
    generator = torch.Generator().manual_seed(1)
    origins = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1) * 2
    targets = torch.randn(n, size, size, 3, generator=generator) * 0.4
    rays_o = origins[:, None, None].expand_as(targets)
    return {
        "rays_o": rays_o,
        "rays_d": torch.nn.functional.normalize(targets - rays_o, dim=-1),
        "light_positions": origins,
    }


def test_the_ensemble_renders_the_same_as_its_renderers_alone(parts):
    renderer, batch = parts["renderer"], cameras(N * V)
    pl.seed_everything(0)  # materials draw their shading at random
    out = renderer(**batch)
    pl.seed_everything(0)
    views = [{name: value.chunk(N)[index] for name, value in batch.items()} for index in range(N)]
    alone = [particle(**view) for particle, view in zip(renderer.particles, views, strict=True)]
    for name in alone[0]:
        if name != "ray_indices" and alone[0][name] is not None:
            assert torch.equal(out[name], torch.cat([one[name] for one in alone])), name
    assert out["comp_rgb"].shape == (N * V, 6, 6, 3)
    assert torch.equal(batch["rays_d"].reshape(-1, 3)[out["ray_indices"]], out["t_dirs"])
    assert out["normal"].shape == out["t_dirs"].shape
    assert len(out["weights"]) > N


def test_gradients_stay_within_a_particle(parts):
    parts["renderer"](**cameras(N * V))["comp_rgb"].unflatten(0, (N, V))[1].sum().backward()
    for kind in ("geometry", "background"):
        for index, particle in enumerate(parts[kind].particles):
            norms = [0.0 if p.grad is None else float(p.grad.norm()) for p in particle.parameters()]
            assert (max(norms) > 0) == (index == 1), kind


def test_evaluation_renders_every_particle(parts):
    parts["renderer"].eval()
    for part in parts.values():
        part.eval()
    out = parts["renderer"](**cameras(1))
    assert out["comp_rgb"].shape == out["comp_normal"].shape == (N, 6, 6, 3)
    assert not torch.equal(out["comp_rgb"][0], out["comp_rgb"][1])


def test_each_occupancy_grid_is_updated_from_its_own_particle(parts):
    for renderer in parts["renderer"].particles:
        renderer.estimator.occs.zero_()  # it remembers what it has seen
    with torch.no_grad():
        for parameter in parts["geometry"].particles[0].density_network.parameters():
            parameter.mul_(0)
        parts["geometry"].particles[0].cfg.density_bias = -100.0
    for step in range(0, 32, 16):
        parts["renderer"].do_update_step(0, step)
    occupied = [particle.estimator.binaries.sum().item() for particle in parts["renderer"].particles]
    assert occupied[0] == 0
    assert min(occupied[1:]) > 0


@register("stand-in-guidance")
class Guidance(BaseModule):
    def configure(self):
        self.shapes = []

    def forward(self, rgb, prompt_utils, elevation, azimuth, camera_distances, rgb_as_latents=False, **batch):
        self.shapes.append(tuple(rgb.shape))
        targets = torch.eye(3, device=rgb.device)[torch.arange(len(rgb), device=rgb.device) * 3 // len(rgb)]
        return {"loss_sds": (rgb - targets[:, None, None]).square().sum()}


@register("stand-in-prompt-processor")
class Prompts(host.BaseObject):
    def __call__(self):
        return None


SYSTEM = """
name: ensembles
tag: test
use_timestamp: false
data: {batch_size: 6, width: 8, height: 8, eval_width: 8, eval_height: 8, n_val_views: 1, n_test_views: 2}
system:
  geometry_type: particles-geometry
  material_type: particles-material
  background_type: particles-background
  renderer_type: particles-renderer
  guidance_type: stand-in-guidance
  prompt_processor_type: stand-in-prompt-processor
  loss: {lambda_sds: 1.0, lambda_orient: 0.1, lambda_sparsity: 0.1, lambda_opaque: 0.1, lambda_z_variance: 0.1}
  optimizer:
    name: Adam
    args: {lr: 0.01}
    params:
      geometry.density_network: {lr: 0.02}
      geometry.feature_network: {lr: 0.02}
      background: {lr: 0.01}
"""


@pytest.mark.parametrize("name", ["dreamfusion-system", "prolificdreamer-system"])
def test_the_hosts_own_systems_train_particles(name, tmp_path):
    needs(name, "random-camera-datamodule", "nerf-volume-renderer", "implicit-volume")
    cfg = host.load_config(SYSTEM, from_string=True, exp_root_dir=str(tmp_path))
    for kind in PARTS:
        cfg.system[kind] = ensemble_config(kind, N)
    cfg.system.renderer = RENDERER
    system = find(name)(cfg.system)
    system.set_save_dir(str(tmp_path))
    before = {key: value.clone() for key, value in system.state_dict().items()}
    trainer = pl.Trainer(
        max_steps=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
        val_check_interval=2,
        limit_val_batches=1,
    )
    trainer.fit(system, find("random-camera-datamodule")(cfg.data))
    assert system.guidance.shapes == [(6, 8, 8, 3)] * 2
    after = system.state_dict()
    for index in range(N):
        for key in (f"geometry.particles.{index}.density_network", f"background.particles.{index}"):
            assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith(key)), key
    assert list(tmp_path.rglob("*.png"))
