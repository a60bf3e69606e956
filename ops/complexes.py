"""Complex numbers: parts, conjugates, moduli and arguments.

Cotangents follow TF1's convention: for real L, the cotangent of z = a + ib is
dL/da + i dL/db.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import as_dtype, complex64, complex128
from ..graphlib.errors import DTypeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import broadcast
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, pair
from ._kinds import broadcast_like, elementwise, unbroadcast
from ._later import batch
from ._pointwise import pointwise, unary
from .elementwise import multiply, realdiv
from .logical import less, where_v2
from .rounding import sign

__all__ = ["angle", "complex_", "complex_abs", "conj", "imag", "real"]


def _infer_real(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    if not x.dtype.is_complex:
        raise DTypeError(f"takes complex, not {x.dtype.name}")
    return ((x.dtype.real_dtype, x.dims),)


def _infer_complex(inputs: Sequence[Any], attrs: Any) -> Any:
    a, b = inputs
    if a.dtype is not b.dtype or a.dtype.name not in ("float32", "float64"):
        raise DTypeError(
            f"takes two float32 or two float64, not {a.dtype.name} and {b.dtype.name}"
        )
    dtype = complex64 if a.dtype.name == "float32" else complex128
    return ((dtype, broadcast(a.dims, b.dims)),)


def _complex_kernel(xp: Any, a: Any, b: Any, out: Any = None) -> Any:
    if out is None:
        dims = xp.broadcast_shapes(a.shape, b.shape)
        out = xp.empty(dims, xp.complex64 if a.itemsize == 4 else xp.complex128)
    out.real = a
    out.imag = b
    return out


def _with_zero(a: Tensor | None, b: Tensor | None) -> Tensor:
    """a + ib, where one of them may be None for 0."""
    zero = TABLE["zeros_like"]
    if a is None:
        a = zero(b)
    return complex_(a, zero(a) if b is None else b)


COMPLEX = pointwise(
    "Complex",
    _complex_kernel,
    ("real", "imag"),
    "f",
    linear=True,
    vjp=(
        lambda op, g: unbroadcast(op, 0, real(g)),
        lambda op, g: unbroadcast(op, 1, imag(g)),
    ),
    jvp=lambda op, a, b: broadcast_like(_with_zero(a, b), op.outputs[0]),
    infer=_infer_complex,
    doc="z = a + ib",
)


def complex_(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """a + ib, with broadcasting: float32 gives complex64, else complex128.

    Gradient: Re g to the real part, Im g to the imaginary part.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: a part that is neither float32 nor float64.
    """
    real, imag = pair(real, imag)
    return create(COMPLEX, (real, imag), None, name or "Complex")


REAL = OpDef(
    "Real",
    infer=_infer_real,
    kernel=lambda xp, x, out=None: x.real,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: _with_zero(g, None),),
    jvp=lambda op, t: real(t),
    alias=0,
    flops=lambda i, o, a: 0,
    batch=batch.elementwise,
    doc="y = Re x",
)

IMAG = OpDef(
    "Imag",
    infer=_infer_real,
    kernel=lambda xp, x, out=None: x.imag,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: _with_zero(None, g),),
    jvp=lambda op, t: imag(t),
    alias=0,
    flops=lambda i, o, a: 0,
    batch=batch.elementwise,
    doc="y = Im x",
)


def real(input: Any, name: str | None = None) -> Tensor:
    """The real part (a view); a real tensor is returned as it is.  Gradient: g."""
    t = as_tensor(input)
    return unary(REAL, t, name) if t.dtype.is_complex else t


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary part (a view); zeros for a real tensor.  Gradient: i g."""
    t = as_tensor(input)
    if not t.dtype.is_complex:
        return TABLE["zeros_like"](t)  # type: ignore[no-any-return]
    return unary(IMAG, t, name)


CONJ = elementwise(
    "Conj",
    "conjugate",
    kinds="c",
    linear=True,
    vjp=(lambda op, g: conj(g),),
    jvp=lambda op, t: conj(t),
    doc="y = Re x - i Im x",
)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The conjugate; a real tensor is returned as it is.  Gradient: conj(g)."""
    t = as_tensor(x)
    return unary(CONJ, t, name) if t.dtype.is_complex else t


def _abs_jvp(op: Operation, t: Tensor) -> Tensor:
    return real(multiply(conj(sign(op.inputs[0])), t))


COMPLEX_ABS = pointwise(
    "ComplexAbs",
    "absolute",
    ("x",),
    "c",
    vjp=(lambda op, g: multiply(_with_zero(g, None), sign(op.inputs[0])),),
    jvp=_abs_jvp,
    flops=4,
    infer=_infer_real,
    doc="y = |x|",
)


def complex_abs(x: Any, name: str | None = None) -> Tensor:
    """The modulus √(a² + b²) of a complex tensor, real, without overflow.

    Gradient: g x / |x|, 0 at 0.

    Raises:
        DTypeError: x is not complex.
    """
    return unary(COMPLEX_ABS, x, name)


def _angle_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    return xp.arctan2(x.imag, x.real, out)


ANGLE = pointwise(
    "Angle",
    _angle_kernel,
    ("input",),
    "c",
    vjp=(lambda op, g: realdiv(_with_zero(None, g), conj(op.inputs[0])),),
    jvp=lambda op, t: imag(realdiv(t, op.inputs[0])),
    flops=20,
    infer=_infer_real,
    doc="y = atan2(Im x, Re x)",
)


def angle(input: Any, name: str | None = None) -> Tensor:
    """The argument of x in [-π, π], real; π for negative real x (as NumPy).

    Gradient: i g / conj(x); NaN at 0.
    """
    t = as_tensor(input)
    if t.dtype.is_complex:
        return unary(ANGLE, t, name)
    if not t.dtype.is_floating:
        t = TABLE["cast"](t, as_dtype("float64"))
    return where_v2(less(t, 0), np.pi, TABLE["zeros_like"](t), name=name)


OPERATORS = {"conj": conj}

NUMPY = {
    np.angle: angle,
    np.conjugate: conj,
    np.imag: imag,
    np.real: real,
}
