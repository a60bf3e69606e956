"""What it takes to compute values again instead of keeping them: pure integers.

A program runs in a fixed order of steps.  A choice names values that are dropped
after a step although they are read later; whoever reads a value that is not there
has it computed again just before, from what is there, and it then stays until its
last use.  :meth:`Steps.follow` finds what a choice costs and how many bytes it
needs, exactly; ``recompute_search`` looks for a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..graphlib.records import field, record
from .liveness import Ints
from .schedule import Problem

__all__ = ["Choice", "Outcome", "Steps"]


@record(slots=True)
class Choice:
    """What is dropped early, and what is kept beyond its last use.

    Attributes:
        drops: (step, buffer): after that step the buffer's value is dropped.
        held: (step, buffer): a value without later use of its own, that is not
            dropped after that step, for those that are computed again from it.
        wants: (step, buffer): a value that, if it is not there, is computed again
            before that step already, say because what it is computed from dies there.
    """

    drops: set[tuple[int, int]] = field(default_factory=set)
    held: set[tuple[int, int]] = field(default_factory=set)
    wants: set[tuple[int, int]] = field(default_factory=set)

    def copy(self) -> Choice:
        """One that can be changed on its own."""
        return Choice(set(self.drops), set(self.held), set(self.wants))


@record(frozen=True, slots=True)
class Outcome:
    """What a choice comes to.

    Attributes:
        nodes: what runs, by the steps' numbers; repeated ones compute again. Each
            reads what was computed last (of a kept buffer what was computed first).
        extra: cost of all repetitions.
        live: per step, the most bytes alive while it and what is computed again
            before it run.
        peak: the most of ``live``.
        gaps: (buffer, from, to): a value that is not used between these steps and can
            be computed again before the last one.
        returned: (buffer, step of its drop, step before which it is computed again).
        revived: the same of values that were not dropped by choice, but dead.
    """

    nodes: list[int]
    extra: int
    live: Ints
    peak: int
    gaps: list[tuple[int, int, int]]
    returned: list[tuple[int, int, int]]
    revived: list[tuple[int, int, int]]


class Steps:
    """A problem in a fixed order: its nodes are numbered by their step.

    Attributes:
        size: how many steps.
        cost: per step, what running it again costs.
        reads, writes: per step, the buffers (external ones are left out).
        producer: per buffer, the step that makes it (-1: external).
        nbytes: per buffer.
        last: per buffer, its last use.
        kept: per buffer, whether it is alive to the end.
        limit: per buffer, the last step before which it can be computed again
            (-1: never).
    """

    def __init__(
        self,
        problem: Problem,
        order: Sequence[int],
        cost: Sequence[int],
        again: Sequence[bool],
        until: Sequence[Sequence[int]],
    ) -> None:
        """``again`` says which nodes may run again, ``until`` before which others."""
        size, count = len(order), len(problem.nbytes)
        step = [0] * size
        for s, n in enumerate(order):
            step[n] = s
        self.size = size
        self.cost = [cost[n] for n in order]
        self.nbytes = list(problem.nbytes)
        self.work = [problem.work[n] for n in order]
        self.writes = [list(problem.writes[n]) for n in order]
        self.producer = [-1] * count
        for s, made in enumerate(self.writes):
            for b in made:
                self.producer[b] = s
        self.reads = [
            list(dict.fromkeys(b for b in problem.reads[n] if self.producer[b] >= 0))
            for n in order
        ]
        self.pairs = [
            [
                (out, into)
                for out, into in problem.inplace[n]
                if self.producer[into] >= 0
                and problem.nbytes[out] == problem.nbytes[into]
            ]
            for n in order
        ]
        self.kept = bytearray(count)
        for b in problem.kept:
            self.kept[b] = self.producer[b] >= 0
        self.last = list(self.producer)
        for s, read in enumerate(self.reads):
            for b in read:
                self.last[b] = s
        self.limit = [-1] * count
        for s, n in enumerate(order):
            if again[n]:
                latest = min((step[t] for t in until[n]), default=size - 1)
                for b in self.writes[s]:
                    self.limit[b] = latest
        # What dies after each step, where it can be computed again.
        self.ends: list[list[int]] = [[] for _ in range(size)]
        for b, s in enumerate(self.last):
            if s >= 0 and not self.kept[b] and self.limit[b] >= 0:
                self.ends[s].append(b)

    def follow(self, choice: Choice) -> Outcome:
        """Run the steps with what a choice drops.  O(n + what is computed again)."""
        return _Run(self, choice).outcome()

    def closure(self, b: int, at: int, most: int = 50) -> tuple[int, list[int]]:
        """(Cost of computing ``b`` before step ``at`` from what is alive then, the
        values that it is computed from).

        Values that are dead by then are computed again too, up to ``most`` of them.
        """
        producer, last, limit = self.producer, self.last, self.limit
        seen = {producer[b]}
        stack, total = [producer[b]], 0
        sources: dict[int, None] = {}
        while stack:
            s = stack.pop()
            total += self.cost[s]
            for c in self.reads[s]:
                p = producer[c]
                if last[c] >= at or self.kept[c] or limit[c] < at:
                    sources[c] = None
                elif p not in seen and len(seen) < most:
                    seen.add(p)
                    stack.append(p)
        return total, list(sources)


class _Run:
    """One walk through the steps."""

    def __init__(self, steps: Steps, choice: Choice) -> None:
        self.steps = steps
        count = len(steps.nbytes)
        self.present = bytearray(count)
        self.current = [-1] * count  # per buffer, its latest copy
        self.touched = [0] * count  # per buffer, the step that used it last
        self.dropped = [-1] * count  # per buffer, the step after which it was dropped
        # Per copy: buffer, position at which it is made, position of its last use.
        self.buffers: list[int] = []
        self.birth: list[int] = []
        self.death: list[int] = []
        self.nodes: list[int] = []
        self.start: list[int] = []  # per step, the first position of what it runs
        self.extra = 0
        self.gaps: list[tuple[int, int, int]] = []
        self.returned: list[tuple[int, int, int]] = []
        self.revived: list[tuple[int, int, int]] = []
        self.pairs: list[tuple[int, int, int]] = []  # (position, output, input)
        self.renewed: list[int] = []  # dead buffers computed again for this step
        self.choice = choice
        self._walk(_by_step(choice.drops), _by_step(choice.wants))

    def _walk(self, drops: dict[int, list[int]], wants: dict[int, list[int]]) -> None:
        steps, present, held = self.steps, self.present, self.choice.held
        limit, last, dropped = steps.limit, steps.last, self.dropped
        for s in range(steps.size):
            self.start.append(len(self.nodes))
            for b in steps.reads[s]:
                if not present[b] and s <= limit[b]:
                    self._again(steps.producer[b], s)
            if s in wants:
                for b in wants[s]:
                    if not present[b] and steps.producer[b] < s <= limit[b]:
                        self._again(steps.producer[b], s)
            self._emit(s, s)
            for b in steps.ends[s]:
                if (s, b) not in held:
                    present[b] = 0
                    dropped[b] = s
            if self.renewed:
                for b in self.renewed:
                    if last[b] <= s and (s, b) not in held:
                        present[b] = 0
                        dropped[b] = s
                self.renewed.clear()
            if s in drops:
                for b in drops[s]:
                    if present[b] and not steps.kept[b] and limit[b] > s:
                        present[b] = 0
                        dropped[b] = s

    def _again(self, first: int, s: int) -> None:
        """Run ``first`` again before step ``s``, after what it needs for that."""
        steps, present = self.steps, self.present
        producer, limit, drops = steps.producer, steps.limit, self.choice.drops
        stack = [first]
        while stack:
            x = stack[-1]
            missing = {
                producer[b] for b in steps.reads[x] if not present[b] and s <= limit[b]
            }
            if missing:
                stack.extend(sorted(missing, reverse=True))
                continue
            stack.pop()
            if all(present[b] for b in steps.writes[x]):
                continue  # another one needed it too
            self.extra += steps.cost[x]
            for b in steps.writes[x]:
                if not present[b]:
                    self.renewed.append(b)
                    a = self.dropped[b]
                    if (a, b) in drops:
                        self.returned.append((b, a, s))
                    else:
                        self.revived.append((b, a, s))
            self._emit(x, s)

    def _emit(self, x: int, s: int) -> None:
        steps, current, touched = self.steps, self.current, self.touched
        at = len(self.nodes)
        self.nodes.append(x)
        for b in steps.reads[x]:
            self.death[current[b]] = at
            t = touched[b]
            if s > t:
                if s <= steps.limit[b] and not steps.kept[b]:
                    self.gaps.append((b, t, s))
                touched[b] = s
        pairs = steps.pairs[x]
        before = [current[into] for _, into in pairs]
        made: dict[int, int] = {}
        for b in steps.writes[x]:
            made[b] = len(self.buffers)
            if not steps.kept[b] or current[b] < 0:
                current[b] = len(self.buffers)
                touched[b] = s
            self.present[b] = 1
            self.buffers.append(b)
            self.birth.append(at)
            self.death.append(at)
        for (out, _), old in zip(pairs, before):
            if out in made:
                self.pairs.append((at, made[out], old))

    def outcome(self) -> Outcome:
        steps, death, birth = self.steps, self.death, self.birth
        size = len(self.nodes)
        sizes = np.array(steps.nbytes, dtype=np.int64)
        buffers = np.array(self.buffers, dtype=np.int64)
        born = np.array(birth, dtype=np.int64)
        dead = np.array(death, dtype=np.int64)
        if buffers.size:
            kept = np.frombuffer(steps.kept, np.uint8)[buffers].astype(bool)
            # Of a kept buffer only the first copy is; others serve nobody.
            alive = np.array(self.current)[buffers] == np.arange(buffers.size)
            dead[kept & alive] = size - 1
        change = np.zeros(size + 1, dtype=np.int64)
        np.add.at(change, born, sizes[buffers])
        np.subtract.at(change, dead + 1, sizes[buffers])
        live = np.cumsum(change[:size])
        live += np.array(steps.work, dtype=np.int64)[self.nodes]
        taken: set[int] = set()
        placed: set[int] = set()
        for at, new, old in self.pairs:
            if (
                death[old] == at > birth[old]
                and not steps.kept[self.buffers[old]]
                and old not in taken
                and new not in placed
            ):
                taken.add(old)
                placed.add(new)
                live[at] -= sizes[self.buffers[new]]
        if size:
            live = np.maximum.reduceat(live, self.start)
        return Outcome(
            self.nodes,
            self.extra,
            live,
            int(live.max(initial=0)),
            [g for g in self.gaps if steps.nbytes[g[0]]],
            self.returned,
            self.revived,
        )


def _by_step(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """(step, buffer) pairs as the buffers of each step, in their order."""
    found: dict[int, list[int]] = {}
    for s, b in sorted(pairs):
        found.setdefault(s, []).append(b)
    return found
