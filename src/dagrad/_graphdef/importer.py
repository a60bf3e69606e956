"""The nodes of a GraphDef as operations of a graph.

Each node becomes the operation of its name, made by the builder of its op type (see
``table``).  What a builder needs beside that one stands in a scope of the same name.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ..graphlib.errors import DagradError, GraphError
from ..graphlib.graph import Graph
from ..graphlib.names import check_name
from ..graphlib.opaque import opaque
from ..graphlib.opdef import find
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor
from ..ops.core import identity
from ..ops.custom import identity_n
from ..scopes import name_scope
from .nodes import Build, Input, Node, input_of
from .table import BUILDERS, CONTROL_FLOW
from .unknown import facts_of, outputs_of
from .values import Budget

__all__ = ["Importer"]

#: What a builder raises where a file holds what it does not take.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    DagradError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)
_MOST_NAMED = 8
#: An op type, or the name of a function that is called.
_TYPE = re.compile(r"[A-Za-z0-9_.>]+")


class Importer:
    """One import, while it is made.

    Args:
        graph_def: the nodes.
        graph: where the operations go.
        prefix: what their names begin with: "" or "import/".
        mapped: tensors (and operations) that are read in the place of the file's.
        wanted: what will be read of the file's beside what its nodes do.
        draw_only: let nodes that cannot be built stand as they are, to be drawn.

    Raises:
        GraphError: the file is not well formed, or holds op types that dagrad does
            not have.
    """

    def __init__(
        self,
        graph_def: Any,
        graph: Graph,
        prefix: str,
        mapped: Mapping[Input, Tensor | Operation],
        wanted: Sequence[Input] = (),
        draw_only: bool = False,
    ) -> None:
        self.graph, self.prefix, self.draw_only = graph, prefix, draw_only
        self.mapped = mapped
        self.producer = int(graph_def.versions.producer)
        self.nodes = _by_name(graph_def)
        self.inputs = {name: _inputs(n) for name, n in self.nodes.items()}
        #: Inputs that go back to an earlier operation: a loop's, only to be drawn.
        self.back: dict[str, list[Input]] = {}
        if not draw_only:
            _refuse_unknown(self.nodes.values())
        self.order = self._in_order()
        self.used: dict[str, set[int]] = {name: set() for name in self.nodes}
        for reads in (*self.inputs.values(), wanted):
            for i in reads:
                if i.node in self.used and i.output >= 0:
                    self.used[i.node].add(i.output)
        #: The names of the operations, by those of the nodes.
        self.names: dict[str, str] = {}
        self.made: dict[str, Operation] = {}
        self.budget = Budget()

    # -- what depends on what --------------------------------------------------

    def _in_order(self) -> list[str]:
        """The names of the nodes so that each stands behind its inputs.

        In the order of the file as far as that allows.
        """
        waiting: dict[str, int] = {}
        readers: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, reads in self.inputs.items():
            needed = {i.node for i in reads if i not in self.mapped}
            for other in needed:
                if other not in self.nodes:
                    raise GraphError(f"node {name!r} reads {other!r}: there is none")
            if self.draw_only and self.nodes[name].op in CONTROL_FLOW:
                needed -= self._cut_back_edges(name)
            waiting[name] = len(needed)
            for other in needed:
                readers[other].append(name)
        place = {name: i for i, name in enumerate(self.nodes)}
        ready = [place[name] for name, count in waiting.items() if not count]
        names = list(self.nodes)
        order = []
        while ready:
            name = names[heapq.heappop(ready)]
            order.append(name)
            for reader in readers[name]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(ready, place[reader])
        if len(order) < len(names):
            done = set(order)
            self._refuse_cycle({n for n in names if n not in done})
        return order

    def _cut_back_edges(self, name: str) -> set[str]:
        """The nodes that a loop's ``Merge`` gets its next round from."""
        back = [
            i
            for i in self.inputs[name]
            if i.node in self.nodes and self.nodes[i.node].op.endswith("NextIteration")
        ]
        if back:
            self.back[name] = back
            self.inputs[name] = [i for i in self.inputs[name] if i not in back]
        return {i.node for i in back}

    def _refuse_cycle(self, left: set[str]) -> None:
        """Raise with the nodes of one cycle among those that wait for each other."""
        name = next(n for n in self.nodes if n in left)
        path: list[str] = []
        while name not in path:
            path.append(name)
            reads = [i for i in self.inputs[name] if i not in self.mapped]
            name = next(i.node for i in reads if i.node in left)
        cycle = [*path[path.index(name) :], name]
        shown = " <- ".join(map(repr, cycle[: _MOST_NAMED + 1]))
        more = " <- ..." if len(cycle) > _MOST_NAMED + 1 else ""
        raise GraphError(f"nodes read each other in a circle: {shown}{more}")

    # -- building --------------------------------------------------------------

    def run(self) -> None:
        """Make the operations."""
        self._reserve_names()
        with self.graph.as_default(), self.graph.name_scope(self.prefix):
            for name in self.order:
                self.made[name] = self._make(name)

    def _reserve_names(self) -> None:
        """Keep the nodes' names from the operations that builders add beside theirs.

        Where the graph has an operation of that name already, the node gets a number.
        """
        graph = self.graph
        with graph._lock:
            for name in self.nodes:
                full = self.prefix + name
                if full in graph._by_name:
                    full = graph._unique(full)
                else:
                    graph._names.setdefault(full.lower(), 1)
                self.names[name] = full

    def _make(self, name: str) -> Operation:
        node_def = self.nodes[name]
        whole = f"{self.names[name]}/"
        reads = self.inputs[name]
        inputs = [self.tensor(i) for i in reads if i.output >= 0]
        controls = [self._operation(i) for i in reads if i.output < 0]
        used = frozenset(self.used[name])
        node = Node(node_def, whole, inputs, used, self.producer, self.budget)
        problem = "dagrad does not have it"
        with ExitStack() as stack:
            stack.enter_context(self.graph.control_dependencies(controls))
            if node_def.device:
                stack.enter_context(self.graph.device(node_def.device))
            build = BUILDERS.get(node_def.op)
            if build is not None:
                if node_def.op == "Const" and controls:
                    build = _waiting(build)
                try:
                    made = build(node)
                    node.check_all_read()
                    return _under_its_name(made, whole)
                except _MALFORMED as error:
                    if not self.draw_only:
                        raise GraphError(_failed(node_def, error)) from error
                    problem = str(error)
            return self._stand_in(node_def, whole, inputs, problem)

    def _stand_in(
        self, node_def: Any, whole: str, inputs: Sequence[Tensor], problem: str
    ) -> Operation:
        """A node to be drawn."""
        type = node_def.op
        if type in BUILDERS or find(type) is not None:
            type += " (not built)"  # what goes by a type of dagrad's is one
        specs = outputs_of(node_def, self.used[node_def.name])
        facts = facts_of(node_def, self.back.get(node_def.name, ()), problem)
        with self.graph._lock:
            return self.graph.create_op(opaque(type, specs), inputs, facts, whole)

    def tensor(self, i: Input) -> Tensor:
        """The tensor that an input names.

        Raises:
            GraphError: there is none.
        """
        found = self.mapped.get(i)
        if isinstance(found, Tensor):
            return found
        op = self.made[i.node]
        if i.output >= len(op.outputs):
            raise GraphError(
                f"{str(i)!r} is read, but {op.describe()} has {len(op.outputs)} outputs"
            )
        return op.outputs[i.output]

    def _operation(self, i: Input) -> Operation:
        found = self.mapped.get(i)
        return found if isinstance(found, Operation) else self.made[i.node]


