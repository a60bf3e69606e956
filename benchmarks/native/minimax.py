"""The polynomials of the native tier's functions, found again.

    python benchmarks/native/minimax.py [name ...]

Remez exchange in 40 digits: the coefficients c that level w(x) |f(x) - sum c_j x^j|
over an interval, where the weight w makes of it the relative error of the function that
is computed.  The first few are rounded one after the other from the constant term on,
and the others found again for what those left.  Printed with log2 of the error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

Function = Callable[[Any], Any]


def exchange(
    f: Function, weight: Function, low: Any, high: Any, count: int, points: int = 600
) -> list[Any]:
    """The minimax polynomial with ``count`` coefficients."""
    middle, half = (low + high) / 2, (high - low) / 2

    def chebyshev(n: int) -> list[Any]:
        return [middle - half * mp.cos(mp.pi * (mp.mpf(i) + 0.5) / n) for i in range(n)]

    grid = chebyshev(points)
    weights, values = [weight(x) for x in grid], [f(x) for x in grid]
    nodes = chebyshev(count + 1)
    found: list[Any] = []
    for _ in range(12):
        system, right = mp.matrix(count + 1, count + 1), mp.matrix(count + 1, 1)
        for i, x in enumerate(nodes):
            for j in range(count):
                system[i, j] = weight(x) * x**j
            system[i, count], right[i] = (-1) ** i, weight(x) * f(x)
        solved = mp.lu_solve(system, right)
        found, level = [solved[j] for j in range(count)], abs(solved[count])
        error = [
            w * (v - mp.polyval(found[::-1], x))
            for x, w, v in zip(grid, weights, values)
        ]
        # The largest error of each sign in turn, the outermost dropped.
        peaks, best = [], 0
        for i in range(1, points):
            if (error[i] > 0) != (error[best] > 0):
                peaks.append(best)
                best = i
            elif abs(error[i]) > abs(error[best]):
                best = i
        peaks.append(best)
        while len(peaks) > count + 1:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) < count + 1 or max(map(abs, error)) < 1.001 * level:
            break
        nodes = [grid[i] for i in peaks]
    return found


class Fit(NamedTuple):
    """A function over an interval, its weight, and the form of its polynomial."""

    f: Function
    weight: Function
    low: Any
    high: Any
    count: int
    single: bool
    first: int = 0  # coefficients that are rounded before the others are found
    fixed: tuple[float, ...] = ()


def fit(wanted: Fit) -> tuple[list[float], float]:
    """The rounded coefficients, and log2 of the error that they leave."""
    done = list(wanted.fixed)
    low, high = mp.mpf(wanted.low), mp.mpf(wanted.high)
    while len(done) < wanted.count:
        start = len(done)

        def rest(x: Any, start: int = start) -> Any:
            return (wanted.f(x) - mp.polyval(done[::-1] or [0], x)) / x**start

        def weight(x: Any, start: int = start) -> Any:
            return wanted.weight(x) * x**start

        found = exchange(rest, weight, low, high, wanted.count - start)
        last = start >= wanted.first + len(wanted.fixed)
        for c in found if last else found[:1]:
            done.append(float(np.float32(float(c))) if wanted.single else float(c))
    points = [low + (high - low) * (i + mp.mpf(0.3)) / 2000 for i in range(2000)]
    errors = [
        abs(wanted.weight(x) * (wanted.f(x) - mp.polyval(done[::-1], x)))
        for x in points
    ]
    return done, float(mp.log(max(errors), 2))


# -- the functions, with their limits at 0 -------------------------------------------


def limited(f: Function, at_zero: Sequence[Any]) -> Function:
    """f, and near 0 the first terms of its series."""
    return lambda x: f(x) if abs(x) > mp.mpf(10) ** -10 else mp.polyval(at_zero, x)


def of_square(f: Function, at_zero: Sequence[Any]) -> Function:
    """z -> f(√z)."""
    return limited(lambda z: f(mp.sqrt(z)), at_zero)


def fits() -> dict[str, Fit]:
    """What the tables of ``runtime/native`` hold, by name."""
    third, fifth, ln2 = mp.mpf(1) / 3, mp.mpf(1) / 5, mp.log(2)
    step, turn = ln2 / 2 * mp.mpf("1.001"), mp.mpf("0.5003")
    e = limited(lambda x: (mp.expm1(x) - x) / x**2, (mp.mpf(1) / 6, 0.5))
    two = limited(lambda x: mp.expm1(x * ln2) / x, (ln2**2 / 2, ln2))
    log = limited(lambda x: (mp.log1p(x) - x + x * x / 2) / x**3, (fifth, -0.25, third))
    series = of_square(
        lambda s: (2 * mp.atanh(s) / s - 2) / s**2, (2 * fifth, 2 * third)
    )
    root = mp.sqrt(mp.mpf(2))
    widest = ((root - 1) / (root + 1)) ** 2 * mp.mpf("1.001")
    arctan = of_square(lambda s: (mp.atan(s) / s - 1) / s**2, (fifth, -third))
    eighth = mp.tan(mp.pi / 8) ** 2 * mp.mpf("1.001")
    sine = of_square(
        lambda s: (mp.sin(s) / s - 1) / s**2, (mp.mpf(1) / 120, -mp.mpf(1) / 6)
    )
    cosine = of_square(lambda s: (mp.cos(s) - 1) / s**2, (mp.mpf(1) / 24, -0.5))
    quarter = (mp.pi / 4) ** 2 * mp.mpf("1.01")
    slope = 2 / mp.sqrt(mp.pi)
    near = of_square(lambda a: mp.erf(a) / a - 1, (-slope / 3, slope - 1))
    log2 = of_square(lambda s: 2 * mp.atanh(s) / s / ln2, (2 / ln2 / 3, 2 / ln2))

    def relative(power: int, of: Function) -> Function:
        return lambda x: x**power / of(x)

    def tail(a: Any) -> Any:
        return mp.erfc(a) / mp.erf(a)

    def scaled(t: Any) -> Any:
        a = 4 * (1 + t) / (1 - t)
        return (1 + 2 * a) * mp.exp(a * a) * mp.erfc(a)

    def square(of: Function) -> Function:  # relative error in √z
        return lambda z: z / (of(mp.sqrt(z)) / mp.sqrt(z))

    def log_erfc(a: Any) -> Any:
        return mp.log(mp.erfc(a))

    def t(a: float) -> Any:
        return (mp.mpf(a) - 4) / (mp.mpf(a) + 4)

    exp, expm1 = relative(2, mp.exp), relative(2, mp.expm1)
    cube = relative(3, mp.log1p)
    half = (0.5,)
    erf_near = relative(0, lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z))
    power2 = relative(1, lambda x: mp.power(2, x))
    return {
        "exp, float32": Fit(e, exp, -step, step, 5, True),
        "expm1, float32": Fit(e, expm1, -step, step, 6, True, 1, half),
        "exp, float64": Fit(e, exp, -step, step, 10, False, 0, half),
        "expm1, float64": Fit(e, expm1, -step, step, 11, False, 1, half),
        "exp2, float32": Fit(two, power2, -turn, turn, 7, True, 1),
        "exp2, float64": Fit(two, power2, -turn, turn, 12, False, 1),
        "log, float32": Fit(log, cube, 1 / root - 1, root - 1, 8, True),
        "log, float64": Fit(series, lambda z: z, 0, widest, 7, False, 1),
        "arctan, float32": Fit(arctan, square(mp.atan), 0, eighth, 5, True, 1),
        "arctan, float64": Fit(arctan, square(mp.atan), 0, eighth, 12, False, 1),
        "sin, float32": Fit(sine, square(mp.sin), 0, quarter, 4, False),
        "cos, float32": Fit(
            cosine, lambda z: z / mp.cos(mp.sqrt(z)), 0, quarter, 4, False
        ),
        "erf near, float32": Fit(near, erf_near, 0, "1.001", 7, True, 1),
        "erf near, float64": Fit(near, erf_near, 0, "1.001", 12, False, 1),
        "erf far, float32": Fit(log_erfc, tail, "0.999", "3.95", 9, True),
        "erf far, float64": Fit(log_erfc, tail, "0.999", "5.95", 17, False),
        "erfc, float32": Fit(scaled, relative(0, scaled), t(0), t(10.2), 14, False),
        "erfc, float64": Fit(scaled, relative(0, scaled), t(0), t(27.3), 24, False),
        "power's log2, float32": Fit(log2, relative(0, log2), 0, widest, 6, False),
        "power's 2^r, float32": Fit(
            lambda r: mp.power(2, r), lambda r: mp.power(2, -r), -turn, turn, 8, False
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the start of a name; all of them")
    chosen = tuple(parser.parse_args().names) or ("",)
    mp.mp.dps = 50
    for name, wanted in fits().items():
        if name.startswith(chosen):
            coefficients, error = fit(wanted)
            print(f"{name}: 2^{error:.1f}", *coefficients, sep="\n    ", flush=True)


if __name__ == "__main__":
    main()
