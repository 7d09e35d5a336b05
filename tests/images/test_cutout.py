"""Cutting objects out of an even background."""

import torch
from threestudio_rsd.images.cutout import cut_out, find_object


def scene() -> torch.Tensor:
    """A red square of 12 pixels with a white hole, off the center of a slightly noisy white image."""
    image = torch.ones(3, 40, 48) - 0.04 * torch.rand(3, 40, 48)
    image[:, 4:16, 30:42] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    image[:, 8:12, 34:38] = 1.0
    return image


def test_the_object_is_what_the_background_does_not_reach() -> None:
    expected = torch.zeros(40, 48, dtype=torch.bool)
    expected[4:16, 30:42] = True  # with its hole, which is white but enclosed
    assert torch.equal(find_object(scene()), expected)


def test_images_without_an_even_background_are_left() -> None:
    assert find_object(torch.rand(3, 32, 32)) is None
    assert find_object(torch.ones(3, 32, 32)) is None  # nothing but background


def test_a_cutout_is_centered_and_keeps_its_colors_to_the_edge() -> None:
    image = scene()
    cut = cut_out(image, find_object(image), 90, margin=0.1)
    opaque = cut[3] > 0.5
    rows, columns = opaque.any(1).nonzero(), opaque.any(0).nonzero()
    assert int(rows[0]) == 9  # a margin of a tenth
    assert abs(int(rows[0]) - (89 - int(rows[-1]))) <= 1
    assert abs(int(columns[0]) - (89 - int(columns[-1]))) <= 1
    edge = (cut[3] > 0.01) & (cut[3] < 0.99)
    assert torch.allclose(cut[:3, edge], torch.tensor([[0.8], [0.1], [0.1]]).expand(3, int(edge.sum())), atol=0.02)
