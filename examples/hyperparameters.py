"""Hyperparameters found by gradients: through a whole training run, and at its optimum.

    python examples/hyperparameters.py [--out DIRECTORY] [--quick]

The loss on held-out digits is a function of how one trains, so it has a gradient for
that. Two ways, on few of the 1797 digits that come with scikit-learn:

Unrolled. A network of 64, 24 and 10 units is trained by gradient descent with momentum,

    u_t = m u_(t-1) - r_t (dL/dw + s w),    w_t = w_(t-1) + u_t,

a loop in the graph, and reverse mode goes back through all its steps (each of which has
a gradient in it): one pass gives the derivatives of the validation loss for the rate
r_t of every step, the momentum m and the strength s of each layer. The loop keeps
every k-th state only. Adam follows these hypergradients; a grid of constant rates,
momenta and strengths stands beside them.

Implicit. Softmax regression with a strength of its own for each pixel, exp(h_i), has
one optimum w(h), where the gradient of the training loss is 0, g(w, h) = 0. Half of the
pixels are noise. The optimum is found by SciPy, outside of the graph; its derivative
needs no training run: with H the Hessian and q = H^-1 dV/dw, found by conjugate
gradients from products H v, the validation loss has the gradient -(dg/dh)^T q, whatever
led to w (custom_root). The best single strength of a grid stands beside it.

Both hypergradients are compared with central differences of whole trainings. Written
is hyperparameters.svg. Exit status 1: a hypergradient is wrong, or the found
hyperparameters are no better on the validation digits than those of the grid, or worse
on the test digits than those one started from.

Reference: Maclaurin, Duvenaud and Adams, Gradient-based hyperparameter optimization
through reversible learning (2015); Bengio, Gradient-based optimization of
hyperparameters (2000).
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _draw import BLUE, GREEN, GREY, ORANGE, SEQUENTIAL, Drawing, colours
from sklearn.datasets import load_digits

import dagrad as tf
from dagrad.optimize import minimize

CLASSES, PIXELS, HIDDEN = 10, 64, 24
WEAKEST = 1e-5  # strength
SEED = 3


@dataclass
class Setting:
    """Digits to train on, steps of a training, iterations of both ways."""

    digits: int
    steps: int
    unrolled: int
    implicit: int
    singles: int  # strengths of the second way's grid
    grid: tuple[tuple[float, ...], ...]  # rates, momenta, strengths


RATES, MOMENTA = (0.03, 0.1, 0.3, 1.0), (0.0, 0.5, 0.9)
FULL = Setting(300, 30, 200, 40, 13, (RATES, MOMENTA, (1e-4, 1e-3, 1e-2)))
QUICK = Setting(100, 15, 40, 10, 5, (RATES[1:], MOMENTA[1:], (1e-3,)))
START = (0.05, 0.5, 1e-3)  # rate, momentum, strength


@dataclass
class Data:
    """Images (n, 64) and labels (n,) to train on, to validate and to test."""

    train: tuple[Any, Any]
    valid: tuple[Any, Any]
    test: tuple[Any, Any]


def load(count: int) -> Data:
    """``count`` digits to train on, three times as many to validate, the others."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    parts = np.split(order, [count, 4 * count])
    return Data(*((images[p] / 16.0, labels[p].astype(np.int32)) for p in parts))


