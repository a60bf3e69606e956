"""Element types: TF1's names over NumPy's dtypes, and promotion.

``dagrad.float32`` is an interned :class:`DType`; NumPy takes it wherever it
takes a dtype (``np.zeros(3, dagrad.float32)``).

Promotion is NumPy's (``np.result_type``) for tensors.  Python scalars are weak:
they take the other operand's dtype unless their kind is higher, in which case
they count as TF1's defaults (``float32``, ``int32``, ``complex128``).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .errors import DTypeError

__all__ = ["DTYPES", "DType", "as_dtype", "convert_exactly", "promote"]

# bool < integer < floating < complex; strings promote with nothing.
_KIND = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3, "O": -1}


class DType:
    """An element type: TF1's face on one NumPy dtype (interned, compare by ==)."""

    __slots__ = (
        "dtype",
        "is_bool",
        "is_complex",
        "is_floating",
        "is_inexact",
        "is_integer",
        "is_unsigned",
        "kind",
        "name",
        "size",
    )

    def __init__(self, name: str, dtype: np.dtype[Any]) -> None:
        self.name = name
        self.dtype = dtype
        #: 0 bool, 1 integer, 2 floating, 3 complex, -1 string.
        self.kind = _KIND[dtype.kind]
        #: Bytes of one element.
        self.size = dtype.itemsize
        self.is_floating = dtype.kind == "f"
        self.is_complex = dtype.kind == "c"
        self.is_integer = dtype.kind in "iu"
        self.is_unsigned = dtype.kind == "u"
        self.is_bool = dtype.kind == "b"
        #: Floating or complex: what a gradient can flow through.
        self.is_inexact = self.kind >= 2

    @property
    def as_numpy_dtype(self) -> type[Any]:
        """The NumPy scalar type, as in TF1 (``np.float32`` for ``float32``)."""
        return self.dtype.type

    @property
    def base_dtype(self) -> DType:
        """The dtype itself: dagrad has no reference dtypes."""
        return self

    @property
    def real_dtype(self) -> DType:
        """The dtype of the real part (``float64`` for ``complex128``)."""
        return _REAL.get(self.name, self)

    @property
    def is_numpy_compatible(self) -> bool:
        """True: every dtype is a NumPy dtype."""
        return True

    @property
    def min(self) -> Any:
        """Least finite value."""
        return self._limits()[0]

    @property
    def max(self) -> Any:
        """Greatest finite value."""
        return self._limits()[1]

    @property
    def limits(self) -> tuple[Any, Any]:
        """``(min, max)``."""
        return self._limits()

    def _limits(self) -> tuple[Any, Any]:
        if self.is_floating:
            f = np.finfo(self.dtype)
            return f.min, f.max
        if self.is_integer:
            i = np.iinfo(self.dtype)
            return i.min, i.max
        if self.is_bool:
            return False, True
        raise DTypeError(f"{self.name} has no least and greatest value")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether ``other`` names the same dtype."""
        return self is as_dtype(other)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other is None or isinstance(other, DType):
            return False
        try:
            return self is as_dtype(other)
        except (TypeError, ValueError):
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"dagrad.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


def _make(name: str, numpy_name: str) -> DType:
    return DType(name, np.dtype(numpy_name))


float16 = _make("float16", "float16")
float32 = _make("float32", "float32")
float64 = _make("float64", "float64")
int8 = _make("int8", "int8")
int16 = _make("int16", "int16")
int32 = _make("int32", "int32")
int64 = _make("int64", "int64")
uint8 = _make("uint8", "uint8")
uint16 = _make("uint16", "uint16")
uint32 = _make("uint32", "uint32")
uint64 = _make("uint64", "uint64")
bool_ = _make("bool", "bool")
complex64 = _make("complex64", "complex64")
complex128 = _make("complex128", "complex128")
string = _make("string", "O")

#: All dtypes by name.
DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
        uint16,
        uint32,
        uint64,
        bool_,
        complex64,
        complex128,
        string,
    )
}
_REAL = {"complex64": float32, "complex128": float64}
_ALIASES = {"half": float16, "float": float32, "double": float64, "str": string}
_BY_NUMPY: dict[Any, DType] = {d.dtype: d for d in DTYPES.values()}
_BY_PYTHON: dict[Any, DType] = {
    float: float32,
    int: int32,
    bool: bool_,
    complex: complex128,
    str: string,
    bytes: string,
}


def as_dtype(type_value: Any) -> DType:
    """The :class:`DType` for a DType, name, NumPy dtype or Python type.

    Python's ``float`` is float32 and ``int`` is int32, as in TF1.

    Raises:
        DTypeError: ``type_value`` names no dtype that dagrad has.
    """
    if type(type_value) is DType:
        return type_value
    found = _BY_NUMPY.get(type_value) if isinstance(type_value, np.dtype) else None
    if found is None and isinstance(type_value, str):
        found = DTYPES.get(type_value) or _ALIASES.get(type_value)
    if found is None and isinstance(type_value, type):
        found = _BY_PYTHON.get(type_value)
    if found is not None:
        return found
    try:
        numpy_dtype = np.dtype(type_value)
    except TypeError:
        raise DTypeError(f"{type_value!r} is not a dtype that dagrad has") from None
    if numpy_dtype.kind in "SU":
        return string
    found = _BY_NUMPY.get(numpy_dtype.newbyteorder("="))
    if found is None:
        raise DTypeError(f"{type_value!r} is not a dtype that dagrad has")
    return found


@cache
def promote(a: DType, b: DType) -> DType:
    """The dtype that holds both, by NumPy's rules (``int32, float32 -> float64``).

    Raises:
        DTypeError: one is a string and the other is not.
    """
    if a is b:
        return a
    if a.kind < 0 or b.kind < 0:
        raise DTypeError(f"{a.name} and {b.name} have no common dtype")
    return _BY_NUMPY[np.result_type(a.dtype, b.dtype)]


def promote_weak(strong: DType, python_type: type) -> DType:
    """The result dtype of a tensor of dtype ``strong`` and a Python scalar.

    The scalar takes the tensor's dtype unless its kind is higher; then it
    counts as float32, int32 or (for complex) the complex of the tensor's width.
    """
    kind = _BY_PYTHON[python_type].kind
    if kind <= strong.kind:
        return strong
    if kind == 3:
        return complex64 if strong in (float32, float16) else complex128
    return _BY_PYTHON[python_type]


def convert_exactly(array: Any, dtype: DType) -> Any:
    """``array`` as ``dtype``, where that loses nothing but float precision.

    Numbers out of a float's range become infinities.

    Raises:
        DTypeError: fractions or values out of range for an integer dtype,
            complex for a real one, numbers for bool, strings.
    """
    target = dtype.dtype
    if array.dtype == target:
        return array
    kind = array.dtype.kind
    if kind not in "biufc" or target.kind == "O":
        raise DTypeError(f"{array.dtype} cannot become {dtype.name}")
    if kind == "c" and target.kind != "c":
        raise DTypeError(f"complex values cannot become {dtype.name}")
    if target.kind == "b" and array.size:
        raise DTypeError(f"{array.dtype} values cannot become bool; compare them")
    with np.errstate(all="ignore"):
        out = array.astype(target)
    if target.kind in "iu" and array.size:
        same = out.astype(array.dtype) == array
        if "u" in (kind, target.kind):
            same &= (array < 0) == (out < 0)
        if not bool(np.all(same)):
            first = array[~same].reshape(-1)[0] if array.ndim else array[()]
            raise DTypeError(
                f"values of {array.dtype} do not fit {dtype.name} exactly "
                f"(such as {first})"
            )
    return out
