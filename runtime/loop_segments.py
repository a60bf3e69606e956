"""Loops whose gradient keeps a few states and computes the others again, by a plan.

The gradient of a loop is a loop that runs backward over what the forward one kept of
every iteration: its *tape*.  Where a run is over its memory limit, a plan may put
segments in the place of the two, as ``checkpoint_every`` asks for in the graph (see
ops.checkpointed): the forward loop marks some states, and one operation computes the
others again, segment by segment, and runs backward over each.  A schedule (see
graphlib.checkpointing) says which states; more passes need fewer of them.

Precondition: loops without effects or random draws, of a number of iterations and of
shapes that are known; of what the forward loop keeps, only the backward loop reads
histories, or else all states stay and only its stacks are computed again.
Postcondition: the same bodies run on the same values, so results are the same to the
bit.  The graph is not changed: the operations that say what the plan's node computes
are in a body of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.checkpointing import Schedule, longest, rows, runs
from ..graphlib.opdef import OpDef
from ..graphlib.records import record, replace
from ..graphlib.shapes import is_static
from ..graphlib.stacks import home
from ..graphlib.subgraph import Body, Subgraph
from ..graphlib.tensor import Tensor
from .program import NODE, VARIABLE, Node, Program, Value

__all__ = ["SEGMENTS", "Tape", "put_segments", "schedules", "tapes"]

#: How often an iteration runs again, at most: of n iterations, 2 + n / 33 states are
#: enough for 32 times.
_REPEATS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
#: A segment of any length.
_ANY = 2**31 - 1


def _kernel(
    xp: Any, run: Any, *arrays: Any, branches: Sequence[Body], out: Any = None, **_: Any
) -> Any:
    results = tuple(run(branches[0], list(arrays)))
    if out is not None:
        for target, result in zip(out if isinstance(out, tuple) else (out,), results):
            xp.copyto(target, result)
        return out
    return results[0] if len(results) == 1 else results


def _infer(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    return [(t.dtype, t.dims) for t in attrs["branches"][0].outputs]


SEGMENTS = OpDef(
    "_Segments",
    infer=lambda inputs, attrs: [
        (t.dtype, t.dims) for t in attrs["branches"][0].outputs
    ],
    kernel=_kernel,
    inputs=("*inputs",),
    no_gradient="it exists in plans only",
    writes_out=True,
    control="branch",
    doc="a loop forward again, segment by segment, and its gradient",
)


@record(frozen=True)
class Tape:
    """A forward loop and the backward loop that reads what it keeps.

    Attributes:
        forward, backward: the nodes.
        length: the number of iterations.
        sources: per scanned array of the backward loop, where its rows are (see
            ops.loops.Saved) and the nodes between, from the forward loop on; None
            for one that does not come from there.
        stacked: whether others read states too, so that all of them stay.
        made: the stacks of the forward loop that only the backward loop reads.
        state, more: bytes of a state, and of a row of ``made``.
    """

    forward: Node
    backward: Node
    length: int
    sources: tuple[tuple[str, int, tuple[Node, ...]] | None, ...]
    stacked: bool
    made: tuple[int, ...]
    state: int
    more: int

    @property
    def nbytes(self) -> int:
        """Bytes that the tape takes, as far as segments can spare them."""
        f = self.forward
        kept = sum(
            f.outputs[1 + f.attrs["carries"] + j].nbytes
            for j in range(len(f.attrs["history"]))
        )
        return self.length * self.more + (0 if self.stacked else kept)

    def needs(self, schedule: Schedule) -> tuple[int, int]:
        """(Bytes in the place of :attr:`nbytes`, iterations that run again)."""
        n = self.length
        long = longest(schedule, n)
        if self.stacked:
            return (long + 1) * self.state + long * self.more, n
        return rows(schedule, n) * self.state + long * self.more, runs(schedule, n)


def schedules(tape: Tape) -> list[tuple[int, int, Schedule]]:
    """(Bytes, iterations that run again, schedule), from the fewest iterations on; each
    takes fewer bytes than those before it, and than the tape."""
    found = []
    for schedule in _candidates(tape.length, tape.stacked):
        found.append((*tape.needs(schedule), schedule))
    found.sort(key=lambda f: (f[1], f[0]))
    best: list[tuple[int, int, Schedule]] = []
    least = tape.nbytes
    for nbytes, again, schedule in found:
        if nbytes < least:
            best.append((nbytes, again, schedule))
            least = nbytes
    return best


def _candidates(n: int, stacked: bool) -> Iterator[Schedule]:
    if stacked:
        yield from (("blocks", size) for size in _shrinking(n, 7, 8))
        return
    for repeats in _REPEATS:
        yield ("tree", repeats, _ANY)
        # With more passes segments are short anyway.
        part = (7, 8) if repeats == 1 else (1, 2)
        yield from (("tree", repeats, size) for size in _shrinking(n, *part))


def _shrinking(n: int, times: int, over: int) -> Iterator[int]:
    while n > 1:
        n = n * times // over
        yield n


# -- finding them ------------------------------------------------------------------


def tapes(program: Program) -> list[Tape]:
    """The tapes of a program that segments can take the place of, the largest first; a
    loop is in one of them at most."""
    readers: dict[Value, list[Node | None]] = defaultdict(list)
    for node in program.nodes:
        for v in node.inputs:
            readers[v].append(node)
    for v in (*program.fetches, *[v for n in program.targets for v in n.outputs]):
        readers[v].append(None)
    found = [_tape_of(node, readers) for node in program.nodes if _is_backward(node)]
    taken: set[Node] = set()
    chosen = []
    for tape in sorted(filter(None, found), key=lambda t: -t.nbytes):
        if not taken & {tape.forward, tape.backward}:
            taken |= {tape.forward, tape.backward}
            chosen.append(tape)
    return chosen


def _is_plain(node: Node) -> bool:
    """Whether a node is a loop of a number of iterations without effects."""
    attrs = node.attrs
    return (
        node.opdef.control == "loop"
        and node.opdef.effect is None
        and not (attrs["tested"] or attrs["unshaped"] or attrs["marks"])
    )


def _is_backward(node: Node) -> bool:
    return (
        _is_plain(node)
        and node.attrs["bounded"]
        and not node.attrs["history"]
        and node.attrs["scanned"] > 0
    )


def _tape_of(backward: Node, readers: dict[Value, list[Node | None]]) -> Tape | None:
    first = 1 + backward.attrs["carries"]
    arrays = backward.inputs[first : first + backward.attrs["scanned"]]
    ways = [_way(v, readers) for v in arrays]
    makers = list(dict.fromkeys(v.node for v, _ in ways if v.node is not None))
    for forward in makers:
        assert forward is not None
        if _is_plain(forward) and forward is not backward:
            found = _between(forward, backward, ways, readers)
            if found is not None:
                return found
    return None


_Way = tuple[Value, tuple[Node, ...]]


def _way(v: Value, readers: dict[Value, list[Node | None]]) -> _Way:
    """What ``v`` is a view of, and the nodes between that nobody else reads."""
    nodes: list[Node] = []
    while (
        v.node is not None
        and v.node.opdef.alias is not None
        and len(v.node.inputs) == 1
        and len(set(readers[v])) == 1
    ):
        nodes.append(v.node)
        v = v.node.inputs[0]
    return v, tuple(reversed(nodes))


def _between(
    forward: Node,
    backward: Node,
    ways: Sequence[_Way],
    readers: dict[Value, list[Node | None]],
) -> Tape | None:
    """The tape between two loops, if it is one that can be made anew."""
    attrs = forward.attrs
    k, kept = attrs["carries"], attrs["history"]
    head = attrs["bounded"]
    carries = forward.inputs[head : head + k]
    rows_in = forward.inputs[head + k : head + k + attrs["scanned"]]
    histories = forward.outputs[1 + k : 1 + k + len(kept)]
    stacks = forward.outputs[1 + k + len(kept) :]
    length = forward.outputs[0].value
    if not isinstance(length, np.ndarray) or int(length) < 2:
        return None
    if attrs["reverse"] == backward.attrs["reverse"]:
        return None
    n = int(length)
    same = all(
        v.static and v.dims == out.dims for v, out in zip(carries, forward.outputs[1:])
    )
    if not same or not all(v.static for v in (*histories, *stacks)):
        return None
    sources: list[tuple[str, int, tuple[Node, ...]] | None] = []
    for v, nodes in ways:
        if v in histories:
            kind = _part_of(v, nodes, n, attrs["reverse"])
            if kind is None:
                return None
            sources.append((kind, kept[histories.index(v)], nodes))
        elif v in stacks and not nodes:
            sources.append(("made", stacks.index(v), ()))
        elif v in rows_in and not nodes:
            sources.append(("row", rows_in.index(v), ()))
        else:
            sources.append(None)
    mine = {(n[0] if n else backward) for v, n in ways if v in histories}
    stacked = any(r not in mine for v in histories for r in readers[v])
    made = tuple(
        j
        for j, v in enumerate(stacks)
        if readers[v] and all(r is backward for r in readers[v])
    )
    read = {source[1] for source in sources if source and source[0] == "made"}
    if not read <= set(made):
        # Others read this stack too: it stays, and is an array that is scanned.
        sources = [
            None if s and s[0] == "made" and s[1] not in made else s for s in sources
        ]
    if stacked and not made:
        return None
    state = sum(v.nbytes for v in carries)
    more = sum(stacks[j].nbytes for j in made) // n
    return Tape(forward, backward, n, tuple(sources), stacked, made, state, more)


def _part_of(v: Value, nodes: Sequence[Node], n: int, reverse: bool) -> str | None:
    """Whether views of a history are its states before each iteration, or after, in
    the order of the scan."""
    dims = v.dims or ()
    numbers: Any = np.arange(n + 1).reshape(n + 1, *[1] * (len(dims) - 1))
    numbers = np.broadcast_to(numbers, (n + 1, *dims[1:]))  # type: ignore[arg-type]
    for node in nodes:
        numbers = node.opdef.kernel(np, numbers, **node.attrs)  # type: ignore[operator,misc]
    if numbers.shape != (n, *dims[1:]):
        return None
    for kind, first in (("before", 0), ("after", 1)):
        order = np.arange(first, first + n)[:: -1 if reverse else 1]
        if (numbers == order.reshape(n, *[1] * (len(dims) - 1))).all():
            return kind
    return None


# -- putting segments in their place -------------------------------------------------


def put_segments(program: Program, tape: Tape, schedule: Schedule) -> None:
    """Run a tape's loops by a schedule."""
    forward, backward = tape.forward, tape.backward
    k = forward.attrs["carries"]
    marking, subst, states = _marking(tape, schedule)
    role = _roles(tape, states, subst)
    given: dict[Value, int] = {}
    places = {
        name: tuple(given.setdefault(v, len(given)) for v in values)
        for name, values in role.items()
    }
    body, sources = _body(tape, given, places)
    between = {n: None for s in tape.sources if s for n in s[2]}
    replaced = (forward, *between)
    node = Node(
        backward.op,
        SEGMENTS,
        {
            "branches": (body,),
            "wires": (tuple(range(len(given))),),
            "roles": places,
            "schedule": schedule,
            "sources": sources,
            "overwritten": 0 if tape.stacked else k,
        },
        list(given),
        list(dict.fromkeys(m for n in (*replaced, backward) for m in n.after)),
    )
    results = backward.outputs[1:]
    over = [] if tape.stacked else states
    node.outputs = tuple(
        Value(NODE, v.dtype, v.dims, v.tensor, node, i)
        for i, v in enumerate((*results, *over))
    )
    subst.update(zip(results, node.outputs))
    subst[backward.outputs[0]] = backward.inputs[0]
    place = {forward: marking, backward: node}
    program.nodes = [place.get(n, n) for n in program.nodes if n not in between]
    resolved = {v: _last(v, subst) for v in subst}
    for n in program.nodes:
        n.redirect(resolved)
        n.after = [place.get(m, m) for m in n.after if m not in between]
    program.fetches = [resolved.get(v, v) for v in program.fetches]
    program.targets = [place.get(m, m) for m in program.targets]


