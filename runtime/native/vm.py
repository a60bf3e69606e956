"""A machine that runs a table of calls of NumPy's inner loops.

Between a call of ``np.add`` and the loop that adds lies 0.4 us of Python.  The
machine is a function in LLVM's language that reads a table of 64-bit words and calls
the loops that it names, some 10 ns each.

A table (offsets in words):

====  ==========================================================================
0     the number of patches
1     the number of calls
2..   patches of 5 words, then calls
====  ==========================================================================

A *patch* puts the memory of an array that changes from run to run where the calls
read it: the address of the pointer to the array object, bytes from the start of the
array, the address of the word to write, the number of axes and the address of their
sizes.  The machine looks whether it finds a contiguous, aligned array of that shape,
and otherwise returns 1 before any call.

A *call* is: loop, data, number of arguments A, words of sizes D, words of strides S,
number of outer axes N, length of the call in words; then D sizes and S strides as the
loop takes them, A pointers, N sizes of the outer axes and N x A strides of theirs, the
innermost first.

*Turns* run a table again and again, as a loop does its body, without looking at
arrays: ``turns`` takes the address of the first call, the number of calls, the number
of moves, the first turn, the turn to stop before, the address of a byte that ends it
where it is 0 after a turn (0: none), and moves of 4 words: the address of the word to
write, a kind, and two numbers.  Before turn t it writes a + t b (kind 0), or a in even
turns and b in odd ones (kind 1).  It returns the number of the turn after the last.

*Ready* writes the moves: it takes the address of the number of records, the items of a
list of arrays, the last row, the address of the moves, and records of 6 words: the
address of the word to write, what kind (0: along the rows, 1: along them from the last,
2: two sides), the place of an array in the list, bytes from its start, the same of
another array (or bytes from row to row, which the last word repeats).  It returns 1
where an array is none, or is not contiguous and aligned.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .worker import warn

__all__ = ["DATA", "DIRECT", "FLAGS", "HEAD", "Machine", "compiled", "machine"]

#: Bytes of what starts every Python object.
HEAD = object.__basicsize__
#: Most arguments and outer axes of a call.
MOST_ARGS, MOST_AXES = 16, 32

# Offsets in PyArrayObject, and the flags C_CONTIGUOUS | ALIGNED.
_TYPE, DATA, _NDIM = HEAD - 8, HEAD, HEAD + 8
_DIMS, FLAGS = HEAD + 16, HEAD + 48
DIRECT = 0x101

_SOURCE = f"""
define i64 @run(ptr %p) {{
entry:
  %patches = load i64, ptr %p
  %calls.at = getelementptr i64, ptr %p, i64 1
  %calls = load i64, ptr %calls.at
  %first = getelementptr i64, ptr %p, i64 2
  br label %patch

patch:
  %i = phi i64 [ 0, %entry ], [ %i.next, %fits ]
  %q = phi ptr [ %first, %entry ], [ %q.next, %fits ]
  %more = icmp slt i64 %i, %patches
  br i1 %more, label %look, label %start
look:
  %cell = load ptr, ptr %q
  %object = load ptr, ptr %cell
  %offset.at = getelementptr i64, ptr %q, i64 1
  %offset = load i64, ptr %offset.at
  %place.at = getelementptr i64, ptr %q, i64 2
  %place = load ptr, ptr %place.at
  %ndim.at = getelementptr i64, ptr %q, i64 3
  %ndim = load i64, ptr %ndim.at
  %sizes.at = getelementptr i64, ptr %q, i64 4
  %sizes = load ptr, ptr %sizes.at
  %type.at = getelementptr i8, ptr %object, i64 {_TYPE}
  %type = load i64, ptr %type.at
  %typed = icmp eq i64 %type, {id(np.ndarray)}
  br i1 %typed, label %flags, label %unfit
flags:
  %flags.at = getelementptr i8, ptr %object, i64 {FLAGS}
  %flags.all = load i32, ptr %flags.at
  %flags.two = and i32 %flags.all, {DIRECT}
  %plain = icmp eq i32 %flags.two, {DIRECT}
  %nd.at = getelementptr i8, ptr %object, i64 {_NDIM}
  %nd.short = load i32, ptr %nd.at
  %nd = sext i32 %nd.short to i64
  %ranked = icmp eq i64 %nd, %ndim
  %both = and i1 %plain, %ranked
  %dims.at = getelementptr i8, ptr %object, i64 {_DIMS}
  %dims = load ptr, ptr %dims.at
  br i1 %both, label %size, label %unfit
size:
  %k = phi i64 [ 0, %flags ], [ %k.next, %equal ]
  %sized = icmp slt i64 %k, %ndim
  br i1 %sized, label %compare, label %fits
compare:
  %have.at = getelementptr i64, ptr %dims, i64 %k
  %have = load i64, ptr %have.at
  %want.at = getelementptr i64, ptr %sizes, i64 %k
  %want = load i64, ptr %want.at
  %same = icmp eq i64 %have, %want
  br i1 %same, label %equal, label %unfit
equal:
  %k.next = add i64 %k, 1
  br label %size
fits:
  %memory.at = getelementptr i8, ptr %object, i64 {DATA}
  %memory = load i64, ptr %memory.at
  %address = add i64 %memory, %offset
  store i64 %address, ptr %place
  %i.next = add i64 %i, 1
  %q.next = getelementptr i64, ptr %q, i64 5
  br label %patch
unfit:
  ret i64 1

start:
  call void @calls(ptr %q, i64 %calls)
  ret i64 0
}}

