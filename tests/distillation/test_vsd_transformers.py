"""VSD with LoRA on transformers: Stable Diffusion 3 and FLUX."""

import pytest
import torch
from threestudio_rsd.distillation import VSD
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import load_prior

from tests.tiny_families import tiny_pipeline


@pytest.mark.parametrize("family", ["stable-diffusion-3", "flux"])
def test_adapters_start_as_the_prior_learn_and_stay_out_of_it(family: str) -> None:
    prior = load_prior(tiny_pipeline(family), image_size=32)
    embedding = prior.embed("a mushroom")
    x = torch.randn(2, *prior.latent_shape)
    before = prior.predict_noise(x, 500, embedding, 3.0)
    conditional = prior.predict_noise(x, 500, embedding, 1.0)
    vsd = VSD(prior, network="lora", lora_rank=2, camera_condition=True)
    cameras = torch.randn(2, 16)
    assert torch.allclose(vsd.predict_noise(x, 500, embedding, cameras), conditional, atol=1e-6)
    names = {name.split("/lora_")[0].rpartition("/")[2] for name in vsd.lora}
    assert names >= {"to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"}
    optimizer = torch.optim.Adam(vsd.parameters(), 0.03)
    t, noise = torch.tensor([300, 600]), torch.randn_like(x)
    losses = []
    for _ in range(8):
        loss = vsd.loss(x, t, noise, embedding, cameras)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(prior.predict_noise(x, 500, embedding, 3.0), before)
    assert not any("lora" not in name and weight.grad is not None for name, weight in prior.named_parameters())
    with pytest.raises(UserError, match="has a LoRA already; fuse that first"):
        VSD(prior)
