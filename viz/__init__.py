"""Pictures of graphs, plans, run reports and derivatives.

Importing this package imports neither Graphviz's package nor a layout program:
the modules that need them load when something is drawn.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "explain_gradient",
    "explore",
    "render",
    "to_dot",
    "to_json",
    "to_svg",
    "trace",
]


def render(target: Any, path: Any = None, **options: Any) -> str:
    """Draw ``target`` and return the text; write it to ``path`` where given.

    Args:
        target: a graph, tensors (with all that they need), operations, variables;
            a list of them, as ``gradients`` returns (a None in it is passed over); a
            plan, a run report or a :class:`~dagrad.viz.memory.MemoryTrace`, or two of
            these: before and after; a ``GradientExplanation``; or what :func:`trace`
            gives.
        path: a file; ``.dot`` and ``.gv`` get Graphviz source, ``.json`` nodes and
            edges (of a run: a trace for ``chrome://tracing`` and Perfetto), ``.png``
            pixels (``scale`` to a unit, default 2), all others SVG.
        options: for graphs and plans:

            depth: levels of name scopes to open (None: as the budget allows).
            max_nodes: most boxes to draw (default 60); scopes are folded, those of
                one kind drawn once, and runs of operations cut until they fit.
            expand: scopes, or names of loops, branches and calls, to open first.
            focus: a tensor, operation or name, or several: draw only what is
                within ``hops`` (default 2) of it.
            between: ``(xs, ys)``: only what lies on a way from an x to a y.
            repeats: whether scopes ``layer1``, ``layer2``, ... that hold the same are
                drawn once (None: where not everything has room).
            show_constants: constants as nodes, not as text inside their readers.
            show_initializers: draw what only initialisers need (default: where
                they are asked for).
            layout: ``"scopes"`` (default), or ``"mirror"``: the gradient of each
                operation beside it.
            color: ``"order"``, ``"memory"``, ``"time"``, ``"flops"``, ``"device"``
                or ``"nan"``; ``"gradient"`` with ``gradient=(y, x)``; of a plan or a
                run, or with ``plan``, also ``"rewrites"``: before and after.
            report: of a traced run (or its ``RunMetadata``), for ``"time"`` and
                ``"nan"``.
            plan: whose sizes and order the colours are of (default: the report's).
            theme: ``"light"`` (default) or ``"dark"``.
            font: names of fonts to prefer, such as ``"Inter, sans-serif"``; boxes are
                measured for Helvetica, so one as narrow fits.
            direction: ``"TB"`` (default), ``"LR"``, ``"BT"`` or ``"RL"``.
            title: a line above the drawing.
            legend: whether to explain the colours (default True).
            links: link each box to the line that made it: True, or a form such as
                ``"vscode://file{path}:{line}"``.
            engine: ``"pure"`` or ``"system"``; see :func:`dagrad.viz.svg.draw`.
            timeout: seconds that the layout may take.

            For plans and runs:

            view: ``"memory"`` (of a plan: live bytes over its steps), ``"timeline"``
                (of a report: bars per thread over time, live bytes below),
                ``"arena"`` (addresses over steps); default: memory of a plan,
                timeline of a report.  ``"graph"``, or a ``color``, draws the steps of a
                plan as a graph.
            title, theme: a line above the drawing; ``"light"`` or ``"dark"``.
            labels: of two plans, what to call them.

    Raises:
        GraphError: ``target`` is nothing that can be drawn, or an option has no such
            value.
        DrawingError: the layout program is missing or failed.
    """
    from . import output
    from .runs import chart, is_chart

    kind = output.kind_of(path)
    scale, font = options.pop("scale", 2.0), options.pop("font", "")
    if is_chart(target, options):
        text = chart(target, kind, options)
    elif kind == "dot":
        text = to_dot(target, **options)
    elif kind == "json":
        text = to_json(target, **options)
    else:
        text = _svg(target, options)
    if font and kind in ("svg", "png"):
        text = output.with_font(text, font)
    if path is not None:
        output.save(path, output.png(text, scale) if kind == "png" else text)
    return text


def _svg(target: Any, options: dict[str, Any]) -> str:
    """The picture of a graph, of a plan as one, or of a trace, as SVG text."""
    from .whiteboard import Trace

    options.pop("view", None)
    if isinstance(target, Trace):
        from .board import board_svg

        return board_svg(target, **options)
    return to_svg(target, **options)


def to_dot(target: Any, **options: Any) -> str:
    """The drawing of ``target`` as Graphviz source (options: :func:`render`)."""
    from .drawing import drawing_of

    return drawing_of(target, **options).dot()


def to_json(target: Any, **options: Any) -> str:
    """The nodes, edges and scopes of a drawing as JSON (options: :func:`render`)."""
    from .drawing import drawing_of
    from .output import to_json as write

    return write(drawing_of(target, **options))


def to_svg(target: Any, path: Any = None, **options: Any) -> str:
    """The graph of ``target`` as SVG text (options: :func:`render`)."""
    if options.get("color") == "rewrites":
        from . import output
        from .rewrites import rewrites_svg

        options.pop("color")
        text = rewrites_svg(target, **options)
        if path is not None:
            output.save(path, text)
        return text
    from .svg import to_svg as draw

    return draw(target, path, **options)


def explain_gradient(
    y: Any,
    x: Any,
    path: Any = None,
    *,
    stop_gradients: Any = None,
    feeds: Any = None,
    **options: Any,
) -> str:
    """Draw how y depends on x: what carries the gradient, and where it is cut.

    Args:
        y, x, stop_gradients, feeds: as in :func:`dagrad.explain_gradient`.
        path, options: as in :func:`render`.
    """
    from ..graphlib.explain import explain_gradient as explain

    found = explain(y, x, stop_gradients=stop_gradients, feeds=feeds)
    return render(found, path, **options)


def trace(
    fetches: Any,
    feeds: Any = None,
    *,
    wrt: Any = None,
    direction: Any = None,
    session: Any = None,
    max_steps: int = 60,
) -> Any:
    """A small graph with its numbers, step by step in both modes; see
    :func:`dagrad.viz.whiteboard.trace`.  Print the result, or :func:`render` it."""
    from .whiteboard import trace as work

    return work(
        fetches,
        feeds,
        wrt=wrt,
        direction=direction,
        session=session,
        max_steps=max_steps,
    )


def explore(
    target: Any, report: Any = None, path: Any = "graph.html", **options: Any
) -> Any:
    """Write an interactive page in one file (:func:`dagrad.viz.explorer.explore`)."""
    from .explorer import explore as write

    return write(target, report, path, **options)


# What graphs, tensors, plans and reports call by name, to draw themselves in notebooks.
OPERATORS = {"draw": render, "graph_to_dot": to_dot, "graph_to_svg": to_svg}
