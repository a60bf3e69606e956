"""Colours that say something of each operation: order, memory, time, flops, ...

An overlay is a function of a picture and a theme: it gives nodes their ``fill`` and
a line of text, and returns the legend (:class:`~.legend.Scale`).  :func:`numbers` and
:func:`classes` make one from what is known of operations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..graphlib.errors import GraphError
from ..graphlib.operation import Operation
from .facts import flops_of, output_bytes
from .fold import Picture
from .legend import Scale
from .theme import CATEGORIES, Theme, bytes_text, clean, count_text, ramp, short

if TYPE_CHECKING:
    from ..runtime.plan import Plan
    from ..runtime.report import RunReport

__all__ = ["OVERLAYS", "classes", "numbers", "overlay_of", "seconds_text"]
__all__ += ["tell_times"]

Overlay = Callable[[Picture, Theme], Scale]

#: What ``color=`` takes, beside "gradient" and "rewrites", which need more.
OVERLAYS = ("order", "memory", "time", "flops", "device", "nan")
_STEPS = 32


def overlay_of(
    color: Any, *, report: RunReport | None = None, plan: Plan | None = None
) -> Overlay:
    """The overlay of that name (a function is taken as it is).

    Args:
        color: one of :data:`OVERLAYS`.
        report: of a traced run; "time" and "nan" need one.
        plan: where given (a report has its own), sizes and order are those of it.

    Raises:
        GraphError: there is no such overlay, or it needs a report.
    """
    if callable(color):
        return color  # type: ignore[no-any-return]
    if color not in OVERLAYS:
        known = ", ".join(repr(name) for name in OVERLAYS)
        raise GraphError(
            f'color={color!r} is none of {known}; "gradient" is drawn by '
            'viz.explain_gradient, "rewrites" is drawn as SVG or PNG'
        )
    if report is not None and plan is None:
        plan = report.plan
    if color in ("time", "nan") and report is None:
        raise GraphError(
            f'color="{color}" needs a traced run: session.run(fetches, feeds, '
            "options=RunOptions(trace_level=RunOptions.FULL_TRACE), "
            "run_metadata=metadata), then report=metadata.report"
        )
    if color == "time" and report is not None:
        return _time(report)
    if color == "nan" and report is not None:
        return _nan(report)
    if color == "order":
        return _order(plan)
    if color == "device":
        return classes("device", lambda op: clean(op.device) or None, "on no device")
    known_sizes = _specs(plan)
    if color == "flops":
        return _flops(known_sizes)
    return _memory(known_sizes, plan is not None)


# -- the kinds of overlays -----------------------------------------------------


def numbers(
    title: str,
    values: Mapping[Operation, float],
    text: Callable[[float], str],
    *,
    join: str = "sum",
    blank: str = "not known",
    partly: bool = False,
) -> Overlay:
    """An overlay of numbers, in viridis, each written on its box.

    Args:
        title: what the numbers are.
        values: of operations; others stay blank.
        text: how a number is written.
        join: what a box of several operations shows: "sum", "max", or "range" (the
            least and the greatest; the colour is that of the middle).
        blank: what it means to have no number.
        partly: whether a box says of how many of its operations a number is known.
    """

    def paint(picture: Picture, theme: Theme) -> Scale:
        found: dict[str, float] = {}
        every: list[float] = []
        empty = False
        for node in picture.nodes:
            mine = [values[op] for op in node.ops if op in values]
            if not mine:
                empty = True
                continue
            if join == "range":
                found[node.key] = (min(mine) + max(mine)) / 2
                ends = list(dict.fromkeys((text(min(mine)), text(max(mine)))))
                said = " to ".join(ends)
            else:
                found[node.key] = sum(mine) if join == "sum" else max(mine)
                said = text(found[node.key])
            if partly and len(mine) < len(node.ops):
                said += f", {len(mine)} of {len(node.ops)} known"
            every += (min(mine), max(mine))
            node.notes.append(said)
            node.tooltip += f"\n{clean(title)}: {said}"
        low, high = _range(every if join == "range" else found.values())
        # Sizes that differ by orders of magnitude are told apart by their logarithm.
        wide = join != "range" and low > 0 and high > 50 * low
        place = (lambda v: math.log(v)) if wide else (lambda v: v)
        span = place(high) - place(low) if found else 0.0
        for node in picture.nodes:
            if node.key in found:
                value = max(found[node.key], low)
                node.fill = ramp((place(value) - place(low)) / span if span else 0.5)
        middle = math.sqrt(low * high) if wide else (low + high) / 2
        middle = float(round(middle)) if join == "range" else middle
        ends = [
            text(v)
            for v in ((low, middle, high) if span else (low, high)[: len(found)])
        ]
        colours = [ramp(i / (_STEPS - 1)) for i in range(_STEPS)] if span else []
        kinds = [] if span or not found else [(ramp(0.5), ends[0])]
        said = f"{title}, logarithmic" if wide else title
        return Scale(said, colours, ends, kinds, blank if empty else "")

    return paint


def _range(values: Any) -> tuple[float, float]:
    """The least and the greatest; zeros stand below the least of the others."""
    found = list(values)
    if not found:
        return 0.0, 0.0
    above = [v for v in found if v > 0]
    low, high = min(found), max(found)
    if low <= 0 < high and high > 50 * min(above):
        low = min(above)
    return low, high


def classes(
    title: str,
    kind: Callable[[Operation], str | None],
    blank: str,
    colours: Mapping[str, str] | None = None,
) -> Overlay:
    """An overlay of kinds without an order; None stays blank.

    Args:
        title: what the kinds are.
        kind: of an operation.
        blank: what it means to have none.
        colours: of kinds; others get one in the order of their first box.
    """

    def paint(picture: Picture, theme: Theme) -> Scale:
        chosen: dict[str, str] = {}
        empty = False
        for node in picture.nodes:
            found = Counter(k for k in map(kind, node.ops) if k is not None)
            if not found:
                empty = True
                continue
            most = found.most_common()
            said, _ = most[0]
            if said not in chosen:
                own = colours or {}
                spare = CATEGORIES[min(len(chosen), len(CATEGORIES) - 1)]
                chosen[said] = own.get(said, spare)
            node.fill = chosen[said]
            lines = [k if len(node.ops) == 1 else f"{n:,} {k}" for k, n in most]
            node.notes.append(short(", ".join(lines[:3]), 60))
            node.tooltip += "".join(f"\n{clean(title)}: {line}" for line in lines[:8])
        kinds = [(colour, short(name, 40)) for name, colour in chosen.items()]
        return Scale(title, classes=kinds, blank=blank if empty else "")

    return paint


# -- what is known of operations -----------------------------------------------


def steps_of(plan: Plan) -> list[tuple[int, Any, Plan]]:
    """(number, step, its plan) of a plan and of the plans of its bodies."""
    found = []
    plans = [plan]
    for one in plans:
        found += [(number, step, one) for number, step in enumerate(one.steps)]
        plans += one.bodies.values()
    return found


def members_of(step: Any) -> list[Operation]:
    """The operations that a step computes: several where it is fused."""
    group = step.group
    if group is None:
        return [step.op]
    inside = [m.op for m in group.members]
    return list(dict.fromkeys([*inside, step.op]))


def _specs(plan: Plan | None) -> dict[Any, Any]:
    """What a plan knows of tensors: slots, which have dims and a dtype."""
    if plan is None:
        return {}
    found = {}
    for one in [plan, *_bodies(plan)]:
        for slot in one.slots:
            if slot.tensor is not None:
                found[slot.tensor] = slot
    return found


def _bodies(plan: Plan) -> list[Plan]:
    found = list(plan.bodies.values())
    for one in found:
        found += one.bodies.values()
    return found


class _Lazy(Mapping[Operation, float]):
    """Numbers that are worked out when a picture asks for them."""

    def __init__(self, of: Callable[[Operation], float | None]) -> None:
        self._of = of

    def __getitem__(self, op: Operation) -> float:
        value = self._of(op)
        if value is None:
            raise KeyError(op)
        return value

    def __contains__(self, op: object) -> bool:
        return isinstance(op, Operation) and self._of(op) is not None

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def _order(plan: Plan | None) -> Overlay:
    if plan is None:
        values = _Lazy(lambda op: float(op.id))
        return numbers("order of creation", values, count_text, join="range")
    found: dict[Operation, float] = {}
    for number, step, _ in steps_of(plan):
        for op in members_of(step):
            found.setdefault(op, float(number))
    title = "step of the plan (of its own plan inside a body)"
    return numbers(title, found, count_text, join="range", blank="no step of its own")


def _memory(sizes: Mapping[Any, Any], planned: bool) -> Overlay:
    def size(op: Operation) -> float | None:
        return output_bytes(op, [sizes.get(t, t) for t in op.outputs])

    title = "bytes of the results" + (", as planned" if planned else "")
    return numbers(title, _Lazy(size), bytes_text, blank="sizes not known", partly=True)


def _flops(sizes: Mapping[Any, Any]) -> Overlay:
    def work(op: Operation) -> float | None:
        inputs = [sizes.get(t, t) for t in op.inputs]
        # What is only there, or only moved, does no arithmetic.
        return flops_of(op, inputs, [sizes.get(t, t) for t in op.outputs]) or None

    return numbers(
        "floating-point operations",
        _Lazy(work),
        count_text,
        blank="none, or sizes not known",
        partly=True,
    )


def seconds_text(seconds: float) -> str:
    """``3.2 us``, ``1.5 ms``, ``12 s``."""
    for factor, unit in ((1e6, "us"), (1e3, "ms"), (1.0, "s")):
        if seconds * factor < 999.5 or unit == "s":
            break
    return f"{seconds * factor:.3g} {unit}"


def tell_times(picture: Picture, report: RunReport) -> None:
    """Add what was measured to the tooltips."""
    found = seconds_of(report)
    for node in picture.nodes:
        mine = [found[op] for op in node.ops if op in found]
        if mine:
            node.tooltip += f"\n{seconds_text(sum(mine))} in the run"


def _time(report: RunReport) -> Overlay:
    found = seconds_of(report)
    return numbers("time, measured", found, seconds_text, blank="no step of its own")


def seconds_of(report: RunReport) -> dict[Operation, float]:
    """Seconds of each operation; those of a fused step are shared out evenly."""
    found: dict[Operation, float] = {}
    by_name: dict[str, list[Operation]] = {}
    steps = report.plan.steps if report.plan is not None else ()
    for step in steps:
        by_name.setdefault(step.name, members_of(step))
    for measured in report.steps:
        ops = by_name.get(measured.name, [])
        for op in ops:
            found[op] = found.get(op, 0.0) + measured.seconds / len(ops)
    return found


_CLEAN, _BAD, _SOURCE = "finite", "passes on NaN or infinity", "makes NaN or infinity"


def _nan(report: RunReport) -> Overlay:
    """Where numbers stop being finite: what makes the first, and what it reaches."""
    if report.nonfinite is None:
        raise GraphError(
            'color="nan" needs the report of a run that looked at its numbers: '
            "options=RunOptions(trace_level=RunOptions.FULL_TRACE)"
        )
    bad = report.nonfinite
    ran: set[Operation] = set()
    if report.plan is not None:
        given = (*report.plan.feeds, *report.plan.variables)
        tensors = [report.plan.slots[i].tensor for i in given]
        ran.update(t.op for t in tensors if t is not None)
        for step in report.plan.steps:
            ran.update(members_of(step))

    def kind(op: Operation) -> str | None:
        if not any(t.name in bad for t in op.outputs):
            return _CLEAN if op in ran else None
        return _BAD if any(t.name in bad for t in op.inputs) else _SOURCE

    colours = {_CLEAN: CATEGORIES[2], _BAD: CATEGORIES[1], _SOURCE: CATEGORIES[6]}
    overlay = classes("numbers of the run", kind, "not measured", colours)

    def paint(picture: Picture, theme: Theme) -> Scale:
        for node in picture.nodes:
            counts = [
                f"{bad[t.name]:,} of {t.name}"
                for op in node.ops
                for t in op.outputs
                if t.name in bad
            ]
            if counts:
                node.tooltip += "".join(f"\nnot finite: {c}" for c in counts[:8])
        return overlay(picture, theme)

    return paint
