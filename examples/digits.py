"""Train a small convnet and an MLP on handwritten digits.

    python examples/digits.py [--out DIRECTORY] [--quick]

The data are the 1797 digits of 8 x 8 pixels that come with scikit-learn; one in
five is kept for the test. Written are graph.svg (the convnet's graph with its
backward and update operations), memory.svg (the live bytes of one training step)
and the weights of both networks, which are read back into new sessions to check
that they give the same accuracy. Exit status 1: a network stayed below its mark.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import dagrad as tf
from dagrad.viz.memory import MemoryTrace

CLASSES = 10
BATCH = 64
SEED = 2


@dataclass
class Network:
    """A graph, and the places where a program takes hold of it."""

    graph: tf.Graph
    images: Any
    labels: Any
    keep: Any
    loss: Any
    correct: Any
    train: Any


# -- the networks --------------------------------------------------------------


def dense(x: Any, units: int, name: str) -> Any:
    """x @ kernel + bias."""
    with tf.variable_scope(name):
        kernel = tf.get_variable(
            "kernel", [x.shape[1].value, units], initializer=tf.initializers.he_normal()
        )
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        return tf.matmul(x, kernel) + bias


def convolution(x: Any, channels: int, name: str) -> Any:
    """A 3 x 3 convolution of the same size, with bias and relu."""
    with tf.variable_scope(name):
        kernel = tf.get_variable(
            "kernel",
            [3, 3, x.shape[3].value, channels],
            initializer=tf.initializers.he_normal(),
        )
        bias = tf.get_variable("bias", [channels], initializer=tf.zeros_initializer())
        y = tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME")
        return tf.nn.relu(tf.nn.bias_add(y, bias))


def convnet(images: Any, keep: Any) -> Any:
    """Two convolutions, a pool and two dense layers, with dropout between."""
    x = convolution(images, 16, "conv1")
    x = convolution(x, 32, "conv2")
    x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME", name="pool")
    x = tf.reshape(tf.nn.dropout(x, keep_prob=keep), [-1, 4 * 4 * 32])
    x = tf.nn.relu(dense(x, 128, "hidden"))
    return dense(tf.nn.dropout(x, keep_prob=keep), CLASSES, "logits")


def mlp(images: Any, keep: Any) -> Any:
    """Two hidden layers."""
    x = tf.reshape(images, [-1, 64])
    x = tf.nn.relu(dense(x, 128, "hidden1"))
    x = tf.nn.relu(dense(x, 64, "hidden2"))
    return dense(tf.nn.dropout(x, keep_prob=keep), CLASSES, "logits")


def build(body: Callable[[Any, Any], Any], steps: int) -> Network:
    """The graph of a network: forward, loss, backward and updates."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(SEED)
        images = tf.placeholder(tf.float32, [None, 8, 8, 1], name="images")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        keep = tf.placeholder_with_default(1.0, [], name="keep")
        logits = body(images, keep)
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=labels, logits=logits
                )
            )
        with tf.name_scope("correct"):
            best = tf.argmax(logits, axis=1, output_type=tf.int32)
            correct = tf.reduce_sum(tf.cast(tf.equal(best, labels), tf.int32))
        with tf.name_scope("train"):
            count = tf.train.get_or_create_global_step()
            rate = tf.train.cosine_decay(2e-3, count, steps)
            train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=count)
    return Network(graph, images, labels, keep, loss, correct, train)


# -- training and testing ------------------------------------------------------


def batches(n: int, rng: np.random.Generator) -> Iterator[Any]:
    """The numbers 0 to n - 1 in random order, in batches of one size."""
    order = rng.permutation(n)
    for start in range(0, n - BATCH + 1, BATCH):
        yield order[start : start + BATCH]


def accuracy(session: tf.Session, net: Network, images: Any, labels: Any) -> float:
    """The share of images whose class is found."""
    feeds = {net.images: images, net.labels: labels}
    return int(session.run(net.correct, feeds)) / len(labels)


