"""Keys of the sections `trainer` and `checkpoint`: those without effect here are refused, the others are checked."""

import logging
from typing import Any

from ...errors import UserError

SPREAD = "the particles are spread over trainer.devices and trainer.num_nodes by the strategy `particles`"
ENDLESS = "the data are endless, so there is one epoch; set trainer.max_steps"
# Keys of Lightning's Trainer that have no effect here, or another one than their name says: accepted values, which are
# Lightning's defaults, and the reason.
WITHOUT_EFFECT: dict[str, tuple[tuple[Any, ...], str]] = {
    "strategy": (("auto", "particles"), SPREAD),
    "sync_batchnorm": ((False,), "nothing that is trained has batch norms"),
    "use_distributed_sampler": ((True,), "every process evaluates its particles in all views"),
    "accumulate_grad_batches": (
        (1,),
        "all batches of a step have the same t and noise, so it costs more and changes nothing; set the number of "
        "particles or views",
    ),
    "min_epochs": ((None,), ENDLESS),
    "min_steps": ((None,), "a run has exactly trainer.max_steps steps"),
    "check_val_every_n_epoch": ((1, None), ENDLESS.replace("max_steps", "val_check_interval")),
    "reload_dataloaders_every_n_epochs": ((0,), ENDLESS),
    "limit_train_batches": ((None, 1.0), ENDLESS),
    "overfit_batches": ((0, 0.0), ENDLESS),
    "fast_dev_run": ((False,), "it would leave results of one step; set trainer.max_steps=1"),
    "barebones": ((False,), "a run writes logs and checkpoints; set trainer.enable_checkpointing=false"),
    "default_root_dir": ((None,), "results go to the trial folder; set exp_root_dir"),
    "enable_autolog_hparams": ((True,), "the config is in configs/parsed.yaml"),
    "model_registry": ((None,), "checkpoints go to the trial folder"),
}
CHECKPOINT_WITHOUT_EFFECT: dict[str, tuple[tuple[Any, ...], str]] = {
    "every_n_epochs": ((None,), ENDLESS.replace("trainer.max_steps", "checkpoint.every_n_train_steps")),
    "save_on_train_epoch_end": ((None, False), ENDLESS.replace("trainer.max_steps", "checkpoint.every_n_train_steps")),
    "train_time_interval": ((None,), "it needs a timedelta, which YAML has not; set checkpoint.every_n_train_steps"),
    "save_on_exception": ((None, False), "the state after an error may be damaged; last.ckpt is kept"),
}
# Keys with whole numbers, and the smallest
INTEGERS = {
    "num_nodes": 1,
    "max_steps": 1,
    "max_epochs": 1,
    "log_every_n_steps": 1,
    "val_check_interval": 1,
    "num_sanity_val_steps": -1,
}
BOOLEANS = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "detect_anomaly", "benchmark")
SHARES = ("limit_val_batches", "limit_test_batches", "limit_predict_batches")  # a number of batches, or 1.0: all
ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
PRECISIONS = (None, 32, "32", "32-true", 16, "16", "16-mixed", "bf16", "bf16-mixed")


def check_trainer(trainer: dict[str, Any]) -> None:
    """Check the config of Lightning's Trainer.

    Args:
        trainer: section `trainer` of the config.

    Raises:
        UserError: a key without effect, or an impossible value.
    """
    for key, (accepted, reason) in WITHOUT_EFFECT.items():
        _check_effect(f"trainer.{key}", trainer.get(key, accepted[0]), accepted, reason)
    for key, least in INTEGERS.items():
        _check_integer(f"trainer.{key}", trainer.get(key), least)
    for key in BOOLEANS:
        if not isinstance(trainer.get(key, False), bool | None):
            raise UserError(f"trainer.{key}={trainer[key]!r} is impossible; accepted: true or false.")
    for key in SHARES:
        _check_share(f"trainer.{key}", trainer.get(key))
    for key, accepted in {"accelerator": ACCELERATORS, "precision": PRECISIONS}.items():
        value = trainer.get(key, accepted[0])
        if value not in accepted or isinstance(value, bool):
            known = ", ".join(str(each) for each in accepted if each is not None)
            raise UserError(f"trainer.{key}={value!r} is impossible; accepted: {known}.")
    _check_clipping(trainer)
    _check_profiler(trainer.get("profiler"))


def check_end(trainer: dict[str, Any]) -> None:
    """Check that training will end.

    Raises:
        UserError: no key says when.
    """
    if all(trainer.get(key) is None for key in ("max_steps", "max_epochs", "max_time")):
        raise UserError("trainer.max_steps is missing, so the run would never end; accepted: an integer of at least 1.")