def _last(v: Value, subst: dict[Value, Value]) -> Value:
    while v in subst:
        v = subst[v]
    return v


def _marking(
    tape: Tape, schedule: Schedule
) -> tuple[Node, dict[Value, Value], list[Value]]:
    """The forward loop that keeps states instead of the tape; what takes the place of
    its other results; and the states, a history for each carry."""
    forward, attrs = tape.forward, tape.forward.attrs
    body: Body = attrs["body"]
    k, kept = attrs["carries"], attrs["history"]
    outs = forward.outputs
    stay = [j for j in range(len(body.outputs) - k) if j not in tape.made]
    inner = Body(
        body.graph,
        body.inputs,
        (*body.outputs[:k], *[body.outputs[k + j] for j in stay]),
        body.given,
    )
    shown = [i for i in kept if i not in attrs["loose"]] if tape.stacked else []
    new = {
        **attrs,
        "body": inner,
        "history": tuple(range(k)),
        "loose": tuple(i for i in range(k) if i not in shown),
        "strict": len([j for j in stay if j < attrs["strict"]]),
        "marks": None if tape.stacked else schedule,
    }
    node = Node(forward.op, forward.opdef, new, list(forward.inputs), forward.after)
    old = {i: outs[1 + k + j] for j, i in enumerate(kept)}
    count = tape.length + 1 if tape.stacked else rows(schedule, tape.length)
    made: list[Value] = []

    def add(like: Value, dims: Any = None) -> Value:
        at = len(made)
        dims = like.dims if dims is None else dims
        made.append(Value(NODE, like.dtype, dims, like.tensor, node, at, like.value))
        return made[-1]

    subst = {v: add(v) for v in outs[: 1 + k]}
    states = []
    for i in range(k):
        v = outs[1 + i]
        states.append(add(old.get(i, v), (count, *(v.dims or ()))))
        if tape.stacked and i in old:
            subst[old[i]] = states[-1]
    for j in stay:
        v = outs[1 + k + len(kept) + j]
        subst[v] = add(v)
    node.outputs = tuple(made)
    return node, subst, states


