"""`dreamfusion-system`: threestudio's system for one 3D scene by score distillation."""

from typing import Any

from torch import Tensor

from ...host import BaseLift3DSystem, find, register
from ..prompt_embedding import check_view_prompts
from ..systems.render_losses import total_loss
from ..systems.view_saver import view_cells

FRAMES_PER_SECOND = 30  # frame rate of the turntable video; threestudio


@register("dreamfusion-system")
class DreamFusionSystem(BaseLift3DSystem):
    """DreamFusion (Poole et al., 2022); `loss.lambda_NAME` weights sds, orient, sparsity, opaque and z_variance.

    Raises:
        UserError: a loss of the guidance has no weight, or a loss needs an output that the renderer does not have.
    """

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.prepare_training()

    def prepare_training(self) -> None:
        """Build what only training needs; the launcher calls it before it writes anything."""
        if hasattr(self, "guidance"):
            return
        check_view_prompts(self.cfg.prompt_processor, self.cfg.guidance)
        self.prompt_processor = find(self.cfg.prompt_processor_type)(self.cfg.prompt_processor)
        self.guidance = find(self.cfg.guidance_type)(self.cfg.guidance)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Render a batch of views."""
        return self.renderer(**batch)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        out = self(batch)
        guided = self.guidance(out["comp_rgb"], self.prompt_processor(), **batch, rgb_as_latents=False)
        for name, value in self.cfg.loss.items():
            self.log(f"train_params/{name}", self.C(value))
        return {"loss": total_loss(self, guided, out)}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._save_view("", batch, "validation_step")

    def on_validation_epoch_end(self) -> None:
        pass

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._save_view("test/", batch, "test_step")

    def on_test_epoch_end(self) -> None:
        step = self.true_global_step
        frames = f"it{step}-test"
        self.save_img_sequence(
            frames, frames, r"(\d+)\.png", save_format="mp4", fps=FRAMES_PER_SECOND, name="test", step=step
        )

    def _save_view(self, folder: str, batch: dict[str, Any], name: str) -> None:
        step = self.true_global_step
        path = f"it{step}-{folder}{int(batch['index'][0])}.png"
        self.save_image_grid(path, view_cells(self(batch)), name=name, step=step)
