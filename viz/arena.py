"""The arena of a plan as a map: which bytes hold what, step by step; and the plan as a
table."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from ..graphlib.errors import GraphError
from .bands import ROLES
from .chart import POINTED, Canvas, columns, ink_of, scale, tick_text, write
from .memory import roles_of, step_axis
from .theme import bytes_text, clean, short, spec_text

if TYPE_CHECKING:
    from ..runtime.plan import Plan

__all__ = ["arena_svg", "plan_table"]

_WIDTH = 1040
_LEFT, _RIGHT = 92, 28
_TOP, _HEIGHT = 104, 420
_PLOT = _WIDTH - _LEFT - _RIGHT
# More boxes than this are no picture; the smallest are left out, and counted.
_BOXES = 800
# So many of them, the largest, have a tooltip.
_NAMED = 150


class _Place(NamedTuple):
    """What holds some bytes of the arena during some steps."""

    name: str
    spec: str
    offset: int
    nbytes: int
    first: int
    last: int
    role: str


def arena_svg(
    plan: Plan, path: Any = None, title: str = "", theme: str = "light"
) -> str:
    """The arena of ``plan``: addresses upwards, steps to the right, a box for each
    tensor from the step that makes it to its last use.

    White is memory that nothing uses then.  The text is returned, and written to
    ``path`` where given.
    """
    ink = ink_of(theme)
    canvas = Canvas(_WIDTH, ink)
    head = title or "The arena of a plan"
    canvas.text(_LEFT, 32, short(head, 90), size=17, bold=True)
    places = sorted(_places(plan), key=lambda p: -p.nbytes * (p.last - p.first + 1))
    drawn, left_out = places[:_BOXES], len(places[_BOXES:])
    said = (
        f"{bytes_text(plan.arena_bytes)} for {len(places):,} tensors of "
        f"{bytes_text(sum(p.nbytes for p in places))} in all"
    )
    if left_out:
        said += f"; the {left_out:,} smallest are not drawn"
    canvas.text(_LEFT, 53, said, fill=ink.muted, size=13)
    seen = {p.role for p in places}
    canvas.legend(
        _LEFT, 78, [(ROLES[r][0], ROLES[r][1][0], "fill") for r in ROLES if r in seen]
    )
    count = len(plan.steps)
    bottom = _TOP + _HEIGHT
    unit, step, top = scale(plan.arena_bytes)

    def x(i: int) -> float:
        return _LEFT + _PLOT * i / max(1, count)

    def y(address: float) -> float:
        return bottom - _HEIGHT * address / top

    for k in range(round(top / step) + 1):
        canvas.rule(_LEFT, y(k * step), _LEFT + _PLOT, y(k * step))
        said_at = tick_text(k * step, unit)
        canvas.text(_LEFT - 8, y(k * step) + 4, said_at, "end", ink.muted)
    edge = x(1) - x(0) > 1.8
    pointed = set(drawn[:_NAMED])
    for number, p in enumerate(sorted(drawn, key=lambda p: (p.first, p.offset))):
        width = x(p.last + 1) - x(p.first)
        high = y(p.offset) - y(p.offset + p.nbytes)
        tip = (
            f"{short(p.name, 200)}  {short(p.spec, 60)}\n{bytes_text(p.nbytes)} from "
            f"byte {p.offset:,}, steps {p.first:,} to {p.last:,}"
        )
        fill = ROLES[p.role][1][number % 2]
        canvas.box(
            x(p.first),
            y(p.offset + p.nbytes),
            width,
            max(high, 0.4),
            fill,
            tip if p in pointed else "",
            stroke=ink.page if edge and high > 3 else "",
        )
        letters = int((width - 8) / 5.6)
        if high >= 12 and letters >= min(len(p.name), 12):
            middle = (y(p.offset) + y(p.offset + p.nbytes)) / 2 + 3.5
            text = short(p.name, letters)
            canvas.text(x(p.first) + 4, middle, text, fill=ink.on_fill, size=10)
    end = y(plan.arena_bytes)
    canvas.rule(_LEFT, end, _LEFT + _PLOT, end, ink.peak)
    said_end = f"end of the arena, {bytes_text(plan.arena_bytes)}"
    canvas.text(_LEFT + _PLOT, end - 5, said_end, "end", ink.peak, size=11)
    canvas.rule(_LEFT, bottom, _LEFT + _PLOT, bottom, ink.line)
    for c in columns(count, x, POINTED):
        tip = f"step {c.first:,}: {short(plan.steps[c.first].name, 100)}"
        canvas.box(c.x, bottom, c.right - c.x, 6, "none", tip)
    step_axis(canvas, count, x, bottom)
    return write(canvas.svg(bottom + 60, head, said + "."), path)


def _places(plan: Plan) -> list[_Place]:
    """What lies in the arena: tensors that take over memory from another have a box
    of their own from the step that makes them."""
    from ..runtime.plan import ARENA

    roles = roles_of(plan)
    found = []
    members: dict[tuple[int, int], list[int]] = {}
    for i, s in enumerate(plan.slots):
        if s.kind == ARENA and s.owner == i and s.nbytes:
            key = (-1 - i, 0) if s.group < 0 else (s.group, s.offset)
            members.setdefault(key, []).append(i)
    for group in members.values():
        group.sort(key=lambda i: plan.slots[i].first)
        # Whoever takes memory over has it from then on.
        for i, then in zip(group, [*group[1:], None]):
            s = plan.slots[i]
            last = s.last
            if then is not None and plan.slots[then].first > s.first:
                last = min(last, plan.slots[then].first - 1)
            spec = spec_text(s.dtype.name, s.dims)
            name = s.name or "scratch"
            first = max(0, s.first)
            found.append(_Place(name, spec, s.offset, s.nbytes, first, last, roles[i]))
    for number, step in enumerate(plan.steps):
        for offset, dtype, dims in step.work:
            nbytes = prod(dims) * dtype.itemsize
            name, spec = f"scratch of {step.name}", spec_text(dtype.name, dims)
            if nbytes:
                found.append(
                    _Place(name, spec, offset, nbytes, number, number, "scratch")
                )
    return found


# -- the plan as a table -------------------------------------------------------

_HEADS = (
    "step",
    "type",
    "name",
    "outputs",
    "bytes",
    "where",
    "live after",
    "frees",
    "source",
)
_NUMBERS = ("step", "bytes", "live after")


def plan_table(plan: Plan, max_rows: int = 200, width: int = 36) -> str:
    """A plan as text, one step a line: what it makes, how large that is and where it
    goes, the live bytes, what is freed after it, and the user's line.

    ``where`` is an address in the arena, or "in place of" the tensor whose memory is
    taken over, "view of" another, "fetched", "call" (the kernel allocates), or
    "variable".

    Args:
        plan: a plan.
        max_rows: most lines; the middle is left out beyond it, and said so.
        width: most characters of a column.
    """
    if max_rows < 2:
        raise GraphError(f"max_rows must be 2 or more, not {max_rows}")
    count = len(plan.steps)
    left_out = max(0, count - max_rows)
    head = (count - left_out + 1) // 2
    rows: list[tuple[str, ...]] = [_HEADS]
    for number in [*range(head), *range(head + left_out, count)]:
        step = plan.steps[number]
        slots = [plan.slots[s] for s in step.outputs]
        source = "" if step.source is None else clean(str(step.source))
        names = [plan.slots[s].name or f"%{s}" for s in step.frees]
        rows.append(
            (
                f"{number:,}",
                short(step.what, width),
                short(step.name, width),
                short(", ".join(spec_text(s.dtype.name, s.dims) for s in slots), width),
                f"{sum(s.nbytes for s in slots if s.kind != 'view'):,}",
                short(_where(plan, number), width),
                f"{plan.live_bytes[number]:,}",
                short(" ".join(names), width),
                source.replace("\\", "/").rpartition("/")[2],
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADS))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(w) if name in _NUMBERS else cell.ljust(w)
            for cell, w, name in zip(row, widths, _HEADS)
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    if left_out:
        lines.insert(2 + head, f"... {left_out:,} steps left out ...")
    lines.append(
        f"peak {bytes_text(plan.peak_bytes)} at step {plan.peak_step:,}, arena "
        f"{bytes_text(plan.arena_bytes)}, fetched {bytes_text(plan.fetch_bytes)}, "
        f"order {plan.order!r}"
    )
    return "\n".join(lines) + "\n"


def _where(plan: Plan, number: int) -> str:
    from ..runtime.plan import ARENA, SAME, VIEW

    step = plan.steps[number]
    taken = dict(step.takes_over)
    said = []
    for i in step.outputs:
        s = plan.slots[i]
        if i in taken:
            other = plan.slots[taken[i]]
            said.append(f"in place of {other.name or f'%{taken[i]}'}")
        elif s.kind == ARENA:
            said.append(f"@{s.offset:,}")
        elif s.kind in (VIEW, SAME):
            owner = plan.slots[s.owner].name or f"%{s.owner}"
            said.append(f"{'view of' if s.kind == VIEW else 'in place of'} {owner}")
        else:
            said.append("fetched" if s.kind == "fetch" else s.kind)
    return ", ".join(said)
