"""Sparse derivatives of random programs, against dense ones row by row."""

from __future__ import annotations

import numpy as np
from dense import dense_jacobian, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.ops.sparse_derivatives import sparse_hessian, sparse_jacobian
from dagrad.ops.sparsity import jacobian_sparsity

F64 = dg.float64


SHAPES = [(4,), (2, 3), (3, 2), (3,), (), (2, 2), (1, 3), (0, 2)]


class Program:
    """Draws operations on tensors of static shape."""

    def __init__(self, draw):
        self.pick = lambda items: items[draw(st.integers(0, len(items) - 1))]
        self.rng = np.random.default_rng(draw(st.integers(0, 999)))
        shapes = [self.pick(SHAPES) for _ in range(2)]
        self.xs = [dg.placeholder(F64, s) for s in shapes]
        self.feeds = {x: self.rng.uniform(0.5, 1.5, x.shape.as_list()) for x in self.xs}
        self.tensors = list(self.xs)
        for _ in range(draw(st.integers(1, 8))):
            self.tensors.append(self.node(self.pick(self.tensors)))

    def with_zeros(self, *shape):
        return self.rng.uniform(0.5, 1.5, shape) * self.rng.integers(0, 2, shape)

    def node(self, x):
        dims = x.shape.as_list()
        kinds = [self.unary, self.binary, self.masked, self.reduced, self.shaped]
        if dims and 0 not in dims:
            kinds += [self.sliced, self.gathered, self.scattered, self.product]
            kinds += [self.scanned, self.joined, self.padded, self.chosen]
        return self.pick(kinds)(x, dims)

    def unary(self, x, dims):
        ops = [dg.sin, dg.exp, dg.square, dg.stop_gradient, dg.negative, dg.floor]
        return self.pick(ops)(x)

    def binary(self, x, dims):
        def fits(t):
            pairs = zip(reversed(dims), reversed(t.shape.as_list()))
            return all(a == b or 1 in (a, b) for a, b in pairs)

        y = self.pick([t for t in self.tensors if fits(t)])
        return self.pick([dg.add, dg.multiply, dg.subtract, dg.maximum])(x, y)

    def masked(self, x, dims):
        return x * self.with_zeros(*dims)

    def reduced(self, x, dims):
        axis = self.pick([None, *range(len(dims))])
        op = self.pick([dg.reduce_sum, dg.reduce_mean, dg.reduce_logsumexp])
        if 0 in dims:
            op = dg.reduce_sum
        return op(x, axis, keepdims=self.pick([True, False]))

    def shaped(self, x, dims):
        ops = [dg.transpose, lambda t: dg.reshape(t, [-1]), lambda t: t[None]]
        return self.pick(ops)(x)

    def sliced(self, x, dims):
        ops = [lambda t: t[::-1], lambda t: t[..., :1], lambda t: t[0], lambda t: t[1:]]
        return self.pick(ops)(x)

    def gathered(self, x, dims):
        axis = self.pick(range(len(dims)))
        return dg.gather(x, self.rng.integers(0, dims[axis], 3), axis=axis)

    def scattered(self, x, dims):
        ids = self.rng.integers(0, 3, dims[0])
        return dg.unsorted_segment_sum(x, ids, 3)

    def product(self, x, dims):
        matrix = self.with_zeros(2, dims[0])
        rest = dg.reshape(x, [dims[0], -1])
        return self.pick(
            [
                lambda: dg.matmul(matrix, rest),
                lambda: dg.matmul(rest, rest, transpose_b=True),
                lambda: dg.einsum("ij,ik->kj", rest, matrix.T),
            ]
        )()

    def scanned(self, x, dims):
        options = {"exclusive": self.pick([True, False])}
        options["reverse"] = self.pick([True, False])
        return dg.cumsum(x, self.pick(range(len(dims))), **options)

    def joined(self, x, dims):
        return dg.concat([x, self.with_zeros(*dims), x], self.pick(range(len(dims))))

    def padded(self, x, dims):
        return dg.pad(x, [[1, 0]] * len(dims), constant_values=1.0)

    def chosen(self, x, dims):
        mask = self.rng.integers(0, 2, dims).astype(bool)
        return dg.where(mask, x, dg.sin(x[::-1]))


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_programs(data):
    """The pattern holds every nonzero, and every way to compute gives the same."""
    with dg.Graph().as_default():
        program = Program(data.draw)
        y, xs, feeds = program.tensors[-1], program.xs, program.feeds
        want = np.hstack([dense_jacobian(y, x, feeds) for x in xs])
        assert not want[~jacobian_sparsity(y, xs).toarray()].any()
        for mode in ("forward", "reverse", "both", "split"):
            got = run(sparse_jacobian(y, xs, mode), feeds).toarray()
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_hessians(data):
    with dg.Graph().as_default():
        program = Program(data.draw)
        y, xs, feeds = program.tensors[-1], program.xs, program.feeds
        got = run(sparse_hessian(y, xs), feeds).toarray()
        grads = dg.gradients(y, xs, unconnected_gradients="zero")
        rows = [[dense_jacobian(g, x, feeds) for x in xs] for g in grads]
        np.testing.assert_allclose(got, np.block(rows), rtol=1e-8, atol=1e-8)
