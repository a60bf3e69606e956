"""How optimizers' updates work on a variable and its slots, in place.

Each kernel goes through its arrays once, in tiles that stay in the cache, so
that memory is read and written once per array and nothing is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType
from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.records import record
from ..graphlib.shapes import compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create
from .assignment import variable_tensor
from .core import cast

__all__ = ["apply_op", "optimizer_op", "rows_op"]

# Elements per tile: seven float32 arrays fit a second-level cache of 1 MB.
_TILE = 32768

Step = Callable[..., None]


@record(frozen=True)
class _Method:
    """What an update of rows shares with the update of the whole variable."""

    states: int
    at: int
    scratch: int
    prepare: Callable[..., tuple[Any, ...]]
    step: Step
    flops: int
    real: bool


_METHODS: dict[str, _Method] = {}


def _infer(states: int, grad: int, real: bool) -> Any:
    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        var = inputs[0]
        if not var.dtype.is_inexact:
            raise DTypeError(f"a {var.dtype.name} variable cannot be trained")
        if real and var.dtype.is_complex:
            raise DTypeError(f"takes a floating variable, not {var.dtype.name}")
        dims = var.dims
        for i, t in enumerate(inputs):
            if t.dtype is not var.dtype:
                raise DTypeError(
                    f"the variable has dtype {var.dtype.name}, another input "
                    f"{t.dtype.name}"
                )
            if i >= states and i != grad:
                if t.dims:
                    raise ShapeError(
                        f"a hyperparameter must be a scalar, not {text(t.dims)}"
                    )
            elif not compatible(dims, t.dims):
                raise ShapeError(
                    f"the variable has shape {text(var.dims)}, a slot or gradient "
                    f"{text(t.dims)}"
                )
            else:
                dims = merge(dims, t.dims)
        return ((var.dtype, dims),)

    return infer


def optimizer_op(
    type: str,
    inputs: tuple[str, ...],
    states: int,
    scratch: int,
    prepare: Callable[..., tuple[Any, ...]],
    step: Step,
    flops: int,
    doc: str,
    grad: str = "grad",
    real: bool = False,
) -> OpDef:
    """An update op.

    Args:
        type: the op type.
        inputs: names; the first ``states`` are the variable and its slots.
        states: how many arrays change.
        scratch: how many tiles of scratch memory ``step`` takes.
        prepare: from the scalars (in the order of ``inputs``) and the attrs to
            what ``step`` needs of them.
        step: ``f(states, grad, scratch, *prepared)``, on one tile.
        flops: per element.
        doc: the formula.
        grad: the name of the gradient among the inputs.
        real: whether the method has no meaning for complex variables.
    """
    at = inputs.index(grad)
    _METHODS[type] = _Method(states, at, scratch, prepare, step, flops, real)

    def kernel(
        xp: Any, *arrays: Any, out: Any = None, work: Any = None, **attrs: Any
    ) -> Any:
        state = arrays[:states]
        var, g = state[0], arrays[at]
        for a in (*state[1:], g):
            if a.shape != var.shape:
                raise ShapeError(
                    f"the variable has shape {text(var.shape)}, a slot or gradient "
                    f"{text(a.shape)}"
                )
        # A gradient may be a view of what is about to change.
        if not g.flags.c_contiguous or any(np.may_share_memory(g, s) for s in state):
            g = g.copy()
        scalars = arrays[states:at] + arrays[at + 1 :]
        prepared = tuple(
            np.asanyarray(c, var.dtype) if isinstance(c, np.generic) else c
            for c in prepare(*scalars, **attrs)
        )
        flat = [s.reshape(-1) for s in state]
        g = g.reshape(-1)
        n = g.size
        if work is None:
            work = [np.empty(min(n, _TILE), var.dtype) for _ in range(scratch)]
        if n <= _TILE:
            step(flat, g, [w[:n] for w in work], *prepared)
            return var
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            step(
                [s[start:stop] for s in flat],
                g[start:stop],
                work if stop - start == _TILE else [w[: stop - start] for w in work],
                *prepared,
            )
        return var

    # Native code is made of what happens to one element.
    kernel.update = _METHODS[type]  # type: ignore[attr-defined]

    def settle(
        arrays: Sequence[Any], out: Any, work: Any, attrs: Any
    ) -> Callable[[], None] | None:
        state, g = arrays[:states], arrays[at]
        if any(a.shape != g.shape for a in state):
            return None
        if not all(a.flags.c_contiguous for a in (*state, g)):
            return None
        if any(np.may_share_memory(g, s) for s in state):
            return None
        flat = [a.reshape(-1) for a in (*state, g)]
        cuts = [slice(i, i + _TILE) for i in range(0, g.size, _TILE)]
        tiles = [
            (
                [a[cut] for a in flat[:-1]],
                flat[-1][cut],
                [w[: flat[-1][cut].size] for w in work],
            )
            for cut in cuts
        ]
        scalars = [*arrays[states:at], *arrays[at + 1 :]]
        dtype = g.dtype

        def update() -> None:
            prepared = [
                np.asanyarray(c, dtype) if isinstance(c, np.generic) else c
                for c in prepare(*scalars, **attrs)
            ]
            for parts, gradient, scratch in tiles:
                step(parts, gradient, scratch, *prepared)

        return update

    def workspace(ins: Sequence[Any], outs: Sequence[Any], attrs: Any) -> Any:
        dims = outs[0].dims
        size = _TILE if dims is None or None in dims else min(math.prod(dims), _TILE)
        return [(outs[0].dtype.dtype, (size,))] * scratch

    return OpDef(
        type,
        infer=_infer(states, at, real),
        kernel=kernel,
        inputs=inputs,
        no_gradient="it writes variables; differentiate the loss itself",
        alias=0,
        effect="update",
        updates=tuple(range(states)),
        workspace=workspace if scratch else None,
        settle=settle,
        flops=lambda ins, outs, attrs: (
            flops * math.prod(d or 0 for d in outs[0].dims or ())
        ),
        doc=doc,
    )


# -- rows ----------------------------------------------------------------------


def _infer_rows(method: _Method) -> Any:
    dense = _infer(method.states, method.at, method.real)

    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        at = method.at
        var, g, indices = inputs[0], inputs[at], inputs[at + 1]
        if not indices.dtype.is_integer:
            raise DTypeError(f"indices must be integers, not {indices.dtype.name}")
        if not compatible(indices.dims, (None,)):
            raise ShapeError(f"indices must be a vector, not {text(indices.dims)}")
        # The rest is the dense update's, with the variable in the gradient's place.
        whole = dense((*inputs[:at], var, *inputs[at + 2 :]), attrs)
        dims = whole[0][1]
        if g.dtype is not var.dtype:
            raise DTypeError(
                f"the variable has dtype {var.dtype.name}, its rows {g.dtype.name}"
            )
        if dims == ():
            raise ShapeError("a scalar variable has no rows")
        if dims is not None:
            n = None if indices.dims is None else indices.dims[0]
            _check_rows(g.dims, (n, *dims[1:]))
        return whole

    return infer


def _check_rows(dims: Any, wanted: Any) -> None:
    if not compatible(dims, wanted):
        raise ShapeError(
            f"the gradient's rows have shape {text(dims)} where {text(wanted)} is "
            "needed: that of the indices, then that of one row"
        )


def rows_op(type: str, dense: OpDef) -> OpDef:
    """The update of some rows by the method of ``dense``.

    The inputs are those of ``dense`` with ``indices`` after the gradient, which
    has one row for each.  Repeated rows are added up first, so that every row
    makes one step; rows that no index names stay as they are, in the slots too.
    """
    method = _METHODS[dense.type]
    states, at = method.states, method.at

    def kernel(xp: Any, *arrays: Any, out: Any = None, **attrs: Any) -> Any:
        state, g, indices = arrays[:states], arrays[at], arrays[at + 1]
        var = state[0]
        for a in state[1:]:
            if a.shape != var.shape:
                raise ShapeError(
                    f"the variable has shape {text(var.shape)}, a slot {text(a.shape)}"
                )
        _check_rows(g.shape, (*indices.shape, *var.shape[1:]))
        from .gather import check_range

        check_range(indices, var.shape[0], type)
        if not g.size:
            return var
        scalars = arrays[states:at] + arrays[at + 2 :]
        prepared = tuple(
            np.asanyarray(c, var.dtype) if isinstance(c, np.generic) else c
            for c in method.prepare(*scalars, **attrs)
        )
        q = math.prod(var.shape[1:])
        g = g.reshape(indices.size, q)
        touched, place = np.unique(indices, return_inverse=True)
        if touched.size < indices.size:
            total = np.zeros((touched.size, q), var.dtype)
            from .gather import add_rows

            add_rows(xp, total, place.reshape(-1), g)
            g = total
        else:
            touched = indices
        # A gradient may be a view of what is about to change.
        if any(np.may_share_memory(g, s) for s in state):
            g = g.copy()
        tables = [s.reshape(var.shape[0], q) for s in state]
        height = min(max(1, _TILE // q), touched.size)
        work = [np.empty(height * q, var.dtype) for _ in range(method.scratch)]
        for start in range(0, touched.size, height):
            at_rows = touched[start : start + height]
            parts = [np.take(t, at_rows, 0) for t in tables]
            n = at_rows.size * q
            method.step(
                [part.reshape(-1) for part in parts],
                g[start : start + height].reshape(-1),
                [w[:n] for w in work],
                *prepared,
            )
            for table, part in zip(tables, parts):
                table[at_rows] = part
        return var

    return OpDef(
        type,
        infer=_infer_rows(method),
        kernel=kernel,
        inputs=(*dense.inputs[: at + 1], "indices", *dense.inputs[at + 1 :]),
        no_gradient="it writes variables; differentiate the loss itself",
        alias=0,
        effect="update",
        updates=tuple(range(states)),
        flops=lambda ins, outs, attrs: (
            method.flops * math.prod(d or 0 for d in ins[at].dims or ())
        ),
        doc=f"{dense.doc}, in the rows that indices name",
    )


def _scalar(value: Any, dtype: DType) -> Tensor:
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        return cast(value, dtype)
    return as_tensor(value, dtype)


def apply_op(
    opdef: OpDef,
    states: Sequence[Any],
    rest: Sequence[Any],
    name: str | None,
    attrs: dict[str, Any] | None = None,
) -> Tensor:
    """``rest``: scalars; the gradient and its indices as 1-tuples."""
    refs = [variable_tensor(s, opdef.type) for s in states]
    var = refs[0]
    with var.op.graph.as_default():
        others = [
            as_tensor(r[0]) if isinstance(r, tuple) else _scalar(r, var.dtype)
            for r in rest
        ]
    return create(opdef, (*refs, *others), attrs, name)
