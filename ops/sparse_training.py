"""The updates that optimizers make where a gradient has only some rows.

Each is the method of the same name in :mod:`dagrad.ops.training`, on the rows
that ``indices`` name; repeated rows of the gradient are added up first.  All
other rows of the variable and its slots stay as they are.
"""

from __future__ import annotations

from typing import Any

from ..graphlib.tensor import Tensor
from . import training
from ._optimizer import apply_op, rows_op

__all__ = [
    "sparse_apply_adadelta",
    "sparse_apply_adagrad",
    "sparse_apply_centered_rms_prop",
    "sparse_apply_ftrl",
    "sparse_apply_momentum",
    "sparse_apply_rms_prop",
]

SPARSE_MOMENTUM = rows_op("SparseApplyMomentum", training.MOMENTUM)
SPARSE_ADAGRAD = rows_op("SparseApplyAdagrad", training.ADAGRAD)
SPARSE_ADADELTA = rows_op("SparseApplyAdadelta", training.ADADELTA)
SPARSE_RMS_PROP = rows_op("SparseApplyRMSProp", training.RMS_PROP)
SPARSE_CENTERED_RMS_PROP = rows_op(
    "SparseApplyCenteredRMSProp", training.CENTERED_RMS_PROP
)
SPARSE_FTRL = rows_op("SparseApplyFtrlV2", training.FTRL)


def sparse_apply_momentum(
    var: Any,
    accum: Any,
    lr: Any,
    grad: Any,
    indices: Any,
    momentum: Any,
    use_locking: bool = False,
    use_nesterov: bool = False,
    name: str | None = None,
) -> Tensor:
    """:func:`dagrad.ops.training.apply_momentum` on rows.

    Args:
        var, accum: variables of one shape (n, ...), floating or complex.
        lr, momentum: scalars.
        grad: rows (m, ...) of the variable's dtype.
        indices: (m,) integers in [0, n); repeats add up before the step.
        use_locking: accepted for TF1 programs.
        use_nesterov: var -= lr * (grad + momentum * accum).
        name: the name of the operation.

    Returns:
        The whole variable after the step.

    Raises:
        ShapeError, DTypeError: the arguments do not fit the variable.
        InvalidArgumentError: at run time, an index outside [0, n).
    """
    attrs = {"use_nesterov": bool(use_nesterov)}
    rest = (lr, (grad,), (indices,), momentum)
    return apply_op(SPARSE_MOMENTUM, (var, accum), rest, name, attrs)


def sparse_apply_adagrad(
    var: Any,
    accum: Any,
    lr: Any,
    grad: Any,
    indices: Any,
    use_locking: bool = False,
    update_slots: bool = True,
    name: str | None = None,
) -> Tensor:
    """:func:`dagrad.ops.training.apply_adagrad` on rows.

    Arguments as in :func:`sparse_apply_momentum`.
    """
    attrs = {"update_slots": bool(update_slots)}
    rest = (lr, (grad,), (indices,))
    return apply_op(SPARSE_ADAGRAD, (var, accum), rest, name, attrs)


def sparse_apply_adadelta(
    var: Any,
    accum: Any,
    accum_update: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    grad: Any,
    indices: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """:func:`dagrad.ops.training.apply_adadelta` on rows.

    Arguments as in :func:`sparse_apply_momentum`.
    """
    refs = (var, accum, accum_update)
    rest = (lr, rho, epsilon, (grad,), (indices,))
    return apply_op(SPARSE_ADADELTA, refs, rest, name)


def sparse_apply_rms_prop(
    var: Any,
    ms: Any,
    mom: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    grad: Any,
    indices: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """:func:`dagrad.ops.training.apply_rms_prop` on rows.

    Arguments as in :func:`sparse_apply_momentum`.
    """
    rest = (lr, rho, momentum, epsilon, (grad,), (indices,))
    return apply_op(SPARSE_RMS_PROP, (var, ms, mom), rest, name)


def sparse_apply_centered_rms_prop(
    var: Any,
    mg: Any,
    ms: Any,
    mom: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    grad: Any,
    indices: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """:func:`dagrad.ops.training.apply_centered_rms_prop` on rows.

    Arguments as in :func:`sparse_apply_momentum`.
    """
    rest = (lr, rho, momentum, epsilon, (grad,), (indices,))
    return apply_op(SPARSE_CENTERED_RMS_PROP, (var, mg, ms, mom), rest, name)


def sparse_apply_ftrl(
    var: Any,
    accum: Any,
    linear: Any,
    grad: Any,
    indices: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
    use_locking: bool = False,
    name: str | None = None,
    l2_shrinkage: Any = 0.0,
) -> Tensor:
    """:func:`dagrad.ops.training.apply_ftrl` on rows; floating variables only.

    Arguments as in :func:`sparse_apply_momentum`.
    """
    rest = ((grad,), (indices,), lr, l1, l2, l2_shrinkage, lr_power)
    refs = (var, accum, linear)
    return apply_op(SPARSE_FTRL, refs, rest, name or "SparseApplyFtrl")
