"""vectorized_map: a function of one row, built once and run for all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graphlib.batching import vectorize
from ..graphlib.errors import ShapeError
from ..graphlib.shapes import text
from ..graphlib.tensor import as_tensor
from ._build import create_op, scope
from .core import PLACEHOLDER

__all__ = ["vectorized_map"]


def vectorized_map(fn: Callable[..., Any], elems: Any) -> Any:
    """``fn`` of every row of ``elems``, stacked: built once, run for all rows at once.

    Args:
        fn: takes one row of each tensor, in the structure of ``elems``, and returns a
            tensor or a structure of them.  It is called once, on placeholders
            that no run feeds, and adds to the same graph; gradients may be taken
            inside.
        elems: a tensor (n, ...), or nested lists, tuples and dicts of tensors of the
            same n.

    Returns:
        The structure that ``fn`` returns, each tensor with a leading axis n.  What
        does not depend on ``elems`` is repeated.

    Random operations draw once for all rows, unless they depend on a row.  An
    operation that no rule can run for all rows at once runs in a loop.

    Raises:
        ShapeError: a scalar, or first axes of different sizes.
        GradientError: ``fn`` assigns to a variable, or does another thing that can
            only happen once (a ``py_func`` may, unless it is ``stateful=False``).

    Cost: as many operations as one row takes, in the memory of all rows.

    >>> import dagrad as dg
    >>> def outer(row):
    ...     return row[:, None] * row
    >>> y = vectorized_map(outer, dg.constant([[1.0, 2.0], [3.0, 4.0]]))
    >>> with dg.Session() as session:
    ...     print(session.run(y).tolist())
    [[[1.0, 2.0], [2.0, 4.0]], [[9.0, 12.0], [12.0, 16.0]]]
    """
    batches = [as_tensor(e) for e in _flatten(elems)]
    if not batches:
        raise ShapeError("vectorized_map: elems hold no tensor")
    for b in batches:
        if b.dims is not None and not b.dims:
            raise ShapeError(f"vectorized_map: {b!r} is a scalar: it has no rows")
    known = {b.dims[0] for b in batches if b.dims and b.dims[0] is not None}
    if len(known) > 1:
        raise ShapeError(
            "vectorized_map: first axes have different sizes: "
            + ", ".join(text(b.dims) for b in batches)
        )
    with scope(None, "vectorized_map", *batches):
        rows = []
        for b in batches:
            dims = None if b.dims is None else b.dims[1:]
            attrs = {"dtype": b.dtype, "shape": dims}
            rows.append(create_op(PLACEHOLDER, (), attrs, "row").outputs[0])
        result = fn(_packed(elems, iter(rows)))
        ys = [as_tensor(t) for t in _flatten(result)]
        made = vectorize(ys, dict(zip(rows, batches)), "rows")
        return _packed(result, iter(made))


def _flatten(structure: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts (by sorted key)."""
    if isinstance(structure, dict):
        return [t for k in sorted(structure) for t in _flatten(structure[k])]
    if isinstance(structure, (list, tuple)):
        return [t for part in structure for t in _flatten(part)]
    return [structure]


def _packed(structure: Any, leaves: Any) -> Any:
    """A structure of that form, with other leaves."""
    if isinstance(structure, dict):
        made = {k: _packed(structure[k], leaves) for k in sorted(structure)}
        return type(structure)((k, made[k]) for k in structure)
    if isinstance(structure, (list, tuple)):
        parts = [_packed(p, leaves) for p in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*parts)
        return type(structure)(parts)
    return next(leaves)
