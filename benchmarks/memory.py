"""Memory of a training step or gradient: predicted, measured, and by other means.

For each model: the plan's predicted peak, what the first run really allocates at
most (tracemalloc; target: within 2 % and 64 KiB) beside the Python objects of the
bound plan, which stay and are shown apart; what a later run allocates (target:
the fetched arrays, and 64 KiB for small objects and ufuncs' own buffers); every
array at once without reuse; the same computation by hand in NumPy; and the live
peak under each order that was tried.  KiB; feeds and variables are not counted.

    python benchmarks/memory.py [mlp|adam|lstm|transformer|convnet|wide ...]
"""

from __future__ import annotations

from _common import Run  # before NumPy: thread counts

# isort: split

import gc
import sys
import tracemalloc

import models
import models_numpy as by_hand
from models import Model
from peers import graph_of

import dagrad as dg

KB = 1024


def traced(run: Run) -> tuple[int, int]:
    """Bytes that a call allocates at most, and those that stay after it."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        run()
        kept, peak = tracemalloc.get_traced_memory()
        return peak, kept
    finally:
        tracemalloc.stop()
        gc.enable()


def measure(model: Model, optimizer: str = "", hand: Run | None = None) -> bool:
    """Print one model's figures; whether both targets are met."""
    session, fetches, inputs = graph_of(dg, model, optimizer)
    feeds = dict(zip(inputs, model.inputs))
    plan = session.plan(fetches, feeds)
    first, kept = traced(lambda: session.run(fetches, feeds))
    for _ in range(3):
        session.run(fetches, feeds)
    later, _ = traced(lambda: session.run(fetches, feeds))
    made = [s for s in plan.slots if s.kind in ("arena", "fetch", "call")]
    total = sum(s.nbytes for s in made)
    objects = kept - plan.arena_bytes
    error = first - objects - plan.peak_bytes
    exact = abs(error) <= 0.02 * plan.peak_bytes + 64 * KB
    steady = later <= plan.fetch_bytes + 64 * KB
    print(f"{model.name} {optimizer}".rstrip() + f", {len(plan.steps)} steps")
    print(f"  predicted peak      {plan.peak_bytes / KB:10.1f}")
    print(
        f"  first run           {(first - objects) / KB:10.1f}  "
        f"off by {error / KB:+.1f} ({error / plan.peak_bytes:+.1%})  "
        f"{'ok' if exact else 'MISSED'}"
    )
    print(
        f"  objects             {objects / KB:10.1f}  "
        f"{objects / len(plan.steps):.0f} bytes a step"
    )
    print(
        f"  later run           {later / KB:10.1f}  of which fetched "
        f"{plan.fetch_bytes / KB:.1f}  {'ok' if steady else 'MISSED'}"
    )
    print(f"  arena               {plan.arena_bytes / KB:10.1f}")
    print(f"  no reuse            {total / KB:10.1f}  x{total / plan.peak_bytes:.2f}")
    if hand is not None:
        hand()
        peak, _ = traced(hand)
        print(f"  by hand in NumPy    {peak / KB:10.1f}  x{peak / plan.peak_bytes:.2f}")
    orders = (f"{k} {v / KB:.1f}" for k, v in sorted(plan.tried.items()))
    print(f"  orders tried        {', '.join(orders)} -> {plan.order}", flush=True)
    return exact and steady


def main() -> int:
    """Measure the models named on the command line, or all."""
    mlp, lstm, block = models.mlp(), models.lstm(), models.block()
    wide = models.wide(10**6)
    cases = {
        "mlp": (mlp, "sgd", by_hand.mlp(mlp, False)),
        "adam": (mlp, "adam", by_hand.mlp(mlp, True)),
        "lstm": (lstm, "", by_hand.lstm(lstm)),
        "transformer": (block, "", by_hand.block(block)),
        "convnet": (models.convnet(), "sgd", None),
        "wide": (wide, "", by_hand.wide(wide)),
    }
    met = [measure(*cases[k]) for k in sys.argv[1:] or cases]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
