"""Order of execution with the least peak of live bytes.

Finding the best order is NP-hard, so several cheap ones are tried, simulated,
and the best is kept. Everything is integers; there is no recursion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from ..graphlib.records import record
from .liveness import Flat, Ints, distinct, flatten, live_bytes, spans

# Nodes up to which the best order is searched for, and the states that are looked at,
# about 10 us each; in larger programs the nodes around the peak are searched.
_SMALL = 25
_STATES = 2000
_STATES_AROUND, _STATES_A_NODE, _MOST_STATES = 1000, 4, 20_000
# Bytes that a search must be able to save.
_WORTH = 4 * 1024
_WORTH_LARGE = 64 * 1024


class CycleError(ValueError):
    """Dependencies that no order satisfies."""


@record(frozen=True, slots=True)
class Problem:
    """What the scheduler sees of a program of n nodes and m buffers.

    reads: per node, buffers it reads (owners; aliases already resolved).
    writes: per node, buffers it defines; a buffer has at most one definer.
    after: per node, nodes that must run before it for other reasons (control,
        anti-dependency); they may have larger ids.
    nbytes: per buffer, bytes; buffers that no node defines are external (feeds,
        variables, constants) and count 0.
    kept: buffers alive to the end (fetches).
    work: per node, transient workspace bytes, alive only during that node.
    inplace: per node, candidate (output, input) buffers that may share memory if
        the node is the input's last use, in order of preference.
    """

    reads: Sequence[Sequence[int]]
    writes: Sequence[Sequence[int]]
    after: Sequence[Sequence[int]]
    nbytes: Sequence[int]
    kept: frozenset[int]
    work: Sequence[int]
    inplace: Sequence[Sequence[tuple[int, int]]]


@record(frozen=True, slots=True)
class Order:
    """A topological order, its peak in bytes, and each tried order's peak."""

    nodes: list[int]
    peak: int
    tried: dict[str, int]


@record(frozen=True, slots=True)
class Live:
    """Live bytes per step, their peak, and the first step that has it (-1: none)."""

    bytes: list[int]
    peak: int
    peak_step: int


class _Links:
    """Rows of ints in one flat list: row i is items[start[i]:start[i + 1]]."""

    __slots__ = ("items", "start")

    def __init__(self, keys: Ints, values: Ints, size: int) -> None:
        self.items: list[int] = values[np.argsort(keys, kind="stable")].tolist()
        counts = np.bincount(keys, minlength=size)
        self.start: list[int] = [0, *np.cumsum(counts).tolist()]


_Build = Callable[[Flat, _Links, list[int]], list[int]]


def simulate(problem: Problem, nodes: Sequence[int]) -> Live:
    """Live bytes at each step of `nodes`: inputs, outputs and all buffers alive
    during the step, plus its workspace; an in-place pair counts once.

    Raises:
        ValueError: malformed problem, or `nodes` is no topological order.
    """
    flat = flatten(problem)
    live = live_bytes(flat, spans(flat, nodes))
    if not live.size:
        return Live([], 0, -1)
    return Live(live.tolist(), int(live.max()), int(live.argmax()))


def order(problem: Problem) -> Order:
    """Least-peak topological order among a few heuristics (peak in bytes).

    Tries creation order ("creation"; where anti-dependencies forbid it, the
    nearest topological order), greedy list scheduling by bytes freed less bytes
    defined ("list"), the same within a window of creation order ("near 32"),
    post-order from the last nodes up, hungriest input first ("depth"), and breadth
    first ("fifo"), and greedily from the end ("back"); larger programs try fewer. The
    first of equals wins, and the search ends when it meets the lower bound set by the
    hungriest node. O(E log V). Small programs are searched for a better one ("exact"),
    and so are, in others, the nodes around the peak ("windows"), within a bounded
    effort.

    Raises:
        ValueError: malformed problem; CycleError where the dependencies form a
            cycle (the message names a node of it).
    """
    flat = flatten(problem)
    successors = _Links(flat.edge_from, flat.edge_to, flat.size)
    best = creation = _creation(flat, successors)
    peak = _peak(flat, best)
    tried = {"creation": peak}
    effort = flat.size + flat.edge_from.size
    bound = _bound(flat)
    for name, build, limit in _TRIALS:
        if peak <= bound or effort > limit:
            continue
        nodes = build(flat, successors, creation)
        tried[name] = _peak(flat, nodes)
        if tried[name] < peak:
            best, peak = nodes, tried[name]
    if flat.size <= _SMALL and peak - bound >= _WORTH:
        from .exact_order import exact_order

        exact = exact_order(problem, peak, _STATES)
        if exact is not None:
            best, peak = exact, _peak(flat, exact)
            tried["exact"] = peak
    elif flat.size > _SMALL and peak - bound >= _WORTH_LARGE:
        from .order_windows import lower_peak

        states = _STATES_AROUND + _STATES_A_NODE * flat.size
        nodes = lower_peak(problem, flat, best, bound, min(states, _MOST_STATES))
        if nodes != best:
            best, peak = nodes, _peak(flat, nodes)
            tried["windows"] = peak
    return Order(best, peak, tried)


