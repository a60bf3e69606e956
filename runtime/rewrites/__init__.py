"""Rewrites of a program before it is planned: one pass a file.

A pass takes a Program and changes it; results do not change, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable

from ..program import Program
from .bodies import merge_bodies
from .common import merge_common
from .dead import remove_dead
from .dense import plan_copies
from .fold import fold_constants
from .identity import remove_identities
from .sums import split_sums

__all__ = ["PASSES", "rewrite"]

#: The passes in the order in which they run.
PASSES: dict[str, Callable[[Program], int]] = {
    "fold": fold_constants,
    "identity": remove_identities,
    "common": merge_common,
    "bodies": merge_bodies,
    "dead": remove_dead,
    "sums": split_sums,
    "dense": plan_copies,
}


def rewrite(program: Program, passes: tuple[str, ...] = tuple(PASSES)) -> None:
    """Run ``passes`` over ``program``, noting in its log what each one did."""
    for name in passes:
        program.log.append((name, PASSES[name](program)))
