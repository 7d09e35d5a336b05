"""Feature networks are frozen, and preprocess images as in their training."""

import torch
from threestudio_rsd.files import data_path
from threestudio_rsd.repulsion import load_features
from transformers import ViTModel


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
