"""Frames whose stretches of small operations run in the machine.

A frame that has run a few times gets tables for the stretches of its instructions
that the machine can do; the instructions stay for arrays that do not fit.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..frame import Frame, run_error
from ..plan import ARENA, CALL, CONST, FEED, FETCH, SAME, Plan, Slot, Step
from ..quiet import hush, unhush
from .vm import HEAD, Machine, machine
from .vm_calls import (
    Operand,
    Template,
    encoded,
    extent,
    layout,
    traced_templates,
    verified,
)
from .vm_products import pending, product_template
from .vm_sources import keeps_class
from .vm_trace import Untraceable

__all__ = ["LONG", "install"]

#: Elements above which a call's own time hides that of Python.
_LARGE = 1 << 15
#: Elements above which a table lets other threads run.
LONG = 1 << 13
#: The root of operands whose address is known; other roots are slots.
_MEMORY = -1
#: Templates that are kept.
_MOST = 4096

#: The calls of an instruction, None where it runs in Python.
Found = tuple[Template, list[Operand]] | None
#: Of an instruction that has nothing to do where the machine runs: it makes a view.
_NOTHING: Found = (Template(), [])

_templates: dict[Any, Template | None] = {}
_starting: threading.Thread | None = None


def install(frame: Frame, wait: bool) -> bool:
    """Put the machine to work in a frame that nobody runs.

    Args:
        frame: an idle frame.
        wait: compile the machine now; else that happens in a thread, as for the
            code of products, and the answer until then is False: ask again.
    """
    global _starting
    if not wait and _starting is None:
        _starting = threading.Thread(target=machine)
        _starting.start()
    if not wait and _starting is not None and _starting.is_alive():
        return False
    found = machine()
    if found is not None:
        installer = _Installer(frame, found, wait)
        if not wait and installer.is_early():
            return False
        installer.install()
    return True


class _Stretch:
    """Instructions of a frame that run as one table."""

    explains = True  # errors are those of an operation already

    def __init__(self, plan: Plan, run: Callable[[int], int], cells: list[Any]) -> None:
        self.plan = plan
        self.run = run
        self.cells = cells
        self.address = 0
        self.table: Any = None
        self.work = 0  # elements that its calls go through
        self.keep: list[Any] = []
        self.instructions: list[tuple[Callable[..., Any], Sequence[Any]]] = []
        self.steps: list[int] = []
        # (argument list, position, cell) of what changes from run to run.
        self.places: list[tuple[list[Any], int, int]] = []

    def __call__(self) -> None:
        if self.run(self.address):
            self.in_python()

    def in_python(self) -> None:
        """Run the instructions: an array is not laid out as the table has it."""
        for target, k, cell in self.places:
            target[k] = self.cells[cell]
        token = hush()  # a run of nothing but stretches leaves warnings on
        try:
            for (function, args), number in zip(self.instructions, self.steps):
                try:
                    function(*args)
                except Exception as error:
                    step = self.plan.steps[number]
                    raise run_error(step, args, error) from error
        finally:
            unhush(token)
            for target, k, _ in self.places:
                target[k] = None


class _Shadow(Frame):
    """A frame of one step, on arrays that are given."""

    def __init__(self, frame: Frame, arrays: dict[int, Any], work: Any) -> None:
        self.plan = frame.plan
        self.state = frame.state
        self.pool = frame.pool
        self._given = arrays
        self._work = work
        self._sites = {}
        self.instructions = []
        self.steps = []

    def _fixed(self, i: int) -> Any:
        return self._given[i]

    def scratch(self, step: Step) -> dict[str, Any]:
        return {"work": tuple(self._work)} if step.work else {}


class _Installer:
    """Builds the tables of one frame."""

    def __init__(self, frame: Frame, machine: Machine, wait: bool) -> None:
        self.frame = frame
        self.machine = machine
        self.wait = wait
        self.cell_of: dict[int, int] = {}  # slot -> place in ``cells``
        self.cells: list[Any] = []
        self.place_of: dict[int, int] = {}  # step -> its instruction
        # The steps that make views of what changes from run to run, by slot.
        self.makers = {
            step.outputs[0]: number
            for number, step in enumerate(frame.plan.steps)
            if step.mode == "call" and step.opdef.alias is not None
        }
        self.views: dict[int, Operand | None] = {}
        self.base = frame.arena.memory.ctypes.data

    def is_early(self) -> bool:
        """Whether the code of a product is about to be there."""
        slots = self.frame.plan.slots
        early = False
        for number in set(self.frame.steps):
            step = self.frame.plan.steps[number]
            nest = self.frame.nest_of(step)
            if nest is not None and all(
                _is_small(slots[i]) for i in (*step.inputs, *step.outputs)
            ):
                early = early or pending(nest, self._operands(step))
        self.frame._arrays.clear()
        return early

    def install(self) -> None:
        """Replace the frame's instructions where that pays."""
        frame = self.frame
        steps_of = frame.plan.steps
        found: list[Found] = []
        for number in frame.steps:
            step = steps_of[number]
            if number in self.place_of:  # this frees what the step has read
                found.append(_NOTHING)
                continue
            self.place_of[number] = len(found)
            view = self.view_of(step.outputs[0]) if step.outputs else None
            found.append(_NOTHING if view is not None else self._calls(step))
        frame._arrays.clear()
        runs = self._runs(found)
        for start, stop in runs:
            for item in found[start:stop]:
                assert item is not None
                for o in item[1]:
                    if o.root != _MEMORY:
                        self.cell_of.setdefault(o.root, len(self.cell_of))
        self.cells += [None] * len(self.cell_of)
        instructions, steps, at = [], [], 0
        for start, stop in runs:
            instructions += frame.instructions[at:start]
            steps += frame.steps[at:start]
            stretch = self._stretch(start, stop, found[start:stop])
            plain = not stretch.table[0]  # it looks at no array
            address = (stretch.address,)
            instructions.append((stretch.run, address) if plain else (stretch, ()))
            if plain:
                frame.kept.append(stretch)
            steps.append(frame.steps[start])
            late = [i for i in range(start, stop) if self._frees_late(i)]
            instructions += [frame.instructions[i] for i in late]
            steps += [frame.steps[i] for i in late]
            at = stop
        instructions += frame.instructions[at:]
        steps += frame.steps[at:]
        self._move_sites(instructions)
        frame.instructions, frame.steps = instructions, steps

    def _move_sites(self, instructions: Sequence[Any]) -> None:
        """From now on runs write into cells what only tables read."""
        lists = {
            id(args)
            for function, _ in instructions
            if isinstance(function, _Stretch)
            for args, _, _ in function.places
        }
        for slot, cell in self.cell_of.items():
            sites = self.frame.sites_at(slot)
            sites[:] = [s for s in sites if id(s[0]) not in lists]
            sites.append((self.cells, cell))

    # -- stretches ---------------------------------------------------------------

    def _runs(self, found: list[Found]) -> list[tuple[int, int]]:
        """Stretches that pay, without views that Python reads."""
        while True:
            runs = _stretches(found)
            ends = {i: run for run in runs for i in range(*run)}
            torn = [
                i for i in ends if found[i] is _NOTHING and not self._inside(i, ends)
            ]
            if not torn:
                return runs
            for i in torn:
                found[i] = None

    def _inside(self, at: int, ends: dict[int, tuple[int, int]]) -> bool:
        """Whether nothing outside its stretch sees what an instruction does, which
        makes a view, or frees some."""
        frame = self.frame
        number = frame.steps[at]
        step = frame.plan.steps[number]
        if at != self.place_of[number]:
            return all(
                self._of_feed(i) or ends.get(self._place_of_maker(i)) == ends[at]
                for i in step.frees
            )
        mine = {id(args) for _, args in frame.instructions[slice(*ends[at])]}
        return all(id(t) in mine for t, _ in frame.sites_at(step.outputs[0]))

    def _frees_late(self, at: int) -> bool:
        """Whether an instruction of a stretch drops what Python made before."""
        number = self.frame.steps[at]
        frees = self.frame.plan.steps[number].frees
        return at != self.place_of[number] and any(map(self._of_feed, frees))

    def _place_of_maker(self, i: int) -> int:
        number = self.makers.get(i)
        return -1 if number is None else self.place_of[number]

    def _of_feed(self, i: int) -> bool:
        """Whether slot ``i`` is a view of a feed that Python makes: its memory is the
        caller's, so that it may be dropped a little later."""
        slots = self.frame.plan.slots
        slot = slots[i]
        made = slot.kind == CALL and slot.owner != i and self.view_of(i) is None
        return made and slots[slot.owner].kind == FEED

    def view_of(self, i: int) -> Operand | None:
        """Where the view in slot ``i`` is in a feed or a fetched array."""
        if i not in self.views and i in self.makers:
            self.views[i] = self._view_of(i)
        return self.views.get(i)

    def _view_of(self, i: int) -> Operand | None:
        slots = self.frame.plan.slots
        step = self.frame.plan.steps[self.makers[i]]
        source = step.inputs[step.opdef.alias or 0]
        others = [slots[k] for k in step.inputs if k != source]
        # What the view is of may be large: only the view is gone through.
        if not _is_small(slots[i]) or not _has_place(slots[source]):
            return None
        if any(s.kind != CONST for s in others):
            return None
        if slots[source].kind in (FEED, FETCH):
            base: Operand | None = _changing_operand(source, slots[source])
        else:
            base = self.view_of(source)
        if base is None:
            return None
        whole = np.empty(base.high + 8, np.uint8)
        array = np.ndarray(base.shape, base.dtype, whole, base.offset, base.strides)
        given = [array if k == source else slots[k].value for k in step.inputs]
        kernel = step.opdef.kernel
        assert callable(kernel), "ufuncs make no views"
        view = kernel(np, *given, **step.attrs)
        if not np.may_share_memory(view, whole):
            return None
        return _placed(view, base.root, whole)

    # -- steps -----------------------------------------------------------------

    def _calls(self, step: Step) -> Found:
        """The calls of a step, where the machine can do them."""
        opdef = step.opdef
        slots = self.frame.plan.slots
        if step.mode not in ("out", "write") or opdef.control is not None:
            return None
        if opdef.effect not in (None, "update"):
            return None
        if any(map(callable, step.attrs.values())):
            return None  # a function of the user's may do anything
        ins, outs = ([slots[i] for i in ii] for ii in (step.inputs, step.outputs))
        if not all(map(_is_small, (*ins, *outs))):
            return None
        own = all(s.kind in (ARENA, FETCH) for s in outs)
        if any(s.kind == CALL for s in outs):
            return None
        for i in step.inputs:
            # What a kernel allocates is no other array's memory.
            alone = own and (slots[i].owner == i or self._of_feed(i))
            if slots[i].kind == CALL and not alone and self.view_of(i) is None:
                return None
        operands = self._operands(step)
        nest = self.frame.nest_of(step)
        key = None if nest is not None else _key(step, operands)
        if nest is not None:
            template = product_template(nest, operands, self.wait)
        elif key in _templates:
            template = _templates[key]
        else:
            template = self._template(step, operands)
            if key is not None:
                if len(_templates) >= _MOST:
                    _templates.clear()
                _templates[key] = template
        return None if template is None else (template, operands)

    def _operands(self, step: Step) -> list[Operand]:
        frame = self.frame
        slots = frame.plan.slots
        # A ufunc reads nothing but elements; other kernels may look at constants.
        looks = not isinstance(step.opdef.kernel, str)
        operands = []
        for i in (*step.inputs, *step.outputs):
            slot = slots[i]
            if slot.kind == ARENA:
                operands.append(_operand(_MEMORY, self.base + slot.offset, slot))
                continue
            array = frame._fixed(i)
            if array is None:
                view = self.view_of(i)
                operands.append(view or _changing_operand(i, slot))
            else:
                operands.append(_fixed_operand(array, looks and slot.kind == CONST))
        work = frame.scratch(step).get("work", ())
        return [*operands, *(_fixed_operand(a, False) for a in work)]

    def _template(self, step: Step, operands: Sequence[Operand]) -> Template | None:
        slots = (*step.inputs, *step.outputs)

        def bind(arrays: Sequence[Any]) -> Callable[[], Any]:
            given = dict(zip(slots, arrays))
            shadow = _Shadow(self.frame, given, arrays[len(slots) :])
            shadow._bind(0, step)
            function, args = shadow.instructions[0]
            if not keeps_class(function):
                raise Untraceable("plain arrays")
            return lambda: function(*args)

        try:
            with np.errstate(all="ignore"):
                for template in traced_templates(operands, bind):
                    if verified(template, operands, bind, self.machine):
                        return template
        except Untraceable:
            pass  # Python runs this step, as before
        return None

    # -- tables ------------------------------------------------------------------

    def _stretch(self, start: int, stop: int, found: Sequence[Any]) -> _Stretch:
        frame = self.frame
        work = sum(template.work for template, _ in found)
        briefly = work < LONG
        run = self.machine.run_briefly if briefly else self.machine.run
        stretch = _Stretch(frame.plan, run, self.cells)
        stretch.instructions = frame.instructions[start:stop]
        stretch.steps = frame.steps[start:stop]
        changing = {id(args): args for _, args in stretch.instructions}
        for slot in self.cell_of:
            for args, k in frame.sites_at(slot):
                if id(args) in changing:
                    stretch.places.append((args, k, self.cell_of[slot]))
        table = self._table(found, stretch.keep)
        stretch.keep += [frame.arena.memory, table]
        stretch.table, stretch.work = table, work
        stretch.address = table.ctypes.data
        return stretch

    def _table(self, found: Sequence[Any], keep: list[Any]) -> Any:
        """The words of a stretch."""
        size = max(sum(_scratch(template)) for template, _ in found)
        scratch = np.empty(size + 64, np.uint8)
        keep.append(scratch)
        words: list[int] = []
        calls = 0
        # (position of a word, cell, bytes, shape) of what a run has to fill in.
        patches: list[tuple[int, int, int, Any]] = []
        for template, operands in found:
            addresses = [o.offset if o.root == _MEMORY else 0 for o in operands]
            at = scratch.ctypes.data
            at += -at % 64
            for extra in template.extras:
                if type(extra) is int:
                    addresses.append(at)
                    at += -(-extra // 64) * 64
                else:
                    addresses.append(extra.ctypes.data)
                    keep.append(extra)
            calls += len(template.calls)
            for call in template.calls:
                first = len(words) + 7 + len(call.sizes) + len(call.steps)
                words += encoded(call, addresses)
                for k, (region, offset) in enumerate(call.args):
                    if region < len(operands) and operands[region].root != _MEMORY:
                        o = operands[region]
                        cell = self.cell_of[o.root]
                        dims = self.frame.plan.slots[o.root].dims
                        patches.append((first + k, cell, o.offset + offset, dims))
        return self._patched(calls, words, patches)

    def _patched(self, calls: int, words: list[int], patches: Any) -> Any:
        head = 2 + 5 * len(patches)
        sizes = [n for *_, shape in patches for n in shape]
        table = np.empty(head + len(words) + len(sizes), np.int64)
        base = table.ctypes.data
        pointers = ctypes.c_int64.from_address(id(self.cells) + HEAD + 8).value
        line = [len(patches), calls]
        behind = base + 8 * (head + len(words))
        for position, cell, offset, shape in patches:
            place = base + 8 * (head + position)
            line += [pointers + 8 * cell, offset, place, len(shape), behind]
            behind += 8 * len(shape)
        table[:] = [*line, *words, *sizes]
        return table


def _stretches(found: Sequence[Found]) -> list[tuple[int, int]]:
    """Where instructions that are there make two and more calls."""
    runs = []
    start = 0
    for i in range(len(found) + 1):
        if i == len(found) or found[i] is None:
            calls = [len(item[0].calls) for item in found[start:i] if item is not None]
            if sum(calls) >= 2:
                runs.append((start, i))
            start = i + 1
    return runs


def _scratch(template: Template) -> list[int]:
    return [-(-e // 64) * 64 for e in template.extras if type(e) is int] or [0]


def _has_place(slot: Slot) -> bool:
    """Whether numbers are there, and how many is known."""
    dims = slot.dims
    return dims is not None and None not in dims and slot.dtype.kind >= 0 < slot.nbytes


def _is_small(slot: Slot) -> bool:
    return _has_place(slot) and slot.nbytes <= _LARGE * slot.dtype.size


def _changing_operand(i: int, slot: Slot) -> Operand:
    """The array of a slot that each run gives: contiguous, or Python runs."""
    return _operand(slot.owner if slot.kind == SAME else i, 0, slot)


def _operand(root: int, at: int, slot: Slot) -> Operand:
    """A contiguous array."""
    dims: tuple[int, ...] = slot.dims or ()  # type: ignore[assignment]
    strides = _c_strides(dims, slot.dtype.size)
    return Operand(root, at, at, at + slot.nbytes, slot.dtype.dtype, dims, strides)


@lru_cache(maxsize=1024)
def _c_strides(dims: tuple[int, ...], size: int) -> tuple[int, ...]:
    strides = []
    for n in reversed(dims):
        strides.append(size)
        size *= n
    return tuple(reversed(strides))


def _fixed_operand(array: Any, constant: bool) -> Operand:
    placed = _placed(array, _MEMORY, None)
    return placed._replace(value=array) if constant else placed


def _placed(array: Any, root: int, whole: Any) -> Operand:
    """An array as a part of ``whole``, or at its address."""
    at = array.__array_interface__["data"][0]
    if whole is not None:
        at -= whole.__array_interface__["data"][0]
    shape, strides, dtype = array.shape, array.strides, array.dtype
    if array.flags.c_contiguous:
        low, high = 0, array.nbytes
    else:
        low, high = extent(shape, strides, dtype.itemsize)
    return Operand(root, at, at + low, at + high, dtype, shape, strides)


def _key(step: Step, operands: Sequence[Operand]) -> Any:
    """What a template depends on; None where that cannot be told."""
    # By repr too: 0.0 and -0.0 are equal, and 1 and True.
    attrs = tuple([(k, v, repr(v)) for k, v in step.attrs.items()])
    try:
        hash(attrs)
    except TypeError:
        return None
    constants = []
    for k, o in enumerate(operands):
        if o.value is not None:
            if o.value.nbytes > 64:
                return None
            constants.append((k, o.value.tobytes()))
    places, _ = layout(operands)
    shapes = tuple([o[4:7] for o in operands])
    return (
        step.opdef,
        step.mode,
        step.copy_view,
        step.placed,
        attrs,
        shapes,
        tuple(places),
        tuple(constants),
    )