define internal void @calls(ptr %begin, i64 %calls) {{
entry:
  %cur = alloca [{MOST_ARGS} x i64]
  %args = alloca [{MOST_ARGS} x i64]
  %count = alloca [{MOST_AXES} x i64]
  br label %call
call:
  %j = phi i64 [ 0, %entry ], [ %j.next, %next ]
  %c = phi ptr [ %begin, %entry ], [ %c.next, %next ]
  %left = icmp slt i64 %j, %calls
  br i1 %left, label %read, label %done
read:
  %loop = load ptr, ptr %c
  %data.at = getelementptr i64, ptr %c, i64 1
  %data = load ptr, ptr %data.at
  %nargs.at = getelementptr i64, ptr %c, i64 2
  %nargs = load i64, ptr %nargs.at
  %ndims.at = getelementptr i64, ptr %c, i64 3
  %ndims = load i64, ptr %ndims.at
  %nsteps.at = getelementptr i64, ptr %c, i64 4
  %nsteps = load i64, ptr %nsteps.at
  %nouter.at = getelementptr i64, ptr %c, i64 5
  %nouter = load i64, ptr %nouter.at
  %length.at = getelementptr i64, ptr %c, i64 6
  %length = load i64, ptr %length.at
  %c.next = getelementptr i64, ptr %c, i64 %length
  %j.next = add i64 %j, 1
  %cdims = getelementptr i64, ptr %c, i64 7
  %steps = getelementptr i64, ptr %cdims, i64 %ndims
  %given = getelementptr i64, ptr %steps, i64 %nsteps
  %outer = getelementptr i64, ptr %given, i64 %nargs
  %strides = getelementptr i64, ptr %outer, i64 %nouter
  %bytes = shl i64 %nargs, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %args, ptr %given, i64 %bytes, i1 false)
  %flat = icmp eq i64 %nouter, 0
  br i1 %flat, label %once, label %prepare
once:
  call void %loop(ptr %args, ptr %cdims, ptr %steps, ptr %data)
  br label %next
prepare:
  call void @llvm.memcpy.p0.p0.i64(ptr %cur, ptr %given, i64 %bytes, i1 false)
  %outer.bytes = shl i64 %nouter, 3
  call void @llvm.memset.p0.i64(ptr %count, i8 0, i64 %outer.bytes, i1 false)
  br label %row
row:
  call void @llvm.memcpy.p0.p0.i64(ptr %args, ptr %cur, i64 %bytes, i1 false)
  call void %loop(ptr %args, ptr %cdims, ptr %steps, ptr %data)
  br label %turn
turn:
  %d = phi i64 [ 0, %row ], [ %d.next, %back.done ]
  %turning = icmp slt i64 %d, %nouter
  br i1 %turning, label %tick, label %next
tick:
  %count.at = getelementptr i64, ptr %count, i64 %d
  %old = load i64, ptr %count.at
  %new = add i64 %old, 1
  %size.at = getelementptr i64, ptr %outer, i64 %d
  %size.d = load i64, ptr %size.at
  %line = mul i64 %d, %nargs
  %line.at = getelementptr i64, ptr %strides, i64 %line
  %on = icmp slt i64 %new, %size.d
  %zero.or = select i1 %on, i64 %new, i64 0
  store i64 %zero.or, ptr %count.at
  %back = sub i64 1, %size.d
  %by = select i1 %on, i64 1, i64 %back
  br label %move
move:
  %a = phi i64 [ 0, %tick ], [ %a.next, %moved ]
  %moving = icmp slt i64 %a, %nargs
  br i1 %moving, label %moved, label %move.done
moved:
  %cur.at = getelementptr i64, ptr %cur, i64 %a
  %cur.old = load i64, ptr %cur.at
  %stride.at = getelementptr i64, ptr %line.at, i64 %a
  %stride = load i64, ptr %stride.at
  %way = mul i64 %stride, %by
  %cur.new = add i64 %cur.old, %way
  store i64 %cur.new, ptr %cur.at
  %a.next = add i64 %a, 1
  br label %move
move.done:
  br i1 %on, label %row, label %back.done
back.done:
  %d.next = add i64 %d, 1
  br label %turn
next:
  br label %call
done:
  ret void
}}

