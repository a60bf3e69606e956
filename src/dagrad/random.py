"""Random numbers (``tf.random``)."""

from __future__ import annotations

from .ops.candidates import log_uniform_candidate_sampler, uniform_candidate_sampler
from .ops.random import (
    get_seed,
    set_random_seed,
    truncated_normal,
)
from .ops.random import (
    random_normal as normal,
)
from .ops.random import (
    random_shuffle as shuffle,
)
from .ops.random import (
    random_uniform as uniform,
)
from .ops.sampling import (
    categorical,
    multinomial,
)
from .ops.sampling import (
    random_bernoulli as bernoulli,
)
from .ops.sampling import (
    random_gamma as gamma,
)
from .ops.sampling import (
    random_poisson as poisson,
)

# fmt: off
__all__ = [
    "bernoulli", "categorical", "gamma", "get_seed", "log_uniform_candidate_sampler",
    "multinomial", "normal", "poisson", "set_random_seed", "shuffle",
    "truncated_normal", "uniform", "uniform_candidate_sampler",
]
# fmt: on
