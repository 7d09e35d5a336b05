"""Base classes of systems: `BaseSystem`, and `BaseLift3DSystem` for what is rendered from camera views."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from ...errors import UserError, one_of
from ...particles.finite_updates import SKIP, STOP, FiniteUpdates
from ..utils.base import Updateable, update_end_if_possible, update_if_possible
from ..utils.config import parse_structured
from ..utils.messages import info
from ..utils.misc import C, cleanup
from ..utils.registry import find
from ..utils.saving import SaverMixin
from ..utils.weights import load_module_weights
from .optimizers import parse_optimizer, parse_scheduler


class BaseSystem(FiniteUpdates, pl.LightningModule, Updateable, SaverMixin):
    """LightningModule that is built from a config.

    Subclasses create what they train in `configure`, because weights are restored and optimizers are made before
    training starts. Each batch starts with `update_step` and ends with `update_step_end` of the data set and of the
    system with its parts.

    Args:
        cfg: values of `Config`; others have their defaults.
        resumed: whether the weights of a checkpoint will be loaded.

    Raises:
        UserError: `cfg` does not fit `Config`.
    """

    @dataclass
    class Config:
        # threestudio's keys and defaults
        loggers: dict = field(default_factory=dict)  # wandb: {enable, project, name}
        loss: dict = field(default_factory=dict)  # lambda_NAME: weight or schedule of the loss NAME
        optimizer: dict = field(default_factory=dict)  # name, args, params, see parse_optimizer
        scheduler: dict | None = None  # name, args, interval, see parse_scheduler; null: constant learning rate
        weights: str | None = None  # checkpoint whose weights are loaded at the start
        weights_ignore_modules: list[str] | None = None  # attributes whose weights are not loaded
        cleanup_after_validation_step: bool = False  # free GPU memory after each validation batch
        cleanup_after_test_step: bool = False  # free GPU memory after each test or export batch
        # ours: where numbers are not finite, stop the run, or skip the update of the particle
        nonfinite: str = STOP

    cfg: Config
    if TYPE_CHECKING:  # Lightning and torch type these more narrowly than systems use them
        trainer: Any
        optimizers: Any

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, cfg: Any = None, resumed: bool = False) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        one_of("system.nonfinite", self.cfg.nonfinite, (STOP, SKIP))
        self._save_dir: str | None = None
        self._resumed = resumed
        self._resumed_eval_status: dict | None = None
        self.create_loggers(self.cfg.loggers)
        self.configure()
        if self.cfg.weights is not None:
            self.load_weights(self.cfg.weights, self.cfg.weights_ignore_modules)
        self.post_configure()

    def configure(self) -> None:
        """For subclasses: create what is trained."""

    def post_configure(self) -> None:
        """For subclasses: build what needs the loaded weights."""

    def load_weights(self, weights: str, ignore_modules: list[str] | None = None) -> None:
        """Load the weights of a checkpoint.

        Args:
            weights: path of the .ckpt file.
            ignore_modules: attributes whose weights are not loaded.

        Raises:
            UserError: the file cannot be read, or its weights are not those of this system.
        """
        state, epoch, global_step = load_module_weights(weights, ignore_modules=ignore_modules, map_location="cpu")
        wanted = self.state_dict()
        ignored = tuple(f"{module}." for module in ignore_modules or ())
        missing = sorted(key for key in wanted.keys() - state.keys() if not key.startswith(ignored))
        unfit = sorted(key for key in state if key not in wanted or state[key].shape != wanted[key].shape)
        for what, keys in (("lacks", missing), ("has another shape of, or does not know,", unfit)):
            if keys:
                raise UserError(
                    f"system.weights={weights!r} does not fit: it {what} {keys[0]} and {len(keys) - 1} more; name the "
                    "attributes that are not to be loaded in system.weights_ignore_modules."
                )
        self.load_state_dict(state, strict=False)
        self.do_update_step(epoch, global_step, on_load_weights=True)

    def set_resume_status(self, current_epoch: int, global_step: int) -> None:
        """Set epoch and step of the loaded checkpoint, which Lightning restores only for training."""
        self._resumed_eval_status = {"current_epoch": current_epoch, "global_step": global_step}

    @property
    def resumed(self) -> bool:
        """Whether the weights of a checkpoint will be loaded."""
        return self._resumed

    @property
    def true_global_step(self) -> int:  # type: ignore[override]
        """Number of finished training steps, those of a loaded checkpoint in evaluation."""
        return self._resumed_eval_status["global_step"] if self._resumed_eval_status else self.global_step

    @property
    def true_current_epoch(self) -> int:
        """Number of finished epochs, those of a loaded checkpoint in evaluation."""
        return self._resumed_eval_status["current_epoch"] if self._resumed_eval_status else self.current_epoch

    def C(self, value: Any) -> float:  # noqa: N802 threestudio's name
        """Value of a schedule at the present step."""
        return C(value, self.true_current_epoch, self.true_global_step)

    def configure_optimizers(self) -> Any:
        optimizer = parse_optimizer(self.cfg.optimizer, self)
        if self.cfg.scheduler is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": parse_scheduler(self.cfg.scheduler, optimizer)}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        raise NotImplementedError

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        raise NotImplementedError

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        raise NotImplementedError

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        raise NotImplementedError

    def preprocess_data(self, batch: Any, stage: str) -> None:
        """For subclasses: change a batch in place.

        Args:
            batch: batch of the data module.
            stage: `train`, `validation`, `test` or `predict`.
        """

    def on_train_batch_start(self, batch: Any, batch_idx: int, unused: int = 0) -> None:
        self._start(batch, "train", self.trainer.train_dataloader)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._start(batch, "validation", self.trainer.val_dataloaders)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._start(batch, "test", self.trainer.test_dataloaders)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._start(batch, "predict", self.trainer.predict_dataloaders)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end(self.trainer.train_dataloader)

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._end(self.trainer.val_dataloaders, self.cfg.cleanup_after_validation_step)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._end(self.trainer.test_dataloaders, self.cfg.cleanup_after_test_step)

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._end(self.trainer.predict_dataloaders, self.cfg.cleanup_after_test_step)

    def _start(self, batch: Any, stage: str, loader: Any) -> None:
        self.preprocess_data(batch, stage)
        self.dataset = loader.dataset
        update_if_possible(self.dataset, self.true_current_epoch, self.true_global_step)
        self.do_update_step(self.true_current_epoch, self.true_global_step)

    def _end(self, loader: Any, free_memory: bool = False) -> None:
        self.dataset = loader.dataset
        update_end_if_possible(self.dataset, self.true_current_epoch, self.true_global_step)
        self.do_update_step_end(self.true_current_epoch, self.true_global_step)
        if free_memory:
            cleanup()


class BaseLift3DSystem(BaseSystem):
    """System with geometry, material, background and renderer. Subclasses add prompt processor and guidance."""

    @dataclass
    class Config(BaseSystem.Config):
        geometry_type: str = ""  # registered name; threestudio
        geometry: dict = field(default_factory=dict)  # config of that module
        # conversion of another checkpoint's geometry; accepted for threestudio's configs, without effect here
        geometry_convert_from: str | None = None
        geometry_convert_inherit_texture: bool = False  # no effect, as the key above
        geometry_convert_override: dict = field(default_factory=dict)  # no effect, as the key above

        material_type: str = ""  # registered name; threestudio
        material: dict = field(default_factory=dict)  # config of that module

        background_type: str = ""  # registered name; threestudio
        background: dict = field(default_factory=dict)  # config of that module

        renderer_type: str = ""  # registered name; threestudio
        renderer: dict = field(default_factory=dict)  # config of that module

        guidance_type: str = ""  # registered name; threestudio
        guidance: dict = field(default_factory=dict)  # config of that module

        prompt_processor_type: str = ""  # registered name; threestudio
        prompt_processor: dict = field(default_factory=dict)  # config of that module

        exporter_type: str = "mesh-exporter"  # registered name; threestudio
        exporter: dict = field(default_factory=dict)  # config of that module

    cfg: Config

    def configure(self) -> None:
        self.geometry = find(self.cfg.geometry_type)(self.cfg.geometry)
        self.material = find(self.cfg.material_type)(self.cfg.material)
        self.background = find(self.cfg.background_type)(self.cfg.background)
        self.renderer = find(self.cfg.renderer_type)(
            self.cfg.renderer, geometry=self.geometry, material=self.material, background=self.background
        )

    def on_test_end(self) -> None:
        info(f"Test results are in {self.get_save_dir()}")

    def on_predict_start(self) -> None:
        self.exporter = find(self.cfg.exporter_type)(
            self.cfg.exporter, geometry=self.geometry, material=self.material, background=self.background
        )

    def predict_step(self, batch: Any, batch_idx: int) -> None:
        if self.exporter.cfg.save_video:
            self.test_step(batch, batch_idx)

    def on_predict_epoch_end(self) -> None:
        if self.exporter.cfg.save_video:
            self.on_test_epoch_end()
        for output in self.exporter():
            save = getattr(self, f"save_{output.save_type}")
            save(f"it{self.true_global_step}-export/{output.save_name}", **output.params)

    def on_predict_end(self) -> None:
        info(f"Exported files are in {self.get_save_dir()}")
