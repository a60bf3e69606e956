"""Live bytes over the steps of a plan: a band for each tensor, the peak and what is
alive there, and what loops keep, as SVG.

The bands are those of PyTorch's memory snapshots, the table at the peak that of a
liveness report; predicted and measured bytes stand in one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from ..graphlib.errors import GraphError
from ..graphlib.subgraph import saving
from .bands import ROLES, draw_bands, draw_loops, draw_table, role_legend
from .chart import Canvas, ink_of, ticks, write
from .model import classify
from .theme import bytes_text, short, spec_text

if TYPE_CHECKING:
    from ..graphlib.operation import Operation
    from ..runtime.plan import Plan, Step
    from ..runtime.report import RunReport

__all__ = ["Life", "LoopNote", "MemoryTrace", "compare_svg", "memory_svg"]

_WIDTH = 1040
_LEFT, _RIGHT = 92, 28
_TOP, _HEIGHT = 112, 280
_PLOT = _WIDTH - _LEFT - _RIGHT


class Life(NamedTuple):
    """Memory of one or several tensors, each of which takes it over from the last.

    Attributes:
        name, spec: of the tensor, and text such as ``float32[3,4]``.
        nbytes: bytes.
        first, last: steps during which it lives.
        role: "forward", "backward", "update", "tape" (the states that a loop keeps
            for its gradient), "fetched" or "scratch".
        then: names of the tensors that take the memory over, in turn.
    """

    name: str
    spec: str
    nbytes: int
    first: int
    last: int
    role: str = "forward"
    then: tuple[str, ...] = ()


class LoopNote(NamedTuple):
    """What a loop does within its step.

    Attributes:
        name: of the operation; ``step``: where it stands in the plan.
        steps, peak_bytes: of one iteration (None: only the run tells).
        tape: (name, spec, bytes) of the states that it keeps for its gradient.
    """

    name: str
    step: int
    steps: int | None
    peak_bytes: int | None
    tape: tuple[tuple[str, str, int], ...]


@dataclass
class MemoryTrace:
    """What memory a plan needs, as plain data.

    Attributes:
        steps: the name of each step.
        live_bytes: bytes of the tensors alive during each step.
        tensors: a :class:`Life` (or its first five fields) for each piece of memory.
        measured: bytes that were measured at each step, or None.
        workspace: scratch bytes during each step, beside ``live_bytes``, or None.
        loops: what loops keep.
    """

    steps: list[str]
    live_bytes: list[int]
    tensors: list[Life] = field(default_factory=list)
    measured: list[int] | None = None
    workspace: list[int] | None = None
    loops: list[LoopNote] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("live_bytes", "measured", "workspace"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.steps):
                raise GraphError(
                    f"MemoryTrace: {len(values)} {name} for {len(self.steps)} steps"
                )
        self.tensors = [Life(*t) for t in self.tensors]
        for t in self.tensors:
            if t.role not in ROLES:
                known = ", ".join(ROLES)
                raise GraphError(f"MemoryTrace: role {t.role!r} is none of {known}")

    @classmethod
    def of_plan(
        cls,
        plan: Plan,
        measured: Sequence[int] | None = None,
        sizes: Mapping[int, int] | None = None,
    ) -> MemoryTrace:
        """What ``plan`` predicts.

        Args:
            plan: a plan; its ``live_bytes`` hold its scratch memory too.
            measured: live bytes that a run measured at each step.
            sizes: slot -> bytes, of slots whose size only that run told: they count
                as predicted.
        """
        from ..runtime.plan import CALL

        sizes = sizes or {}
        live = list(plan.live_bytes)
        for i, slot in enumerate(plan.slots):
            if slot.kind == CALL and slot.owner == i and not slot.nbytes:
                for step in range(max(0, slot.first), slot.last + 1):
                    live[step] += sizes.get(i, 0)
        return cls(
            steps=[step.name for step in plan.steps],
            live_bytes=live,
            tensors=list(_lives(plan, sizes)),
            measured=None if measured is None else list(measured),
            loops=list(_loops(plan, sizes)),
        )

    @classmethod
    def of_report(cls, report: RunReport) -> MemoryTrace:
        """What the plan of a run predicted, and what the run measured.

        Raises:
            GraphError: the report has no plan.
        """
        if report.plan is None:
            raise GraphError("the report has no plan: there is no memory to draw")
        measured = [step.live_bytes for step in report.steps]
        fits = len(measured) == len(report.plan.steps)
        sizes = dict(pair for step in report.steps for pair in step.outputs)
        return cls.of_plan(report.plan, measured if fits else None, sizes)

    def totals(self) -> list[int]:
        """Live and scratch bytes of each step."""
        if self.workspace is None:
            return list(self.live_bytes)
        return [a + b for a, b in zip(self.live_bytes, self.workspace)]

    def peak(self) -> tuple[int, int]:
        """The first step with the most bytes, and those bytes; (-1, 0) for none."""
        totals = self.totals()
        if not totals:
            return -1, 0
        most = max(totals)
        return totals.index(most), most

    def live_at(self, step: int) -> list[Life]:
        """What is alive during ``step``, the biggest first."""
        live = [t for t in self.tensors if t.first <= step <= t.last]
        return sorted(live, key=lambda t: (-t.nbytes, t.first, t.name))


# -- what a plan says ----------------------------------------------------------


def _lives(plan: Plan, sizes: Mapping[int, int]) -> Iterable[Life]:
    """The plan's own memory; tensors that take over each other's are one life."""
    from ..runtime.plan import ARENA, CALL, FETCH

    roles = roles_of(plan)
    groups: dict[int, list[int]] = {}
    for i, slot in enumerate(plan.slots):
        if slot.kind in (ARENA, CALL, FETCH) and slot.owner == i:
            groups.setdefault(-1 - i if slot.group < 0 else slot.group, []).append(i)
    for members in groups.values():
        members.sort(key=lambda i: (plan.slots[i].first, i))
        slots = [plan.slots[i] for i in members]
        nbytes = max(s.nbytes or sizes.get(i, 0) for i, s in zip(members, slots))
        if not nbytes:
            continue
        first = slots[0]
        fetched = any(s.kind == FETCH for s in slots)
        names = list(dict.fromkeys(s.name for s in slots if s.name))
        kinds = [roles[i] for i in members]
        role = next((r for r in ("fetched", "tape") if r in kinds), kinds[0])
        yield Life(
            names[0] if names else "scratch",
            spec_text(first.dtype.name, first.dims),
            nbytes,
            # A fetched array is there for the whole run.
            0 if fetched else max(0, first.first),
            len(plan.steps) - 1 if fetched else max(s.last for s in slots),
            role,
            tuple(names[1:]),
        )
    for number, step in enumerate(plan.steps):
        for _, dtype, dims in step.work:
            spec, nbytes = spec_text(dtype.name, dims), prod(dims) * dtype.itemsize
            name = f"scratch of {step.name}"
            if nbytes:
                yield Life(name, spec, nbytes, number, number, "scratch")


def roles_of(plan: Plan) -> list[str]:
    """The role (see :class:`Life`) of each slot."""
    from ..runtime.plan import FETCH

    if not plan.steps:
        return ["forward"] * len(plan.slots)
    ops = {s.op: None for s in plan.steps}
    part = classify(plan.steps[0].op.graph, sorted(ops, key=lambda op: op.id))
    kept = saving(plan.steps[0].op.graph)
    tapes = {s for step in plan.steps for s in _tape_slots(plan, step, kept)}
    roles = []
    for i, slot in enumerate(plan.slots):
        role = "scratch" if slot.tensor is None else part.get(slot.tensor.op, "forward")
        if slot.kind == FETCH:
            role = "fetched"
        elif i in tapes:
            role = "tape"
        elif role not in ("backward", "update", "scratch"):
            role = "forward"
        roles.append(role)
    return roles


def _tape_slots(plan: Plan, step: Step, kept: Container[Operation]) -> list[int]:
    """The outputs of a loop or branch that its gradient reads and nobody else: states
    of carries, and what else an iteration or a branch makes for it (``kept``, see
    :func:`~dagrad.graphlib.subgraph.saving`)."""
    if step.opdef.control is None:
        return []
    found = [
        s
        for s in step.outputs
        for tensor in (plan.slots[s].tensor,)
        if tensor is not None and tensor.op in kept
    ]
    first = 1 + step.attrs.get("carries", 0)
    states = step.outputs[first : first + len(step.attrs.get("history", ()))]
    return sorted({*found, *states})


def _loops(plan: Plan, sizes: Mapping[int, int]) -> Iterable[LoopNote]:
    kept = saving(plan.steps[0].op.graph) if plan.steps else set()
    for number, step in enumerate(plan.steps):
        if step.opdef.control != "loop":
            continue
        bodies = [body for _, body in plan.bodies_of(step)]
        tape = [
            (s.name, spec_text(s.dtype.name, s.dims), s.nbytes or sizes.get(i, 0))
            for i in _tape_slots(plan, step, kept)
            for s in (plan.slots[i],)
        ]
        yield LoopNote(
            step.name,
            number,
            len(bodies[0].steps) if bodies else None,
            bodies[0].peak_bytes if bodies else None,
            tuple(tape),
        )


# -- drawing -------------------------------------------------------------------


def memory_svg(
    trace: MemoryTrace, path: Any = None, title: str = "", theme: str = "light"
) -> str:
    """``trace`` as bands over its steps, with the live set of the peak below.

    The text is returned, and written to ``path`` where given.
    """
    ink = ink_of(theme)
    canvas = Canvas(_WIDTH, ink)
    head = title or "Memory of a run"
    canvas.text(_LEFT, 32, short(head, 90), size=17, bold=True)
    count = len(trace.steps)
    bottom = _TOP + _HEIGHT

    def x(i: int) -> float:
        return _LEFT + _PLOT * i / max(1, count)

    canvas.legend(_LEFT, 57, role_legend(trace, ink))
    draw_bands(canvas, trace, x, _TOP, _HEIGHT)
    step_axis(canvas, count, x, bottom)
    y = draw_table(canvas, trace, _LEFT, bottom + 96)
    y = draw_loops(canvas, trace, _LEFT, y + 40)
    at, most = trace.peak()
    said = f"Live bytes over {count:,} steps; peak {bytes_text(most)} at step {at:,}."
    return write(canvas.svg(y + 24, head, said), path)


def step_axis(
    canvas: Canvas, count: int, x: Callable[[int], float], bottom: float
) -> None:
    """Numbers of steps under a plot."""
    for i in ticks(count):
        middle = (x(i) + x(i + 1)) / 2
        canvas.rule(middle, bottom, middle, bottom + 5, canvas.ink.line)
        canvas.text(middle, bottom + 19, f"{i:,}", "middle", canvas.ink.muted)
    middle = (x(0) + x(count)) / 2
    canvas.text(middle, bottom + 38, "step", "middle", canvas.ink.muted)


def compare_svg(
    before: MemoryTrace,
    after: MemoryTrace,
    path: Any = None,
    title: str = "",
    labels: tuple[str, str] = ("before", "after"),
    theme: str = "light",
) -> str:
    """Two traces one above the other, on one scale of bytes: what a memory limit,
    another order or a rewrite changed."""
    ink = ink_of(theme)
    canvas = Canvas(_WIDTH, ink)
    head = title or f"Memory {labels[0]} and {labels[1]}"
    canvas.text(_LEFT, 32, short(head, 90), size=17, bold=True)
    peaks = before.peak()[1], after.peak()[1]
    share = f" ({peaks[1] / peaks[0]:.0%})" if peaks[0] else ""
    said = (
        f"peak {bytes_text(peaks[0])} to {bytes_text(peaks[1])}{share}, "
        f"{len(before.steps):,} to {len(after.steps):,} steps"
    )
    canvas.text(_LEFT, 54, said, fill=ink.muted, size=13)
    both = [*role_legend(before, ink), *role_legend(after, ink)]
    canvas.legend(_LEFT, 78, list(dict.fromkeys(both)))
    top = 132.0
    highest = max(*peaks, *(before.measured or [0]), *(after.measured or [0]))
    for label, trace in zip(labels, (before, after)):
        count = len(trace.steps)

        def x(i: int, count: int = count) -> float:
            return _LEFT + _PLOT * i / max(1, count)

        canvas.text(_LEFT + 4, top - 26, short(label, 60), size=13, bold=True)
        draw_bands(canvas, trace, x, top, 220, highest)
        step_axis(canvas, count, x, top + 220)
        top += 220 + 112
    return write(canvas.svg(top - 56, head, said), path)
