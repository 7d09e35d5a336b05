"""Checks that numbers are finite: those of a training step, with one read of the device, and those of results.

`note` is called where a part of a step computes tensors. It does nothing unless a `StepCheck` is active, so the plain
functions can be used without one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import NonFiniteError


@dataclass
class _Note:
    """Sums of the values of one part, which are finite where all values are.

    Attributes:
        part: name of the part, such as "the noise prediction".
        sums: one number for each element of the leading axes.
        axes: names of the leading axes.
        t: timestep; None: there is none.
        lower: config keys and values that may help.
    """

    part: str
    sums: Tensor
    axes: tuple[str, ...]
    t: int | Tensor | None
    lower: str


class StepCheck:
    """Collects the parts of one training step, and finds the first of them that is not finite.

    Args:
        step: training step, for the error.
        first_particle: index of the particle of the first row, for the error.

    Example:
        >>> with StepCheck(step=7).active() as check:
        ...     note("the render", torch.tensor([[0.5], [float("nan")]]), t=20, lower="the learning rate")
        ...     print(check.failure())
        Step 7: the render of particle 1 is nan at t=20; try a lower value or another one of: the learning rate.
    """

    def __init__(self, step: int, first_particle: int = 0) -> None:
        self.step = step
        self.first_particle = first_particle
        self.notes: list[_Note] = []

    @contextmanager
    def active(self) -> Iterator["StepCheck"]:
        """Context in which `note` adds to this check."""
        _active.append(self)
        try:
            yield self
        finally:
            _active.remove(self)

    def add(self, note: _Note) -> None:
        """Add the values of a part."""
        self.notes.append(note)

    def is_finite(self) -> bool:
        """Whether all parts are finite. Waits once for the device."""
        return are_finite([self])

    def forget(self) -> None:
        """Forget the parts that were added so far."""
        self.notes.clear()

    def failure(self) -> str | None:
        """Sentence about the first part that is not finite; None if all are finite."""
        if self.is_finite():
            return None
        first = next(each for each in self.notes if not torch.isfinite(each.sums).all())
        index = (~torch.isfinite(first.sums)).nonzero()[0].tolist()
        value = float(first.sums[tuple(index)])
        named = [i + self.first_particle * (axis == "particle") for axis, i in zip(first.axes, index, strict=True)]
        return _sentence(self.step, first, index, named, "nan" if value != value else "infinite")

    def failed_particles(self, axes: tuple[str, ...]) -> Tensor | None:
        """Particles of which a part is not finite, bool on the CPU, with the shape of the notes of these axes.

        Args:
            axes: names of the leading axes of the notes that are considered.

        Returns:
            None if there are no notes of these axes.
        """
        found = [(~torch.isfinite(each.sums)).cpu() for each in self.notes if each.axes == axes]
        if not found:
            return None
        return torch.stack([each for each in found if each.shape == found[0].shape]).any(0)

    def stop(self) -> None:
        """Raise the failure, if there is one.

        Raises:
            NonFiniteError: a part is not finite.
        """
        sentence = self.failure()
        if sentence is not None:
            raise NonFiniteError(sentence)


_active: list[StepCheck] = []  # the innermost is last
PARTICLE = ("particle",)


def note(
    part: str,
    values: Tensor,
    *,
    t: int | Tensor | None = None,
    lower: str = "",
    axes: Sequence[str] = PARTICLE,
) -> None:
    """Add the values of a part to the active `StepCheck`; nothing happens if there is none.

    Args:
        part: name of the part with its article, for the error.
        values: the leading axes are `axes`, all others are reduced.
        t: timestep at which the part was computed.
        lower: config keys that may help, for the error.
        axes: names of the leading axes, such as "image", "particle"; empty: the part belongs to no particle.
    """
    if not _active or not values.numel():
        return
    values = values.detach()
    if values.is_complex():
        values = torch.view_as_real(values)
    if values.is_floating_point():
        leading = values.shape[: len(axes)]
        # A sum is NaN or infinite where one of its terms is; in single precision, finite ones do not overflow.
        dtype = torch.promote_types(values.dtype, torch.float32)
        sums = values.reshape(*leading, -1).sum(-1, dtype=dtype)
        _active[-1].add(_Note(part, sums, tuple(axes), t, lower))


def are_finite(checks: Sequence[StepCheck]) -> bool:
    """Whether all parts of several checks are finite. Waits once for the device."""
    sums = [each.sums.reshape(-1) for check in checks for each in check.notes]
    if not sums:
        return True
    device = sums[-1].device
    return bool(torch.isfinite(torch.cat([each.to(device, torch.float32) for each in sums])).all())


def require_finite(what: str, values: Tensor) -> None:
    """Check numbers of which a result is to be computed.

    Args:
        what: name of the values with its article, for the error.
        values: numbers of any shape.

    Raises:
        NonFiniteError: one of them is NaN or infinite.

    Example:
        >>> require_finite("the image", torch.tensor([0.5, float("inf")]))
        Traceback (most recent call last):
        threestudio_rsd.errors.NonFiniteError: 1 of 2 values of the image are not finite, so there is no result.
    """
    if values.is_floating_point() or values.is_complex():
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            count = int((~finite).sum())
            raise NonFiniteError(f"{count} of {values.numel()} values of {what} are not finite, so there is no result.")


def _sentence(step: int, failed: _Note, index: Sequence[int], named: Sequence[int], value: str) -> str:
    where = "".join(f" of {axis} {i}" for axis, i in zip(reversed(failed.axes), reversed(named), strict=True))
    t = "" if failed.t is None else f" at t={_timestep(failed.t, index)}"
    advice = f"; try a lower value or another one of: {failed.lower}" if failed.lower else ""
    return f"Step {step}: {failed.part}{where} is {value}{t}{advice}."


def _timestep(t: int | Tensor, index: Sequence[int]) -> int:
    if not isinstance(t, Tensor):
        return int(t)
    return int(t.reshape(-1)[index[-1] if index and t.numel() > 1 else 0])