define i64 @turns(ptr %w) {{
entry:
  %begin = load ptr, ptr %w
  %calls.at = getelementptr i64, ptr %w, i64 1
  %calls = load i64, ptr %calls.at
  %moves.at = getelementptr i64, ptr %w, i64 2
  %moves = load i64, ptr %moves.at
  %from.at = getelementptr i64, ptr %w, i64 3
  %from = load i64, ptr %from.at
  %stop.at = getelementptr i64, ptr %w, i64 4
  %stop = load i64, ptr %stop.at
  %flag.at = getelementptr i64, ptr %w, i64 5
  %flag = load ptr, ptr %flag.at
  %first = getelementptr i64, ptr %w, i64 6
  %tested = icmp ne ptr %flag, null
  br label %turn
turn:
  %t = phi i64 [ %from, %entry ], [ %t.next, %again ]
  %more = icmp slt i64 %t, %stop
  br i1 %more, label %move, label %done
move:
  %i = phi i64 [ 0, %turn ], [ %i.next, %moving ]
  %m = phi ptr [ %first, %turn ], [ %m.next, %moving ]
  %left = icmp slt i64 %i, %moves
  br i1 %left, label %moving, label %work
moving:
  %place = load ptr, ptr %m
  %kind.at = getelementptr i64, ptr %m, i64 1
  %kind = load i64, ptr %kind.at
  %a.at = getelementptr i64, ptr %m, i64 2
  %a = load i64, ptr %a.at
  %b.at = getelementptr i64, ptr %m, i64 3
  %b = load i64, ptr %b.at
  %way = mul i64 %t, %b
  %along = add i64 %a, %way
  %odd.bit = and i64 %t, 1
  %odd = icmp ne i64 %odd.bit, 0
  %side = select i1 %odd, i64 %b, i64 %a
  %sides = icmp ne i64 %kind, 0
  %address = select i1 %sides, i64 %side, i64 %along
  store i64 %address, ptr %place
  %i.next = add i64 %i, 1
  %m.next = getelementptr i64, ptr %m, i64 4
  br label %move
work:
  call void @calls(ptr %begin, i64 %calls)
  %t.next = add i64 %t, 1
  br i1 %tested, label %look, label %again
look:
  %going = load i8, ptr %flag
  %on = icmp ne i8 %going, 0
  br i1 %on, label %again, label %done
again:
  br label %turn
done:
  %end = phi i64 [ %t, %turn ], [ %t.next, %look ]
  ret i64 %end
}}

