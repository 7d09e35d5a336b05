"""Activation functions: values, gradients, and unknown names."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.models.networks.activations import ACTIVATIONS, get_activation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients_are_finite_in_the_usual_range(name):
    x = torch.linspace(-12, 12, 49, requires_grad=True)
    y = get_activation(name)(x)
    y.sum().backward()
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", [None, "none", "None"])
def test_no_activation(name):
    x = torch.randn(5)
    assert torch.equal(get_activation(name)(x), x)


def test_scale_from_signed_to_unit():
    assert get_activation("scale_-11_01")(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]


def test_lin2srgb_joins_its_pieces():
    edge = 0.0031308
    below, above = get_activation("lin2srgb")(torch.tensor([edge, edge + 1e-6]))
    assert abs(below - above) < 1e-4
    assert get_activation("lin2srgb")(torch.tensor([2.0])).item() == 1


def test_trunc_exp_is_exp_with_a_bounded_gradient():
    x = torch.tensor([-3.0, 2.0, 14.9, 20.0], dtype=torch.float64, requires_grad=True)
    y = get_activation("trunc_exp")(x)
    y.sum().backward()
    assert torch.allclose(y, x.exp())
    assert torch.allclose(x.grad, x.detach().clamp(max=15).exp())


def test_unknown_name():
    with pytest.raises(UserError, match="color_activation='sigmoidal' is unknown; accepted: none, exp"):
        get_activation("sigmoidal", "color_activation")
