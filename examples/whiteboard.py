"""The whiteboard of a lecture on automatic differentiation, computed and drawn.

    python examples/whiteboard.py [--out DIRECTORY] [--quick]

A function of two numbers in six lines, of which the last shares sin(x1),

    v1 = x1,  v2 = x2,  v3 = v1 v2,  v4 = sin v1,  v5 = v3 + v4,  v6 = v5 v4,

in both modes, line by line, by ``viz.trace``: forward, each value with its tangent (the
derivative along a direction of x1, x2), reverse, each adjoint (the derivative of v6 for
a line) with the contribution of each child. Then what the engine makes of it: the steps
of both plans for arrays of 2**17 points, 1 MiB each, and the temporaries that are dead
after each.
Last, the peak of a chain of n sines in both modes: going forward it is that of a few
arrays for any n, in reverse the n operands must wait for their adjoints, unless a loop
keeps only every sqrt(n)-th.

Written is whiteboard.svg. Exit status 1: sums along the edges are not the engine's
derivatives, or the peaks are not what is said here.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _draw import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, Drawing, Panel

import dagrad as tf
from dagrad.viz.sheet import stack

POINT = (2.0, 3.0)
DIRECTION = (1.0, 0.0)
POINTS = 2**17  # float64: a MiB
# Operations are shown one by one: no pass joins several into one step.
CHOSEN = ["fold", "identity", "common", "dead"]
LENGTHS = (10, 100, 1000)

LAST = 5
DOT, BAR = "\u0307", "\u0304"


def symbol(i: int, mark: str = "") -> str:
    """v with a mark over it and a number below."""
    return f"v{mark}{'₁₂₃₄₅₆'[i]}"


@dataclass
class Step:
    """What a plan makes in a step, and the temporaries that are dead after it."""

    makes: str
    kind: str  # "value", "tangent", "adjoint", "temporary"
    last: int
    fetched: bool
    dead: list[str]


class Board:
    """Everything that is written on the board."""

    trace: Any  # values, tangents, adjoints and what flows along the edges
    forward: list[Step]
    reverse: list[Step]
    bytes: tuple[int, int]  # of both plans, at the peak


# -- both modes ----------------------------------------------------------------


def lines(shape: list[int]) -> list[Any]:
    """The six lines, for numbers of that shape."""
    x = [tf.placeholder(tf.float64, shape, name=f"x{i}") for i in (1, 2)]
    v = [*x, x[0] * x[1], tf.sin(x[0])]
    v.append(v[2] + v[3])
    v.append(tf.multiply(v[4], v[3], name="y"))
    return v


def work() -> Board:
    """Values, tangents, adjoints and plans, as the engine gives them."""
    board = Board()
    with tf.Graph().as_default():
        v = lines([])
        board.trace = tf.viz.trace(v[LAST], dict(zip(v, POINT)), direction=DIRECTION)
    with tf.Graph().as_default(), tf.Session(rewrites=CHOSEN) as session:
        v = lines([POINTS])
        t = [tf.placeholder(tf.float64, [POINTS], name=f"t{i}") for i in (1, 2)]
        tangents = [*t, *tf.jvp(v[2:], v[:2], t)]
        adjoints = tf.gradients(v[LAST], v)
        numbers = zip([*v[:2], *t], [*POINT, *DIRECTION])
        feeds = {a: np.full(POINTS, b) for a, b in numbers}

        known = {a: (symbol(i), "value") for i, a in enumerate(v)}
        known.update((a, (symbol(i, DOT), "tangent")) for i, a in enumerate(tangents))
        # A sum hands its adjoint on as it is: one tensor, here named by its child.
        known.update((a, (symbol(i, BAR), "adjoint")) for i, a in enumerate(adjoints))
        forward = session.plan([v[LAST], tangents[LAST]], feeds)
        reverse = session.plan([v[LAST], *adjoints[:2]], feeds)
        board.forward, board.reverse = steps(forward, known), steps(reverse, known)
        board.bytes = forward.peak_bytes, reverse.peak_bytes
    return board


FORMS = {"Mul": "{} {}", "Add": "{} + {}", "AddN": "{} + {}", "Cos": "cos {}"}


def steps(plan: Any, known: dict[Any, tuple[str, str]]) -> list[Step]:
    """The steps of a plan in the letters of the board."""
    names = {
        i: known.get(slot.tensor, (slot.name, "feed"))[0]
        for i, slot in enumerate(plan.slots)
    }
    out = []
    for k, step in enumerate(plan.steps):
        (made,) = step.outputs
        slot = plan.slots[made]
        name, kind = known.get(slot.tensor, ("", "temporary"))
        inputs = [names[i] for i in step.inputs]
        form = FORMS.get(step.opdef.type)
        names[made] = name or (form.format(*inputs) if form else step.opdef.type)
        dead = [
            names[i]
            for i, other in enumerate(plan.slots)
            if other.kind == "arena" and other.last == k
        ]
        out.append(Step(names[made], kind, slot.last, slot.kind == "fetch", dead))
    return out


def sums(board: Board) -> float:
    """The largest error of sums of what flows along the edges."""
    trace = board.trace
    errors = []
    for n, line in enumerate(trace.lines):
        if line.terms:
            errors.append(line.tangent - sum(term.tangent for term in line.terms))
        back = [
            term.adjoint
            for child in trace.lines
            for term in child.terms
            if term.parent == n
        ]
        if back:
            errors.append(line.adjoint - sum(back))
    return max(abs(float(e)) for e in errors)


def tell(board: Board) -> None:
    """Both modes and both plans as text."""
    print(board.trace)
    plans = ("forward", board.forward), ("reverse", board.reverse)
    for (name, plan), most in zip(plans, board.bytes):
        print(f"\nthe plan, {name}: {most // 2**20} MiB at the peak")
        for k, step in enumerate(plan):
            dead = f"then dead: {', '.join(step.dead)}" if step.dead else ""
            print(f"  {k:2d}  {step.makes:<16} {dead}")


# -- what a chain costs --------------------------------------------------------


def peaks(length: int) -> tuple[int, int, int]:
    """Peak bytes for a chain of sines: forward, reverse, and with checkpoints."""
    with tf.Graph().as_default(), tf.Session(rewrites=CHOSEN) as session:
        x = tf.placeholder(tf.float64, [POINTS])
        t = tf.placeholder(tf.float64, [POINTS])
        y = x
        for _ in range(length):
            y = tf.sin(y)
        looped = tf.foldl(
            lambda a, _: tf.sin(a),
            tf.zeros([length]),
            x,
            checkpoint_every=math.isqrt(length),
        )
        feeds = {x: np.empty(POINTS), t: np.empty(POINTS)}
        fetches = tf.jvp([y], [x], [t]), tf.gradients(y, x), tf.gradients(looped, x)
        forward, reverse, checkpoints = (
            session.plan(f, feeds).peak_bytes for f in fetches
        )
    return forward, reverse, checkpoints


# -- the picture ---------------------------------------------------------------

KINDS = {"value": BLUE, "tangent": ORANGE, "adjoint": GREEN, "temporary": "#9ca3af"}


def lives(page: Drawing, box: Any, plan: list[Step], title: str) -> Panel:
    """From which step to which each result of a plan is alive."""
    panel = page.panel(
        box,
        (-0.5, len(plan) - 0.5),
        (len(plan) - 0.4, -0.6),
        title,
        ("step", ""),
        (7, 0),
    )
    for k, step in enumerate(plan):
        colour = KINDS[step.kind]
        panel.line([k - 0.3, step.last + 0.3], [k, k], colour, width=9.0, fade=0.9)
        if step.fetched:
            panel.dots([len(plan) - 1], [k], "#ffffff", radius=2.2)
        u, v = panel.at(-0.5, k)
        panel.words(u - 8, v + 4, step.makes, GREY if step.kind == "temporary" else INK)
    return panel


def draw(path: Path, board: Board, lengths: list[int], memory: list[Any]) -> None:
    """Both modes, both plans, and the peaks of chains."""
    both = tf.viz.render(
        board.trace, title="y = (x₁ x₂ + sin x₁) sin x₁ in both modes", steps=False
    )
    page = Drawing(
        1180, 410, "In arrays of 1 MiB", "What both plans keep, and for how long"
    )
    for k, (name, plan, most) in enumerate(
        zip(("Forward", "Reverse"), (board.forward, board.reverse), board.bytes)
    ):
        title = f"{name} plan, {most // 2**20} MiB: who lives when"
        panel = lives(page, (112 + 380 * k, 98, 262, 226), plan, title)
    panel.note(
        -19.5,
        len(board.reverse) + 2.9,
        "Blue: values; orange: tangents; green: adjoints; grey: what they are made of. "
        "A white dot: handed to the caller. Each is an array of 1 MiB.",
        GREY,
    )
    panel = page.panel(
        (872, 98, 284, 226),
        (1.0, 3.05),
        (0.0, 3.35),
        "Peak of a chain of n sines",
        ("n", "arrays alive"),
        marks=(0, 0),
    )
    for power in (1, 2, 3):
        panel.line([power, power], [0, 9], PALE, width=1.0)
        u, _ = panel.at(power, 0)
        panel.below(u, str(10**power))
    for power in (0, 1, 2, 3):
        panel.line([0, 9], [power, power], PALE, width=1.0)
        u, v = panel.at(1.0, power)
        panel.words(u - 8, v + 4, str(10**power), GREY)
    kinds = ("forward", ORANGE), ("reverse", GREEN), ("reverse, checkpoints", PURPLE)
    sizes = np.array(memory) / (8.0 * POINTS)
    for (label, colour), row in zip(kinds, sizes.T):
        panel.line(np.log10(lengths), np.log10(row), colour, label, width=2.2)
        panel.dots(np.log10(lengths), np.log10(row), colour, radius=3.0)
    panel.legend(right=False)
    sheet = stack([[both], [page.text()]], title="On the whiteboard")
    path.write_text(sheet, encoding="utf-8")


def main() -> int:
    """Compute, tell, draw, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="fewer lengths of chains")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    board = work()
    tell(board)
    between = () if options.quick else (18, 32, 56, 178, 316, 562)
    lengths = sorted({*LENGTHS, *between})
    memory = [peaks(n) for n in lengths]
    print("\na chain of n sines: peak in arrays")
    print("     n  forward  reverse  reverse with checkpoints")
    for n, row in zip(lengths, memory):
        if n in LENGTHS:
            arrays = [m / (8 * POINTS) for m in row]
            print("{:6d}  {:7.0f}  {:7.0f}  {:7.0f}".format(n, *arrays))
    draw(options.out / "whiteboard.svg", board, lengths, memory)
    print(f"\nwhiteboard.svg is in {options.out.resolve()}")
    forward, reverse, checkpoints = np.array(memory).T / (8 * POINTS)
    right = (
        sums(board) < 1e-12
        and np.ptp(forward) == 0
        and bool(np.all(reverse >= lengths))
        and bool(np.all(checkpoints <= 2.0 * np.sqrt(lengths) + 10.0))
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
