"""Partial shapes: unknown dimensions, unknown rank, broadcasting, merging.

Inside the engine a shape is a plain tuple of ``int | None`` (None: a dimension
not known before the run), or None for unknown rank.  :class:`TensorShape` and
:class:`Dimension` give the same thing TF1's face, for user code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeGuard

from .errors import ShapeError
from .source import entry

__all__ = ["Dimension", "Dims", "TensorShape", "as_dims", "broadcast", "merge"]

#: A static shape: a tuple with None for unknown dimensions, or None (any rank).
Dims = tuple[int | None, ...] | None


def text(dims: Dims) -> str:
    """How messages write a shape: ``(32, ?, 3)``, ``()``, ``<unknown>``."""
    if dims is None:
        return "<unknown>"
    if len(dims) == 1:
        return f"({'?' if dims[0] is None else dims[0]},)"
    return "(" + ", ".join("?" if d is None else str(d) for d in dims) + ")"


def is_static(dims: Dims) -> TypeGuard[tuple[int, ...]]:
    """Whether rank and every dimension are known."""
    return dims is not None and None not in dims


def size(dims: Dims) -> int | None:
    """Number of elements, or None where it is not known."""
    if dims is None:
        return None
    n = 1
    unknown = False
    for d in dims:
        if d is None:
            unknown = True
        elif d == 0:
            return 0
        else:
            n *= d
    return None if unknown else n


def compatible(a: Dims, b: Dims) -> bool:
    """Whether some concrete shape fits both."""
    if a is None or b is None:
        return True
    if len(a) != len(b):
        return False
    return all(x == y or x is None or y is None for x, y in zip(a, b))


def merge(a: Dims, b: Dims) -> Dims:
    """What is known when both hold of one tensor.

    Raises:
        ShapeError: no shape fits both.
    """
    if a is None:
        return b
    if b is None or a == b:
        return a
    if not compatible(a, b):
        raise ShapeError(f"shapes {text(a)} and {text(b)} are not compatible")
    return tuple(y if x is None else x for x, y in zip(a, b))


def broadcast(a: Dims, b: Dims) -> Dims:
    """NumPy's broadcast of two partial shapes.

    An unknown dimension against n > 1 is n (it must be 1 or n); against 1 it
    stays unknown.

    Raises:
        ShapeError: two known dimensions differ and neither is 1.
    """
    if a == b:
        return a
    if a is None or b is None:
        return None
    if not a:
        return b
    if not b:
        return a
    if len(a) < len(b):
        a = (1,) * (len(b) - len(a)) + a
    elif len(b) < len(a):
        b = (1,) * (len(a) - len(b)) + b
    out: list[int | None] = []
    for x, y in zip(a, b):
        if x == y or y == 1:
            out.append(x)
        elif x == 1 or x is None:
            out.append(y)
        elif y is None:
            out.append(x)
        else:
            raise ShapeError(f"shapes {text(a)} and {text(b)} do not broadcast")
    return tuple(out)


def broadcast_all(shapes: Sequence[Dims]) -> Dims:
    """:func:`broadcast` over any number of shapes."""
    out: Dims = ()
    for s in shapes:
        out = broadcast(out, s)
    return out


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """``axis`` counted from the front.

    Raises:
        ShapeError: ``axis`` is outside ``[-rank, rank)``.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"{entry()}{what} {axis} is out of range for rank {rank}")
    return axis + rank if axis < 0 else axis


class Dimension:
    """One dimension, known or not, with TF1's habits (``shape[1].value``).

    A known Dimension works as an ``int`` in ``range``, NumPy shapes and
    arithmetic.  Arithmetic with an unknown one is unknown; comparing with an
    unknown one gives None, as in TF1.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Dimension):
            value = value._value
        elif value is not None:
            value = value.__index__()
            if value < 0:
                raise ShapeError(f"dimension {value} must be >= 0")
        self._value: int | None = value

    @property
    def value(self) -> int | None:
        """The size, or None where it is unknown."""
        return self._value

    def is_compatible_with(self, other: Any) -> bool:
        """Whether both may be the same size."""
        other = Dimension(other)
        return self._value is None or other._value in (None, self._value)

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ShapeError unless both may be the same size."""
        self.merge_with(other)

    def merge_with(self, other: Any) -> Dimension:
        """What is known when both hold; raises ShapeError where they differ."""
        other = Dimension(other)
        if not self.is_compatible_with(other):
            raise ShapeError(f"dimensions {self} and {other} are not compatible")
        return other if self._value is None else self

    def __index__(self) -> int:
        if self._value is None:
            raise TypeError("this dimension is not known before the run")
        return self._value

    def __int__(self) -> int:
        return self.__index__()

    def __hash__(self) -> int:
        return hash(self._value)

    def _with(self, other: Any, f: Any) -> Any:
        try:
            other = Dimension(other)
        except (TypeError, AttributeError):
            return NotImplemented
        if self._value is None or other._value is None:
            return None
        return f(self._value, other._value)

    def _dim(self, other: Any, f: Any) -> Any:
        if isinstance(other, float):
            return NotImplemented if self._value is None else f(self._value, other)
        result = self._with(other, f)
        return result if result is NotImplemented else Dimension(result)

    def __eq__(self, other: object) -> Any:
        return self._with(other, lambda a, b: a == b)

    def __ne__(self, other: object) -> Any:
        return self._with(other, lambda a, b: a != b)

    def __lt__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a >= b)

    def __add__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: b // a)

    def __mod__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Any:
        return self._dim(other, lambda a, b: b % a)

    def __truediv__(self, other: Any) -> float:
        return float(int(self) / other)

    def __rtruediv__(self, other: Any) -> float:
        return float(other / int(self))

    def __pow__(self, other: Any) -> Any:
        return int(self) ** other

    def __repr__(self) -> str:
        return f"Dimension({self._value})"

    def __str__(self) -> str:
        return "?" if self._value is None else str(self._value)

    def __format__(self, spec: str) -> str:
        return format(str(self) if self._value is None else self._value, spec)


