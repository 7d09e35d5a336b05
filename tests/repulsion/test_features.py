"""Feature networks are frozen, and preprocess images as in their training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from threestudio_rsd.errors import UserError
from threestudio_rsd.files import data_path
from threestudio_rsd.repulsion import load_features
from threestudio_rsd.repulsion.features import VITS
from transformers import ViTModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES


def test_bundled_dino_is_the_class_token_of_the_normalized_image() -> None:
    images = torch.rand(2, 3, 64, 64)
    network = ViTModel.from_pretrained(data_path("load/toyworld/dino"), add_pooling_layer=False).float().eval()
    with torch.no_grad():
        expected = network(pixel_values=images * 2 - 1).last_hidden_state[:, 0]
        torch.testing.assert_close(load_features("dino", bundled=True)(images), expected)


def test_gradients_reach_the_images_only_at_any_image_size() -> None:
    network = load_features("clip", bundled=True)
    images = torch.rand(2, 3, 48, 80, requires_grad=True)
    network.train()
    features = network(images)
    assert not any(module.training for module in network.modules())
    features.sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_features_can_be_a_folder_or_a_callable() -> None:
    images = torch.rand(2, 3, 64, 64)
    by_folder = load_features(str(data_path("load/toyworld/dino")))(images)
    torch.testing.assert_close(by_folder, load_features("dino", bundled=True)(images))
    assert load_features(len) is len


@pytest.fixture
def dino(tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_path("load/toyworld/dino"), tmp_path / "dino"))


def problem(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_features(str(folder))
    assert f"features={str(folder)!r}" in str(error.value)
    return str(error.value)


def save_tiny(folder: Path, model_type: str) -> Path:
    """Save a tiny network of a model type of transformers, with random weights."""
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = AutoConfig.for_model(model_type, image_size=32, patch_size=8, num_channels=3, **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", ["convnext", "swin", "siglip_vision_model", "vit_mae"])
def test_networks_without_a_class_token_are_refused(tmp_path: Path, model_type: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert f"its model_type is {model_type!r}; accepted: vit" in problem(tmp_path)


@pytest.mark.parametrize("model_type", [name for name in VITS if name in CONFIG_MAPPING_NAMES])
def test_accepted_networks_give_the_class_token(tmp_path: Path, model_type: str) -> None:
    network = load_features(str(save_tiny(tmp_path, model_type)))
    images = torch.rand(2, 3, 32, 32)
    features = network(images)
    assert features.shape == (2, 8)
    assert torch.equal(features, network(images))


def test_dino_with_missing_layers_is_refused(dino: Path) -> None:
    weights = load_file(dino / "model.safetensors")
    (dino / "model.safetensors").unlink()
    kept = {key: value for key, value in weights.items() if "layer.1." not in key and "layers.1." not in key}
    assert len(kept) < len(weights)
    save_file(kept, dino / "model.safetensors", metadata={"format": "pt"})
    assert "the weights of the network do not fit its config (missing" in problem(dino)


def test_heads_of_other_tasks_are_left_out(dino: Path) -> None:
    from transformers import ViTForImageClassification

    expected = load_features(str(dino))
    ViTForImageClassification.from_pretrained(dino).save_pretrained(dino / "classifier")
    images = torch.rand(1, 3, 64, 64)
    shutil.copy(dino / "preprocessor_config.json", dino / "classifier")
    torch.testing.assert_close(load_features(str(dino / "classifier"))(images), expected(images))


def test_values_of_the_preprocessor_are_checked(dino: Path) -> None:
    file = dino / "preprocessor_config.json"
    whole = json.loads(file.read_text())
    for changes in ({"image_mean": 0.5}, {"image_std": [0, 1, 1]}, {"image_mean": [0.5]}, {"image_std": "x"}):
        file.write_text(json.dumps({**whole, **changes}))
        assert "accepted: three numbers each" in problem(dino)
    file.write_text("{")
    assert "its preprocessor_config.json cannot be loaded" in problem(dino)


def test_without_normalization_images_are_taken_as_they_are(dino: Path) -> None:
    file = dino / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_normalize": False}))
    network = load_features(str(dino))
    assert torch.equal(network.mean.flatten(), torch.zeros(3))
    assert torch.equal(network.std.flatten(), torch.ones(3))


def test_grey_networks_are_refused_and_rectangles_accepted(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    ViTModel(ViTConfig(image_size=32, patch_size=8, num_channels=1, **sizes)).save_pretrained(tmp_path / "grey")
    assert "num_channels=1; accepted: 3" in problem(tmp_path / "grey")
    ViTModel(ViTConfig(image_size=(32, 16), patch_size=8, **sizes)).save_pretrained(tmp_path / "rectangle")
    assert load_features(str(tmp_path / "rectangle"))(torch.rand(2, 3, 64, 64)).shape == (2, 8)


def test_the_home_folder_is_expanded(dino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(dino.parent))
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(load_features("~/dino")(images), load_features(str(dino))(images))


@pytest.mark.parametrize("name", ["~/nothing", "/no/such/folder", "a/b/c", "x/" * 3000, "a/b\0c"])
def test_paths_that_do_not_exist_are_called_that(name: str) -> None:
    with pytest.raises(UserError, match="does not exist; accepted: dino"):
        load_features(name)


def test_a_network_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(UserError, match=r"features='dino': facebook/dino-vits16 cannot be loaded .*HF_HUB_OFFLINE"):
        load_features("dino")
    with pytest.raises(UserError, match="features='nobody/nothing': there is no such folder, and it cannot"):
        load_features("nobody/nothing")
