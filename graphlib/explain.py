"""Why a gradient is what it is: paths from x to y, and where each is cut.

One sweep over the operations that y needs, oldest first, counts the paths, keeps
the shortest few and notes each edge that no derivative passes.  Time is linear in
the size of the graph; nothing is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from .cuts import Cut, cut_of, place
from .errors import GradientError
from .operation import Operation
from .shapes import text
from .tensor import Tensor
from .traversal import ancestors

__all__ = ["GradientExplanation", "Path", "Step", "explain_gradient", "explained"]

# More paths than this are not counted out: their number grows exponentially.
_MANY = 10**9
# How many operations of a path, and how many cuts, a text shows.
_SHOWN_STEPS = 12
_SHOWN_CUTS = 8


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
        return tuple(s.cut for s in self.steps if _listed(s.cut))

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations, that of x first."""
        return (self.x.op, *(s.op for s in self.steps))

    @property
    def edges(self) -> tuple[tuple[Operation, Tensor, Operation, bool], ...]:
        """(producer, tensor, consumer, whether a derivative passes), for drawings."""
        return tuple((s.input.op, s.input, s.op, s.cut is None) for s in self.steps)


@dataclass(frozen=True)
class GradientExplanation:
    """What :func:`explain_gradient` found; ``str`` says it in words.

    Attributes:
        ys, x: what was asked.
        status: "connected": ``gradients`` gives a tensor; "zero": it does, of zeros;
            "refused": it raises; "unconnected": it gives None.
        differentiable: the number of paths that carry a derivative; an operation
            that reads a tensor twice makes two of one.
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
        return _told(self)


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
    foreign = [y for y in ys if y.op.graph is not x.op.graph]
    if foreign:
        hint = (
            f"They belong to two graphs: {_named(x)} and {_named(foreign[0])}.  Was "
            "reset_default_graph() called in between, or one of them made outside "
            "`with graph.as_default()`?"
        )
        return GradientExplanation(ys, x, "unconnected", 0, 0, hints=(hint,))
    sweep = _Sweep(ys, x, set(stops), set(fed), max(limit, 1))
    open_paths, open_count = sweep.found(sweep.open)
    all_paths, total = sweep.found(sweep.any)
    stopped = [y for y in ys if y not in sweep.followed]
    cuts = tuple(sweep.cuts)
    hints: list[str] = []
    if not x.dtype.is_inexact:
        hints.append(
            f"x is {x.dtype.name}: only floating and complex tensors have "
            "derivatives.  Differentiate with respect to its cast to floating."
        )
        open_paths, open_count = [], 0
    for y in stopped:
        hints.append(f"{_named(y)} is in stop_gradients: it counts as a constant.")
    if any(y is x for y in ys):
        hints.append("y is x: the derivative is 1.")
    elif not total:
        hints += _why_apart(ys, x, sweep)
    refusing = [c for c in cuts if c.refuses and c.op in sweep.live]
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

    def __init__(self, x: Tensor, limit: int) -> None:
        self.count: dict[Tensor, int] = {x: 1}
        self.best: dict[Tensor, list[_Way]] = {x: [(0, None, None, 0)]}
        self._limit = limit

    def extend(self, op: Operation, entries: Sequence[Tensor], out: Tensor) -> None:
        """Lead the paths to ``entries`` through ``op`` to ``out``."""
        entries = [t for t in entries if t in self.count]
        if not entries or out in self.count:
            return
        self.count[out] = min(_MANY, sum(self.count[t] for t in entries))
        ways: list[_Way] = [
            (way[0] + 1, op, t, rank)
            for t in dict.fromkeys(entries)
            for rank, way in enumerate(self.best[t])
        ]
        ways.sort(key=lambda way: way[0])
        self.best[out] = ways[: self._limit]


class _Sweep:
    def __init__(
        self,
        ys: tuple[Tensor, ...],
        x: Tensor,
        stops: set[Tensor],
        fed: set[Tensor],
        limit: int,
    ) -> None:
        self.ys, self.x, self.limit = ys, x, limit
        self.followed = [y for y in ys if y is x or y not in stops]
        #: All paths; those that carry a derivative; those where it is not zero.
        self.any, self.open, self.moving = (_Ways(x, limit) for _ in range(3))
        self.cuts: list[Cut] = []
        self._edges: dict[tuple[Operation, Tensor, Tensor], Cut | None] = {}
        self.needed = ancestors([y.op for y in ys], control=False)
        ops = [op for op in self.needed if op.id > x.op.id]
        leading = set(ys)  # tensors that lead to y
        for op in reversed(ops):
            if any(t in leading for t in op.outputs):
                leading.update(op.inputs)
        for op in ops:
            if any(t in self.any.count for t in op.inputs):
                self._pass(op, leading, stops, fed)
        self.live = self._live(ops)

    def _pass(
        self, op: Operation, leading: set[Tensor], stops: set[Tensor], fed: set[Tensor]
    ) -> None:
        told: set[Any] = set()
        for j, out in enumerate(op.outputs):
            if out not in leading or out is self.x:
                continue
            passing, moving, everything = [], [], []
            for i, t in enumerate(op.inputs):
                if t not in self.any.count or (op.type == "IdentityN" and i != j):
                    continue
                cut = cut_of(op, i, out, t is not self.x and t in stops)
                if cut is None and t is not self.x and t in fed:
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
                elif cut.kind != "carried" and (t, cut.kind) not in told:
                    told.add((t, cut.kind))
                    self.cuts.append(cut)
            self.any.extend(op, everything, out)
            self.open.extend(op, passing, out)
            self.moving.extend(op, moving, out)

    def _live(self, ops: Sequence[Operation]) -> set[Operation]:
        """Operations that a cotangent reaches from y and x reaches openly."""
        arriving = {y for y in self.followed if y.dtype.is_inexact}
        live = set()
        for op in reversed(ops):
            if not any(t in arriving for t in op.outputs):
                continue
            live.add(op)
            for t in op.inputs:
                for out in op.outputs:
                    cut = self._edges.get((op, t, out))
                    known = (op, t, out) in self._edges
                    if (
                        known
                        and out in arriving
                        and (cut is None or cut.kind == "zero")
                    ):
                        arriving.add(t)
        return {op for op in live if any(t in self.open.count for t in op.inputs)}

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
        return paths, min(count, _MANY)

    def _path(self, ways: _Ways, t: Tensor, rank: int) -> Path:
        steps: list[Step] = []
        while True:
            _, op, entry, before = ways.best[t][rank]
            if op is None or entry is None:
                return Path(self.x, tuple(reversed(steps)))
            steps.append(Step(op, entry, t, self._edges[op, entry, t]))
            t, rank = entry, before


def _why_apart(ys: Sequence[Tensor], x: Tensor, sweep: _Sweep) -> list[str]:
    """Sentences that may explain why no data leads from x to y."""
    hints = []
    youngest = max(y.op.id for y in ys)
    if x.op.id > youngest:
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
            f"x is a copy of {_named(x.op.inputs[0])}, and y was computed from the "
            "original: differentiate with respect to that."
        )
    elif x.op.inputs:
        shared = [t for t in x.op.inputs if t.op in needed and t.op.inputs]
        if shared:
            hints.append(
                f"y depends on {_named(shared[0])}, from which x was computed, but not "
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


def _by_state(x: Tensor, needed: set[Operation]) -> list[str]:
    """x is written to a variable that y reads."""
    reached = {x}
    for op in x.op.graph._operations[x.op.id :]:
        if not any(t in reached for t in op.inputs):
            continue
        reached.update(op.outputs)
        for i in op.opdef.updates:
            target = op.inputs[i].op
            if target in needed and op not in needed:
                return [
                    f"{op.describe()} ({place(op)}) writes what was computed from x to "
                    f"the variable {target.name!r}, which y reads: no derivative "
                    "passes through the state of a session.  Use the value itself in y."
                ]
    return []


def _listed(cut: Cut | None) -> TypeGuard[Cut]:
    """Whether an edge is a cut of its own, not the consequence of one before."""
    return cut is not None and cut.kind != "carried"


# -- words ----------------------------------------------------------------------------


def _named(t: Tensor) -> str:
    return f"{t.op.describe()} ({place(t.op)})"


def _plural(n: int, word: str) -> str:
    shown = "over a billion" if n >= _MANY else f"{n:,}"
    return f"{shown} {word}" + ("" if n == 1 else "s")


def _told(e: GradientExplanation) -> str:
    names = ", ".join(y.op.describe() for y in e.ys)
    head = f"The gradient of {names} with respect to {e.x.op.describe()} "
    lines = [head + _verdict(e), ""]
    width = max(len(s) for t in (*e.ys, e.x) for s in (t.op.describe(),))
    for label, t in (*(("y", y) for y in e.ys), ("x", e.x)):
        lines.append(f"  {label}: {_row(t.op, t, width)}")
    for hint in e.hints:
        lines += ["", hint]
    for k, path in enumerate(e.paths):
        if not path.steps:
            continue
        shown = "" if len(e.paths) == 1 else f" {k + 1}"
        size = _plural(len(path.steps), "operation")
        cut = ", cut where marked ✗" if path.cuts else ""
        lines += ["", f"Path{shown}, {size} from x to y{cut}:", *_rows(path)]
    if e.cuts:
        lines += ["", _cuts_title(e)]
        for n, c in enumerate(e.cuts[:_SHOWN_CUTS], 1):
            lines.append(f"  {n}. {c.op.describe()} ({place(c.op)}): {c.why}.")
            if c.remedy:
                lines.append(f"     {c.remedy}.")
        if len(e.cuts) > _SHOWN_CUTS:
            lines.append(f"  ... and {_plural(len(e.cuts) - _SHOWN_CUTS, 'more')}"[:-1])
    return "\n".join(lines)


def _verdict(e: GradientExplanation) -> str:
    if e.status == "refused":
        return "is refused: an operation between them raises GradientError."
    if e.status == "connected":
        if not any(p.steps for p in e.paths):
            return "is a tensor."
        many = _plural(e.differentiable, "path")
        verb = "carries" if e.differentiable == 1 else "carry"
        more = e.total - e.differentiable
        rest = ""
        if more:
            rest = f", {_plural(more, 'other')} {'is' if more == 1 else 'are'} cut"
        return f"is a tensor: {many} {verb} it{rest}."
    if e.status == "zero":
        return "is a tensor of zeros: every path passes an operation of derivative 0."
    if not e.total:
        return "is None: no path of data leads from x to y."
    if e.total == 1:
        return "is None: the only path from x to y is cut."
    return f"is None: {_plural(e.total, 'path')} from x to y, all of them cut."


def _cuts_title(e: GradientExplanation) -> str:
    if e.status == "refused":
        return "What refuses, and what else is cut:"
    if e.status == "connected":
        return "Paths that do not count are cut here:"
    return "Why:"


def _rows(path: Path) -> list[str]:
    """A path, one operation a line; a long one without its middle."""
    entries: list[tuple[str, Operation, Tensor]] = [(" ", path.x.op, path.x)]
    for s in path.steps:
        entries.append(("✗" if _listed(s.cut) else " ", s.op, s.output))
    hidden = len(entries) - _SHOWN_STEPS
    shown: list[Any] = list(entries)
    if hidden > 1:
        half = _SHOWN_STEPS // 2
        middle = entries[half:-half]
        marked = [m for m in middle if m[0] == "✗"][:4]
        left = len(middle) - len(marked)
        gap = f"    ... {left:,} operations more ..."
        shown = [*entries[:half], gap, *marked, *entries[-half:]]
    width = max(len(row[1].describe()) for row in shown if isinstance(row, tuple))
    return [
        row if isinstance(row, str) else f"  {row[0]} {_row(row[1], row[2], width)}"
        for row in shown
    ]


def _row(op: Operation, t: Tensor, width: int) -> str:
    source = op.source
    code = source.text if source is not None else ""
    kind = f"{t.dtype.name}{text(t.dims)}"
    shown = f"{op.describe():<{min(width, 44)}}  {kind:<16}  {place(op)}"
    return f"{shown}  {code}" if code else shown
