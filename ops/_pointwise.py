"""Parts that the elementwise families share: fast builders, fused kinds, chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series
from ..graphlib.tensor import Tensor, as_tensor
from ._build import CONST, inexact, pair
from ._jets import by_factor
from ._kinds import broadcast_like, infer_elementwise
from ._later import batch

__all__ = [
    "add_up",
    "backward",
    "binary",
    "chunked",
    "conj",
    "floating",
    "fused",
    "pointwise",
    "scratch",
    "unary",
]

# Chunks of a special function's temporaries stay in the cache (64 kB each).
_CHUNK = 8192


def binary(opdef: OpDef, x: Any, y: Any, name: str | None, label: str = "") -> Tensor:
    """A binary node; operands that are no tensors become constants."""
    if type(x) is Tensor:
        if type(y) is Tensor:
            if x.dtype is y.dtype:
                return x.op.graph.create_op(opdef, (x, y), None, name).outputs[0]
        elif type(y) is float and x.dtype.kind >= 2:
            y = _scalar(x, y, label + "/y" if label else None)
            return x.op.graph.create_op(opdef, (x, y), None, name).outputs[0]
    elif type(x) is float and type(y) is Tensor and y.dtype.kind >= 2:
        x = _scalar(y, x, label + "/x" if label else None)
        return y.op.graph.create_op(opdef, (x, y), None, name).outputs[0]
    x, y = pair(x, y, None, label or None)
    return x.op.graph.create_op(  # type: ignore[no-any-return]
        opdef, (x, y), None, name
    ).outputs[0]


def _scalar(like: Tensor, value: float, name: str | None) -> Tensor:
    """A Python float as a constant of a floating tensor's dtype."""
    array = np.array(value, like.dtype.dtype)
    array.flags.writeable = False
    return like.op.graph.create_op(CONST, (), {"value": array}, name).outputs[0]


def unary(opdef: OpDef, x: Any, name: str | None) -> Tensor:
    """A unary node on ``x`` as it is."""
    t = x if type(x) is Tensor else as_tensor(x)
    return t.op.graph.create_op(opdef, (t,), None, name).outputs[0]


def floating(opdef: OpDef, x: Any, name: str | None) -> Tensor:
    """A unary node on ``x``; integers and bools become float32."""
    t = x if type(x) is Tensor and x.dtype.kind >= 2 else inexact(x)
    return t.op.graph.create_op(opdef, (t,), None, name).outputs[0]


def conj(t: Tensor) -> Tensor:
    """The conjugate of a complex tensor; a real one is returned as it is."""
    return TABLE["conj"](t) if t.dtype.is_complex else t


def add_up(op: Operation, terms: Sequence[Tensor | None]) -> Tensor:
    """The sum of the tangent's terms that are there, with the output's shape."""
    total: Tensor | None = None
    for t in terms:
        if t is not None:
            total = t if total is None else TABLE["add"](total, t)
    assert total is not None, "a jvp is asked for only where a tangent is there"
    return broadcast_like(total, op.outputs[0])


def pointwise(
    type: str,
    kernel: str | Callable[..., Any],
    inputs: tuple[str, ...],
    kinds: str,
    *,
    inplace: tuple[int, ...] = (),
    vjp: Any = None,
    jvp: Any = None,
    linear: bool = False,
    jet: Callable[..., Any] | None = None,
    flops: int = 1,
    workspace: Callable[..., Any] | None = None,
    settle: Callable[..., Any] | None = None,
    commutative: bool = False,
    shape_math: bool = False,
    infer: Any = None,
    batch: Any = batch.elementwise,
    singular: Any = (),
    doc: str = "",
) -> OpDef:
    """Like ``_kinds.elementwise``, saying which inputs may be overwritten."""

    def count(ins: Sequence[Any], outs: Sequence[Any], attrs: Any) -> int:
        n = flops
        for d in outs[0].dims or ():
            n *= d or 0
        return n

    return OpDef(
        type,
        infer=infer or infer_elementwise(kinds),
        kernel=kernel,
        inputs=inputs,
        vjp=vjp,
        jvp=jvp,
        linear=linear,
        jet=jet,
        inplace=inplace,
        writes_out=True,
        workspace=workspace,
        settle=settle,
        elementwise=True,
        commutative=commutative,
        shape_math=shape_math,
        singular=singular,
        flops=count,
        batch=batch,
        doc=doc,
    )


