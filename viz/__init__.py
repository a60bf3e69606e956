"""Pictures of graphs, plans and run reports.

Importing this package imports neither Graphviz's package nor a layout program:
the modules that need them load when something is drawn.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["explore", "install", "render", "to_dot", "to_svg"]


def render(target: Any, path: Any = None, **options: Any) -> str:
    """Draw ``target`` and return the text; write it to ``path`` where given.

    Args:
        target: a graph, tensors (with all that they need), operations,
            variables; or, for a chart of memory, a plan, a run report or a
            :class:`~dagrad.viz.memory.MemoryTrace`.
        path: a file; ``.dot`` and ``.gv`` get Graphviz source, all others SVG.
        options: for graphs:

            depth: levels of name scopes to open (None: as the budget allows).
            max_nodes: most boxes to draw (default 200); scopes are folded and
                runs of operations are cut until they fit.
            show_constants: constants as nodes, not as text inside their readers.
            show_initializers: draw what only initialisers need (default: where
                they are asked for).
            direction: ``"TB"`` (default), ``"LR"``, ``"BT"`` or ``"RL"``.
            title: a line above the drawing.
            focus: a tensor, operation or name, or several: draw only what is
                within ``hops`` (default 2) of it.
            legend: whether to explain the colours (default True).
            engine: ``"pure"`` (default) or ``"system"``; see
                :func:`dagrad.viz.svg.draw`.
            timeout: seconds that the layout may take.

            For charts of memory: ``title``.

    Raises:
        GraphError: ``target`` is nothing that can be drawn.
        DrawingError: the layout program is missing or failed.
    """
    from ..runtime.plan import Plan
    from ..runtime.report import RunReport
    from .memory import MemoryTrace, memory_svg

    if isinstance(target, Plan):
        target = MemoryTrace.of_plan(target)
    elif isinstance(target, RunReport):
        target = MemoryTrace.of_report(target)
    if isinstance(target, MemoryTrace):
        return memory_svg(target, path, **options)
    if path is not None and os.fspath(path).endswith((".dot", ".gv")):
        text = to_dot(target, **options)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        return text
    return to_svg(target, path, **options)


def to_dot(target: Any, **options: Any) -> str:
    """The drawing of ``target`` as Graphviz source (options: :func:`render`)."""
    from .dot import to_dot as write

    return write(target, **options)


def to_svg(target: Any, path: Any = None, **options: Any) -> str:
    """The drawing of ``target`` as SVG text (options: :func:`render`)."""
    from .svg import to_svg as draw

    return draw(target, path, **options)


def explore(
    target: Any, report: Any = None, path: Any = "graph.html", **options: Any
) -> Any:
    """Write an interactive page in one file (:func:`dagrad.viz.explorer.explore`)."""
    from .explorer import explore as write

    return write(target, report, path, **options)


def install() -> None:
    """Let ``Graph.to_dot``, ``Graph.to_svg`` and notebooks draw."""
    from ..graphlib.operators import TABLE

    TABLE["graph_to_dot"] = to_dot
    TABLE["graph_to_svg"] = to_svg
