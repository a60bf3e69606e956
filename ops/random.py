"""Random tensors.

Every random operation draws from its own stream, which a session keys by
(graph seed, op seed or op name).  Location and scale are applied by ordinary
nodes, so gradients reach them (the reparameterisation trick).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, as_dtype, float32, int32
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.graph import get_default_graph
from ..graphlib.opdef import OpDef
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, broadcast, compatible, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import create, scope, shape_tensor, shape_vector
from .core import cast

__all__ = [
    "get_seed",
    "random_crop",
    "random_normal",
    "random_orthogonal",
    "random_permutation",
    "random_shuffle",
    "random_uniform",
    "set_random_seed",
    "truncated_normal",
]


def set_random_seed(seed: int | None) -> None:
    """Set the default graph's seed: every run of every new session repeats.

    Which numbers an operation draws depends on this seed and on its own seed
    (or, without one, its name), never on how many operations there are.
    """
    get_default_graph().root.seed = None if seed is None else int(seed)


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """(graph seed, op seed): None where not set."""
    return get_default_graph().root.seed, seed_attr(op_seed)


def seed_attr(seed: Any) -> int | None:
    return None if seed is None else int(seed)


def size_tuple(vector: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in vector)


def checked_sizes(t: Any) -> Dims:
    dims = known_dims(t)
    if dims is not None and any(d is not None and d < 0 for d in dims):
        raise ShapeError(f"sizes must be >= 0: {text(dims)}")
    return dims


def _direct(out: Any) -> bool:
    """Whether NumPy's generators can fill ``out`` themselves."""
    return (
        out is not None
        and out.dtype in (np.float32, np.float64)
        and bool(out.flags.c_contiguous)
    )


def given(result: Any, out: Any, dtype: DType) -> Any:
    """``result`` in ``out`` where there is one, else as ``dtype``."""
    if out is None:
        return np.asarray(result, dtype.dtype)
    out[...] = result
    return out


def _precision(dtype: DType) -> Any:
    return np.float64 if dtype.dtype == np.float64 else np.float32


# -- draws of a fixed distribution ---------------------------------------------


def _normal_kernel(
    xp: Any, rng: Any, sizes: Any, *, dtype: DType, seed: Any, out: Any = None
) -> Any:
    if _direct(out):
        return rng.standard_normal(dtype=out.dtype, out=out)
    return given(rng.standard_normal(size_tuple(sizes), _precision(dtype)), out, dtype)


def _truncated_kernel(
    xp: Any, rng: Any, sizes: Any, *, dtype: DType, seed: Any, out: Any = None
) -> Any:
    out = _normal_kernel(xp, rng, sizes, dtype=dtype, seed=seed, out=out)
    flat = out.reshape(-1)
    again = np.flatnonzero(np.abs(flat) > 2)
    while again.size:
        fresh = rng.standard_normal(again.size, _precision(dtype))
        flat[again] = fresh
        again = again[np.abs(flat[again]) > 2]
    if not np.shares_memory(flat, out):
        out[...] = flat.reshape(out.shape)
    return out


def _uniform_kernel(
    xp: Any, rng: Any, sizes: Any, *, dtype: DType, seed: Any, out: Any = None
) -> Any:
    if _direct(out):
        return rng.random(dtype=out.dtype, out=out)
    drawn = rng.random(size_tuple(sizes), _precision(dtype))
    if dtype.size < 4:
        # Rounding to half precision must not give 1.
        drawn = np.floor(drawn * 2048) / 2048
    return given(drawn, out, dtype)


def _infer_draw(inputs: Sequence[Any], attrs: Any) -> Any:
    if not attrs["dtype"].is_floating:
        raise DTypeError(f"draws floating numbers, not {attrs['dtype'].name}")
    return ((attrs["dtype"], checked_sizes(inputs[0])),)


def _draw(type: str, kernel: Callable[..., Any], cost: int, doc: str) -> OpDef:
    return OpDef(
        type,
        infer=_infer_draw,
        kernel=kernel,
        inputs=("shape",),
        writes_out=True,
        effect="random",
        flops=lambda ins, outs, attrs: cost * element_count(outs[0].dims),
        doc=doc,
    )


def element_count(dims: Dims) -> int:
    n = 1
    for d in dims or ():
        n *= d or 0
    return n


NORMAL = _draw("RandomStandardNormal", _normal_kernel, 20, "draws from N(0, 1)")
TRUNCATED = _draw(
    "TruncatedNormal", _truncated_kernel, 25, "draws from N(0, 1) within [-2, 2]"
)
UNIFORM = _draw("RandomUniform", _uniform_kernel, 5, "draws from [0, 1)")


def draw_attrs(dtype: Any, seed: Any) -> dict[str, Any]:
    return {"dtype": as_dtype(dtype), "seed": seed_attr(seed)}


