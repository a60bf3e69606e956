"""Optimizers' updates as native code: the same bits as NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from native_programs import forget_kernels

import dagrad as dg
from dagrad.runtime import fusion, native_updates
from dagrad.runtime.native import engine, worker

pytest.importorskip("llvmlite")

OPTIMIZERS = {
    "sgd": lambda: dg.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: dg.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: dg.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adam": lambda: dg.train.AdamOptimizer(0.1),
    "rmsprop": lambda: dg.train.RMSPropOptimizer(0.1, momentum=0.5),
    "centered": lambda: dg.train.RMSPropOptimizer(0.1, centered=True),
    "adagrad": lambda: dg.train.AdagradOptimizer(0.1),
    "adadelta": lambda: dg.train.AdadeltaOptimizer(0.1),
    "ftrl": lambda: dg.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
}


def trained(make, mode, dtype, steps=4, size=5000):
    """The variable after some steps, and how many kernels were compiled for it."""
    forget_kernels()
    rng = np.random.default_rng(0)
    with dg.Graph().as_default():
        v = dg.Variable(rng.standard_normal(size).astype(dtype))
        target = dg.constant(rng.standard_normal((2, size // 2)).astype(dtype))
        loss = dg.reduce_sum(dg.square(dg.reshape(v, [2, size // 2]) - target))
        train = make().minimize(loss)
        with dg.Session(config=dg.ConfigProto(native=mode)) as session:
            session.run(dg.global_variables_initializer())
            for _ in range(steps):
                session.run(train)
            kernels = [k for k in worker._KNOWN.values() if k.code is not None]
            return session.run(v), len(kernels)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 10**9)  # only updates are compiled


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_native_updates_give_numpys_bits(name, dtype):
    expected, none = trained(OPTIMIZERS[name], "off", dtype)
    got, compiled = trained(OPTIMIZERS[name], "wait", dtype)
    np.testing.assert_array_equal(got, expected)
    assert none == 0
    assert compiled >= 1


def test_the_switch_changes_nothing():
    expected, _ = trained(OPTIMIZERS["adam"], "off", np.float32, 300, 60000)
    got, compiled = trained(OPTIMIZERS["adam"], "auto", np.float32, 300, 60000)
    np.testing.assert_array_equal(got, expected)
    assert compiled >= 1


def test_where_llvm_fails_numpy_goes_on(monkeypatch):
    def broken(self, text):
        raise RuntimeError("no such processor")

    monkeypatch.setattr(engine.Engine, "compile", broken)
    monkeypatch.setattr(worker, "_warned", False)
    expected, _ = trained(OPTIMIZERS["adam"], "off", np.float32)
    with pytest.warns(RuntimeWarning, match="no such processor"):
        got, compiled = trained(OPTIMIZERS["adam"], "wait", np.float32)
    np.testing.assert_array_equal(got, expected)
    assert compiled == 0


def test_small_variables_are_left_to_numpy():
    assert native_updates._LEAST > 100
    _, compiled = trained(OPTIMIZERS["adam"], "wait", np.float32, size=100)
    assert compiled == 0
