"""Random classes, counts and waiting times: draws with parameters of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, as_dtype, float32, int32, int64
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, scope, shape_vector
from ._kinds import elementwise
from ._later import batch_index
from .core import cast
from .random import (
    UNIFORM,
    checked_sizes,
    draw_attrs,
    element_count,
    given,
    size_tuple,
)

__all__ = [
    "categorical",
    "multinomial",
    "random_bernoulli",
    "random_gamma",
    "random_poisson",
]

# -- categories ----------------------------------------------------------------


def _infer_multinomial(inputs: Sequence[Any], attrs: Any) -> Any:
    logits, num = inputs
    if not logits.dtype.is_floating:
        raise DTypeError(f"logits must be floating, not {logits.dtype.name}")
    if logits.dims is not None and len(logits.dims) != 2:
        raise ShapeError(f"logits must be (batch, classes), not {text(logits.dims)}")
    if num.dims or not num.dtype.is_integer:
        raise ShapeError("num_samples must be an integer scalar")
    count = None if num.value is None else int(num.value)
    rows = None if logits.dims is None else logits.dims[0]
    return ((attrs["dtype"], (rows, count)),)


def _multinomial_kernel(
    xp: Any,
    rng: Any,
    logits: Any,
    num: Any,
    *,
    dtype: DType,
    seed: Any,
    out: Any = None,
) -> Any:
    rows, classes = logits.shape
    count = int(num)
    result = np.empty((rows, count), dtype.dtype)
    if count and rows and not classes:
        raise InvalidArgumentError("multinomial: there are no classes")
    uniform = rng.random((rows, count))
    for row in range(rows):
        scores = np.asarray(logits[row], np.float64)
        top = scores.max()
        if not np.isfinite(top):
            raise InvalidArgumentError(
                f"multinomial: row {row} of the logits has no finite maximum ({top})"
            )
        weights = np.exp(scores - top)
        total = np.cumsum(weights)
        # Inverse of the distribution function; a class of weight 0 is never hit.
        found = np.searchsorted(total, uniform[row] * total[-1], side="right")
        result[row] = np.minimum(found, np.flatnonzero(weights)[-1])
    return result


MULTINOMIAL = OpDef(
    "Multinomial",
    infer=_infer_multinomial,
    kernel=_multinomial_kernel,
    inputs=("logits", "num_samples"),
    effect="random",
    flops=lambda ins, outs, attrs: (
        20 * element_count(ins[0].dims) + 10 * element_count(outs[0].dims)
    ),
    batch=batch_index.multinomial,
    doc="classes with probabilities softmax(logits)",
)


def multinomial(
    logits: Any,
    num_samples: Any,
    seed: int | None = None,
    name: str | None = None,
    output_dtype: Any = None,
) -> Tensor:
    """Independent classes with probabilities softmax(logits), by row.

    Args:
        logits: (batch, classes) floating; -inf is a probability of 0.
        num_samples: how many to draw per row.
        seed: the op's seed (default: its name decides).
        name: the name of the operation.
        output_dtype: int64 (default) or int32.

    Returns:
        (batch, num_samples) classes.

    Raises:
        ShapeError, DTypeError: the logits are no floating matrix.
        InvalidArgumentError: at run time, NaN, +inf or only -inf in a row.
    """
    attrs = draw_attrs(output_dtype or int64, seed)
    inputs = (as_tensor(logits), as_tensor(num_samples))
    return create(MULTINOMIAL, inputs, attrs, name)


def categorical(
    logits: Any,
    num_samples: Any,
    dtype: Any = None,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """:func:`multinomial` in the argument order of ``random.categorical``."""
    return multinomial(logits, num_samples, seed, name, dtype)


def random_bernoulli(
    shape: Any,
    probs: Any = 0.5,
    dtype: Any = int32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """1 with probability ``probs``, else 0.

    Args:
        shape: the sizes, ints or an integer vector.
        probs: probabilities that broadcast to ``shape``.
        dtype: the dtype of the result.
        seed: the op's seed (default: its name decides).
        name: the name scope.
    """
    with scope(name, "random_bernoulli", shape, probs) as full:
        p = as_tensor(probs)
        p = p if p.dtype.is_floating else cast(p, float32)
        drawn = create(UNIFORM, (shape_vector(shape),), draw_attrs(p.dtype, seed))
        return cast(TABLE["less"](drawn, p), dtype, name=full)


# -- gamma and Poisson ---------------------------------------------------------


def _infer_appended(inputs: Sequence[Any], attrs: Any) -> Any:
    sizes, parameter = inputs
    if not parameter.dtype.is_floating:
        raise DTypeError(f"the parameter must be floating, not {parameter.dtype.name}")
    dims = checked_sizes(sizes)
    if dims is None or parameter.dims is None:
        return ((attrs["dtype"], None),)
    return ((attrs["dtype"], dims + parameter.dims),)


def _gamma_kernel(
    xp: Any,
    rng: Any,
    sizes: Any,
    alpha: Any,
    *,
    dtype: DType,
    seed: Any,
    out: Any = None,
) -> Any:
    if not np.all(alpha > 0):
        raise InvalidArgumentError(f"random_gamma: alpha must be > 0, not {alpha}")
    drawn = rng.standard_gamma(
        np.asarray(alpha, np.float64), size_tuple(sizes) + alpha.shape
    )
    # A draw is positive, however small alpha is.
    drawn = np.maximum(drawn, np.finfo(dtype.dtype).tiny)
    return given(drawn, out, dtype)


def _gamma_slope(alpha: Any, z: Any) -> Any:
    """dz/dalpha where P(alpha, z) stays the same, in double precision.

    It is -(dP/dalpha) / (dP/dz), with P(a, z) = z^a e^-z / Gamma(a + 1) * S and
    S = sum of t_n, t_n = z^n / ((a + 1) ... (a + n)).  The relative error is about
    2e-16 / (1 - P), small unless the draw is very unlikely.
    """
    from ._special import digamma

    term = np.ones(np.broadcast_shapes(alpha.shape, z.shape))
    harmonic = np.zeros_like(term)
    total, weighted = term.copy(), harmonic.copy()
    n = 0
    while np.any(term * (1 + harmonic) > 1e-17 * total):
        n += 1
        term *= z / (alpha + n)
        harmonic += 1 / (alpha + n)
        total += term
        weighted += term * harmonic
    return z / alpha * (weighted - total * (np.log(z) - digamma(alpha + 1)))


def _gamma_slope_far(alpha: Any, z: Any) -> Any:
    """The same for a large alpha, where (z / alpha)^(1/3) is almost normal."""
    root = np.cbrt(z / alpha)
    normal = (root - 1 + 1 / (9 * alpha)) * 3 * np.sqrt(alpha)
    slope = 1 / (9 * alpha**2) - normal / (6 * alpha**1.5)
    return root**3 + 3 * alpha * root**2 * slope


# Above it the series takes many terms, and the normal form is exact to 1e-5.
_LARGE_ALPHA = 10_000.0


def _gamma_grad_kernel(xp: Any, alpha: Any, z: Any, out: Any = None) -> Any:
    dtype = z.dtype
    alpha, z = np.broadcast_arrays(
        np.asarray(alpha, np.float64), np.asarray(z, np.float64)
    )
    result = np.empty(z.shape)
    large = alpha > _LARGE_ALPHA
    for where, formula in ((~large, _gamma_slope), (large, _gamma_slope_far)):
        result[where] = formula(alpha[where], z[where])
    if out is None:
        return result.astype(dtype)
    out[...] = result
    return out


GAMMA_GRAD = elementwise(
    "RandomGammaGrad",
    _gamma_grad_kernel,
    2,
    kinds="f",
    flops=200,
    inputs=("alpha", "sample"),
    no_gradient="a draw from a gamma distribution is differentiated once only",
    doc="the derivative of a draw with respect to alpha",
)


def _gamma_rule(op: Operation, g: Tensor) -> Tensor:
    alpha = op.inputs[1]
    slope = create(GAMMA_GRAD, (alpha, op.outputs[0]))
    return TABLE["sum_to"](TABLE["mul"](g, slope), alpha)  # type: ignore[no-any-return]


GAMMA = OpDef(
    "RandomGamma",
    infer=_infer_appended,
    kernel=_gamma_kernel,
    inputs=("shape", "alpha"),
    vjp=(None, _gamma_rule),
    writes_out=True,
    effect="random",
    flops=lambda ins, outs, attrs: 50 * element_count(outs[0].dims),
    batch=batch_index.appended_draws,
    doc="draws from Gamma(alpha, 1)",
)


def random_gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws from Gamma(alpha, rate beta): density ~ x^(alpha - 1) exp(-beta x).

    Args:
        shape: the sizes s of the sample per parameter, ints or a vector.
        alpha: shape parameters > 0, of shape p.
        beta: rates > 0 that broadcast with ``alpha`` (default 1).
        dtype: a floating dtype.
        seed: the op's seed (default: its name decides).
        name: the name scope.

    Returns:
        A tensor of shape s + p.

    Raises:
        InvalidArgumentError: at run time, an alpha <= 0.

    Gradient: reaches ``beta`` and ``alpha``, the latter by implicit
    reparameterisation, once: its own gradient is an error.

    Reference:
        Figurnov, Mohamed & Mnih, Implicit reparameterization gradients,
        arXiv:1805.08498.
    """
    wanted = as_dtype(dtype)
    with scope(name, "random_gamma", shape, alpha, beta) as full:
        sizes = shape_vector(shape)
        a = as_tensor(alpha, wanted, "alpha")
        if beta is None:
            return create(GAMMA, (sizes, a), draw_attrs(wanted, seed), full)
        b = as_tensor(beta, wanted, "beta")
        if a.dims != b.dims or None in (a.dims or (None,)):
            a = TABLE["add"](a, TABLE["zeros_like"](b))
        drawn = create(GAMMA, (sizes, a), draw_attrs(wanted, seed))
        return TABLE["truediv"](drawn, b, name=full)  # type: ignore[no-any-return]


