"""Fit a program into a memory limit: values are computed again where they are used.

The search (``recompute_search``) works on integers; here are the costs and rules that
it is told, and the clones that carry out what it found.  A clone is a node of the same
operation with the same kernel, so results are the same to the bit and an error in it
names the user's line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graphlib.errors import ResourceExhaustedError
from ..graphlib.sizes import sized
from .layout import Layout
from .plan import CALL, SAME, Plan
from .program import NODE, Node, Value
from .recompute import Outcome, Steps
from .recompute_search import search
from .schedule import Order, Problem, leanest, simulate

__all__ = ["Fitted", "Run", "cost_of", "exhausted", "fit"]
__all__ += ["run_again", "steps_of", "taken"]

#: What a step costs, in nanoseconds: a call, bytes through memory, and arithmetic, by
#: BLAS where there is much for each element; measured on one core with AVX2.
_CALL = 500
_BYTES_PER_NS = 8
_FLOPS_PER_NS = 3
_BLAS_FLOPS_PER_NS = 60
#: Operations for each element from which arithmetic is dense.
DENSE = 32
#: How often the budget is lowered where the arena comes out larger than planned.
_TRIES = 4
#: How many of the values that are alive at the peak an error names.
_NAMED = 6


class Fitted(NamedTuple):
    """A run within a limit, and nanoseconds of what it computes again; or None and the
    least plan that was found instead."""

    run: Run | None
    plan: Plan
    extra: int


Run = tuple[Layout, Problem, Order]


def fit(run: Run, plan: Plan, limit: int) -> Fitted:
    """The same run within ``limit`` bytes; ``plan`` is what takes more.

    Where it was not found the program is as it was.
    """
    layout, problem, order = run
    saved = _Saved(layout)
    least = plan
    lean = leanest(problem)
    for nodes in (lean, order.nodes) if lean != order.nodes else (lean,):
        steps = steps_of(layout, problem, nodes)
        budget = limit - plan.fetch_bytes - plan.transient_bytes
        for _ in range(_TRIES):
            if budget <= 0:
                break
            found = search(steps, budget)
            again, new, now = run_again(layout, problem, nodes, found.outcome)
            tried = again.plan(new, now, 0.0)
            need = taken(tried)
            if need <= limit:
                return Fitted((again, new, now), tried, found.outcome.extra)
            saved.restore()
            if need < taken(least):
                least = tried
            if not found.fits:
                break
            budget -= max(need - limit, budget // 100)
    return Fitted(None, least, 0)


def taken(plan: Plan) -> int:
    """Bytes that a run of a plan takes: what is alive, in an arena with its gaps."""
    return max(
        plan.peak_bytes, plan.arena_bytes + plan.fetch_bytes + plan.transient_bytes
    )


def exhausted(plan: Plan, limit: int) -> ResourceExhaustedError:
    """The error of a limit that cannot be met."""
    lines = [
        f"memory_limit is {sized(limit)}; the least that this run was found to need, "
        f"with values computed again, is {sized(taken(plan))}"
    ]
    at = plan.peak_step
    op = None
    if at >= 0:
        step = plan.steps[at]
        op = step.op
        lines[0] += f", at {op.describe()}, {op.defined_at()}. It holds:"
        alive = [s for s in plan.live_at(at) if s.nbytes]
        for slot in alive[:_NAMED]:
            where = "" if slot.tensor is None else f", {slot.tensor.op.defined_at()}"
            lines.append(f"  {sized(slot.nbytes)}  {slot.name} {slot.spec}{where}")
        if len(alive) > _NAMED:
            rest = sum(s.nbytes for s in alive[_NAMED:])
            lines.append(f"  {sized(rest)}  in {len(alive) - _NAMED} others")
    if plan.fetch_bytes:
        lines.append(f"  {sized(plan.fetch_bytes)}  of fetched arrays")
    if plan.transient_bytes:
        lines.append(
            f"  {sized(plan.transient_bytes)}  inside of operations and bodies"
        )
    return ResourceExhaustedError("\n".join(lines), op)


def cost_of(layout: Layout, node: Node) -> int:
    """Nanoseconds that a node takes, roughly; only ratios matter."""
    opdef = node.opdef
    if opdef.alias is not None and node not in layout.copies:
        return 0
    made = sum(v.nbytes for v in node.outputs)
    moved = made + sum(v.nbytes for v in node.inputs)
    elements, flops = arithmetic(node)
    rate = _BLAS_FLOPS_PER_NS if flops >= DENSE * elements else _FLOPS_PER_NS
    return _calls(layout, node) * _CALL + moved // _BYTES_PER_NS + flops // rate


def _calls(layout: Layout, node: Node) -> int:
    """How many kernels a node calls: those of a loop's body in each iteration."""
    if node.opdef.control != "loop" or not node.outputs:
        return 1
    count = node.outputs[0].value
    steps = max((len(plan.steps) for _, plan in layout.bodies[node]), default=1)
    return 1 + steps * (1 if count is None else int(count))


