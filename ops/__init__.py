"""Operation definitions and the builders that add them to a graph.

Importing this package declares every op and fills graphlib's operator table.
"""

from __future__ import annotations

from ..graphlib.operators import NUMPY, TABLE
from . import (
    complexes,
    core,
    creation,
    einsum,
    elementwise,
    extremes,
    initialization,
    linalg,
    logical,
    matrix,
    powers,
    random,
    reduction,
    rounding,
    sampling,
    scan,
    scatter_state,
    state,
    training,
    transcendental,
)

TABLE.update(core.OPERATORS)
TABLE.update(linalg.OPERATORS)
TABLE.update(reduction.OPERATORS)
TABLE.update(creation.OPERATORS)
NUMPY.update(linalg.NUMPY)
NUMPY.update(reduction.NUMPY)
for _family in (einsum, extremes, matrix, scan):
    TABLE.update(_family.OPERATORS)
    NUMPY.update(_family.NUMPY)
for _family in (complexes, elementwise, logical, powers, rounding):
    TABLE.update(_family.OPERATORS)
    NUMPY.update(_family.NUMPY)
NUMPY.update(transcendental.NUMPY)
