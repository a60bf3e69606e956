"""From what a program asks for to a picture and its Graphviz source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..graphlib.errors import GraphError
from ..graphlib.explain import GradientExplanation, explain_gradient
from ..graphlib.pauses import collector_paused
from .dot import source
from .fold import Picture, fold
from .legend import Scale
from .links import address_of
from .model import collect
from .overlay import overlay_of, tell_times
from .steps import collect_plan
from .targets import report_of
from .theme import Theme, theme_of

__all__ = ["Drawing", "drawing_of", "picture_of"]

_LAYOUTS = ("scopes", "mirror")


@dataclass
class Drawing:
    """A folded picture with its colours, ready to be written.

    Attributes:
        picture: nodes, edges, clusters.
        theme, scale: its colours and what they mean.
        title, direction, legend, links: see ``viz.render``.
    """

    picture: Picture
    theme: Theme
    scale: Scale | None = None
    title: str = ""
    direction: str = "TB"
    legend: bool = True
    links: Any = None
    facts: list[str] = field(default_factory=list)

    def dot(self) -> str:
        """The drawing as Graphviz source."""
        return source(
            self.picture,
            direction=self.direction,
            title=self.title,
            legend=self.legend,
            theme=self.theme,
            scale=self.scale,
            url=address_of(self.links),
        )


@collector_paused()
def picture_of(
    target: Any,
    *,
    depth: int | None = None,
    max_nodes: int = 60,
    show_constants: bool = False,
    show_initializers: bool | None = None,
    focus: Any = None,
    hops: int = 2,
    between: Any = None,
    expand: Any = (),
    repeats: bool | None = None,
    layout: str = "scopes",
) -> Picture:
    """The nodes, edges and clusters of a drawing (options: ``viz.render``).

    Raises:
        GraphError: an unknown layout or scope, or nothing to draw.
    """
    from ..runtime.plan import Plan

    if layout not in _LAYOUTS:
        raise GraphError(f"layout {layout!r} is not one of {_LAYOUTS}")
    opened = [expand] if isinstance(expand, str) else [_name(e) for e in expand]
    if isinstance(target, Plan):
        found = collect_plan(
            target,
            focus=focus,
            hops=hops,
            between=between,
            expand=opened,
            inside=max_nodes,
        )
    else:
        found = collect(
            target,
            show_constants=show_constants,
            show_initializers=show_initializers,
            focus=focus,
            hops=hops,
            between=between,
            expand=opened,
            inside=max_nodes,
        )
    return fold(
        found,
        depth,
        max_nodes,
        expand=opened,
        repeats=repeats,
        mirror=layout == "mirror",
    )


def drawing_of(
    target: Any,
    *,
    color: Any = None,
    gradient: Any = None,
    report: Any = None,
    plan: Any = None,
    theme: Any = "light",
    title: str = "",
    direction: str = "TB",
    legend: bool = True,
    links: Any = None,
    **options: Any,
) -> Drawing:
    """The drawing of ``target`` (options: ``viz.render``)."""
    from ..runtime.plan import Plan

    look = theme_of(theme)
    if isinstance(target, GradientExplanation) or color == "gradient":
        from .why import why_drawing

        asked = target if isinstance(target, GradientExplanation) else None
        if asked is None and gradient is None:
            raise GraphError('color="gradient" needs gradient=(y, x)')
        return why_drawing(
            asked or explain_gradient(*gradient),
            theme=look,
            title=title,
            direction=direction,
            legend=legend,
            links=links,
            **options,
        )
    target, report = report_of(target), report_of(report)
    if hasattr(target, "peak_set"):  # a report: its plan, as it ran
        report, target = target, target.plan
    picture = picture_of(target, **options)
    if report is not None and color != "nan":
        tell_times(picture, report)
    scale = None
    if color is not None:
        plan = target if plan is None and isinstance(target, Plan) else plan
        scale = overlay_of(color, report=report, plan=plan)(picture, look)
    return Drawing(picture, look, scale, title, direction, legend, links)


def _name(given: Any) -> str:
    return given if isinstance(given, str) else str(given.name).partition(":")[0]
