"""Initial values of variables: TF1's initializer classes.

An initializer is called with a shape and gives a tensor; ``get_variable`` does
so.  ``get_config`` and ``from_config`` describe it as plain data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, as_dtype, float32
from ..graphlib.errors import DTypeError, GraphError, ShapeError
from ..graphlib.shapes import as_dims, is_static, text
from ..graphlib.tensor import Tensor
from ._build import constant
from .creation import fill, ones, zeros
from .random import (
    random_normal,
    random_orthogonal,
    random_uniform,
    truncated_normal,
)

__all__ = [
    "Constant",
    "Identity",
    "Initializer",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "UniformUnitScaling",
    "VarianceScaling",
    "Zeros",
    "constant_initializer",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "he_normal",
    "he_uniform",
    "identity_initializer",
    "lecun_normal",
    "lecun_uniform",
    "ones_initializer",
    "orthogonal_initializer",
    "random_normal_initializer",
    "random_uniform_initializer",
    "truncated_normal_initializer",
    "uniform_unit_scaling_initializer",
    "variance_scaling_initializer",
    "xavier_initializer",
    "zeros_initializer",
]

# The standard deviation of N(0, 1) within [-2, 2].
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer:
    """Base of initializers: a function of a shape."""

    dtype: DType

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        """A tensor of the given shape and dtype (default: the initializer's)."""
        wanted = self.dtype if dtype is None else as_dtype(dtype)
        if isinstance(shape, Tensor):
            return self._make(shape, wanted)
        dims = as_dims(shape)
        if not is_static(dims):
            raise ShapeError(
                f"{type(self).__name__}: shape {text(dims)} must be fully known"
            )
        return self._make(list(dims or ()), wanted)

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        raise TypeError(f"{type(self).__name__} gives no values")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer, as plain data."""
        return {
            k: v.name if isinstance(v, DType) else v
            for k, v in vars(self).items()
            if not k.startswith("_")
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """The initializer that ``get_config`` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({inside})"


def _floating(dtype: Any, who: str) -> DType:
    wanted = as_dtype(dtype)
    if not wanted.is_floating:
        raise DTypeError(f"{who}: needs a floating dtype, not {wanted.name}")
    return wanted


class Zeros(Initializer):
    """All zeros (False, empty strings)."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        return zeros(shape, dtype)


class Ones(Initializer):
    """All ones (True)."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        return ones(shape, dtype)


class Constant(Initializer):
    """One number everywhere, or given values.

    Args:
        value: a number, or an array or nested list with at most as many values
            as the shape has elements; the last one fills the rest, as in TF1.
        dtype: the default dtype.
        verify_shape: raise where the value has another shape.
    """

    def __init__(
        self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False
    ) -> None:
        if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
            raise TypeError(
                f"Constant: the value must be a number, list or array, not {value!r}"
            )
        self.value = value
        self.dtype = as_dtype(dtype)
        self.verify_shape = verify_shape

    def __call__(
        self,
        shape: Any,
        dtype: Any = None,
        partition_info: Any = None,
        verify_shape: bool | None = None,
    ) -> Tensor:
        """The value with that shape; ShapeError where it has too many elements."""
        wanted = self.dtype if dtype is None else as_dtype(dtype)
        verify = self.verify_shape if verify_shape is None else verify_shape
        if np.isscalar(self.value) and not verify:
            return fill(shape, constant(self.value, wanted))
        return constant(self.value, wanted, shape, verify_shape=verify)


class RandomUniform(Initializer):
    """Draws from [minval, maxval); ``maxval`` is 1 by default.

    Args:
        minval, maxval: the range.
        seed: the op seed (default: the variable's name decides).
        dtype: the default dtype, floating or integer.
    """

    def __init__(
        self,
        minval: Any = 0,
        maxval: Any = None,
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = seed
        self.dtype = as_dtype(dtype)

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        return random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class RandomNormal(Initializer):
    """Draws from N(mean, stddev^2).

    Args:
        mean, stddev: of the distribution.
        seed: the op seed (default: the variable's name decides).
        dtype: the default dtype.
    """

    def __init__(
        self,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = seed
        self.dtype = _floating(dtype, type(self).__name__)

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        return random_normal(shape, self.mean, self.stddev, dtype, self.seed)


class TruncatedNormal(RandomNormal):
    """Draws from N(mean, stddev^2), again where further than 2 stddev from mean."""

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        return truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


class UniformUnitScaling(Initializer):
    """Draws from U(-b, b) with b = factor sqrt(3 / fan-in): keeps the scale.

    Reference:
        Sussillo & Abbott, Random walk initialization, arXiv:1412.6558.
    """

    def __init__(
        self, factor: float = 1.0, seed: int | None = None, dtype: Any = float32
    ) -> None:
        self.factor = factor
        self.seed = seed
        self.dtype = _floating(dtype, "UniformUnitScaling")

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        fan = max(math.prod(_static(shape, self)[:-1]), 1)
        bound = self.factor * math.sqrt(3 / fan)
        return random_uniform(shape, -bound, bound, dtype, self.seed)


def _static(shape: Any, who: Initializer) -> Sequence[int]:
    if isinstance(shape, Tensor):
        if shape.value is None or isinstance(shape.value, tuple):
            raise ShapeError(f"{type(who).__name__}: the shape must be fully known")
        return [int(n) for n in shape.value]
    return shape  # type: ignore[no-any-return]


def compute_fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan-in, fan-out) of weights: inputs and outputs of one unit.

    Filters (..., in, out) count every position of their window.
    """
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("normal", "truncated_normal", "untruncated_normal", "uniform")


class VarianceScaling(Initializer):
    """Draws with variance scale / n, n the fan that ``mode`` names.

    Args:
        scale: a positive factor.
        mode: "fan_in", "fan_out" or "fan_avg" (their mean).
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or
            "uniform", all with mean 0 and that variance.
        seed: the op seed (default: the variable's name decides).
        dtype: the default dtype.

    Raises:
        GraphError: an argument that is none of these.

    Reference:
        Glorot & Bengio 2010; He et al., arXiv:1502.01852; LeCun et al. 1998.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        if scale <= 0:
            raise GraphError(f"VarianceScaling: scale must be > 0, not {scale}")
        if mode not in _MODES:
            raise GraphError(f"VarianceScaling: mode {mode!r} is none of {_MODES}")
        distribution = distribution.lower()
        if distribution not in _DISTRIBUTIONS:
            raise GraphError(
                f"VarianceScaling: distribution {distribution!r} is none of "
                f"{_DISTRIBUTIONS}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed
        self.dtype = _floating(dtype, "VarianceScaling")

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        fan_in, fan_out = compute_fans(_static(shape, self))
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            bound = math.sqrt(3 * variance)
            return random_uniform(shape, -bound, bound, dtype, self.seed)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return random_normal(shape, 0.0, stddev, dtype, self.seed)
        stddev /= _TRUNCATED_STDDEV
        return truncated_normal(shape, 0.0, stddev, dtype, self.seed)


class _Named(VarianceScaling):
    """A VarianceScaling that is known by its arguments seed and dtype."""

    _arguments: tuple[float, str, str] = (1.0, "fan_avg", "uniform")

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(*self._arguments, seed=seed, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer, as plain data."""
        return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotUniform(_Named):
    """U(-b, b), b = sqrt(6 / (fan-in + fan-out))."""

    _arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """A truncated normal of variance 2 / (fan-in + fan-out)."""

    _arguments = (1.0, "fan_avg", "truncated_normal")


class Orthogonal(Initializer):
    """A random orthogonal matrix times ``gain``.

    Shapes of higher rank are flattened to (product of all but the last, last).

    Raises:
        ShapeError: fewer than two dimensions.

    Reference:
        Saxe, McClelland & Ganguli, arXiv:1312.6120.
    """

    def __init__(
        self, gain: float = 1.0, seed: int | None = None, dtype: Any = float32
    ) -> None:
        self.gain = gain
        self.seed = seed
        self.dtype = _floating(dtype, "Orthogonal")

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        from .elementwise import multiply
        from .views import reshape

        dims = _static(shape, self)
        if len(dims) < 2:
            raise ShapeError(f"Orthogonal: shape {text(tuple(dims))} is no matrix")
        flat = (math.prod(dims[:-1]), dims[-1])
        t = random_orthogonal(flat, dtype, self.seed)
        if self.gain != 1:
            t = multiply(t, self.gain)
        return t if len(dims) == 2 else reshape(t, dims)


class Identity(Initializer):
    """The identity matrix times ``gain``; raises ShapeError for no matrix."""

    def __init__(self, gain: float = 1.0, dtype: Any = float32) -> None:
        self.gain = gain
        self.dtype = _floating(dtype, "Identity")

    def _make(self, shape: Any, dtype: DType) -> Tensor:
        dims = _static(shape, self)
        if len(dims) != 2:
            raise ShapeError(f"Identity: shape {text(tuple(dims))} is no matrix")
        return constant(self.gain * np.eye(*dims, dtype=dtype.dtype), dtype)


def he_normal(seed: int | None = None) -> VarianceScaling:
    """A truncated normal of variance 2 / fan-in (He et al., arXiv:1502.01852)."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """U(-b, b), b = sqrt(6 / fan-in) (He et al., arXiv:1502.01852)."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """A truncated normal of variance 1 / fan-in."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """U(-b, b), b = sqrt(3 / fan-in)."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = float32
) -> VarianceScaling:
    """Glorot's initializer by its other name."""
    return (GlorotUniform if uniform else GlorotNormal)(seed, dtype)


zeros_initializer = Zeros
ones_initializer = Ones
constant_initializer = Constant
random_uniform_initializer = RandomUniform
random_normal_initializer = RandomNormal
truncated_normal_initializer = TruncatedNormal
uniform_unit_scaling_initializer = UniformUnitScaling
variance_scaling_initializer = VarianceScaling
glorot_uniform_initializer = GlorotUniform
glorot_normal_initializer = GlorotNormal
orthogonal_initializer = Orthogonal
identity_initializer = Identity
