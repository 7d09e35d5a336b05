"""Each key of Lightning's Trainer is honored, or refused in a sentence before anything is written."""

import inspect
import json

import pytest
import pytorch_lightning as pl
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.engine import trainer_keys
from threestudio_rsd.standalone.engine.checks import RESERVED
from threestudio_rsd.standalone.engine.trainer_keys import check_checkpoint_keys, check_end, check_trainer

# Keys that do what their name says, by tests below or by Lightning
HONORED = {
    "accelerator", "devices", "num_nodes", "precision", "max_epochs", "max_steps", "max_time", "limit_val_batches",
    "limit_test_batches", "limit_predict_batches", "val_check_interval", "num_sanity_val_steps", "log_every_n_steps",
    "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "gradient_clip_val",
    "gradient_clip_algorithm", "deterministic", "benchmark", "profiler", "detect_anomaly",
}  # fmt: skip


def test_every_key_of_the_trainer_is_accounted_for():
    known = set(inspect.signature(pl.Trainer.__init__).parameters) - {*RESERVED}
    refused = set(trainer_keys.WITHOUT_EFFECT)
    assert known <= HONORED | refused
    assert not HONORED & refused


def test_lightnings_own_defaults_are_accepted():
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(pl.Trainer.__init__).parameters.items()
        if name not in RESERVED
    }
    check_trainer({**defaults, "max_steps": 3})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accumulate_grad_batches", 2),
        ("strategy", "ddp"),
        ("sync_batchnorm", True),
        ("use_distributed_sampler", False),
        ("min_steps", 3),
        ("min_epochs", 1),
        ("check_val_every_n_epoch", 2),
        ("reload_dataloaders_every_n_epochs", 1),
        ("limit_train_batches", 3),
        ("limit_train_batches", 0.5),
        ("overfit_batches", 1),
        ("fast_dev_run", True),
        ("fast_dev_run", 1),
        ("barebones", True),
        ("default_root_dir", "somewhere"),
        ("enable_autolog_hparams", False),
        ("model_registry", "name"),
        ("val_check_interval", 0),
        ("val_check_interval", 0.5),
        ("val_check_interval", -3),
        ("val_check_interval", True),
        ("val_check_interval", "often"),
        ("num_sanity_val_steps", -2),
        ("log_every_n_steps", 0),
        ("max_steps", 0),
        ("max_epochs", 0),
        ("limit_val_batches", 0.5),
        ("limit_test_batches", -1),
        ("limit_predict_batches", "all"),
        ("enable_checkpointing", "yes"),
        ("enable_progress_bar", 2),
        ("accelerator", "tpu"),
        ("accelerator", "mps"),
        ("precision", 17),
        ("precision", "64-true"),
        ("precision", True),
        ("gradient_clip_val", -1),
        ("gradient_clip_val", float("nan")),
        ("gradient_clip_val", "small"),
        ("gradient_clip_algorithm", "norm"),
        ("profiler", "pytorch"),
    ],
)
def test_a_key_without_effect_or_an_impossible_value_is_named(key, value):
    with pytest.raises(UserError, match=rf"trainer.{key}.*(accepted|no effect)"):
        check_trainer({"max_steps": 3, key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("every_n_epochs", 1),
        ("train_time_interval", 3),
        ("save_on_exception", True),
        ("save_on_train_epoch_end", True),
        ("every_n_train_steps", -1),
        ("every_n_train_steps", 0.5),
        ("save_top_k", -2),
        ("save_last", "link"),
    ],
)
def test_keys_of_the_checkpoint_too(key, value):
    with pytest.raises(UserError, match=rf"checkpoint.{key}=.*accepted"):
        check_checkpoint_keys({key: value})


def test_a_run_without_end_is_refused():
    with pytest.raises(UserError, match=r"trainer.max_steps is missing"):
        check_end({})
    check_end({"max_time": "00:00:01:00"})


@pytest.mark.parametrize(
    "override",
    [
        "trainer.accumulate_grad_batches=2",
        "trainer.val_check_interval=0",
        "trainer.val_check_interval=0.5",
        "trainer.devices=2",
        "trainer.num_nodes=2",
        "trainer.limit_test_batches=0.5",
        "checkpoint.every_n_epochs=2",
        "checkpoint.monitor=7",
    ],
)
def test_refused_before_anything_is_written(rsd, workplace, override):
    code, shown = rsd("train", override)
    assert code == 2
    assert "Traceback" not in shown
    assert override.partition("=")[0].rpartition(".")[2] in shown
    assert not (workplace / "outputs").exists()


def test_no_checkpoints(rsd, workplace):
    assert rsd("train", "tag=a", "use_timestamp=false", "trainer.enable_checkpointing=false")[0] == 0
    assert not (workplace / "outputs/toy/a/ckpts").exists()
    assert (workplace / "outputs/toy/a/save/points.json").is_file()


def test_no_validation_and_no_test(rsd, workplace):
    settings = ("tag=a", "use_timestamp=false", "trainer.limit_val_batches=0", "trainer.limit_test_batches=0")
    assert rsd("train", *settings)[0] == 0
    assert not (workplace / "outputs/toy/a/save").exists()
    assert (workplace / "outputs/toy/a/ckpts/last.ckpt").is_file()


def test_clipped_gradients_move_the_points_less(rsd, workplace):
    plain = ("system.optimizer.args.eps=1.0",)  # so that the size of the gradient matters
    for tag, settings in (("free", ()), ("clipped", ("trainer.gradient_clip_val=0.0001",))):
        assert rsd("train", f"tag={tag}", "use_timestamp=false", "trainer.max_steps=1", *plain, *settings)[0] == 0
    free, clipped = ((workplace / "outputs/toy" / tag / "save/points.json").read_text() for tag in ("free", "clipped"))
    assert clipped != free
    assert json.loads(clipped)["points"][0][0] > 0.9999


def test_a_time_limit_ends_the_run(rsd, workplace):
    settings = ("tag=a", "use_timestamp=false", "trainer.max_time='00:00:00:00'", "trainer.max_steps=null")
    code, _ = rsd("train", *settings)
    assert code == 0
    assert (workplace / "outputs/toy/a/save/points.json").is_file()


def test_a_profile_is_shown(rsd, caplog):
    code, _ = rsd("train", "trainer.profiler=simple", "trainer.max_steps=1")
    assert code == 0
    assert "run_training_batch" in caplog.text


def test_an_unknown_metric_to_monitor_is_one_sentence(rsd):
    code, shown = rsd("train", "checkpoint.monitor=nothing", "checkpoint.save_top_k=1")
    assert code == 2
    assert "Traceback" not in shown
    assert "nothing" in shown
