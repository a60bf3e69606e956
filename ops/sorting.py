"""Order: sort, argsort, top_k, unique and searches.

All sorts are stable.  NaN counts as greater than every number, as in NumPy: last
in ascending order, first in descending order and in ``top_k``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.dtypes import as_dtype, int32
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, create_many, pair, scope
from ._later import batch, batch_index
from ._static import integers, known_int, normal_axis, try_ints
from .gather import GATHER, gather, gather_back
from .views import transpose

__all__ = [
    "argsort",
    "invert_permutation",
    "searchsorted",
    "setdiff1d",
    "sort",
    "top_k",
    "unique",
    "unique_with_counts",
]


# Rows at least this long are searched, not sorted, for a few greatest elements.
_MANY = 256


def _ordered(t: Any, who: str) -> None:
    if t.dtype.is_complex or t.dtype.kind < 0:
        raise DTypeError(f"{who} takes numbers that have an order, not {t.dtype.name}")


def _stable_order(xp: Any, x: Any, axis: int, descending: bool) -> Any:
    """The permutation that sorts ``x``; equal elements keep their order."""
    if not descending:
        return xp.argsort(x, axis, kind="stable")
    # Backwards twice: ascending order of the reversed array, reversed.
    order = xp.argsort(xp.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis)


# -- sort and argsort ----------------------------------------------------------


def _infer_sort(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    _ordered(x, "sort")
    if x.dims is not None:
        normal_axis(attrs["axis"], x.dims)
    return ((x.dtype, x.dims),)


def _sort_kernel(
    xp: Any, x: Any, *, axis: int, descending: bool, out: Any = None
) -> Any:
    if out is None:
        out = xp.array(x)
    else:
        xp.copyto(out, x)
    out.sort(axis=axis, kind="stable")
    if descending:
        # A copy: the two halves overlap.
        out[...] = xp.flip(out, axis).copy()
    return out


def _sort_order(op: Operation) -> Tensor:
    return create(ARGSORT, (op.inputs[0],), dict(op.attrs))


def _sort_jvp(op: Operation, t: Tensor) -> Tensor:
    return _along(t, _sort_order(op), op.attrs["axis"])


def _along(x: Tensor, order: Tensor, axis: int) -> Tensor:
    """x[order] along one axis, order having the shape of the result."""
    last = x.dims is None or axis in (-1, len(x.dims) - 1)
    if last and (x.dims is not None or axis == -1):
        return create(GATHER, (x, order), {"axis": -1, "batch_dims": -1})
    perm = _to_last(x, axis)
    y = create(
        GATHER,
        (transpose(x, perm), transpose(order, perm)),
        {"axis": -1, "batch_dims": -1},
    )
    return transpose(y, perm)


def _to_last(x: Tensor, axis: int) -> list[int]:
    """The permutation that swaps ``axis`` and the last (its own inverse)."""
    if x.dims is None:
        raise ShapeError(
            f"sort: the gradient along axis {axis} needs the rank of {x!r}: use "
            "set_shape"
        )
    perm = list(range(len(x.dims)))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    return perm


def _sort_vjp(op: Operation, g: Tensor) -> Tensor:
    x, axis, order = op.inputs[0], op.attrs["axis"], _sort_order(op)
    if axis == -1 or (x.dims is not None and axis == len(x.dims) - 1):
        return gather_back(g, order, x, -1, -1)
    perm = _to_last(x, axis)
    moved = transpose(x, perm)
    back = gather_back(transpose(g, perm), transpose(order, perm), moved, -1, -1)
    return transpose(back, perm)


SORT: OpDef = OpDef(
    "Sort",
    infer=_infer_sort,
    kernel=_sort_kernel,
    inputs=("values",),
    linear=True,
    vjp=(_sort_vjp,),
    jvp=_sort_jvp,
    writes_out=True,
    batch=batch.along_axis,
    doc="x sorted along an axis",
)


def _argsort_kernel(
    xp: Any, x: Any, *, axis: int, descending: bool, out: Any = None
) -> Any:
    order = _stable_order(xp, x, axis, descending)
    if out is None:
        return order.astype(np.int32)
    out[...] = order
    return out


ARGSORT: OpDef = OpDef(
    "ArgSort",
    infer=lambda inputs, attrs: ((int32, _infer_sort(inputs, attrs)[0][1]),),
    kernel=_argsort_kernel,
    inputs=("values",),
    writes_out=True,
    batch=batch.along_axis,
    doc="the permutation that sorts x along an axis",
)


def _sort_attrs(x: Tensor, axis: Any, direction: Any, who: str) -> dict[str, Any]:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ShapeError(
            f"{who}: direction {direction!r} is neither 'ASCENDING' nor 'DESCENDING'"
        )
    at = normal_axis(known_int(axis, f"{who}: axis"), x.dims, f"{who}: axis")
    return {"axis": at, "descending": direction == "DESCENDING"}


def sort(
    values: Any, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None
) -> Tensor:
    """``values`` sorted along ``axis`` (NaN counts as the greatest).

    Args:
        values: integers, bool or floating, rank >= 1.
        axis: an int.
        direction: ``"ASCENDING"`` or ``"DESCENDING"``.
        name: the name of the operation.

    Raises:
        DTypeError: complex numbers or strings.

    Gradient: each element gets the cotangent of its place; equal elements keep
    their order (the sort is stable).
    """
    x = as_tensor(values)
    return create(SORT, (x,), _sort_attrs(x, axis, direction, "sort"), name or "sort")


def argsort(
    values: Any,
    axis: Any = -1,
    direction: str = "ASCENDING",
    stable: bool = False,
    name: str | None = None,
) -> Tensor:
    """The int32 indices that sort ``values`` along ``axis``; always stable.

    NaN counts as the greatest.  Arguments as in :func:`sort`.
    """
    x = as_tensor(values)
    attrs = _sort_attrs(x, axis, direction, "argsort")
    return create(ARGSORT, (x,), attrs, name or "argsort")


# -- top_k ---------------------------------------------------------------------


class TopK(NamedTuple):
    """What :func:`top_k` returns."""

    values: Any
    indices: Any


def _infer_top_k(inputs: Sequence[Any], attrs: Any) -> Any:
    x, k = inputs[0], attrs["k"]
    _ordered(x, "top_k")
    if k is None and isinstance(inputs[1].value, np.ndarray):
        k = int(inputs[1].value)
    if x.dims is None:
        return ((x.dtype, None), (int32, None))
    if not x.dims:
        raise ShapeError("top_k needs at least one axis")
    n = x.dims[-1]
    if k is not None and n is not None and k > n:
        raise ShapeError(f"k = {k} is more than the {n} elements of the last axis")
    dims = (*x.dims[:-1], k)
    return ((x.dtype, dims), (int32, dims))


def _few_of_many(xp: Any, x: Any, k: int) -> Any:
    """Stable descending order of the k greatest of each row (m, n): (m, k)."""
    least = xp.partition(x, x.shape[1] - k, -1)[:, x.shape[1] - k]
    order = xp.empty((x.shape[0], k), np.int64)
    for i, row in enumerate(x):
        # Not less: also NaN, which counts as the greatest, and ties.
        found = xp.flatnonzero(~(row < least[i]))
        order[i] = found[_stable_order(xp, row[found], 0, True)[:k]]
    return order


def _top_k_kernel(
    xp: Any, x: Any, size: Any = None, *, k: int | None, out: Any = None
) -> Any:
    count = int(size) if k is None else k
    n = x.shape[-1]
    if not 0 <= count <= n:
        raise InvalidArgumentError(f"top_k: k = {count} is not in [0, {n}]")
    if count == 1 and x.size:
        # The first greatest; NumPy's argmax also takes NaN for the greatest.
        order = xp.argmax(x, -1)[..., None]
    elif n >= _MANY and 0 < 4 * count < n:
        order = _few_of_many(xp, x.reshape(-1, n), count)
        order = order.reshape(*x.shape[:-1], count)
    else:
        order = _stable_order(xp, x, -1, True)[..., :count]
    values = xp.take_along_axis(x, order, -1)
    if out is None:
        return values, order.astype(np.int32)
    out[0][...] = values
    out[1][...] = order
    return out


def _top_k_rule(op: Operation, g: Tensor | None, _: Any) -> Any:
    rest = [None] * (len(op.inputs) - 1)
    if g is None:
        return [None, *rest]
    return [gather_back(g, op.outputs[1], op.inputs[0], -1, -1), *rest]


TOP_K: OpDef = OpDef(
    "TopKV2",
    infer=_infer_top_k,
    kernel=_top_k_kernel,
    inputs=("input", "*k"),
    linear=True,
    vjp=_top_k_rule,
    jvp=lambda op, t, *_: (
        create(GATHER, (t, op.outputs[1]), {"axis": -1, "batch_dims": -1}),
        None,
    ),
    writes_out=True,
    batch=batch.like_first,
    doc="the k greatest elements along the last axis, and where they are",
)


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopK:
    """The ``k`` greatest elements along the last axis, greatest first.

    Args:
        input: (..., n), integers, bool or floating.
        k: an int or a scalar tensor, <= n.
        sorted: accepted for TF1 programs; the result is always sorted.
        name: the name of the operation.

    Returns:
        ``values`` (..., k) and ``indices`` (..., k), int32.  Of equal elements
        the one with the lower index comes first; NaN counts as the greatest.

    Raises:
        ShapeError: k > n (InvalidArgumentError where only the run can tell).

    Gradient: the cotangent of ``values``, put back at ``indices``.
    """
    x = as_tensor(input)
    known = try_ints(k, "top_k: k")
    if known is None:
        inputs: tuple[Tensor, ...] = (x, integers(k, "top_k: k"))
        attrs: dict[str, Any] = {"k": None}
    else:
        inputs, attrs = (x,), {"k": known_int(k, "top_k: k")}
        if attrs["k"] < 0:
            raise ShapeError(f"top_k: k = {attrs['k']} must be >= 0")
    return TopK(*create_many(TOP_K, inputs, attrs, name))


# -- unique and set difference -------------------------------------------------


class Unique(NamedTuple):
    """What :func:`unique` returns."""

    y: Any
    idx: Any


class UniqueWithCounts(NamedTuple):
    """What :func:`unique_with_counts` returns."""

    y: Any
    idx: Any
    count: Any


class ListDiff(NamedTuple):
    """What :func:`setdiff1d` returns."""

    out: Any
    idx: Any


def _vector(t: Any, who: str) -> None:
    if t.dims is not None and len(t.dims) != 1:
        raise ShapeError(f"{who} takes vectors, not shape {text(t.dims)}")


def _infer_unique(inputs: Sequence[Any], attrs: Any) -> Any:
    x, dtype = inputs[0], attrs["out_idx"]
    _vector(x, "unique")
    return ((dtype, (None,)), (dtype, merge(x.dims, (None,))), (dtype, (None,)))


def _unique_kernel(xp: Any, x: Any, *, out_idx: Any, out: Any = None) -> Any:
    kind = out_idx.dtype
    _, first, inverse, counts = xp.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    # NumPy sorts the values: put them in the order of their first appearance.
    order = xp.argsort(first)
    rank = xp.empty(order.size, np.int64)
    rank[order] = xp.arange(order.size)
    return (
        first[order].astype(kind),
        rank[inverse.reshape(x.shape)].astype(kind),
        counts[order].astype(kind),
    )


UNIQUE: OpDef = OpDef(
    "UniquePositions",
    infer=_infer_unique,
    kernel=_unique_kernel,
    inputs=("x",),
    doc="where each distinct value first stands, which one each is, and how many",
)


def unique(x: Any, out_idx: Any = int32, name: str | None = None) -> Unique:
    """The distinct values of a vector in the order of their first appearance.

    Args:
        x: (n,), any dtype but complex; all NaN count as one value.
        out_idx: int32 or int64.
        name: the name of the operation.

    Returns:
        ``y`` (?,) and ``idx`` (n,) such that x = y[idx].

    Gradient: that of ``y`` goes to the first of equal elements.
    """
    y, idx, _ = unique_with_counts(x, out_idx, name or "Unique")
    return Unique(y, idx)


def unique_with_counts(
    x: Any, out_idx: Any = int32, name: str | None = None
) -> UniqueWithCounts:
    """As :func:`unique`, and how often each value occurs: ``count`` (?,)."""
    t = as_tensor(x)
    with scope(name, "UniqueWithCounts", t):
        attrs = {"out_idx": as_dtype(out_idx)}
        first, idx, counts = create_many(UNIQUE, (t,), attrs)
        return UniqueWithCounts(gather(t, first), idx, counts)


def _infer_listdiff(inputs: Sequence[Any], attrs: Any) -> Any:
    for t in inputs:
        _vector(t, "setdiff1d")
    if inputs[0].dtype is not inputs[1].dtype:
        raise DTypeError(
            f"inputs have dtypes {inputs[0].dtype.name} and {inputs[1].dtype.name}"
        )
    return ((attrs["index_dtype"], (None,)),)


LIST_DIFF: OpDef = OpDef(
    "ListDiffPositions",
    infer=_infer_listdiff,
    kernel=lambda xp, x, y, *, index_dtype, out=None: xp.flatnonzero(
        ~xp.isin(x, y)
    ).astype(index_dtype.dtype),
    inputs=("x", "y"),
    doc="the positions of the elements of x that y does not hold",
)


def setdiff1d(
    x: Any, y: Any, index_dtype: Any = int32, name: str | None = None
) -> ListDiff:
    """The elements of ``x`` that ``y`` does not hold, in order, repeats kept.

    Args:
        x, y: vectors of one dtype.
        index_dtype: int32 or int64.
        name: the name of the operation.

    Returns:
        ``out`` (?,) and ``idx`` (?,) with out = x[idx].
    """
    a, b = pair(x, y)
    with scope(name, "ListDiff", a):
        idx = create(LIST_DIFF, (a, b), {"index_dtype": as_dtype(index_dtype)})
        return ListDiff(gather(a, idx), idx)


# -- searches ------------------------------------------------------------------


def _infer_searchsorted(inputs: Sequence[Any], attrs: Any) -> Any:
    a, v = inputs
    if a.dtype is not v.dtype:
        raise DTypeError(f"inputs have dtypes {a.dtype.name} and {v.dtype.name}")
    if a.dims is not None and v.dims is not None:
        if not a.dims:
            raise ShapeError("searchsorted needs a sequence of rank >= 1")
        if len(a.dims) > 1:
            merge(a.dims[:-1], v.dims[:-1])
    return ((attrs["out_type"], v.dims),)


def _searchsorted_kernel(
    xp: Any, a: Any, v: Any, *, side: str, out_type: Any, out: Any = None
) -> Any:
    if out is None:
        out = xp.empty(v.shape, out_type.dtype)
    if a.ndim == 1:
        out[...] = xp.searchsorted(a, v, side)
        return out
    if a.shape[:-1] != v.shape[:-1]:
        raise InvalidArgumentError(
            f"searchsorted: shapes {a.shape} and {v.shape} differ before the last axis"
        )
    for i in np.ndindex(a.shape[:-1]):
        out[i] = xp.searchsorted(a[i], v[i], side)
    return out


SEARCH_SORTED: OpDef = OpDef(
    "SearchSorted",
    infer=_infer_searchsorted,
    kernel=_searchsorted_kernel,
    inputs=("sorted_sequence", "values"),
    writes_out=True,
    batch=batch_index.search_sorted,
    doc="where values would be inserted in sorted sequences",
)


def searchsorted(
    sorted_sequence: Any,
    values: Any,
    side: str = "left",
    out_type: Any = int32,
    name: str | None = None,
) -> Tensor:
    """Where ``values`` would be inserted to keep the last axis sorted.

    Args:
        sorted_sequence: (..., n), ascending along the last axis.
        values: (..., m); any shape where the sequence is a vector.
        side: ``"left"`` (before equal elements) or ``"right"``.
        out_type: int32 or int64.
        name: the name of the operation.

    Returns:
        The shape of ``values``, in [0, n].

    Raises:
        ShapeError: the axes before the last differ.
    """
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: side {side!r} is neither 'left' nor 'right'")
    a, v = pair(sorted_sequence, values)
    attrs = {"side": side, "out_type": as_dtype(out_type)}
    return create(SEARCH_SORTED, (a, v), attrs, name)


def _invert_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    n = x.size
    back = xp.full(n, -1, x.dtype)
    if n and not (x.min() >= 0 and x.max() < n):
        raise InvalidArgumentError(f"{x.tolist()[:20]} is no permutation")
    back[x] = xp.arange(n, dtype=x.dtype)
    if n and back.min() < 0:
        raise InvalidArgumentError(f"{x.tolist()[:20]} is no permutation: it repeats")
    return back


def _infer_invert(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    _vector(x, "invert_permutation")
    if not x.dtype.is_integer:
        raise DTypeError(f"a permutation holds integers, not {x.dtype.name}")
    return ((x.dtype, merge(x.dims, (None,))),)


INVERT_PERMUTATION: OpDef = OpDef(
    "InvertPermutation",
    infer=_infer_invert,
    kernel=_invert_kernel,
    inputs=("x",),
    shape_math=True,
    batch=batch_index.inverted,
    doc="y[x[i]] = i",
)


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """y[x[i]] = i for a permutation ``x`` of 0 .. n - 1, shape (n,).

    Raises:
        InvalidArgumentError: ``x`` is no permutation.
    """
    return create(INVERT_PERMUTATION, (integers(x, "invert_permutation"),), None, name)
