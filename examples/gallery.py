"""Pictures of real graphs, as docs/gallery.md shows them.

    python examples/gallery.py [--out DIRECTORY] [--quick]

LeNet with its training step (folded, mirrored, by flops), an LSTM in a loop, a
transformer block and the training of six, a network of a thousand layers, what the
rewrites of a session do, where a gradient is cut, where a NaN begins, the lecture's
example with every number; and plans and runs: a step in two threads, live bytes, what a
loop keeps, a memory budget, an arena. ``--quick``: a hundred layers.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import dagrad as tf


def dense(h: Any, size: int, name: str) -> Any:
    """A layer of a matrix and a bias."""
    with tf.name_scope(name):
        rows = int(h.shape[-1])
        w = tf.Variable(np.full((rows, size), 0.01, np.float32), name="W")
        b = tf.Variable(np.zeros(size, np.float32), name="b")
        return tf.matmul(h, w) + b


# -- graphs --------------------------------------------------------------------


def lenet() -> tuple[tf.Graph, Any, dict[Any, Any]]:
    """LeNet-5 with a step of Adam: the graph, the loss, and a batch."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        h = images
        for i, (channels, padding) in enumerate(((6, "SAME"), (16, "VALID")), 1):
            with tf.name_scope(f"conv{i}"):
                shape = [5, 5, int(h.shape[-1]), channels]
                w = tf.Variable(np.full(shape, 0.01, np.float32), name="W")
                b = tf.Variable(np.zeros(channels, np.float32), name="b")
                h = tf.nn.relu(tf.nn.conv2d(h, w, [1, 1, 1, 1], padding) + b)
                h = tf.nn.max_pool(h, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
        h = tf.reshape(h, [-1, 400])
        h = tf.nn.relu(dense(h, 120, "fc1"))
        h = tf.nn.relu(dense(h, 84, "fc2"))
        h = dense(h, 10, "fc3")
        with tf.name_scope("loss"):
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=h
            )
            loss = tf.reduce_mean(each)
        with tf.name_scope("train"):
            tf.train.AdamOptimizer(1e-3).minimize(loss, name="adam")
    batch = {images: np.zeros((8, 28, 28, 1)), labels: np.zeros(8, np.int32)}
    return graph, loss, batch


def lstm() -> tuple[tf.Graph, Any, dict[Any, Any]]:
    """An LSTM over twenty steps, in a loop, with its training step, and a batch."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 20, 8], name="x")
        w = tf.Variable(np.full((24, 64), 0.01, np.float32), name="kernel")
        b = tf.Variable(np.zeros(64, np.float32), name="bias")
        rows = tf.transpose(x, [1, 0, 2])
        start = tf.zeros([tf.shape(x)[0], 16])

        def step(i: Any, h: Any, c: Any) -> Any:
            gates = tf.matmul(tf.concat([rows[i], h], 1), w) + b
            keep, take, show, new = tf.split(gates, 4, 1)
            c = tf.sigmoid(keep) * c + tf.sigmoid(take) * tf.tanh(new)
            return i + 1, tf.sigmoid(show) * tf.tanh(c), c

        with tf.name_scope("lstm"):
            _, h, _ = tf.while_loop(lambda i, h, c: i < 20, step, [0, start, start])
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(h))
        step_down = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    return graph, step_down, {x: np.ones((32, 20, 8))}


def norm(h: Any, name: str) -> Any:
    """Layer normalisation."""
    with tf.name_scope(name):
        size = int(h.shape[-1])
        gamma = tf.Variable(np.ones(size, np.float32), name="gamma")
        beta = tf.Variable(np.zeros(size, np.float32), name="beta")
        centred = h - tf.reduce_mean(h, -1, keepdims=True)
        spread = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        return centred * tf.rsqrt(spread + 1e-5) * gamma + beta


def transformer(blocks: int, train: bool) -> tf.Graph:
    """Blocks of attention and a small network each, over sixteen tokens."""
    tokens, size, heads = 16, 32, 4

    def split(h: Any, name: str) -> Any:
        h = tf.reshape(dense(h, size, name), [-1, tokens, heads, size // heads])
        return tf.transpose(h, [0, 2, 1, 3])

    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, tokens, size], name="tokens")
        h = tf.reshape(x, [-1, size])
        for k in range(blocks):
            with tf.name_scope(f"block{k}"):
                with tf.name_scope("attention"):
                    q, key, value = (split(h, n) for n in ("query", "key", "value"))
                    with tf.name_scope("scores"):
                        scores = tf.matmul(q, key, transpose_b=True)
                        scores = tf.nn.softmax(scores / math.sqrt(size // heads))
                    mixed = tf.transpose(tf.matmul(scores, value), [0, 2, 1, 3])
                    mixed = dense(tf.reshape(mixed, [-1, size]), size, "output")
                h = norm(h + mixed, "norm1")
                with tf.name_scope("mlp"):
                    wide = tf.nn.relu(dense(h, 4 * size, "up"))
                    wide = dense(wide, size, "down")
                h = norm(h + wide, "norm2")
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(h))
        if train:
            tf.train.AdamOptimizer().minimize(loss)
    return graph


def perceptron() -> tuple[tf.Graph, Any, dict[Any, Any]]:
    """Four wide layers with a step of Adam, and a batch of a thousand."""
    with tf.Graph().as_default() as graph:
        h = x = tf.placeholder(tf.float32, [1024, 512], name="x")
        for i in range(4):
            h = tf.tanh(dense(h, 512, f"layer{i}"))
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(h))
        step = tf.train.AdamOptimizer(1e-3).minimize(loss)
    return graph, step, {x: np.ones((1024, 512))}


def normalised() -> tuple[tf.Graph, Any]:
    """A dense layer that is normalised, and a step of Adam."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [1024, 512], name="x")
        h = norm(dense(x, 512, "dense"), "norm")
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(tf.tanh(h)))
        step = tf.train.AdamOptimizer().minimize(loss)
    return graph, step


