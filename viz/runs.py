"""Which picture of a plan or a run is asked for."""

from __future__ import annotations

import os
from typing import Any

from ..graphlib.errors import GraphError
from ..runtime.plan import Plan
from ..runtime.report import RunMetadata, RunReport
from .arena import arena_svg
from .memory import MemoryTrace, compare_svg, memory_svg
from .timeline import chrome_trace, timeline_svg

__all__ = ["draws", "render_run"]

_RUNS = (Plan, RunReport, RunMetadata, MemoryTrace)


def draws(target: Any) -> bool:
    """Whether ``target`` is a plan or a run, or two of them to compare."""
    if isinstance(target, (list, tuple)) and len(target) == 2:
        return all(isinstance(t, _RUNS) for t in target)
    return isinstance(target, _RUNS)


def render_run(target: Any, path: Any = None, view: str = "", **options: Any) -> str:
    """See :func:`dagrad.viz.render`."""
    if isinstance(target, (list, tuple)):
        before, after = (_trace(t) for t in target)
        return compare_svg(before, after, path, **options)
    if isinstance(target, RunMetadata):
        if target.report is None:
            raise GraphError(
                "nothing was measured: pass this to session.run with "
                "options=RunOptions(trace_level=RunOptions.FULL_TRACE)"
            )
        target = target.report
    if path is not None and os.fspath(path).endswith(".json"):
        if not isinstance(target, RunReport):
            raise GraphError(f"only a run report can be a trace, not {target!r}")
        return chrome_trace(target, path, **options)
    view = view or ("timeline" if isinstance(target, RunReport) else "memory")
    if view == "memory":
        return memory_svg(_trace(target), path, **options)
    if view == "arena" and not isinstance(target, MemoryTrace):
        plan = target.plan if isinstance(target, RunReport) else target
        return arena_svg(plan, path, **options)
    if view == "timeline" and isinstance(target, RunReport):
        return timeline_svg(target, path, **options)
    what = type(target).__name__
    raise GraphError(
        f'view {view!r} of a {what}: there are "memory", "arena" (of plans and '
        'reports) and "timeline" (of reports)'
    )


def _trace(target: Any) -> MemoryTrace:
    if isinstance(target, RunMetadata):
        target = target.report
    if isinstance(target, Plan):
        return MemoryTrace.of_plan(target)
    if isinstance(target, RunReport):
        return MemoryTrace.of_report(target)
    return target  # type: ignore[no-any-return]
