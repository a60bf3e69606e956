"""Why a gradient is what it is: paths from x to y, and where each is cut.

One sweep over the operations that y needs, oldest first, counts the paths, keeps
the shortest few and notes each edge that no derivative passes.  Bodies of loops,
branches and functions are swept alike, from what x reaches in them to what y needs
of them.  Time is linear in the size of the graph; nothing is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, TypeGuard

from .cuts import Cut, place
from .errors import GradientError
from .explain_text import MANY, named, told
from .graph import Graph
from .operation import Operation, is_control
from .operators import TABLE
from .passages import connects, cut_at, passages, relevant, segments
from .records import field, record, replace
from .subgraph import Body, updated_inputs, variable_root
from .tensor import Tensor
from .traversal import ancestors, captured_from, depth_and_id

__all__ = [
    "GradientExplanation",
    "Passage",
    "Path",
    "Step",
    "explain_gradient",
    "explained",
]

# Cuts whose reason is in a body.
_INNER = ("body", "condition", "refuses", "zero")


@record(frozen=True)
class Step:
    """One operation of a path.

    Attributes:
        op: the operation.
        input, output: the tensors by which the path enters and leaves it.
        cut: why no derivative passes here; None where one does.
    """

    op: Operation
    input: Tensor
    output: Tensor
    cut: Cut | None

    @cached_property
    def inside(self) -> tuple[Passage, ...]:
        """For a loop, branch or function the way through its bodies: the shortest
        that carries a derivative, or, where none does, of all."""
        if not is_control(self.op):
            return ()
        ways = [i for i, t in enumerate(self.op.inputs) if t is self.input]
        for open_only in (True, False):
            for i in ways:
                found = segments(self.op, i, self.output, open_only)
                if found:
                    return tuple(_passage(*s, open_only) for s in found)
        return ()


@record(frozen=True)
class Passage:
    """One run of a body on a path.

    Attributes:
        body: the body.
        path: from an input of it to an output.
    """

    body: Body
    path: Path


def _passage(body: Body, start: Tensor, end: Tensor, open_only: bool) -> Passage:
    if start is end:
        return Passage(body, Path(start, ()))
    sweep = _Sweep((end,), (start,), set(), set(), 1)
    paths, _ = sweep.found(sweep.open if open_only else sweep.any)
    if not paths:  # an operation on it refuses
        paths, _ = sweep.found(sweep.any)
    return Passage(body, paths[0])


@record(frozen=True)
class Path:
    """A path of data from x to y, in the order of the computation.

    Attributes:
        x: where it starts.
        steps: the operations behind x, each with the tensors it goes by.
    """

    x: Tensor
    steps: tuple[Step, ...]

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """Why the path carries no derivative; empty where it does."""
        cuts: list[Cut] = []
        for s in self.steps:
            if s.cut is not None and s.cut.kind in _INNER:
                for p in s.inside:
                    what = p.body.graph.describe()
                    cuts += [_within(c, what) for c in p.path.cuts]
            if _listed(s.cut):
                cuts.append(s.cut)
        return tuple(cuts)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations, that of x first."""
        return (self.x.op, *(s.op for s in self.steps))

    @property
    def edges(self) -> tuple[tuple[Operation, Tensor, Operation, bool], ...]:
        """(producer, tensor, consumer, whether a derivative passes), for drawings."""
        return tuple((s.input.op, s.input, s.op, s.cut is None) for s in self.steps)


@record(frozen=True)
class GradientExplanation:
    """What :func:`explain_gradient` found; ``str`` says it in words.

    Attributes:
        ys, x: what was asked.
        status: "connected": ``gradients`` gives a tensor; "zero": it does, of zeros
            (by a loop's first values: where any iteration runs); "refused": it
            raises; "unconnected": it gives None.
        differentiable: the number of paths that carry a derivative; an operation
            that reads a tensor twice makes two of one, and a loop, branch or
            function counts as one, however many ways lead through its bodies.
        total: the number of all paths of data, of at most a billion counted.
        paths: the shortest few that carry a derivative, or, where none does, the
            shortest few of all.
        cuts: where paths are cut, in the order of the computation.
        hints: what else may explain it, as sentences.
    """

    ys: tuple[Tensor, ...]
    x: Tensor
    status: str
    differentiable: int
    total: int
    paths: tuple[Path, ...] = ()
    cuts: tuple[Cut, ...] = ()
    hints: tuple[str, ...] = field(default=())

    @property
    def connected(self) -> bool:
        """Whether ``gradients`` gives a tensor, not None."""
        return self.status in ("connected", "zero")

    def __str__(self) -> str:
        return told(self)

    def _repr_svg_(self) -> str:
        return TABLE["draw"](self)  # type: ignore[no-any-return]


