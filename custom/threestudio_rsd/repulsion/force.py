"""The repulsive force of an ensemble (eqs. 8 and 15, with the sign that repels; see docs of `RepulsiveForce`)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import UserError, one_of
from .features import load_features
from .kernels import RBFKernel, squared_distances

FORMS = ("log_sum", "sum_log", "sum")


class RepulsiveForce:
    """R_i = gradient of U_i = log sum_{j != i} k(f_i, f_j) with respect to particle i, the others held constant.

    DESCENDING `+ gamma R_i` lowers U_i, so the particles move apart. (Eqs. 15, 22, 23 and Alg. 1 print a minus, which
    would attract; eqs. 3 and 8 repel.)

    Args:
        features: name (`dino`, `dinov2`, `clip`, `lpips`, `euclidean`), hub id, folder, module or callable that maps
            what `decode` returns to features (N, ...).
        kernel: kernel of the feature distances.
        decode: maps particles to images (N, 3, H, W) in about [0, 1], differentiable; None: particles are images, or
            whatever `features` takes.
        include_self: let j = i take part in the sum, as printed: the force then fades when particles are far apart.
        form: `log_sum` (15); `sum_log` (8), which sums log k over the others; `sum`, the plain sum of k (SVGD's, 36).
        chunk_size: particles decoded and differentiated at once; None: all. Saves memory, costs one more forward.

    Raises:
        UserError: an unknown form or feature network, chunk_size < 1.
    """

    def __init__(
        self,
        features: str | nn.Module | Callable[[Tensor], Tensor],
        kernel: RBFKernel | None = None,
        decode: Callable[[Tensor], Tensor] | None = None,
        include_self: bool = False,
        form: str = "log_sum",
        chunk_size: int | None = None,
    ) -> None:
        one_of("form", form, FORMS)
        if chunk_size is not None and chunk_size < 1:
            raise UserError(f"chunk_size={chunk_size} is impossible; accepted: null or an integer of at least 1.")
        self.features = load_features(features)
        self.kernel = kernel or RBFKernel()
        self.decode = decode
        self.include_self = include_self
        self.form = form
        self.chunk_size = chunk_size

    def __call__(self, x: Tensor, ensembles: int = 1) -> Tensor:
        """Force on particles x (N, ...): same shape and dtype, finite; zero for N = 1 and for identical particles.

        Args:
            x: particles; with `ensembles` = M they are M times N, one ensemble after the other, which do not meet.
            ensembles: number of ensembles.
        """
        total = x.shape[0]
        n = total // ensembles
        if n < 2:
            return torch.zeros_like(x)
        x = x.detach()
        chunks = x.split(self.chunk_size or total)
        with torch.enable_grad():
            if len(chunks) == 1:
                leaf = x.requires_grad_()
                features = self._features_of(leaf)
                return torch.autograd.grad(features, leaf, self._feature_gradient(features.detach(), n))[0]
        with torch.no_grad():
            features = torch.cat([self._features_of(chunk) for chunk in chunks])
        gradients = self._feature_gradient(features, n).split(self.chunk_size)
        force = []
        with torch.enable_grad():
            for chunk, gradient in zip(chunks, gradients, strict=True):
                leaf = chunk.detach().requires_grad_()
                force.append(torch.autograd.grad(self._features_of(leaf), leaf, gradient)[0])
        return torch.cat(force)

    def potential(self, features: Tensor) -> Tensor:
        """U_i for features (..., N, D) -> (..., N); its gradient reaches f_i only through row i."""
        n = features.shape[-2]
        squared = squared_distances(features, features.detach())
        log_kernel = self.kernel.log(squared)
        own = torch.eye(n, dtype=torch.bool, device=features.device)
        if self.form == "sum_log":
            return log_kernel.masked_fill(own, 0.0).sum(-1)
        if self.form == "sum":
            return log_kernel.exp().masked_fill(own, 0.0).sum(-1)
        return log_kernel.masked_fill(own, 0.0 if self.include_self else -torch.inf).logsumexp(-1)

    def kernel_matrix(self, x: Tensor) -> Tensor:
        """k_ij between particles x (N, ...), without gradient: (N, N), ones on the diagonal."""
        with torch.no_grad():
            features = torch.cat([self._features_of(chunk) for chunk in x.split(self.chunk_size or len(x))])
            squared = squared_distances(features, features)
            return self.kernel.log(squared).exp()

    def _features_of(self, x: Tensor) -> Tensor:
        images = x if self.decode is None else self.decode(x)
        return self.features(images).flatten(1)

    def _feature_gradient(self, features: Tensor, n: int) -> Tensor:
        """dU_i / df_i, (M N, D), in single precision at least: squared distances overflow in half."""
        with torch.enable_grad():
            leaf = features.to(torch.promote_types(features.dtype, torch.float32)).requires_grad_()
            gradient = torch.autograd.grad(self.potential(leaf.unflatten(0, (-1, n))).sum(), leaf)[0]
        return gradient.to(features.dtype)
