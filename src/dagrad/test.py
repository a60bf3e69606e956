"""What TF1 programs test with (``tf.test``).

``TestCase`` is loaded on first use: programs that test nothing need no unittest.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .graphlib.gradients import _tensors, as_dense, gradients
from .graphlib.stacks import default_session
from .graphlib.tensor import Tensor, as_tensor
from .ops._build import constant
from .ops.core import identity

if TYPE_CHECKING:
    from ._testcase import TestCase as TestCase

__all__ = [
    "TestCase",
    "compute_gradient",
    "compute_gradient_error",
    "get_temp_dir",
    "gpu_device_name",
    "is_built_with_cuda",
    "is_gpu_available",
    "main",
]


def __getattr__(name: str) -> Any:
    if name == "TestCase":
        from ._testcase import TestCase

        return TestCase
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def compute_gradient(
    x: Any,
    x_shape: Any,
    y: Any,
    y_shape: Any,
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Sequence[Any] | None = None,
    extra_feed_dict: Mapping[Any, Any] | None = None,
) -> Any:
    """The Jacobian of y for x, by :func:`gradients` and by differences.

    Runs in the default session.  Prefer :func:`dagrad.testing.check_grads`, which
    needs a few runs where this needs one or two per element, and compares.

    Args:
        x: a tensor, or a list of them.
        x_shape: the shape of x (a list of shapes for a list).
        y: a tensor.
        y_shape: its shape.
        x_init_value: an array: where (default: uniform in [0, 1)); a list for a
            list.
        delta: the step of the central differences.
        init_targets: operations to run first.
        extra_feed_dict: tensor -> value for the runs.

    Returns:
        Two arrays (size of x, size of y), the theoretical and the numerical
        Jacobian: entry i, j is dy_j/dx_i.  A complex tensor counts as twice as
        many reals, real and imaginary parts by turns.  A list of pairs for a list.

    Raises:
        AssertionError: a dtype without derivatives, or x_init_value has another
            shape than x_shape.
    """
    several = isinstance(x, list)
    xs = _tensors(x)  # variables themselves, not what was read of them
    shapes = list(x_shape) if several else [x_shape]
    starts = [None] * len(xs) if x_init_value is None else x_init_value
    if not several:
        starts = [x_init_value]
    y = as_tensor(y)
    pulled = [_pull_back(t, y, y_shape) for t in xs]
    for target in init_targets or ():
        target.run()
    feeds = dict(extra_feed_dict or {})
    pairs = []
    for t, shape, start, (dx, dy) in zip(xs, shapes, starts, pulled, strict=True):
        at = _start(t, y, _sizes(shape), start)
        pairs.append(
            (
                _theoretical(t, at, dx, dy, _sizes(y_shape), feeds),
                _numerical(t, at, y, _sizes(y_shape), delta, feeds),
            )
        )
    return pairs if several else pairs[0]


def compute_gradient_error(
    x: Any,
    x_shape: Any,
    y: Any,
    y_shape: Any,
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Sequence[Any] | None = None,
    extra_feed_dict: Mapping[Any, Any] | None = None,
) -> Any:
    """The largest difference between the two Jacobians of :func:`compute_gradient`.

    Args:
        x, x_shape, y, y_shape, x_init_value, delta, init_targets, extra_feed_dict:
            as there.
    """
    pairs = compute_gradient(
        x, x_shape, y, y_shape, x_init_value, delta, init_targets, extra_feed_dict
    )
    error: Any = 0
    for theoretical, numerical in pairs if isinstance(pairs, list) else [pairs]:
        if theoretical.size:
            error = np.maximum(error, np.abs(theoretical - numerical).max())
    return error


def _sizes(shape: Any) -> tuple[int, ...]:
    """A shape as TF1's checker takes it: also one number."""
    if isinstance(shape, (int, np.integer)):
        return (int(shape),)
    return tuple(int(n) for n in shape)


def _pull_back(x: Tensor, y: Tensor, y_shape: Any) -> tuple[Tensor, Tensor]:
    """The gradient for x, and the cotangent to feed for it."""
    with x.graph.as_default():
        seed = constant(np.ones(_sizes(y_shape)), y.dtype)
        # An identity between: dx may be dy itself, and what is fed is no result.
        (dx,) = gradients(y, x, identity(seed))
    assert dx is not None, f"{y.name} does not depend on {x.name}"
    return as_dense(dx), seed


def _start(x: Tensor, y: Tensor, shape: tuple[int, ...], start: Any) -> Any:
    for t in (x, y):
        assert t.dtype.is_inexact, f"no derivative in {t.dtype.name}: {t.name}"
    if start is not None:
        at = np.asarray(start, x.dtype.dtype)
        assert at.shape == shape, f"x_shape {shape}, x_init_value {at.shape}"
        return at
    at = np.random.random_sample(shape).astype(x.dtype.dtype)
    if x.dtype.is_complex:
        at.imag = np.random.random_sample(shape)
    return at


def _reals(array: Any) -> Any:
    """The numbers as a vector of reals (real and imaginary parts by turns)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(flat.real.dtype)


def _theoretical(
    x: Tensor,
    at: Any,
    dx: Tensor,
    dy: Tensor,
    y_shape: tuple[int, ...],
    feeds: dict[Any, Any],
) -> Any:
    run = default_session(None, "compute_gradient").run
    cotangent = np.zeros(y_shape, dy.dtype.dtype)
    flat = cotangent.reshape(-1)
    flat = flat.view(flat.real.dtype)
    jacobian = np.zeros((_reals(at).size, flat.size), _reals(at).dtype)
    for j in range(flat.size):
        flat[j] = 1
        jacobian[:, j] = _reals(run(dx, {**feeds, x: at, dy: cotangent}))
        flat[j] = 0
    if not flat.size:  # the gradient of nothing must be zeros of x's shape
        got = np.asarray(run(dx, {**feeds, x: at, dy: cotangent}))
        if got.shape != at.shape or got.any():
            raise ValueError(f"an empty y gives the gradient {got!r}")
    return jacobian


def _numerical(
    x: Tensor,
    at: Any,
    y: Tensor,
    y_shape: tuple[int, ...],
    delta: float,
    feeds: dict[Any, Any],
) -> Any:
    run = default_session(None, "compute_gradient").run
    size = _reals(np.zeros(y_shape, y.dtype.dtype)).size
    jacobian = np.zeros((_reals(at).size, size), _reals(at).dtype)
    for i in range(len(jacobian)):
        sides = []
        for step in (delta, -delta):
            moved = np.array(at, order="C")
            _reals(moved)[i] += step
            sides.append(np.asarray(run(y, {**feeds, x: moved})))
        jacobian[i] = _reals(
            (sides[0] - sides[1]) / _reals(sides[0]).dtype.type(2 * delta)
        )
    return jacobian


def main(argv: list[str] | None = None) -> None:
    """Run the tests of the calling program, and end it.

    Args:
        argv: the arguments (default: those of the process).
    """
    import unittest

    unittest.main(module="__main__", argv=sys.argv if argv is None else argv)


def is_built_with_cuda() -> bool:
    """False: dagrad runs on the processor."""
    return False


def is_gpu_available(
    cuda_only: bool = False, min_cuda_compute_capability: Any = None
) -> bool:
    """False: dagrad runs on the processor."""
    return False


def gpu_device_name() -> str:
    """The empty string: there is no such device."""
    return ""


def get_temp_dir() -> str:
    """A directory for the files of tests: the same in all of one process's tests.

    It is deleted when the process ends.
    """
    from ._testcase import temporary_directory

    return temporary_directory()
