"""Tensors made from sizes and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import create, graph_of, shape_vector

__all__ = ["fill"]


def _infer_fill(inputs: Sequence[Any], attrs: Any) -> Any:
    sizes, value = inputs
    if value.dims:
        raise ShapeError(f"the value must be a scalar, not {text(value.dims)}")
    return ((value.dtype, known_dims(sizes)),)


def _fill_kernel(xp: Any, sizes: Any, value: Any, out: Any = None) -> Any:
    if out is None:
        return xp.full(tuple(int(n) for n in sizes), value, value.dtype)
    out[...] = value
    return out


def _fill_rule(op: Operation, g: Tensor) -> Tensor:
    return TABLE["sum_to"](g, op.inputs[1])  # type: ignore[no-any-return]


FILL = OpDef(
    "Fill",
    infer=_infer_fill,
    kernel=_fill_kernel,
    inputs=("dims", "value"),
    vjp=(None, _fill_rule),
    jvp=lambda op, _, t: create(FILL, (op.inputs[0], t)),
    writes_out=True,
    shape_math=True,
    flops=lambda i, o, a: 0,
    doc="an array whose elements all are value",
)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """An array of shape ``dims`` whose elements all are ``value``.

    Args:
        dims: the sizes, an integer vector (rank,) or what becomes one.
        value: a scalar; its dtype is the result's.
        name: the name of the operation.

    Raises:
        ShapeError: ``value`` is no scalar.

    Gradient: the sum of the cotangent goes to ``value``.
    """
    with graph_of(dims, value).as_default():
        return create(FILL, (shape_vector(dims), as_tensor(value)), None, name)


OPERATORS = {"fill": fill}
