"""A picture as Graphviz source, in one fixed order."""

from __future__ import annotations

import html
from typing import Any

from ..graphlib.errors import GraphError
from .fold import Cluster, Node, Picture, fold
from .model import collect
from .theme import (
    BACKGROUND,
    FONT,
    LINE,
    MUTED,
    PARTS,
    SCOPE_FILLS,
    SCOPE_LINE,
    TEXT,
    short,
)

__all__ = ["source", "to_dot"]

#: Above this, straight lines: curves around everything take most of the time.
_CURVED = 320
_DIRECTIONS = ("TB", "LR", "BT", "RL")


def to_dot(
    target: Any,
    *,
    depth: int | None = None,
    max_nodes: int = 200,
    show_constants: bool = False,
    show_initializers: bool | None = None,
    direction: str = "TB",
    title: str = "",
    focus: Any = None,
    hops: int = 2,
    legend: bool = True,
) -> str:
    """The drawing of ``target`` as Graphviz source (options: ``viz.render``)."""
    found = collect(
        target,
        show_constants=show_constants,
        show_initializers=show_initializers,
        focus=focus,
        hops=hops,
    )
    picture = fold(found, depth, max_nodes)
    return source(picture, direction=direction, title=title, legend=legend)


def source(
    picture: Picture, *, direction: str = "TB", title: str = "", legend: bool = True
) -> str:
    """Graphviz source of ``picture``.

    Raises:
        GraphError: ``direction`` is not TB, LR, BT or RL.
    """
    import graphviz

    if direction not in _DIRECTIONS:
        raise GraphError(f"direction {direction!r} is not one of {_DIRECTIONS}")
    dot = graphviz.Digraph("dagrad")
    dot.attr(
        "graph",
        rankdir=direction,
        bgcolor=BACKGROUND,
        fontname=FONT,
        fontcolor=TEXT,
        nodesep="0.22",
        ranksep="0.34",
        pad="0.2",
        newrank="false",
        # Bounds on the network simplex, so that no drawing takes minutes.
        nslimit="3",
        nslimit1="3",
        mclimit="0.5",
        tooltip=" ",
    )
    if len(picture.edges) > _CURVED:
        dot.attr("graph", splines="line")
    head = _heading(picture, title, legend)
    if head:
        dot.attr("graph", label=head, labelloc="t", labeljust="l")
    dot.attr("node", fontname=FONT, fontsize="11", fontcolor=TEXT, margin="0.11,0.055")
    dot.attr("node", height="0.3", penwidth="1.2")
    dot.attr("edge", fontname=FONT, fontsize="8.5", fontcolor=MUTED, color=LINE)
    dot.attr("edge", arrowsize="0.6")
    _clusters(dot, picture.clusters)
    for edge in picture.edges:
        more: dict[str, str] = {"class": "data", "penwidth": f"{edge.width:g}"}
        if edge.control:
            more = {"class": "control", "style": "dashed", "arrowhead": "vee"}
        elif edge.weak:
            more |= {"class": "saved", "color": _SAVED, "fontcolor": _SAVED}
            more |= {"weight": "0"}
        dot.edge(
            edge.tail,
            edge.head,
            label=_plain(f" {edge.label} " if edge.label else ""),
            tooltip=_plain(edge.tooltip) or " ",
            labeltooltip=_plain(edge.tooltip) or " ",
            **more,
        )
    return str(dot.source)


#: Edges of values that the backward part keeps alive.
_SAVED = "#B07A4E"


def _plain(text: str) -> str:
    """User text as a quoted DOT string: no HTML, no escapes; lines kept."""
    import graphviz

    lines = [str(graphviz.escape(line)) or " " for line in text.split("\n")]
    return graphviz.nohtml("\\n".join(lines))  # type: ignore[no-any-return]


def _clusters(dot: Any, clusters: list[Cluster]) -> None:
    """Write nested subgraphs; a scope opens and closes without recursion."""
    stack: list[int] = [0]
    while stack:
        index = stack.pop()
        if index < 0:
            dot.body.append("\t}\n")
            continue
        cluster = clusters[index]
        if index:
            dot.body.append(f"\tsubgraph {cluster.key} {{\n")
            for key, value in _cluster_attributes(cluster):
                dot.body.append(f"\t\t{key}={value}\n")
            stack.append(-1)
        for node in cluster.nodes:
            _node(dot, node)
        stack.extend(reversed(cluster.children))


