"""Vector modes: all unit vectors in one reverse or one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.batching import vectorize
from ..graphlib.errors import DTypeError, GradientError, InvalidArgumentError
from ..graphlib.explain import explained
from ..graphlib.forward import jvp
from ..graphlib.gradients import UnconnectedGradients, gradients
from ..graphlib.shapes import Dims
from ..graphlib.shapes import size as element_count
from ..graphlib.tensor import Tensor, as_tensor
from ._build import constant, create, shape_tensor
from .complexes import conj
from .core import ZEROS_LIKE, size
from .creation import fill
from .joining import concat
from .matrix import eye
from .views import reshape, transpose

__all__ = ["forward_columns", "mode_of", "reverse_rows"]

_MODES = ("auto", "forward", "reverse")


def is_list(xs: Any) -> bool:
    return isinstance(xs, (list, tuple))


def count(t: Tensor) -> Any:
    """The number of elements: an int where it is known, else a scalar tensor."""
    known = element_count(t.dims)
    return size(t) if known is None else known


def vector(*parts: Any) -> Tensor:
    """Sizes (ints, scalar tensors, vectors of them) as one vector."""
    return concat([as_tensor([p]) if _is_size(p) else p for p in parts], 0)


def _is_size(part: Any) -> bool:
    return not isinstance(part, Tensor) or part.dims == ()


def joined(y: Tensor, x: Tensor) -> Tensor:
    """The shape y.shape + x.shape, as a vector."""
    return concat([shape_tensor(y), shape_tensor(x)], 0)


def _static(y: Tensor, x: Tensor) -> Dims:
    return None if y.dims is None or x.dims is None else (*y.dims, *x.dims)


def seed_of(t: Tensor) -> Tensor:
    """What stands for one unit vector while a pass is built; it is never run."""
    return create(ZEROS_LIKE, (t,), {"dtype": t.dtype}, "unit")


def basis(t: Tensor) -> Tensor:
    """All unit vectors of the shape of ``t``: (size,) + t.shape."""
    n = count(t)
    square = eye(n, dtype=t.dtype)
    if t.dims is not None and len(t.dims) == 1:
        return square
    return reshape(square, vector(n, shape_tensor(t)))


def conjugated(t: Tensor) -> Tensor:
    return conj(t) if t.dtype.is_complex else t


def unconnected(
    y: Tensor, x: Tensor, dims: Tensor, policy: UnconnectedGradients
) -> Tensor | None:
    """What to give where no differentiable path leads from ``x`` to ``y``."""
    if policy is UnconnectedGradients.NONE:
        return None
    if policy is UnconnectedGradients.RAISE:
        raise GradientError(str(explained([y], x)))
    return fill(dims, constant(0, y.dtype, graph=y.graph))


def mode_of(mode: str, y: Tensor, x: Tensor) -> str:
    """The mode for one pair.

    Raises:
        InvalidArgumentError: no such mode.
        DTypeError: a mode that loses a part of a complex derivative.
    """
    if mode not in _MODES:
        raise InvalidArgumentError(f"mode {mode!r} is none of {', '.join(_MODES)}")
    if y.dtype.is_complex != x.dtype.is_complex:
        only = "forward" if y.dtype.is_complex else "reverse"
        if mode not in ("auto", only):
            raise DTypeError(
                f"the Jacobian of {y.dtype.name} by {x.dtype.name} needs mode "
                f"{only!r}: {mode!r} would lose a part of it"
            )
        return only
    if mode != "auto":
        return mode
    rows, columns = element_count(y.dims), element_count(x.dims)
    if rows is None or columns is None:
        return "reverse"
    return "forward" if columns < rows else "reverse"


def reverse_rows(y: Tensor, xs: Sequence[Tensor]) -> list[Tensor | None]:
    """The Jacobians of ``y`` by one batched reverse pass."""
    if not xs:
        return []
    if y.dims == ():
        return [None if g is None else conjugated(g) for g in gradients(y, xs)]
    seed = seed_of(y)
    pulled = gradients(y, xs, [seed])
    present = [g for g in pulled if g is not None]
    if not present:
        return [None] * len(xs)
    rows = iter(vectorize(present, {seed: basis(y)}, "rows"))
    return [
        None if g is None else conjugated(_shaped(next(rows), y, x))
        for x, g in zip(xs, pulled)
    ]


def _shaped(rows: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(size(y),) + x.shape as y.shape + x.shape."""
    if y.dims is None or len(y.dims) != 1:
        rows = reshape(rows, joined(y, x))
    rows.set_shape(_static(y, x))
    return rows


def forward_columns(ys: Sequence[Tensor], x: Tensor) -> list[Tensor | None]:
    """The Jacobians of several ``ys`` by one batched forward pass."""
    if x.dims == ():
        return list(jvp(ys, [x]))
    seed = seed_of(x)
    pushed = jvp(ys, [x], [seed])
    present = [t for t in pushed if t is not None]
    if not present:
        return [None] * len(ys)
    columns = iter(vectorize(present, {seed: basis(x)}, "columns"))
    return [
        None if t is None else _turned(next(columns), y, x) for y, t in zip(ys, pushed)
    ]


def _turned(columns: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(size(x),) + y.shape as y.shape + x.shape."""
    if y.dims == ():
        flat = columns
    elif y.dims is not None and len(y.dims) == 1:
        flat = transpose(columns)
    else:
        flat = transpose(reshape(columns, vector(count(x), count(y))))
    vectors = all(t.dims is not None and len(t.dims) < 2 for t in (y, x))
    turned = flat if vectors else reshape(flat, joined(y, x))
    turned.set_shape(_static(y, x))
    return turned
