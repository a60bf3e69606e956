"""Learning rates that change with the step: scalar tensors, TF1's formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..graphlib.errors import GraphError, ShapeError
from ..graphlib.tensor import Tensor, as_tensor
from ..ops._build import scope
from ..ops.core import cast
from ..ops.elementwise import multiply
from ..ops.gather import gather
from ..ops.joining import stack
from ..ops.logical import equal, where
from ..ops.powers import pow_, sqrt
from ..ops.random import random_normal
from ..ops.reduction import reduce_sum
from ..ops.rounding import ceil, floor, minimum
from ..ops.transcendental import cos, exp, log

__all__ = [
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
]


def _step(global_step: Any, rate: Tensor, who: str) -> Tensor:
    """The step in the dtype of the rate."""
    if global_step is None:
        raise GraphError(f"{who} needs a global_step")
    return cast(global_step, rate.dtype)


def _share(step: Tensor, decay_steps: Any, staircase: bool = False) -> Tensor:
    """step / decay_steps, rounded down for a staircase."""
    share = step / cast(decay_steps, step.dtype)
    return floor(share) if staircase else share


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate * decay_rate ** (global_step / decay_steps).

    Args:
        learning_rate: the rate at step 0; a number or a floating scalar.
        global_step: a number, a scalar tensor or a variable; not negative.
        decay_steps: positive.
        decay_rate: the factor per ``decay_steps`` steps.
        staircase: divide without a remainder.
        name: the scope of the operations.

    Raises:
        GraphError: ``global_step`` is None.
    """
    with scope(name, "ExponentialDecay", learning_rate, global_step) as whole:
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "exponential_decay")
        factor = cast(decay_rate, rate.dtype)
        power = pow_(factor, _share(step, decay_steps, staircase))
        return multiply(rate, power, name=whole)


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate * exp(-decay_rate * global_step / decay_steps).

    Arguments as in :func:`exponential_decay`.
    """
    with scope(name, "NaturalExpDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "natural_exp_decay")
        share = _share(step, decay_steps, staircase)
        return rate * exp(-cast(decay_rate, rate.dtype) * share)


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate / (1 + decay_rate * global_step / decay_steps).

    Arguments as in :func:`exponential_decay`.
    """
    with scope(name, "InverseTimeDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "inverse_time_decay")
        share = _share(step, decay_steps, staircase)
        return rate / (1.0 + cast(decay_rate, rate.dtype) * share)


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """(learning_rate - end) * (1 - step / decay_steps) ** power + end.

    ``step`` is at most ``decay_steps``; with ``cycle``, ``decay_steps`` is its
    first multiple that is at least ``step``.

    Args:
        learning_rate: the rate at step 0; a number or a floating scalar.
        global_step: a number, a scalar tensor or a variable; not negative.
        decay_steps: positive.
        end_learning_rate: the rate after ``decay_steps``.
        power: of the polynomial.
        cycle: begin again, from lower and lower, after ``decay_steps``.
        name: the scope of the operations.

    Raises:
        GraphError: ``global_step`` is None.
    """
    with scope(name, "PolynomialDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "polynomial_decay")
        end = cast(end_learning_rate, rate.dtype)
        total = cast(decay_steps, rate.dtype)
        if cycle:
            cycles = ceil(step / total)
            total = total * where(equal(step, 0.0), cycles + 1.0, cycles)
        else:
            step = minimum(step, total)
        left = pow_(1.0 - step / total, cast(power, rate.dtype))
        return (rate - end) * left + end


def piecewise_constant(
    x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
) -> Tensor:
    """values[i] for boundaries[i - 1] < x <= boundaries[i].

    Args:
        x: a scalar: a number, a tensor or a variable.
        boundaries: n increasing numbers of the dtype of ``x``.
        values: n + 1 numbers or scalars of one dtype.
        name: the scope of the operations.

    Raises:
        ShapeError: the lengths do not fit.
        DTypeError: the values have no common dtype.
    """
    if len(values) != len(boundaries) + 1:
        raise ShapeError(
            f"piecewise_constant: {len(boundaries)} boundaries need "
            f"{len(boundaries) + 1} values, not {len(values)}"
        )
    with scope(name, "PiecewiseConstant", x, *values):
        at = as_tensor(x)
        table = as_tensor(list(values))
        if not boundaries:
            return table[0]
        limits = stack([cast(b, at.dtype) for b in boundaries])
        return gather(table, reduce_sum(cast(at > limits, "int32")))


piecewise_constant_decay = piecewise_constant


def cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Tensor:
    """learning_rate * ((1 - alpha) * c + alpha), c = (1 + cos(pi * share)) / 2.

    ``share`` is global_step / decay_steps, at most 1.

    Args:
        learning_rate: the rate at step 0; a number or a floating scalar.
        global_step: a number, a scalar tensor or a variable; not negative.
        decay_steps: positive.
        alpha: the rate at the end, as a share of the first one.
        name: the scope of the operations.

    Raises:
        GraphError: ``global_step`` is None.

    Reference:
        Loshchilov & Hutter, SGDR, ICLR 2017.
    """
    with scope(name, "CosineDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "cosine_decay")
        share = minimum(_share(step, decay_steps), 1.0)
        factor = 0.5 * (1.0 + cos(math.pi * share))
        return multiply(rate, (1.0 - alpha) * factor + alpha)


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Tensor:
    """:func:`cosine_decay` that starts again whenever it has come to its end.

    Args:
        learning_rate: the rate at step 0; a number or a floating scalar.
        global_step: a number, a scalar tensor or a variable; not negative.
        first_decay_steps: the length of the first period.
        t_mul: each period is so many times as long as the one before; at least 1.
        m_mul: each starts so many times as high.
        alpha: the least rate, as a share of the first one.
        name: the scope of the operations.

    Raises:
        GraphError: ``global_step`` is None.

    Reference:
        Loshchilov & Hutter, SGDR, ICLR 2017.
    """
    with scope(name, "SGDRDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "cosine_decay_restarts")
        growth = cast(t_mul, rate.dtype)
        share = _share(step, first_decay_steps)
        even = floor(share)
        # Where t_mul is 1 the geometric sums are 0 / 0: a harmless base replaces it.
        constant = equal(growth, 1.0)
        base = where(constant, growth + 1.0, growth)
        grown = floor(log(1.0 + share * (base - 1.0)) / log(base))
        length = pow_(base, grown)
        rest = (share - (length - 1.0) / (base - 1.0)) / length
        count = where(constant, even, grown)
        share = where(constant, share - even, rest)
        height = 0.5 * pow_(cast(m_mul, rate.dtype), count)
        factor = height * (1.0 + cos(math.pi * share))
        return multiply(rate, (1.0 - alpha) * factor + alpha)


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """learning_rate * ((alpha + 1 - share) * c + beta), with
    c = (1 + cos(2 * pi * num_periods * share)) / 2.

    ``share`` is global_step / decay_steps, at most 1.  Other arguments as in
    :func:`cosine_decay`.

    Reference:
        Bello et al., Neural optimizer search with reinforcement learning,
        ICML 2017.
    """
    with scope(name, "LinearCosineDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "linear_cosine_decay")
        share = minimum(_share(step, decay_steps), 1.0)
        wave = 0.5 * (1.0 + cos(2.0 * math.pi * num_periods * share))
        return multiply(rate, (alpha + (1.0 - share)) * wave + beta)


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """:func:`linear_cosine_decay` with normal noise on the linear part, of variance
    initial_variance / (1 + step) ** variance_decay, step at most decay_steps."""
    with scope(name, "NoisyLinearCosineDecay", learning_rate, global_step):
        rate = as_tensor(learning_rate, name="learning_rate")
        step = _step(global_step, rate, "noisy_linear_cosine_decay")
        step = minimum(step, cast(decay_steps, rate.dtype))
        share = _share(step, decay_steps)
        shrink = pow_(1.0 + step, cast(variance_decay, rate.dtype))
        spread = sqrt(cast(initial_variance, rate.dtype) / shrink)
        noise = random_normal([], dtype=rate.dtype) * spread
        wave = 0.5 * (1.0 + cos(2.0 * math.pi * num_periods * share))
        return multiply(rate, (alpha + (1.0 - share) + noise) * wave + beta)
