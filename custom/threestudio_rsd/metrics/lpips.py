"""Loading of the LPIPS network, used as a repulsion feature and as a metric of reconstructions."""

import warnings
from typing import Any

import torch

from ..errors import UserError, first_line, require


def load_lpips(device: torch.device | str = "cpu") -> Any:
    """The network of LPIPS (Zhang et al., 2018) with AlexNet.

    Raises:
        UserError: the library `lpips` or AlexNet's weights are missing; says how to get them.
    """
    lpips = require("lpips", "lpips")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library calls torchvision in an old way
            network = lpips.LPIPS(net="alex", verbose=False)
    except OSError as error:
        raise UserError(
            f"AlexNet's weights for LPIPS cannot be loaded ({first_line(error)}); run once where "
            "download.pytorch.org can be reached, or put alexnet-owt-7be5be79.pth into "
            f"{torch.hub.get_dir()}/checkpoints."
        ) from error
    return network.requires_grad_(False).eval().to(device)