def deep(layers: int) -> tf.Graph:
    """Many equal layers, and a training step."""
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [None, 64], name="x")
        for i in range(layers):
            with tf.name_scope(f"layer{i}"):
                w = tf.Variable(np.full((64, 64), 0.01, np.float32), name="W")
                b = tf.Variable(np.zeros(64, np.float32), name="b")
                h = tf.tanh(tf.matmul(h, w) + b)
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(h))
        tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    return graph


# -- pictures ------------------------------------------------------------------


def networks(out: Path, layers: int) -> None:
    """Graphs of networks."""
    graph, loss, batch = lenet()
    tf.viz.render(graph, out / "lenet.svg", title="LeNet and a step of Adam")
    tf.viz.render(
        graph,
        out / "lenet_mirror.svg",
        title="LeNet: each gradient beside its operation",
        layout="mirror",
    )
    with tf.Session(graph=graph) as session:
        plan = session.plan(loss, batch)
    tf.viz.render(
        loss,
        out / "lenet_flops.svg",
        title="LeNet: flops for eight images",
        color="flops",
        plan=plan,
        theme="dark",
    )
    tf.viz.render(lstm()[0], out / "lstm.svg", title="An LSTM in a loop")
    block = transformer(1, train=False)
    tf.viz.render(block, out / "transformer.svg", title="A transformer block")
    tf.viz.render(
        transformer(6, train=True),
        out / "transformer_training.svg",
        title="Six transformer blocks and a step of Adam",
        max_nodes=45,
    )
    tf.viz.render(
        deep(layers), out / "deep.svg", title=f"A network of {layers:,} layers"
    )


