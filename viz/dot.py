"""A picture as Graphviz source, in one fixed order."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from ..graphlib.errors import GraphError
from .edges import Edge
from .fold import Cluster, Node, Picture
from .legend import Scale, heading
from .theme import FONT, LIGHT, Theme, ink_on, short

__all__ = ["page", "plain", "source"]

#: Above this, straight lines: curves around everything take most of the time.
_CURVED = 320
_DIRECTIONS = ("TB", "LR", "BT", "RL")

#: Sets colours and notes of the nodes of a picture, and says what they mean.
Overlay = Callable[[Picture, Theme], Scale]


def source(
    picture: Picture,
    *,
    direction: str = "TB",
    title: str = "",
    legend: bool = True,
    theme: Theme = LIGHT,
    scale: Scale | None = None,
    url: Callable[[Any], str] | None = None,
) -> str:
    """Graphviz source of ``picture``.

    Args:
        picture: what to draw.
        direction: of the data.
        title: a line above the drawing.
        legend: whether facts and colours are explained.
        theme: the colours.
        scale: the legend of the overlay that coloured the picture.
        url: the address of the line that made an operation, for links.

    Raises:
        GraphError: ``direction`` is not TB, LR, BT or RL.
    """
    dot = page("dagrad", theme, direction)
    dot.attr("graph", nodesep="0.22", ranksep="0.34", pad="0.2")
    # Bounds on the network simplex, so that no drawing takes minutes.
    dot.attr("graph", nslimit="3", nslimit1="3", mclimit="0.5")
    if picture.pairs:
        dot.attr("graph", newrank="true")
    if len(picture.edges) > _CURVED:
        dot.attr("graph", splines="line")
    head = heading(picture, theme, title, legend, scale)
    if head:
        dot.attr("graph", label=head)
    dot.attr("node", fontsize="11", height="0.3", penwidth="1.2", margin="0.11,0.055")
    dot.attr("edge", fontsize="8.5", fontcolor=theme.muted)
    dot.attr("edge", arrowsize="0.6", color=theme.line)
    write = _Writer(dot, theme, scale is not None, url)
    write.clusters(picture.clusters)
    backward = {key for _, key in picture.pairs}
    for edge in picture.edges:
        write.edge(edge, edge.tail in backward and edge.head in backward)
    write.pairs(picture.pairs)
    return str(dot.source)


def page(name: str, theme: Theme, direction: str) -> Any:
    """An empty graph in the colours and the font of a theme, its label on the left.

    Raises:
        GraphError: ``direction`` is not TB, LR, BT or RL.
    """
    import graphviz

    if direction not in _DIRECTIONS:
        raise GraphError(f"direction {direction!r} is not one of {_DIRECTIONS}")
    dot = graphviz.Digraph(name)
    dot.attr("graph", rankdir=direction, bgcolor=theme.background, tooltip=" ")
    dot.attr("graph", fontname=FONT, fontcolor=theme.text)
    dot.attr("graph", labelloc="t", labeljust="l")
    dot.attr("node", fontname=FONT, fontcolor=theme.text)
    dot.attr("edge", fontname=FONT)
    return dot


def plain(text: str) -> str:
    """User text as a quoted DOT string: no HTML, no escapes; lines kept."""
    import graphviz

    lines = [str(graphviz.escape(line)) or " " for line in text.split("\n")]
    return graphviz.nohtml("\\n".join(lines))  # type: ignore[no-any-return]


class _Writer:
    """Writes the parts of one picture."""

    def __init__(
        self,
        dot: Any,
        theme: Theme,
        painted: bool,
        url: Callable[[Any], str] | None,
    ) -> None:
        self.dot = dot
        self.theme = theme
        #: Whether an overlay has the say in colours.
        self.painted = painted
        self.url = url

    def clusters(self, clusters: list[Cluster]) -> None:
        """Write nested subgraphs; a scope opens and closes without recursion."""
        stack: list[int] = [0]
        while stack:
            index = stack.pop()
            if index < 0:
                self.dot.body.append("\t}\n")
                continue
            cluster = clusters[index]
            if index:
                self.dot.body.append(f"\tsubgraph {cluster.key} {{\n")
                for key, value in self._cluster(cluster):
                    self.dot.body.append(f"\t\t{key}={value}\n")
                stack.append(-1)
            for node in cluster.nodes:
                self._node(node)
            stack.extend(reversed(cluster.children))

    def _cluster(self, cluster: Cluster) -> list[tuple[str, str]]:
        import graphviz

        theme = self.theme
        quote = graphviz.quoting.quote
        fill = theme.scope_fills[(cluster.level - 1) % len(theme.scope_fills)]
        line, style, width = theme.scope_line, "filled,rounded", "1"
        if cluster.body:
            line, style, width = theme.again, "filled,rounded,dashed", "1.3"
        if cluster.count > 1:
            line, width = theme.text, "2"
        kind = "scope" + (" body" if cluster.body else "")
        return [
            ("label", quote(plain(cluster.label))),
            ("tooltip", quote(plain(cluster.tooltip))),
            ("class", f'"{kind}{" several" if cluster.count > 1 else ""}"'),
            ("style", f'"{style}"'),
            ("fillcolor", f'"{fill}"'),
            ("color", f'"{line}"'),
            ("penwidth", width),
            ("fontcolor", f'"{theme.muted}"'),
            ("fontsize", "10"),
            ("labeljust", "l"),
            ("labelloc", "t"),
            ("margin", "9"),
        ]

    def _node(self, node: Node) -> None:
        look = self.theme.parts[node.part]
        fill, ink, line = look.fill, "", look.line
        if self.painted:
            fill = node.fill or self.theme.blank
            ink = ink_on(fill)
            line = self.theme.muted
        more = {"peripheries": "2"} if node.folded else {}
        address = self.url(node.ops[0]) if self.url is not None and node.ops else ""
        if address:
            more |= {"URL": plain(address), "target": "_blank"}
        self.dot.node(
            node.key,
            label=_label(node, ink, self.theme),
            shape="box" if node.folded else look.shape,
            style="filled" if node.folded else look.style,
            fillcolor=fill,
            color=line,
            fontcolor=ink or self.theme.text,
            tooltip=plain(node.tooltip),
            **{"class": f"{node.part}{' folded' if node.folded else ''}", **more},
        )

    def edge(self, edge: Edge, upward: bool) -> None:
        """One arrow; ``upward`` ones go against the order of the ranks."""
        theme = self.theme
        more: dict[str, str] = {"class": "data", "penwidth": f"{edge.width:g}"}
        if edge.again:
            more = {"class": "again", "style": "dashed", "constraint": "false"}
            more |= {"color": theme.again, "fontcolor": theme.again}
        elif edge.control:
            more = {"class": "control", "style": "dashed", "arrowhead": "vee"}
        elif edge.weak:
            more |= {"class": "saved", "color": theme.saved, "fontcolor": theme.saved}
            more |= {"weight": "0"}
        if edge.state:
            colour = theme.open if edge.state == "open" else theme.cut
            more |= {"class": f"{more['class']} {edge.state}", "color": colour}
            more |= {"penwidth": "2.4", "style": "solid", "fontcolor": colour}
        if edge.state == "cut":
            more |= {"style": "dashed", "arrowhead": "tee"}
        tail, head = edge.tail, edge.head
        if upward and not edge.again:
            tail, head = head, tail
            more |= {"dir": "back"}
            if "arrowhead" in more:
                more["arrowtail"] = more.pop("arrowhead")
        self.dot.edge(
            tail,
            head,
            # Room on both sides, more on the right: a label stays clear of its edge and
            # of the outline of the scope in which it is the rightmost thing.
            label=plain(f" {edge.label}   " if edge.label else ""),
            tooltip=plain(edge.tooltip) or " ",
            labeltooltip=plain(edge.tooltip) or " ",
            **more,
        )

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """A gradient beside what it differentiates, with a line between them."""
        beside: set[str] = set()
        for forward, backward in pairs:
            if forward not in beside:
                beside.add(forward)
                self.dot.body.append(f"\t{{rank=same; {forward}; {backward}}}\n")
            self.dot.edge(
                forward,
                backward,
                style="dotted",
                color=self.theme.mirror,
                constraint="false",
                arrowhead="none",
                tooltip="and its gradient",
                **{"class": "mirror"},
            )


def _label(node: Node, ink: str, theme: Theme) -> str:
    rows = [f"<B>{_html(node.title)}</B>"]
    quiet = ink or theme.muted
    if node.subtitle:
        rows.append(_small(node.subtitle, quiet))
    rows += [_small(note, quiet) for note in node.notes]
    return f"<{'<BR/>'.join(rows)}>"


def _small(text: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="9" COLOR="{colour}">{_html(text)}</FONT>'


def _html(text: str) -> str:
    return html.escape(short(text, 120)) or " "
