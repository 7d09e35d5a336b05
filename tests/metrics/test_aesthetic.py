"""Loading of the aesthetic head as a single linear layer."""

import itertools

import pytest
import torch
from safetensors.torch import save_file
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics.aesthetic import aesthetic_score, load_aesthetic_head
from torch import nn


def test_layers_with_dropout_are_merged_into_one(tmp_path) -> None:
    sizes = (6, 5, 4, 3, 2, 1)
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(sizes):
        layers += [nn.Linear(wide, narrow), nn.Dropout(0.2)]
    network = nn.Sequential(*layers).eval()
    weights = {f"layers.{key}": value for key, value in network.state_dict().items()}
    torch.save(weights, tmp_path / "head.pth")
    save_file(weights, tmp_path / "head.safetensors")
    embeddings = torch.randn(3, 6)
    expected = network(embeddings / embeddings.norm(dim=1, keepdim=True)).flatten()
    for name in ("head.pth", "head.safetensors"):
        torch.testing.assert_close(aesthetic_score(embeddings, load_aesthetic_head(str(tmp_path / name))), expected)


def test_version_1_is_loaded(tmp_path) -> None:
    torch.save(nn.Linear(4, 1).state_dict(), tmp_path / "head.pth")
    head = load_aesthetic_head(str(tmp_path / "head.pth"))
    with pytest.raises(UserError, match="takes 4 features, not 5"):
        aesthetic_score(torch.randn(2, 5), head)


@pytest.mark.parametrize("content", [{"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, {}, [1], nn.Linear])
def test_other_weights_raise_user_error(content, tmp_path) -> None:
    torch.save(content, tmp_path / "head.pth")
    with pytest.raises(UserError, match="holds no aesthetic head"):
        load_aesthetic_head(str(tmp_path / "head.pth"))


def test_weights_that_are_not_finite_raise_user_error(tmp_path) -> None:
    weights = {"weight": torch.full((1, 4), float("nan")), "bias": torch.zeros(1)}
    torch.save(weights, tmp_path / "head.pth")
    with pytest.raises(UserError, match="its weights are not finite"):
        load_aesthetic_head(str(tmp_path / "head.pth"))


@pytest.mark.parametrize("source", ["nowhere.pth", "nobody/nothing/head.pth"])
def test_missing_head_raises_user_error_with_instructions(source) -> None:
    with pytest.raises(UserError, match=f"{source}.*improved-aesthetic-predictor.*--aesthetic"):
        load_aesthetic_head(source)
