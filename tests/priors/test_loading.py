"""Pipelines that do not fit the prior, or themselves, are refused with a sentence, or read as diffusers reads them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import StableDiffusionPrior, embed_prompts, load_prior

from tests.library_versions import needs_add_adapter, needs_tiny_autoencoder
from tests.tiny_models import tiny_stable_diffusion

from .broken_pipelines import WEIGHTS, copy_bundled, edit_json, edit_weights, zero_terminal_snr

SCHEDULER = "scheduler/scheduler_config.json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return copy_bundled(tmp_path / "model")


def problem(model: Path, **options: object) -> str:
    """Message of the error with which a model is refused."""
    with pytest.raises(UserError) as error:
        load_prior(str(model), **options)
    message = str(error.value)
    assert str(model) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_missing_and_unexpected_weights_are_named(model: Path, part: str) -> None:
    edit_weights(
        model,
        part,
        lambda weights: (
            {key: value for key, value in weights.items() if key != "conv_out.bias" and key != "decoder.conv_out.bias"}
            | {"extra.weight": torch.zeros(1)}
        ),
    )
    message = problem(model)
    assert f"its {part} do not fit its config (missing" in message
    assert "conv_out.bias" in message
    assert "unexpected extra.weight" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(model: Path, value: float) -> None:
    edit_weights(model, "vae", lambda weights: weights | {"decoder.conv_out.bias": torch.tensor([0.0, value, 0.0])})
    assert "its vae are not finite (decoder.conv_out.bias)" in problem(model)


def test_weights_that_overflow_in_half_precision_are_named(model: Path) -> None:
    edit_weights(model, "unet", lambda weights: weights | {"conv_out.bias": torch.full((4,), 1e5)})
    assert "half_precision_weights=false" in problem(model, torch_dtype=torch.float16)
    load_prior(str(model))


def test_a_vae_with_force_upcast_stays_in_single_precision(model: Path) -> None:
    edit_json(model / "vae/config.json", force_upcast=False)
    assert load_prior(str(model), torch_dtype=torch.float16).vae.dtype == torch.float16
    edit_json(model / "vae/config.json", force_upcast=True)
    prior = load_prior(str(model), torch_dtype=torch.float16)
    assert prior.vae.dtype == torch.float32
    assert prior.dtype == torch.float16
    images = prior.decode(prior.encode(torch.rand(1, 3, 64, 64)))
    assert images.dtype == torch.float32
    assert load_prior(str(model), torch_dtype=torch.bfloat16).vae.dtype == torch.bfloat16


@needs_add_adapter
def test_a_lora_that_is_not_fused_is_explained(model: Path) -> None:
    from peft import LoraConfig

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k"]))
    shutil.rmtree(model / "unet")
    unet.save_pretrained(model / "unet")
    assert "its unet holds a LoRA that is not fused" in problem(model)
    assert "fuse_lora" in problem(model)


def test_lora_weights_beside_whole_ones_are_explained(model: Path) -> None:
    edit_weights(model, "unet", lambda weights: weights | {"down.to_q.lora_A.weight": torch.zeros(1)})
    assert "LoRA" in problem(model)


def test_an_adapter_beside_the_weights_is_explained(model: Path) -> None:
    (model / "text_encoder/adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="its text_encoder holds a LoRA that is not fused"):
        embed_prompts(["a mushroom"], str(model), use_cache=False)


@needs_tiny_autoencoder
def test_parts_of_another_class_are_named(model: Path) -> None:
    from diffusers import AutoencoderTiny

    shutil.rmtree(model / "vae")
    widths = {"encoder_block_out_channels": (64,) * 3, "decoder_block_out_channels": (64,) * 3}
    AutoencoderTiny(**widths, num_encoder_blocks=(1, 3, 3), num_decoder_blocks=(3, 3, 1)).save_pretrained(model / "vae")
    expected = "its vae is of class AutoencoderTiny; accepted: AutoencoderKL"
    assert expected in problem(model)  # by its own config
    edit_json(model / "model_index.json", vae=["diffusers", "AutoencoderTiny"])
    assert expected in problem(model)
    edit_json(model / "model_index.json", vae=["my_library", "MyAutoencoder"])
    assert "its vae is of class my_library.MyAutoencoder; accepted: a class of diffusers" in problem(model)


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler", "LCMScheduler"])
def test_schedulers_without_a_table_of_noise_levels_are_refused(model: Path, name: str) -> None:
    (model / SCHEDULER).write_text(json.dumps({"_class_name": name, "num_train_timesteps": 1000}))
    assert f"its scheduler is of class {name}; accepted: DDIMScheduler" in problem(model)
    edit_json(model / SCHEDULER, _class_name="DDIMScheduler")
    edit_json(model / "model_index.json", scheduler=["diffusers", name])
    assert f"its scheduler is of class {name}" in problem(model)


def test_impossible_schedulers_are_refused(model: Path) -> None:
    whole = (model / SCHEDULER).read_text()
    for changes, expected in (
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas=true"),
        ({"prediction_type": "flow"}, "prediction_type='flow'; accepted: epsilon"),
        ({"trained_betas": [0.1, float("nan")]}, "noise levels of its scheduler are impossible"),
        ({"trained_betas": [0.5, -0.5]}, "noise levels of its scheduler are impossible"),
        ({"num_train_timesteps": "many"}, "its scheduler cannot be loaded as"),
        ({"beta_schedule": "unknown"}, "its scheduler cannot be loaded as"),
    ):
        (model / SCHEDULER).write_text(whole)
        edit_json(model / SCHEDULER, **changes)
        if "_class_name" in changes:
            edit_json(model / "model_index.json", scheduler=["diffusers", changes["_class_name"]])
        assert expected in problem(model)
        shutil.copy(Path(__file__).parents[2] / "load/toyworld/text-to-image/model_index.json", model)
    (model / SCHEDULER).write_text("[1]")
    assert "scheduler_config.json holds no JSON object" in problem(model)
    (model / SCHEDULER).unlink()
    assert "its scheduler/scheduler_config.json cannot be loaded" in problem(model)


def test_the_schedulers_own_class_gives_the_noise_levels(model: Path) -> None:
    """With zero terminal SNR, DDIM ends in alpha_T = 0 and Euler in a small number."""
    edit_json(model / SCHEDULER, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert load_prior(str(model)).alpha(999) == 0
    edit_json(model / SCHEDULER, _class_name="EulerDiscreteScheduler")
    edit_json(model / "model_index.json", scheduler=["diffusers", "EulerDiscreteScheduler"])
    prior, euler = load_prior(str(model)), EulerDiscreteScheduler.from_pretrained(model / "scheduler")
    assert prior.alpha(999) > 0
    assert torch.equal(prior.alphas_cumprod, euler.alphas_cumprod.float())
    assert prior.last_timestep == 999


@pytest.mark.parametrize(
    ("version", "size", "expected"), [("0.6.0", 8, 64), ("0.9.0", 8, 8), ("0.6.0", 96, 96), (None, 8, 8)]
)
def test_old_sample_sizes_are_those_of_diffusers_pipeline(
    model: Path, version: str | None, size: int, expected: int
) -> None:
    if version is None:
        edit_json(model / "unet/config.json", remove=("_diffusers_version",), sample_size=size)
    else:
        edit_json(model / "unet/config.json", _diffusers_version=version, sample_size=size)
    prior = load_prior(str(model))
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    assert prior.latent_shape == (4, expected, expected)
    assert pipeline.unet.config.sample_size == expected
    assert prior.image_size == expected * pipeline.vae_scale_factor


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, "sample_size=None; set it"), ([16, 24], "a rectangle"), ("16", "set it"), (0, "set it"), ([16], "set it")],
)
def test_missing_and_rectangular_sizes_are_explained(model: Path, size: object, expected: str) -> None:
    edit_json(model / "unet/config.json", sample_size=size)
    assert expected in problem(model)


def test_a_square_given_by_both_sides_is_accepted(model: Path) -> None:
    edit_json(model / "unet/config.json", sample_size=[16, 16])
    assert load_prior(str(model)).latent_shape == (4, 16, 16)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"time_cond_proj_dim": 8}, "its unet has time_cond_proj_dim=8"),  # a distilled model (LCM)
        ({"num_class_embeds": 10}, "its unet has num_class_embeds=10"),
        ({"in_channels": 9}, "its unet takes 9 channels"),  # inpainting
    ],
)
def test_networks_with_other_inputs_are_refused(tmp_path: Path, changes: dict, expected: str) -> None:
    model = Path(tiny_stable_diffusion(tmp_path))
    config = {**UNet2DConditionModel.load_config(model / "unet"), **changes}
    UNet2DConditionModel.from_config(config).save_pretrained(model / "unet", safe_serialization=True)
    assert expected in problem(model)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_an_impossible_scale_of_the_latents_is_refused(model: Path, value: float) -> None:
    edit_json(model / "vae/config.json", scaling_factor=value)
    assert "scaling_factor of its vae/config.json" in problem(model)


def test_embeddings_of_another_model_are_explained(bundled: StableDiffusionPrior) -> None:
    with pytest.raises(UserError, match=r"width 64 do not fit .*'bundled', which takes 128"):
        bundled.raw_predict(torch.randn(1, 4, 16, 16), 500, torch.zeros(1, 16, 64))


def rename_weights(model: Path, variant: str, keep: bool = False) -> None:
    for part, name in WEIGHTS.items():
        file = model / part / name
        target = file.with_name(name.replace(".safetensors", f".{variant}.safetensors"))
        shutil.copy(file, target) if keep else file.rename(target)


def test_the_only_variant_of_the_weights_is_read(model: Path, bundled: StableDiffusionPrior) -> None:
    rename_weights(model, "fp16")
    prior = load_prior(str(model))
    x_t = torch.randn(1, 4, 16, 16)
    expected = bundled.predict_noise(x_t, 500, bundled.embed("a mushroom"))
    torch.testing.assert_close(prior.predict_noise(x_t, 500, prior.embed("a mushroom")), expected)


def test_several_variants_need_the_key_variant(model: Path) -> None:
    rename_weights(model, "fp16", keep=True)
    rename_weights(model, "non_ema")
    message = problem(model)
    assert "diffusion_pytorch_model.fp16.safetensors, diffusion_pytorch_model.non_ema.safetensors" in message
    assert "set the key `variant` to one of fp16, non_ema" in message
    prior = load_prior(str(model), variant="fp16")
    assert prior.embed("a mushroom").conditional.shape == (1, 16, 128)
    assert "set the key `variant`" in problem(model, variant="bf16")


def test_a_part_without_weights_names_its_files(model: Path) -> None:
    (model / "unet" / WEIGHTS["unet"]).rename(model / "unet" / "pytorch_lora_weights.safetensors")
    assert "its folder 'unet' holds no weights (config.json, pytorch_lora_weights.safetensors)" in problem(model)
    shutil.rmtree(model / "vae")
    assert "its vae/config.json cannot be loaded" in problem(copy_without(model))


def copy_without(model: Path) -> Path:
    """Restore the U-Net of a model without VAE."""
    shutil.rmtree(model / "unet")
    shutil.copytree(Path(__file__).parents[2] / "load/toyworld/text-to-image/unet", model / "unet")
    return model


def test_single_files_are_explained(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.ckpt"):
        (tmp_path / name).write_bytes(b"x" * 100)
        assert "from_single_file(FILE).save_pretrained(FOLDER)" in problem(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert "is a file; accepted: bundled" in problem(tmp_path / "notes.txt")


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    copy_bundled(tmp_path / "models")
    assert load_prior("~/models").latent_shape == (4, 16, 16)
    assert embed_prompts(["a mushroom"], "~/models").shape == (1, 16, 128)


@pytest.mark.parametrize(
    "name", ["~/nothing", "./nothing", "/no/such/folder", "~nobody/x", "a/b/c", "x" * 5000, "a\0b"]
)
def test_paths_that_do_not_exist_are_called_that(name: str) -> None:
    with pytest.raises(UserError, match="does not exist; accepted: bundled"):
        load_prior(name)


def test_a_zero_terminal_snr_ends_before_pure_noise(tmp_path: Path) -> None:
    prior = load_prior(zero_terminal_snr(tmp_path / "model"))
    assert prior.alpha(999) == 0
    assert prior.last_timestep == 998
    assert prior.alpha(998) > 0