def leanest(problem: Problem) -> list[int]:
    """Of the orders that :func:`order` tries, the one with the fewest bytes alive on
    the average of its steps: where values are computed again, their memory counts
    everywhere, not only at the peak.
    """
    flat = flatten(problem)
    successors = _Links(flat.edge_from, flat.edge_to, flat.size)
    best = creation = _creation(flat, successors)
    least = int(live_bytes(flat, spans(flat, best)).sum())
    effort = flat.size + flat.edge_from.size
    for _, build, limit in _TRIALS:
        if effort <= limit:
            nodes = build(flat, successors, creation)
            area = int(live_bytes(flat, spans(flat, nodes)).sum())
            if area < least:
                best, least = nodes, area
    return best


def least_need(problem: Problem) -> int:
    """Bytes that no order can go below: the most that one node needs at once."""
    return _bound(flatten(problem))


def _peak(flat: Flat, nodes: Sequence[int]) -> int:
    """Peak live bytes of an order."""
    return int(live_bytes(flat, spans(flat, nodes)).max(initial=0))


def _bound(flat: Flat) -> int:
    """Bytes that no order can go below: the most that one node needs at once."""
    need = flat.work.copy()
    defined = flat.producer >= 0
    np.add.at(need, flat.producer[defined], flat.nbytes[defined])
    np.add.at(need, flat.read_node, flat.nbytes[flat.read_buffer])
    # Sharing can save at most one input for each candidate output.
    outputs = distinct(flat.pair_out)
    outputs = outputs[flat.producer[outputs] >= 0]
    np.subtract.at(need, flat.producer[outputs], flat.nbytes[outputs])
    return max(int(need.max(initial=0)), int(flat.nbytes[flat.kept].sum()))


def _waits(flat: Flat) -> list[int]:
    """Per node, how many edges it waits for (repeated edges count)."""
    waits: list[int] = np.bincount(flat.edge_to, minlength=flat.size).tolist()
    return waits


def _creation(flat: Flat, successors: _Links) -> list[int]:
    """Smallest ids first. Raises ValueError on a cycle."""
    if bool((flat.edge_from < flat.edge_to).all()):
        return list(range(flat.size))
    waits = _waits(flat)
    items, start = successors.items, successors.start
    ready = [i for i, w in enumerate(waits) if not w]
    nodes: list[int] = []
    while ready:
        i = heappop(ready)
        nodes.append(i)
        for j in items[start[i] : start[i + 1]]:
            waits[j] -= 1
            if not waits[j]:
                heappush(ready, j)
    if len(nodes) < flat.size:
        # Every node left waits for another one left: walk back until one repeats.
        before = {
            j: i
            for i, j in zip(flat.edge_from.tolist(), flat.edge_to.tolist(), strict=True)
            if waits[i] and waits[j]
        }
        node = next(iter(before))
        seen: set[int] = set()
        while node not in seen:
            seen.add(node)
            node = before[node]
        raise CycleError(f"the dependencies form a cycle through node {node}")
    return nodes


def _list(flat: Flat, successors: _Links, creation: list[int]) -> list[int]:
    """Of the ready nodes, run the one that adds the fewest lasting bytes."""
    return _greedy(flat, successors, flat.size)