class TensorShape:
    """A static shape as user code reads it (TF1's class).

    ``shape[1]`` is a :class:`Dimension`, ``shape[1:]`` a TensorShape; ``==``
    also takes lists and tuples.

    >>> TensorShape([None, 3]).as_list()
    [None, 3]
    >>> TensorShape([None, 3])[1].value
    3
    """

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        self._dims = as_dims(dims)

    @property
    def dims(self) -> list[Dimension] | None:
        """The dimensions, or None for unknown rank."""
        return None if self._dims is None else [Dimension(d) for d in self._dims]

    @property
    def ndims(self) -> int | None:
        """The rank, or None where it is unknown."""
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """The dimensions as a list; raises ShapeError for unknown rank."""
        if self._dims is None:
            raise ShapeError("as_list() is not defined on a shape of unknown rank")
        return list(self._dims)

    def as_tuple(self) -> Dims:
        """The shape as the engine holds it."""
        return self._dims

    def num_elements(self) -> int | None:
        """The number of elements, or None where it is not known."""
        return size(self._dims) if is_static(self._dims) else None

    def is_fully_defined(self) -> bool:
        """Whether rank and every dimension are known."""
        return is_static(self._dims)

    def assert_is_fully_defined(self) -> None:
        """Raises ShapeError unless the shape is fully known."""
        if not is_static(self._dims):
            raise ShapeError(f"shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether some concrete shape fits both."""
        return compatible(self._dims, as_dims(other))

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ShapeError unless some concrete shape fits both."""
        if not self.is_compatible_with(other):
            other_text = text(as_dims(other))
            raise ShapeError(f"shapes {self} and {other_text} are not compatible")

    def merge_with(self, other: Any) -> TensorShape:
        """What is known when both hold; raises ShapeError where they clash."""
        return TensorShape(merge(self._dims, as_dims(other)))

    def assert_same_rank(self, other: Any) -> None:
        """Raises ShapeError unless the ranks may be the same."""
        dims = as_dims(other)
        if dims is not None:
            self.with_rank(len(dims))

    def with_rank(self, rank: int) -> TensorShape:
        """This shape with its rank known; raises ShapeError for another rank."""
        return self.merge_with((None,) * rank)

    assert_has_rank = with_rank

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """This shape; raises ShapeError if its known rank is less."""
        if self._dims is not None and len(self._dims) < rank:
            raise ShapeError(f"shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """This shape; raises ShapeError if its known rank is more."""
        if self._dims is not None and len(self._dims) > rank:
            raise ShapeError(f"shape {self} must have rank at most {rank}")
        return self

    def concatenate(self, other: Any) -> TensorShape:
        """This shape followed by ``other``; unknown rank where either is."""
        other = as_dims(other)
        if self._dims is None or other is None:
            return TensorShape(None)
        return TensorShape(self._dims + other)

    def __getitem__(self, key: Any) -> Any:
        if self._dims is None:
            if isinstance(key, slice):
                return TensorShape(None)
            return Dimension(None)
        if isinstance(key, slice):
            return TensorShape(self._dims[key])
        return Dimension(self._dims[key])

    def __len__(self) -> int:
        if self._dims is None:
            raise ShapeError("a shape of unknown rank has no len()")
        return len(self._dims)

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ShapeError("cannot iterate over a shape of unknown rank")
        return (Dimension(d) for d in self._dims)

    def __bool__(self) -> bool:
        return self._dims is not None

    def __eq__(self, other: object) -> bool:
        try:
            return self._dims == as_dims(other)
        except (TypeError, ValueError):
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._dims)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __repr__(self) -> str:
        if self._dims is None:
            return "TensorShape(None)"
        return f"TensorShape({list(self._dims)})"

    def __str__(self) -> str:
        return text(self._dims)


def as_dims(shape: Any) -> Dims:
    """The engine's tuple for anything that TF1 takes as a static shape.

    Takes None (unknown rank), an int (one dimension), a TensorShape, or an
    iterable of ints, None and Dimensions; -1 is not a shape here.

    Raises:
        ShapeError: a negative dimension.
        TypeError: something that is no dimension.
    """
    if shape is None:
        return None
    if isinstance(shape, TensorShape):
        return shape._dims
    if isinstance(shape, Dimension):
        return (shape.value,)
    if isinstance(shape, Iterable):
        return tuple(_dim(d) for d in shape)
    return (_dim(shape),)


def _dim(d: Any) -> int | None:
    if d is None:
        return None
    if isinstance(d, Dimension):
        return d.value
    try:
        d = d.__index__()
    except AttributeError:
        raise TypeError(f"{d!r} is not a dimension (an int or None)") from None
    if d < 0:
        raise ShapeError(f"dimension {d} must be >= 0 (None means unknown)")
    return int(d)
