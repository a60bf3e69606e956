"""Before and after: what a session's rewrites made of a graph, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graphlib.errors import GraphError
from ..graphlib.operation import Operation
from .drawing import Drawing, picture_of
from .overlay import classes
from .sheet import stack
from .targets import report_of
from .theme import CATEGORIES, theme_of

if TYPE_CHECKING:
    from ..runtime.plan import Plan

__all__ = ["rewrites_svg"]

# What passes are called in a legend.
_NAMES = {
    "algebra": "algebra: a simpler form",
    "bodies": "bodies: one loop for two",
    "broadcasts": "broadcasts: spread out later",
    "chains": "chains: products in a cheaper order",
    "common": "common: computed already",
    "counters": "counters: rows in place of x[i]",
    "dead": "dead: nothing reads it",
    "dense": "dense: laid out for products",
    "fold": "fold: worked out before the run",
    "fuse": "fuse: several in one step",
    "identity": "identity: changes nothing",
    "joins": "joins: a part without the whole",
    "loops": "loops: less in each round",
    "parts": "parts: of products what is read",
    "splits": "splits: parts without copies",
    "stable": "stable: loses no digits",
    "sums": "sums: terms added on arrival",
    "totals": "totals: summed after the loop",
    "views": "views: no copy",
}


def rewrites_svg(
    target: Any,
    *,
    plan: Plan | None = None,
    report: Any = None,
    title: str = "",
    theme: Any = "light",
    direction: str = "TB",
    max_nodes: int = 60,
    engine: str | None = None,
    timeout: float = 120.0,
    **options: Any,
) -> str:
    """The graph that a plan was made of, the plan, and what each pass did.

    ``target`` is the plan, or a run's report, or what ``plan`` or ``report`` say more
    of.  Options as :func:`dagrad.viz.render`, for both sides.

    Raises:
        GraphError: there is no plan.
    """
    from .svg import draw_picture

    plan = _plan_of(target, plan, report)
    look = theme_of(theme)
    changed, colours = _changes(plan)
    budget = max(2, max_nodes // 2)
    sides = []
    wanted = _wanted(plan)
    for name, target in (("Before", wanted), ("After", plan)):
        picture = picture_of(target, max_nodes=budget, **options)
        overlay = classes(
            "rewritten by" if target is wanted else "made by",
            lambda op: _NAMES.get(changed.get(op, ""), changed.get(op)),
            "as it was",
            {_NAMES.get(k, k): c for k, c in colours.items()},
        )
        scale = overlay(picture, look)
        drawing = Drawing(picture, look, scale, name, direction)
        sides.append(draw_picture(drawing, engine=engine, timeout=timeout))
    return stack(
        [sides],
        title=title or "Rewrites",
        desc="The graph before the rewrites, the plan after them, and what each did.",
        lines=["What each pass did:", *_told(plan)],
        theme=look,
    )


def _plan_of(target: Any, plan: Plan | None, report: Any) -> Plan:
    from ..runtime.plan import Plan
    from ..runtime.report import RunReport

    for given in (report_of(target), plan, report_of(report)):
        if isinstance(given, Plan):
            return given
        if isinstance(given, RunReport) and given.plan is not None:
            return given.plan  # type: ignore[no-any-return]
    raise GraphError(
        'color="rewrites" shows what a session made of a graph: draw '
        "session.plan(fetches, feeds) or a run's report, or say plan="
    )


def _changes(plan: Plan) -> tuple[dict[Operation, str], dict[str, str]]:
    """The last pass that changed each operation; a colour for each pass."""
    changed: dict[Operation, str] = {}
    for change in plan.changes:
        for op in change.ops:
            changed[op] = change.rewrite
    names = dict.fromkeys(change.rewrite for change in plan.changes)
    return changed, {
        name: CATEGORIES[i % len(CATEGORIES)] for i, name in enumerate(names)
    }


def _wanted(plan: Plan) -> list[Any]:
    """What the run was asked for: fetches, and operations without a result."""
    found: dict[Any, None] = {}
    for i in plan.fetches:
        tensor = plan.slots[i].tensor
        if tensor is not None:
            found[tensor] = None
    read = {i for step in plan.steps for i in step.inputs}
    for step in plan.steps:
        if not any(i in read for i in step.outputs):
            found[step.op] = None
    return list(found)


def _told(plan: Plan) -> list[str]:
    """``Plan.explain`` with the names of files, not their folders."""
    lines = []
    for line in plan.explain().splitlines():
        lead = line[: len(line) - len(line.lstrip())]
        words = [word.replace("\\", "/").rpartition("/")[2] if ":" in word else word
                 for word in line.split()]  # fmt: skip
        lines.append(lead + " ".join(words))
    return lines