def _near(window: int) -> _Build:
    """As `_list`, but never `window` nodes ahead of creation order."""
    return lambda flat, successors, creation: _greedy(flat, successors, window)


def _greedy(flat: Flat, successors: _Links, window: int) -> list[int]:
    """List scheduling among the nodes less than `window` ids beyond the first that
    has not run.
    """
    size = flat.size
    counts = np.bincount(flat.read_buffer, minlength=flat.producer.size)
    lasting = (flat.producer >= 0) & ((counts > 0) | flat.kept)
    gain = np.zeros(size, dtype=np.int64)
    np.add.at(gain, flat.producer[lasting], flat.nbytes[lasting])
    sole = (counts == 1) & ~flat.kept
    edges = sole[flat.read_buffer]
    np.subtract.at(gain, flat.read_node[edges], flat.nbytes[flat.read_buffer[edges]])
    left = counts + np.where(flat.kept, size + 1, 0)  # kept: never down to one
    # The sum of the ids of the readers to come is the reader when one is left.
    readers = np.zeros(flat.producer.size, dtype=np.int64)
    np.add.at(readers, flat.read_buffer, flat.read_node)
    return _run_greedy(
        _waits(flat),
        successors,
        _Links(flat.read_node, flat.read_buffer, size),
        gain.tolist(),
        left.tolist(),
        readers.tolist(),
        flat.nbytes.tolist(),
        window,
    )


def _run_greedy(
    waits: list[int],
    successors: _Links,
    reads: _Links,
    gain: list[int],
    left: list[int],
    readers: list[int],
    nbytes: list[int],
    window: int,
) -> list[int]:
    """The loop of `_greedy`; gain is per node, left and readers are per buffer."""
    size = len(waits)
    items, start = successors.items, successors.start
    buffers, reads_at = reads.items, reads.start
    done = bytearray(size + 1)  # one more, never done, stops the search for front
    front = 0  # the first node that has not run
    # One int holds (gain, id). Gains only fall, so an entry gone stale is behind
    # the fresh one and finds its node done.
    ready = [gain[i] * size + i for i, w in enumerate(waits) if not w and i < window]
    later = [i for i, w in enumerate(waits) if not w and i >= window]
    heapify(ready)
    nodes: list[int] = []
    while ready or later:
        if ready:
            i = heappop(ready) % size
        else:  # the first node waits for a later one
            i = heappop(later)
        if done[i]:
            continue
        done[i] = 1
        nodes.append(i)
        if i == front:
            while done[front]:
                front += 1
            while later and later[0] < front + window:
                j = heappop(later)
                if not done[j]:
                    heappush(ready, gain[j] * size + j)
        limit = front + window
        for b in buffers[reads_at[i] : reads_at[i + 1]]:
            left[b] -= 1
            readers[b] -= i
            if left[b] == 1 and nbytes[b]:
                j = readers[b]
                gain[j] -= nbytes[b]
                if not waits[j] and j < limit:
                    heappush(ready, gain[j] * size + j)
        for j in items[start[i] : start[i + 1]]:
            waits[j] -= 1
            if not waits[j]:
                if j < limit:
                    heappush(ready, gain[j] * size + j)
                else:
                    heappush(later, j)
    return nodes