def _cluster_attributes(cluster: Cluster) -> list[tuple[str, str]]:
    import graphviz

    quote = graphviz.quoting.quote
    fill = SCOPE_FILLS[(cluster.level - 1) % len(SCOPE_FILLS)]
    return [
        ("label", quote(_plain(cluster.label))),
        ("tooltip", quote(_plain(cluster.tooltip))),
        ("class", "scope"),
        ("style", '"filled,rounded"'),
        ("fillcolor", f'"{fill}"'),
        ("color", f'"{SCOPE_LINE}"'),
        ("fontcolor", f'"{MUTED}"'),
        ("fontsize", "10"),
        ("labeljust", "l"),
        ("labelloc", "t"),
        ("margin", "9"),
    ]


def _node(dot: Any, node: Node) -> None:
    look = PARTS[node.part]
    more = {}
    if node.folded:
        more = {"peripheries": "2"}
    dot.node(
        node.key,
        label=_label(node),
        shape="box" if node.folded else look.shape,
        style="filled" if node.folded else look.style,
        fillcolor=look.fill,
        color=look.line,
        tooltip=_plain(node.tooltip),
        **{"class": f"{node.part}{' folded' if node.folded else ''}", **more},
    )


def _label(node: Node) -> str:
    rows = [f"<B>{_html(node.title)}</B>"]
    if node.subtitle:
        rows.append(_small(node.subtitle))
    rows += [_small(note) for note in node.notes]
    return f"<{'<BR/>'.join(rows)}>"


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="9" COLOR="{MUTED}">{_html(text)}</FONT>'


def _html(text: str) -> str:
    return html.escape(short(text, 120)) or " "


def _heading(picture: Picture, title: str, legend: bool) -> str:
    """Title, facts and legend as one table: the label of the whole drawing."""
    rows = []
    if title:
        text = html.escape(short(title, 120))
        rows.append(f'<FONT POINT-SIZE="15"><B>{text}</B></FONT>')
    for line in _wrapped(picture.facts) if legend else ():
        rows.append(f'<FONT POINT-SIZE="10" COLOR="{MUTED}">{html.escape(line)}</FONT>')
    table = [f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows]
    if legend:
        table += _legend(picture)
    if not table:
        return ""
    inside = "".join(table)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="2">{inside}</TABLE>>'


def _wrapped(facts: list[str], width: int = 80) -> list[str]:
    """The facts in lines, broken between facts only."""
    lines: list[str] = []
    for i, fact in enumerate(facts):
        part = fact + ("," if i + 1 < len(facts) else "")
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _legend(picture: Picture) -> list[str]:
    """Rows of swatches for what occurs in the picture."""
    nodes = picture.nodes
    used = {node.part for node in nodes}
    cells = []
    for key, look in PARTS.items():
        if key in used:
            style = "DASHED" if "dashed" in look.style else ""
            style = "DOTTED" if "dotted" in look.style else style
            cells.append(_swatch(look.fill, look.line, look.label, style))
    if any(node.folded for node in nodes):
        cells.append(_swatch(BACKGROUND, MUTED, "folded (double outline)", ""))
    if any(edge.weak for edge in picture.edges):
        cells.append(_stroke(_SAVED, "---", "kept for backward"))
    if any(edge.control for edge in picture.edges):
        cells.append(_stroke(LINE, "- -", "control dependency"))
    rows = [
        f"<TR>{''.join(cells[start : start + 4])}</TR>"
        for start in range(0, len(cells), 4)
    ]
    if not rows:
        return []
    return [
        '<TR><TD ALIGN="LEFT"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" '
        f'CELLPADDING="0">{"".join(rows)}</TABLE></TD></TR>'
    ]


def _swatch(fill: str, line: str, label: str, style: str) -> str:
    look = f' STYLE="{style}"' if style else ""
    return (
        f'<TD BORDER="1" BGCOLOR="{fill}" COLOR="{line}"{look} WIDTH="18" HEIGHT="11" '
        f'FIXEDSIZE="TRUE"></TD><TD ALIGN="LEFT"><FONT POINT-SIZE="10">{label}  '
        "</FONT></TD>"
    )


def _stroke(color: str, line: str, label: str) -> str:
    return (
        f'<TD><FONT POINT-SIZE="10" COLOR="{color}"><B>{line}&gt;</B></FONT></TD>'
        f'<TD ALIGN="LEFT"><FONT POINT-SIZE="10">{label}  </FONT></TD>'
    )
