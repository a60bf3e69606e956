"""Rewrites of a program before it is planned: one pass a file.

A pass takes a Program and changes it.  Each file says what the pass needs and what it
keeps: results to the bit, but for those that come nearer to the true value ("stable",
sums of copies in "broadcasts") or round elsewhere within a bound ("chains", "parts",
"totals").
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..program import Program
from .algebra import simplify
from .bodies import merge_bodies
from .broadcasts import sink_broadcasts
from .chains import order_chains
from .common import merge_common
from .counters import count_loops
from .dead import remove_dead
from .dense import plan_copies
from .fold import fold_constants
from .identity import remove_identities
from .joins import cut_joins
from .loops import simplify_loops
from .parts import cut_products
from .splits import view_splits
from .stable import stabilize
from .sums import split_sums
from .totals import sum_after_loops
from .views import merge_views

__all__ = ["PASSES", "rewrite"]

#: The passes in the order in which they run.
PASSES: dict[str, Callable[[Program], int]] = {
    "fold": fold_constants,
    "identity": remove_identities,
    "common": merge_common,
    "bodies": merge_bodies,
    # Before loops, where the counters that nobody reads any more go.
    "counters": count_loops,
    "loops": simplify_loops,
    "totals": sum_after_loops,
    # Before algebra, which may hide what a derivative rule has written.
    "stable": stabilize,
    "algebra": simplify,
    "joins": cut_joins,
    "parts": cut_products,
    "views": merge_views,
    "broadcasts": sink_broadcasts,
    "chains": order_chains,
    "dead": remove_dead,
    "splits": view_splits,
    "sums": split_sums,
    "dense": plan_copies,
}


def rewrite(program: Program, passes: Collection[str] = tuple(PASSES)) -> None:
    """Run ``passes`` over ``program``, noting what each one did.

    What a program needs to be right is done whatever is chosen: a loop, branch or
    call with an effect that is there twice, bare and with what its derivative
    needs, runs once.
    """
    for name, run in PASSES.items():
        before = program.nodes
        program.notes.begin(name)
        if name in passes:
            count = run(program)
        elif name == "bodies":
            count = merge_bodies(program, effects_only=True)
            if not count:
                continue
        else:
            continue
        program.log.append((name, count))
        if count and program.nodes is not before and not program.notes.of(name):
            left = set(program.nodes)
            program.notes.removed(n.op for n in before if n not in left)