def _roles(
    tape: Tape, states: list[Value], subst: dict[Value, Value]
) -> dict[str, list[Value]]:
    """What the segments are passed, by role."""
    f, b = tape.forward, tape.backward
    head, k, n = f.attrs["bounded"], f.attrs["carries"], f.attrs["scanned"]
    own = b.attrs["carries"]
    arrays = b.inputs[1 + own : 1 + own + b.attrs["scanned"]]
    role = {
        "count": [b.inputs[0]],
        "carries": f.inputs[head : head + k],
        "rows": f.inputs[head + k : head + k + n],
        "rest": f.inputs[head + k + n :],
        "scanned": [v for v, s in zip(arrays, tape.sources) if s is None],
        "inits": b.inputs[1 : 1 + own],
        "same": b.inputs[1 + own + b.attrs["scanned"] :],
        "states": states,
    }
    return {name: [subst.get(v, v) for v in vs] for name, vs in role.items()}


def _body(
    tape: Tape, given: dict[Value, int], places: dict[str, tuple[int, ...]]
) -> tuple[Body, tuple[tuple[str, int], ...]]:
    """What the segments compute, as the body of an operation, and where the backward
    loop finds what it reads of the forward loop."""
    f, b = tape.forward.attrs, tape.backward.attrs
    k, own = f["carries"], b["carries"]
    outer = home(tape.backward.op.graph)
    what = f"the gradient of {tape.forward.op.describe()}"
    graph = Subgraph(outer, "segments", what)
    whole: Body = f["body"]
    made = [whole.outputs[k + j] for j in tape.made]
    read = {s[1] for s in tape.sources if s and s[0] in ("before", "after")}
    history = tuple(sorted(read))
    taped = {
        **f,
        "body": replace(whole, outputs=(*whole.outputs[:k], *made)),
        "history": history,
        "loose": history,
        "strict": 0,
        "keep": None,
    }
    inner: Body = b["body"]
    row_ins = inner.inputs[own : own + b["scanned"]]
    order = sorted(range(len(row_ins)), key=lambda j: tape.sources[j] is not None)
    backward = {
        **b,
        "body": Body(
            inner.graph,
            (
                *inner.inputs[:own],
                *[row_ins[j] for j in order],
                *inner.inputs[own + b["scanned"] :],
            ),
            inner.outputs,
            inner.given,
        ),
        "keep": None,
    }
    sources = []
    with graph.as_innermost():
        ins = [_input(graph, v) for v in given]
        has = {role: [ins[i] for i in at] for role, at in places.items()}
        head = has["count"] if f["bounded"] else []
        inputs = [*head, *has["carries"], *has["rows"], *has["rest"]]
        forward = graph.create_op(tape.forward.opdef, inputs, taped)
        arrays: list[Tensor] = list(has["scanned"])
        for j in order:
            source = tape.sources[j]
            if source is None:
                continue
            kind, i, nodes = source
            if kind == "row":
                arrays.append(has["rows"][i])
            elif kind == "made":
                i = tape.made.index(i)
                arrays.append(forward.outputs[1 + k + len(history) + i])
            else:
                t = forward.outputs[1 + k + history.index(i)]
                for node in nodes:
                    t = graph.create_op(node.opdef, [t], dict(node.attrs)).outputs[0]
                arrays.append(t)
            sources.append((kind, i))
        inputs = [has["count"][0], *has["inits"], *arrays, *has["same"]]
        results = graph.create_op(tape.backward.opdef, inputs, backward).outputs[1:]
    # The rows of marked states are overwritten: they are outputs too.
    over = [] if tape.stacked else has["states"]
    return Body(graph, tuple(ins), (*results, *over)), tuple(sources)


def _input(graph: Subgraph, v: Value) -> Tensor:
    """What stands for ``v`` in the body: whatever is passed in its place, but for a
    variable."""
    if v.kind == VARIABLE:
        assert v.tensor is not None
        return graph.stand_in(v.tensor)
    assert is_static(v.dims)
    return graph.add_input(v.dtype, v.dims, "input")
