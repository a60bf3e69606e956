"""Train a convnet on Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 pixels.

    python examples/fashion_mnist.py [--out DIRECTORY] [--data DIRECTORY] [--quick]

The data come with Debian's package dataset-fashion-mnist; where they are missing
the program says how to install them and ends with status 77. Two epochs take about
40 s on two cores and reach 89 % on the 10,000 test pictures; --quick trains on a
small part. Written are fashion_graph.svg, fashion_memory.svg (the live bytes of one
training step) and fashion.npz with the weights, which are read again and must give
the same result.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import dagrad as tf
from dagrad.viz.memory import MemoryTrace

PLACE = Path("/usr/share/datasets/fashion-mnist")
MISSING = 77
BATCH = 128


def read(path: Path) -> Any:
    """The array in a compressed IDX file of bytes.

    Raises:
        ValueError: the file is none, or is not as long as it says.
    """
    with gzip.open(path, "rb") as file:
        data = file.read()
    if data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is no IDX file of bytes")
    rank = data[3]
    dims = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, int(np.prod(dims)), 4 + 4 * rank).reshape(dims)


def load(place: Path, part: str) -> tuple[Any, Any]:
    """Images (n, 28, 28, 1) in 0..1 and classes (n,)."""
    images = read(place / f"{part}-images-idx3-ubyte.gz")
    labels = read(place / f"{part}-labels-idx1-ubyte.gz")
    return (images[..., None] / np.float32(255)), labels.astype(np.int32)


def convolution(x: Any, channels: int, name: str) -> Any:
    """A 3 x 3 convolution with bias and relu, then a pool that halves the size."""
    with tf.variable_scope(name):
        kernel = tf.get_variable(
            "kernel",
            [3, 3, x.shape[3].value, channels],
            initializer=tf.initializers.he_normal(),
        )
        bias = tf.get_variable("bias", [channels], initializer=tf.zeros_initializer())
        y = tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME")
        y = tf.nn.relu(tf.nn.bias_add(y, bias))
        return tf.nn.max_pool(y, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")


def dense(x: Any, units: int, name: str) -> Any:
    """x @ kernel + bias."""
    with tf.variable_scope(name):
        kernel = tf.get_variable(
            "kernel", [x.shape[1].value, units], initializer=tf.initializers.he_normal()
        )
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        return tf.nn.xw_plus_b(x, kernel, bias)


def main() -> int:
    """Train, test and draw; 77 where there are no data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--data", type=Path, default=PLACE, help="where the data are")
    parser.add_argument("--quick", action="store_true", help="a small part only")
    options = parser.parse_args()
    if not (options.data / "train-images-idx3-ubyte.gz").exists():
        print(
            f"There is no Fashion-MNIST in {options.data}. On Debian and Ubuntu:\n"
            "    apt-get install dataset-fashion-mnist\n"
            "Elsewhere put the four files of github.com/zalandoresearch/fashion-mnist "
            "(data/fashion) in a directory and name it with --data."
        )
        return MISSING
    options.out.mkdir(parents=True, exist_ok=True)
    images, labels = load(options.data, "train")
    test_images, test_labels = load(options.data, "t10k")
    if options.quick:
        images, labels = images[:6400], labels[:6400]
        test_images, test_labels = test_images[:2000], test_labels[:2000]
    epochs = 2
    steps = epochs * (len(labels) // BATCH)

    tf.set_random_seed(1)
    x = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    y = tf.placeholder(tf.int32, [None], name="labels")
    hidden = convolution(convolution(x, 16, "conv1"), 32, "conv2")
    hidden = tf.nn.relu(dense(tf.reshape(hidden, [-1, 7 * 7 * 32]), 128, "hidden"))
    logits = dense(hidden, 10, "logits")
    with tf.name_scope("loss"):
        loss = tf.losses.sparse_softmax_cross_entropy(labels=y, logits=logits)
    with tf.name_scope("correct"):
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), y)
        correct = tf.reduce_sum(tf.cast(hits, tf.int32))
    with tf.name_scope("train"):
        count = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(2e-3, count, steps)
        train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=count)

    def count_correct(session: tf.Session) -> int:
        """How many test pictures get their class, 500 at a time."""
        found = 0
        for first in range(0, len(test_labels), 500):
            part = slice(first, first + 500)
            feeds = {x: test_images[part], y: test_labels[part]}
            found += int(session.run(correct, feeds))
        return found

    rng = np.random.default_rng(1)
    start = time.perf_counter()
    with tf.Session() as session, tqdm(total=steps, unit="step") as bar:
        session.run(tf.global_variables_initializer())
        step = session.make_callable([train, loss], [x, y])
        for _ in range(epochs):
            order = rng.permutation(len(labels))
            for first in range(0, len(labels) - BATCH + 1, BATCH):
                rows = order[first : first + BATCH]
                value = step(images[rows], labels[rows])[1]
                bar.update()
            bar.set_postfix(loss=f"{value:.3f}")
        seconds = time.perf_counter() - start
        variables = {v.op.name: v for v in tf.global_variables()}
        np.savez(options.out / "fashion.npz", **session.run(variables))
        found = count_correct(session)
        plan = session.plan([train, loss], {x: images[:BATCH], y: labels[:BATCH]})
    with tf.Session() as session, np.load(options.out / "fashion.npz") as weights:
        for name, variable in variables.items():
            variable.load(weights[name], session)
        again = count_correct(session)
    if again != found:
        raise SystemExit(f"{again} correct after reloading, {found} before")
    accuracy = found / len(test_labels)
    print(
        f"{100 * accuracy:.2f} % of {len(test_labels)} test pictures, {seconds:.0f} s, "
        f"{plan.peak_bytes / 2**20:.1f} MiB at the peak of a step"
    )
    graph = tf.get_default_graph()
    graph.to_svg(options.out / "fashion_graph.svg", depth=2)
    title = "Live bytes of a training step"
    trace = MemoryTrace.of_plan(plan)
    tf.viz.render(trace, options.out / "fashion_memory.svg", title=title)
    return 0 if accuracy > (0.7 if options.quick else 0.88) else 1


if __name__ == "__main__":
    sys.exit(main())
