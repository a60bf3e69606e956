"""Weigh a chain of masses by watching it: system identification by gradients.

    python examples/simulation.py [--out DIRECTORY] [--quick]

Five masses in a row slide on a rough floor, joined by springs, the first to a wall:

    dx_i/dt = v_i
    m_i dv_i/dt = T_(i+1) - T_i - f_i tanh(v_i / s) + F_i(t),  T_i = k_i (x_i - x_(i-1))

with the displacements x in metres, the masses m in kilograms, the stiffnesses k in
newtons a metre, and dry friction of at most f newtons, made smooth at speeds below
s = 0.05 m/s. Known are the forces F that shake the chain in three experiments, and
the displacements, fifty times a second, with noise of 5 mm. Sought are all masses,
stiffnesses and frictions: fifteen numbers.

The observed motion comes from steps four times finer than the model's, which are
Runge and Kutta's of fourth order. The sum of squares is made small by its gradient
through every step (reverse mode), in the logarithms of the parameters, first over a
short time, as an error in a frequency grows into a wrong period. Then the derivatives
of the whole motion for each parameter (forward mode) give the standard errors that
the noise leaves: s^2 (J^T J)^-1, with the Jacobian J and the noise's variance s^2.

Written is simulation.svg. Exit status 1: a parameter is more than 4 standard errors
from the truth, or a mass, stiffness or friction is off by more than 5 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _draw import BLUE, GREEN, GREY, INK, ORANGE, Drawing

import dagrad as tf

MASSES = 5
RUNS = 3
STEP = 0.02  # seconds
NOISE = 0.005  # metres
SLOW = 0.05  # metres a second
TRUTH = np.array(
    [
        [1.4, 0.7, 1.1, 0.5, 0.9],  # kilograms
        [55.0, 30.0, 42.0, 25.0, 36.0],  # newtons a metre
        [0.50, 0.25, 0.40, 0.30, 0.35],  # newtons
    ]
)
GUESS = np.array([1.0, 40.0, 0.2])[:, None] * np.ones(MASSES)
KINDS = (BLUE, ORANGE, GREEN)
NAMES = ("mass", "stiffness", "friction")
LENGTHS = np.eye(MASSES) - np.eye(MASSES, k=-1)  # of springs, from displacements


# -- the model -----------------------------------------------------------------


def acceleration(parameters: Any, x: Any, v: Any, force: Any) -> Any:
    """dv/dt of all runs (runs, masses)."""
    mass, stiffness, friction = parameters[0], parameters[1], parameters[2]
    springs = (x @ LENGTHS.T * stiffness) @ LENGTHS
    return (force - springs - friction * np.tanh(v / SLOW)) / mass


def step(parameters: Any, state: Any, forces: Any, dt: float) -> Any:
    """One step of Runge and Kutta; the forces are those at 0, dt/2 and dt."""
    x, v = state
    now, middle, after = forces
    a1 = acceleration(parameters, x, v, now)
    v2 = v + 0.5 * dt * a1
    a2 = acceleration(parameters, x + 0.5 * dt * v, v2, middle)
    v3 = v + 0.5 * dt * a2
    a3 = acceleration(parameters, x + 0.5 * dt * v2, v3, middle)
    v4 = v + dt * a3
    a4 = acceleration(parameters, x + dt * v3, v4, after)
    return (
        x + dt / 6.0 * (v + 2.0 * v2 + 2.0 * v3 + v4),
        v + dt / 6.0 * (a1 + 2.0 * a2 + 2.0 * a3 + a4),
    )


def pushes(steps: int, dt: float) -> Any:
    """The forces (steps, 3, runs, masses) at the start, middle and end of each step:
    a rising tone on one mass a run."""
    times = dt * (np.arange(steps)[:, None] + np.array([0.0, 0.5, 1.0]))
    out = np.zeros((steps, 3, RUNS, MASSES))
    for run, (place, size) in enumerate(((4, 4.0), (2, 5.0), (0, 6.0))):
        phase = 2.0 * np.pi * times * (0.3 + (0.10 + 0.03 * run) * times)
        out[:, :, run, place] = size * np.sin(phase)
    return out


def observe(steps: int) -> Any:
    """The displacements (steps, runs, masses) with noise, by finer steps in NumPy."""
    x = v = np.zeros((RUNS, MASSES))
    rows, finer = [], 4
    for i, forces in enumerate(pushes(steps * finer, STEP / finer)):
        x, v = step(TRUTH, (x, v), forces, STEP / finer)
        if i % finer == finer - 1:
            rows.append(x)
    seen = np.array(rows)
    return seen + NOISE * np.random.default_rng(0).normal(size=seen.shape)


def simulate(parameters: Any, steps: int) -> Any:
    """The displacements (steps, runs, masses) that the parameters give."""
    rest = tf.zeros([RUNS, MASSES], tf.float64)

    def next_one(state: Any, forces: Any) -> Any:
        return step(parameters, state, tf.unstack(forces), STEP)

    return tf.scan(next_one, pushes(steps, STEP), (rest, rest))[0]


# -- the fit -------------------------------------------------------------------


class Fit:
    """What was found: motions before and after, the path there, standard errors."""

    before: Any
    after: Any
    path: Any  # (iterations, 3, masses), over the truth
    errors: Any  # (3, masses), relative


def fit(seen: Any, iterations: int) -> Fit:
    """Least squares by gradients, and the standard errors of what it finds."""
    steps = len(seen)
    found = Fit()
    with tf.Graph().as_default() as graph:
        logs = tf.Variable(np.log(GUESS))
        motion = simulate(tf.exp(logs), steps)
        used = tf.placeholder(tf.float64, [steps, 1, 1], name="used")
        squares = tf.square((motion - tf.constant(seen)) / NOISE)
        loss = tf.reduce_sum(squares * used) / tf.reduce_sum(used) / (RUNS * MASSES)
        count = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(0.06, count, iterations)
        train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=count)
        towards = tf.placeholder(tf.float64, GUESS.shape, name="towards")
        (tangent,) = tf.jvp([motion], [logs.value()], [towards])
        print(f"{steps} steps are {len(graph):,} operations with both derivatives")
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            found.before = session.run(motion)
            path = []
            for i in range(iterations):
                share = min(1.0, 0.15 + 1.2 * i / iterations)
                early = (np.arange(steps) < share * steps)[:, None, None] * 1.0
                at, value, _ = session.run([logs.value(), loss, train], {used: early})
                path.append(np.exp(at) / TRUTH)
                if i % 20 == 0:
                    print(f"{i:4d}  mean square over the noise's {value:8.4f}")
            at, found.after = session.run([logs, motion])
            value = np.mean(np.square((found.after - seen) / NOISE))
            print(f"{iterations:4d}  mean square over the noise's {value:8.4f}")
            path.append(np.exp(at) / TRUTH)
            found.path = np.array(path)
            along = session.make_callable(tangent, [towards])
            columns = [
                along(unit.reshape(GUESS.shape)).ravel() for unit in np.eye(GUESS.size)
            ]
    jacobian = np.array(columns).T / NOISE
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    found.errors = np.sqrt(np.diag(covariance)).reshape(GUESS.shape)
    return found


# -- the picture ---------------------------------------------------------------


def draw(path: Path, seen: Any, found: Fit) -> None:
    """The motion, the way of the parameters, and their errors."""
    page = Drawing(
        1180,
        745,
        "Masses, springs and friction found from a noisy motion",
        f"{MASSES} masses in a row; gradients through {len(seen)} steps of an "
        f"integrator; noise of {1000 * NOISE:g} mm",
    )
    times = STEP * np.arange(1, len(seen) + 1)
    for k, (run, mass) in enumerate(((0, 4), (1, 1))):
        data, before, after = (
            1000.0 * a[:, run, mass] for a in (seen, found.before, found.after)
        )
        most = 1.1 * max(np.max(np.abs(data)), np.max(np.abs(before)))
        panel = page.panel(
            (76 + 572 * k, 96, 480, 235),
            (0, times[-1]),
            (-most, 1.35 * most),
            f"Experiment {run + 1}, mass {mass + 1}",
            ("time, s", "displacement, mm" if k == 0 else ""),
        )
        panel.dots(times, data, INK, "observed", radius=1.5)
        panel.line(times, before, GREY, "first guess", dash="5 4")
        panel.line(times, after, ORANGE, "fitted")
        panel.legend(right=False, row=True)

    count = len(found.path) - 1
    panel = page.panel(
        (76, 430, 480, 250),
        (0, count),
        (0.2, 2.2),
        "The way there",
        ("iteration", "estimate over truth"),
    )
    for k, colour in enumerate(KINDS):
        for i in range(MASSES):
            label = NAMES[k] if i == 0 else ""
            panel.line(range(count + 1), found.path[:, k, i], colour, label, 1.4)
    panel.legend()

    off = 100.0 * (found.path[-1] - 1.0)
    bars = 100.0 * found.errors
    most = 1.25 * np.max(np.abs(off) + 2.0 * bars)
    panel = page.panel(
        (648, 430, 480, 250),
        (0.4, 3 * MASSES + 1.6),
        (-most, 1.4 * most),
        "What the noise leaves: two standard errors each way",
        ("", "deviation, per cent"),
        marks=(0, 6),
    )
    panel.line([0, 99], [0, 0], GREY, width=1.0)
    for k, colour in enumerate(KINDS):
        places = 1.0 + k * (MASSES + 0.5) + np.arange(MASSES)
        for place, a, e in zip(places, off[k], 2.0 * bars[k]):
            panel.line([place, place], [a - e, a + e], colour, width=2.0)
            for end in (a - e, a + e):
                panel.line([place - 0.15, place + 0.15], [end, end], colour, width=2.0)
        for i, place in enumerate(places):
            u, _ = panel.at(place, 0)
            panel.below(u, f"{NAMES[k][0]}{i + 1}")
        panel.dots(places, off[k], colour, NAMES[k], radius=3.5)
    panel.legend(right=False, row=True)
    page.save(path)


def main() -> int:
    """Observe, fit, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="a shorter motion")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    steps, iterations = (150, 120) if options.quick else (400, 240)

    seen = observe(steps)
    found = fit(seen, iterations)
    off = found.path[-1] - 1.0
    print("\nparameter     truth   found  standard error")
    for k, name in enumerate(NAMES):
        for i in range(MASSES):
            true, error = TRUTH[k, i], TRUTH[k, i] * found.errors[k, i]
            value = true * (1.0 + off[k, i])
            print(f"{name:>9} {i + 1}  {true:7.3f} {value:7.3f}  {error:7.3f}")
    draw(options.out / "simulation.svg", seen, found)
    print(f"\nsimulation.svg is in {options.out.resolve()}")
    far = float(np.max(np.abs(off) / found.errors))
    worst = float(np.max(np.abs(off)))
    print(f"largest deviation {100 * worst:.2f} %, {far:.1f} standard errors")
    return 0 if far < 4.0 and worst < (0.15 if options.quick else 0.05) else 1


if __name__ == "__main__":
    sys.exit(main())