def _poisson_kernel(
    xp: Any,
    rng: Any,
    sizes: Any,
    rate: Any,
    *,
    dtype: DType,
    seed: Any,
    out: Any = None,
) -> Any:
    if not np.all(rate >= 0):
        raise InvalidArgumentError(f"random_poisson: a rate must be >= 0, not {rate}")
    drawn = rng.poisson(np.asarray(rate, np.float64), size_tuple(sizes) + rate.shape)
    return given(drawn, out, dtype)


POISSON = OpDef(
    "RandomPoisson",
    infer=_infer_appended,
    kernel=_poisson_kernel,
    inputs=("shape", "rate"),
    writes_out=True,
    effect="random",
    flops=lambda ins, outs, attrs: 50 * element_count(outs[0].dims),
    batch=batch_index.appended_draws,
    doc="draws from Poisson(rate)",
)


def random_poisson(
    lam: Any,
    shape: Any,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws from Poisson(lam): P(k) = lam^k exp(-lam) / k!.

    Args:
        lam: rates >= 0 of shape p.
        shape: the sizes s of the sample per rate, ints or a vector.
        dtype: the dtype of the counts, floating or integer.
        seed: the op's seed (default: its name decides).
        name: the name of the operation.

    Returns:
        A tensor of shape s + p; no gradient reaches ``lam``.

    Raises:
        InvalidArgumentError: at run time, a negative rate.
    """
    with scope(name, "random_poisson", lam, shape) as full:
        rate = as_tensor(lam, name="lam")
        rate = rate if rate.dtype.is_floating else cast(rate, float32)
        inputs = (shape_vector(shape), rate)
        return create(POISSON, inputs, draw_attrs(dtype, seed), full)
