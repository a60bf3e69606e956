"""Training steps and gradients of three networks and of an elementwise program.

Each is measured on dagrad, by hand in NumPy, and on every peer that is
installed, in turn in one process, after the numbers of all sides were found to
agree.  Ratios are to dagrad; above 1: slower than dagrad.  The target: NumPy by
hand at least 0.91 (at most 10 % faster), and above 1 where allocation dominates.

    python benchmarks/training.py [mlp|lstm|transformer|wide|PEER ...]
"""

from __future__ import annotations

from _common import Run, compare  # before NumPy: thread counts

# isort: split

import signal
import sys
import time
from typing import Any

import models
import models_numpy as by_hand
import numpy as np
from models import Model
from peers import PEERS, Peer, available

CASES = ("mlp", "lstm", "transformer", "wide")
TARGET = "numpy >= 0.91"
PATIENCE = 60  # seconds that a peer may take to compile


class TooSlow(Exception):
    """A peer compiles for longer than PATIENCE."""


def agree(name: str, ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare loss and gradients, each on the scale of its largest element."""
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        error = np.max(np.abs(a - b)) / max(float(np.max(np.abs(a))), 1e-30)
        if not error <= tolerance:
            raise AssertionError(f"{name} differs from dagrad by {error:.2g}")


def ready(peer: Peer, make: Any) -> Run | None:
    """Build and run once, unless that takes longer than PATIENCE."""

    def stop(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    start = time.perf_counter()
    try:
        run: Run = make()
    except TooSlow:
        print(f"  {peer.module}: not ready after {PATIENCE} s, left out")
        return None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    taken = time.perf_counter() - start
    if taken > 1:
        print(f"  {peer.module}: {taken:.1f} s to build and compile")
    return run


def gradients(model: Model, hand: Run, peers: list[Peer], target: str) -> None:
    """Measure loss and gradients."""
    sides: dict[str, Run] = {}
    for peer in peers:
        run = ready(peer, lambda peer=peer: peer.gradients(model))
        if run is None:
            continue
        sides[peer.module] = run
        if len(sides) > 1:
            agree(peer.module, sides["dagrad"](), run(), 2e-3)
        else:
            agree("numpy", run(), hand(), 2e-3)
            sides["numpy"] = hand
    compare(f"{model.name}: loss and gradients", sides, target)


def training(model: Model, hands: dict[str, Run], peers: list[Peer], kind: str) -> None:
    """Measure training steps; the losses of the first four must agree."""
    sides: dict[str, Run] = {}
    for peer in peers:
        run = ready(peer, lambda peer=peer: peer.training(model, kind))
        if run is not None:
            sides[peer.module] = run
    sides = {"dagrad": sides.pop("dagrad"), **hands, **sides}
    losses = {name: [float(run()) for _ in range(4)] for name, run in sides.items()}
    for name, values in losses.items():
        agree(name, losses["dagrad"], values, 1e-3)
    compare(f"{model.name}, {kind}", sides, TARGET)


def main() -> None:
    """Run the cases and peers named on the command line, or all."""
    cases = [a for a in sys.argv[1:] if a in CASES] or CASES
    peers = available([a for a in sys.argv[1:] if a in PEERS])
    if "mlp" in cases:
        model = models.mlp()
        sgd = {
            "numpy": by_hand.mlp(model, False),
            "numpy, out=": by_hand.mlp_out(model),
        }
        training(model, sgd, peers, "sgd")
        training(model, {"numpy": by_hand.mlp(model, True)}, peers, "adam")
    if "lstm" in cases:
        model = models.lstm()
        gradients(model, by_hand.lstm(model), peers, TARGET)
    if "transformer" in cases:
        model = models.block()
        gradients(model, by_hand.block(model), peers, TARGET)
    if "wide" in cases:
        for n in (10**6, 10**7):
            model = models.wide(n)
            gradients(model, by_hand.wide(model), peers, "numpy > 1")


if __name__ == "__main__":
    main()
