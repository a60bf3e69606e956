"""The explorer: a graph, its plan and its run in one HTML file that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...graphlib.graph import Graph
from ...graphlib.operation import Operation
from ...graphlib.pauses import collector_paused
from ...graphlib.tensor import Tensor
from ..model import select
from ..theme import clean, short
from .page import whole_page
from .records import Costs, gradient_marks, op_columns, stats_of
from .timeline import known_shapes, plan_of, run_columns, step_times
from .tree import Tree, build

__all__ = ["data", "explore"]

_FORMAT = "dagrad explorer"
_VERSION = 1


def explore(
    target: Any,
    report: Any = None,
    path: Any = "graph.html",
    *,
    title: str = "",
    values: Mapping[Any, Any] | None = None,
    source_link: str | None = "file://{path}",
) -> Path:
    """Write ``target`` as an interactive page in one file, and return its path.

    The file needs no server and no network: open it in a browser.  Scopes, loops,
    branches and functions open where they are; colours show order, bytes, time,
    flops, devices, NaN or gradients; under the graph stand the live bytes over the
    steps of the plan.  Press ``?`` in the page for its keys.

    Args:
        target: a graph, or tensors, operations and variables (with all they need).
        report: a run's ``RunMetadata`` or report, or a plan (``session.plan``), for
            shapes, order, lifetimes and, of a run, times.
        path: the file to write.
        title: of the page.
        values: arrays by tensor (what a session gave for fetches): whether they are
            finite, and their range.
        source_link: what a source line links to, with ``{path}`` and ``{line}``, as
            ``"vscode://file{path}:{line}"``; None for no links.

    Raises:
        GraphError: ``target`` or ``report`` is nothing that can be shown.
    """
    shown = title or "dagrad graph"
    made = data(target, report, title=title, values=values, source_link=source_link)
    file = Path(path)
    file.write_text(whole_page(made, clean(shown)), encoding="utf-8", newline="\n")
    return file


@collector_paused()
def data(
    target: Any,
    report: Any = None,
    *,
    title: str = "",
    values: Mapping[Any, Any] | None = None,
    source_link: str | None = None,
) -> dict[str, Any]:
    """What the page holds, as plain data that JSON can hold.

    ``ops``, ``boxes`` and ``links`` are tables of columns.  Boxes name their parent
    (by number, parents first), their operation and what they note; operations name
    the box where they are found (``home``), and by number their type, part, specs,
    device and source, which are listed once each; links name boxes.  ``run`` has the
    steps and tensors of the plan, or is None.
    """
    graph, ops, asked = select(target)
    plan, run = plan_of(report)
    tree = build(ops, asked)
    every = _operations(ops, tree)
    number = {op: i for i, op in enumerate(every)}
    costs = Costs(every, known_shapes(plan))
    columns, pools = op_columns(every, tree.part, costs, source_link)
    order, seconds = step_times(plan, run)
    columns["order"] = [order.get(op, -1) for op in every]
    if plan is None:
        columns["order"] = list(range(len(every)))
    columns["time"] = [round(seconds.get(op, -1e-9) * 1e9) for op in every]
    columns["gradient"] = gradient_marks(every, tree.part)
    columns["home"] = [tree.home[op].number if op in tree.home else -1 for op in every]
    box = {op: home.number for op, home in tree.home.items() if home.number >= 0}
    shown: dict[Tensor, Any] = {}
    for key, value in (values or {}).items():
        element = graph.as_graph_element(key, allow_operation=False)
        assert isinstance(element, Tensor)
        shown[element] = value
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "title": short(title or "dagrad graph", 400),
        "facts": _facts(graph, ops, tree),
        "ops": columns,
        **pools,
        "boxes": _boxes(tree, number),
        "links": _links(tree, costs),
        "values": stats_of(shown, lambda t: number.get(t.op, -1), _counted(run)),
        "run": run_columns(plan, run, box),
    }


def _counted(run: Any) -> dict[Tensor, int]:
    """How many numbers of each tensor a run found NaN or infinite, if it looked."""
    found = getattr(run, "nonfinite", None)
    if found is None or run.plan is None:
        return {}
    tensors = [s.tensor for s in run.plan.slots if s.tensor is not None]
    return {t: found.get(t.name, 0) for t in tensors}


def _operations(ops: Sequence[Operation], tree: Tree) -> list[Operation]:
    """Those of the graph, then those of bodies, each in order."""
    inside = {b.op: None for b in tree.boxes if b.op is not None}
    inside |= dict.fromkeys(tree.part)
    return list(dict.fromkeys((*ops, *sorted(inside, key=lambda op: op.id))))


def _facts(graph: Graph, ops: Sequence[Operation], tree: Tree) -> list[str]:
    noted = sum(1 for op in ops if op not in tree.home or tree.home[op].op is not op)
    facts = [f"{len(ops):,} operations"]
    if len(ops) < len(graph):
        facts.append(f"of {len(graph):,} in the graph")
    inside = len(tree.part) - len(ops)
    if inside:
        facts.append(f"{inside:,} more in bodies")
    if noted:
        facts.append(f"{noted:,} noted in their readers")
    return facts


def _boxes(tree: Tree, number: Mapping[Operation, int]) -> dict[str, list[Any]]:
    return {
        "parent": [b.parent.number if b.parent is not None else -1 for b in tree.boxes],
        "kind": [b.kind for b in tree.boxes],
        "label": [_short(b.label) for b in tree.boxes],
        "op": [-1 if b.op is None else number[b.op] for b in tree.boxes],
        "notes": [[short(n, 200) for n in b.notes] or 0 for b in tree.boxes],
    }


def _short(label: str) -> str:
    plain = len(label) <= 400 and label.isprintable()
    return label if plain else short(label, 400)


def _links(tree: Tree, costs: Costs) -> dict[str, list[int]]:
    """Columns of the links: boxes, kind, output of the tail's operation, bytes."""
    links = tree.links
    return {
        "tail": [k.tail.number for k in links],
        "head": [k.head.number for k in links],
        "kind": [k.kind for k in links],
        "output": [-1 if k.tensor is None else k.tensor.index for k in links],
        "bytes": [-1 if k.tensor is None else costs.nbytes(k.tensor) for k in links],
    }
