"""Elementwise functions, reductions and segments (``tf.math``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily

if TYPE_CHECKING:
    from .composites import scalar_mul
    from .ops.activations import log_sigmoid, sigmoid, softplus, softsign
    from .ops.complexes import angle, conj, imag, real
    from .ops.core import add_n
    from .ops.counting import bincount
    from .ops.elementwise import (
        add,
        divide,
        floordiv,
        floormod,
        mod,
        multiply,
        negative,
        reciprocal_no_nan,
        square,
        squared_difference,
        subtract,
        truediv,
    )
    from .ops.elementwise import div_no_nan as divide_no_nan
    from .ops.extremes import (
        argmax,
        argmin,
        count_nonzero,
        reduce_all,
        reduce_any,
        reduce_logsumexp,
        reduce_max,
        reduce_min,
    )
    from .ops.logical import (
        equal,
        greater,
        greater_equal,
        is_finite,
        is_inf,
        is_nan,
        less,
        less_equal,
        logical_and,
        logical_not,
        logical_or,
        logical_xor,
        not_equal,
    )
    from .ops.nn import in_top_k, zero_fraction
    from .ops.normalization import l2_normalize
    from .ops.powers import pow_ as pow
    from .ops.powers import reciprocal, rsqrt, sqrt
    from .ops.reduction import reduce_mean, reduce_prod, reduce_sum
    from .ops.rounding import abs_ as abs
    from .ops.rounding import ceil, floor, maximum, minimum, rint, sign
    from .ops.rounding import round_ as round
    from .ops.scan import cumprod, cumsum
    from .ops.segments import (
        segment_max,
        segment_mean,
        segment_min,
        segment_prod,
        segment_sum,
        unsorted_segment_max,
        unsorted_segment_mean,
        unsorted_segment_min,
        unsorted_segment_prod,
        unsorted_segment_sqrt_n,
        unsorted_segment_sum,
    )
    from .ops.softmax import log_softmax, softmax
    from .ops.sorting import invert_permutation, top_k
    from .ops.special import digamma, erf, erfc, erfinv, lgamma, ndtri, polygamma, zeta
    from .ops.statistics import (
        accumulate_n,
        reduce_euclidean_norm,
        reduce_std,
        reduce_variance,
    )
    from .ops.transcendental import (
        acos,
        acosh,
        asin,
        asinh,
        atan,
        atan2,
        atanh,
        cos,
        cosh,
        exp,
        expm1,
        log,
        log1p,
        sin,
        sinh,
        tan,
        tanh,
        xdivy,
        xlogy,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "composites": "scalar_mul",
            "ops.activations": "log_sigmoid sigmoid softplus softsign",
            "ops.complexes": "angle conj imag real",
            "ops.core": "add_n",
            "ops.counting": "bincount",
            "ops.elementwise": (
                "add divide divide_no_nan=div_no_nan floordiv floormod mod multiply "
                "negative reciprocal_no_nan square squared_difference subtract truediv"
            ),
            "ops.extremes": (
                "argmax argmin count_nonzero reduce_all reduce_any reduce_logsumexp "
                "reduce_max reduce_min"
            ),
            "ops.logical": (
                "equal greater greater_equal is_finite is_inf is_nan less less_equal "
                "logical_and logical_not logical_or logical_xor not_equal"
            ),
            "ops.nn": "in_top_k zero_fraction",
            "ops.normalization": "l2_normalize",
            "ops.powers": "pow=pow_ reciprocal rsqrt sqrt",
            "ops.reduction": "reduce_mean reduce_prod reduce_sum",
            "ops.rounding": (
                "abs=abs_ ceil floor maximum minimum rint round=round_ sign"
            ),
            "ops.scan": "cumprod cumsum",
            "ops.segments": (
                "segment_max segment_mean segment_min segment_prod segment_sum "
                "unsorted_segment_max unsorted_segment_mean unsorted_segment_min "
                "unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum"
            ),
            "ops.softmax": "log_softmax softmax",
            "ops.sorting": "invert_permutation top_k",
            "ops.special": "digamma erf erfc erfinv lgamma ndtri polygamma zeta",
            "ops.statistics": (
                "accumulate_n reduce_euclidean_norm reduce_std reduce_variance"
            ),
            "ops.transcendental": (
                "acos acosh asin asinh atan atan2 atanh cos cosh exp expm1 log log1p "
                "sin sinh tan tanh xdivy xlogy"
            ),
        },
    )

# fmt: off
__all__ = [
    "abs", "accumulate_n", "acos", "acosh", "add", "add_n", "angle", "argmax", "argmin",
    "asin", "asinh", "atan", "atan2", "atanh", "bincount", "ceil", "conj", "cos",
    "cosh", "count_nonzero", "cumprod", "cumsum", "digamma", "divide", "divide_no_nan",
    "equal", "erf", "erfc", "erfinv", "exp", "expm1", "floor", "floordiv", "floormod",
    "greater", "greater_equal", "imag", "in_top_k", "invert_permutation", "is_finite",
    "is_inf", "is_nan", "l2_normalize", "less", "less_equal", "lgamma", "log", "log1p",
    "log_sigmoid", "log_softmax", "logical_and", "logical_not", "logical_or",
    "logical_xor", "maximum", "minimum", "mod", "multiply", "ndtri", "negative",
    "not_equal", "polygamma", "pow", "real", "reciprocal", "reciprocal_no_nan",
    "reduce_all", "reduce_any", "reduce_euclidean_norm", "reduce_logsumexp",
    "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_std",
    "reduce_sum", "reduce_variance", "rint", "round", "rsqrt", "scalar_mul",
    "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum",
    "sigmoid", "sign", "sin", "sinh", "softmax", "softplus", "softsign", "sqrt",
    "square", "squared_difference", "subtract", "tan", "tanh", "top_k", "truediv",
    "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min",
    "unsorted_segment_prod", "unsorted_segment_sqrt_n", "unsorted_segment_sum", "xdivy",
    "xlogy", "zero_fraction", "zeta",
]
# fmt: on
