"""Initial values of variables (``tf.initializers``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily

if TYPE_CHECKING:
    from .ops.initialization import global_variables_initializer as global_variables
    from .ops.initialization import local_variables_initializer as local_variables
    from .ops.initialization import variables_initializer as variables
    from .ops.initializers import constant_initializer as constant
    from .ops.initializers import glorot_normal_initializer as glorot_normal
    from .ops.initializers import glorot_uniform_initializer as glorot_uniform
    from .ops.initializers import he_normal, he_uniform, lecun_normal, lecun_uniform
    from .ops.initializers import identity_initializer as identity
    from .ops.initializers import ones_initializer as ones
    from .ops.initializers import orthogonal_initializer as orthogonal
    from .ops.initializers import random_normal_initializer as random_normal
    from .ops.initializers import random_uniform_initializer as random_uniform
    from .ops.initializers import truncated_normal_initializer as truncated_normal
    from .ops.initializers import (
        uniform_unit_scaling_initializer as uniform_unit_scaling,
    )
    from .ops.initializers import variance_scaling_initializer as variance_scaling
    from .ops.initializers import zeros_initializer as zeros
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ops.initialization": (
                "global_variables=global_variables_initializer "
                "local_variables=local_variables_initializer "
                "variables=variables_initializer"
            ),
            "ops.initializers": (
                "constant=constant_initializer glorot_normal=glorot_normal_initializer "
                "glorot_uniform=glorot_uniform_initializer he_normal he_uniform "
                "identity=identity_initializer lecun_normal lecun_uniform "
                "ones=ones_initializer orthogonal=orthogonal_initializer "
                "random_normal=random_normal_initializer "
                "random_uniform=random_uniform_initializer "
                "truncated_normal=truncated_normal_initializer "
                "uniform_unit_scaling=uniform_unit_scaling_initializer "
                "variance_scaling=variance_scaling_initializer zeros=zeros_initializer"
            ),
        },
    )

# fmt: off
__all__ = [
    "constant", "global_variables", "glorot_normal", "glorot_uniform", "he_normal",
    "he_uniform", "identity", "lecun_normal", "lecun_uniform", "local_variables",
    "ones", "orthogonal", "random_normal", "random_uniform", "truncated_normal",
    "uniform_unit_scaling", "variables", "variance_scaling", "zeros",
]
# fmt: on
