"""Initializers: scales from the papers, shapes, configurations."""

from __future__ import annotations

import numpy as np
import pytest

from dagrad.graphlib import errors
from dagrad.graphlib.graph import Graph
from dagrad.ops import initializers as i
from dagrad.runtime.session import Session

SHAPE = (3, 3, 20, 30)  # a filter: fan-in 180, fan-out 270


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default() as g:
        g.seed = 3
        yield g


def values(initializer, shape=SHAPE, **more):
    return Session().run(initializer(shape, **more))


@pytest.mark.parametrize(
    ("initializer", "variance", "bound"),
    [
        (i.glorot_uniform_initializer(), 2 / 450, np.sqrt(6 / 450)),
        (i.glorot_normal_initializer(), 2 / 450, None),
        (i.xavier_initializer(), 2 / 450, np.sqrt(6 / 450)),
        (i.he_normal(), 2 / 180, None),
        (i.he_uniform(), 2 / 180, np.sqrt(6 / 180)),
        (i.lecun_normal(), 1 / 180, None),
        (i.lecun_uniform(), 1 / 180, np.sqrt(3 / 180)),
        (i.variance_scaling_initializer(3.0, "fan_out"), 3 / 270, None),
        (
            i.variance_scaling_initializer(1.0, "fan_in", "untruncated_normal"),
            1 / 180,
            None,
        ),
        (i.uniform_unit_scaling_initializer(), 1 / 180, np.sqrt(3 / 180)),
        (i.random_normal_initializer(0.0, 0.5), 0.25, None),
        (i.random_uniform_initializer(-0.5, 0.5), 1 / 12, 0.5),
        (i.truncated_normal_initializer(0.0, 0.5), 0.25 * 0.8796**2, 1.0),
    ],
)
def test_variance_and_range(initializer, variance, bound):
    sample = values(initializer)
    assert sample.shape == SHAPE
    assert sample.dtype == np.float32
    assert sample.var() == pytest.approx(variance, rel=0.08)
    assert abs(sample.mean()) < 5 * np.sqrt(variance / sample.size)
    if bound is not None:
        assert np.abs(sample).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((5,), (5, 5)), ((5, 7), (5, 7)), ((2, 3, 5, 7), (30, 42))],
)
def test_fans(shape, fans):
    assert i.compute_fans(shape) == fans


def test_constants():
    assert values(i.zeros_initializer(), (2, 2)).tolist() == [[0, 0], [0, 0]]
    assert values(i.ones_initializer("int32"), (2,)).tolist() == [1, 1]
    assert values(i.ones_initializer(), (2,), dtype="bool").tolist() == [True, True]
    assert values(i.constant_initializer(3), (2,)).tolist() == [3, 3]
    given = i.constant_initializer([1, 2, 3, 4])
    assert values(given, (2, 2)).tolist() == [[1, 2], [3, 4]]


def test_a_constants_shape_can_be_verified():
    with pytest.raises(errors.ShapeError):
        i.constant_initializer([1, 2, 3])([2])
    with pytest.raises(errors.ShapeError):
        i.constant_initializer([1, 2], verify_shape=True)([4])


def test_orthogonal():
    q = values(i.orthogonal_initializer(gain=2.0, dtype="float64"), (2, 3, 4))
    flat = q.reshape(6, 4)
    np.testing.assert_allclose(flat.T @ flat, 4 * np.eye(4), atol=1e-12)
    with pytest.raises(errors.ShapeError, match="matrix"):
        i.orthogonal_initializer()([3])


def test_identity():
    eye = values(i.identity_initializer(2.0), (2, 3))
    np.testing.assert_array_equal(eye, [[2, 0, 0], [0, 2, 0]])
    with pytest.raises(errors.ShapeError, match="matrix"):
        i.identity_initializer()([3])


@pytest.mark.parametrize(
    "initializer",
    [
        i.zeros_initializer("int32"),
        i.constant_initializer(2.5),
        i.random_normal_initializer(1.0, 2.0, seed=3),
        i.random_uniform_initializer(-1, 1, dtype="float64"),
        i.variance_scaling_initializer(2.0, "fan_avg", "uniform"),
        i.glorot_uniform_initializer(seed=1),
        i.orthogonal_initializer(0.5),
        i.identity_initializer(),
    ],
)
def test_configurations_make_equal_initializers(initializer):
    config = initializer.get_config()
    again = type(initializer).from_config(config)
    assert again.get_config() == config
    assert repr(again) == repr(initializer)


def test_the_shape_must_be_known():
    with pytest.raises(errors.ShapeError, match="fully known"):
        i.ones_initializer()([None, 2])


@pytest.mark.parametrize("arguments", [(0.0,), (1.0, "fan"), (1.0, "fan_in", "gamma")])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="VarianceScaling"):
        i.variance_scaling_initializer(*arguments)


def test_random_values_need_a_floating_dtype():
    with pytest.raises(errors.DTypeError, match="floating"):
        i.random_normal_initializer(dtype="int32")
