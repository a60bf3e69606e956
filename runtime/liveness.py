"""Lifetimes of buffers in a fixed order, and which outputs take over an input.

Pure integers: nodes, buffers, steps and bytes. The per-buffer work is done on
whole arrays, because programs have hundreds of thousands of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..graphlib.records import record

if TYPE_CHECKING:
    import numpy.typing as npt

    from .schedule import Problem

Ints: TypeAlias = "npt.NDArray[np.int64]"
Mask: TypeAlias = "npt.NDArray[np.bool_]"


@record(frozen=True, slots=True)
class Lifetimes:
    """Lifetimes of all buffers of a problem in one order (steps count from 0).

    first, last: per buffer, the step that defines it and the last step that
        uses it (both inclusive); -1 and -1 for a buffer that no node defines.
        A kept buffer lasts to the final step; one that is never read dies at the
        step that defines it.
    freed: per step, the buffers that are dead after it, ascending. A buffer whose
        memory an output took over is listed too (its name dies, its memory goes
        on); kept and external buffers never are.
    shares: output buffer -> the input buffer whose memory it takes over.
    group: per buffer, index of its storage group (-1: external).
    groups: per storage group (first step, last step, bytes): what to place.
    """

    first: list[int]
    last: list[int]
    freed: list[list[int]]
    shares: dict[int, int]
    group: list[int]
    groups: list[tuple[int, int, int]]


@record(frozen=True)
class Flat:
    """A problem as flat arrays; repeated reads merged, external reads dropped."""

    size: int  # nodes
    nbytes: Ints  # per buffer
    producer: Ints  # per buffer: node that defines it, -1 if external
    kept: Mask  # per buffer: alive to the end (and not external)
    work: Ints  # per node: transient bytes
    read_node: Ints  # read edges, sorted by buffer, then node
    read_buffer: Ints
    read_start: Ints  # where each distinct buffer begins among the read edges
    edge_from: Ints  # all edges between nodes, reads first
    edge_to: Ints
    pair_node: Ints  # in-place candidates, in order of preference
    pair_out: Ints
    pair_in: Ints


@record(frozen=True)
class Spans:
    """Steps of each node and buffer in one order, and the takeovers chosen."""

    step: Ints  # per node
    first: Ints  # per buffer
    last: Ints
    taken_out: Ints  # parallel: output buffer, input buffer it takes over
    taken_in: Ints


def _ragged(rows: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Rows of ints -> (row index of each item, item)."""
    counts = np.fromiter(map(len, rows), np.int64, len(rows))
    total = int(counts.sum())
    items = np.fromiter(chain.from_iterable(rows), np.int64, total)
    return np.repeat(np.arange(len(rows), dtype=np.int64), counts), items


def _require(what: str, ids: Ints, limit: int) -> None:
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= limit):
        bad = next(i for i in ids.tolist() if not 0 <= i < limit)
        raise ValueError(f"{what} {bad} is out of range: there are {limit}")


def flatten(problem: Problem) -> Flat:
    """Problem as flat arrays, checked. Bytes stay bytes; ids stay ids.

    Raises:
        ValueError: parts of unequal length, an id out of range, negative bytes,
            or a buffer that two nodes define.
    """
    size, count = len(problem.reads), len(problem.nbytes)
    for name in ("writes", "after", "work", "inplace"):
        length = len(getattr(problem, name))
        if length != size:
            raise ValueError(f"{name} has {length} entries for {size} nodes")
    nbytes = np.array(problem.nbytes, dtype=np.int64).reshape(count)
    work = np.array(problem.work, dtype=np.int64).reshape(size)
    if (nbytes < 0).any() or (work < 0).any():
        raise ValueError("negative bytes in nbytes or work")

    write_node, write_buffer = _ragged(problem.writes)
    _require("buffer", write_buffer, count)
    producer = np.full(count, -1, dtype=np.int64)
    producer[write_buffer] = write_node
    if write_buffer.size != np.count_nonzero(producer >= 0):
        twice = int(np.bincount(write_buffer).argmax())
        raise ValueError(f"buffer {twice} is defined more than once")
    external = producer < 0

    kept = np.zeros(count, dtype=np.bool_)
    keep = np.fromiter(problem.kept, np.int64, len(problem.kept))
    _require("buffer", keep, count)
    kept[keep] = True
    kept &= ~external

    read_node, read_buffer = _ragged(problem.reads)
    _require("buffer", read_buffer, count)
    key = read_buffer * max(size, 1) + read_node
    key = distinct(key[~external[read_buffer]])
    read_buffer, read_node = np.divmod(key, max(size, 1))
    starts = np.flatnonzero(np.diff(read_buffer, prepend=-1))

    after_to, after_from = _ragged(problem.after)
    _require("node", after_from, size)
    pairs = sum(map(len, problem.inplace))
    pair_node = np.repeat(
        np.arange(size, dtype=np.int64),
        np.fromiter(map(len, problem.inplace), np.int64, size),
    )
    both = np.fromiter(
        chain.from_iterable(chain.from_iterable(problem.inplace)), np.int64, 2 * pairs
    )
    _require("buffer", both, count)
    return Flat(
        size=size,
        nbytes=nbytes,
        producer=producer,
        kept=kept,
        work=work,
        read_node=read_node,
        read_buffer=read_buffer,
        read_start=starts,
        edge_from=np.concatenate((producer[read_buffer], after_from)),
        edge_to=np.concatenate((read_node, after_to)),
        pair_node=pair_node,
        pair_out=both[0::2],
        pair_in=both[1::2],
    )