def explain_gradient(
    y: Any,
    x: Any,
    stop_gradients: Any = None,
    feeds: Any = None,
    limit: int = 3,
) -> GradientExplanation:
    """Say whether and how y depends on x, and why a gradient is None or zero.

    Args:
        y: a tensor, or a list of them, as in ``gradients``.
        x: a tensor or a variable.
        stop_gradients: tensors held constant, as in ``gradients``.
        feeds: tensors that runs feed: what is behind them has no influence there.
        limit: how many paths to give.

    Returns:
        A :class:`GradientExplanation`: print it, or read its fields.

    Raises:
        GradientError: several xs.

    >>> import dagrad as tf
    >>> x = tf.placeholder(tf.float32, [3], name="x")
    >>> y = tf.reduce_sum(tf.cast(tf.floor(x) > 0.0, tf.float32))
    >>> why = tf.explain_gradient(y, x)
    >>> why.status, [(c.op.type, c.kind) for c in why.cuts]
    ('unconnected', [('Floor', 'constant'), ('Greater', 'comparison')])

    Cost: O(operations that y needs) time and memory.
    """
    from .gradients import _tensors

    xs = _tensors(x)
    if len(xs) != 1:
        raise GradientError(f"explain_gradient takes one x, not {len(xs)}")
    stops = () if stop_gradients is None else _tensors(stop_gradients)
    graph = xs[0].op.graph
    fed: list[Any] = [graph.as_graph_element(f, True, False) for f in feeds or ()]
    return explained(_tensors(y), xs[0], stops, fed, limit)


def explained(
    ys: Sequence[Tensor],
    x: Tensor,
    stops: Iterable[Tensor] = (),
    fed: Iterable[Tensor] = (),
    limit: int = 3,
) -> GradientExplanation:
    """:func:`explain_gradient` on tensors."""
    ys = tuple(ys)
    foreign = [y for y in ys if y.op.graph.root is not x.op.graph.root]
    if foreign:
        hint = (
            f"They belong to two graphs: {named(x)} and {named(foreign[0])}.  Was "
            "reset_default_graph() called in between, or one of them made outside "
            "`with graph.as_default()`?"
        )
        return GradientExplanation(ys, x, "unconnected", 0, 0, hints=(hint,))
    sweep = _Sweep(ys, (x,), set(stops), set(fed), max(limit, 1))
    open_paths, open_count = sweep.found(sweep.open)
    all_paths, total = sweep.found(sweep.any)
    stopped = [y for y in ys if y not in sweep.followed]
    cuts = tuple(dict.fromkeys(sweep.cuts))
    hints: list[str] = []
    if not x.dtype.is_inexact:
        hints.append(
            f"x is {x.dtype.name}: only floating and complex tensors have "
            "derivatives.  Differentiate with respect to its cast to floating."
        )
        open_paths, open_count = [], 0
    for y in stopped:
        hints.append(f"{named(y)} is in stop_gradients: it counts as a constant.")
    if any(y is x for y in ys):
        hints.append("y is x: the derivative is 1.")
    elif not total:
        hints += _why_apart(ys, x, sweep)
    refusing = sweep.refusing
    zero = open_count and not sweep.found(sweep.moving)[1]
    if refusing:
        status = "refused"
    elif open_count:
        status = "zero" if zero else "connected"
    else:
        status = "unconnected"
    if status == "connected":
        # Reads of a shape and the like cut nothing that anyone would miss.
        cuts = tuple(c for c in cuts if c.kind not in ("shape", "custom"))
    paths = open_paths or all_paths
    if refusing:
        paths = [p for p in all_paths if any(c.refuses for c in p.cuts)] or all_paths
    return GradientExplanation(
        ys, x, status, open_count, total, tuple(paths), cuts, tuple(hints)
    )


# -- the sweep ------------------------------------------------------------------------


# How a tensor was reached: length, then the step and the rank of the path before.
_Way = tuple[int, "Operation | None", "Tensor | None", int]


class _Ways:
    """Paths of one kind: their number and the shortest few, per tensor."""

    def __init__(self, xs: Sequence[Tensor], limit: int) -> None:
        self.count: dict[Tensor, int] = dict.fromkeys(xs, 1)
        self.best: dict[Tensor, list[_Way]] = {x: [(0, None, None, 0)] for x in xs}
        self._limit = limit

    def extend(self, op: Operation, entries: Sequence[Tensor], out: Tensor) -> None:
        """Lead the paths to ``entries`` through ``op`` to ``out``."""
        entries = [t for t in entries if t in self.count]
        if not entries or out in self.count:
            return
        self.count[out] = min(MANY, sum(self.count[t] for t in entries))
        ways: list[_Way] = [
            (way[0] + 1, op, t, rank)
            for t in dict.fromkeys(entries)
            for rank, way in enumerate(self.best[t])
        ]
        ways.sort(key=lambda way: way[0])
        self.best[out] = ways[: self._limit]


