"""The lecture's programs: a multilayer perceptron, and tanh and its derivatives.

    python examples/derivatives.py [--out DIRECTORY] [--quick]

First ``predict`` and ``loss`` as one writes them in NumPy, on tensors, with the
gradient of the loss for all weights, checked by central differences. Then tanh
written as (1 - exp(-2 x)) / (1 + exp(-2 x)), differentiated again and again: the
values and derivatives of order 1 to 6 are compared with exact polynomials in tanh
and drawn in tanh.svg.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import dagrad as tf

ORDERS = 6
COLOURS = ("#1b1b1b", "#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0e7490")


# -- the perceptron ------------------------------------------------------------


def predict(params: list[tuple[Any, Any]], inputs: Any) -> Any:
    """Layers of tanh; the outputs are logarithms of probabilities."""
    for w, b in params:
        outputs = np.dot(inputs, w) + b
        inputs = np.tanh(outputs)
    return outputs - tf.reduce_logsumexp(outputs, axis=1, keepdims=True)


def loss(params: list[tuple[Any, Any]], inputs: Any, targets: Any) -> Any:
    """The negative log-likelihood of one-hot targets."""
    return -np.sum(predict(params, inputs) * targets)


def perceptron() -> float:
    """Build and differentiate the program; the gradient's relative error."""
    rng = np.random.default_rng(0)
    sizes = [4, 8, 3]
    with tf.Graph().as_default():
        params = [
            (tf.Variable(rng.normal(size=(m, n))), tf.Variable(rng.normal(size=n)))
            for m, n in pairwise(sizes)
        ]
        inputs = tf.constant(rng.normal(size=(5, 4)))
        targets = tf.constant(np.eye(3)[rng.integers(0, 3, 5)])
        value = loss(params, inputs, targets)
        variables = [v for layer in params for v in layer]
        slopes = tf.gradients(value, variables)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            at = session.run(variables)
            towards = [rng.normal(size=a.shape) for a in at]
            exact = sum(np.sum(g * d) for g, d in zip(session.run(slopes), towards))

            def moved(step: float) -> Any:
                feeds = {
                    v.value(): a + step * d for v, a, d in zip(variables, at, towards)
                }
                return session.run(value, feeds)

            step = 1e-5
            numeric = (moved(step) - moved(-step)) / (2 * step)
    error = abs(float(exact - numeric)) / abs(float(numeric))
    print(f"loss along a direction: {exact:.9f}, by differences {numeric:.9f}")
    return error


# -- tanh ----------------------------------------------------------------------


def tanh(x: Any) -> Any:
    """(1 - exp(-2 x)) / (1 + exp(-2 x))."""
    y = np.exp(-2.0 * x)
    return (1.0 - y) / (1.0 + y)


def exact(x: Any) -> list[Any]:
    """tanh and its derivatives: polynomials in t = tanh(x), as dt/dx = 1 - t**2."""
    rows, p = [], np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(ORDERS + 1):
        rows.append(p(np.tanh(x)))
        p = p.deriv() * np.polynomial.Polynomial([1.0, 0.0, -1.0])
    return rows


def derivatives(points: Any) -> list[Any]:
    """tanh and its derivatives of order 1 to 6 at ``points``, by the graph."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [None], name="x")
        rows = [tanh(x)]
        for _ in range(ORDERS):
            rows += tf.gradients(rows[-1], [x])
        print(f"{ORDERS} derivatives are {len(graph)} operations")
        with tf.Session() as session:
            return list(session.run(rows, {x: points}))


def chart(x: Any, rows: list[Any], path: Path) -> None:
    """Draw each row, scaled to a height of 1, with a legend."""
    width, height, margin = 720, 400, 36
    left, right = float(x[0]), float(x[-1])

    def at(u: float, v: float) -> str:
        across = margin + (u - left) / (right - left) * (width - 2 * margin)
        return f"{across:.1f},{height / 2 - v * (height / 2 - margin):.1f}"

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>tanh and its derivatives of order 1 to 6, each scaled to 1</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for ends in ((at(left, 0), at(right, 0)), (at(0, -1), at(0, 1))):
        out.append(f'<polyline points="{" ".join(ends)}" stroke="#d4d4d4"/>')
    for order, (row, colour) in enumerate(zip(rows, COLOURS)):
        most = float(np.max(np.abs(row)))
        points = " ".join(at(float(u), float(v) / most) for u, v in zip(x, row))
        out.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            'stroke-width="1.6"/>'
        )
        out.append(
            f'<text x="{margin}" y="{24 + 16 * order}" fill="{colour}">'
            f"order {order}, largest {most:.3g}</text>"
        )
    out.append("</svg>\n")
    path.write_text("\n".join(out), encoding="utf-8")


def main() -> int:
    """Run both programs; the exit status is 1 where an error is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="fewer points")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    error = perceptron()
    x = np.linspace(-7.0, 7.0, 141 if options.quick else 281)
    rows = derivatives(x)
    print("order  largest value  largest error")
    errors = [error]
    for order, (row, true) in enumerate(zip(rows, exact(x))):
        most = float(np.max(np.abs(true)))
        errors.append(float(np.max(np.abs(row - true))) / most)
        print(f"{order:5d}  {most:13.6g}  {errors[-1]:13.1e}")
    chart(x, rows, options.out / "tanh.svg")
    print(f"tanh.svg is in {options.out.resolve()}")
    return 0 if max(errors) < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
