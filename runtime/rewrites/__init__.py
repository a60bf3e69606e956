"""Rewrites of a program before it is planned: one pass a file.

A pass takes a Program and changes it.  Each file says what the pass needs and what it
keeps: results to the bit, but for those that come nearer to the true value ("stable",
sums of copies in "broadcasts") or round elsewhere within a bound ("chains", "parts",
"totals").
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from ..program import Program

__all__ = ["PASSES", "rewrite"]

#: The passes in the order in which they run: file and function, which load when a
#: program needs them.
PASSES = {
    "fold": ("fold", "fold_constants"),
    "identity": ("identity", "remove_identities"),
    "common": ("common", "merge_common"),
    "bodies": ("bodies", "merge_bodies"),
    # Before loops, where the counters that nobody reads any more go.
    "counters": ("counters", "count_loops"),
    "loops": ("loops", "simplify_loops"),
    "totals": ("totals", "sum_after_loops"),
    # Before algebra, which may hide what a derivative rule has written.
    "stable": ("stable", "stabilize"),
    "algebra": ("algebra", "simplify"),
    "joins": ("joins", "cut_joins"),
    "parts": ("parts", "cut_products"),
    "views": ("views", "merge_views"),
    "broadcasts": ("broadcasts", "sink_broadcasts"),
    "chains": ("chains", "order_chains"),
    "dead": ("dead", "remove_dead"),
    "splits": ("splits", "view_splits"),
    "sums": ("sums", "split_sums"),
    "dense": ("dense", "plan_copies"),
}

#: Those that look at control operations alone.
_OF_CONTROL = ("bodies", "counters", "loops", "totals")


def rewrite(program: Program, passes: Collection[str] = tuple(PASSES)) -> None:
    """Run ``passes`` over ``program``, noting what each one did.

    What a program needs to be right is done whatever is chosen: a loop, branch or
    call with an effect that is there twice, bare and with what its derivative
    needs, runs once.
    """
    control = any(n.opdef.control is not None for n in program.nodes)
    for name, (file, function) in PASSES.items():
        before = program.nodes
        program.notes.begin(name)
        chosen = name in passes
        if not chosen and name != "bodies":
            continue
        count = 0
        if control or name not in _OF_CONTROL:
            run = getattr(import_module(f".{file}", __name__), function)
            count = run(program) if chosen else run(program, effects_only=True)
        if not chosen and not count:
            continue
        program.log.append((name, count))
        if count and program.nodes is not before and not program.notes.of(name):
            left = set(program.nodes)
            program.notes.removed(n.op for n in before if n not in left)
