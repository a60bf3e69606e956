"""Which picture of a plan or a run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graphlib.errors import GraphError
from ..runtime.plan import Plan
from ..runtime.report import RunMetadata, RunReport
from .arena import arena_svg
from .memory import MemoryTrace, compare_svg, memory_svg
from .targets import report_of
from .timeline import chrome_trace, timeline_svg

__all__ = ["chart", "is_chart"]

_RUNS = (Plan, RunReport, RunMetadata, MemoryTrace)


def is_chart(target: Any, options: Mapping[str, Any]) -> bool:
    """Whether a plan or a run, or two of them to compare, is asked for as a chart, not
    as a graph of its steps."""
    if isinstance(target, (list, tuple)) and len(target) == 2:
        return all(isinstance(t, _RUNS) for t in target)
    asked = options.get("view") != "graph" and options.get("color") is None
    return isinstance(target, _RUNS) and asked


def chart(target: Any, kind: str, options: dict[str, Any]) -> str:
    """The text of a chart (see :func:`dagrad.viz.render`): SVG, or for "json" a trace.

    Raises:
        GraphError: there is no such view of ``target``.
    """
    view = options.pop("view", "")
    if isinstance(target, (list, tuple)):
        if kind not in ("svg", "png") or view not in ("", "memory"):
            raise GraphError(
                "two plans or runs are compared by their memory, as SVG or PNG: draw "
                f"each on its own for {view or kind!r}"
            )
        before, after = (_trace(t) for t in target)
        return compare_svg(before, after, **options)
    target = report_of(target)
    what = type(target).__name__
    if kind == "json":
        if not isinstance(target, RunReport):
            raise GraphError(
                f"only a run report can be a trace, not a {what}; "
                'view="graph" gives the nodes and edges of a plan'
            )
        return chrome_trace(target, **options)
    if kind == "dot":
        raise GraphError('a chart has no Graphviz source; view="graph" has')
    view = view or ("timeline" if isinstance(target, RunReport) else "memory")
    if view == "memory":
        return memory_svg(_trace(target), **options)
    if view == "arena" and not isinstance(target, MemoryTrace):
        plan = target.plan if isinstance(target, RunReport) else target
        return arena_svg(plan, **options)
    if view == "timeline" and isinstance(target, RunReport):
        return timeline_svg(target, **options)
    raise GraphError(
        f'view {view!r} of a {what}: there are "memory", "arena" and "graph" (of '
        'plans and reports) and "timeline" (of reports)'
    )


def _trace(target: Any) -> MemoryTrace:
    target = report_of(target)
    if isinstance(target, Plan):
        return MemoryTrace.of_plan(target)
    if isinstance(target, RunReport):
        return MemoryTrace.of_report(target)
    return target  # type: ignore[no-any-return]
