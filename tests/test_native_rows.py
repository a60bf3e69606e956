"""Softmax and its kin as native code: within the bounds of their sums."""

from __future__ import annotations

import numpy as np
import pytest
from native_programs import fresh_kernels

import dagrad as dg
from dagrad.runtime import native_rows
from dagrad.runtime.native import worker

pytest.importorskip("llvmlite")


@pytest.fixture(autouse=True)
def rows_of_any_size(monkeypatch, tmp_path):
    monkeypatch.setattr(native_rows, "_LEAST", 1)
    with fresh_kernels(monkeypatch, tmp_path):
        yield


def compiled():
    return [k for k in worker._KNOWN.values() if k.code is not None]


def softmax(x, labels):
    return [dg.nn.softmax(x)]


def log_softmax(x, labels):
    return [dg.nn.log_softmax(x)]


def softmax_gradient(x, labels):
    return dg.gradients(dg.nn.softmax(x), [x], grad_ys=[labels])


def cross_entropy(x, labels):
    loss = dg.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=x)
    return [loss, *dg.gradients(loss, [x])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 8), (3, 17), (2, 5, 33), (4, 300), (16,)])
@pytest.mark.parametrize(
    "build", [softmax, log_softmax, softmax_gradient, cross_entropy]
)
def test_rows_agree_with_numpy(build, shape, dtype):
    x, labels = (dg.placeholder(dtype, shape) for _ in range(2))
    fetches = build(x, labels)
    rng = np.random.default_rng(0)
    feeds = {
        x: (rng.standard_normal(shape) * 5).astype(dtype),
        labels: rng.random(shape).astype(dtype),
    }
    expected = dg.Session().run(fetches, feeds)
    got = dg.Session(config=dg.ConfigProto(native="wait")).run(fetches, feeds)
    assert compiled()
    # The sum of n terms may be wrong by n roundings, whatever its order.
    bound = 8 * shape[-1] * np.finfo(dtype).eps
    for a, b in zip(got, expected):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * 10)


def sparse(dtype, shape, labels):
    x = dg.placeholder(dtype, shape)
    y = dg.placeholder(labels, shape[:-1])
    loss = dg.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x)
    return x, y, [loss, *dg.gradients(loss, [x])]


@pytest.mark.parametrize("labels", [np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 8), (3, 17), (2, 5, 33), (4, 300), (16,)])
def test_the_entropy_of_labels(shape, dtype, labels):
    x, y, fetches = sparse(dtype, shape, labels)
    rng = np.random.default_rng(0)
    given = (rng.standard_normal(shape) * 5).astype(dtype)
    given[..., 3] = -np.inf
    feeds = {x: given, y: rng.integers(0, shape[-1], shape[:-1]).astype(labels)}
    expected = dg.Session().run(fetches, feeds)
    got = dg.Session(config=dg.ConfigProto(native="wait")).run(fetches, feeds)
    assert compiled()
    bound = 8 * shape[-1] * np.finfo(dtype).eps
    for a, b in zip(got, expected):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * 10)


@pytest.mark.parametrize("wrong", [-1, 20])
def test_a_label_of_no_class_is_an_error(wrong):
    x, y, fetches = sparse(np.float32, (3, 20), np.int32)
    session = dg.Session(config=dg.ConfigProto(native="wait"))
    feeds = {x: np.zeros((3, 20), np.float32), y: np.array([0, wrong, 2], np.int32)}
    with pytest.raises(dg.errors.InvalidArgumentError, match=f"label {wrong}"):
        session.run(fetches, feeds)
    feeds[y] = np.array([0, 1, 2], np.int32)
    np.testing.assert_allclose(session.run(fetches, feeds)[0], np.log(20), rtol=1e-6)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_stay_in_their_row(special):
    x = dg.placeholder(dg.float32, [3, 20])
    y = dg.nn.softmax(x)
    a = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 20)
    a[1, 7] = special
    got = dg.Session(config=dg.ConfigProto(native="wait")).run(y, {x: a})
    expected = dg.Session().run(y, {x: a})
    assert compiled()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [softmax, log_softmax, softmax_gradient])
def test_a_result_in_the_memory_of_an_operand(build):
    x, labels = (dg.placeholder(dg.float32, [12, 12]) for _ in range(2))
    inner = [dg.matmul(x, x), dg.matmul(labels, labels)]
    (found,) = build(*inner)
    y = dg.matmul(found, x)
    rng = np.random.default_rng(0)
    feeds = {t: rng.standard_normal((12, 12)).astype(np.float32) for t in (x, labels)}
    expected = dg.Session().run(y, feeds)
    session = dg.Session(config=dg.ConfigProto(native="wait"))
    assert any(s.takes_over for s in session.plan(y, feeds).steps)
    np.testing.assert_allclose(session.run(y, feeds), expected, rtol=1e-4, atol=1e-5)
    assert compiled()


def test_other_axes_and_layouts_are_left_to_numpy():
    x = dg.placeholder(dg.float32, [16, 16])
    session = dg.Session(config=dg.ConfigProto(native="wait"))
    a = np.random.default_rng(0).random((16, 16), np.float32)
    y = dg.nn.softmax(x, axis=0)
    np.testing.assert_array_equal(session.run(y, {x: a}), dg.Session().run(y, {x: a}))
    assert not compiled()
    z = dg.nn.softmax(x)
    f = np.asfortranarray(a)
    np.testing.assert_array_equal(session.run(z, {x: f}), dg.Session().run(z, {x: f}))
