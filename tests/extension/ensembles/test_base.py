"""Ensembles in place of single modules."""

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from threestudio_rsd import host
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.ensembles.base import redraw_tinycudann
from threestudio_rsd.host import find
from threestudio_rsd.particles.randomness import particle_random_state
from torch import nn

from . import stand_ins
from .stand_ins import ensemble, scene

KINDS = ("geometry", "material", "background")


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_depend_on_the_seed_and_the_index_only(kind):
    few, many = ensemble(kind, 2), ensemble(kind, 4)
    for one, other in zip(few.parameters(), many.parameters(), strict=False):
        assert torch.equal(one, other)
    starts = {tuple(torch.cat([p.flatten() for p in particle.parameters()]).tolist()) for particle in many.particles}
    assert len(starts) == 4
    torch.manual_seed(1)
    again = ensemble(kind, 2)
    assert not torch.equal(next(few.parameters()), next(again.parameters()))


def test_building_does_not_change_the_global_generators():
    def draws():
        return torch.rand(3).tolist(), random.random(), np.random.random()

    pl.seed_everything(5)
    expected = draws()
    pl.seed_everything(5)
    ensemble("geometry", 3)
    assert torch.initial_seed() == 5
    assert draws() == expected


@pytest.mark.parametrize("draw", [lambda: torch.rand(()).item(), random.random, np.random.random])
def test_each_particle_has_its_own_random_state(draw):
    def drawn(seed, particle):
        with particle_random_state(seed, "geometry", particle):
            return draw()

    assert drawn(0, 1) == drawn(0, 1)
    assert len({drawn(0, 0), drawn(0, 1), drawn(1, 0)}) == 3


def test_updates_are_passed_to_every_particle():
    parts = scene(3)
    for step in (0, 1):
        for part in (parts.geometry, parts.material, parts.background, parts.renderer):
            part.do_update_step(0, step)
            part.do_update_step_end(0, step)
    for part in (parts.geometry, parts.material, parts.background, parts.renderer):
        for particle in part.particles:
            assert particle.updates == sorted(particle.updates)
            assert set(particle.updates) == {0, 1}
            assert set(particle.ends) == {0, 1}
    for renderer in parts.renderer.particles:
        assert renderer.updates == [0, 1]  # once a step: a second update would change a grid that averages over time


def test_each_particle_has_its_own_grid():
    parts = scene(3)
    parts.renderer.do_update_step(0, 0)
    for renderer, geometry in zip(parts.renderer.particles, parts.geometry.particles, strict=True):
        assert torch.equal(renderer.grid, geometry.sharpness.detach().expand(4))


def test_submodules_and_parameters_are_those_of_all_particles():
    geometry = ensemble("geometry", 3)
    first = [particle.encoding[0].weight for particle in geometry.particles]
    assert [id(p) for p in geometry.encoding.parameters()][::2] == [id(p) for p in first]
    assert isinstance(geometry.sharpness, nn.ParameterList)
    assert len(geometry.sharpness) == 3
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = geometry.nothing_of_that_name


def test_ensembles_have_the_attributes_that_systems_read():
    parts = scene(2, geometry={"radius": 2.0})
    assert parts.material.requires_normal is True
    assert parts.geometry.cfg.radius == 2.0
    assert parts.geometry.cfg.n_particles == 2
    assert parts.renderer.cfg.radius == 1.0
    assert torch.equal(parts.geometry.bbox, parts.geometry.particles[0].bbox)
    assert parts.geometry.unbounded is False
    assert parts.geometry.initialize_shape(times=2) == [2, 2]
    assert parts.geometry.initialized == 2
    assert parts.geometry.corners.shape == (4, 3)
    assert parts.renderer.geometry is parts.geometry
    parts.geometry.particles[1].initialized = 7
    with pytest.raises(AttributeError, match="'initialized'"):
        _ = parts.geometry.initialized


@pytest.mark.parametrize(
    ("attribute", "n_parameters"),
    [("geometry.encoding", 4), ("geometry.density_network", 4), ("geometry.sharpness", 2), ("background", 4)],
)
def test_optimizer_groups_hold_the_parameters_of_all_particles(attribute, n_parameters):
    optimizer = {"name": "Adam", "args": {"lr": 0.1}, "params": {attribute: {"lr": 0.5}}}
    system = stand_ins.system(2, optimizer)
    (group,) = system.configure_optimizers()["optimizer"].param_groups
    assert group["lr"] == 0.5
    assert group["name"] == attribute
    parameters = {id(parameter): name for name, parameter in system.named_parameters()}
    names = [parameters[id(parameter)] for parameter in group["params"]]
    part = attribute.split(".")[0]
    assert len(names) == n_parameters
    assert {name.split(".")[:3][-1] for name in names} == {"0", "1"}
    assert all(name.startswith(f"{part}.particles.") for name in names)


