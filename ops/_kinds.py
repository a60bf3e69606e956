"""Constructors of OpDefs by kind: they fill inference and both derivative rules.

An elementwise op gives one partial derivative per input, as a function of the
operation; the vjp (cotangent times conjugate partial, summed back over
broadcast axes) and the jvp (tangent times partial) follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graphlib.dtypes import DType, bool_
from ..graphlib.errors import DTypeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, broadcast, broadcast_all, is_static
from ..graphlib.stacks import home
from ..graphlib.tensor import Tensor
from ._later import batch

__all__ = [
    "comparison",
    "elementwise",
    "infer_elementwise",
    "infer_same",
    "iterator_buffers",
    "require",
    "unbroadcast",
]

Partial = Callable[[Operation], Any]


def require(inputs: Sequence[Any], kinds: str, names: str = "") -> None:
    """Check the dtypes of inputs.

    Args:
        inputs: tensors or specs.
        kinds: letters of what is allowed: b bool, i integer, f floating,
            c complex, s string.

    Raises:
        DTypeError: an input of another kind, or two of different dtypes.
    """
    first = inputs[0].dtype
    letter = "bifcs"[first.kind]
    if letter not in kinds:
        words = {
            "b": "bool",
            "i": "integers",
            "f": "floating",
            "c": "complex",
            "s": "strings",
        }
        allowed = ", ".join(words[k] for k in kinds)
        raise DTypeError(f"takes {allowed}, not {first.name}")
    for t in inputs[1:]:
        if t.dtype is not first:
            raise DTypeError(f"inputs have dtypes {first.name} and {t.dtype.name}")


def iterator_buffers(count: int) -> Callable[..., int]:
    """The ``transient`` of a kernel whose ufuncs NumPy runs through buffers.

    Over arrays that no single stride describes, NumPy's iterator copies up to
    8192 elements of ``count`` operands at a time.
    """

    def transient(inputs: Any, outputs: Any, attrs: Any) -> int:
        out = outputs[0]
        return count * min(8192, _count(out.dims)) * int(out.dtype.size)

    return transient


def infer_same(inputs: Sequence[Any], attrs: Any) -> Any:
    """One output like the first input."""
    t = inputs[0]
    return ((t.dtype, t.dims),)


def infer_elementwise(kinds: str, result: DType | None = None) -> Any:
    """Inference of an elementwise op: one dtype, shapes broadcast.

    Args:
        kinds: dtypes allowed, as in :func:`require`.
        result: the dtype of the output (default: that of the inputs).
    """
    allowed = frozenset("bifcs".index(k) if k != "s" else -1 for k in kinds)

    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        a = inputs[0]
        dtype = a.dtype
        if dtype.kind not in allowed:
            require(inputs, kinds)
        if len(inputs) == 1:
            dims = a.dims
        elif len(inputs) == 2:
            b = inputs[1]
            if b.dtype is not dtype:
                require(inputs, kinds)
            dims = a.dims if a.dims == b.dims else broadcast(a.dims, b.dims)
        else:
            require(inputs, kinds)
            dims = broadcast_all([t.dims for t in inputs])
        return ((result or dtype, dims),)

    return infer


def elementwise(
    type: str,
    kernel: str | Callable[..., Any],
    arity: int = 1,
    partials: Sequence[Partial | None] | None = None,
    *,
    kinds: str = "fc",
    vjp: Any = None,
    jvp: Any = None,
    commutative: bool = False,
    shape_math: bool = False,
    flops: int = 1,
    inputs: tuple[str, ...] | None = None,
    doc: str = "",
    **more: Any,
) -> OpDef:
    """An op that works element by element, with broadcasting.

    Args:
        type: the op type.
        kernel: a ufunc's name, or ``f(xp, *arrays, out=None, **attrs)`` that
            honours ``out`` and allows it to be one of the inputs.
        arity: the number of inputs.
        partials: for each input, ``f(op) -> Tensor or number``, the derivative
            of the output with respect to it; None: never differentiated.
        kinds: dtypes taken, as in :func:`require`.
        vjp, jvp: rules that are cheaper than those from ``partials``.
        flops: per output element.
        more: further fields of :class:`OpDef`.
    """
    names = inputs or (("x",), ("x", "y"), ("x", "y", "z"))[arity - 1]
    if partials is not None:
        vjp = vjp or tuple(
            None if p is None else _pull(p, i) for i, p in enumerate(partials)
        )
        jvp = jvp or _push(tuple(partials))
    return OpDef(
        type,
        infer=infer_elementwise(kinds),
        kernel=kernel,
        inputs=names,
        vjp=vjp,
        jvp=jvp,
        inplace=tuple(range(arity)),
        writes_out=True,
        elementwise=True,
        commutative=commutative,
        shape_math=shape_math,
        flops=lambda ins, outs, attrs: flops * _count(outs[0].dims),
        batch=batch.elementwise,
        doc=doc,
        **more,
    )


def comparison(
    type: str,
    kernel: str,
    arity: int = 2,
    kinds: str = "bifc",
    doc: str = "",
    commutative: bool = False,
) -> OpDef:
    """An elementwise op with a bool result: no derivative goes through it."""
    return OpDef(
        type,
        infer=infer_elementwise(kinds, bool_),
        kernel=kernel,
        inputs=(("x",), ("x", "y"))[arity - 1],
        writes_out=True,
        elementwise=True,
        commutative=commutative,
        batch=batch.elementwise,
        doc=doc,
    )


def _count(dims: Dims) -> int:
    n = 1
    for d in dims or ():
        n *= d or 0
    return n


def _pull(partial: Partial, index: int) -> Callable[..., Tensor]:
    def rule(op: Operation, g: Tensor) -> Tensor:
        d = partial(op)
        if isinstance(d, Tensor) and d.dtype.is_complex:
            d = TABLE["conj"](d)
        return unbroadcast(op, index, TABLE["mul"](g, d))

    return rule


def _push(partials: tuple[Partial | None, ...]) -> Callable[..., Tensor]:
    def rule(op: Operation, *tangents: Tensor | None) -> Tensor:
        terms = [
            TABLE["mul"](t, p(op))
            for t, p in zip(tangents, partials)
            if t is not None and p is not None
        ]
        total = terms[0]
        for t in terms[1:]:
            total = TABLE["add"](total, t)
        return broadcast_like(total, op.outputs[0])

    return rule


def unbroadcast(op: Operation, index: int, g: Tensor) -> Tensor:
    """``g``, shaped like the op's output, summed to the shape of one input.

    Nothing is built where the shapes show that the input was not broadcast.
    """
    x = op.inputs[index]
    if g.dims == x.dims and is_static(x.dims):
        return g
    if not _may_be_broadcast(op, index):
        return g
    masked = home(op.graph)._local.context.masked
    if masked is not None and masked[0] is op:
        g = masked[1](g)  # a sum would mix what a where excludes with the rest
    return TABLE["sum_to"](g, x)  # type: ignore[no-any-return]


def _may_be_broadcast(op: Operation, index: int) -> bool:
    """Whether input ``index`` can be smaller than the output."""
    dims = op.inputs[index].dims
    if dims is None:
        return len(op.inputs) > 1
    for j, other in enumerate(op.inputs):
        if j == index:
            continue
        if other.dims is None or len(other.dims) > len(dims):
            return True
        for mine, theirs in zip(reversed(dims), reversed(other.dims)):
            if mine != theirs and theirs != 1 and mine in (1, None):
                return True
            if mine is None and theirs is None:
                return True
    return False


def broadcast_like(t: Tensor, like: Tensor) -> Tensor:
    """``t`` with the shape of ``like`` (nothing is built where it has it)."""
    if t.dims == like.dims and is_static(t.dims):
        return t
    return TABLE["broadcast_like"](t, like)  # type: ignore[no-any-return]
