"""The whiteboard of a :class:`~.whiteboard.Trace`: as text, and as a picture."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import GraphError
from ..graphlib.tensor import Tensor
from .dot import page, plain
from .facts import constant_text
from .sheet import stack
from .svg import draw
from .theme import Theme, short, theme_of
from .whiteboard import Line, Term, Trace

__all__ = ["board_svg", "constant", "number_text", "told"]

_DOT, _BAR = "\u0307", "\u0304"
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_INFIX = {
    "Add": " + ", "AddV2": " + ", "AddN": " + ", "Sub": " − ", "Mul": " · ",
    "RealDiv": " / ", "Div": " / ", "MatMul": " @ ", "Pow": " ^ ",
}  # fmt: skip
_PREFIX = {"Neg": "−", "Sqrt": "√", "Reciprocal": "1 / "}
_MODES = ("forward", "reverse")


def constant(t: Tensor) -> str:
    """A constant as it stands in a formula."""
    return constant_text(t.op).replace("-", "−")


def symbol(number: int, mark: str = "") -> str:
    """``v`` with a mark above it and a number below."""
    return f"v{mark}{number + 1}".translate(_SUBSCRIPTS)


def number_text(value: Any, most: int = 6) -> str:
    """Four digits of a number; of an array of more than ``most`` numbers the first
    few and its size."""
    if value is None:
        return "none"
    array = np.asarray(value)
    if array.dtype.kind not in "fiucb":
        return short(str(array), 24)
    if array.size == 1 and array.ndim == 0:
        return _number(array.item())
    if array.size <= most:
        said = np.array2string(
            array, separator=", ", formatter={"all": lambda v: _number(v)}
        )
        return " ".join(said.split())
    flat = array.reshape(-1)
    size = "×".join(str(d) for d in array.shape)
    head = ", ".join(_number(v) for v in flat[:2])
    return f"[{head}, … {_number(flat[-1])}] {size}"


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    return f"{value:.4g}".replace("-", "−")


def formula(number: int, line: Line) -> str:
    """What a line computes: ``v₃ = v₁ · v₂``, ``v₁ = x``."""
    op = line.tensor.op
    if not line.parents:
        return f"{symbol(number)} = {_name(line)}"
    given = [p if isinstance(p, str) else symbol(p) for p in line.parents]
    kind = op.type
    if kind in _INFIX and len(given) > 1:
        said = _INFIX[kind].join(given)
    elif kind in _PREFIX:
        said = _PREFIX[kind] + given[0]
    elif kind == "Square":
        said = f"{given[0]}²"
    elif kind == "Pack":
        said = f"[{', '.join(given)}]"
    elif kind == "StridedSlice" and len(given) == 1:
        said = f"{given[0]}[{', '.join(_place(s) for s in op.attrs['spec'])}]"
    else:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind).lower()
        said = (
            f"{words} {given[0]}" if len(given) == 1 else f"{words}({', '.join(given)})"
        )
    if len(op.outputs) > 1:
        said += f" [{line.tensor.index}]"
    return f"{symbol(number)} = {short(said, 44)}"


def _place(spec: Any) -> str:
    """One place of an index: a number, a range, or what else stands there."""
    if isinstance(spec, tuple):
        start, stop, step = ("" if s is None else str(s) for s in spec)
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return "…" if spec is ... else str(spec)


def _name(line: Line) -> str:
    return short(line.tensor.op.name, 24)


# -- as text -------------------------------------------------------------------


def told(trace: Trace) -> list[str]:
    """Both modes, line by line, as they would be worked out by hand."""
    table = rows(trace)
    cells = [row for row in table if len(row) == 3]
    widths = [max((_width(row[i]) for row in cells), default=0) for i in (0, 1)]
    out = []
    for row in table:
        if len(row) == 3:
            left, value, tangent = row
            said = f"  {_pad(left, widths[0])} {_pad(value, widths[1])}  {tangent}"
            out.append(said.rstrip())
        else:
            out.append(row[0])
    return out


def rows(trace: Trace) -> list[tuple[str, ...]]:
    """Headings (one cell), forward steps (three cells), and steps back (one cell that
    is indented).  What a body runs is indented below the name of that."""
    along = ", ".join(number_text(d) for d in trace.direction)
    out: list[tuple[str, ...]] = [(f"forward, along ({along})",)]
    where: tuple[str, ...] = ()
    for n, line in enumerate(trace.lines):
        out += _entered(where, line.where)
        where = line.where
        tangent = ""
        if line.tangent is not None:
            terms = [t for t in line.terms if t.tangent is not None]
            parts = [_product(t.partial, trace.lines[t.parent].tangent) for t in terms]
            tangent = _sum(symbol(n, _DOT), parts, line.tangent)
        said = "  " * len(where) + formula(n, line)
        out.append((said, f"= {number_text(line.value)}", tangent))
    out.append(("reverse",))
    where = ()
    for n in trace.backwards():
        line = trace.lines[n]
        if line.adjoint is None:
            continue
        parts = [
            _product(term.partial, trace.lines[child].adjoint)
            for child, term in _readers(trace, n)
            if term.adjoint is not None
        ]
        if n in trace.results and parts:
            parts.insert(0, "1")
        out += _entered(where, line.where)
        where = line.where
        inside = "  " * len(where)
        out.append((f"  {inside}{_sum(symbol(n, _BAR), parts, line.adjoint)}",))
    return out


def _entered(before: tuple[str, ...], now: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names of what begins between two lines."""
    same = 0
    while same < min(len(before), len(now)) and before[same] == now[same]:
        same += 1
    return [("  " * (depth + 1) + now[depth],) for depth in range(same, len(now))]


