"""A plan bound to memory, ready to run as one flat loop.

A frame has an arena, and every kernel call is ready with its arguments, so a run is
``for f, args in instructions: f(*args)``.  Values that change from run to run (feeds,
fetched arrays, whatever kernels allocate) are written into the argument lists where
they are used.  A frame serves one run at a time; concurrent runs get their own frames.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static
from .arenas import Arena
from .calls import into, settled_call
from .failures import require_variables, run_error
from .leaving import COPY, FOUND, GIVE, SCALAR, found, leave
from .natively import (
    ROW_TYPES,
    bind_parts,
    bind_rows,
    bind_turned,
    bind_update,
    nest_between,
)
from .placing import copies_of_the_rest
from .plan import ARENA, CALL, CONST, FETCH, SAME, VARIABLE, VIEW, Plan, Slot, Step
from .pool import Share
from .together import Free, StepFailed, gather
from .variables import LENT, State
from .views import RESHAPES, known_dims, view_in
from .warming import PATIENCE

if TYPE_CHECKING:
    from ..graphlib.windows import Nest
    from .pieces import Pieces

__all__ = ["Frame", "Site", "run_error"]

# Where a run writes an array: (argument list, position).
Site = tuple[list[Any], int]
# NumPy 2.4 takes the output of these by keyword only; by position it is faster.
_KEYWORD_OUT = ("maximum", "minimum")


class Frame:
    """One binding of a plan to an arena and to a session's state."""

    __slots__ = (
        "__weakref__",
        "_arrays",
        "_memory",
        "_sites",
        "arena",
        "assigned_sites",
        "collect",
        "epoch",
        "feed_sites",
        "fresh",
        "instructions",
        "kept",
        "loops",
        "outs",
        "plan",
        "pool",
        "state",
        "steps",
        "turns",
        "waiting",
    )

    def __init__(
        self, plan: Plan, state: State, arena: Arena, clock: Any = None
    ) -> None:
        self.plan = plan
        self.state = state
        #: Threads that may help; a run that is traced has them watched.
        self.pool = state.pool if clock is None else clock.pool
        self.epoch = state.epoch
        self.arena = arena
        #: What native stretches point to, and in how many uses to make them.
        self.kept: list[Any] = []
        self.waiting = PATIENCE[state.settings.native]
        #: How often it has run as the body of a loop, and functions that do.
        self.turns = 0
        self.loops: dict[Any, Any] = {}
        self._memory = arena.memory
        self._sites: dict[int, list[Site]] = {}
        self._arrays: dict[int, Any] = {}
        self.outs: list[Any] = [None] * len(plan.fetches)
        require_variables(plan, state)
        if plan.bodies:
            from .control import bodies_of

            bodies_of(state).know(plan.bodies)
        self.instructions: list[tuple[Callable[..., Any], Sequence[Any]]] = []
        self.steps: list[int] = []  # the plan's step of each instruction
        for number, step in enumerate(plan.steps):
            self._bind(number, step)
        self.collect = [self._collector(k, s) for k, s in enumerate(plan.fetches)]
        sites = self._sites
        self.feed_sites = [sites.get(s, []) for s in plan.feeds]
        parts = self._parts()
        #: (maker, shape, dtype, sites, parts) of arrays that each run makes for the
        #: caller; a part is (shape, dtype, offset, strides, sites).
        self.fresh = [
            (
                np.empty if s.nbytes < LENT else state.results.lend,
                known_dims(s),
                s.dtype.dtype,
                sites.get(i, []),
                parts.get(i, ()),
            )
            for i, s in enumerate(plan.slots)
            if s.kind == FETCH
        ]
        self.assigned_sites = [
            (state.cell(self._variable_op(i)), sites.get(i, [])) for i in plan.assigned
        ]
        if clock is not None:
            clock.watch(self)
        if plan.regions:
            gather(self)
        self._freeze()

    # -- binding -------------------------------------------------------------

    def _parts(self) -> dict[int, list[tuple[Any, ...]]]:
        """Of each array that a run makes for the caller the views that are used, and
        where."""
        slots = self.plan.slots
        found: dict[int, list[tuple[Any, ...]]] = {}
        for i, sites in self._sites.items():
            s = slots[i]
            if s.kind == VIEW and slots[s.owner].kind == FETCH:
                part = s.dims, s.dtype.dtype, s.offset, s.strides, sites
                found.setdefault(s.owner, []).append(part)
        return found

    def _freeze(self) -> None:
        """Make argument lists that no run changes tuples: they unpack faster."""
        changed = {id(target) for sites in self._sites.values() for target, _ in sites}
        self.instructions = [
            (f, args if id(args) in changed else tuple(args))
            for f, args in self.instructions
        ]
        self._arrays.clear()

    def _variable_op(self, slot: int) -> Operation:
        return self.plan.variable_ops[slot]

    def _fixed(self, i: int) -> Any:
        """The array of a slot whose memory is the same in every run, else None."""
        array = self._arrays.get(i)
        if array is not None:
            return array
        slot = self.plan.slots[i]
        kind = slot.kind
        if kind == ARENA:
            dims, dtype = known_dims(slot), slot.dtype.dtype
            array = np.ndarray(dims, dtype, self._memory, slot.offset)
        elif kind == CONST:
            array = slot.value
        elif kind == VARIABLE:
            if i in self.plan.assigned:
                return None
            array = self.state.cell(self._variable_op(i)).array
        elif kind == VIEW and self.plan.slots[slot.owner].kind != FETCH:
            array = self._view(slot)
        else:
            return None
        self._arrays[i] = array
        return array

    def _view(self, slot: Slot) -> Any:
        owner = self.plan.slots[slot.owner]
        if owner.kind == ARENA:
            return view_in(self._memory, slot, owner.offset + slot.offset)
        base = self._fixed(slot.owner)
        if base.ndim == 0:
            base = base.reshape(-1).view(np.uint8)
        return view_in(base, slot, slot.offset)

    def _argument(self, slot: int, args: list[Any]) -> None:
        """Append a slot's array to ``args``, or note to write it there in a run."""
        array = self._fixed(slot)
        if array is None:
            self.sites_at(slot).append((args, len(args)))
        args.append(array)

    def sites_at(self, slot: int) -> list[Site]:
        """Where a run writes a slot's array, or that of the feed in whose memory
        it is."""
        if self.plan.slots[slot].kind == SAME:
            slot = self.plan.slots[slot].owner
        return self._sites.setdefault(slot, [])

    def _bind(self, number: int, step: Step) -> None:
        """The instructions of one step."""
        if step.mode in ("view", "none"):
            return
        args: list[Any] = []
        if step.placed:
            self._bind_join(number, step, args)
            return
        opdef = step.opdef
        cell_first = opdef.effect in ("assign", "probe")
        for k, s in enumerate(step.inputs):
            if cell_first and k == 0:
                args.append(self._cell_of(s))
            else:
                self._argument(s, args)
        pieces = self._in_pieces(step, args) if self.state.settings.intra else None
        settled = None if pieces else self._settled(step, args)
        function: Callable[..., Any]
        if (nest := self.nest_of(step)) is not None:
            function = self._native(step, nest, pieces, settled, args)
        elif pieces is not None:
            function = pieces
        elif settled is not None:
            native = self.state.settings.native
            function, args = bind_update(step, args, settled, native), []
        elif step.mode == "out":
            function = self._into_out(step, args)
        elif step.mode == "write" and not self._out_sites(step):
            function = self._kernel(step)
        else:
            function = self._call(step)
        self._emit(number, function, args)
        self._emit_frees(number, step)

    def _bind_join(self, number: int, step: Step, args: list[Any]) -> None:
        """A join of which parts are in place: the others are copied."""
        rest, copy = copies_of_the_rest(step, self.plan.slots)
        if rest:
            for s in (*(step.inputs[k] for k in rest), step.outputs[0]):
                self._argument(s, args)
            mode = self.state.settings.native
            copy = bind_parts(step, self.plan.slots, rest, args, copy, mode)
            self._emit(number, copy, args)
        self._emit_frees(number, step)

    def _emit(self, number: int, function: Any, args: list[Any]) -> None:
        self.instructions.append((function, args))
        self.steps.append(number)

    def _cell_of(self, slot: int) -> Any:
        return self.state.cell(self._variable_op(self.plan.slots[slot].owner))

    def _out_sites(self, step: Step) -> bool:
        return any(self.plan.slots[s].kind == CALL for s in step.outputs)

    def scratch(self, step: Step) -> dict[str, Any]:
        if not step.work:
            return {}
        return {
            "work": tuple(
                np.ndarray(dims, dtype, buffer=self._memory, offset=offset)
                for offset, dtype, dims in step.work
            )
        }

    def _kernel(self, step: Step) -> Callable[..., Any]:
        """A step's kernel with everything but its arrays."""
        opdef = step.opdef
        kernel = opdef.kernel
        if isinstance(kernel, str):
            return getattr(np, kernel)  # type: ignore[no-any-return]
        assert kernel is not None
        if opdef.control is not None:
            from .control_steps import bind_control

            return bind_control(self, step)
        keywords = {**step.attrs, **self.scratch(step)}
        if opdef.effect == "random":
            return partial(kernel, np, self.state.stream(step.op), **keywords)
        return partial(kernel, np, **keywords)

    def _in_pieces(self, step: Step, args: list[Any]) -> Pieces | None:
        """A call that several threads may share; appends the output to ``args``."""
        from .pieces import Pieces, cut

        pieces = cut(step, self.plan.slots, self.scratch(step).get("work", ()))
        if len(pieces) < 2:
            return None
        self._argument(step.outputs[0], args)
        return Pieces(self.pool, self.state.settings.intra, pieces, args)

    def _settled(self, step: Step, args: list[Any]) -> Callable[[], Any] | None:
        """A call without arguments, where every array has its place for good."""
        settle = step.opdef.settle
        if settle is None or step.copy_view or any(a is None for a in args):
            return None
        out = None
        if step.mode == "out":
            out = self._fixed(step.outputs[0])
            if out is None or len(step.outputs) > 1:
                return None
        elif step.mode != "write" or self._out_sites(step):
            return None
        work = self.scratch(step).get("work", ())
        return settle(args, out, work, step.attrs)  # type: ignore[no-any-return]

    def nest_of(self, step: Step) -> Nest | None:
        """What native code may compute in a step's place."""
        if step.opdef.nest is None or step.mode != "out" or step.copy_view:
            return None
        slots = self.plan.slots
        ins, outs = ([slots[s] for s in ss] for ss in (step.inputs, step.outputs))
        native = self.state.settings.native
        return nest_between(step.opdef, step.attrs, ins, outs, native)

    def _native(
        self, step: Step, nest: Nest, pieces: Any, settled: Any, args: list[Any]
    ) -> Callable[..., Any]:
        """Its call; appends the output to ``args``, if pieces did not."""
        from .native_nests import bind_nest

        kernel = into(self._kernel(step), len(args), 1)
        if pieces is None:
            self._argument(step.outputs[0], args)
        numpy = pieces or (partial(settled_call, settled) if settled else kernel)
        settings = self.state.settings
        share = Share(self.pool, settings.intra) if settings.intra else None
        work = self.scratch(step).get("work", ())
        return bind_nest(nest, numpy, args, work, settings.native, share)  # type: ignore[no-any-return]

    def _into_out(self, step: Step, args: list[Any]) -> Callable[..., Any]:
        """A call that writes into planned memory; appends the outputs to ``args``."""
        opdef = step.opdef
        slots = self.plan.slots
        if step.copy_view:
            return self._copy_view(step, args)
        if step.is_group or opdef.type in ROW_TYPES:
            count, work = len(args), self.scratch(step).get("work", ())
            for s in step.outputs:
                self._argument(s, args)
            if step.is_group and opdef.elementwise:
                from .fused_steps import bind_fused

                most = self.state.settings.intra
                share = Share(self.pool, most) if most else None
                return bind_fused(step, work, args, share)  # type: ignore[no-any-return]
            if step.is_group:
                from .row_steps import bind_row_group

                return bind_row_group(step, work)  # type: ignore[no-any-return]
            numpy = into(self._kernel(step), count, len(step.outputs))
            mode = self.state.settings.native
            return bind_rows(step, slots, numpy, mode)  # type: ignore[no-any-return]
        ins, outs = ([slots[s] for s in ss] for ss in (step.inputs, step.outputs))
        if opdef.bind is not None and all(is_static(s.dims) for s in (*ins, *outs)):
            bound = opdef.bind(step.attrs, ins, outs)
            if bound is not None:
                for s in step.outputs:
                    self._argument(s, args)
                return bound  # type: ignore[no-any-return]
        if isinstance(opdef.kernel, str) and opdef.kernel not in _KEYWORD_OUT:
            for s in step.outputs:
                self._argument(s, args)
            return getattr(np, opdef.kernel)  # type: ignore[no-any-return]
        kernel = self._kernel(step)
        if opdef.places is not None:
            parts, numpy = range(len(args)), into(kernel, len(args), 1)
            given = [*args, self._fixed(step.outputs[0])]
            mode = self.state.settings.native
            native = bind_parts(step, slots, parts, given, numpy, mode)
            if native is not numpy:
                self._argument(step.outputs[0], args)
                return native  # type: ignore[no-any-return]
        fixed = [self._fixed(s) for s in step.outputs]
        if all(a is not None for a in fixed):
            out = fixed[0] if len(fixed) == 1 else tuple(fixed)
            return partial(kernel, out=out)
        count = len(args)
        for s in step.outputs:
            self._argument(s, args)
        return into(kernel, count, len(fixed))

    def _copy_view(self, step: Step, args: list[Any]) -> Callable[..., Any]:
        """A view op that must copy: its kernel's result, written to the output."""
        kernel = self._kernel(step)
        self._argument(step.outputs[0], args)
        if step.opdef.writes_out:

            def copy(*arrays: Any) -> None:
                kernel(*arrays[:-1], out=arrays[-1])
        else:

            def copy(*arrays: Any) -> None:
                np.copyto(arrays[-1], kernel(*arrays[:-1]))

        mode = self.state.settings.native
        return bind_turned(step, self.plan.slots, args, copy, mode)  # type: ignore[no-any-return]

    def _call(self, step: Step) -> Callable[..., Any]:
        """A call whose kernel allocates; its results go where they are read."""
        kernel = self._kernel(step)
        # Sites are filled in while later steps are bound: keep the lists.
        sites = [self._sites.setdefault(s, []) for s in step.outputs]
        if step.opdef.effect == "assign":
            return self._assign(step, kernel, sites[0])
        if len(sites) == 1:
            places = sites[0]

            def call_one(*arrays: Any) -> None:
                result = kernel(*arrays)
                if type(result) is not np.ndarray:
                    result = np.asanyarray(result)
                for target, k in places:
                    target[k] = result

            return call_one

        def call_many(*arrays: Any) -> None:
            results = kernel(*arrays)
            for result, where in zip(results or (), sites):
                for target, k in where:
                    target[k] = np.asanyarray(result)

        return call_many

    def _assign(
        self, step: Step, kernel: Callable[..., Any], places: list[Site]
    ) -> Callable[..., Any]:
        """A write that may give a variable new memory: later reads must see it."""
        owner = self.plan.slots[step.outputs[0]].owner
        reads = self._sites.setdefault(owner, [])

        def assign(*arrays: Any) -> None:
            array = kernel(*arrays)
            for target, k in places:
                target[k] = array
            for target, k in reads:
                target[k] = array

        return assign

    def _emit_frees(self, number: int, step: Step) -> None:
        """Drop what kernels allocated once its last reader has run."""
        if not step.frees:
            return
        lists = [self._sites.setdefault(s, []) for s in step.frees]
        self._emit(number, Free(lists), [])

    def _collector(self, k: int, slot: int) -> tuple[int, Any]:
        """How the ``k``-th fetched value leaves the frame."""
        s = self.plan.slots[slot]
        again = any(target is self.outs for target, _ in self._sites.get(slot, ()))
        if s.kind == FETCH or again:
            # Tensors found to be equal share a slot; each gets its own array.
            self._sites.setdefault(slot, []).append((self.outs, k))
            return COPY if again else GIVE, None
        array = self._fixed(slot)
        if array is None:
            self.sites_at(slot).append((self.outs, k))
            if s.kind == CALL and s.owner == slot:
                return FOUND, None
            return GIVE if self._alone(k, s) else COPY, None
        if s.dims == ():
            return SCALAR, array
        return COPY, array

    def _alone(self, k: int, s: Slot) -> bool:
        """Whether the ``k``-th fetched value is all that the caller gets of a new
        array, and all of it."""
        slots, fetches = self.plan.slots, self.plan.fetches
        if slots[s.owner].kind != FETCH or s.owner in fetches:
            return False
        if any(slots[f].owner == s.owner for f in fetches[:k]):
            return False
        # Other views may have gaps, or repeat elements.
        sources = {
            step.outputs[0]: step.inputs[0]
            for step in self.plan.steps
            if step.opdef.type in RESHAPES
        }
        i: int | None = fetches[k]
        while i is not None and i != s.owner:
            i = sources.get(i)
        return i is not None

    # -- running -------------------------------------------------------------

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """Run once; returns the fetched values as the caller may keep them."""
        self.place(feeds)
        self.execute()
        results = []
        for k, (how, array) in enumerate(self.collect):
            if how == GIVE:
                results.append(self.outs[k])
            elif how == SCALAR:
                results.append(array[()])
            elif how == COPY:
                results.append(leave(self.outs[k] if array is None else array))
            else:
                results.append(found(self.outs[k]))
        self.forget()
        return results

    def place(self, feeds: Sequence[Any]) -> None:
        """Write what changes from run to run wherever it is read."""
        for array, sites in zip(feeds, self.feed_sites):
            for target, k in sites:
                target[k] = array
        for make, dims, dtype, sites, parts in self.fresh:
            array = make(dims, dtype)
            for target, k in sites:
                target[k] = array
            for part, kind, offset, strides, where in parts:
                view = np.ndarray(part, kind, array, offset, strides)
                for target, k in where:
                    target[k] = view
        for cell, sites in self.assigned_sites:
            for target, k in sites:
                target[k] = cell.array

    def run_into(
        self, feeds: Sequence[Any], outs: Sequence[Any], direct: Sequence[bool]
    ) -> None:
        """Run once, with the fetched values in these arrays.

        ``direct`` tells which are written there by the run itself.
        """
        for array, sites in zip(feeds, self.feed_sites):
            for target, k in sites:
                target[k] = array
        for cell, sites in self.assigned_sites:
            for target, k in sites:
                target[k] = cell.array
        for slot, array, given in zip(self.plan.fetches, outs, direct):
            if given:
                self.put(slot, array)
        self.execute()
        for k, given in enumerate(direct):
            if not given:
                outs[k][...] = self.value_of(k)
        self.forget()

    def execute(self) -> None:
        """Run every instruction; all arrays are where they are read."""
        steps = iter(self.instructions)
        try:
            for function, args in steps:
                function(*args)
        except Exception as error:
            self.explain(
                len(self.instructions) - operator.length_hint(steps) - 1, error
            )

    def explain(self, at: int, error: Exception) -> NoReturn:
        """Raise what the user is told of an error of the instruction ``at``."""
        if isinstance(error, StepFailed):
            raise error.told from error.cause
        function, arrays = self.instructions[at]
        if getattr(function, "explains", False):
            raise error
        raise run_error(self.plan.steps[self.steps[at]], arrays, error) from error

    # -- what a loop needs to run the frame again and again --------------------

    def sites_of(self, slot: int) -> list[Site]:
        """Where a run writes the array of a slot."""
        return self._sites.get(slot, [])

    def put(self, slot: int, array: Any) -> None:
        """Write an array wherever it is read."""
        for target, k in self._sites.get(slot, ()):
            target[k] = array

    def value_of(self, k: int) -> Any:
        """The ``k``-th fetched value, after :meth:`execute`."""
        array = self.collect[k][1]
        return self.outs[k] if array is None else array

    def forget(self) -> None:
        """Keep nothing of this run's feeds and fetched arrays."""
        for sites in self.feed_sites:
            for target, k in sites:
                target[k] = None
        for *_, sites, parts in self.fresh:
            for target, k in sites:
                target[k] = None
            for *_, where in parts:
                for target, k in where:
                    target[k] = None
        outs = self.outs
        for k in range(len(outs)):
            outs[k] = None