def _back(flat: Flat, successors: _Links, creation: list[int]) -> list[int]:
    """List scheduling from the end: of the nodes that nobody waits for, the last is
    the one before which the fewest bytes more are alive.
    """
    size = flat.size
    gain = np.zeros(size, dtype=np.int64)
    defined = flat.producer >= 0
    fetched = defined & flat.kept
    np.add.at(gain, flat.read_node, flat.nbytes[flat.read_buffer])
    np.subtract.at(gain, flat.producer[defined], flat.nbytes[defined])
    before = _Links(flat.edge_to, flat.edge_from, size)
    reads = _Links(flat.read_node, flat.read_buffer, size)
    readers = _Links(flat.read_buffer, flat.read_node, flat.producer.size)
    more, alive = gain.tolist(), fetched.tolist()
    for b in np.flatnonzero(fetched).tolist():  # alive at the end
        for j in readers.items[readers.start[b] : readers.start[b + 1]]:
            more[j] -= int(flat.nbytes[b])
    nbytes: list[int] = flat.nbytes.tolist()
    waits: list[int] = np.bincount(flat.edge_from, minlength=size).tolist()
    # One int holds (gain, nodes after it): gains only fall, as in `_run_greedy`.
    top = size - 1
    ready = [more[i] * size + top - i for i, w in enumerate(waits) if not w]
    heapify(ready)
    done = bytearray(size)
    nodes: list[int] = []
    while ready:
        i = top - heappop(ready) % size
        if done[i]:
            continue
        done[i] = 1
        nodes.append(i)
        for b in reads.items[reads.start[i] : reads.start[i + 1]]:
            if not alive[b]:
                alive[b] = True
                for j in readers.items[readers.start[b] : readers.start[b + 1]]:
                    more[j] -= nbytes[b]
                    if not waits[j] and not done[j]:
                        heappush(ready, more[j] * size + top - j)
        for j in before.items[before.start[i] : before.start[i + 1]]:
            waits[j] -= 1
            if not waits[j]:
                heappush(ready, more[j] * size + top - j)
    return nodes[::-1]


def _depth(flat: Flat, successors: _Links, creation: list[int]) -> list[int]:
    """Post-order from the last nodes; of the inputs the one that needs most room
    beyond what it leaves goes first (Sethi and Ullman 1970, optimal on trees).
    """
    size = flat.size
    outs = np.zeros(size, dtype=np.int64)
    defined = flat.producer >= 0
    np.add.at(outs, flat.producer[defined], flat.nbytes[defined])
    out: list[int] = outs.tolist()
    own: list[int] = (outs + flat.work).tolist()
    before = _Links(flat.edge_to, flat.edge_from, size)
    items, start = before.items, before.start
    spare = [0] * size  # bytes needed to compute a node, less those it leaves
    level = [0] * size  # the longest way to a node
    for i in creation:
        a, b = start[i], start[i + 1]
        row = items[a:b]
        if b - a > 1:
            row = sorted(dict.fromkeys(row), key=spare.__getitem__, reverse=True)
            items[a : a + len(row)] = row
        held = need = deep = 0
        for j in row:
            deep = max(deep, level[j] + 1)
            need = max(need, held + out[j] + spare[j])
            held += out[j]
        spare[i] = max(need, held + own[i]) - out[i]
        level[i] = deep

    cursor = start[:size]
    done = bytearray(size)
    nodes: list[int] = []
    follows = successors.start
    sinks = [i for i in creation if follows[i] == follows[i + 1]]
    for sink in sorted(sinks, key=level.__getitem__):
        stack = [sink]
        while stack:
            i = stack[-1]
            k = cursor[i]
            if k < start[i + 1]:
                cursor[i] = k + 1
                if not done[items[k]]:
                    stack.append(items[k])
            else:
                stack.pop()
                if not done[i]:
                    done[i] = 1
                    nodes.append(i)
    return nodes


def _fifo(flat: Flat, successors: _Links, creation: list[int]) -> list[int]:
    """Breadth first: nodes in the order in which they become ready."""
    waits = _waits(flat)
    items, start = successors.items, successors.start
    ready = deque(i for i in creation if not waits[i])
    nodes: list[int] = []
    while ready:
        i = ready.popleft()
        nodes.append(i)
        for j in items[start[i] : start[i + 1]]:
            waits[j] -= 1
            if not waits[j]:
                ready.append(j)
    return nodes


# Orders beyond creation order, and the effort (nodes + edges) up to which each is
# tried: each takes about 0.5 us a unit, and 300,000 nodes should take about 1.5 s.
_TRIALS: tuple[tuple[str, _Build, int], ...] = (
    ("list", _list, 3_000_000),
    ("depth", _depth, 1_500_000),
    ("back", _back, 1_000_000),
    ("near 8", _near(8), 300_000),
    ("near 32", _near(32), 600_000),
    ("near 128", _near(128), 300_000),
    ("fifo", _fifo, 300_000),
)