def mean_loss(logits: Any, labels: Any) -> Any:
    """The mean cross entropy."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


# -- through the run -----------------------------------------------------------


def network(weights: Any, images: Any) -> Any:
    """The logits of a layer of tanh and a linear one."""
    w1, b1, w2, b2 = weights
    return tf.tanh(tf.matmul(images, w1) + b1) @ w2 + b2


def first_weights() -> list[Any]:
    """Where each training starts."""
    rng = np.random.default_rng(SEED)
    kernels = [(PIXELS, HIDDEN), (HIDDEN, CLASSES)]
    pairs = [(rng.normal(size=k) / math.sqrt(k[0]), np.zeros(k[1])) for k in kernels]
    return [tf.constant(a) for pair in pairs for a in pair]


class Recipe:
    """The hyperparameters of a training as variables without bounds."""

    def __init__(self, steps: int) -> None:
        self.rates = tf.Variable(np.zeros(steps))
        self.momentum = tf.Variable(np.float64(0.0))
        self.strengths = tf.Variable(np.zeros(2))
        self.all = [self.rates, self.momentum, self.strengths]
        self.steps = steps

    def values(self) -> list[Any]:
        """Rates (steps,), momentum, strengths (2,)."""
        return [tf.exp(self.rates), tf.sigmoid(self.momentum), tf.exp(self.strengths)]

    def load(self, session: Any, rate: float, momentum: float, strength: float) -> None:
        """Set a constant rate, the momentum, and one strength."""
        logit = math.log((momentum + 1e-3) / (1.0 - momentum))
        self.rates.load(np.full(self.steps, math.log(rate)), session)
        self.momentum.load(np.float64(logit), session)
        self.strengths.load(np.full(2, math.log(strength)), session)


def step(recipe: list[Any], data: Data) -> Any:
    """One step of a training as a function of its state and the step's rate."""
    _, momentum, strengths = recipe
    decay = [strengths[0], 0.0, strengths[1], 0.0]

    def next_one(state: Any, rate: Any) -> Any:
        weights, speeds = state
        loss = mean_loss(network(weights, data.train[0]), data.train[1])
        slopes = tf.gradients(loss, list(weights))
        speeds = tuple(
            momentum * u - rate * (g + s * w)
            for u, g, s, w in zip(speeds, slopes, decay, weights)
        )
        return tuple(w + u for w, u in zip(weights, speeds)), speeds

    return next_one


class Unrolled:
    """What the first way found."""

    error: float  # of the hypergradient along a direction, relative
    losses: list[float]  # of validation, one per iteration
    curves: list[Any]  # of validation along the run, before and after
    recipes: list[Any]  # rates, momentum, strengths, before and after
    tests: list[float]  # losses on the test digits, before and after
    accuracies: list[float]
    grid: float  # the best of the grid


def unrolled(data: Data, setting: Setting) -> Unrolled:
    """Follow the hypergradients of a training run."""
    found, rng = Unrolled(), np.random.default_rng(SEED)
    every = math.isqrt(setting.steps)
    with tf.Graph().as_default() as graph:
        recipe = Recipe(setting.steps)
        values = recipe.values()
        weights = tuple(first_weights())
        state = weights, tuple(tf.zeros_like(w) for w in weights)
        once = step(values, data)
        trained, _ = tf.foldl(once, values[0], state, checkpoint_every=every)
        valid = mean_loss(network(trained, data.valid[0]), data.valid[1])
        logits = network(trained, data.test[0])
        test = mean_loss(logits, data.test[1])
        hits = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), data.test[1])
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float64))
        along, _ = tf.scan(once, values[0], state)
        curve = tf.map_fn(
            lambda w: mean_loss(network(w, data.valid[0]), data.valid[1]),
            along,
            dtype=tf.float64,
        )
        optimizer = tf.train.AdamOptimizer(0.04)
        pairs = optimizer.compute_gradients(valid, recipe.all)
        improve = optimizer.apply_gradients(pairs)
        slopes = [g for g, _ in pairs]
        print(
            f"unrolled: {setting.steps} steps, {len(graph):,} operations in the graph"
        )
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            recipe.load(session, *START)
            found.error = compare(
                session, lambda: float(session.run(valid)), recipe.all, slopes, rng
            )
            found.grid = math.inf
            for point in itertools.product(*setting.grid):
                recipe.load(session, *point)
                found.grid = min(found.grid, float(session.run(valid)))
            recipe.load(session, *START)
            report = [curve, values, test, accuracy]
            reports = [session.run(report)]
            found.losses = []
            for i in range(setting.unrolled):
                found.losses.append(float(session.run([valid, improve])[0]))
                if i % 10 == 0:
                    print(f"{i:4d}  validation loss {found.losses[-1]:.4f}", flush=True)
            found.losses.append(float(session.run(valid)))
            reports.append(session.run(report))
    found.curves, found.recipes, found.tests, found.accuracies = (
        list(part) for part in zip(*reports)
    )
    return found


def compare(
    session: Any,
    value: Callable[[], float],
    variables: list[Any],
    slopes: list[Any],
    rng: Any,
) -> float:
    """The relative error of a gradient of ``value()`` along a random direction."""
    at = session.run(variables)
    towards = [rng.normal(size=np.shape(a)) for a in at]
    exact = sum(np.sum(g * d) for g, d in zip(session.run(slopes), towards))

    def moved(h: float) -> float:
        for v, a, d in zip(variables, at, towards):
            v.load(a + h * d, session)
        return value()

    h = 1e-3  # differences of fourth order
    numeric = 8.0 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))
    numeric /= 12.0 * h
    moved(0.0)
    print(f"hypergradient along a direction {exact:.9f}, by differences {numeric:.9f}")
    return abs(float(exact - numeric)) / abs(numeric)


