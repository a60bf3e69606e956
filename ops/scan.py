"""Running sums and products along an axis, and the linear recurrence beneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series
from ..graphlib.shapes import merge, normalize_axis
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create
from ._jets import Coefficient, cauchy, total
from ._kinds import require
from ._later import batch
from .reduction import fixed_axes, input_flops
from .views import reshape

__all__ = ["cumprod", "cumsum"]


def _along(x: Any, axis: int | None, reverse: bool) -> Any:
    """``x`` with the scanned axis first, in scan order: a view.

    Axis None scans all elements in C order (the array must be contiguous).
    """
    x = x.reshape(-1) if axis is None else x.swapaxes(0, axis)
    return x[::-1] if reverse else x


def _infer_scan(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    require(inputs[:1], "ifc")
    if x.dims is not None and attrs["axis"] is not None:
        normalize_axis(attrs["axis"], len(x.dims))
    return ((x.dtype, x.dims),)


def _scan_kernel(ufunc: str, identity: int) -> Any:
    def kernel(
        xp: Any,
        x: Any,
        *,
        axis: int | None,
        exclusive: bool,
        reverse: bool,
        out: Any = None,
    ) -> Any:
        accumulate = getattr(xp, ufunc).accumulate
        if out is None:
            out = xp.empty(x.shape, x.dtype)
        source, target = _along(x, axis, reverse), _along(out, axis, reverse)
        if not exclusive:
            accumulate(source, 0, x.dtype, target)
        elif target.shape[0]:
            target[0] = identity
            accumulate(source[:-1], 0, x.dtype, target[1:])
        return out

    return kernel


def _scan_again(op: Operation, g: Tensor) -> Tensor:
    attrs = dict(op.attrs)
    attrs["reverse"] = not attrs["reverse"]
    return create(op.opdef, (g,), attrs)


CUMSUM = OpDef(
    "Cumsum",
    infer=_infer_scan,
    kernel=_scan_kernel("add", 0),
    inputs=("x",),
    linear=True,
    vjp=(_scan_again,),
    jvp=lambda op, t: create(op.opdef, (t,), dict(op.attrs)),
    writes_out=True,
    flops=input_flops,
    batch=batch.scan,
    doc="y[i] = x[0] + ... + x[i]",
)


# -- linear recurrence -----------------------------------------------------------------


def _infer_recurrence(inputs: Sequence[Any], attrs: Any) -> Any:
    a, b = inputs
    require(inputs, "fc")
    return ((a.dtype, merge(a.dims, b.dims)),)


def _kept(xp: Any, a: Any, b: Any, keep: Any) -> Any:
    """a b where it is kept, else 0."""
    return xp.multiply(a, b, out=xp.zeros(xp.shape(b), b.dtype), where=keep)


def _recurrence_kernel(
    xp: Any, a: Any, b: Any, *, axis: int | None, reverse: bool, out: Any = None
) -> Any:
    if out is None:
        out = xp.empty(b.shape, b.dtype)
    xp.copyto(out, b)
    a, s = _along(a, axis, reverse), _along(out, axis, reverse)
    n = s.shape[0]
    # A factor 0 cuts: what is before it counts for nothing, though it be infinite.
    keep = a != 0
    if n * 16 <= s.size or n < 32:
        rows = keep.all(axis=tuple(range(1, keep.ndim))).tolist()
        for i in range(1, n):
            s[i] += a[i] * s[i - 1] if rows[i] else _kept(xp, a[i], s[i - 1], keep[i])
        return out
    # A long thin scan: combine neighbours at distance 1, 2, 4, ... at once.
    p = xp.array(a)
    p[0], keep[0] = 0, True
    cuts = not keep.all()
    keep[0] = False
    step = 1
    while step < n:
        if cuts:
            s[step:] += _kept(xp, p[step:], s[:-step], keep[step:])
            keep[step:] = keep[step:] & keep[:-step]
            p[step:] = _kept(xp, p[step:], p[:-step], keep[step:])
        else:
            s[step:] += p[step:] * s[:-step]
            p[step:] = p[step:] * p[:-step]
        step *= 2
    return out


def _delayed(
    xp: Any, x: Any, *, axis: int | None, reverse: bool, out: Any = None
) -> Any:
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    source, target = _along(x, axis, reverse), _along(out, axis, reverse)
    if target.shape[0]:
        target[0] = 0
        target[1:] = source[:-1]
    return out


DELAY = OpDef(
    "Delay",
    infer=_infer_scan,
    kernel=_delayed,
    inputs=("x",),
    linear=True,
    vjp=(_scan_again,),
    jvp=lambda op, t: create(op.opdef, (t,), dict(op.attrs)),
    writes_out=True,
    flops=lambda i, o, a: 0,
    batch=batch.scan,
    doc="y[i] = x[i-1], y[0] = 0",
)


def delay(x: Tensor, axis: int | None, reverse: bool) -> Tensor:
    """y[i] = x[i-1] along ``axis``, y[0] = 0 (``reverse``: from the other end)."""
    return create(DELAY, (x,), {"axis": axis, "reverse": reverse})


def _recurrence_pull(op: Operation, g: Tensor) -> Tensor:
    """The adjoint scan: u[i] = g[i] + conj(a[i+1]) u[i+1]."""
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    a = op.inputs[0]
    if a.dtype.is_complex:
        a = TABLE["conj"](a)
    return linear_recurrence(delay(a, axis, not reverse), g, axis, not reverse)


def _recurrence_vjp(op: Operation, g: Tensor) -> list[Tensor]:
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    u = _recurrence_pull(op, g)
    before = delay(op.outputs[0], axis, reverse)
    if before.dtype.is_complex:
        before = TABLE["conj"](before)
    return [TABLE["mul"](u, before), u]


def _recurrence_jvp(op: Operation, ta: Tensor | None, tb: Tensor | None) -> Tensor:
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    if ta is not None:
        term = TABLE["mul"](ta, delay(op.outputs[0], axis, reverse))
        tb = term if tb is None else TABLE["add"](tb, term)
    assert tb is not None
    return linear_recurrence(op.inputs[0], tb, axis, reverse)


def _recurrence_jet(op: Operation, series: list[Series]) -> list[Series]:
    """s_k[i] = a_0[i] s_k[i-1] + (b_k[i] + Σ a_j[i] s_(k-j)[i-1] over j >= 1)."""
    a, b = series
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    s: Series = [op.outputs[0]]
    before: Series = []
    for k in range(1, len(a)):
        before.append(_maybe_delayed(s[k - 1], axis, reverse))
        change = cauchy(TABLE["mul"], [None, *a[1:]], [*before, None], k)
        s.append(_recurring(op.inputs[0], total([b[k], change]), axis, reverse))
    return [s]


def _maybe_delayed(t: Coefficient, axis: int | None, reverse: bool) -> Coefficient:
    return None if t is None else delay(t, axis, reverse)


def _recurring(
    a: Tensor, b: Coefficient, axis: int | None, reverse: bool
) -> Coefficient:
    return None if b is None else linear_recurrence(a, b, axis, reverse)


LINEAR_RECURRENCE = OpDef(
    "LinearRecurrence",
    infer=_infer_recurrence,
    kernel=_recurrence_kernel,
    inputs=("a", "b"),
    vjp=_recurrence_vjp,
    jvp=_recurrence_jvp,
    jet=_recurrence_jet,
    writes_out=True,
    flops=lambda ins, outs, attrs: 2 * input_flops(ins, outs, attrs),
    batch=batch.scan,
    doc="s[i] = a[i] s[i-1] + b[i], s[0] = b[0]",
)


def linear_recurrence(
    a: Tensor, b: Tensor, axis: int | None = 0, reverse: bool = False
) -> Tensor:
    """s[i] = a[i] s[i-1] + b[i] along ``axis`` (None: all elements in C order).

    Shapes: a and b alike; a[0] is not used.  Where a[i] is 0, s[i] is b[i], even if
    s[i-1] is infinite or NaN: independent recurrences can stand one after the other.

    Gradient: the same recurrence, run the other way.

    Reference:
        Blelloch, Prefix sums and their applications (1990), section 1.4.1.
    """
    return create(LINEAR_RECURRENCE, (a, b), {"axis": axis, "reverse": reverse})


# -- running products ------------------------------------------------------------------


def _cumprod_pull(op: Operation, g: Tensor) -> Tensor:
    x = op.inputs[0]
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    if x.dtype.is_complex:
        x = TABLE["conj"](x)
    before = exclusive_scan(x, axis, reverse)
    if op.attrs["exclusive"]:
        g = delay(g, axis, not reverse)
    # u[k] = g[k] + x[k+1] u[k+1]: no division, so zeros in x do no harm.
    u = linear_recurrence(delay(x, axis, not reverse), g, axis, not reverse)
    return TABLE["mul"](before, u)  # type: ignore[no-any-return]


def _cumprod_jvp(op: Operation, t: Tensor) -> Tensor:
    x = op.inputs[0]
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    # d y[i] = x[i] d y[i-1] + y[i-1] d x[i].
    term = TABLE["mul"](exclusive_scan(x, axis, reverse), t)
    dy = linear_recurrence(x, term, axis, reverse)
    return delay(dy, axis, reverse) if op.attrs["exclusive"] else dy


def _cumprod_jet(op: Operation, series: list[Series]) -> list[Series]:
    """y_k[i] = x_0[i] y_k[i-1] + Σ x_j[i] y_(k-j)[i-1] over j >= 1."""
    x_0, x = op.inputs[0], series[0]
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    before: Series = [exclusive_scan(x_0, axis, reverse)]
    found: Series = []
    for k in range(1, len(x)):
        change = cauchy(TABLE["mul"], [None, *x[1:]], [*before, None], k)
        found.append(_recurring(x_0, change, axis, reverse))
        before.append(_maybe_delayed(found[-1], axis, reverse))
    return [[op.outputs[0], *(before[1:] if op.attrs["exclusive"] else found)]]


CUMPROD = OpDef(
    "Cumprod",
    infer=_infer_scan,
    kernel=_scan_kernel("multiply", 1),
    inputs=("x",),
    vjp=(_cumprod_pull,),
    jvp=_cumprod_jvp,
    jet=_cumprod_jet,
    writes_out=True,
    flops=input_flops,
    batch=batch.scan,
    doc="y[i] = x[0] * ... * x[i]",
)


def exclusive_scan(x: Tensor, axis: int | None, reverse: bool) -> Tensor:
    """The product of the elements before each, along ``axis``."""
    attrs = {"axis": axis, "exclusive": True, "reverse": reverse}
    return create(CUMPROD, (x,), attrs)


def exclusive_product(x: Tensor, axis: int | None) -> Tensor:
    """The product of all other elements along ``axis`` (None: of all elements)."""
    return TABLE["mul"](  # type: ignore[no-any-return]
        exclusive_scan(x, axis, False), exclusive_scan(x, axis, True)
    )


# -- builders --------------------------------------------------------------------------


def _scan(
    opdef: OpDef, x: Any, axis: Any, exclusive: bool, reverse: bool, name: str | None
) -> Tensor:
    t = as_tensor(x)
    axes = fixed_axes(axis, t.dims, opdef.type)
    if axes is None or len(axes) != 1:
        raise InvalidArgumentError(f"{opdef.type}: takes one axis, not {axis}")
    if t.dims == ():
        raise ShapeError(f"{opdef.type}: a scalar has no axis")
    attrs = {"axis": axes[0], "exclusive": bool(exclusive), "reverse": bool(reverse)}
    return create(opdef, (t,), attrs, name)


def cumsum(
    x: Any,
    axis: Any = 0,
    exclusive: bool = False,
    reverse: bool = False,
    name: str | None = None,
) -> Tensor:
    """y[i] = x[0] + ... + x[i] along ``axis``.

    Args:
        x: integers, floating or complex, of rank at least 1.
        axis: one axis, an int (negative: from the end) or a known tensor.
        exclusive: leave x[i] out: y[0] = 0.
        reverse: run from the end: y[i] = x[i] + ... + x[n-1].
        name: the name of the operation.

    Raises:
        ShapeError: an axis out of range.

    Gradient: the running sum of the cotangent from the other end.
    """
    return _scan(CUMSUM, x, axis, exclusive, reverse, name)


def cumprod(
    x: Any,
    axis: Any = 0,
    exclusive: bool = False,
    reverse: bool = False,
    name: str | None = None,
) -> Tensor:
    """y[i] = x[0] * ... * x[i] along ``axis``; arguments as for :func:`cumsum`.

    Gradient: right where elements are zero, to every order (a linear
    recurrence, not a quotient).
    """
    return _scan(CUMPROD, x, axis, exclusive, reverse, name)


OPERATORS = {"cumprod": cumprod, "cumsum": cumsum}


def _numpy_scan(builder: Any) -> Any:
    def scan(a: Any, axis: Any = None) -> Tensor:
        if axis is None:
            a, axis = reshape(a, [-1]), 0
        return builder(a, axis)  # type: ignore[no-any-return]

    return scan


NUMPY: dict[Any, Any] = {
    np.cumprod: _numpy_scan(cumprod),
    np.cumsum: _numpy_scan(cumsum),
}
