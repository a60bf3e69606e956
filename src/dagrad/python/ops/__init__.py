"""The part of TF1's internal ``ops`` that programs import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazily

if TYPE_CHECKING:
    from . import (
        control_flow_ops,
        functional_ops,
        gradient_checker,
        gradients_impl,
        script_ops,
        tensor_array_ops,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "": (
                "control_flow_ops functional_ops gradient_checker gradients_impl "
                "script_ops tensor_array_ops"
            )
        },
    )

__all__ = [
    "control_flow_ops",
    "functional_ops",
    "gradient_checker",
    "gradients_impl",
    "script_ops",
    "tensor_array_ops",
]
