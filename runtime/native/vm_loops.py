"""Inner loops: NumPy's, out of the tables of its ufuncs, and a few of our own.

A loop is ``void loop(char **args, npy_intp *sizes, npy_intp *strides, void *data)``.
``PyUFuncObject`` is public in C and has not changed since NumPy 1.7; it is compared
with what Python tells of the same ufunc before anything is taken from it.  Copies,
casts and ``where`` are no ufuncs: their loops are written here, in LLVM's language.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from .vm import HEAD, compiled

__all__ = ["Loop", "cast_loop", "copy_loop", "select_loop", "ufunc_loop"]

#: The address of a loop, and what it takes as ``data``.
Loop = tuple[int, int]

# Loops that can raise errors, for which a call in Python is needed.
_RAISING = {"power": "iu", "float_power": "", "left_shift": "", "right_shift": ""}
_KINDS = "biufc"


class _Table:
    """The loops of one ufunc."""

    def __init__(self, ufunc: np.ufunc) -> None:
        at = id(ufunc) + HEAD
        half, word = ctypes.c_int32.from_address, ctypes.c_int64.from_address
        told = ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes
        read = (*(half(at + 4 * k).value for k in range(3)), half(at + 32).value)
        self.loops: dict[tuple[int, ...], Loop] = {}
        if read != told:
            return
        name = ctypes.c_char_p.from_address(at + 40).value or b""
        if name.decode() != ufunc.__name__:
            return
        functions, data, types = (word(at + k).value for k in (16, 24, 48))
        if not functions or not types:
            return
        n = ufunc.nargs
        numbers = ctypes.string_at(types, n * ufunc.ntypes)
        for k, signature in enumerate(ufunc.types):
            mine = tuple(numbers[k * n : (k + 1) * n])
            letters = signature.replace("->", "")
            # Numbers past the built-in dtypes tell that this is another layout.
            if tuple(np.dtype(c).num for c in letters) != mine:
                self.loops.clear()
                return
            function = word(functions + 8 * k).value
            given = word(data + 8 * k).value if data else 0
            if function:
                self.loops.setdefault(mine, (function, given))


@cache
def _table(ufunc: np.ufunc) -> _Table:
    return _Table(ufunc)


def ufunc_loop(ufunc: np.ufunc, dtypes: tuple[Any, ...]) -> Loop | None:
    """The loop of a ufunc for these dtypes of its inputs and outputs."""
    if any(d.kind not in _KINDS or not d.isnative for d in dtypes):
        return None
    kinds = _RAISING.get(ufunc.__name__)
    if kinds is not None and (not kinds or dtypes[0].kind in kinds):
        return None
    return _table(ufunc).loops.get(tuple(d.num for d in dtypes))


# -- our own loops -----------------------------------------------------------------

_SOURCE = """
define void @loop(ptr %args, ptr %dims, ptr %steps, ptr %data) {{
entry:
  %n = load i64, ptr %dims
{arguments}
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %work ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %work, label %end
work:
{places}
{body}
  %i.next = add nuw nsw i64 %i, 1
  br label %next
end:
  ret void
}}
"""
_ARGUMENT = """
  %p{k}.at = getelementptr i64, ptr %args, i64 {k}
  %p{k} = load ptr, ptr %p{k}.at
  %s{k}.at = getelementptr i64, ptr %steps, i64 {k}
  %s{k} = load i64, ptr %s{k}.at
"""
_PLACE = """
  %o{k} = mul i64 %i, %s{k}
  %e{k} = getelementptr i8, ptr %p{k}, i64 %o{k}
"""


def _write(count: int, body: str) -> Loop:
    """Compile a loop; ``body`` works on elements at ``%e0``, ``%e1``, ...

    The arrays are small: passes that make such a loop wide would cost more than
    they save.
    """
    arguments, places = (
        "".join(text.format(k=k) for k in range(count)) for text in (_ARGUMENT, _PLACE)
    )
    source = _SOURCE.format(arguments=arguments, places=places, body=body)
    return compiled(source, "loop"), 0


@cache
def copy_loop(size: int) -> Loop | None:
    """Elements of ``size`` bytes from the first argument to the second."""
    if size not in (1, 2, 4, 8, 16):
        return None
    bits = f"i{8 * size}"
    body = f"""
  %x = load {bits}, ptr %e0, align 1
  store {bits} %x, ptr %e1, align 1
"""
    return _write(2, body)


@cache
def select_loop(size: int) -> Loop | None:
    """Where the first argument is not 0 the second, else the third."""
    if size not in (1, 2, 4, 8, 16):
        return None
    bits = f"i{8 * size}"
    body = f"""
  %c = load i8, ptr %e0
  %t = icmp ne i8 %c, 0
  %x = load {bits}, ptr %e1, align 1
  %y = load {bits}, ptr %e2, align 1
  %z = select i1 %t, {bits} %x, {bits} %y
  store {bits} %z, ptr %e3, align 1
"""
    return _write(4, body)


def _llvm(dtype: Any) -> str:
    if dtype.kind == "f":
        return {4: "float", 8: "double"}.get(dtype.itemsize, "")
    return f"i{8 * dtype.itemsize}" if dtype.kind in "biu" else ""


@cache
def cast_loop(source: Any, target: Any) -> Loop | None:
    """The cast from one dtype to another, where C leaves no case undefined."""
    a, b = _llvm(source), _llvm(target)
    if source == target:
        return copy_loop(source.itemsize)
    if not a or not b or (source.kind == "f" and target.kind != "f"):
        return None
    if target.kind == "b":
        return None
    wider = target.itemsize > source.itemsize
    if source.kind == "f":
        how = "fpext" if wider else "fptrunc"
    elif target.kind == "f":
        how = "sitofp" if source.kind == "i" else "uitofp"
    elif target.itemsize == source.itemsize:
        how = "bitcast"
    else:
        how = ("sext" if source.kind == "i" else "zext") if wider else "trunc"
    body = f"""
  %x = load {a}, ptr %e0
  %y = {how} {a} %x to {b}
  store {b} %y, ptr %e1
"""
    return _write(2, body)
