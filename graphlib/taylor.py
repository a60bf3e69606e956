"""Taylor mode: ``jet`` appends nodes for all derivatives up to an order at once.

A tensor on the path has a *series*, the list ``[x_0, x_1, ..., x_K]`` of the Taylor
coefficients of a path x(t) = x_0 + x_1 t + ... + x_K t^K; x_0 is the tensor itself,
None stands for zero.  Rules speak of coefficients only; derivatives x^(k) = k! x_k
appear at the front door (:func:`jet`, :func:`derivatives`) and nowhere else.

How an op's outputs get their series, the first that applies:

* its ``jet`` rule, for ops that have a recurrence;
* ``linear``: its jvp, for each coefficient;
* its jvp as a differential equation: y'(t) = J(x(t), y(t)) x'(t).  The jvp's own
  nodes are expanded, one order lower, and integrated.  This is right for any op.
  It makes O(K²) nodes where those have recurrences and do not read y (arcsine, erf,
  softplus, gelu, atan2), O(K³) where they read y (Cholesky, QR, SVD, eigenvectors,
  determinants, norms) or need ever new functions (lgamma: ψ, ψ', ψ'', ...).

Reference:
    Griewank & Walther, Evaluating Derivatives, 2nd ed., chapter 13.
    Bettencourt, Johnson & Duvenaud, Taylor-mode automatic differentiation for
    higher-order derivatives in JAX (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .errors import GradientError, InvalidArgumentError, ShapeError
from .forward import _tangent, push_forward
from .gradients import _tensors
from .operation import Operation
from .operators import TABLE
from .series import Series, is_constant, scale
from .source import caller
from .stacks import home
from .tensor import Tensor
from .traversal import between, captured_from

__all__ = [
    "by_derivative",
    "derivatives",
    "jet",
    "series_through",
    "taylor_coefficients",
]


def jet(
    ys: Any, xs: Any, series: Any, name: str | None = "jet"
) -> list[list[Tensor | None]]:
    """The derivatives of y(x(t)) at t = 0, from those of the paths x(t).

    Args:
        ys: a tensor or a list of tensors.
        xs: a tensor, a variable or a list of them.
        series: one list per x, ``[x', x'', ..., x^(K)]`` at t = 0, all of the same
            length K; an entry has its x's shape and dtype, None is zero.  A single
            x may be given with its list alone.
        name: the scope of the new nodes.

    Returns:
        One list per y, ``[y', y'', ..., y^(K)]``; Nones where y does not depend on
        xs.  The entries are nodes like others: they can be differentiated again.

    Raises:
        GradientError: an op on the path has no rule.
        ShapeError, DTypeError: an entry does not fit its x, or the lists' lengths
            differ.

    At kinks each piece's derivatives are those that ``jvp`` chooses.  Coefficients
    are x^(k) / k! inside, so float32 ends at order 34, where 35! overflows.

    Cost: O(K²) nodes for each nonlinear op with a recurrence (products, quotients,
    exp, sin, tanh, ...), O(K) for a linear one, where K nested ``jvp`` make O(2^K).
    Ops without one cost O(K²) or O(K³); see the module's text.

    Example:
        >>> import dagrad as tf
        >>> x = tf.constant(0.0, tf.float64)
        >>> ((first, second),) = tf.jet([tf.exp(x)], [x], [[2.0, 1.0]])
        >>> with tf.Session() as session:  # of exp(2 t + t²/2)
        ...     print(*session.run([first, second]))
        2.0 5.0

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., chapter 13;
        Bettencourt, Johnson & Duvenaud (2019).
    """
    y_list = _tensors(ys)
    x_list = _tensors(xs)
    orders = _per_x(series, x_list, isinstance(xs, (list, tuple)))
    if not y_list or not x_list:
        return [[None] * len(orders[0]) if orders else [] for _ in y_list]
    found = _expand(y_list, x_list, orders, name or "jet", math.factorial)
    return [f[1:] for f in found]


def derivatives(
    y: Any, x: Any, order: int, name: str | None = "derivatives"
) -> list[Tensor | None]:
    """``[dy/dx, d²y/dx², ..., d^K y/dx^K]`` for y that depends on x by element.

    Args:
        y: a tensor.
        x: a scalar, or a tensor of which y[i] reads x[i] only.  For another y it is
            the derivative along x + t (1, ..., 1).
        order: K, at least 0.
        name: the scope of the new nodes.

    Returns:
        K tensors of y's shape; Nones where y does not depend on x.

    Raises:
        As :func:`jet`; InvalidArgumentError for a negative order.

    Cost and reference: :func:`jet`.
    """
    (x,) = _tensors([x])
    (found,) = jet([y], [x], [_unit(x, order)], name)
    return found


def taylor_coefficients(
    y: Any, x: Any, order: int, name: str | None = "taylor"
) -> list[Tensor | None]:
    """``[c_0, ..., c_K]`` with y(x + h) = Σ c_k h^k + O(h^(K+1)), c_k = y^(k) / k!.

    Arguments, errors, cost and reference as for :func:`derivatives`; c_0 is y.

    Example:
        >>> import dagrad as tf
        >>> x = tf.constant(0.0, tf.float64)
        >>> c = tf.taylor_coefficients(1.0 / (1.0 - x), x, 4)
        >>> with tf.Session() as session:
        ...     print(*session.run(c))
        1.0 1.0 1.0 1.0 1.0
    """
    (x,) = _tensors([x])
    (y,) = _tensors([y])
    (found,) = _expand([y], [x], [_unit(x, order)], name or "taylor", lambda k: 1)
    return found


def _unit(x: Tensor, order: int) -> list[Any]:
    """The derivatives of the path x + t."""
    if order < 0:
        raise InvalidArgumentError(f"the order of a derivative is not {order}")
    return [TABLE["ones_like"](x), *[None] * (order - 1)] if order else []


def _per_x(series: Any, xs: Sequence[Tensor], listed: bool) -> list[list[Any]]:
    """One list of derivatives per x, checked."""
    orders = [list(s) for s in series] if listed else [list(series)]
    if len(orders) != len(xs):
        raise ShapeError(f"{len(orders)} series were given for {len(xs)} xs")
    lengths = {len(s) for s in orders}
    if len(lengths) > 1:
        raise ShapeError(
            f"the series have {sorted(lengths)} entries: all xs need the same order "
            "(None is zero)"
        )
    return orders


def _expand(
    ys: Sequence[Tensor],
    xs: Sequence[Tensor],
    orders: list[list[Any]],
    name: str,
    factor: Callable[[int], int],
) -> list[Series]:
    """``[y, ...]`` with factor(k) times the coefficients, from the xs' derivatives."""
    graph = home(ys[0].graph)
    order = len(orders[0])
    mark = graph._local.context.mark or caller()
    known: dict[Tensor, Series] = {}
    with graph.as_default(), graph.name_scope(name) as scope:
        context = graph._local.context
        saved = context.forward_op, context.mark
        context.mark = mark
        try:
            for x, entries in zip(xs, orders):
                series: Series = [x]
                for k, entry in enumerate(entries, 1):
                    t = None if entry is None else _tangent(x, entry)
                    series.append(scale(t, 1.0 / math.factorial(k)))
                known[x] = series
            for op in between(ys, xs, set()):
                context.scope = f"{scope}{op.name}_jet/"
                context.forward_op = op
                _advance(op, known, order)
            context.scope = scope
            context.forward_op = None
            return [_finished(y, known.get(y), order, factor) for y in ys]
        finally:
            context.forward_op, context.mark = saved


def _finished(
    y: Tensor, series: Series | None, order: int, factor: Callable[[int], int]
) -> Series:
    """The coefficients times their factors; all None where y is constant."""
    if series is None or is_constant(series):
        return [y, *[None] * order]
    return [
        y,
        *[
            TABLE["zeros_like"](y) if c is None else scale(c, factor(k))
            for k, c in enumerate(series[1:], 1)
        ],
    ]


def _advance(op: Operation, known: dict[Tensor, Series], order: int) -> None:
    """Put the series of an op's outputs into ``known``."""
    if not op.inputs:  # what a body captured
        (source,) = captured_from(op)
        if source in known and op.outputs[0] not in known:
            known[op.outputs[0]] = [op.outputs[0], *known[source][1:]]
        return
    if not any(t in known for t in op.inputs):
        return
    series = [known.get(t) or [t, *[None] * order] for t in op.inputs]
    if all(map(is_constant, series)):
        return
    results = _rule(op, series)
    if len(results) != len(op.outputs):
        raise GradientError(
            op.explain(
                f"its jet gave {len(results)} series for {len(op.outputs)} outputs"
            ),
            op,
        )
    for y, found in zip(op.outputs, results):
        if y not in known:
            known[y] = found


def series_through(
    ys: Sequence[Tensor], xs: Sequence[Tensor], along: Sequence[Sequence[Tensor | None]]
) -> list[list[Tensor | None]]:
    """Coefficients 1, ..., K of ``ys`` from those of ``xs``: for rules that walk a
    body.

    Nodes go where the default graph says.
    """
    order = len(along[0])
    known: dict[Tensor, Series] = {x: [x, *rest] for x, rest in zip(xs, along)}
    graph = home(ys[0].graph)
    context = graph._local.context
    scope, forward_op = context.scope, context.forward_op
    try:
        for op in between(ys, xs, set()):
            context.scope = f"{scope}{op.name}_jet/"
            context.forward_op = op
            _advance(op, known, order)
    finally:
        context.scope, context.forward_op = scope, forward_op
    return [known[y][1:] if y in known else [None] * order for y in ys]


def _rule(op: Operation, series: list[Series]) -> list[Series]:
    if op.opdef.jet is not None:
        return op.opdef.jet(op, series)  # type: ignore[no-any-return]
    return (by_linearity if op.opdef.linear else by_derivative)(op, series)


def by_linearity(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of linear ops: the jvp of each coefficient."""
    results: list[Series] = [[y] for y in op.outputs]
    for k in range(1, len(series[0])):
        terms = [s[k] for s in series]
        if any(t is not None for t in terms):
            pushed = push_forward(op, terms)
        else:
            pushed = [None] * len(results)
        for found, t in zip(results, pushed):
            found.append(t)
    return results


def by_derivative(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of any op: y' = J(x, y) x', expanded one order lower.

    The jvp's nodes are built once, for t = 0, and expanded like a graph of their
    own.  Where they read no output of the op, one pass gives all coefficients;
    otherwise each pass gives one more, since y_k needs y_0, ..., y_(k-1) only.

    An op whose jvp makes ops without recurrence again (lgamma: digamma: polygamma)
    comes back here, with one order less each time.
    """
    order = len(series[0]) - 1
    known: dict[Tensor, Series] = {}
    tangents: list[Tensor | None] = []
    for x, s in zip(op.inputs, series):
        if is_constant(s):
            tangents.append(None)
            continue
        # A node of its own, so that no other tensor is taken for the tangent.
        t = TABLE["identity"](TABLE["zeros_like"](x) if s[1] is None else s[1])
        tangents.append(t)
        known[t] = [t, *[scale(s[k], k) for k in range(2, order + 1)]]
        known[x] = s
    slopes = push_forward(op, tangents)
    results: list[Series] = [[y, d] for y, d in zip(op.outputs, slopes)]
    if order == 1:
        return results
    present = [d for d in slopes if d is not None]
    sources = [*known, *op.outputs]
    path = between(present, sources, {*sources, *op.inputs})
    outputs = set(op.outputs)
    feedback = any(t in outputs for p in path for t in p.inputs) or any(
        d in outputs for d in present
    )
    for n in range(2, order + 1) if feedback else [order]:
        local = {t: s[:n] for t, s in known.items()}
        if feedback:
            local.update({y: s[:n] for y, s in zip(op.outputs, results)})
        for p in path:
            _advance(p, local, n - 1)
        for found, d in zip(results, slopes):
            velocity = (local.get(d) if d is not None else None) or [None] * n
            for k in range(len(found), n + 1):
                found.append(scale(velocity[k - 1], 1.0 / k))
    return results