def arithmetic(node: Node) -> tuple[int, int]:
    """(Elements that a node makes, operations that this takes)."""
    elements = sum(v.nbytes // max(v.dtype.size, 1) for v in node.outputs)
    flops = node.opdef.flops
    if flops is None or not all(v.static for v in (*node.inputs, *node.outputs)):
        return max(elements, 1), elements
    return max(elements, 1), int(flops(node.inputs, node.outputs, node.attrs))


def _repeatable(layout: Layout, node: Node) -> bool:
    """Whether a node gives the same again, until what waits for it has run."""
    if node.opdef.effect is not None or node.updates or node.attrs.get("overwritten"):
        return False
    if not node.outputs or not all(v.static for v in node.outputs):
        return False
    kinds = [layout.kind[layout.index[v]] for v in node.outputs]
    return not any(kind in (CALL, SAME) for kind in kinds)


def steps_of(layout: Layout, problem: Problem, order: Sequence[int]) -> Steps:
    """The program in an order, as the search sees it."""
    nodes = layout.program.nodes
    position = {node: i for i, node in enumerate(nodes)}
    # What waits for a node, say the write of a variable that it reads, must not be
    # overtaken by its clones.
    until: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        for other in node.after:
            until[position[other]].append(i)
    again = [_repeatable(layout, node) for node in nodes]
    for k, own in enumerate(layout.owner):
        # A view that is only known in the run holds on to what it is a view of.
        owner = layout.values[own].node
        if own != k and layout.kind[k] == CALL and owner is not None:
            again[position[owner]] = False
    costs = [cost_of(layout, node) for node in nodes]
    return Steps(problem, order, costs, again, until)


class _Saved:
    """A program as it was, to start from again."""

    def __init__(self, layout: Layout) -> None:
        self._program = layout.program
        self._nodes = [(n, list(n.inputs), n.after) for n in layout.program.nodes]

    def restore(self) -> None:
        for node, inputs, after in self._nodes:
            node.inputs, node.after = inputs[:], after
        self._program.nodes = [node for node, _, _ in self._nodes]


def run_again(
    layout: Layout, problem: Problem, order: Sequence[int], outcome: Outcome
) -> tuple[Layout, Problem, Order]:
    """The run with the clones that an outcome asks for."""
    program = layout.program
    clones = _Clones(layout, problem)
    program.nodes = clones.follow([program.nodes[n] for n in order], outcome)
    again = Layout(program, layout.accesses, layout.whole, layout.same, layout.settings)
    new = again.problem()
    nodes = list(range(len(program.nodes)))
    peak = simulate(new, nodes).peak
    return again, new, Order(nodes, peak, {"recomputed": peak})


class _Clones:
    """Who reads which copy, while the steps of an outcome are gone through."""

    def __init__(self, layout: Layout, problem: Problem) -> None:
        self._layout = layout
        self._kept = problem.kept
        self._now: dict[Value, Value] = {}  # a value -> its latest copy
        self._of: dict[Value, Value] = {}  # a copy of a view -> the copy it is of
        self._inputs = {node: list(node.inputs) for node in layout.program.nodes}
        self._waiting: dict[Node, list[Node]] = {}
        for node in layout.program.nodes:
            for other in node.after:
                self._waiting.setdefault(other, []).append(node)
        self.nodes: list[Node] = []

    def follow(self, ordered: Sequence[Node], outcome: Outcome) -> list[Node]:
        """The nodes to run, one after another."""
        ran: set[int] = set()
        for x in outcome.nodes:
            node = ordered[x]
            inputs = [self._current(v) for v in self._inputs[node]]
            if x in ran:
                self._clone(node, inputs)
                continue
            ran.add(x)
            node.inputs = inputs
            self.nodes.append(node)
            for v in node.outputs:
                if self._is_view(v):
                    self._of[v] = self._owner(v)
        return self.nodes

    def _clone(self, node: Node, inputs: list[Value]) -> Node:
        clone = Node(node.op, node.opdef, node.attrs, inputs, list(node.after))
        clone.outputs = tuple(
            Value(NODE, v.dtype, v.dims, v.tensor, clone, v.index, v.value)
            for v in node.outputs
        )
        for other in self._waiting.get(node, ()):
            other.after = [*other.after, clone]
        index = self._layout.index
        for v, copy in zip(node.outputs, clone.outputs):
            if index[v] not in self._kept:
                self._now[v] = copy
        self.nodes.append(clone)
        return clone

    def _is_view(self, v: Value) -> bool:
        i = self._layout.index[v]
        return self._layout.owner[i] != i and v.node is not None

    def _owner(self, v: Value) -> Value:
        """The latest copy of the value whose memory ``v`` is."""
        owner = self._layout.values[self._layout.owner[self._layout.index[v]]]
        return self._now.get(owner, owner)

    def _current(self, v: Value) -> Value:
        """What to read in the place of ``v``: a view of an older copy is made anew."""
        chain: list[Value] = []
        while self._is_view(v) and self._of.get(v) is not self._owner(v):
            assert v.node is not None and v.node.opdef.alias is not None
            chain.append(v)
            v = self._inputs[v.node][v.node.opdef.alias]
        for view in reversed(chain):
            node = view.node
            assert node is not None
            inputs = [self._now.get(u, u) for u in self._inputs[node]]
            self._now[view] = self._clone(node, inputs).outputs[0]
            self._of[view] = self._owner(view)
            v = view
        return self._now.get(v, v)
