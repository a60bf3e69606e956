"""Arrays without elements and without axes, through front-door functions.

Each line says the same in dagrad and in NumPy; gradients of the sum are compared
with differences of NumPy's sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import dagrad as dg

Shape = tuple[int, ...]


class Case(NamedTuple):
    """One function of arrays of the given shapes."""

    name: str
    build: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: tuple[Shape, ...]


def _each(
    name: str,
    build: Callable[..., Any],
    reference: Callable[..., Any],
    *shapes: Shape | tuple[Shape, ...],
) -> list[Case]:
    """A case per shape (for one argument) or tuple of shapes (for several)."""
    cases = []
    for s in shapes:
        several = bool(s) and isinstance(s[0], tuple)
        cases.append(Case(name, build, reference, s if several else (s,)))  # type: ignore[arg-type]
    return cases


_ONE: tuple[Shape, ...] = ((), (0,), (1,), (0, 3), (3, 0), (2, 0, 3))
_TWO = (
    ((), ()),
    ((), (0,)),
    ((0,), (1,)),
    ((0, 3), (3,)),
    ((1, 3), (0, 1)),
    ((2, 1, 0), (3, 1)),
    ((3, 0), ()),
)


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return e / e.sum(-1, keepdims=True)


def _unary() -> list[Case]:
    functions: dict[str, tuple[Any, Any]] = {
        "exp": (dg.exp, np.exp),
        "log": (dg.log, np.log),
        "sqrt": (dg.sqrt, np.sqrt),
        "tanh": (dg.tanh, np.tanh),
        "negative": (dg.negative, np.negative),
        "square": (dg.square, np.square),
        "abs": (dg.abs, np.abs),
        "sigmoid": (dg.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        "relu": (dg.nn.relu, lambda x: np.maximum(x, 0)),
        "elu": (dg.nn.elu, lambda x: np.where(x > 0, x, np.expm1(x))),
        "softplus": (dg.nn.softplus, lambda x: np.log1p(np.exp(x))),
        "power": (lambda x: x**3, lambda x: x**3),
        "clip": (
            lambda x: dg.clip_by_value(x, 0.8, 1.4),
            lambda x: np.clip(x, 0.8, 1.4),
        ),
    }
    return [c for n, (f, g) in functions.items() for c in _each(n, f, g, *_ONE)]


def _binary() -> list[Case]:
    functions: dict[str, tuple[Any, Any]] = {
        "add": (dg.add, np.add),
        "subtract": (dg.subtract, np.subtract),
        "multiply": (dg.multiply, np.multiply),
        "divide": (dg.divide, np.divide),
        "maximum": (dg.maximum, np.maximum),
        "minimum": (dg.minimum, np.minimum),
        "pow": (dg.pow, np.power),
        "atan2": (dg.atan2, np.arctan2),
        "squared_difference": (dg.squared_difference, lambda x, y: (x - y) ** 2),
        "where": (lambda x, y: dg.where_v2(x > y, x, y), np.maximum),
    }
    return [c for n, (f, g) in functions.items() for c in _each(n, f, g, *_TWO)]


def _reductions() -> list[Case]:
    cases = []
    for axis, keep in ((None, False), (0, False), (-1, True), ((0, 1), False)):
        shapes: Sequence[Shape] = ((0, 3), (3, 0), (2, 0, 3), (2, 3))
        if axis is None:
            shapes = (*shapes, (), (0,))
        elif axis in (0, -1):
            shapes = (*shapes, (0,))
        for name, f, g in (
            ("reduce_sum", dg.reduce_sum, np.sum),
            ("reduce_mean", dg.reduce_mean, np.mean),
            ("reduce_prod", dg.reduce_prod, np.prod),
            (
                "reduce_max",
                dg.reduce_max,
                lambda x, a, keepdims: np.max(
                    x, axis=a, keepdims=keepdims, initial=-np.inf
                ),
            ),
            (
                "reduce_min",
                dg.reduce_min,
                lambda x, a, keepdims: np.min(
                    x, axis=a, keepdims=keepdims, initial=np.inf
                ),
            ),
            (
                "reduce_logsumexp",
                dg.reduce_logsumexp,
                lambda x, a, keepdims: np.log(np.sum(np.exp(x), a, keepdims=keepdims)),
            ),
        ):
            cases += _each(
                f"{name}-{axis}-{keep}",
                lambda x, f=f, a=axis, k=keep: f(x, a, keepdims=k),
                lambda x, g=g, a=axis, k=keep: g(x, a, keepdims=k),
                *shapes,
            )
    cases += _each("cumsum", dg.cumsum, lambda x: np.cumsum(x, 0), (0,), (0, 3), (3, 0))
    cases += _each(
        "cumprod -1",
        lambda x: dg.cumprod(x, -1),
        lambda x: np.cumprod(x, -1),
        (0,),
        (0, 3),
        (3, 0),
    )
    cases += _each("softmax", dg.nn.softmax, _softmax, (0,), (0, 3), (3, 0), (1,))
    cases += _each(
        "log_softmax",
        dg.nn.log_softmax,
        lambda x: np.log(_softmax(x)),
        (0,),
        (0, 3),
        (3, 0),
    )
    return cases


def _contractions() -> list[Case]:
    return [
        *_each(
            "matmul",
            dg.matmul,
            np.matmul,
            ((0, 3), (3, 2)),
            ((2, 0), (0, 3)),
            ((2, 3), (3, 0)),
            ((0, 0), (0, 0)),
            ((0, 2, 3), (0, 3, 1)),
            ((4, 2, 0), (4, 0, 3)),
            ((1, 2, 3), (0, 3, 2)),
            ((4, 2, 3), (3, 0)),
        ),
        *_each(
            "transposed",
            lambda a, b: dg.matmul(a, b, transpose_a=True, transpose_b=True),
            lambda a, b: a.T @ b.T,
            ((3, 0), (2, 3)),
            ((0, 2), (3, 0)),
        ),
        *_each(
            "einsum",
            lambda a, b: dg.einsum("ij,jk->ik", a, b),
            lambda a, b: np.einsum("ij,jk->ik", a, b),
            ((2, 0), (0, 3)),
            ((0, 2), (2, 3)),
        ),
        *_each(
            "tensordot",
            lambda a, b: dg.tensordot(a, b, 1),
            lambda a, b: np.tensordot(a, b, 1),
            ((2, 0), (0, 3)),
            ((0,), (0,)),
            ((0, 2), (2,)),
        ),
    ]


def _shapes() -> list[Case]:
    return [
        *_each("reshape", lambda x: dg.reshape(x, [-1]), np.ravel, *_ONE),
        *_each("transpose", dg.transpose, np.transpose, *_ONE),
        *_each("expand_dims", lambda x: dg.expand_dims(x, 0), lambda x: x[None], *_ONE),
        *_each("squeeze", dg.squeeze, np.squeeze, (), (1,), (0, 1), (1, 0, 1)),
        *_each(
            "concat",
            lambda x, y: dg.concat([x, y], 0),
            lambda x, y: np.concatenate([x, y]),
            ((0,), (2,)),
            ((0, 3), (0, 3)),
            ((2, 0), (1, 0)),
        ),
        *_each(
            "stack",
            lambda x, y: dg.stack([x, y], -1),
            lambda x, y: np.stack([x, y], -1),
            ((), ()),
            ((0,), (0,)),
            ((0, 2), (0, 2)),
        ),
        *_each(
            "tile",
            lambda x: dg.tile(x, [2, 0]),
            lambda x: np.tile(x, (2, 0)),
            (2, 3),
            (0, 3),
        ),
        *_each("tile 0d", lambda x: dg.tile(x, []), lambda x: x, ()),
        *_each(
            "pad",
            lambda x: dg.pad(x, [[1, 0], [0, 2]]),
            lambda x: np.pad(x, [(1, 0), (0, 2)]),
            (0, 3),
            (0, 0),
            (2, 0),
        ),
        *_each(
            "reverse", lambda x: dg.reverse(x, [0]), lambda x: x[::-1], (0,), (0, 2)
        ),
        *_each(
            "split",
            lambda x: dg.split(x, 2)[1],
            lambda x: np.split(x, 2)[1],
            (0, 3),
            (2, 0),
        ),
        *_each(
            "broadcast_to",
            lambda x: dg.broadcast_to(x, [0, 3]),
            lambda x: np.broadcast_to(x, (0, 3)),
            (),
            (3,),
            (1, 3),
            (0, 1),
        ),
        *_each(
            "roll", lambda x: dg.roll(x, 1, 0), lambda x: np.roll(x, 1, 0), (0,), (0, 2)
        ),
    ]


def _indexing() -> list[Case]:
    return [
        *_each("empty slice", lambda x: x[2:2], lambda x: x[2:2], (4,), (3, 2), (0,)),
        *_each("slice", lambda x: x[1:, ::-1], lambda x: x[1:, ::-1], (0, 3), (2, 0)),
        *_each("new axis", lambda x: x[..., None], lambda x: x[..., None], *_ONE),
        *_each("ellipsis", lambda x: x[...], lambda x: x[...], *_ONE),
        *_each(
            "gather none",
            lambda x: dg.gather(x, np.zeros((0,), np.int32)),
            lambda x: x[np.zeros((0,), np.int32)],
            (3,),
            (0,),
            (3, 2),
            (0, 2),
        ),
        *_each("gather 0d", lambda x: dg.gather(x, 1), lambda x: x[1], (3,), (3, 0)),
        *_each(
            "gather_nd none",
            lambda x: dg.gather_nd(x, np.zeros((0, 1), np.int32)),
            lambda x: x[np.zeros((0,), np.int32)],
            (3,),
            (3, 2),
        ),
        *_each(
            "gather_nd whole",
            lambda x: dg.gather_nd(x, np.zeros((2, 0), np.int32)),
            lambda x: np.stack([x, x]),
            (),
            (3,),
            (0, 2),
        ),
        *_each("mask", lambda x: x[x > 100], lambda x: x[x > 100], (0,), (3,), (2, 0)),
        *_each(
            "boolean_mask",
            lambda x: dg.boolean_mask(x, np.zeros(3, bool)),
            lambda x: x[np.zeros(3, bool)],
            (3,),
            (3, 2),
            (3, 0),
        ),
        *_each(
            "mask of two axes",
            lambda x: dg.boolean_mask(x, np.ones((2, 2), bool)),
            lambda x: x[np.ones((2, 2), bool)],
            (2, 2),
            (2, 2, 0),
        ),
        *_each(
            "dynamic_partition",
            lambda x: dg.dynamic_partition(x, [[0, 1], [1, 1]], 2)[1],
            lambda x: np.stack([x[0, 1], x[1, 0], x[1, 1]]),
            (2, 2),
            (2, 2, 0),
        ),
        *_each(
            "dynamic_stitch",
            lambda x: dg.dynamic_stitch([[[1, 0]]], [x]),
            lambda x: np.stack([x[0, 1], x[0, 0]]),
            (1, 2),
            (1, 2, 0),
        ),
        *_each(
            "segment_prod of two axes",
            lambda x: dg.unsorted_segment_prod(x, [[0, 0]], 1),
            lambda x: x[:, 0] * x[:, 1],
            (1, 2),
            (1, 2, 0),
        ),
        *_each("array key", lambda x: x[[]], lambda x: x[[]], (3,), (0,), (3, 2)),
        *_each(
            "top_k none",
            lambda x: dg.nn.top_k(x, 0).values,
            lambda x: x[..., :0],
            (3,),
            (0,),
            (2, 3),
        ),
        *_each("sort", dg.sort, np.sort, (0,), (0, 3), (3, 0)),
        *_each(
            "segment_sum none",
            lambda x: dg.unsorted_segment_sum(x, np.zeros(0, np.int32), 2),
            lambda x: np.zeros((2, *x.shape[1:])),
            (0,),
            (0, 3),
        ),
    ]


_CASES = [
    *_unary(),
    *_binary(),
    *_reductions(),
    *_contractions(),
    *_shapes(),
    *_indexing(),
]


def _differences(case: Case, arrays: list[Any]) -> list[Any]:
    """The gradient of the sum of the reference, element by element."""
    found = []
    for i, a in enumerate(arrays):
        gradient = np.zeros_like(a)
        for at in np.ndindex(a.shape):
            moved = [x.copy() for x in arrays]
            step = np.zeros_like(a)
            step[at] = 1e-6
            moved[i] = a + step
            high = np.sum(case.reference(*moved))
            moved[i] = a - step
            gradient[at] = (high - np.sum(case.reference(*moved))) / 2e-6
        found.append(gradient)
    return found


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    "case", [pytest.param(c, id=f"{c.name}-{c.shapes}") for c in _CASES]
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_edge_shape(case: Case, known: bool) -> None:
    rng = np.random.default_rng(1)
    arrays = [np.asarray(rng.uniform(0.5, 1.7, s)) for s in case.shapes]
    with dg.Graph().as_default(), np.errstate(all="ignore"):
        xs = [
            dg.placeholder(dg.float64, s if known else (None,) * len(s))
            for s in case.shapes
        ]
        y = case.build(*xs)
        gradients = dg.gradients(y, xs)
        want = np.asarray(case.reference(*arrays))
        with dg.Session() as session:
            got, *pulled = session.run([y, *gradients], dict(zip(xs, arrays)))
        assert np.shape(got) == want.shape
        np.testing.assert_allclose(got, want, 1e-12)
        for g, d in zip(pulled, _differences(case, arrays), strict=True):
            assert np.shape(g) == d.shape
            np.testing.assert_allclose(g, d, 1e-6, 1e-8)


def test_nothing_has_no_extreme_position() -> None:
    with dg.Graph().as_default():
        with pytest.raises(dg.errors.ShapeError, match="empty"):
            dg.argmax(np.zeros((2, 0)), 1)
        assert dg.argmax(np.zeros((0, 2)), 1).shape == (0,)


def test_a_convolution_into_no_channels() -> None:
    with dg.Graph().as_default(), dg.Session() as session:
        x = dg.constant(np.ones((2, 4, 4, 3)))
        w = dg.constant(np.ones((3, 3, 3, 0)))
        y = dg.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding="SAME")
        dx, dw = dg.gradients(y, [x, w])
        y, dx, dw = session.run([y, dx, dw])
        assert y.shape == (2, 4, 4, 0)
        assert dw.shape == (3, 3, 3, 0)
        np.testing.assert_array_equal(dx, np.zeros((2, 4, 4, 3)))


def test_normalizing_no_channels() -> None:
    with dg.Graph().as_default(), dg.Session() as session:
        x = dg.placeholder(dg.float32, (2, 3, 3, 0))
        none = dg.constant(np.zeros(0, np.float32))
        y, _, variance = dg.nn.fused_batch_norm(x, none, none)
        (dx,) = dg.gradients(y, [x])
        feeds = {x: np.zeros((2, 3, 3, 0), np.float32)}
        for got in session.run([y, dx], feeds):
            assert got.shape == (2, 3, 3, 0)
        assert session.run(variance, feeds).shape == (0,)


def test_no_class_is_among_the_best() -> None:
    with dg.Graph().as_default(), dg.Session() as session:
        best = dg.nn.in_top_k(np.zeros((2, 0), np.float32), [0, 1], 1)
        np.testing.assert_array_equal(session.run(best), [False, False])
