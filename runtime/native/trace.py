"""From kernels to scalar expressions: a kernel is run once on arrays that write down
what is done to them.

So an op is declared once, by its kernel, and its native form cannot differ from it.
A tape is in SSA form: every instruction is a tuple of a name, the dtype of its result
and what it reads (indices of earlier instructions), and equal ones are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Tape", "Untraceable", "trace"]

#: (name, dtype as a string, operands): "input" and "const" have one operand, the
#: position or the value; the others are named after ufuncs, or "cast" and "select".
Instruction = tuple[Any, ...]

#: What the generated code computes with.
DTYPES = frozenset(
    np.dtype(c).str for c in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "f4", "f8")
)
_WEAK = (bool, int, float)


class Untraceable(Exception):
    """A kernel does something that is no elementwise arithmetic."""


class Tape:
    """Instructions in order.

    Attributes:
        code: the instructions.
        known: what the generated code can do: f(ufunc, dtype of its operands).
    """

    def __init__(self, known: Callable[[str, str], bool]) -> None:
        self.code: list[Instruction] = []
        self.known = known
        self._index: dict[Instruction, int] = {}

    def add(self, name: str, dtype: str, *operands: Any) -> int:
        """The index of an instruction, which may be there already."""
        instruction = (name, dtype, *operands)
        found = self._index.get(instruction)
        if found is None:
            if dtype not in DTYPES:
                raise Untraceable(dtype)
            found = self._index[instruction] = len(self.code)
            self.code.append(instruction)
        return found

    def input(self, position: int, dtype: Any) -> int:
        """The element of an array that the kernel is given."""
        return self.add("input", np.dtype(dtype).str, position)

    def index(self) -> int:
        """The place of an element in its row, in kernels of rows."""
        return self.add("index", "<i8")

    def const(self, value: Any, dtype: Any) -> int:
        """A number, kept by its bits: NaN is equal to itself, 0 is not -0."""
        dtype = np.dtype(dtype)
        with np.errstate(all="ignore"):
            bits = np.asarray(value).astype(dtype).tobytes().hex()
        return self.add("const", dtype.str, bits)

    def cast(self, ref: int, dtype: Any) -> int:
        """An instruction's result in another dtype."""
        dtype = np.dtype(dtype).str
        old = self.code[ref][1]
        if old == dtype:
            return ref
        return self.add("cast", dtype, ref)

    def ufunc(self, f: Any, refs: Sequence[Any]) -> int:
        """A ufunc of instructions and Python scalars (which have no dtype)."""
        kinds = [
            type(r[0]) if isinstance(r, tuple) else np.dtype(self.code[r][1])
            for r in refs
        ]
        try:
            *takes, gives = f.resolve_dtypes((*kinds, None))
        except (TypeError, ValueError, OverflowError) as error:
            raise Untraceable(f"{f.__name__}: {error}") from error
        if not self.known(f.__name__, takes[0].str):
            raise Untraceable(f.__name__)
        operands = [
            self.const(r[0], d) if isinstance(r, tuple) else self.cast(r, d)
            for r, d in zip(refs, takes)
        ]
        return self.add(f.__name__, gives.str, *operands)

    def reduce(self, how: str, ref: int) -> int:
        """The "sum", "max" or "min" of a row, in kernels of rows."""
        return self.add(f"reduce_{how}", self.code[ref][1], ref)


class Traced:
    """An array of a kernel that is traced: its element, as an instruction.

    ``ref`` is None in fresh memory, and changes where the array is written.
    """

    __slots__ = ("dtype", "ref", "tape")

    def __init__(self, tape: Tape, dtype: Any, ref: int | None) -> None:
        self.tape = tape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.ref = ref

    @property
    def shape(self) -> Any:
        """All arrays of a traced kernel have one shape, which nobody may look at."""
        return _SHAPE

    def element(self) -> int:
        """The instruction of what was written last."""
        if self.ref is None:
            raise Untraceable("reads memory that was not written")
        return self.ref

    def put(self, ref: int, where: Any = True) -> Traced:
        """Write an element, where a mask says so."""
        tape = self.tape
        ref = tape.cast(ref, self.dtype)
        if where is not True and self.ref is not None:
            mask = _ref(tape, where)
            ref = tape.add("select", self.dtype.str, mask, ref, self.ref)
        self.ref = ref
        return self

    def __array_ufunc__(
        self, f: Any, method: str, *args: Any, out: Any = None, **kw: Any
    ) -> Any:
        if method != "__call__":
            raise Untraceable(f"{f.__name__}.{method}")
        return _apply(self.tape, f, args, out, **kw)

    def __array_function__(self, f: Any, types: Any, args: Any, kwargs: Any) -> Any:
        method = getattr(_Functions(self.tape), f.__name__, None)
        if method is None:
            raise Untraceable(f.__name__)
        return method(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"reads {name} of an array")

    def __bool__(self) -> bool:
        raise Untraceable("asks for the truth of an array")


class _Shape(tuple):  # type: ignore[type-arg]
    """The shape of every array of a traced kernel."""

    __slots__ = ()

    def __iter__(self) -> Any:
        raise Untraceable("reads a shape")

    __getitem__ = __len__ = __iter__  # type: ignore[assignment]


_SHAPE = _Shape()


def _ref(tape: Tape, x: Any) -> Any:
    """An operand as an instruction, or as a 1-tuple of a Python scalar."""
    if isinstance(x, Traced):
        return x.element()
    if type(x) in _WEAK:
        return (x,)
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0):
        return tape.const(x, x.dtype)
    raise Untraceable(f"an operand of type {type(x).__name__}")


