"""A checkpoint is accepted by its own run only, and one from which something is missing is explained."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.engine.identity import KEY, check_same_run, check_weights

TRIAL = ("tag=run", "use_timestamp=false", "trainer.max_steps=2")
CHECKPOINT = "outputs/toy/run/ckpts/last.ckpt"

OF_A_RUN = {
    "seed": 0,
    "system_type": "particle-image-system",
    "system.particles.n_particles": 4,
    "system.guidance_type": "repulsive-sds-guidance",
    "system.guidance.pretrained_model_name_or_path": "bundled",
    "system.guidance.gamma": 10,
    "system.guidance.total_steps": 300,
    "system.prompt_processor.prompt": "a mushroom",
    "system.optimizer.args.lr": 0.03,
    "system.solver.name": "rsd",
    "system.metrics_every": 10,
    "data.operator.name": "half-box",
    "data.image_path": "bundled",
    "data.n_test_views": 40,
}


class Config(dict):
    __getattr__ = dict.__getitem__


def config(**changes):
    """Config with the values of OF_A_RUN and some changes, by dotted key."""
    nested = {"resume": "last.ckpt", "system": {}, "data": {}, "data_type": "", "seed": 0, "system_type": ""}
    for key, value in {**OF_A_RUN, **changes}.items():
        *parents, name = key.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return Config(nested)


SAVED = {KEY: {**OF_A_RUN, "data_type": ""}}


def test_its_own_run_accepts_a_checkpoint():
    check_same_run(SAVED, config())
    check_same_run(None, config())
    check_same_run({}, config(seed=3))  # of threestudio, which stores no config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("system_type", "latent-inverse-system"),
        ("system.particles.n_particles", 5),
        ("system.guidance_type", "repulsive-nfsd-guidance"),
        ("system.guidance.pretrained_model_name_or_path", "other/model"),
        ("system.guidance.gamma", 20),
        ("system.prompt_processor.prompt", "a car"),
        ("system.prompt_processor.negative_prompt", "a car"),
        ("system.optimizer.args.lr", 0.1),
        ("system.solver.name", "psld"),
        ("data.operator.name", "jpeg"),
        ("data.image_path", "other"),
    ],
)
def test_another_run_is_refused_with_both_values(key, value):
    with pytest.raises(UserError) as refused:
        check_same_run(SAVED, config(**{key: value}))
    sentence = str(refused.value)
    before = OF_A_RUN.get(key)
    assert f"{key}={'its default' if before is None else repr(before)}" in sentence
    assert f"{key}={value!r}" in sentence


FREE = (
    "system.metrics_every",
    "data.n_test_views",
    "system.guidance.chunk_size",
    "system.geometry.isosurface_threshold",
)


@pytest.mark.parametrize("key", FREE)
def test_what_does_not_change_the_particles_is_free(key, caplog):
    check_same_run(SAVED, config(**{key: 7}))
    assert not caplog.records


def test_a_longer_run_is_told(caplog):
    check_same_run(SAVED, config(**{"system.guidance.total_steps": 600}))
    (record,) = caplog.records
    assert "total_steps=300; this run has system.guidance.total_steps=600" in record.getMessage()


def test_weights_may_go_to_another_prompt_but_not_to_another_number_of_particles():
    check_weights(SAVED, "a.ckpt", config(**{"system.prompt_processor.prompt": "a car", "seed": 5}))
    for key in ("system.particles.n_particles", "system.guidance_type", "data.operator.name", "system_type"):
        with pytest.raises(UserError, match=f"system.weights='a.ckpt' does not fit: .*{key}"):
            check_weights(SAVED, "a.ckpt", config(**{key: "other"}))


@pytest.mark.parametrize("mode", ["train", "test", "export", "validate"])
def test_every_command_refuses_another_run(rsd, workplace, mode):
    rsd("train", *TRIAL)
    settings = ("tag=other", "use_timestamp=false", f"resume={CHECKPOINT}")
    code, shown = rsd(mode, *settings, "system.prompt_processor.prompt=a car")
    assert code == 2
    assert "prompt='a mushroom'" in shown
    assert "prompt='a car'" in shown
    assert not (workplace / "outputs/toy/other").exists()


def test_weights_of_another_run_are_refused(rsd, workplace):
    rsd("train", *TRIAL)
    code, shown = rsd("train", "tag=other", f"system.weights={CHECKPOINT}", "system.points.n=4")
    assert code == 2
    assert "system.weights=" in shown
    code, _ = rsd("train", "tag=other", f"system.weights={CHECKPOINT}")
    assert code == 0


def test_an_incomplete_checkpoint_is_one_sentence(rsd, workplace):
    rsd("train", *TRIAL)
    whole = torch.load(CHECKPOINT, weights_only=True)
    for key in set(whole) - {KEY}:
        torch.save({name: value for name, value in whole.items() if name != key}, workplace / "part.ckpt")
        code, shown = rsd("train", f"tag=no-{key}", "resume=part.ckpt", "trainer.max_steps=3")
        assert "Traceback" not in shown
        assert code in (0, 2), key
        assert code == 0 or "part.ckpt" in shown.splitlines()[-1]


def test_resuming_a_finished_run_says_so(rsd, workplace):
    rsd("train", *TRIAL)
    code, shown = rsd("train", *TRIAL, f"resume={CHECKPOINT}")
    assert code == 0
    assert "has all 2 steps of trainer.max_steps=2: nothing is trained, only tested" in shown
