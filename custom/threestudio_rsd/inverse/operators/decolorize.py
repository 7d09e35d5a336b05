"""Colorization: the luma of an image."""

from deepinv import physics


class Decolorize(physics.Decolorize):
    """Images (M, 3, H, W) -> luma (M, 1, H, W).

    Replaces the proximal map of deepinv 0.5's `Decolorize`, which drops the colors of z, by the general one.
    """

    prox_l2 = physics.LinearPhysics.prox_l2