def test_checkpoints_hold_every_particle_once():
    system = stand_ins.system(2)
    keys = list(system.state_dict())
    assert "geometry.particles.1.encoding.0.weight" in keys
    assert [key for key in keys if "sharpness" in key] == [f"geometry.particles.{i}.sharpness" for i in range(2)]
    assert [key for key in keys if "grid" in key] == [f"renderer.particles.{i}.grid" for i in range(2)]
    other = stand_ins.system(2)
    other.load_state_dict({key: value + 1 for key, value in system.state_dict().items()})
    assert torch.equal(other.geometry.particles[1].sharpness, system.geometry.particles[1].sharpness + 1)
    with pytest.raises(RuntimeError, match=r"particles\.2"):
        stand_ins.system(3).load_state_dict(system.state_dict())


def test_train_and_eval_modes_are_passed_to_the_particles():
    parts = scene(2)
    parts.renderer.eval()
    assert not any(particle.training for particle in parts.renderer.particles)
    parts.renderer.train()
    assert all(particle.training for particle in parts.renderer.particles)


class Native:
    def initial_params(self, seed):
        return torch.rand(3, generator=torch.Generator().manual_seed(seed))


class TinyCudaNetwork(nn.Module):
    """Network with its own seed, as in tinycudann."""

    def __init__(self, seed=1337):
        super().__init__()
        self.native_tcnn_module = Native()
        self.seed = seed
        self.params = nn.Parameter(self.native_tcnn_module.initial_params(seed))


def test_tinycudann_draws_from_the_seed_of_the_particle():
    fixed, other = TinyCudaNetwork(), TinyCudaNetwork()
    redraw_tinycudann(nn.Sequential(other), 3)
    assert torch.equal(other.params, Native().initial_params(3))
    assert not torch.equal(other.params, fixed.params)
    chosen = TinyCudaNetwork(seed=5)
    redraw_tinycudann(chosen, 3)
    assert torch.equal(chosen.params, Native().initial_params(5))


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_numbers_and_unknown_types_raise_user_error(kind):
    with pytest.raises(UserError, match=rf"system\.{kind}\.n_particles=0 is impossible; accepted: .* at least 1"):
        ensemble(kind, 0)
    with pytest.raises(UserError, match=rf"system\.{kind}\.particle_type='stand-in-geometri' is unknown: .*registered"):
        ensemble(kind, particle_type="stand-in-geometri")


def test_errors_of_particles_are_raised_unchanged():
    with pytest.raises((UserError, TypeError), match="radios"):
        ensemble("geometry", radios=1.0)
    with pytest.raises(UserError, match=r"system\.renderer\.particle_type='no-renderer'"):
        find("particles-renderer")({"particle_type": "no-renderer"}, **{kind: ensemble(kind) for kind in KINDS})


@pytest.mark.skipif(host.HOST != "embedded", reason="the stand-in's errors name the whole key")
def test_errors_give_the_full_path_of_unknown_keys():
    cfg = stand_ins.system(2).cfg
    cfg.geometry.particle = {"radios": 1.0}
    with pytest.raises(UserError, match=r"geometry\.particle\.radios=1\.0 is an unknown key"):
        stand_ins.System(cfg)


@pytest.mark.parametrize("name", ["particles-renderer", "particles-exporter"])
def test_mismatched_parts_raise_user_error(name):
    kind = name.removeprefix("particles-")
    parts = {kind: ensemble(kind) for kind in KINDS}
    cfg = {"particle_type": f"stand-in-{kind}"}
    with pytest.raises(UserError, match=r"system\.material\.n_particles=3 differs .*geometry\.n_particles=2"):
        find(name)(cfg, **{**parts, "material": ensemble("material", 3)})
    with pytest.raises(UserError, match=r"system\.geometry is a single Geometry.* system.geometry_type=particles-geom"):
        find(name)(cfg, **{**parts, "geometry": find("stand-in-geometry")({})})


def test_an_ensemble_in_a_single_renderer_is_an_error():
    with pytest.raises(UserError, match=r"system\.renderer_type=particles-renderer"):
        ensemble("geometry")(torch.zeros(1, 3))
    with pytest.raises(UserError, match=r"system\.renderer_type=particles-renderer"):
        ensemble("geometry").forward_density(torch.zeros(1, 3))


def test_a_single_module_is_shared_by_all_particles():
    parts = {kind: ensemble(kind) for kind in KINDS}
    parts["background"] = find("stand-in-background")({})
    renderer = find("particles-renderer")({"particle_type": "stand-in-renderer"}, **parts)
    assert all(particle.parts.background is parts["background"] for particle in renderer.particles)


def test_a_geometry_is_converted_from_an_earlier_stage():
    coarse = ensemble("geometry", 2)
    cfg = {"n_particles": 2, "particle_type": "stand-in-geometry"}
    fine = find("particles-geometry").create_from(coarse, cfg, copy_net=True)
    for one, other in zip(coarse.parameters(), fine.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(UserError, match=r"n_particles=3 .* 2 particles"):
        find("particles-geometry").create_from(coarse, {**cfg, "n_particles": 3})
    with pytest.raises(UserError, match="single Geometry"):
        find("particles-geometry").create_from(coarse.particles[0], cfg)
