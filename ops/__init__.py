"""Operation definitions and the builders that add them to a graph.

Importing this package declares every op and fills graphlib's operator table.
"""

from __future__ import annotations

from ..graphlib.operators import NUMPY, TABLE
from . import (
    _numpy_forms,
    activations,
    array,
    blocks,
    candidates,
    clipping,
    complexes,
    conv,
    core,
    counting,
    creation,
    decompositions,
    einsum,
    elementwise,
    embedding,
    extremes,
    gather,
    indexing,
    initialization,
    initializers,
    linalg,
    logical,
    losses_nn,
    matrix,
    nn,
    normalization,
    padding,
    partition,
    pool,
    powers,
    random,
    rearrange,
    reduction,
    rounding,
    sampling,
    saved_variables,
    scan,
    scatter,
    scatter_state,
    segments,
    slicing,
    softmax,
    sorting,
    special,
    spectral,
    state,
    statistics,
    training,
    transcendental,
    variable_scope,
)

TABLE.update(core.OPERATORS)
TABLE.update(linalg.OPERATORS)
TABLE.update(reduction.OPERATORS)
TABLE.update(creation.OPERATORS)
NUMPY.update(linalg.NUMPY)
NUMPY.update(reduction.NUMPY)
for _family in (
    counting,
    decompositions,
    einsum,
    extremes,
    matrix,
    scan,
    segments,
    spectral,
    statistics,
):
    TABLE.update(_family.OPERATORS)
    NUMPY.update(_family.NUMPY)
for _family in (complexes, elementwise, logical, powers, rounding):
    TABLE.update(_family.OPERATORS)
    NUMPY.update(_family.NUMPY)
NUMPY.update(transcendental.NUMPY)
for _family in (array, gather, indexing):
    TABLE.update(_family.OPERATORS)
NUMPY.update(_numpy_forms.NUMPY)
TABLE.update(saved_variables.OPERATORS)
NUMPY.update(clipping.NUMPY)
