"""Which calls of NumPy a kernel makes, found out by running it once.

The arrays given to the kernel are of a class of their own, :class:`Traced`, through
which NumPy tells the tape of every ufunc, reduction, copy and product.  What looks at
elements in Python (a branch on a value, an index) raises :class:`Untraceable`; what
else goes past the tape is found when the recorded calls are compared with the kernel
on other data (see ``vm_calls.verified``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Record", "Tape", "Untraceable"]


class Untraceable(Exception):
    """A kernel that does something else than calling loops on its arrays."""


class Record(NamedTuple):
    """One call of a kernel.

    Attributes:
        kind: "ufunc", "reduce", "copy", "select" or "matmul".
        ufunc: of "ufunc" and "reduce".
        ins, out: plain arrays; of "reduce", ``out`` has the reduced axes.
        dtypes: of the loop of a "ufunc".
        axes: of "reduce".
        told: which of ``ins`` were traced.
    """

    kind: str
    ufunc: Any
    ins: tuple[Any, ...]
    out: Any
    dtypes: tuple[Any, ...] = ()
    axes: tuple[int, ...] = ()
    told: tuple[bool, ...] = ()


class Tape:
    """The calls that a kernel made, in order."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def traced(self, array: Any) -> Any:
        """The same memory, telling this tape."""
        view = array.view(Traced)
        view.tape = self
        return view

    def copy(self, source: Any, target: Any) -> None:
        """Record and make a copy, with a cast where the dtypes differ."""
        told = (isinstance(source, Traced),)
        source, target = plain(source), plain(target)
        if not isinstance(source, np.ndarray):
            source = np.asarray(source, target.dtype)
        np.copyto(target, source, casting="unsafe")
        source = np.broadcast_to(source, target.shape)
        self.records.append(Record("copy", None, (source,), target, told=told))

    def ufunc(self, f: np.ufunc, inputs: Sequence[Any], out: Any, dtype: Any) -> Any:
        """Record and make a call of a ufunc with one output."""
        if f.nout != 1 or (f.signature is not None and f is not np.matmul):
            raise Untraceable(f.__name__)
        told = tuple(isinstance(x, Traced) for x in inputs)
        ins = [plain(x) for x in inputs]
        out = None if out is None else plain(out)
        asked: dict[str, Any] = {}
        if dtype is not None:
            asked["signature"] = (*[None] * f.nin, np.dtype(dtype))
        known = [
            type(x) if type(x) in (int, float, complex) else np.asarray(x).dtype
            for x in ins
        ]
        result = None if out is None else out.dtype
        dtypes = f.resolve_dtypes((*known, result), **asked)
        ins = [np.asarray(x, d) if _weak(x) else x for x, d in zip(ins, dtypes)]
        ins = [np.asarray(x) for x in ins]
        if out is None:
            out = np.asarray(f(*ins, dtype=dtype))
        else:
            f(*ins, out=out, dtype=dtype)
        kind = "matmul" if f is np.matmul else "ufunc"
        record = Record(kind, f, tuple(ins), out, tuple(dtypes), told=told)
        self.records.append(record)
        return self.traced(out)

    def reduce(
        self, f: np.ufunc, x: Any, axis: Any, dtype: Any, out: Any, keepdims: bool
    ) -> Any:
        """Record and make a reduction."""
        told = (isinstance(x, Traced),)
        x = plain(x)
        out = None if out is None else plain(out)
        if axis is None:
            axes = tuple(range(x.ndim))
        else:
            given = axis if isinstance(axis, tuple) else (axis,)
            axes = tuple(sorted(i % x.ndim for i in given))
        result = f.reduce(x, axis=axis, dtype=dtype, out=out, keepdims=keepdims)
        result = np.asarray(result) if out is None else out
        full = result if keepdims else np.expand_dims(result, axes)
        self.records.append(Record("reduce", f, (x,), full, (), axes, told))
        return self.traced(result)


def _weak(x: Any) -> bool:
    return type(x) in (bool, int, float, complex)


def plain(x: Any) -> Any:
    """An array of the class that NumPy makes."""
    return x.view(np.ndarray) if isinstance(x, Traced) else x


def _looks(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **keywords: Any) -> Any:
        raise Untraceable(name)

    return method


