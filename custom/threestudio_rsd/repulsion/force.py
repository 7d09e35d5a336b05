"""The repulsive force of an ensemble (eqs. 8 and 15, with the sign that repels)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import in_range, one_of
from ..finite import note
from ..particles.ranks import Shard, gather_rows
from .chunks import choose_chunk_size, graph_bytes
from .features import load_features
from .kernels import RBFKernel, squared_distances
from .potentials import POTENTIALS


class RepulsiveForce:
    """R_i, the gradient of a potential of all particles with respect to particle i, by default of eq. (15).

    DESCENDING `+ gamma R_i` lowers the potential U_i = log sum_{j != i} k(f_i, f_j), so the particles move apart.
    (Eqs. 15, 22, 23 and Alg. 1 print a minus, which would attract; eqs. 3 and 8 repel.)

    Args:
        features: name (`dino`, `dinov2`, `clip`, `lpips`, `euclidean`), hub id, folder, module or callable that maps
            what `decode` returns to features (N, ...).
        kernel: kernel of the feature distances; None: `RBFKernel()`.
        decode: maps particles to images (N, 3, H, W) in about [0, 1], differentiable; None: particles are images, or
            another input of `features`.
        include_self: include j = i in the sum of `log_sum`, as printed in eq. (15).
        form: potential: `log_sum` (15), `sum_log` (8), `sum` (SVGD's, 36) or `order_two` (SPARKE); see `POTENTIALS`.
        chunk_size: number of particles decoded and differentiated at once. Chunks save memory and cost one more
            forward pass. None: all at once where their graph fits in memory, see `choose_chunk_size`.

    Raises:
        UserError: unknown form or feature network, or chunk_size < 1.

    Example:
        >>> force = RepulsiveForce("euclidean", RBFKernel(bandwidth=2.0))
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> x - 0.1 * force(x)  # a descent step moves the particles apart
        tensor([[-0.1000],
                [ 1.1000]])
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
        one_of("form", form, tuple(POTENTIALS))
        if chunk_size is not None:
            in_range("chunk_size", chunk_size, 1, kind="null or an integer")
        self.features = load_features(features)
        self.kernel = kernel or RBFKernel()
        self.decode = decode
        self.include_self = include_self
        self.form = form
        self.chunk_size = chunk_size
        self._chosen: dict[tuple[torch.Size, torch.dtype], int] = {}

    def __call__(self, x: Tensor, ensembles: int = 1, shard: Shard | None = None) -> Tensor:
        """Force on each particle.

        Between ranks only the features are gathered, N D numbers.

        Args:
            x: particles (N, ...). With `ensembles` = M they are M times N particles, one ensemble after the other;
                only particles of the same ensemble repel each other.
            ensembles: number of ensembles.
            shard: particles of this rank, where each rank holds some of every ensemble; None: x is all of them.

        Returns:
            Force, finite, with the shape and dtype of x; zero for N = 1 and for identical particles.
        """
        shard = shard or Shard.whole(x.shape[0] // ensembles)
        if shard.total < 2:
            return torch.zeros_like(x)
        x = x.detach()
        chunks = torch.split(x, self.chunk_size or self._automatic_chunk_size(x))
        with torch.enable_grad():
            if len(chunks) == 1:
                leaf = x.requires_grad_()
                features = self._features_of(leaf)
                return torch.autograd.grad(features, leaf, self._feature_gradient(features.detach(), shard))[0]
        with torch.no_grad():
            features = torch.cat([self._features_of(chunk) for chunk in chunks])
        gradients = torch.split(self._feature_gradient(features, shard), len(chunks[0]))
        force = []
        with torch.enable_grad():
            for chunk, gradient in zip(chunks, gradients, strict=True):
                leaf = chunk.detach().requires_grad_()
                force.append(torch.autograd.grad(self._features_of(leaf), leaf, gradient)[0])
        return torch.cat(force)

    def potential(self, features: Tensor) -> Tensor:
        """Potentials U_i for features (..., N, D): (..., N)."""
        return POTENTIALS[self.form](features, self.kernel, self.include_self)

    def kernel_matrix(self, x: Tensor) -> Tensor:
        """Kernel values k_ij between particles x (N, ...), without gradient: (N, N), with ones on the diagonal."""
        with torch.no_grad():
            chunks = torch.split(x, self.chunk_size or self._automatic_chunk_size(x))
            features = torch.cat([self._features_of(chunk) for chunk in chunks])
            return self.kernel.log(squared_distances(features, features)).exp()

    def _automatic_chunk_size(self, x: Tensor) -> int:
        """Chunk size for particles of this shape, chosen once so that a run does not change it."""
        key = (x.shape, x.dtype)
        if key not in self._chosen:
            self._chosen[key] = choose_chunk_size(len(x), x.device, lambda: graph_bytes(self._features_of, x[:1]))
        return self._chosen[key]

    def _features_of(self, x: Tensor) -> Tensor:
        images = x if self.decode is None else self.decode(x)
        return self.features(images).flatten(1)

    def _feature_gradient(self, features: Tensor, shard: Shard) -> Tensor:
        """Gradient of sum_i U_i over all ranks in the features of this rank, both (M count, D).

        In single precision at least: squared distances overflow in half.
        """
        own = features.unflatten(0, (-1, shard.count))
        note("the features", own.transpose(0, 1), lower="another features network")
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.enable_grad():
            leaf = gather_rows(own, shard, dim=1).to(dtype).requires_grad_()
            gradient = torch.autograd.grad(self.potential(leaf).sum(), leaf)[0]
        return gradient[:, shard.rows].flatten(0, 1).to(features.dtype)
