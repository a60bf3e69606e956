"""Dense Jacobians row by row, against which sparse ones are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

import dagrad as dg


def run(fetches: Any, feeds: Any = None) -> Any:
    return dg.Session().run(fetches, feeds)


def dense_jacobian(y: dg.Tensor, x: dg.Tensor, feeds: Any = None) -> Any:
    """Row by row, in reverse: no sparsity anywhere."""
    g = dg.placeholder(y.dtype, y.shape)
    (pulled,) = dg.gradients(y, x, g, unconnected_gradients="zero")
    n = y.shape.num_elements()
    units = np.eye(n).reshape(n, *y.shape.as_list())
    session = dg.Session()
    rows = [session.run(pulled, {**(feeds or {}), g: u}).reshape(-1) for u in units]
    return np.array(rows).reshape(n, x.shape.num_elements())
