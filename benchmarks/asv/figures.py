"""Our own figures, for airspeed velocity: the same programs at each commit.

Each class is a program; names of methods say what is measured (``time_``: seconds of a
call, ``track_``: the number returned).  Programs use only names that have been public
for long, so that old commits run too.
"""

from __future__ import annotations

import numpy as np

import dagrad as tf


def trained(loss, optimizer):
    """A session and its training step, initialised."""
    step = optimizer.minimize(loss)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session, step


class OneOperation:
    """The least that a run costs."""

    def setup(self):
        """One addition of two elements."""
        with tf.Graph().as_default():
            self.x = tf.placeholder(tf.float32, [2])
            y = self.x + self.x
            self.y = y
            self.session = tf.Session()
            self.call = self.session.make_callable(y, [self.x])
        self.value = np.ones(2, np.float32)
        for _ in range(100):
            self.time_session_run()
            self.time_callable()

    def time_session_run(self):
        """``session.run`` with a feed."""
        self.session.run(self.y, {self.x: self.value})

    def time_callable(self):
        """The same by ``make_callable``."""
        self.call(self.value)


class Build:
    """Graphs of many operations."""

    params = (1000, 10_000)
    param_names = ("operations",)

    def time_build_and_differentiate(self, operations):
        """A chain, and its gradient."""
        with tf.Graph().as_default():
            x = h = tf.placeholder(tf.float32, [4])
            for _ in range(operations // 2):
                h = tf.tanh(h * 1.01)
            tf.gradients(tf.reduce_sum(h), [x])

    def time_plan(self, operations):
        """What the first run costs beside its arithmetic."""
        with tf.Graph().as_default(), tf.Session() as session:
            x = h = tf.placeholder(tf.float32, [4])
            for _ in range(operations // 2):
                h = tf.tanh(h * 1.01)
            session.plan(tf.gradients(tf.reduce_sum(h), [x]), {x: np.ones(4)})


class Perceptron:
    """Training steps of 784-256-128-10, batch 128."""

    def setup(self):
        """The net, initialised."""
        rng = np.random.default_rng(0)
        with tf.Graph().as_default():
            self.x = tf.placeholder(tf.float32, [128, 784])
            labels = tf.constant(rng.integers(0, 10, 128))
            h = self.x
            for size in (256, 128, 10):
                h = tf.layers.dense(h, size, tf.nn.relu if size > 10 else None)
            loss = tf.losses.sparse_softmax_cross_entropy(labels, h)
            self.session, self.step = trained(loss, tf.train.AdamOptimizer())
        self.feeds = {self.x: rng.random((128, 784), np.float32)}
        for _ in range(100):
            self.time_step()

    def time_step(self):
        """A step of Adam."""
        self.session.run(self.step, self.feeds)

    def track_peak_bytes(self):
        """The peak that the plan predicts."""
        return self.session.plan(self.step, self.feeds).peak_bytes


class Convnet:
    """Training steps of LeNet, batch 32."""

    timeout = 120

    def setup(self):
        """The net, initialised."""
        rng = np.random.default_rng(0)
        with tf.Graph().as_default():
            self.x = tf.placeholder(tf.float32, [32, 28, 28, 1])
            labels = tf.constant(rng.integers(0, 10, 32))
            h = self.x
            for channels in (32, 64):
                h = tf.layers.conv2d(h, channels, 5, padding="same")
                h = tf.layers.max_pooling2d(tf.nn.relu(h), 2, 2)
            h = tf.layers.dense(tf.reshape(h, [32, -1]), 128, tf.nn.relu)
            loss = tf.losses.sparse_softmax_cross_entropy(
                labels, tf.layers.dense(h, 10)
            )
            optimizer = tf.train.GradientDescentOptimizer(0.01)
            self.session, self.step = trained(loss, optimizer)
        self.feeds = {self.x: rng.random((32, 28, 28, 1), np.float32)}
        for _ in range(60):
            self.time_step()

    def time_step(self):
        """A step of gradient descent."""
        self.session.run(self.step, self.feeds)


class Recurrent:
    """The gradient of an LSTM cell that a ``while_loop`` runs 28 times."""

    def setup(self):
        """The loop and its gradient."""
        rng = np.random.default_rng(0)
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [28, 64, 28])
            w = tf.constant(rng.standard_normal((92, 256)).astype(np.float32) * 0.1)

            def cell(i, h, c):
                z = tf.matmul(tf.concat([x[i], h], 1), w)
                i_, j, f, o = tf.split(z, 4, 1)
                c = tf.sigmoid(f) * c + tf.sigmoid(i_) * tf.tanh(j)
                return i + 1, tf.sigmoid(o) * tf.tanh(c), c

            start = tf.zeros([64, 64])
            _, h, _ = tf.while_loop(lambda i, *_: i < 28, cell, [0, start, start])
            slopes = tf.gradients(tf.reduce_mean(tf.square(h)), [x, w])
            self.call = tf.Session().make_callable(slopes, [x])
        self.value = rng.standard_normal((28, 64, 28)).astype(np.float32)
        for _ in range(60):
            self.time_gradient()

    def time_gradient(self):
        """A run."""
        self.call(self.value)


class Formula:
    """tanh(a x + b) sigmoid(x) - exp(-x x) and its gradient."""

    params = (10_000, 1_000_000)
    param_names = ("elements",)

    def setup(self, elements):
        """The formula."""
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [elements])
            y = tf.tanh(1.5 * x + 0.5) * tf.sigmoid(x) - tf.exp(-x * x)
            self.call = tf.Session().make_callable([y, *tf.gradients(y, [x])], [x])
        self.value = np.linspace(-3, 3, elements, dtype=np.float32)
        for _ in range(60):
            self.time_run(elements)

    def time_run(self, elements):
        """A run."""
        self.call(self.value)
