"""Any body of a loop with checkpoints: the derivatives of the loop without them.

Carries that go around as they are, change places, end as one tensor, as a row or as
what is captured; that start from one tensor; cotangents that several share.  Each
derivative runs alone too: memory is lent where nobody else reads it.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import dagrad as tf

#: What becomes of a carry h: from all carries, the row and the captured tensor.
STEPS = {
    "stays": lambda h, all, r, w: h,
    "the next": lambda h, all, r, w: all[(all.index(h) + 1) % len(all)],
    "the row": lambda h, all, r, w: r,
    "captured": lambda h, all, r, w: w,
    "in place": lambda h, all, r, w: h * w,
    "added": lambda h, all, r, w: h + tf.sin(r),
    "times": lambda h, all, r, w: h * tf.sin(r),
    "crossed": lambda h, all, r, w: tf.tanh(h * all[-1] + w),
    "mixed": lambda h, all, r, w: tf.sin(all[0] * w + r) * tf.exp(-all[-1]),
    "reduced": lambda h, all, r, w: tf.reduce_mean(h * r) * tf.cos(all[-1]),
    "chosen": lambda h, all, r, w: tf.cond(
        tf.reduce_sum(r) > 0, lambda: tf.sin(h) + w, lambda: all[0] * r
    ),
    "a loop": lambda h, all, r, w: tf.foldl(
        lambda g, c: tf.tanh(g * w + c), np.array([0.1, 0.3]), h, checkpoint_every=1
    ),
    "taken": lambda h, all, r, w: tf.gather(h, [1, 0, 1]) + all[-1],
}
#: Where it starts.
STARTS = {
    "captured": lambda w, v: w,
    "given": lambda w, v: v,
    "made": lambda w, v: w * v,
    "constant": lambda w, v: tf.constant([0.2, -0.4, 0.6], tf.float64),
}
#: What is differentiated, of all ends.
LOSSES = {
    "of the sum": lambda ends, w: tf.exp(-tf.square(tf.add_n(ends))),
    "sums": lambda ends, w: tf.add_n(ends),
    "of the first": lambda ends, w: tf.sin(ends[0]),
    "of each, by what is captured": lambda ends, w: tf.add_n(ends) * w,
    "of the product": lambda ends, w: ends[0] * ends[-1],
}


def derivatives(body, starts, loss, n, every, reverse):
    tf.reset_default_graph()
    x, w, v = (tf.placeholder(tf.float64, s) for s in ((n, 3), (3,), (3,)))
    fold = tf.foldr if reverse else tf.foldl

    def step(carries, r):
        carries = list(carries)
        return tuple(STEPS[b](h, carries, r, w) for b, h in zip(body, carries))

    inits = tuple(STARTS[s](w, v) for s in starts)
    ends = fold(step, x, inits, checkpoint_every=every)
    y = LOSSES[loss](list(ends), w) + tf.square(w)
    first = tf.gradients(y, [x, w, v])
    slope = next(g for g in first if g is not None)
    second = tf.gradients(tf.sin(slope), [x, w, v])
    (pushed,) = tf.jvp([slope], [w], [v])
    return [x, w, v], [y, *first, *second, pushed]


@given(
    carries=st.lists(
        st.tuples(st.sampled_from(list(STEPS)), st.sampled_from(list(STARTS))),
        min_size=1,
        max_size=3,
    ),
    loss=st.sampled_from(list(LOSSES)),
    n=st.integers(1, 6),
    every=st.sampled_from([1, 2, 3, 7, "least", [3, 2], [4, 2, 1]]),
    reverse=st.booleans(),
)
@settings(max_examples=50)
def test_any_body_has_the_derivatives_of_the_loop_without_checkpoints(
    carries, loss, n, every, reverse
):
    body, starts = zip(*carries)
    rng = np.random.default_rng(n)
    points = [rng.normal(size=s) for s in ((n, 3), (3,), (3,))]
    found = []
    for keep in (None, every):
        given, fetches = derivatives(body, starts, loss, n, keep, reverse)
        feeds = dict(zip(given, points))
        wanted = {k: f for k, f in enumerate(fetches) if f is not None}
        with tf.Session() as session:
            found.append(session.run(wanted, feeds))
            if keep is not None:
                found.append({k: session.run(f, feeds) for k, f in wanted.items()})
    want, *rest = found
    for got in rest:
        for k in want.keys() | got.keys():
            a, b = got.get(k, 0.0), want.get(k, 0.0)  # nothing leads there
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