class _Sweep:
    """All paths from ``xs`` to ``ys``; both in one graph, or ys in a body in it."""

    def __init__(
        self,
        ys: tuple[Tensor, ...],
        xs: Sequence[Tensor],
        stops: set[Tensor],
        fed: set[Tensor],
        limit: int,
    ) -> None:
        self.ys, self.xs, self.limit = ys, set(xs), limit
        self.followed = [y for y in ys if y in self.xs or y not in stops]
        #: All paths; those that carry a derivative; those where it is not zero.
        self.any, self.open, self.moving = (_Ways(xs, limit) for _ in range(3))
        self.cuts: list[Cut] = []
        self._edges: dict[tuple[Operation, Tensor, Tensor], Cut | None] = {}
        #: Operations with bodies: which outputs lead to y.
        self._asked: dict[Operation, list[Tensor]] = {}
        around = next(iter(self.xs)).op.graph
        self.needed = _needed(ys, around)
        oldest = min(x.op.id for x in self.xs)
        ops = [op for op in self.needed if op.graph is not around or op.id > oldest]
        leading = set(ys)  # tensors that lead to y
        for op in reversed(ops):
            outs = [t for t in op.outputs if t in leading]
            if not outs:
                continue
            if is_control(op):
                self._asked[op] = outs
                needed = 0
                for out in outs:
                    needed |= passages(op)[out.index].any
                leading.update(t for i, t in enumerate(op.inputs) if needed >> i & 1)
            else:
                leading.update(op.inputs or captured_from(op))
        for op in ops:
            if any(t in self.any.count for t in op.inputs or captured_from(op)):
                self._pass(op, leading, stops, fed)
        self.refusing = self._refusing(ops)

    def _pass(
        self, op: Operation, leading: set[Tensor], stops: set[Tensor], fed: set[Tensor]
    ) -> None:
        told: set[Any] = set()
        if op in self._asked:
            self.cuts += self._inner_cuts(op)
        for out in op.outputs:
            if out not in leading or out in self.xs:
                continue
            passing, moving, everything = [], [], []
            for i, t in enumerate(op.inputs or captured_from(op)):
                if t not in self.any.count or not connects(op, i, out):
                    continue
                cut = None
                if op.inputs:
                    cut = cut_at(op, i, out, t not in self.xs and t in stops)
                if cut is None and t not in self.xs and t in fed:
                    cut = Cut(
                        op, t, "fed", f"runs feed {t.name}, so x has no influence"
                    )
                everything.append(t)
                self._edges.setdefault((op, t, out), cut)
                if cut is None or cut.kind == "zero":
                    passing.append(t)
                    # An open way by another input of the same tensor counts.
                    self._edges[op, t, out] = cut
                if cut is None:
                    moving.append(t)
                elif _listed(cut) and (t, cut.kind) not in told:
                    told.add((t, cut.kind))
                    self.cuts.append(cut)
            self.any.extend(op, everything, out)
            self.open.extend(op, passing, out)
            self.moving.extend(op, moving, out)

    def _inner_cuts(self, op: Operation, open_only: bool = False) -> list[Cut]:
        """The cuts in the bodies of ``op``, on ways from x to y."""
        ways = self.open if open_only else self.any
        indices = [i for i, t in enumerate(op.inputs) if t in ways.count]
        cuts: dict[Cut, None] = {}
        for body, starts, ends in relevant(op, indices, self._asked[op]):
            if starts and ends:
                sweep = _Sweep(tuple(ends), starts, set(), set(), 1)
                found = sweep.refusing if open_only else sweep.cuts
                what = body.graph.describe()
                cuts.update(dict.fromkeys(_within(c, what) for c in found))
        return list(cuts)

    def _refusing(self, ops: Sequence[Operation]) -> list[Cut]:
        """What raises: a cotangent reaches it from y, and it from x openly."""
        arriving = {y for y in self.followed if y.dtype.is_inexact}
        found: list[Cut] = []
        for op in reversed(ops):
            outs = [t for t in op.outputs if t in arriving]
            if not outs:
                continue
            inner = False
            for i, t in enumerate(op.inputs or captured_from(op)):
                for out in outs:
                    if (op, t, out) not in self._edges:
                        continue
                    cut = self._edges[op, t, out]
                    if cut is None or cut.kind == "zero":
                        arriving.add(t)
                    if t not in self.open.count:
                        continue
                    if op in self._asked:
                        flow = passages(op)[out.index]
                        inner = inner or bool(flow.refused >> i & 1)
                    elif cut is not None and cut.refuses and cut not in found:
                        found.append(cut)
            if inner:
                found += self._inner_cuts(op, open_only=True)
        found.reverse()
        return found

    def found(self, ways: _Ways) -> tuple[list[Path], int]:
        """The shortest few of those paths to any y, and their number."""
        ys = dict.fromkeys(self.ys if ways is self.any else self.followed)
        ends = [
            (way[0], y, rank)
            for y in ys
            for rank, way in enumerate(ways.best.get(y, ()))
        ]
        ends.sort(key=lambda end: end[0])
        paths = [self._path(ways, y, rank) for _, y, rank in ends[: self.limit]]
        count = sum(ways.count.get(y, 0) for y in ys)
        return paths, min(count, MANY)

    def _path(self, ways: _Ways, t: Tensor, rank: int) -> Path:
        steps: list[Step] = []
        while True:
            _, op, entry, before = ways.best[t][rank]
            if op is None or entry is None:
                return Path(t, tuple(reversed(steps)))
            steps.append(Step(op, entry, t, self._edges[op, entry, t]))
            t, rank = entry, before