class Traced(np.ndarray[Any, Any]):
    """An array that tells its tape what is done with it."""

    tape: Any = None

    def __array_finalize__(self, like: Any) -> None:
        self.tape = getattr(like, "tape", None)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **more: Any
    ) -> Any:
        """Tell the tape of a ufunc or a reduction."""
        tape = _tape(*inputs, *(out or ()))
        target = None
        if out is not None:
            (target,) = out
        if method == "__call__":
            more.pop("casting", None)
            dtype = more.pop("dtype", None)
            if not more:
                return tape.ufunc(ufunc, inputs, target, dtype)
        elif method == "reduce" and len(inputs) == 1:
            axis, dtype = more.pop("axis", 0), more.pop("dtype", None)
            keepdims = more.pop("keepdims", False)
            more = {k: v for k, v in more.items() if v is not _NOTHING.get(k)}
            if not more:
                return tape.reduce(ufunc, inputs[0], axis, dtype, target, keepdims)
        raise Untraceable(f"{ufunc.__name__}.{method} with {', '.join(more)}")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Tell the tape of a copy, a product or a choice."""
        known = _FUNCTIONS.get(func)
        if known is not None:
            return known(*args, **kwargs)
        if func in _HARMLESS:
            return super().__array_function__(func, types, args, kwargs)
        raise Untraceable(func.__name__)

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self.view(np.ndarray)[key]
        if not isinstance(target, np.ndarray):
            target = self.view(np.ndarray)[(*_tuple(key), ...)]
        _tape(self, value).copy(value, target)

    def __getitem__(self, key: Any) -> Any:
        result = super().__getitem__(key)
        if isinstance(result, np.ndarray):
            return result
        return super().__getitem__((*_tuple(key), ...))

    def fill(self, value: Any) -> None:
        """Record a fill."""
        _tape(self).copy(value, self)

    def copy(self, order: Any = "C") -> Any:
        """Record a copy."""
        out = np.empty(self.shape, self.dtype)
        _tape(self).copy(self, out)
        return _tape(self).traced(out)

    def astype(  # type: ignore[override]
        self, dtype: Any, *args: Any, copy: bool = True, **keywords: Any
    ) -> Any:
        """Record a cast."""
        if not copy and self.dtype == dtype:
            return self
        out = np.empty(self.shape, dtype)
        _tape(self).copy(self, out)
        return _tape(self).traced(out)


_LOOKING = [
    "__bool__",
    "__int__",
    "__float__",
    "__complex__",
    "__index__",
    "__iter__",
    "__contains__",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "byteswap",
    "choose",
    "compress",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "dump",
    "dumps",
    "flatten",
    "getfield",
    "item",
    "nonzero",
    "partition",
    "put",
    "ravel",
    "repeat",
    "resize",
    "searchsorted",
    "setfield",
    "sort",
    "take",
    "tobytes",
    "tofile",
    "tolist",
    "trace",
]
for _name in _LOOKING:
    setattr(Traced, _name, _looks(_name))

_NOTHING = {"initial": np._NoValue, "where": True}


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _tape(*arrays: Any) -> Tape:
    for a in arrays:
        if isinstance(a, Traced) and a.tape is not None:
            return a.tape  # type: ignore[no-any-return]
    raise Untraceable("an array of an untraced one's")


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if where is not True:
        raise Untraceable("copyto with where")
    _tape(dst, src).copy(src, dst)


def _dot(a: Any, b: Any, out: Any = None) -> Any:
    if np.ndim(a) != 2 or np.ndim(b) != 2:
        raise Untraceable("dot of vectors")
    return _tape(a, b, out).ufunc(np.matmul, (a, b), out, None)


def _concatenate(arrays: Any, axis: Any = 0, out: Any = None, **more: Any) -> Any:
    parts = list(arrays)
    if more or axis is None:
        raise Untraceable("concatenate")
    if out is None:
        out = np.concatenate([plain(a) for a in parts], axis)
    start = 0
    target = plain(out)
    for part in parts:
        stop = start + part.shape[axis]
        cut = [slice(None)] * target.ndim
        cut[axis] = slice(start, stop)
        _tape(*parts, out).copy(part, target[tuple(cut)])
        start = stop
    return _tape(*parts, out).traced(target)


def _where(condition: Any, *sides: Any) -> Any:
    c, *pair = [np.asarray(plain(a)) for a in (condition, *sides)]
    if len(pair) != 2 or c.dtype != np.bool_ or pair[0].dtype != pair[1].dtype:
        raise Untraceable("where")
    out = np.asarray(np.where(c, *pair))
    tape = _tape(condition, *sides)
    spread = tuple(np.broadcast_to(a, out.shape) for a in (c, *pair))
    told = tuple(isinstance(a, Traced) for a in (condition, *sides))
    tape.records.append(Record("select", None, spread, out, told=told))
    return tape.traced(out)


def _broadcast_to(array: Any, shape: Any) -> Any:
    return _tape(array).traced(np.broadcast_to(plain(array), shape))


def _broadcast_arrays(*arrays: Any) -> Any:
    tape = _tape(*arrays)
    spread = np.broadcast_arrays(*[plain(a) for a in arrays])
    return tuple(tape.traced(a) for a in spread)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.broadcast_arrays: _broadcast_arrays,
    np.broadcast_to: _broadcast_to,
    np.copyto: _copyto,
    np.dot: _dot,
    np.concatenate: _concatenate,
    np.where: _where,
}
# They read nothing but shapes, or call ufuncs and methods that tell.
_HARMLESS = {
    np.empty_like,
    np.expand_dims,
    np.max,
    np.may_share_memory,
    np.min,
    np.moveaxis,
    np.ndim,
    np.prod,
    np.reshape,
    np.shape,
    np.size,
    np.squeeze,
    np.sum,
    np.swapaxes,
    np.transpose,
    np.shares_memory,
}
