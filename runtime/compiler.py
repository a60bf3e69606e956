"""From operations to a plan: what is needed, rewritten, ordered and laid out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..graphlib.operation import Operation
from ..graphlib.pauses import collector_paused
from ..graphlib.shapes import Dims
from ..graphlib.tensor import Tensor
from .donation import in_place
from .fusion import fuse
from .hazards import no_order, order_accesses
from .layout import Layout
from .plan import Plan
from .program import build
from .rewrites import rewrite
from .schedule import CycleError, Order, Problem, order
from .settings import Settings

if TYPE_CHECKING:
    from ..graphlib.recomputation import Wish
    from .within_limit import Segments

__all__ = ["compile_plan", "passes_of"]


def _fuses(settings: Settings) -> bool:
    """Whether elementwise operations are fused: threads share tiles of one operation,
    or native code, but not tiles of several."""
    from .native import available

    threads = settings.intra > 1 or settings.inter > 1
    return not threads or (settings.native != "off" and available())


def passes_of(settings: Settings) -> tuple[str, ...]:
    """The rewrites of a plan.

    Sums that loops add up are taken out of them where native code rounds elsewhere too
    and no limit counts the stacks: so results without it are the same to the bit
    whatever is computed again, or kept in segments.
    """
    from .native import available

    if settings.memory_limit is None and settings.native != "off" and available():
        return settings.rewrites
    return tuple(p for p in settings.rewrites if p != "totals")


@collector_paused()
def compile_plan(
    operations: Sequence[Operation],
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Sequence[Tensor],
    feed_dims: Sequence[Dims],
    whole: bool = False,
    donated: Sequence[tuple[int, int]] = (),
    feed_values: Mapping[int, Any] | None = None,
    *,
    settings: Settings,
) -> Plan:
    """The plan of a run: needed operations, fetches, feeds and their shapes.

    With ``whole`` fetched scalars are arrays too, for a loop to write into.
    ``donated`` are (feed, fetch) pairs whose memory may be one, ``feed_values`` what
    is known of feeds by their position.

    Raises:
        InvalidArgumentError: the shapes of the feeds do not fit an operation, or
            bodies each read what the other writes.
        ResourceExhaustedError: the memory limit cannot be met.
    """
    started = time.perf_counter()
    limit = settings.memory_limit
    wishes: Sequence[Wish] = ()
    if operations and operations[-1].graph.wishes:
        from .wishes import follow_wishes, wishes_for

        wishes = wishes_for(operations)
    whole_tapes: Segments | None = None
    if limit is not None:
        from .within_limit import Segments, within

        whole_tapes = Segments({})

    def prepare(
        cautious: bool, fused: bool, segments: Segments | None
    ) -> tuple[Layout, Problem, Order]:
        program = build(operations, fetches, targets, feeds, feed_dims, feed_values)
        rewrite(program, passes_of(settings))
        if fused:
            program.log.append(("fuse", fuse(program, settings.native)))
        if segments is not None:
            segments.put(program)
        accesses = order_accesses(program, cautious)
        same = in_place(program, donated)
        layout = Layout(program, accesses, whole, same, settings)
        problem = layout.problem()
        try:
            run = layout, problem, order(problem)
            return follow_wishes(*run, wishes) if wishes else run
        except CycleError:
            error = no_order(program) if cautious else None
            if error is None:
                raise
            raise error from None

    # Precise edges between reads and writes of several variables can form a cycle,
    # the more so through fused nodes; in the end snapshots take their place.
    attempts = [(False, False), (True, False)]
    if settings.fuse and _fuses(settings):
        attempts.insert(0, (False, True))
    for cautious, fused in attempts:
        run_for = partial(prepare, cautious, fused)
        try:
            layout, problem, best = run_for(whole_tapes)
            break
        except CycleError:
            if cautious:
                raise
    plan = layout.plan(problem, best, time.perf_counter() - started)
    if limit is None or whole_tapes is None:
        return plan
    from .recomputed import taken

    if taken(plan) <= limit:
        return plan
    run = layout, problem, best
    layout, problem, best = within(run_for, run, plan, whole_tapes.found, limit)
    return layout.plan(problem, best, time.perf_counter() - started)
