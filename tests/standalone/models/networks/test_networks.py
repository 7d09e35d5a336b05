"""MLPs: formula, names of the weights, precision, stacking, and errors."""

import pytest
import torch
from omegaconf import OmegaConf
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.models.networks import get_mlp
from torch.func import functional_call, stack_module_state, vmap

MLP = {"otype": "VanillaMLP", "activation": "ReLU", "output_activation": "none", "n_neurons": 8, "n_hidden_layers": 2}


def test_weights_have_threestudios_names():
    state = get_mlp(3, 5, OmegaConf.create(MLP)).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {"layers.0.weight": (8, 3), "layers.2.weight": (8, 8), "layers.4.weight": (5, 8)}


def test_is_its_formula():
    mlp = get_mlp(3, 5, {**MLP, "output_activation": "Sigmoid"})
    x = torch.randn(2, 4, 3)
    first, second, last = mlp.state_dict().values()
    expected = ((x @ first.T).relu() @ second.T).relu() @ last.T
    assert torch.allclose(mlp(x), expected.sigmoid(), atol=1e-6)


@pytest.mark.parametrize("otype", ["FullyFusedMLP", "CutlassMLP"])
def test_tiny_cuda_nns_networks_are_the_same_function(otype):
    torch.manual_seed(1)
    mlp = get_mlp(3, 5, MLP)
    torch.manual_seed(1)
    same = get_mlp(3, 5, {**MLP, "otype": otype})
    x = torch.randn(4, 3)
    assert torch.equal(mlp(x), same(x))


def test_single_precision_under_autocast():
    mlp = get_mlp(3, 1, MLP)
    with torch.autocast("cpu", torch.bfloat16):
        y = mlp(torch.full((1, 3), 1e3, dtype=torch.bfloat16))
    assert y.dtype == torch.float32


def test_stacked_networks_equal_a_loop():
    mlps = [get_mlp(3, 5, MLP) for _ in range(3)]
    x = torch.randn(3, 7, 3)
    parameters, _buffers = stack_module_state(mlps)
    stacked = vmap(lambda p, x: functional_call(mlps[0], p, (x,)))(parameters, x)
    assert torch.allclose(stacked, torch.stack([mlp(x[i]) for i, mlp in enumerate(mlps)]), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**MLP, "otype": "SphereInitVanillaMLP"}, "otype='SphereInitVanillaMLP' is unknown; accepted: VanillaMLP"),
        ({**MLP, "n_neurons": 0}, "n_neurons=0 is impossible; accepted: an integer of at least 1"),
        ({**MLP, "n_neurons": 99999999999999}, "n_neurons=99999999999999 needs at least"),
        ({**MLP, "n_hidden_layers": 99999999999999}, "n_hidden_layers=99999999999999 is impossible"),
        ({**MLP, "activation": "Swish"}, "activation='swish' is unknown; accepted: none"),
        ({**MLP, "output_activation": "Swish"}, "output_activation='swish' is unknown"),
        ({**MLP, "bias": True}, "bias=True is an unknown key; accepted: otype, activation"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(UserError, match=message):
        get_mlp(3, 5, config)