def _plain(value: Any, number: float) -> bool:
    """Whether ``value`` is that very Python number."""
    return type(value) in (int, float) and value == number


def _scaled(
    opdef: OpDef, shape: Any, scale: Any, shift: Any, dtype: Any, seed: Any, full: str
) -> Tensor:
    """draw * scale + shift; a scale of 1 and a shift of 0 make no nodes."""
    wanted = as_dtype(dtype)
    sizes = shape_vector(shape)
    stretch, move = not _plain(scale, 1), not _plain(shift, 0)
    attrs = draw_attrs(wanted, seed)
    t = create(opdef, (sizes,), attrs, None if stretch or move else full)
    if stretch:
        factor = as_tensor(scale, wanted)
        t = TABLE["mul"](t, factor, name=None if move else full)
    if move:
        t = TABLE["add"](t, as_tensor(shift, wanted), name=full)
    return t


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """mean + stddev * z, z independent draws from N(0, 1).

    Args:
        shape: the sizes, ints or an integer vector.
        mean, stddev: of ``dtype``, of a shape that broadcasts to ``shape``.
        dtype: a floating dtype.
        seed: the op's seed (default: its name decides).
        name: the name scope.

    Raises:
        DTypeError: ``dtype`` is not floating.
        ShapeError: an unknown or negative size.

    Gradient: reaches ``mean`` and ``stddev``.
    """
    with scope(name, "random_normal", shape, mean, stddev) as full:
        return _scaled(NORMAL, shape, stddev, mean, dtype, seed, full)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """As :func:`random_normal`, but draws further than two ``stddev`` from ``mean``
    are drawn again.

    The standard deviation of the result is 0.8796 ``stddev``.
    """
    with scope(name, "truncated_normal", shape, mean, stddev) as full:
        return _scaled(TRUNCATED, shape, stddev, mean, dtype, seed, full)


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Independent draws from [minval, maxval).

    Args:
        shape: the sizes, ints or an integer vector.
        minval, maxval: the range; ``maxval`` is 1 by default, and must be given
            for integers.
        dtype: a floating or integer dtype.
        seed: the op's seed (default: its name decides).
        name: the name scope.

    Raises:
        DTypeError: bool, complex or string.
        ShapeError: an unknown or negative size.
        InvalidArgumentError: integers without ``maxval``; at run time, an empty
            range of integers.

    Gradient: reaches floating ``minval`` and ``maxval``.
    """
    wanted = as_dtype(dtype)
    if wanted.is_integer:
        if maxval is None:
            raise InvalidArgumentError("random_uniform: integers need a maxval")
        with scope(name, "random_uniform", shape, minval, maxval) as full:
            inputs = (
                shape_vector(shape),
                as_tensor(minval, wanted, "min"),
                as_tensor(maxval, wanted, "max"),
            )
            return create(UNIFORM_INT, inputs, {"seed": seed_attr(seed)}, full)
    high = 1 if maxval is None else maxval
    with scope(name, "random_uniform", shape, minval, maxval) as full:
        if _plain(minval, 0):
            width = high
        elif _is_tensor(minval) or _is_tensor(high):
            width = TABLE["sub"](as_tensor(high, wanted), as_tensor(minval, wanted))
        else:
            width = np.subtract(high, minval, dtype=wanted.dtype)
        return _scaled(UNIFORM, shape, width, minval, dtype, seed, full)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


# -- integers ------------------------------------------------------------------


def _infer_uniform_int(inputs: Sequence[Any], attrs: Any) -> Any:
    sizes, low, high = inputs
    if not low.dtype.is_integer or high.dtype is not low.dtype:
        raise DTypeError(
            f"minval and maxval must be integers of one dtype, not {low.dtype.name} "
            f"and {high.dtype.name}"
        )
    dims = checked_sizes(sizes)
    bounds = broadcast(low.dims, high.dims)
    if dims is not None and bounds and not compatible(broadcast(bounds, dims), dims):
        raise ShapeError(
            f"minval and maxval of shape {text(bounds)} do not broadcast to "
            f"{text(dims)}"
        )
    return ((low.dtype, dims),)


def _uniform_int_kernel(
    xp: Any, rng: Any, sizes: Any, low: Any, high: Any, *, seed: Any, out: Any = None
) -> Any:
    if not np.all(low < high):
        raise InvalidArgumentError(f"minval {low} must be less than maxval {high}")
    return np.asarray(rng.integers(low, high, size_tuple(sizes), low.dtype))


UNIFORM_INT = OpDef(
    "RandomUniformInt",
    infer=_infer_uniform_int,
    kernel=_uniform_int_kernel,
    inputs=("shape", "minval", "maxval"),
    effect="random",
    doc="integers from [minval, maxval)",
)


def _permutation_kernel(
    xp: Any, rng: Any, count: Any, *, seed: Any, out: Any = None
) -> Any:
    return rng.permutation(int(count)).astype(count.dtype)


def _infer_permutation(inputs: Sequence[Any], attrs: Any) -> Any:
    (count,) = inputs
    if not count.dtype.is_integer or count.dims:
        raise DTypeError(
            f"takes an integer scalar, not {count.dtype.name}{text(count.dims)}"
        )
    value = count.value
    return ((count.dtype, (None if value is None else int(value),)),)


PERMUTATION = OpDef(
    "RandomPermutation",
    infer=_infer_permutation,
    kernel=_permutation_kernel,
    inputs=("n",),
    effect="random",
    doc="the numbers 0 to n - 1 in random order",
)


def random_permutation(
    n: Any, seed: int | None = None, name: str | None = None
) -> Tensor:
    """The numbers 0, ..., n - 1 in random order: a vector of the dtype of ``n``."""
    return create(PERMUTATION, (as_tensor(n),), {"seed": seed_attr(seed)}, name)


def random_shuffle(
    value: Any, seed: int | None = None, name: str | None = None
) -> Tensor:
    """``value`` with its rows (along the first axis) in random order.

    Args:
        value: (n, ...), any dtype.
        seed: the op's seed (default: its name decides).
        name: the name scope.

    Raises:
        ShapeError: a scalar.

    Gradient: the cotangent, put back in order.
    """
    from .gather import gather

    with scope(name, "RandomShuffle", value) as full:
        t = as_tensor(value, name="value")
        if t.dims == ():
            raise ShapeError("random_shuffle: a scalar has no rows")
        order = random_permutation(TABLE["getitem"](shape_tensor(t), 0), seed)
        return gather(t, order, name=full)


def random_crop(
    value: Any, size: Any, seed: int | None = None, name: str | None = None
) -> Tensor:
    """A part of ``value`` of the given size, at a random place (a view).

    Args:
        value: any shape of rank r, any dtype.
        size: (r,) integers, at most the shape of ``value``.
        seed: the op's seed (default: its name decides).
        name: the name scope.

    Raises:
        ShapeError: ``size`` is larger than ``value``, where that is known.
        InvalidArgumentError: at run time, likewise.

    Gradient: the cotangent in zeros of the shape of ``value``.
    """
    from .indexing import slice_

    with scope(name, "random_crop", value, size) as full:
        t = as_tensor(value, name="value")
        sizes = cast(shape_vector(size, name="size"), int32)
        dims = known_dims(sizes)
        if dims is not None and t.dims is not None:
            fits = len(dims) == len(t.dims) and all(
                a is None or b is None or a <= b for a, b in zip(dims, t.dims)
            )
            if not fits:
                raise ShapeError(
                    f"random_crop: {text(dims)} cannot be cut from {text(t.dims)}"
                )
        whole = shape_tensor(t)
        room = TABLE["add"](TABLE["sub"](whole, sizes), 1)
        rank = shape_tensor(room)
        zero = as_tensor(0, int32)
        begin = create(UNIFORM_INT, (rank, zero, room), {"seed": seed_attr(seed)})
        return slice_(t, begin, sizes, name=full)


# -- orthogonal matrices -------------------------------------------------------


def _orthogonal_kernel(
    xp: Any,
    rng: Any,
    sizes: Any,
    *,
    dtype: DType,
    seed: Any,
    out: Any = None,
) -> Any:
    rows, columns = size_tuple(sizes)
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # The signs make the distribution uniform over the orthogonal matrices.
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return given(q if rows >= columns else q.T, out, dtype)


def _infer_orthogonal(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = _infer_draw(inputs, attrs)[0][1]
    if dims is not None and len(dims) != 2:
        raise ShapeError(f"draws matrices, not arrays of shape {text(dims)}")
    return ((attrs["dtype"], dims),)


ORTHOGONAL = OpDef(
    "RandomOrthogonal",
    infer=_infer_orthogonal,
    kernel=_orthogonal_kernel,
    inputs=("shape",),
    writes_out=True,
    effect="random",
    flops=lambda ins, outs, attrs: (
        4
        * element_count(outs[0].dims)
        * min((d or 0 for d in outs[0].dims or ()), default=0)
    ),
    doc="a matrix with orthonormal rows or columns, uniformly distributed",
)


def random_orthogonal(
    shape: Any,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """A random matrix Q with Q^T Q = I (Q Q^T = I where it is wide).

    Args:
        shape: (rows, columns).
        dtype: a floating dtype.
        seed: the op's seed (default: its name decides).
        name: the name of the operation.

    Raises:
        ShapeError: no matrix.

    Reference:
        Mezzadri, How to generate random matrices from the classical compact
        groups, Notices of the AMS 54, 2007.
    """
    return create(ORTHOGONAL, (shape_vector(shape),), draw_attrs(dtype, seed), name)
