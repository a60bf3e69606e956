"""The table of cases, and how one of them is run and written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES: dict[str, Callable[..., Any]] = {}
# What an ``except`` clause may name.
BUILTINS = (ValueError, TypeError, KeyError, IndexError, RuntimeError, LookupError)
# What a case may return beside tensors and arrays.
PLAIN = (bool, int, float, str, dict, list)


def case(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function into the table under its own name."""
    if function.__name__ in CASES:
        raise ValueError(f"two cases are called {function.__name__}")
    CASES[function.__name__] = function
    return function


def wave(*shape: int, k: float = 1.0) -> Any:
    """Numbers without pattern, the same everywhere: float32 in (-2, 2)."""
    n = int(np.prod(shape))
    i = np.arange(n, dtype=np.float64)
    flat = 2 * np.sin(i * (1.7 + 0.61 * k) + 0.37 * i**2 + k)
    return np.round(flat, 4).astype(np.float32).reshape(shape)


def _plain(array: Any) -> Any:
    """An array as a flat list for JSON: nine digits, complex as pairs."""
    flat = np.asarray(array).reshape(-1)
    if flat.dtype.kind == "c":
        flat = flat.view(flat.real.dtype)
    if flat.dtype.kind == "f":
        return [
            float(f"{v:.9g}") if np.isfinite(v) else str(float(v))
            for v in flat.tolist()
        ]
    if flat.dtype.kind == "O":
        return [v.decode() if isinstance(v, bytes) else str(v) for v in flat]
    return flat.tolist()


def _array(value: Any) -> dict[str, Any]:
    array = np.asarray(value)
    kind = array.dtype.name
    return {"dtype": kind, "value": _plain(array), "shape": list(array.shape)}


def _tensor(tensor: Any, value: Any) -> dict[str, Any]:
    shape = tensor.get_shape()
    static = shape.as_list() if shape.ndims is not None else None
    row = _array(value)
    row["dtype"] = tensor.dtype.base_dtype.name
    if static != row["shape"]:
        row["static"] = static
    return row


def catches(tf: Any, error: BaseException) -> list[str]:
    """Which ``except`` clauses of a TF1 program catch ``error``."""
    found = [c.__name__ for c in BUILTINS if isinstance(error, c)]
    for name in sorted(dir(tf.errors)):
        kind = getattr(tf.errors, name)
        named = isinstance(kind, type) and issubclass(kind, tf.errors.OpError)
        if named and isinstance(error, kind):
            found.append(f"errors.{name}")
    return found


def measure(name: str, tf: Any) -> dict[str, Any]:
    """Run a case in a graph of its own and write down what it gives."""
    graph = tf.Graph()
    feed: dict[Any, Any] = {}
    with graph.as_default():
        tf.set_random_seed(1)
        try:
            results = CASES[name](tf, feed)
        except Exception as error:
            if not name.startswith("error_"):
                raise
            return {"catches": catches(tf, error)}
        rows: dict[str, Any] = {}
        tensors = {}
        for key, value in results.items():
            if value is None or isinstance(value, PLAIN):
                rows[key] = value
            elif isinstance(value, (np.ndarray, np.generic)):
                rows[key] = _array(value)
            else:
                tensors[key] = tf.convert_to_tensor(value)
        start = tf.global_variables_initializer()
        with tf.Session(graph=graph) as session:
            session.run(start)
            values = session.run(tensors, feed)
        for key, tensor in tensors.items():
            rows[key] = _tensor(tensor, values[key])
    return rows