def check_checkpoint_keys(checkpoint: dict[str, Any]) -> None:
    """Check the config of Lightning's ModelCheckpoint.

    Raises:
        UserError: a key without effect, or an impossible value.
    """
    for key, (accepted, reason) in CHECKPOINT_WITHOUT_EFFECT.items():
        _check_effect(f"checkpoint.{key}", checkpoint.get(key, accepted[0]), accepted, reason)
    _check_integer("checkpoint.every_n_train_steps", checkpoint.get("every_n_train_steps"), 0)
    _check_integer("checkpoint.save_top_k", checkpoint.get("save_top_k"), -1)
    if not isinstance(checkpoint.get("monitor"), str | None):
        raise UserError(
            f"checkpoint.monitor={checkpoint['monitor']!r} is impossible; accepted: null, or a logged value such as "
            "train/diversity_dino."
        )
    if not isinstance(checkpoint.get("save_last", True), bool | None):
        raise UserError(f"checkpoint.save_last={checkpoint['save_last']!r} is impossible; accepted: true or false.")


def check_spread(trainer: dict[str, Any], system: type) -> None:
    """Check that systems of a class can run on several devices.

    Args:
        trainer: section `trainer` of a config with several devices.
        system: class of the system.

    Raises:
        UserError: they cannot.
    """
    if not getattr(system, "spreads_particles", False) and trainer.get("devices") != "auto":
        devices, nodes = trainer.get("devices") or 1, trainer.get("num_nodes") or 1
        raise UserError(
            f"trainer.devices={devices} and trainer.num_nodes={nodes} are impossible: {system.__name__} runs on one "
            "device; accepted: 1."
        )


def check_many(trainer: Any, system: Any) -> None:
    """Check that a system can run in as many processes as a trainer gives.

    Args:
        trainer: Lightning's Trainer.
        system: the system.

    Raises:
        UserError: its particles cannot be spread, or there are too few, or each process would scale its gradients.
    """
    if trainer.world_size == 1:
        return
    check_spread({"devices": trainer.num_devices, "num_nodes": trainer.num_nodes}, type(system))
    if trainer.precision == "16-mixed":
        raise UserError(
            "trainer.precision='16-mixed' is impossible on several devices, whose gradients it would scale "
            "differently; accepted: 32 or bf16-mixed."
        )
    system.check_ranks(trainer.world_size)


def check_manual(trainer: dict[str, Any], system: Any) -> None:
    """Check keys that systems with steps of their own ignore, such as solvers and samplers.

    Raises:
        UserError: one of them is set.
    """
    if not system.automatic_optimization and trainer.get("gradient_clip_val"):
        raise UserError(
            f"trainer.gradient_clip_val={trainer['gradient_clip_val']!r} has no effect on {type(system).__name__}, "
            "which moves its particles itself; accepted: null."
        )


def _check_effect(key: str, value: Any, accepted: tuple[Any, ...], reason: str) -> None:
    if value not in accepted or (isinstance(value, bool) and not any(isinstance(each, bool) for each in accepted)):
        known = " or ".join("null" if each is None else str(each).lower() for each in accepted)
        raise UserError(f"{key}={value!r} has no effect: {reason}; accepted: {known}.")


def _check_integer(key: str, value: Any, least: int) -> None:
    if value is None or (key == "trainer.val_check_interval" and value == 1.0 and isinstance(value, float)):
        return  # 1.0, Lightning's default: never, since the data are endless
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{key}={value!r} is impossible; accepted: an integer of at least {least}.")


def _check_share(key: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or value == 1.0 or (is_number and isinstance(value, int) and value >= 0):
        return
    raise UserError(f"{key}={value!r} is impossible; accepted: a number of batches (views), or 1.0 for all.")


def _check_clipping(trainer: dict[str, Any]) -> None:
    value = trainer.get("gradient_clip_val")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < float("inf")):
        raise UserError(f"trainer.gradient_clip_val={value!r} is impossible; accepted: null or a number of at least 0.")
    if trainer.get("gradient_clip_algorithm") is not None and not value:
        raise UserError("trainer.gradient_clip_algorithm has no effect without trainer.gradient_clip_val.")


def _check_profiler(name: Any) -> None:
    if name not in (None, "simple", "advanced"):
        raise UserError(f"trainer.profiler={name!r} is impossible; accepted: null, simple or advanced.")
    if name is not None:  # its report is a message of Lightning, which are hidden otherwise
        for package in ("pytorch_lightning", "lightning.pytorch"):
            logging.getLogger(f"{package}.profilers").setLevel(logging.INFO)
