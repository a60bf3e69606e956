"""Run once against the installed wheel, from a directory without the source tree."""

from __future__ import annotations

import sys

import numpy as np

import dagrad as tf

HEAVY = {"networkx", "graphviz", "scipy", "sklearn", "matplotlib"}


def main() -> None:
    """Fit y = 2 x + 1 by gradient descent and draw the graph."""
    loaded = HEAVY.intersection(sys.modules)
    assert not loaded, f"import dagrad brought {loaded}"

    x = tf.placeholder(tf.float32, [None, 1], name="x")
    y = tf.placeholder(tf.float32, [None, 1], name="y")
    weight = tf.Variable(tf.zeros([1, 1]), name="weight")
    bias = tf.Variable(tf.zeros([1]), name="bias")
    loss = tf.reduce_mean(tf.square(tf.matmul(x, weight) + bias - y))
    step = tf.train.GradientDescentOptimizer(0.3).minimize(loss)

    points = np.linspace(-1.0, 1.0, 32, dtype=np.float32)[:, None]
    feeds = {x: points, y: 2.0 * points + 1.0}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(200):
            session.run(step, feeds)
        found = session.run([weight, bias])
    np.testing.assert_allclose(np.ravel(found[0]), [2.0], atol=1e-3)
    np.testing.assert_allclose(np.ravel(found[1]), [1.0], atol=1e-3)

    picture = tf.get_default_graph().to_svg()
    assert "<svg" in picture
    assert "weight" in picture
    page = tf.viz.explore(tf.get_default_graph()).read_text(encoding="utf-8")
    assert "dagre" in page
    tf.get_default_graph().save("model.json")
    print(f"dagrad {tf.__version__} from {tf.__file__}: trained and drawn")


if __name__ == "__main__":
    main()
