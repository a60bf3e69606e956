"""Training: optimizers, learning-rate decays, moving averages, the global step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .averages import ExponentialMovingAverage
    from .decays import (
        cosine_decay,
        cosine_decay_restarts,
        exponential_decay,
        inverse_time_decay,
        linear_cosine_decay,
        natural_exp_decay,
        noisy_linear_cosine_decay,
        piecewise_constant,
        piecewise_constant_decay,
        polynomial_decay,
    )
    from .methods import (
        AdadeltaOptimizer,
        AdagradOptimizer,
        AdamOptimizer,
        FtrlOptimizer,
        GradientDescentOptimizer,
        MomentumOptimizer,
        RMSPropOptimizer,
    )
    from .optimizer import Optimizer
    from .step import (
        assert_global_step,
        create_global_step,
        get_global_step,
        get_or_create_global_step,
        global_step,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "train.averages": "ExponentialMovingAverage",
            "train.decays": (
                "cosine_decay cosine_decay_restarts exponential_decay "
                "inverse_time_decay linear_cosine_decay natural_exp_decay "
                "noisy_linear_cosine_decay piecewise_constant piecewise_constant_decay "
                "polynomial_decay"
            ),
            "train.methods": (
                "AdadeltaOptimizer AdagradOptimizer AdamOptimizer FtrlOptimizer "
                "GradientDescentOptimizer MomentumOptimizer RMSPropOptimizer"
            ),
            "train.optimizer": "Optimizer",
            "train.step": (
                "assert_global_step create_global_step get_global_step "
                "get_or_create_global_step global_step"
            ),
        },
    )

__all__ = [
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "ExponentialMovingAverage",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "Optimizer",
    "RMSPropOptimizer",
    "assert_global_step",
    "cosine_decay",
    "cosine_decay_restarts",
    "create_global_step",
    "exponential_decay",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
]
