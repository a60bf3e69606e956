"""An explanation of a gradient in words: verdict, paths, cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cuts import place
from .operation import Operation, is_control
from .shapes import text
from .tensor import Tensor

if TYPE_CHECKING:
    from .explain import GradientExplanation, Path, Step

__all__ = ["MANY", "named", "told"]

# More paths than this are not counted out: their number grows exponentially.
MANY = 10**9
# How many operations of a path, and how many cuts, a text shows.
_SHOWN_STEPS = 12
_SHOWN_CUTS = 8
# How many iterations of a loop, where a path takes several.
_SHOWN_RUNS = 3


def named(t: Tensor) -> str:
    """A tensor's operation and the line that made it."""
    return f"{t.op.describe()} ({place(t.op)})"


def _plural(n: int, word: str) -> str:
    shown = "over a billion" if n >= MANY else f"{n:,}"
    return f"{shown} {word}" + ("" if n == 1 else "s")


def told(e: GradientExplanation) -> str:
    """The explanation, for a terminal."""
    names = ", ".join(y.op.describe() for y in e.ys)
    head = f"The gradient of {names} with respect to {e.x.op.describe()} "
    lines = [head + _verdict(e), ""]
    width = max(len(s) for t in (*e.ys, e.x) for s in (t.op.describe(),))
    for label, t in (*(("y", y) for y in e.ys), ("x", e.x)):
        lines.append(f"  {label}: {_row(t.op, t, width)}")
    for hint in e.hints:
        lines += ["", hint]
    for k, path in enumerate(e.paths):
        if not path.steps:
            continue
        shown = "" if len(e.paths) == 1 else f" {k + 1}"
        size = _plural(len(path.steps), "operation")
        cut = ", cut where marked ✗" if path.cuts else ""
        lines += ["", f"Path{shown}, {size} from x to y{cut}:", *_rows(path)]
    if e.cuts:
        lines += ["", _cuts_title(e)]
        cuts = e.cuts
        if len(cuts) > _SHOWN_CUTS:  # those around the bodies say most
            cuts = tuple(sorted(cuts, key=lambda c: bool(c.within)))
        for n, c in enumerate(cuts[:_SHOWN_CUTS], 1):
            where = f", in {c.within}" if c.within else ""
            lines.append(f"  {n}. {c.op.describe()} ({place(c.op)}){where}: {c.why}.")
            if c.remedy:
                lines.append(f"     {c.remedy}.")
        if len(e.cuts) > _SHOWN_CUTS:
            lines.append(f"  ... and {_plural(len(e.cuts) - _SHOWN_CUTS, 'more')}"[:-1])
    return "\n".join(lines)


def _verdict(e: GradientExplanation) -> str:
    if e.status == "refused":
        return "is refused: an operation between them raises GradientError."
    if e.status == "connected":
        if not any(p.steps for p in e.paths):
            return "is a tensor."
        many = _plural(e.differentiable, "path")
        verb = "carries" if e.differentiable == 1 else "carry"
        more = e.total - e.differentiable
        rest = ""
        if more:
            rest = f", {_plural(more, 'other')} {'is' if more == 1 else 'are'} cut"
        return f"is a tensor: {many} {verb} it{rest}."
    if e.status == "zero":
        zeros = "is a tensor of zeros"
        if any(c.kind == "zero" and is_control(c.op) for c in e.cuts):
            zeros += " (unless a loop between them runs no iteration)"
        return f"{zeros}: every path passes an operation of derivative 0."
    if not e.total:
        return "is None: no path of data leads from x to y."
    if e.total == 1:
        return "is None: the only path from x to y is cut."
    return f"is None: {_plural(e.total, 'path')} from x to y, all of them cut."


def _cuts_title(e: GradientExplanation) -> str:
    if e.status == "refused":
        return "What refuses, and what else is cut:"
    if e.status == "connected":
        return "Paths that do not count are cut here:"
    return "Why:"


def _rows(path: Path) -> list[str]:
    """A path, one operation a line; a long one without its middle."""
    first = path.x.op, path.x
    entries: list[tuple[str, Operation, Tensor, Step | None]] = [(" ", *first, None)]
    for s in path.steps:
        cut = s.cut is not None and s.cut.kind != "carried"
        entries.append(("✗" if cut else " ", s.op, s.output, s))
    hidden = len(entries) - _SHOWN_STEPS
    shown: list[Any] = list(entries)
    if hidden > 1:
        half = _SHOWN_STEPS // 2
        middle = entries[half:-half]
        marked = [m for m in middle if m[0] == "✗"][:4]
        left = len(middle) - len(marked)
        gap = f"    ... {left:,} operations more ..."
        shown = [*entries[:half], gap, *marked, *entries[-half:]]
    width = max(len(row[1].describe()) for row in shown if isinstance(row, tuple))
    lines: list[str] = []
    for row in shown:
        if isinstance(row, str):
            lines.append(row)
            continue
        mark, op, t, step = row
        if step is not None:
            lines += _passage_rows(step)
        lines.append(f"  {mark} {_row(op, t, width)}")
    return lines


def _passage_rows(step: Step) -> list[str]:
    """The way through the bodies of an operation, before its result."""
    lines: list[str] = []
    for n, passage in enumerate(step.inside):
        which = f"through {passage.body.graph.describe()}"
        if n:
            which = "and through the body again, in the next iteration"
        elif len(step.inside) > _SHOWN_RUNS:
            which += f" ({len(step.inside)} iterations, the first {_SHOWN_RUNS} shown)"
        if n < _SHOWN_RUNS:
            lines.append(f"      {which}:")
            lines += ["    " + row for row in _rows(passage.path)]
    return lines


def _row(op: Operation, t: Tensor, width: int) -> str:
    source = op.source
    code = source.text if source is not None else ""
    kind = f"{t.dtype.name}{text(t.dims)}"
    shown = f"{op.describe():<{min(width, 44)}}  {kind:<16}  {place(op)}"
    return f"{shown}  {code}" if code else shown