def distinct(values: Ints) -> Ints:
    """The distinct integers, in order.

    ``np.unique`` loads all of ``numpy.ma`` in its first call, a fifth of what a short
    program takes.
    """
    ordered: Ints = np.sort(values)
    found: Ints = ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]
    return found


def spans(flat: Flat, nodes: Sequence[int]) -> Spans:
    """First and last step of each buffer in the order `nodes`, and the takeovers.

    A candidate pair is taken, first come first served within its node, if the
    node defines the output, is the last use of the input, the input is neither
    kept nor external, both have the same bytes, and neither is taken already.

    Raises:
        ValueError: `nodes` is no topological order of all nodes.
    """
    size = flat.size
    order = np.fromiter(nodes, np.int64, len(nodes))
    _require("node", order, size)
    step = np.full(size, -1, dtype=np.int64)
    step[order] = np.arange(order.size)
    if order.size != size or (step < 0).any():
        raise ValueError(f"the order is no permutation of {size} nodes")
    if (step[flat.edge_from] >= step[flat.edge_to]).any():
        at = int(np.argmax(step[flat.edge_from] >= step[flat.edge_to]))
        raise ValueError(
            f"node {flat.edge_to[at]} comes before node {flat.edge_from[at]}, "
            "which it needs"
        )
    first = np.full(flat.producer.size, -1, dtype=np.int64)
    defined = flat.producer >= 0
    first[defined] = step[flat.producer[defined]]
    last = first.copy()
    if flat.read_start.size:
        readers = flat.read_buffer[flat.read_start]
        last[readers] = np.maximum.reduceat(step[flat.read_node], flat.read_start)
    last[flat.kept] = size - 1

    at_step = step[flat.pair_node]
    out, taken = flat.pair_out, flat.pair_in
    good = (
        (first[out] == at_step)
        & (last[taken] == at_step)
        & (first[taken] >= 0)
        & (first[taken] < at_step)
        & ~flat.kept[taken]
        & (flat.nbytes[out] == flat.nbytes[taken])
    )
    out, taken = out[good], taken[good]
    if distinct(out).size < out.size or distinct(taken).size < taken.size:
        used: set[int] = set()
        chosen: dict[int, int] = {}
        for o, i in zip(out.tolist(), taken.tolist(), strict=True):
            if o not in chosen and i not in used:
                chosen[o] = i
                used.add(i)
        out = np.fromiter(chosen, np.int64, len(chosen))
        taken = np.fromiter(chosen.values(), np.int64, len(chosen))
    return Spans(step, first, last, out, taken)


def live_bytes(flat: Flat, spans: Spans) -> Ints:
    """Live bytes at each step: buffers alive, the step's workspace, shared once."""
    size = flat.size
    change = np.zeros(size + 1, dtype=np.int64)
    defined = flat.producer >= 0
    sizes = flat.nbytes[defined]
    np.add.at(change, spans.first[defined], sizes)
    np.subtract.at(change, spans.last[defined] + 1, sizes)
    live = np.cumsum(change[:size])
    live[spans.step] += flat.work
    # At the takeover step both names are alive but their bytes are one memory.
    np.subtract.at(live, spans.first[spans.taken_out], flat.nbytes[spans.taken_out])
    return live


def lifetimes(problem: Problem, nodes: Sequence[int]) -> Lifetimes:
    """Lifetimes (in steps), frees, takeovers and storage groups (bytes) of `nodes`.

    Storage groups are the chains of buffers that share one memory; a group's
    interval covers all of its members. O(E log E) time for E reads.

    Raises:
        ValueError: malformed problem, or `nodes` is no topological order.
    """
    flat = flatten(problem)
    span = spans(flat, nodes)
    count = flat.producer.size
    defined = flat.producer >= 0

    root = np.arange(count, dtype=np.int64)
    root[span.taken_out] = span.taken_in
    while True:  # pointer jumping: a chain of k takeovers needs log2(k) rounds
        above = root[root]
        if np.array_equal(above, root):
            break
        root = above
    is_tail = defined.copy()
    is_tail[span.taken_in] = False
    roots = np.flatnonzero(defined & (root == np.arange(count)))
    end = np.full(count, -1, dtype=np.int64)
    end[root[is_tail]] = span.last[is_tail]
    index = np.full(count, -1, dtype=np.int64)
    index[roots] = np.arange(roots.size)
    group = np.where(defined, index[root], -1)

    mortal = np.flatnonzero(defined & ~flat.kept)
    mortal = mortal[np.argsort(span.last[mortal], kind="stable")]
    ends = np.cumsum(np.bincount(span.last[mortal], minlength=flat.size)).tolist()
    dead = mortal.tolist()
    freed = [dead[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    return Lifetimes(
        first=span.first.tolist(),
        last=span.last.tolist(),
        freed=freed,
        shares=dict(zip(span.taken_out.tolist(), span.taken_in.tolist(), strict=True)),
        group=group.tolist(),
        groups=list(
            zip(
                span.first[roots].tolist(),
                end[roots].tolist(),
                flat.nbytes[roots].tolist(),
                strict=True,
            )
        ),
    )