# -- at the optimum ------------------------------------------------------------


class Implicit:
    """What the second way found."""

    error: float
    losses: list[float]  # of validation; first that of the best single strength
    strengths: Any  # (2, 64): of the pixels, of the noise
    tests: list[float]  # losses on the test digits, before and after
    grid: list[tuple[float, float]]  # validation losses and single strengths


def beside_noise(part: tuple[Any, Any], rng: Any) -> tuple[Any, Any]:
    """Images (n, 128), whose second half says nothing."""
    images, labels = part
    return np.concatenate([images, rng.random(images.shape)], axis=1), labels


def implicit(data: Data, setting: Setting) -> Implicit:
    """Follow the gradient of the validation loss at the optimum of the training."""
    found, rng = Implicit(), np.random.default_rng(SEED)
    train, valid, test = (
        beside_noise(part, rng) for part in (data.train, data.valid, data.test)
    )
    with tf.Graph().as_default():
        logs = tf.Variable(np.zeros(2 * PIXELS))
        variable = tf.Variable(np.zeros((2 * PIXELS, CLASSES)))
        strengths = WEAKEST + tf.exp(logs)

        def train_loss(w: Any) -> Any:
            decay = 0.5 * tf.reduce_sum(strengths[:, None] * tf.square(w))
            return mean_loss(tf.matmul(train[0], w), train[1]) + decay

        def slope(w: Any) -> Any:
            return tf.gradients(train_loss(w), [w])[0]

        def solve(matvec: Any, b: Any) -> Any:
            return tf.conjugate_gradient(matvec, b, tolerance=1e-12)

        # SciPy has found the root before the graph runs; what is added are derivatives.
        w = tf.custom_root(slope, variable.value(), lambda f, found: found, solve)
        loss = train_loss(variable.value())
        valid_loss = mean_loss(tf.matmul(valid[0], w), valid[1])
        test_loss = mean_loss(tf.matmul(test[0], w), test[1])
        optimizer = tf.train.AdamOptimizer(0.2)
        ((hyper, _),) = pairs = optimizer.compute_gradients(valid_loss, [logs])
        improve = optimizer.apply_gradients(pairs)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())

            def at_optimum(exact: float = 1e-6) -> float:
                """The validation loss after a training; it starts at the last one's."""
                minimize(loss, variable, "trust-ncg", options={"gtol": exact})
                return float(session.run(valid_loss))

            found.grid = []
            for strength in np.geomspace(1e-4, 1.0, setting.singles):
                logs.load(np.full(2 * PIXELS, math.log(strength)), session)
                found.grid.append((at_optimum(), float(strength)))
            _, single = min(found.grid)
            logs.load(np.full(2 * PIXELS, math.log(single)), session)
            at_optimum(1e-10)
            found.error = compare(
                session, lambda: at_optimum(1e-10), [logs], [hyper], rng
            )
            found.losses, found.tests = [at_optimum()], [float(session.run(test_loss))]
            for i in range(setting.implicit):
                session.run(improve)
                found.losses.append(at_optimum())
                if i % 10 == 0:
                    print(f"{i:4d}  validation loss {found.losses[-1]:.4f}", flush=True)
            found.tests.append(float(session.run(test_loss)))
            found.strengths = session.run(strengths).reshape(2, PIXELS)
    return found


# -- the picture ---------------------------------------------------------------