def fit(
    session: tf.Session, net: Network, data: Any, epochs: int, name: str
) -> list[float]:
    """Train with a progress bar; returns the mean loss of each epoch."""
    images, labels = data
    rng = np.random.default_rng(SEED)
    feed = [net.images, net.labels, net.keep]
    step = session.make_callable([net.train, net.loss], feed)
    means = []
    with tqdm(total=epochs * (len(labels) // BATCH), desc=name, unit="step") as bar:
        for _ in range(epochs):
            losses = []
            for rows in batches(len(labels), rng):
                losses.append(step(images[rows], labels[rows], 0.6)[1])
                bar.update()
            means.append(float(np.mean(losses)))
            bar.set_postfix(loss=f"{means[-1]:.4f}")
    return means


def save(session: tf.Session, path: Path) -> None:
    """Write all variables to an npz file."""
    with session.graph.as_default():
        variables = {v.op.name: v for v in tf.global_variables()}
    np.savez(path, **session.run(variables))


def restore(session: tf.Session, path: Path) -> None:
    """Read what :func:`save` wrote."""
    with session.graph.as_default(), np.load(path) as weights:
        for v in tf.global_variables():
            v.load(weights[v.op.name], session)


def step_plan(session: tf.Session, net: Network, images: Any, labels: Any) -> Any:
    """The plan of one training step."""
    feeds = {net.images: images[:BATCH], net.labels: labels[:BATCH], net.keep: 0.6}
    return session.plan([net.train, net.loss], feeds)


def run(
    name: str,
    body: Callable[[Any, Any], Any],
    train: Any,
    test: Any,
    epochs: int,
    out: Path,
) -> list[str]:
    """Build, train, test, save and check one network; a row of the table."""
    net = build(body, epochs * (len(train[1]) // BATCH))
    weights = out / f"{name}.npz"
    start = time.perf_counter()
    with tf.Session(graph=net.graph) as session:
        session.run(tf.global_variables_initializer())
        parameters = sum(v.shape.num_elements() for v in tf.trainable_variables())
        means = fit(session, net, train, epochs, name)
        seconds = time.perf_counter() - start
        found = accuracy(session, net, *test)
        save(session, weights)
        plan = step_plan(session, net, *train)
        if name == "convnet":
            title = "A convnet and its training"
            net.graph.to_svg(out / "graph.svg", title=title, max_nodes=45)
            trace = MemoryTrace.of_plan(plan)
            title = "Live bytes of a training step"
            tf.viz.render(trace, out / "memory.svg", title=title)
    with tf.Session(graph=net.graph) as session:
        restore(session, weights)
        again = accuracy(session, net, *test)
    if again != found:
        raise SystemExit(f"{name}: {again} after reloading, {found} before")
    return [
        name,
        f"{parameters:,}",
        f"{means[-1]:.4f}",
        f"{100 * found:.2f} %",
        f"{plan.peak_bytes / 1024:,.0f} KiB",
        f"{seconds:.1f} s",
    ]


def main() -> int:
    """Train both networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="a few epochs only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 8, 8, 1)
    split = train_test_split(
        images,
        labels.astype(np.int32),
        test_size=0.2,
        random_state=SEED,
        stratify=labels,
    )
    train, test = (split[0], split[2]), (split[1], split[3])

    rows = [["network", "parameters", "loss", "test accuracy", "peak", "time"]]
    for name, body, epochs in (("convnet", convnet, 25), ("mlp", mlp, 40)):
        epochs = 5 if options.quick else epochs
        rows.append(run(name, body, train, test, epochs, options.out))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.rjust(w) for cell, w in zip(row, widths)))
    print(f"\ngraph.svg, memory.svg and weights are in {options.out.resolve()}")
    reached = [float(row[3].split()[0]) for row in rows[1:]]
    marks = (85.0, 80.0) if options.quick else (98.0, 95.0)
    return 0 if all(a >= m for a, m in zip(reached, marks)) else 1


if __name__ == "__main__":
    sys.exit(main())