def _needed(ys: Iterable[Tensor], around: Graph) -> list[Operation]:
    """What ``ys`` need, oldest first; from bodies in ``around`` out to it."""
    found: set[Operation] = set()
    starts = [y.op for y in ys]
    while starts:
        inner = ancestors(starts, control=False)
        found.update(inner)
        starts = [
            t.op
            for op in inner
            if op.graph is not around and op.graph.is_inside(around)
            for t in captured_from(op)
        ]
    return sorted(found, key=depth_and_id)


def _within(cut: Cut, what: str) -> Cut:
    """A cut found in a body, with the name of the (innermost) body."""
    return cut if cut.within else replace(cut, within=what)


def _why_apart(ys: Sequence[Tensor], x: Tensor, sweep: _Sweep) -> list[str]:
    """Sentences that may explain why no data leads from x to y."""
    hints = []
    if any(x.op.graph.is_inside(y.op.graph) for y in ys):
        return [
            f"x belongs to {x.op.graph.describe()}, where it has another value each "
            "time that this runs: differentiate with respect to it in there, or with "
            "respect to what comes from outside."
        ]
    inside = [y for y in ys if y.op.graph.is_inside(x.op.graph)]
    if inside:
        hints += _by_input(inside[0], sweep)
    elif x.op.id > max(y.op.id for y in ys):
        hints.append(
            "x was made after y, and an operation reads only what was there before it: "
            "y cannot depend on x."
        )
    graph = x.op.graph
    needed = set(sweep.needed)
    twins = [op for op in needed if graph._variables.get(op) is not None]
    origin = x.op
    while origin.type == "Identity":
        origin = origin.inputs[0].op
    if origin in twins and origin is not x.op:
        hints.append(
            f"x is one read of the variable {origin.name!r}, and y reads it by another "
            "operation: differentiate with respect to the variable itself."
        )
    elif origin is not x.op and origin in needed:
        hints.append(
            f"x is a copy of {named(x.op.inputs[0])}, and y was computed from the "
            "original: differentiate with respect to that."
        )
    elif x.op.inputs:
        shared = [t for t in x.op.inputs if t.op in needed and t.op.inputs]
        if shared:
            hints.append(
                f"y depends on {named(shared[0])}, from which x was computed, but not "
                "through x: x is a side branch."
            )
    hints += _by_state(x, needed)
    controls = ancestors([y.op for y in ys])
    if not hints and x.op in set(controls):
        hints.append(
            "Only control dependencies lead from x to y: they order operations and "
            "carry no data."
        )
    return hints


def _by_input(y: Tensor, sweep: _Sweep) -> list[str]:
    """y, in a body, reads the body's own inputs: loop variables, rows, arguments."""
    for op in sweep.needed:
        if op.type == "BodyInput" and not captured_from(op):
            return [
                f"y belongs to {y.op.graph.describe()} and reads its input "
                f"{op.outputs[0].name}: there this is a variable of its own, whatever "
                "it was computed from outside.  Differentiate with respect to it, or "
                "outside of the body."
            ]
    return []


def _by_state(x: Tensor, needed: set[Operation]) -> list[str]:
    """x is written to a variable that y reads."""
    reached = {x}
    for op in x.op.graph._operations[x.op.id :]:
        if not any(t in reached for t in op.inputs):
            continue
        reached.update(op.outputs)
        for i in updated_inputs(op):
            target = variable_root(op.inputs[i]).op
            if target in needed and op not in needed:
                return [
                    f"{op.describe()} ({place(op)}) writes what was computed from x to "
                    f"the variable {target.name!r}, which y reads: no derivative "
                    "passes through the state of a session.  Use the value itself in y."
                ]
    return []


def _listed(cut: Cut | None) -> TypeGuard[Cut]:
    """Whether an edge is a cut of its own, not that of an operation before or in it."""
    if cut is None or cut.kind in ("carried", "body"):
        return False
    return not (cut.refuses and is_control(cut.op))