def _readers(trace: Trace, number: int) -> list[tuple[int, Term]]:
    """The children of a line, with the edges that lead to them."""
    return [
        (child, term)
        for child, line in enumerate(trace.lines)
        for term in line.terms
        if term.parent == number
    ]


def _product(partial: Any, flows: Any) -> str:
    """``2·1``; "" where the partial derivative is no single number."""
    if partial is None or np.size(flows) != 1 or np.size(partial) != 1:
        return ""
    first, second = (number_text(np.reshape(n, ())) for n in (partial, flows))
    return f"{first}·({second})" if second.startswith("−") else f"{first}·{second}"


def _sum(name: str, parts: Sequence[str], total: Any) -> str:
    said = f"{' + '.join(parts)} = " if parts and all(parts) else ""
    return f"{name} = {said}{number_text(total)}"


def _width(text: str) -> int:
    return sum(not unicodedata.combining(c) for c in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


# -- as a picture --------------------------------------------------------------


def board_svg(
    trace: Trace,
    *,
    theme: Any = "light",
    title: str = "",
    modes: Sequence[str] = _MODES,
    direction: str = "LR",
    steps: bool = True,
    engine: str | None = None,
    timeout: float = 120.0,
) -> str:
    """The graph once for each mode, with its numbers.

    Args:
        trace: what to draw.
        theme: "light" or "dark".
        title: above the drawing.
        modes: "forward" and "reverse", or one of them.
        direction: of the data.
        steps: whether the steps are written below, line by line.
        engine, timeout: see :func:`dagrad.viz.svg.draw`.

    Raises:
        GraphError: a mode that is neither.
    """
    look = theme_of(theme)
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown or not modes:
        raise GraphError(f"modes {modes!r} are not among {_MODES}")
    pictures = []
    for mode in modes:
        dot = _source(trace, mode, look, direction)
        pictures.append([draw(dot, title=mode, engine=engine, timeout=timeout)])
    names = ", ".join(_name(trace.lines[n]) for n in trace.results)
    return stack(
        pictures,
        title=title or f"{names}, step by step",
        desc=". ".join(told(trace)),
        lines=_lines(trace) if steps else [],
        theme=look,
    )


def _lines(trace: Trace) -> list[str]:
    said = []
    for row in rows(trace):
        if len(row) == 3:
            said.append("  " + "\t".join(row))
        else:
            said.append(row[0] if row[0].startswith(" ") else f"{row[0]}:")
    return said


def _source(trace: Trace, mode: str, theme: Theme, direction: str) -> str:
    """One mode as Graphviz source."""
    forward = mode == "forward"
    colour = theme.parts["backward" if forward else "update"].line
    dot = page("trace", theme, direction)
    dot.attr("graph", nodesep="0.3", ranksep="0.55", pad="0.1")
    dot.attr("graph", label=_head(trace, mode, colour, theme))
    dot.attr("node", shape="plain")
    dot.attr("edge", fontsize="10", arrowsize="0.7")
    boxes: dict[tuple[str, ...], Any] = {(): dot}
    for n, line in enumerate(trace.lines):
        _box(boxes, line.where, theme).node(
            f"v{n}",
            label=_card(trace, n, line, forward, colour, theme),
            tooltip=plain(f"{line.tensor.op.type} {short(line.tensor.name, 200)}"),
        )
    for path in sorted(boxes, key=len, reverse=True):
        if path:
            boxes[path[:-1]].subgraph(boxes[path])
    for n, line in enumerate(trace.lines):
        flowing = {term.input: term for term in line.terms}
        for k, parent in enumerate(line.parents):
            if isinstance(parent, str):
                continue
            term = flowing.get(k)
            words = "" if term is None else _flow(trace, n, term, forward)
            attributes = {"color": colour if words else theme.line, "penwidth": "1.4"}
            if not words:
                attributes |= {"style": "dotted", "penwidth": "1.2"}
            dot.edge(
                f"v{parent}",
                f"v{n}",
                label=plain(f" {words} " if words else ""),
                fontcolor=colour,
                tooltip=plain(words or "no derivative passes"),
                labeltooltip=plain(words or " "),
                dir="forward" if forward or not words else "back",
                **attributes,
                **{"class": "flow" if words else "data"},
            )
    return str(dot.source)


def _box(boxes: dict[tuple[str, ...], Any], path: tuple[str, ...], theme: Theme) -> Any:
    """The graph for what is in a body, in that of the body around it."""
    import graphviz

    for depth in range(1, len(path) + 1):
        if path[:depth] in boxes:
            continue
        box = graphviz.Digraph(f"cluster_{len(boxes)}")
        box.attr(style="rounded,dashed", color=theme.again, penwidth="1.2", margin="9")
        box.attr(label=plain(short(path[depth - 1], 60)), tooltip=" ", fontsize="10")
        box.attr(**{"class": "scope body"}, fontcolor=theme.muted)
        boxes[path[:depth]] = box
    return boxes[path]


def _flow(trace: Trace, child: int, term: Term, forward: bool) -> str:
    """What is written on an edge: partial times what flows, or their product."""
    if forward:
        if term.tangent is None:
            return ""
        flows = trace.lines[term.parent].tangent
        return _product(term.partial, flows) or number_text(term.tangent, 3)
    if term.adjoint is None:
        return ""
    flows = trace.lines[child].adjoint
    if term.partial is not None and np.size(flows) == 1:
        return _product(flows, term.partial)
    return number_text(term.adjoint, 3)


def _head(trace: Trace, mode: str, colour: str, theme: Theme) -> str:
    """What the mode does, and which colour is what."""
    if mode == "forward":
        along = ", ".join(number_text(d) for d in trace.direction)
        names = ", ".join(symbol(n, _DOT) for n in trace.inputs)
        said = (
            f"Forward: a value and its tangent at a time, along ({names}) = ({along})"
        )
        kind = "tangent, and what flows: partial · tangent of the parent"
    else:
        said = "Reverse: the adjoints, children before parents; what meets is added up"
        kind = "adjoint, and what flows: adjoint of the child · partial"
    value = theme.parts["forward"].line
    keys = '<BR ALIGN="LEFT"/>'.join(
        f'<FONT POINT-SIZE="10" COLOR="{ink}">{_text(what, 200)}</FONT>'
        for what, ink in (("value", value), (kind, colour))
    )
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="2"><TR><TD ALIGN="LEFT">'
        f'<FONT POINT-SIZE="13"><B>{_text(said, 200)}</B></FONT></TD></TR>'
        f'<TR><TD ALIGN="LEFT" BALIGN="LEFT">{keys}</TD></TR></TABLE>>'
    )