def _by_name(graph_def: Any) -> dict[str, Any]:
    """The nodes by name.

    Raises:
        GraphError: a name that is not valid or stands there twice.
    """
    found: dict[str, Any] = {}
    for node in graph_def.node:
        name = check_name(node.name, "")
        if name[-1] == "/":
            raise GraphError(f"{name!r} is the name of a scope, not of a node")
        if not _TYPE.fullmatch(node.op):
            raise GraphError(f"node {name!r}: {node.op!r} is no op type")
        if name in found:
            raise GraphError(f"two nodes are called {name!r}")
        found[name] = node
    return found


def _inputs(node_def: Any) -> list[Input]:
    try:
        return [input_of(text) for text in node_def.input]
    except GraphError as error:
        raise GraphError(f"node {node_def.name!r}: {error}") from None


def _waiting(build: Build) -> Build:
    """A constant that waits for something: what reads it waits too.

    dagrad's constants are there before a run, so the value is handed on by an identity.
    """

    def handed_on(node: Node) -> Tensor:
        whole, node.name = node.name, "value"
        with name_scope(whole):
            value = build(node)
        return identity(value, whole)

    return handed_on


def _under_its_name(made: Any, whole: str) -> Operation:
    """The operation called ``whole`` that has the outputs ``made``.

    Where a builder made several operations and none of that name, or one of other
    outputs, it is one that hands them on.
    """
    name = whole[:-1]
    if isinstance(made, Operation):
        if made.name != name:
            raise GraphError(f"it became {made.describe()}")
        return made
    outputs = [made] if isinstance(made, Tensor) else list(made)
    first = outputs[0].op if outputs else None
    if (
        first is not None
        and first.name == name
        and all(t is o for t, o in zip(outputs, first.outputs))
    ):
        return first
    if len(outputs) == 1:
        op = identity(outputs[0], whole).op
    else:
        op = identity_n(outputs, whole)[0].op
    if op.name != name:
        raise GraphError(f"another operation took its name: {op.describe()}")
    return op


def _failed(node_def: Any, error: Exception) -> str:
    said = str(error) if isinstance(error, DagradError) else repr(error)
    return f"node {node_def.name!r} ({node_def.op}) cannot be imported: {said}"


def _refuse_unknown(nodes: Any) -> None:
    """Raise where some op types have no builder, with the nodes of each."""
    missing: dict[str, list[str]] = {}
    for node in nodes:
        if node.op not in BUILDERS:
            missing.setdefault(node.op, []).append(node.name)
    if not missing:
        return
    parts = []
    for type, names in sorted(missing.items())[:_MOST_NAMED]:
        shown = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
        parts.append(f"{type} ({shown})")
    more = len(missing) - len(parts)
    listed = "; ".join(parts) + (f"; and {more} more types" if more else "")
    loops = ""
    if CONTROL_FLOW & missing.keys():
        loops = (
            "; loops and branches of TF1 (Enter, Merge, Switch) are to be written anew "
            "with while_loop or cond"
        )
    raise GraphError(
        f"dagrad does not have these operations of the file: {listed}{loops}. To "
        "import the part that needs none of them, take it out first with "
        "graph_util.extract_sub_graph(graph_def, [names of the nodes to keep])"
    )
