"""Dense derivatives: Jacobians, Hessians, products with them, and vectorised maps.

All are made of ``gradients``, ``jvp`` and ``vectorize``: a matrix of derivatives is
one forward or reverse pass that carries all unit vectors at once.  The results are
tensors like any other and can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.batching import vectorize
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.forward import jvp
from ..graphlib.gradients import UnconnectedGradients, _tensors, gradients
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor
from ._build import scope, shape_tensor
from ._jacobian import (
    conjugated,
    count,
    forward_columns,
    is_list,
    joined,
    mode_of,
    reverse_rows,
    seed_of,
    unconnected,
    vector,
)
from .core import broadcast_to, zeros_like
from .matrix import eye
from .vectorized import vectorized_map
from .views import reshape, transpose

__all__ = [
    "Linearized",
    "batch_jacobian",
    "gauss_newton_vector_product",
    "hessian",
    "hessian_vector_product",
    "hessians",
    "jacobian",
    "linearize",
    "per_example_gradients",
    "vectorized_map",
    "vjp",
]

_NONE, _ZERO = UnconnectedGradients.NONE, UnconnectedGradients.ZERO


# -- Jacobians -----------------------------------------------------------------


def jacobian(
    y: Any,
    x: Any,
    mode: str = "auto",
    unconnected_gradients: Any = _NONE,
    name: str | None = "jacobian",
) -> Any:
    """J[i..., j...] = dy[i...] / dx[j...].

    Args:
        y: a floating or complex tensor of any shape.
        x: a tensor or variable, or a list of them.
        mode: ``"reverse"`` (one pass that carries size(y) cotangents),
            ``"forward"`` (one that carries size(x) tangents), or ``"auto"``: forward
            where x is known to be the smaller of the two.
        unconnected_gradients: for an x that y does not depend on: ``"none"``,
            ``"zero"`` or ``"raise"``.
        name: the scope of the new operations.

    Returns:
        A tensor of shape y.shape + x.shape and y's dtype; for a list of xs a list.
        Sizes may be unknown, or 0.

    The number of operations, and of steps of a run, does not depend on the sizes;
    the memory of each intermediate is that of one pass times size(y) or size(x).
    The pass for one unit vector, from which it is built, stays in the graph, unused.
    Kinks are treated as ``gradients`` treats them.  Where a partial derivative is
    infinite, what stands beside it is 0 times infinity: NaN.

    Complex tensors: J is the complex derivative of an analytic function; for a real
    y of a complex x it is TF1's gradient of each element of y.

    Raises:
        GradientError: an op on the path has no rule, or, with ``"raise"``, y does
            not depend on x.
        DTypeError: ``mode`` would lose a part of a complex derivative.

    >>> import dagrad as dg
    >>> x = dg.constant([1.0, 2.0])
    >>> J = dg.jacobian(dg.stack([x[0] * x[1], x[0], x[1] ** 2]), x)
    >>> with dg.Session() as session:
    ...     print(session.run(J).tolist())
    [[2.0, 1.0], [1.0, 0.0], [0.0, 4.0]]

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 3.3 (vector
        modes).
    """
    policy = UnconnectedGradients(unconnected_gradients)
    (target,) = _tensors([y])
    xs = _tensors(x)
    with scope(name, "jacobian", target):
        modes = [mode_of(mode, target, t) for t in xs]
        results: list[Tensor | None] = [None] * len(xs)
        back = [i for i, m in enumerate(modes) if m == "reverse"]
        for i, rows in zip(back, reverse_rows(target, [xs[i] for i in back])):
            results[i] = rows
        for i, m in enumerate(modes):
            if m == "forward":
                (results[i],) = forward_columns([target], xs[i])
        out = [
            unconnected(target, t, joined(target, t), policy) if r is None else r
            for t, r in zip(xs, results)
        ]
    return out if is_list(x) else out[0]


def batch_jacobian(
    y: Any,
    x: Any,
    mode: str = "auto",
    unconnected_gradients: Any = _NONE,
    name: str | None = "batch_jacobian",
) -> Any:
    """J[b, i..., j...] = dy[b, i...] / dx[b, j...], for y[b] that depends on x[b] only.

    Args:
        y: (n, ...), floating.
        x: (n, ...), a tensor or variable of the same dtype.
        mode, unconnected_gradients: as for :func:`jacobian`.
        name: the scope of the new operations.

    Returns:
        (n,) + y.shape[1:] + x.shape[1:].  Where y[b] depends on other examples too
        the result is the sum of their derivatives (reverse mode) by position.

    Cost: that of the Jacobian of one example, for n of them: one pass carries
    size(y[0]) cotangents, or size(x[0]) tangents.

    Raises:
        ShapeError: y or x has no first axis, or of another size.
    """
    policy = UnconnectedGradients(unconnected_gradients)
    (target,), (source,) = _tensors([y]), _tensors([x])
    for t in (target, source):
        if t.dims is not None and not t.dims:
            raise ShapeError(f"batch_jacobian: {t!r} has no axis of examples")
    counts = [t.dims[0] for t in (target, source) if t.dims and t.dims[0] is not None]
    if len(set(counts)) > 1:
        raise ShapeError(f"batch_jacobian: {counts[0]} examples of y, {counts[1]} of x")
    with scope(name, "batch_jacobian", target):
        rows, columns = _example(target), _example(source)
        whole = vector(shape_tensor(target), shape_tensor(source)[1:])
        chosen = mode_of(mode, rows, columns)
        carried = target if chosen == "reverse" else source
        one = rows if chosen == "reverse" else columns
        seed = seed_of(carried)
        if chosen == "reverse":
            (g,) = gradients(target, [source], [seed])
        else:
            (g,) = jvp([target], [source], [seed])
        if g is None:
            return unconnected(target, source, whole, policy)
        n = count(one)
        units = reshape(eye(n, dtype=one.dtype), vector(n, 1, shape_tensor(one)))
        units = broadcast_to(units, vector(n, shape_tensor(carried)))
        (made,) = vectorize([g], {seed: units}, "units")
        examples = shape_tensor(carried)[0]
        other = count(columns if chosen == "reverse" else rows)
        flat = reshape(made, vector(n, examples, other))
        order = [1, 0, 2] if chosen == "reverse" else [1, 2, 0]
        result = reshape(transpose(flat, order), whole)
        if target.dims is not None and source.dims is not None:
            result.set_shape((*target.dims, *source.dims[1:]))
        return conjugated(result) if chosen == "reverse" else result


def _example(t: Tensor) -> Tensor:
    """One example of a batch, for its shape."""
    example: Tensor = t[0]
    return example


def per_example_gradients(
    losses: Any,
    xs: Any,
    unconnected_gradients: Any = _NONE,
    name: str | None = "per_example_gradients",
) -> Any:
    """g[i] = d losses[i] / dx for every example i: shape (n,) + x.shape.

    Args:
        losses: (n,), one loss for each example; nothing is averaged or summed.
        xs: a tensor or variable that all examples share, or a list of them.
        unconnected_gradients: as for :func:`jacobian`.
        name: the scope of the new operations.

    Returns:
        One tensor per x.  Their sum over axis 0 is ``gradients(losses, xs)``, also
        where an example's loss depends on the others (batch normalisation).

    Cost: one reverse pass that carries n cotangents, each over the whole batch: n
    times the work of one gradient.  It needs no structure of the loss; where
    examples are independent, ``vectorized_map`` over a function that builds the
    gradient of one example does the work of one pass.

    Raises:
        ShapeError: ``losses`` is no vector.
    """
    (each,) = _tensors([losses])
    if each.dims is not None and len(each.dims) != 1:
        raise ShapeError(
            f"per_example_gradients: losses have shape {text(each.dims)}: one number "
            "for each example is needed",
            each.op,
        )
    return jacobian(each, xs, "reverse", unconnected_gradients, name)


# -- Hessians ------------------------------------------------------------------


def _scalar(y: Any, who: str) -> Tensor:
    (t,) = _tensors([y])
    if t.dims is not None and t.dims != ():
        raise ShapeError(
            f"{who}: y must be a scalar, not of shape {text(t.dims)}: reduce it first",
            t.op,
        )
    return t


def _real(xs: Sequence[Tensor], who: str) -> None:
    for x in xs:
        if x.dtype.is_complex:
            raise DTypeError(f"{who}: {x!r} is complex: take real and imaginary parts")


def hessian(
    y: Any,
    x: Any,
    unconnected_gradients: Any = _ZERO,
    name: str | None = "hessian",
) -> Any:
    """H[i..., j...] = d^2 y / dx[i...] dx[j...].

    Args:
        y: a floating scalar.
        x: a tensor or variable, or a list of them.
        unconnected_gradients: for a y that is linear in x, or does not depend on it:
            ``"zero"``, ``"none"`` or ``"raise"``.
        name: the scope of the new operations.

    Returns:
        A tensor of shape x.shape + x.shape.  For a list of k xs the k x k blocks, as
        nested lists: block [i][j] is d^2 y / dx_i dx_j, of shape x_i.shape +
        x_j.shape.

    One forward pass over the gradient, which carries size(x) tangents: the work of
    size(x) Hessian-vector products.

    Raises:
        ShapeError: y is no scalar (see :func:`hessians`).
        DTypeError: a complex x.

    >>> import dagrad as dg
    >>> x = dg.constant([1.0, 2.0])
    >>> H = dg.hessian(x[0] ** 2 * x[1], x)
    >>> with dg.Session() as session:
    ...     print(session.run(H).tolist())
    [[4.0, 2.0], [2.0, 0.0]]

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 5.1.
    """
    policy = UnconnectedGradients(unconnected_gradients)
    target, xs = _scalar(y, "hessian"), _tensors(x)
    _real(xs, "hessian")
    with scope(name, "hessian", target):
        blocks = _blocks(target, xs, policy)
    return blocks if is_list(x) else blocks[0][0]


def _blocks(
    y: Tensor, xs: Sequence[Tensor], policy: UnconnectedGradients
) -> list[list[Tensor | None]]:
    slopes = gradients(y, xs)
    blocks: list[list[Tensor | None]] = [[None] * len(xs) for _ in xs]
    present = [(i, g) for i, g in enumerate(slopes) if g is not None]
    for j, x in enumerate(xs):
        columns = forward_columns([g for _, g in present], x) if present else []
        for (i, _), block in zip(present, columns):
            blocks[i][j] = block
    for i, a in enumerate(xs):
        for j, b in enumerate(xs):
            if blocks[i][j] is None:
                slope = slopes[i]
                blocks[i][j] = unconnected(
                    y if slope is None else slope, b, joined(a, b), policy
                )
    return blocks


def hessians(
    ys: Any,
    xs: Any,
    name: str | None = "hessians",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: Any = False,
    aggregation_method: Any = None,
) -> list[Any]:
    """The Hessian of sum(ys) for each x in ``xs`` alone, as TF1 has it.

    Args:
        ys: a tensor or a list of tensors of any shapes; all elements are summed.
        xs: a tensor, a variable or a list of them, of any shapes.
        name: the scope of the new operations.
        colocate_gradients_with_ops, gate_gradients, aggregation_method: as for
            ``gradients``.

    Returns:
        One tensor per x, of shape x.shape + x.shape; zeros where the sum is linear
        in x.  Mixed blocks are in :func:`hessian`.

    Raises:
        GradientError: no y depends on an x.
    """
    x_list = _tensors(xs)
    _real(x_list, "hessians")
    with scope(name, "hessians", *_tensors(ys)):
        slopes = gradients(
            ys,
            x_list,
            None,
            "gradients",
            colocate_gradients_with_ops,
            gate_gradients,
            aggregation_method,
            unconnected_gradients=UnconnectedGradients.RAISE,
        )
        results: list[Any] = []
        for g, x in zip(slopes, x_list):
            assert g is not None
            (block,) = forward_columns([g], x)
            if block is None:
                block = unconnected(g, x, joined(x, x), _ZERO)
            results.append(block)
    return results


def hessian_vector_product(
    y: Any, xs: Any, vs: Any, name: str | None = "hessian_vector_product"
) -> list[Any]:
    """H v: for each x_i the sum over j of (d^2 y / dx_i dx_j) v_j, without H.

    Args:
        y: a floating tensor (summed, where it is no scalar).
        xs: a tensor, a variable or a list of them.
        vs: one tensor per x, of its shape and dtype.
        name: the scope of the new operations.

    Returns:
        One tensor per x, of its shape; zeros where y is linear in all xs.

    One forward pass over the gradient: a small multiple of the cost of y.

    Reference:
        Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6
        (1994).
    """
    x_list = _tensors(xs)
    _real(x_list, "hessian_vector_product")
    with scope(name, "hessian_vector_product", *_tensors(y)):
        slopes = gradients(y, x_list)
        return _pushed(slopes, x_list, vs, x_list)


def _pushed(
    ys: Sequence[Tensor | None], xs: Sequence[Tensor], vs: Any, like: Sequence[Tensor]
) -> list[Tensor]:
    """Tangents of ``ys``, zeros shaped as ``like`` where there is none."""
    present = [y for y in ys if y is not None]
    found = iter(jvp(present, list(xs), vs))
    tangents = [None if y is None else next(found) for y in ys]
    return [zeros_like(x) if t is None else t for t, x in zip(tangents, like)]


def gauss_newton_vector_product(
    residual: Any, xs: Any, vs: Any, name: str | None = "gauss_newton_vector_product"
) -> list[Any]:
    """G v = J^T H J v, J = d outputs / dx, H the Hessian of the loss of the outputs.

    Args:
        residual: residuals r of any shape, with the loss sum(r^2) / 2 (so that H is
            the identity), or a pair (outputs, loss): a tensor or a list of them, and
            a scalar that is computed from them.
        xs: a tensor, a variable or a list of them.
        vs: one tensor per x, of its shape and dtype.
        name: the scope of the new operations.

    Returns:
        One tensor per x, of its shape.  For a loss that is convex in the outputs, G is
        positive semidefinite; it leaves out what the second derivative of the outputs
        adds to the Hessian.

    One forward and one reverse pass; neither J nor H is formed.

    Reference:
        Schraudolph, Fast curvature matrix-vector products, Neural Computation 14
        (2002).
    """
    loss = None
    if isinstance(residual, tuple):
        if len(residual) != 2:
            raise InvalidArgumentError(
                "gauss_newton_vector_product: give residuals, or (outputs, loss)"
            )
        residual, loss = residual
    outputs, x_list = _tensors(residual), _tensors(xs)
    _real([*outputs, *x_list], "gauss_newton_vector_product")
    with scope(name, "gauss_newton_vector_product", *outputs):
        moved = _pushed(outputs, x_list, vs, outputs)
        if loss is not None:
            slopes = gradients(loss, outputs)
            moved = _pushed(slopes, outputs, moved, outputs)
        return gradients(outputs, x_list, moved, unconnected_gradients=_ZERO)


# -- linear maps ---------------------------------------------------------------


def vjp(
    ys: Any, xs: Any, cotangents: Any, name: str | None = "vjp"
) -> list[Tensor | None]:
    """u^T J: for each x the sum over i of u_i^T dy_i/dx, in one reverse pass.

    Args:
        ys: a tensor or a list of tensors.
        xs: a tensor, a variable or a list of them.
        cotangents: one per y, of its shape and dtype.
        name: the scope of the new operations.

    Returns:
        One tensor per x, of its shape; None where no y depends on it.
    """
    return gradients(ys, xs, cotangents, name)


class Linearized:
    """The derivative of ``ys`` at ``xs`` as a linear map: what :func:`linearize` gives.

    Attributes:
        ys: the tensors that were differentiated.
        xs: the tensors that they were differentiated by.
    """

    def __init__(self, ys: Any, xs: Any) -> None:
        self.ys = _tensors(ys)
        self.xs = _tensors(xs)

    def jvp(self, tangents: Any, name: str | None = "jvp") -> list[Tensor]:
        """J t: one tensor per y; zeros for one that depends on no x."""
        found = jvp(self.ys, self.xs, tangents, name)
        return [zeros_like(y) if t is None else t for y, t in zip(self.ys, found)]

    def vjp(self, cotangents: Any, name: str | None = "vjp") -> list[Tensor]:
        """u^T J: one tensor per x; zeros for one on which no y depends."""
        found = gradients(
            self.ys, self.xs, cotangents, name, unconnected_gradients=_ZERO
        )
        return found  # type: ignore[return-value]


def linearize(ys: Any, xs: Any) -> Linearized:
    """The derivative of ``ys`` at ``xs`` as a linear map, to be applied many times.

    Args:
        ys: a tensor or a list of tensors.
        xs: a tensor, a variable or a list of them.

    Returns:
        An object with ``jvp(tangents)``, one per x, and ``vjp(cotangents)``, one per
        y, which return lists as :func:`~dagrad.jvp` and :func:`vjp` do.

    Each ``jvp`` or ``vjp`` adds its own pass to the graph; all of them, and whatever
    else a run fetches, share the operations that compute ``ys``.

    >>> import dagrad as dg
    >>> x = dg.constant([1.0, 2.0])
    >>> line = dg.linearize(x * x, x)
    >>> with dg.Session() as session:
    ...     print(session.run(line.jvp([dg.constant([1.0, 1.0])])[0]).tolist())
    [2.0, 4.0]
    """
    return Linearized(ys, xs)
