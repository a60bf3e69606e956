"""The path of a gradient, and where it is cut, on the graph."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from ..graphlib.cuts import Cut
from ..graphlib.explain import GradientExplanation, Path, explain_gradient
from ..graphlib.operation import Operation
from ..graphlib.subgraph import Subgraph
from .drawing import Drawing, picture_of
from .edges import Edge
from .facts import place_text
from .fold import Picture
from .legend import Scale
from .theme import Theme, clean, short, theme_of

__all__ = ["gradient_overlay", "why_drawing"]

#: How many paths are looked at, and how many cuts are told of.
_PATHS = 12
_TOLD = 8
_COLUMNS = 100


def why_drawing(
    asked: GradientExplanation,
    *,
    theme: Any = "light",
    title: str = "",
    direction: str = "TB",
    legend: bool = True,
    links: Any = None,
    max_nodes: int = 60,
    **options: Any,
) -> Drawing:
    """What lies between x and y, with the ways of the gradient (options: ``render``).

    Where nothing does, x and y are drawn with what is near them.
    """
    look = theme_of(theme)
    x, ys = asked.x, list(asked.ys)
    inner = next((t for t in (x, *ys) if isinstance(t.op.graph, Subgraph)), None)
    target: Any = [*ys, x]
    if inner is not None:
        target = _root(inner.op.graph)
    if asked.total and "focus" not in options and "between" not in options:
        options["between"] = ([x], ys)
        # What cuts a path inside of a body is to be seen.
        owners = {
            step.op.name for path in asked.paths for step in path.steps if step.inside
        }
        options.setdefault("expand", sorted(owners) if len(owners) <= 4 else ())
    elif "between" not in options:
        options.setdefault("focus", [x, *ys])
    picture = picture_of(target, max_nodes=max_nodes, **options)
    scale = gradient_overlay(asked)(picture, look)
    return Drawing(picture, look, scale, title, direction, legend, links)


def _root(graph: Any) -> Any:
    while graph.outer is not None:
        graph = graph.outer
    return graph


def gradient_overlay(asked: GradientExplanation) -> Any:
    """The overlay of an explanation: see :mod:`.overlay`."""
    if asked.total > len(asked.paths) and not asked.hints:
        # More paths than a text shows: on a picture there is room.
        asked = explain_gradient(list(asked.ys), asked.x, limit=_PATHS)
    carries, passes = _ways(asked.paths, asked.cuts)
    cuts: dict[Operation, Cut] = {}
    for cut in asked.cuts:
        cuts.setdefault(cut.op, cut)
    ends = {asked.x.op: "x", **{y.op: "y" for y in asked.ys}}

    def paint(picture: Picture, theme: Theme) -> Scale:
        colours = {
            _END: theme.parts["input"].fill,
            _CARRIES: theme.parts["update"].fill,
            _CUT: theme.parts["backward"].fill,
        }
        blank = False
        used: set[str] = set()
        for node in picture.nodes:
            stops = [cuts[op] for op in node.ops if op in cuts]
            names = sorted({ends[op] for op in node.ops if op in ends})
            said = ""
            if stops:
                said = _CUT
                node.notes.append(f"cut: {short(stops[0].why, 60)}")
                node.tooltip += "".join(_hint(c) for c in stops[:4])
            elif any(op in carries for op in node.ops):
                said = _CARRIES
            if names:
                node.notes.insert(0, f"the {' and '.join(names)}")
                said = said if said == _CUT else _END
            blank = blank or not said
            used.add(said)
            node.fill = colours.get(said)
        _mark(picture, passes)
        kinds = [(colour, name) for name, colour in colours.items() if name in used]
        return Scale(
            "gradient of " + _names(asked.ys) + " with respect to " + _name(asked.x),
            classes=kinds,
            blank="on no path that is shown" if blank else "",
            lines=_lines(asked),
        )

    return paint


_END, _CARRIES, _CUT = "x and y", "carries the gradient", "cuts it"


def _ways(
    paths: Iterable[Path], cuts: Iterable[Cut]
) -> tuple[set[Operation], dict[tuple[Operation, Operation], bool]]:
    """The operations that carry the gradient, and (producer, reader) -> whether a
    derivative passes there, with those in bodies."""
    carries: set[Operation] = set()
    passes: dict[tuple[Operation, Operation], bool] = {}

    def note(before: Operation, after: Operation, open_: bool) -> None:
        passes[before, after] = passes.get((before, after), False) or open_

    todo = list(paths)
    for path in todo:
        whole = not path.cuts
        for number, step in enumerate(path.steps):
            note(step.input.op, step.op, step.cut is None)
            if whole:
                carries.update((step.input.op, step.op))
            for passage in step.inside:
                inner = passage.path
                todo.append(inner)
                if not inner.steps:
                    continue
                # What a body captures is drawn where it comes from, what it makes
                # where it goes.
                source = passage.body.graph.source_of(inner.x)
                if source is not None:
                    first = inner.steps[0]
                    note(source.op, first.op, first.cut is None)
                if number + 1 < len(path.steps):
                    after = path.steps[number + 1]
                    note(inner.steps[-1].op, after.op, after.cut is None)
    for cut in cuts:
        passes.setdefault((cut.tensor.op, cut.op), False)
    return carries, passes


def _mark(picture: Picture, passes: dict[tuple[Operation, Operation], bool]) -> None:
    """Give the edges on paths their state."""
    home: dict[Operation, str] = {}
    for node in picture.nodes:
        for op in node.ops:
            home.setdefault(op, node.key)
    states: dict[tuple[str, str], bool] = {}
    for (before, after), open_ in passes.items():
        pair = home.get(before, ""), home.get(after, "")
        if all(pair) and pair[0] != pair[1]:
            states[pair] = states.get(pair, False) or open_
    for edge in picture.edges:
        _state(edge, states.get((edge.tail, edge.head)))


def _state(edge: Edge, open_: bool | None) -> None:
    if open_ is not None and not edge.again:
        edge.state = "open" if open_ else "cut"
        edge.tooltip += "\na derivative passes" if open_ else "\nno derivative passes"


def _hint(cut: Cut) -> str:
    remedy = f"\n{clean(cut.remedy)}" if cut.remedy else ""
    return f"\ncut: {clean(cut.why)}{remedy}"


def _lines(asked: GradientExplanation) -> list[str]:
    """The verdict, hints, and the cuts with their places."""
    words = str(asked).splitlines()
    found = [words[0], *asked.hints]
    for number, cut in enumerate(asked.cuts[:_TOLD], 1):
        where = f", in {cut.within}" if cut.within else ""
        place = place_text(cut.op) or "an unknown place"
        found.append(f"{number}. {cut.op.describe()} ({place}){where}: {cut.why}.")
        if cut.remedy:
            found.append(f"    {cut.remedy}.")
    if len(asked.cuts) > _TOLD:
        found.append(f"and {len(asked.cuts) - _TOLD} more cuts")
    return [
        piece
        for line in found
        for piece in textwrap.wrap(clean(line), _COLUMNS, subsequent_indent="    ")
    ]


def _names(ts: Iterable[Any]) -> str:
    names = [_name(t) for t in ts]
    return ", ".join(names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )


def _name(t: Any) -> str:
    return short(t.op.name, 40)
