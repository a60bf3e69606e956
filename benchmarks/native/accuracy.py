"""The native tier's functions: worst errors and times, as a table for docs/native.md.

    python benchmarks/native/accuracy.py [--quick] [function ...]

float32: every one of the 2^32 values, against NumPy's (SciPy's) float64 results.
float64: dense random samples over several ranges and around the points where a formula
changes, against extended precision, and mpmath where that has no such function.
Functions of two arguments are sampled in both types.  Errors are in units in the last
place of the exact result, so that a correctly rounded one has at most 0.5.

sin, cos and tan of float64 are measured within their reach.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import _loops
import mpmath
import numpy as np
import scipy.special
from llvmlite import ir

from dagrad.runtime.native.functions import EMIT, WITHIN
from dagrad.runtime.native.scalar import Scalar, select
from dagrad.runtime.native.trigonometric import REACH

CHUNK = 1 << 15  # arrays that stay in the cache
BINARY = {"power"}


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


#: What answers where NumPy has no ufunc of the name: in wide types, and as a peer.
NUMPY: dict[str, Callable[..., Any]] = {
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
}


def peer(name: str) -> Callable[..., Any]:
    """NumPy's function of that name, or what stands for it."""
    return NUMPY.get(name) or getattr(np, name)  # type: ignore[no-any-return]


def compiled(name: str, dtype: Any) -> Callable[..., None]:
    """The loop of a function."""
    emit = WITHIN[name] if name in WITHIN and dtype is np.float64 else EMIT[name]
    return _loops.compile_loop(emit, dtype, 2 if name in BINARY else 1)


# -- errors --------------------------------------------------------------------------


def _error(y: Scalar, exact: Scalar) -> Scalar:
    """|y - exact| in units in the last place, for y a float32 and exact a float64.

    Infinity counts as 2^128, the number after the last; one NaN alone is infinitely
    wrong.
    """
    edge = 2.0**128
    wide = y.widen()
    held, goal = (
        select(v > edge, edge, select(v < -edge, -edge, v)) for v in (wide, exact)
    )
    # 2^-exponent of the last place: at 2^-149 for subnormal numbers, 2^104 at the end.
    exponent = (abs(goal).bits() >> 52) - 23
    exponent = select(exponent < 1023 - 149, 1023 - 149, exponent)
    exponent = select(exponent > 1023 + 104, 1023 + 104, exponent)
    error = abs(held - goal) * ((-exponent + 2046) << 52).as_float()
    both = wide.differs(wide) & exact.differs(exact)
    one = wide.differs(wide) | exact.differs(exact)
    return select(both, 0.0, select(one, error.constant(np.inf), error))


def single_errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors of float32 results against float64 ones."""
    out = np.empty(y.size)
    _ERRORS(out, y, exact)
    return out


def _compile_errors() -> Callable[..., None]:
    """A loop over a float32 and a float64 array into a float64 array."""
    text = _loops.source(
        lambda builder, v: (
            _error(
                Scalar(builder, builder.fptrunc(v[0], ir.FloatType())),
                Scalar(builder, v[1]),
            ).value
        ),
        np.float64,
        2,
    )
    loop = _loops.compile_text(text, 2)

    def run(out: np.ndarray, y: np.ndarray, exact: np.ndarray) -> None:
        loop(out, y.astype(np.float64), exact)

    return run


_ERRORS = _compile_errors()


def double_errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors of float64 results against extended ones."""
    with np.errstate(all="ignore"):
        near = exact.astype(np.float64)
        place = np.spacing(np.minimum(abs(near), np.finfo(np.float64).max))
        error = abs((y - exact) / place)
    same = (y == near) | (np.isnan(y) & np.isnan(near))
    error = np.where(np.isfinite(near), error, np.where(same, 0.0, np.inf))
    return np.where(np.isnan(error), np.inf, error).astype(np.float64)