def backward(
    type: str,
    kernel: Callable[..., Any],
    slope: Callable[[Operation], Tensor] | None,
    *,
    factor: Callable[[Operation, Series], Series] | None = None,
    jet: Callable[..., Any] | None = None,
    inplace: tuple[int, ...] = (0,),
    flops: int = 3,
    workspace: Callable[..., Any] | None = None,
    settle: Callable[..., Any] | None = None,
    doc: str = "",
) -> OpDef:
    """The fused backward op of a real function: F(a, g) = g f(a).

    ``a`` is the function's result (or its argument); ``slope(op)`` builds f'(a),
    None where f is constant by pieces.  F is linear in g, so its own rules follow.
    ``factor(op, series of a)`` gives the Taylor series of f(a) (its entry 0 is not
    read).
    """

    def by_a(op: Operation, h: Tensor) -> Tensor | None:
        if slope is None:
            return None
        mul = TABLE["mul"]
        return mul(mul(h, op.inputs[1]), slope(op))  # type: ignore[no-any-return]

    def by_g(op: Operation, h: Tensor) -> Tensor:
        graph = op.graph
        return graph.create_op(opdef, (op.inputs[0], h), op._attrs).outputs[0]

    def jvp(op: Operation, ta: Tensor | None, tg: Tensor | None) -> Tensor | None:
        first = None if ta is None else by_a(op, ta)
        second = None if tg is None else by_g(op, tg)
        if first is None:
            return second
        return first if second is None else TABLE["add"](first, second)

    opdef = pointwise(
        type,
        kernel,
        ("a", "g"),
        "f",
        inplace=inplace,
        vjp=(by_a if slope is not None else None, by_g),
        jvp=jvp,
        linear=slope is None,
        jet=jet if factor is None else by_factor(factor),
        flops=flops,
        workspace=workspace,
        settle=settle,
        batch=batch.leading,
        doc=doc,
    )
    return opdef


def fused(opdef: Any, partial: Any) -> dict[str, Any]:
    """Rules of a function with a fused backward op (complex: from the partial)."""

    def vjp(op: Operation, g: Tensor) -> Tensor:
        y, mul = op.outputs[0], TABLE["mul"]
        if y.dtype.is_complex:
            return mul(g, conj(partial(op)))  # type: ignore[no-any-return]
        return y.op.graph.create_op(opdef, (y, g)).outputs[0]

    def jvp(op: Operation, t: Tensor) -> Tensor:
        y, mul = op.outputs[0], TABLE["mul"]
        if y.dtype.is_complex:
            return mul(t, partial(op))  # type: ignore[no-any-return]
        return y.op.graph.create_op(opdef, (y, t)).outputs[0]

    return {"vjp": (vjp,), "jvp": jvp}


def scratch(shape_of: int, dtype: Any = np.bool_) -> Callable[..., Any]:
    """Workspace: one array with the shape of an input (-1: of the output).

    ``dtype`` None: that of the output.
    """

    def workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
        like = outputs[0] if shape_of < 0 else inputs[shape_of]
        wanted = outputs[0].dtype.dtype if dtype is None else np.dtype(dtype)
        return [(wanted, like.dims)]

    return workspace


def chunked(f: Callable[..., Any], temporaries: float) -> Any:
    """A kernel from a function of float64 vectors that makes temporaries.

    It works through the arrays piece by piece, so that temporaries stay small;
    narrower floats are computed in float64 and rounded once.

    Args:
        f: the function.
        temporaries: how many vectors it has at once at most, as measured on
            arguments of all regions.
    """

    def kernel(xp: Any, *arrays: Any, out: Any = None, **attrs: Any) -> Any:
        if len(arrays) > 1:
            arrays = xp.broadcast_arrays(*arrays)
        first = arrays[0]
        if out is None:
            out = xp.empty(first.shape, first.dtype)
        flat = out.reshape(-1)
        whole = [a.reshape(-1) if a.flags.c_contiguous else a.flat for a in arrays]
        for i in range(0, out.size, _CHUNK):
            piece = [xp.asarray(w[i : i + _CHUNK], xp.float64) for w in whole]
            flat[i : i + _CHUNK] = f(*piece, **attrs)
        return out

    def transient(inputs: Any, outputs: Any, attrs: Any) -> int:
        out = outputs[0]
        converted = len(inputs) if out.dtype.size < 8 else 0
        vector = 8 * min(math.prod(out.dims), _CHUNK)
        return int((temporaries + converted) * vector)

    kernel.transient = transient  # type: ignore[attr-defined]
    return kernel
