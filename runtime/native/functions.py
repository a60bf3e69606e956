"""The functions that native loops call, by the names of NumPy's ufuncs.

Every entry takes an LLVM builder and scalar values of one type, float or double, and
emits straight code: sums, products, quotients, roots, comparisons, selects and integer
arithmetic on bit patterns, with no call and no table, so that LLVM's vectoriser makes
SIMD code of a loop over it.  Nothing is fast-math.  Every formula is right with fused
products and without; a target that has them may give another last bit.

Worst errors, measured over all of float32 and dense samples of float64, are in
docs/native.md.  Answers at NaN, infinities, signed zeros, subnormal numbers and beyond
overflow are those of NumPy (C11, annex F).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import exponentials, logarithms, powers, special, trigonometric
from .scalar import Scalar

__all__ = ["BEYOND", "EMIT", "WITHIN"]

#: A builder and operands to a value.
Emitter = Callable[[Any, Sequence[Any]], Any]


def _emitter(formula: Callable[..., Scalar]) -> Emitter:
    def emit(builder: Any, operands: Sequence[Any]) -> Any:
        return formula(*(Scalar(builder, value) for value in operands)).value

    return emit


def _reciprocal_root(x: Scalar) -> Scalar:
    """1 / √x, both rounded, as the two ufuncs give it."""
    return 1.0 / x.sqrt()


_FORMULAS: dict[str, Callable[..., Scalar]] = {
    "arctan": trigonometric.arctan,
    "cos": trigonometric.cos,
    "cosh": exponentials.cosh,
    "erf": special.erf,
    "erfc": special.erfc,
    "exp": exponentials.exp,
    "exp2": exponentials.exp2,
    "expm1": exponentials.expm1,
    "log": logarithms.log,
    "log10": logarithms.log10,
    "log1p": logarithms.log1p,
    "log2": logarithms.log2,
    "power": powers.power,
    "rsqrt": _reciprocal_root,
    "sigmoid": exponentials.sigmoid,
    "sin": trigonometric.sin,
    "sinh": exponentials.sinh,
    "softplus": logarithms.softplus,
    "sqrt": Scalar.sqrt,
    "tan": trigonometric.tan,
    "tanh": exponentials.tanh,
}

#: What emits a function, by its name.
EMIT: dict[str, Emitter] = {name: _emitter(f) for name, f in _FORMULAS.items()}


def _within(formula: Callable[..., Scalar]) -> Emitter:
    return _emitter(lambda x: formula(trigonometric.within(x), short=True))


#: The same within a reach (2^28 in float32, 2^30 in float64), NaN beyond; the only code
#: for float64, where EMIT raises NotImplementedError.
WITHIN: dict[str, Emitter] = {
    "cos": _within(trigonometric.cos),
    "sin": _within(trigonometric.sin),
    "tan": _within(trigonometric.tan),
}

#: What emits, for a function in ``WITHIN``, an i1 that is set where the argument is
#: finite and out of reach.  A loop ORs the flags of its elements, and its caller
#: computes the whole another way (by NumPy) where one was set.
BEYOND: dict[str, Emitter] = dict.fromkeys(WITHIN, _emitter(trigonometric.beyond))