def draw(path: Path, run: Unrolled, fit: Implicit, data: Data) -> None:
    """The ways there, the schedule, and the strengths of the pixels."""
    page = Drawing(
        1180,
        748,
        "Hyperparameters found by gradients",
        f"Above: back through a training of {len(run.curves[0])} steps. Below: at the "
        f"training's optimum, by the implicit function theorem. {len(data.train[1])} "
        f"digits to train, {len(data.valid[1])} to validate",
    )
    most = 1.08 * run.losses[0]
    panel = page.panel(
        (76, 96, 290, 250),
        (0, len(run.losses) - 1),
        (0, most),
        "Validation loss after a training",
        ("iteration of Adam on the recipe", "loss"),
        marks=(4, 5),
    )
    panel.line(
        [0, len(run.losses)], [run.grid] * 2, ORANGE, "best of a grid", dash="5 4"
    )
    panel.line(range(len(run.losses)), run.losses, BLUE, "by hypergradients")
    panel.legend()
    (first, m1, _), (last, m2, _) = run.recipes
    steps = np.arange(1, len(first) + 1)
    panel = page.panel(
        (466, 96, 290, 250),
        (1, len(first)),
        (0, 1.35 * float(np.max(last))),
        "The rate of each step",
        ("step of the training", "rate"),
        marks=(6, 5),
    )
    panel.line(steps, first, GREY, f"at first, momentum {m1:.2f}", dash="5 4")
    panel.line(steps, last, BLUE, f"found, momentum {m2:.2f}")
    panel.dots(steps, last, BLUE, radius=2.5)
    panel.legend(right=False)
    panel = page.panel(
        (856, 96, 290, 250),
        (1, len(first)),
        (0, 1.35 * float(np.max(run.curves[0]))),
        "Validation loss during the training",
        ("step of the training", "loss"),
        marks=(6, 5),
    )
    panel.line(steps, run.curves[0], GREY, "at first", dash="5 4")
    panel.line(steps, run.curves[1], BLUE, "with what was found")
    panel.legend()

    panel = page.panel(
        (76, 438, 290, 250),
        (0, len(fit.losses) - 1),
        (0, 1.3 * fit.losses[0]),
        "Validation loss at the optimum",
        ("iteration of Adam on the strengths", "loss"),
        marks=(4, 5),
    )
    panel.line(
        [0, len(fit.losses)],
        fit.losses[:1] * 2,
        ORANGE,
        "best single strength",
        dash="5 4",
    )
    panel.line(range(len(fit.losses)), fit.losses, GREEN, "a strength for each pixel")
    panel.legend()
    shown = beside_noise(data.train, np.random.default_rng(SEED))[0][0]
    for left, title, values, scale in (
        (466, "An image: a digit beside noise", 1.0 - shown.reshape(2, 8, 8), None),
        (836, "The strengths that were found", np.log10(fit.strengths), (-5.0, -1.5)),
    ):
        panel = page.panel((left, 468, 290, 145), (0, 1), (0, 1), title, marks=(0, 0))
        low, high = scale or (0.0, 1.0)
        stops = SEQUENTIAL if scale else ("#1b1b1b", "#ffffff")
        wide = np.concatenate(list(values.reshape(2, 8, 8)), axis=1)[::-1]
        sharp = np.repeat(np.repeat(wide, 12, axis=0), 12, axis=1)
        panel.image(colours(sharp, low, high, stops))
        panel.line([0.5, 0.5], [0, 1], "#ffffff" if scale else GREY, width=1.2)
        if scale:
            panel.bar(low, high, SEQUENTIAL, "log₁₀")
            pixels, noise = np.median(fit.strengths, axis=1)
            words = f"medians: {pixels:.1e} of the pixels, {noise:.1e} of the noise"
            panel.note(0.0, -0.17, words, GREY)
    page.save(path)


def main() -> int:
    """Follow both hypergradients, tell, draw, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="shorter trainings")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    setting = QUICK if options.quick else FULL

    data = load(setting.digits)
    run = unrolled(data, setting)
    print(f"{setting.unrolled:4d}  validation loss {run.losses[-1]:.4f}")
    print(f"best of a grid: {run.grid:.4f}")
    (before, after), (low, high) = run.tests, run.accuracies
    print(f"test loss {before:.4f} -> {after:.4f}, right {low:.1%} -> {high:.1%}\n")
    print(f"implicit: {2 * PIXELS} strengths")
    fit = implicit(data, setting)
    print(f"{setting.implicit:4d}  validation loss {fit.losses[-1]:.4f}")
    print(f"best single strength: {fit.losses[0]:.4f}")
    print(f"test loss {fit.tests[0]:.4f} -> {fit.tests[1]:.4f}")
    draw(options.out / "hyperparameters.svg", run, fit, data)
    print(f"\nhyperparameters.svg is in {options.out.resolve()}")
    # Few iterations do not reach the grid; they must come half of the way down.
    mark = 0.5 * run.losses[0] if options.quick else run.grid
    right = (
        max(run.error, fit.error) < 1e-6
        and run.losses[-1] < mark
        and after < before
        and fit.losses[-1] < 0.8 * fit.losses[0]
        and fit.tests[1] < fit.tests[0]
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
