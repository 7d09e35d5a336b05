"""Decolorize of deepinv with a proximal map that holds."""

from deepinv import physics


class Decolorize(physics.Decolorize):
    """Images (M, 3, H, W) to their luma (M, 1, H, W); deepinv 0.5's own `prox_l2` drops the colors of z."""

    prox_l2 = physics.LinearPhysics.prox_l2