def mpmath_errors(name: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Errors of float64 results against 40 digits."""
    function = getattr(mpmath, name)
    found = []
    with mpmath.workdps(40):
        for value, argument in zip(y, x):
            exact = function(mpmath.mpf(float(argument)))
            place = float(np.spacing(abs(float(exact))))
            found.append(float(abs(mpmath.mpf(float(value)) - exact) / place))
    return np.array(found)


# -- arguments -----------------------------------------------------------------------


def all_singles(stride: int = 1) -> Iterator[np.ndarray]:
    """Every float32, in chunks, or every ``stride``-th."""
    for start in range(0, 1 << 32, CHUNK * stride):
        stop = min(start + CHUNK * stride, 1 << 32)
        yield np.arange(start, stop, stride, dtype=np.uint32).view(np.float32)


def samples(name: str, dtype: Any, count: int) -> list[np.ndarray]:
    """Arguments from several ranges; a list of one or two arrays."""
    rng = np.random.default_rng(20)
    info = np.finfo(dtype)
    low, high = np.log10(float(info.smallest_subnormal)), np.log10(float(info.max))
    if name in BINARY:
        x = [rng.uniform(0.0, 4.0, count), rng.uniform(0.98, 1.02, count)]
        x += [10.0 ** rng.uniform(low, high, count), -rng.integers(1, 50, count)]
        y = [rng.uniform(-30.0, 30.0, count), rng.uniform(-4000.0, 4000.0, count)]
        y += [rng.uniform(-3.0, 3.0, count), rng.integers(-40, 40, count)]
        return [np.concatenate(v).astype(dtype) for v in (x, y)]
    if name in WITHIN:
        spans = [1.0, 20.0, 1e5, REACH["double"]]
    else:
        spans = [1e-4, 1.0, 8.0, 30.0, 120.0, 760.0]
    parts = [rng.uniform(-s, s, count) for s in spans]
    if len(spans) > 4:
        parts.append(10.0 ** rng.uniform(low, high, count))
        parts += [c + rng.uniform(-1e-3, 1e-3, count) for c in (-1.0, 0.5, 1.0, 2.0)]
        parts += [c * (1.0 + rng.uniform(-1e-6, 1e-6, count)) for c in SWITCHES]
    return [np.concatenate(parts).astype(dtype)]


#: Where a formula changes, or its first step rounds the other way.
SWITCHES = (
    2.0**0.5,
    0.5**0.5,
    2.0**0.5 - 1.0,
    2.0**0.5 + 1.0,
    0.5 * float(np.log(2.0)),
    -0.5 * float(np.log(2.0)),
    1.5 * float(np.log(2.0)),
    0.25 * float(np.log(2.0)),
)


# -- the table -----------------------------------------------------------------------


def worst_single(name: str, stride: int) -> tuple[float, float, float]:
    """The worst error, where, and NumPy's (of every sixteenth value)."""
    loop = compiled(name, np.float32)
    function = peer(name)
    worst, place, other = 0.0, 0.0, 0.0
    chunks: Any = (
        [samples(name, np.float32, 1 << 20)]
        if name in BINARY
        else ([x] for x in all_singles(stride))
    )
    for chunk in chunks:
        x = chunk[0]
        y = np.empty_like(x)
        loop(y, *chunk)
        with np.errstate(all="ignore"):
            exact = function(*(v.astype(np.float64) for v in chunk))
        error = single_errors(y, exact)
        at = int(np.argmax(error))
        if error[at] > worst:
            worst, place = float(error[at]), float(x[at])
        some = [v[::16].copy() for v in (*chunk, exact)]
        with np.errstate(all="ignore"):
            theirs = function(*some[:-1]).astype(np.float32)
        kept = ~np.isnan(some[-1])
        other = max(other, float(single_errors(theirs, some[-1])[kept].max(initial=0)))
    return worst, place, other


def worst_double(name: str, count: int) -> tuple[float, float, float]:
    """The worst error, where, and NumPy's, over samples."""
    loop = compiled(name, np.float64)
    if name in ("erf", "erfc"):
        rng = np.random.default_rng(21)
        spans = (1.1, 6.0, 0.1, 26.5 if name == "erfc" else 2.0)
        x = np.concatenate([rng.uniform(-s, s, count // 20) for s in spans])
        y = np.empty_like(x)
        loop(y, x)
        error = mpmath_errors(name, y, x)
        theirs = mpmath_errors(name, peer(name)(x), x)
        at = int(np.argmax(error))
        return float(error[at]), float(x[at]), float(theirs.max())
    chunk = samples(name, np.float64, count)
    y = np.empty_like(chunk[0])
    loop(y, *chunk)
    with np.errstate(all="ignore"):
        exact = peer(name)(*(v.astype(np.longdouble) for v in chunk))
        theirs = double_errors(peer(name)(*chunk), exact)
    error = double_errors(y, exact)
    at = int(np.argmax(error))
    return float(error[at]), float(chunk[0][at]), float(theirs.max())


def times(name: str, dtype: Any, size: int = 100_000) -> tuple[float, float]:
    """Nanoseconds an element: the loop, and NumPy into an array that is there."""
    rng = np.random.default_rng(22)
    arity = 2 if name in BINARY else 1
    inputs = [rng.uniform(0.01, 4.0, size).astype(dtype) for _ in range(arity)]
    out = np.empty_like(inputs[0])
    loop = compiled(name, dtype)
    function = NUMPY.get(name)
    ufunc: Any = getattr(np, name, None)
    ours = theirs = np.inf
    for _ in range(150):
        start = time.perf_counter()
        loop(out, *inputs)
        middle = time.perf_counter()
        if function is None:
            ufunc(*inputs, out=out)
        else:
            function(*inputs)
        ours = min(ours, middle - start)
        theirs = min(theirs, time.perf_counter() - middle)
    return ours / size * 1e9, theirs / size * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", default=list(EMIT))
    parser.add_argument("--quick", action="store_true", help="every 256th float32")
    options = parser.parse_args()
    if np.finfo(np.longdouble).nmant < 63:
        raise SystemExit("this needs NumPy's longdouble to be wider than float64")
    stride, count = (256, 20_000) if options.quick else (1, 200_000)
    print("| function | dtype | max ulp | at | NumPy | ns | NumPy |")
    print("|---|---|---|---|---|---|---|")
    for name in options.functions:
        for dtype in (np.float32, np.float64):
            if dtype is np.float32:
                worst, place, other = worst_single(name, stride)
            else:
                worst, place, other = worst_double(name, count)
            ours, theirs = times(name, dtype)
            print(
                f"| {name} | {np.dtype(dtype)} | {worst:.2f} | {place:.7g} "
                f"| {other:.2f} | {ours:.2f} | {theirs:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