def _apply(
    tape: Tape,
    f: Any,
    args: Sequence[Any],
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    if f.nout != 1:
        raise Untraceable(f.__name__)
    if len(args) > f.nin:
        args, out = args[: f.nin], args[f.nin]
    if isinstance(out, tuple):
        (out,) = out
    refs = [_ref(tape, a) for a in args]
    if dtype is not None:
        refs = [(r[0],) if isinstance(r, tuple) else tape.cast(r, dtype) for r in refs]
    ref = tape.ufunc(f, refs)
    if out is None:
        if where is not True:
            raise Untraceable("a mask without an output")
        return Traced(tape, tape.code[ref][1], ref)
    if not isinstance(out, Traced):
        raise Untraceable("an output that is no array of the kernel")
    return out.put(ref, where)


class _Functions:
    """What stands in the place of NumPy in a traced kernel."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __getattr__(self, name: str) -> Any:
        f = getattr(np, name, None)
        if isinstance(f, np.ufunc):
            return lambda *args, **kw: _apply(self._tape, f, args, **kw)
        if isinstance(f, type) and issubclass(f, np.generic):
            return f
        raise Untraceable(name)

    def empty(self, shape: Any, dtype: Any) -> Traced:
        if shape is not _SHAPE:
            raise Untraceable("an array of another shape")
        return Traced(self._tape, dtype, None)

    def empty_like(self, x: Traced, dtype: Any = None) -> Traced:
        return Traced(self._tape, x.dtype if dtype is None else dtype, None)

    def broadcast_shapes(self, *shapes: Any) -> Any:
        if any(s is not _SHAPE for s in shapes):
            raise Untraceable("an array of another shape")
        return _SHAPE

    def copyto(self, out: Any, x: Any, casting: str = "", where: Any = True) -> None:
        if not isinstance(out, Traced):
            raise Untraceable("an output that is no array of the kernel")
        ref = _ref(self._tape, x)
        if isinstance(ref, tuple):
            ref = self._tape.const(ref[0], out.dtype)
        out.put(ref, where)

    def where(self, c: Any, x: Any, y: Any) -> Traced:
        tape = self._tape
        mask = tape.cast(_ref(tape, c), np.bool_)
        a, b = _ref(tape, x), _ref(tape, y)
        if isinstance(a, tuple) or isinstance(b, tuple):
            raise Untraceable("where with a Python scalar")
        dtype = np.result_type(np.dtype(tape.code[a][1]), np.dtype(tape.code[b][1]))
        a, b = tape.cast(a, dtype), tape.cast(b, dtype)
        return Traced(tape, dtype, tape.add("select", dtype.str, mask, a, b))


def _cast(tape: Tape, refs: Sequence[int], attrs: Mapping[str, Any]) -> int:
    return tape.cast(refs[0], attrs["dtype"].dtype)


def _select(tape: Tape, refs: Sequence[int], attrs: Any) -> int:
    c, x, y = refs
    return tape.add("select", tape.code[x][1], c, x, y)


def _keep_positive(tape: Tape, refs: Sequence[int], attrs: Any) -> int:
    y, g = refs
    dtype = tape.code[g][1]
    positive = tape.ufunc(np.greater, (y, (0,)))
    return tape.add("select", dtype, positive, g, tape.const(0, dtype))


def _relu6_grad(tape: Tape, refs: Sequence[int], attrs: Any) -> int:
    below = tape.ufunc(np.greater_equal, (refs[0], (6,)))
    dtype = tape.code[refs[1]][1]
    kept = _keep_positive(tape, refs, attrs)
    return tape.add("select", dtype, below, tape.const(0, dtype), kept)


def _add_up(tape: Tape, refs: Sequence[int], attrs: Any) -> int:
    total = refs[0]
    for r in refs[1:]:
        total = tape.ufunc(np.add, (total, r))
    return total


#: Ops whose kernels choose by bits, or between whole arrays: the same by element.
_BY_TYPE: dict[str, Callable[[Tape, Sequence[int], Mapping[str, Any]], int]] = {
    "AddN": _add_up,
    "Cast": _cast,
    "ReluGrad": _keep_positive,
    "Relu6Grad": _relu6_grad,
    "SelectV2": _select,
}


#: Ops that are one function natively, though not to NumPy.
_FUNCTIONS = {
    "Erf": "erf",
    "Erfc": "erfc",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
}


def trace(tape: Tape, opdef: Any, attrs: Mapping[str, Any], refs: Sequence[int]) -> int:
    """Write down what an op does to elements; returns the instruction of its result.

    Raises:
        Untraceable: it is not known how to do that natively.
    """
    known = _BY_TYPE.get(opdef.type)
    if known is not None:
        return known(tape, refs, attrs)
    name = _FUNCTIONS.get(opdef.type)
    if name is not None and tape.known(name, tape.code[refs[0]][1]):
        return tape.add(name, tape.code[refs[0]][1], refs[0])
    if isinstance(opdef.kernel, str):
        return tape.ufunc(getattr(np, opdef.kernel), refs)
    arrays = [Traced(tape, tape.code[r][1], r) for r in refs]
    try:
        result = opdef.kernel(_Functions(tape), *arrays, **attrs)
    except Untraceable:
        raise
    except Exception as error:
        raise Untraceable(f"{opdef.type}: {error}") from error
    return _ref(tape, result)  # type: ignore[no-any-return]
