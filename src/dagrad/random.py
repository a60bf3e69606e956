"""Random numbers (``tf.random``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily

if TYPE_CHECKING:
    from .ops.candidates import log_uniform_candidate_sampler, uniform_candidate_sampler
    from .ops.random import get_seed, set_random_seed, truncated_normal
    from .ops.random import random_normal as normal
    from .ops.random import random_shuffle as shuffle
    from .ops.random import random_uniform as uniform
    from .ops.sampling import categorical, multinomial
    from .ops.sampling import random_bernoulli as bernoulli
    from .ops.sampling import random_gamma as gamma
    from .ops.sampling import random_poisson as poisson
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ops.candidates": "log_uniform_candidate_sampler uniform_candidate_sampler",
            "ops.random": (
                "get_seed normal=random_normal set_random_seed shuffle=random_shuffle "
                "truncated_normal uniform=random_uniform"
            ),
            "ops.sampling": (
                "bernoulli=random_bernoulli categorical gamma=random_gamma multinomial "
                "poisson=random_poisson"
            ),
        },
    )

# fmt: off
__all__ = [
    "bernoulli", "categorical", "gamma", "get_seed", "log_uniform_candidate_sampler",
    "multinomial", "normal", "poisson", "set_random_seed", "shuffle",
    "truncated_normal", "uniform", "uniform_candidate_sampler",
]
# fmt: on
