"""Random elementwise programs, for tests of fused operations."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from hypothesis import strategies as st

import dagrad as dg
from dagrad.runtime.native import cache, worker

__all__ = ["DTYPES", "forget_kernels", "fresh_kernels", "programs", "reference"]

DTYPES = [dg.float32, dg.float64, dg.int32, dg.int64, dg.bool]

_FLOAT_UNARY = [
    dg.negative,
    dg.abs,
    dg.square,
    dg.sign,
    dg.floor,
    dg.ceil,
    dg.rint,
    dg.sqrt,
    dg.reciprocal,
    dg.nn.relu,
    dg.nn.relu6,
    dg.nn.leaky_relu,
    dg.nn.softsign,
]
_FLOAT_BINARY = [
    dg.add,
    dg.subtract,
    dg.multiply,
    dg.divide,
    dg.maximum,
    dg.minimum,
    dg.squared_difference,
    dg.math.divide_no_nan,
]
_INT_UNARY = [dg.negative, dg.abs, dg.square, dg.nn.relu]
_INT_BINARY = [dg.add, dg.subtract, dg.multiply, dg.maximum, dg.minimum]
_COMPARE = [dg.equal, dg.not_equal, dg.less, dg.less_equal, dg.greater]
_LOGIC = [dg.logical_and, dg.logical_or, dg.logical_xor]

_SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, -2.5]


def _values(rng, dtype, shape):
    """Values of all kinds: the special ones are there often."""
    kind = dtype.as_numpy_dtype
    if dtype is dg.bool:
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.is_integer:
        limits = np.iinfo(kind)
        array = rng.integers(-9, 9, shape).astype(kind)
        return np.where(rng.random(shape) < 0.1, limits.max, array).astype(kind)
    array = (rng.standard_normal(shape) * 3).astype(kind)
    special = rng.choice(np.array(_SPECIAL, kind), size=shape)
    return np.where(rng.random(shape) < 0.3, special, array).astype(kind)


def _broadcast(draw, shape):
    """A shape that is broadcast to ``shape``."""
    kept = [d if draw(st.booleans()) else 1 for d in shape]
    return tuple(kept[draw(st.integers(0, len(kept))) :])


@st.composite
def programs(draw, shapes):
    """(fetches, feeds) of a program on arrays that are broadcast to one shape."""
    graph = dg.Graph()
    shape = draw(st.sampled_from(shapes))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    with graph.as_default():
        feeds = {}
        tensors = []
        for _ in range(draw(st.integers(1, 4))):
            dtype = draw(st.sampled_from(DTYPES))
            small = shape if draw(st.booleans()) else _broadcast(draw, shape)
            t = dg.placeholder(dtype, small)
            array = _values(rng, dtype, small)
            if array.ndim > 1 and draw(st.booleans()):
                array = np.asfortranarray(array)  # a layout of its own
            feeds[t] = array
            tensors.append(t)
        whole = dg.placeholder(dg.float32, shape)
        feeds[whole] = _values(rng, dg.float32, shape)
        tensors.append(whole)
        for _ in range(draw(st.integers(2, 12))):
            tensors.append(_step(draw, tensors))
        count = draw(st.integers(1, 3))
        fetches = [tensors[-1], *draw(st.permutations(tensors))[:count]]
    return graph, fetches, feeds


def _step(draw, tensors):
    """One more tensor, made of those that are there."""
    x = draw(st.sampled_from(tensors))
    what = draw(st.sampled_from(["unary", "binary", "compare", "cast", "select"]))
    if what == "cast":
        return dg.cast(x, draw(st.sampled_from(DTYPES)))
    others = [t for t in tensors if t.dtype is x.dtype]
    y = draw(st.sampled_from(others))
    if what == "select":
        conditions = [t for t in tensors if t.dtype is dg.bool]
        c = draw(st.sampled_from(conditions)) if conditions else dg.equal(x, y)
        return dg.where_v2(c, x, y)
    if x.dtype is dg.bool:
        if what == "unary":
            return dg.logical_not(x)
        return draw(st.sampled_from(_LOGIC))(x, y)
    if what == "compare":
        return draw(st.sampled_from(_COMPARE))(x, y)
    floats = x.dtype.is_floating
    if what == "unary":
        return draw(st.sampled_from(_FLOAT_UNARY if floats else _INT_UNARY))(x)
    return draw(st.sampled_from(_FLOAT_BINARY if floats else _INT_BINARY))(x, y)


def reference(graph, fetches, feeds):
    """What the interpreter makes of the program as it stands."""
    session = dg.Session(graph=graph, rewrites=())
    traced = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    return session.run(fetches, feeds, options=traced, run_metadata=dg.RunMetadata())


@contextmanager
def fresh_kernels(monkeypatch, tmp_path):
    """No kernel is known meanwhile, neither to the process nor on disk."""
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    forget_kernels()
    yield
    forget_kernels()


def forget_kernels():
    """What the process has compiled, or has warned of, is as if it never had."""
    worker._KNOWN.clear()
    worker._RECENT.clear()
    worker._warned = False
    cache._warned.clear()
