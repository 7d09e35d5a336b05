"""One batched call for several modules of the same architecture."""

import pytest
import torch
from threestudio_rsd.particles.stacked import call_stacked, have_one_architecture
from torch import nn


class Scaled(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(3, width)
        self.register_buffer("offset", torch.randn(width))

    def shifted(self, x, factor=1.0):
        return {"value": factor * self.layer(x).tanh() + self.offset}


def test_one_call_equals_a_loop_with_gradients():
    modules = [Scaled() for _ in range(3)]
    x = torch.randn(3, 5, 3)
    stacked = call_stacked(modules, "shifted", x, factor=2.0)["value"]
    loop = torch.stack([module.shifted(part, factor=2.0)["value"] for module, part in zip(modules, x, strict=True)])
    torch.testing.assert_close(stacked, loop)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    weights = torch.randn_like(loop)
    for one, other in zip(
        torch.autograd.grad((stacked * weights).sum(), parameters),
        torch.autograd.grad((loop * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("other", "alike"), [(Scaled(), True), (Scaled(5), False), (nn.Linear(3, 4), False)])
def test_modules_of_the_same_architecture_are_recognized(other, alike):
    assert have_one_architecture([Scaled(), other]) == alike
