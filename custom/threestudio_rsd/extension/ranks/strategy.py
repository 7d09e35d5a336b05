"""`particles`: Lightning strategy of runs whose particles are spread over several processes."""

import re
import sys
from pathlib import Path
from typing import Any

from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import nn
from torch.optim import Optimizer

from ...errors import UserError
from ...particles.ranks import reachable
from .states import merged_optimizer_state, merged_state, own_optimizer_state, own_state

NAME = "particles"  # value of trainer.strategy
TIMESTAMP = re.compile(r"@\d{8}-\d{6}$")  # end of the names of trial folders; threestudio


class _SameFolder(_SubprocessScriptLauncher):
    """Launcher of Lightning that starts the command of threestudio's launch.py again, for the same trial folder.

    Its processes would name their folders by the time at which they start.
    """

    strategy: Any

    def _call_children_scripts(self) -> None:
        folder = Path(getattr(self.strategy.lightning_module, "_save_dir", None) or "").parent.name
        found = TIMESTAMP.search(folder)
        before = list(sys.argv)
        if found:
            sys.argv.append(f"timestamp='{found[0]}'")
        try:
            super()._call_children_scripts()
        finally:
            sys.argv[:] = before


class ParticleStrategy(DDPStrategy):
    """One process for each device, each with particles of its own, see `SpreadParticles`.

    It has the processes and the communication of Lightning's DDPStrategy, but neither averages gradients nor copies
    parameters. Every process evaluates its particles in all views. Checkpoints are those of one process.
    """

    spreads_particles = True

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = _SameFolder(self.cluster_environment, self.num_processes, self.num_nodes)
        self._launcher.strategy = self

    def connect(self, model: Any) -> None:
        """Check the system, and connect to it.

        Raises:
            UserError: it cannot spread its particles.
        """
        if self.num_processes * self.num_nodes > 1 and not getattr(model, "spreads_particles", False):
            raise UserError(f"{type(model).__name__} runs on one device; accepted: trainer.devices=1.")
        super().connect(model)

    def setup_environment(self) -> None:
        with reachable():
            super().setup_environment()

    def setup(self, trainer: Any) -> None:
        self.model_to_device()
        super(DDPStrategy, self).setup(trainer)  # DDPStrategy.setup copies all parameters of rank 0

    def _setup_model(self, model: nn.Module) -> Any:
        return model

    # Lightning 2.0 calls the wrapper of DistributedDataParallel in place of these methods of the system.

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        with self.precision_plugin.train_step_context():
            return self._system.training_step(*args, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        with self.precision_plugin.val_step_context():
            return self._system.validation_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        with self.precision_plugin.test_step_context():
            return self._system.test_step(*args, **kwargs)

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        with self.precision_plugin.predict_step_context():
            return self._system.predict_step(*args, **kwargs)

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Sampler of evaluation data, which gives every view to every process."""
        return {"num_replicas": 1, "rank": 0}

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        with reachable():
            super().barrier(*args, **kwargs)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        with reachable():
            return super().broadcast(obj, src)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        state = super().lightning_module_state_dict()
        return merged_state(state, self._system.shard) if self._is_spread else state

    def load_model_state_dict(self, checkpoint: Any, *args: Any, **kwargs: Any) -> None:
        if self._is_spread:
            checkpoint = {**checkpoint, "state_dict": own_state(checkpoint["state_dict"], self._system.shard)}
        super().load_model_state_dict(checkpoint, *args, **kwargs)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        state = super().optimizer_state(optimizer)
        return merged_optimizer_state(state, self._names(optimizer), self._system.shard) if self._is_spread else state

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        if self._is_spread:
            pairs = zip(self.optimizers, checkpoint["optimizer_states"], strict=True)
            states = [own_optimizer_state(state, self._names(each), self._system.shard) for each, state in pairs]
            checkpoint = {**checkpoint, "optimizer_states": states}
        super().load_optimizer_state_dict(checkpoint)

    @property
    def _system(self) -> Any:
        return self.lightning_module

    @property
    def _is_spread(self) -> bool:
        return self._system is not None and not self._system.shard.is_whole

    def _names(self, optimizer: Optimizer) -> list[list[str]]:
        """Names of the parameters in each group of an optimizer.

        Raises:
            UserError: an optimizer of optimizers, such as that of Gaussians, whose points come and go.
        """
        if hasattr(optimizer, "optimizers"):
            raise UserError("Gaussian splatting runs on one device; accepted: trainer.devices=1.")
        names = {id(each): name for name, each in self._system.named_parameters()}
        return [[names[id(each)] for each in group["params"]] for group in optimizer.param_groups]


StrategyRegistry.register(NAME, ParticleStrategy, description="Particles spread over processes", override=True)