define internal i64 @memory(ptr %items, i64 %k) {{
entry:
  %item.at = getelementptr ptr, ptr %items, i64 %k
  %object = load ptr, ptr %item.at
  %type.at = getelementptr i8, ptr %object, i64 {_TYPE}
  %type = load i64, ptr %type.at
  %typed = icmp eq i64 %type, {id(np.ndarray)}
  br i1 %typed, label %flags, label %unfit
flags:
  %flags.at = getelementptr i8, ptr %object, i64 {FLAGS}
  %flags.all = load i32, ptr %flags.at
  %flags.two = and i32 %flags.all, {DIRECT}
  %plain = icmp eq i32 %flags.two, {DIRECT}
  br i1 %plain, label %fits, label %unfit
fits:
  %memory.at = getelementptr i8, ptr %object, i64 {DATA}
  %memory = load i64, ptr %memory.at
  ret i64 %memory
unfit:
  ret i64 0
}}

define i64 @ready(ptr %p) {{
entry:
  %count = load i64, ptr %p
  %items.at = getelementptr i64, ptr %p, i64 1
  %items = load ptr, ptr %items.at
  %last.at = getelementptr i64, ptr %p, i64 2
  %last = load i64, ptr %last.at
  %moves.at = getelementptr i64, ptr %p, i64 3
  %moves = load ptr, ptr %moves.at
  %first = getelementptr i64, ptr %p, i64 4
  br label %record
record:
  %i = phi i64 [ 0, %entry ], [ %i.next, %write ]
  %r = phi ptr [ %first, %entry ], [ %r.next, %write ]
  %m = phi ptr [ %moves, %entry ], [ %m.next, %write ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %fits
look:
  %place = load i64, ptr %r
  %kind.at = getelementptr i64, ptr %r, i64 1
  %kind = load i64, ptr %kind.at
  %one.at = getelementptr i64, ptr %r, i64 2
  %one = load i64, ptr %one.at
  %offset.at = getelementptr i64, ptr %r, i64 3
  %offset = load i64, ptr %offset.at
  %other.at = getelementptr i64, ptr %r, i64 4
  %other = load i64, ptr %other.at
  %step.at = getelementptr i64, ptr %r, i64 5
  %step = load i64, ptr %step.at
  %a.memory = call i64 @memory(ptr %items, i64 %one)
  %a.none = icmp eq i64 %a.memory, 0
  br i1 %a.none, label %unfit, label %second
second:
  %a = add i64 %a.memory, %offset
  %sides = icmp eq i64 %kind, 2
  br i1 %sides, label %both, label %along
both:
  %b.memory = call i64 @memory(ptr %items, i64 %other)
  %b.none = icmp eq i64 %b.memory, 0
  %b = add i64 %b.memory, %offset
  br i1 %b.none, label %unfit, label %write
along:
  %back = icmp eq i64 %kind, 1
  %way = mul i64 %last, %step
  %end = add i64 %a, %way
  %begin = select i1 %back, i64 %end, i64 %a
  %minus = sub i64 0, %step
  %by = select i1 %back, i64 %minus, i64 %step
  br label %write
write:
  %kind.new = phi i64 [ 1, %both ], [ 0, %along ]
  %a.new = phi i64 [ %a, %both ], [ %begin, %along ]
  %b.new = phi i64 [ %b, %both ], [ %by, %along ]
  store i64 %place, ptr %m
  %m.kind = getelementptr i64, ptr %m, i64 1
  store i64 %kind.new, ptr %m.kind
  %m.a = getelementptr i64, ptr %m, i64 2
  store i64 %a.new, ptr %m.a
  %m.b = getelementptr i64, ptr %m, i64 3
  store i64 %b.new, ptr %m.b
  %i.next = add i64 %i, 1
  %r.next = getelementptr i64, ptr %r, i64 6
  %m.next = getelementptr i64, ptr %m, i64 4
  br label %record
fits:
  ret i64 0
unfit:
  ret i64 1
}}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


class _Compiler:
    """LLVM for this processor; what it compiled stays."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        self.llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=2,
        )
        self.engines: list[Any] = []

    def add(self, source: str, *names: str) -> list[int]:
        llvm = self.llvm
        module = llvm.parse_assembly(source)
        module.verify()
        engine = llvm.create_mcjit_compiler(module, self.target)
        engine.finalize_object()
        self.engines.append(engine)
        return [int(engine.get_function_address(name)) for name in names]


class Machine:
    """The compiled machine.

    Attributes:
        turns, turns_briefly: ``f(address of the words) -> turn``, see above.
        ready: ``f(address of the records) -> 0 or 1``, see above.
        run: ``f(address of a table) -> 0, or 1 where an array does not fit``; it
            lets other threads run meanwhile.
        run_briefly: the same without letting go of the interpreter, for tables that
            take less time than to get it back from a busy thread.
    """

    def __init__(self, run: int, turns: int, ready: int) -> None:
        free = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        held = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        self.run: Callable[[int], int] = free(run)
        self.run_briefly: Callable[[int], int] = held(run)
        self.turns: Callable[[int], int] = free(turns)
        self.ready: Callable[[int], int] = held(ready)
        self.turns_briefly: Callable[[int], int] = held(turns)


_lock = threading.Lock()
_compiler: _Compiler | None = None
_machine: Machine | None = None
_tried = False


def compiled(source: str, name: str) -> int:
    """The address of a function in LLVM's language (where :func:`machine` is)."""
    with _lock:
        assert _compiler is not None, "machine() is there first"
        return _compiler.add(source, name)[0]


def machine() -> Machine | None:
    """The machine; None where there can be none, for lack of llvmlite or else.

    An llvmlite that does not work is told by a warning, one for all that needs it.
    """
    global _compiler, _machine, _tried
    if _tried:
        return _machine
    with _lock:
        if not _tried:
            try:
                if _layouts_are_known():
                    _compiler = _Compiler()
                    _machine = Machine(*_compiler.add(_SOURCE, "run", "turns", "ready"))
            except ImportError:
                pass  # without the extra, NumPy's calls do
            except Exception as error:
                warn(error)
            _tried = True
    return _machine


def _leave_in_child() -> None:
    """A fork while another thread compiles: the child does without."""
    global _lock, _tried
    if _lock.locked():
        _lock = threading.Lock()
        _tried = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)


def _layouts_are_known() -> bool:
    """Whether arrays and lists look in memory as the machine takes them to."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    a = np.zeros((3, 5))
    at = id(a)
    word, half = ctypes.c_int64.from_address, ctypes.c_int32.from_address
    cells = [a, None]
    return (
        word(at + _TYPE).value == id(np.ndarray)
        and word(at + DATA).value == a.ctypes.data
        and half(at + _NDIM).value == 2
        and [word(word(at + _DIMS).value + 8 * k).value for k in (0, 1)] == [3, 5]
        and half(at + FLAGS).value & 0xFFF == a.flags.num & 0xFFF
        and a.flags.num & DIRECT == DIRECT
        and word(word(id(cells) + HEAD + 8).value).value == at
    )