def runs(out: Path) -> None:
    """Rewrites, a fused plan, and where a NaN begins."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [64], name="x")
        y = tf.tanh(x * 1.0 + tf.sqrt(tf.constant(4.0))) * tf.exp(x)
        y = tf.reduce_sum(y + tf.log(1.0 + x) + tf.exp(x), name="y")
        slopes = tf.gradients(y, [x])
    with tf.Session(graph=graph) as session:
        plan = session.plan([y, slopes], {x: np.zeros(64)})
    tf.viz.render(
        plan,
        out / "rewrites.svg",
        title="What a session makes of a graph",
        color="rewrites",
    )
    graph, step = normalised()
    # As NumPy runs it: where the extra for native code is installed, more is fused.
    config = tf.ConfigProto(native="off")
    with tf.Session(graph=graph, config=config) as session:
        plan = session.plan(step, {"x:0": None})
    title = "A layer that is normalised, and a step of Adam: fused steps"
    tf.viz.render(plan, out / "fused.svg", title=title, view="graph")
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [4], name="x")
        y = tf.reduce_sum(tf.log(x) * tf.sqrt(x) + tf.exp(x), name="y")
        slopes = tf.gradients(y, [x])
    with tf.Session(graph=graph) as session:
        metadata = tf.RunMetadata()
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        feeds = {x: [1.0, 2.0, 0.0, 3.0]}
        session.run([y, slopes], feeds, options=options, run_metadata=metadata)
    tf.viz.render(
        [y, *slopes],
        out / "nan.svg",
        title="Where the numbers stop being finite",
        color="nan",
        report=metadata.report,
    )


def measured(
    graph: tf.Graph, fetches: Any, feeds: Any, level: int, **config: Any
) -> Any:
    """What the quickest run of two seconds measured: others were held up by what else
    the machine does."""
    best: Any = None
    with tf.Session(graph=graph, config=tf.ConfigProto(**config)) as session:
        with graph.as_default():
            session.run(tf.global_variables_initializer())
        session.run(fetches, feeds)
        end = time.perf_counter() + 2.0
        while best is None or time.perf_counter() < end:
            metadata = tf.RunMetadata()
            session.run(fetches, feeds, tf.RunOptions(trace_level=level), metadata)
            if best is None or metadata.report.seconds < best.report.seconds:
                best = metadata
    return best


def plans(out: Path, layers: int) -> None:
    """Times, threads, memory."""
    graph, loss, batch = lenet()
    step = graph.get_operation_by_name("train/adam")
    run = measured(graph, [loss, step], batch, tf.RunOptions.FULL_TRACE)
    tf.viz.render(
        [loss, step],
        out / "lenet_time.svg",
        title="LeNet: time of each operation",
        color="time",
        report=run.report,
        depth=1,
    )
    graph, step, batch = perceptron()
    level = tf.RunOptions.HARDWARE_TRACE
    run = measured(graph, step, batch, level, intra_op_parallelism_threads=2)
    title = "A training step of a perceptron, in two threads"
    tf.viz.render(run, out / "timeline.svg", title=title)
    graph, step, batch = lstm()
    run = measured(graph, step, batch, tf.RunOptions.FULL_TRACE)
    title = "Training an LSTM in a loop: predicted and measured bytes"
    tf.viz.render(run, out / "tape.svg", view="memory", title=title, theme="dark")

    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [256, 64], name="x")
        h = x
        for _ in range(layers):
            h = tf.tanh(tf.matmul(h, tf.constant(np.eye(64, dtype=np.float32))))
        slopes = tf.gradients(tf.reduce_sum(h), [x])
    held = []
    for limit in (None, "6 MiB" if layers > 500 else "2 MiB"):
        config = tf.ConfigProto(memory_limit=limit)
        with tf.Session(graph=x.graph, config=config) as session:
            held.append(session.plan(slopes, {x: None}))
    tf.viz.render(
        held,
        out / "budget.svg",
        title=f"The gradient of {layers:,} layers",
        labels=("without a limit", f"within {limit}"),
    )
    title = f"The arena of {layers:,} layers within {limit}"
    tf.viz.render(held[1], out / "arena.svg", view="arena", title=title)


def derivatives(out: Path) -> None:
    """Where a gradient is cut, and the lecture's example."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        h = tf.tanh(x * 2.0, name="hidden")
        hard = tf.cast(tf.floor(h) > 0.0, tf.float32)
        y = tf.reduce_sum(hard * tf.stop_gradient(h), name="y")
        title = "Why is the gradient None?"
        tf.viz.explain_gradient(y, x, out / "cut.svg", title=title)
    with tf.Graph().as_default():
        x1 = tf.placeholder(tf.float64, [], name="x1")
        x2 = tf.placeholder(tf.float64, [], name="x2")
        s = tf.sin(x1)
        y = tf.multiply(x1 * x2 + s, s, name="y")
        trace = tf.viz.trace(y, {x1: 2.0, x2: 3.0})
        tf.viz.render(trace, out / "trace.svg", title="(x1 x2 + sin x1) sin x1")
        slopes = tf.gradients(y, [x1, x2])
        tf.viz.render(
            [y, *slopes],
            out / "lecture.svg",
            title="Its gradient, as a graph",
            layout="mirror",
        )


def whiteboard(out: Path) -> None:
    """A loop, round by round."""
    with tf.Graph().as_default():
        a = tf.placeholder(tf.float64, [], name="a")
        x = tf.placeholder(tf.float64, [], name="x")
        _, y = tf.while_loop(
            lambda i, v: i < 2, lambda i, v: (i + 1, (v + a / v) / 2.0), [0, x]
        )
        trace = tf.viz.trace(y, {a: 2.0, x: 1.0})
        title = "Newton's method for the root of a, and its derivative"
        tf.viz.render(trace, out / "loop.svg", title=title)


def main() -> int:
    """Draw everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="fewer layers")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    networks(options.out, 100 if options.quick else 1000)
    runs(options.out)
    plans(options.out, 100 if options.quick else 1000)
    derivatives(options.out)
    whiteboard(options.out)
    names = sorted(path.name for path in options.out.glob("*.svg"))
    print(f"{', '.join(names)} are in {options.out.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