def _card(
    trace: Trace, n: int, line: Line, forward: bool, colour: str, theme: Theme
) -> str:
    """The box of a line: formula, value, and tangent or adjoint."""
    flows = line.tangent if forward else line.adjoint
    mark = _DOT if forward else _BAR
    rows = [
        f"<B>{_text(formula(n, line), 80)}</B>",
        f'<FONT COLOR="{theme.parts["forward"].line}">{_text(number_text(line.value))}'
        "</FONT>",
    ]
    if flows is not None:
        said = f"{symbol(n, mark)} = {number_text(flows)}"
        rows.append(f'<FONT COLOR="{colour}">{_text(said)}</FONT>')
        if not forward and n in trace.inputs and len(trace.results) == 1:
            of = f"∂{symbol(trace.results[0])}/∂{_name(line)}"
            rows.append(
                f'<FONT POINT-SIZE="9" COLOR="{theme.muted}">{_text(of)}</FONT>'
            )
    part = "input" if not line.parents else "forward"
    look = theme.parts[part]
    border = 3 if n in trace.results else 1
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return (
        f'<<TABLE BORDER="{border}" CELLBORDER="0" CELLPADDING="3" CELLSPACING="1" '
        f'STYLE="ROUNDED" COLOR="{look.line}" BGCOLOR="{theme.background}">{cells}'
        "</TABLE>>"
    )


def _text(text: str, limit: int = 60) -> str:
    return html.escape(short(text, limit)) or " "
