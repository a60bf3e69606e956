"""Functions of a vector for SciPy's optimizers, with their derivatives.

Dense matrices come from batched passes, as many unit vectors at once as memory
allows; where few entries can be nonzero, sparse ones from a pass per colour.  What
is added to the graph for a loss is added once, and found again by later calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ._flat import Flat, Function, Space, pieces, reals
from .graphlib.batching import vectorize
from .graphlib.forward import jvp
from .graphlib.gradients import _tensors
from .graphlib.shapes import is_static
from .graphlib.tensor import Tensor
from .ops.core import placeholder
from .ops.sparse_derivatives import SparseDerivative, sparse_hessian, sparse_jacobian
from .ops.sparsity import is_sparse

__all__ = ["Loss", "VectorFunction", "check_choice"]

#: How many numbers the unit vectors of one batched pass, or its results, hold.
_BATCH = 1 << 21
#: Sparse matrices of fewer columns gain nothing.
_FEW = 200
#: From this share of entries on a matrix is a dense one.
_DENSITY = 0.05


def check_choice(who: str, what: str, chosen: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless ``chosen`` is one of the choices."""
    if chosen not in choices:
        raise ValueError(f"{who}: {what} is one of {choices}, not {chosen!r}")


class Loss:
    """A scalar and its derivatives as functions of a vector."""

    def __init__(self, space: Space, loss: Any) -> None:
        (t,) = _tensors(loss)
        if t.dims != () or not t.dtype.is_floating:
            raise ValueError(
                f"minimize: the loss must be a real scalar, not {t!r}; "
                "dagrad.reduce_sum or reduce_mean makes one"
            )
        self.space = space
        self.loss = t
        self.grads = space.once(("gradient", t), lambda: space.gradients(t))
        self.present = [g is not None for g in self.grads]
        self.found = [g for g in self.grads if g is not None]
        if not self.found:
            raise ValueError(
                f"minimize: no differentiable path leads from "
                f"{', '.join(v.name for v in space.variables)} to {t.op.describe()}; "
                "explain_gradient says where it is cut"
            )

    def value(self) -> Function:
        """``f(x)``."""
        run = self.space.compile([self.loss])
        return lambda x: float(run(x)[0])

    def value_and_gradient(
        self, watch: tuple[Sequence[Tensor], Function] | None = None
    ) -> Function:
        """``f(x) -> (value, gradient)``, in one run."""
        tensors, see = ((), None) if watch is None else watch
        run = self.space.compile([self.loss, *self.found, *tensors])
        end = 1 + len(self.found)

        def both(x: Flat) -> tuple[float, Flat]:
            results = run(x)
            if see is not None:
                see(*results[end:])
            return float(results[0]), self.space.pack(results[1:end], self.present)

        return both

    def product(self) -> Function:
        """``f(x, d) -> H d``, forward over reverse."""
        return _along(self.space, self.found, self.present)

    def dense(self) -> Function:
        """``f(x)``: the dense Hessian."""
        columns = _columns(self.space, self.grads, self.space.like)

        def hessian(x: Flat) -> Any:
            matrix = columns(x)
            return 0.5 * (matrix + matrix.T)

        return hessian

    def sparse(self, how: str) -> Function | None:
        """``f(x)``: the Hessian as a SciPy matrix; None where a dense one is meant.

        Args:
            how: "sparse", or "auto": where it pays.
        """
        space = self.space
        rows = [g for g in self.grads if g is not None]
        if not _pays(space, rows, how):
            return None
        made = space.once(
            ("sparse hessian", self.loss),
            lambda: sparse_hessian(self.loss, space.tensors),
        )
        return _sparse_function(space, made)


class VectorFunction:
    """Tensors as one vector, and its Jacobian, as functions of a vector."""

    def __init__(self, space: Space, ys: Any, who: str) -> None:
        self.space = space
        self.tensors = _tensors(ys)
        for t in self.tensors:
            if not t.dtype.is_inexact:
                raise ValueError(f"{who}: {t!r} holds no floating numbers")
        if not self.tensors:
            raise ValueError(f"{who}: no tensors were given")
        self.run = space.compile(self.tensors)
        #: Zeros of the shape and dtype of each tensor.
        self.like = [np.zeros_like(a) for a in self.run(space.start)]
        self.size = sum(reals(a).size for a in self.like)

    def __call__(self, x: Flat) -> Flat:
        """The vector."""
        return np.concatenate([reals(a) for a in self.run(x)])

    def jacobian(self, how: str = "dense") -> Function:
        """``f(x)``: the Jacobian of all tensors, (their elements, x's).

        Args:
            how: "dense", "sparse", or "auto": sparse where it pays.
        """
        space, ys = self.space, self.tensors
        if _pays(space, ys, how):
            made = space.once(
                ("sparse jacobian", *ys), lambda: sparse_jacobian(ys, space.tensors)
            )
            return _sparse_function(space, made)
        if self.size < space.start.size:
            return _rows(space, ys, self.like)
        return _columns(space, ys, self.like)

    def curvature(self) -> Function:
        """``f(x, v)``: the Hessian of <v, tensors> as a linear operator."""
        from scipy.sparse.linalg import LinearOperator

        space = self.space
        shapes = tuple(a.shape for a in self.like)

        def build() -> tuple[list[Tensor], list[Tensor | None]]:
            seeds = space.seeds(self.like, "seed")
            return seeds, space.gradients(self.tensors, seeds)

        seeds, grads = space.once(("pulled", *self.tensors, shapes), build)
        found = [g for g in grads if g is not None]
        product = _along(space, found, [g is not None for g in grads], seeds)
        size = space.start.size

        def hessian(x: Flat, v: Flat) -> Any:
            parts = pieces(np.asarray(v), self.like)
            return LinearOperator((size, size), matvec=lambda d: product(x, d, *parts))

        return hessian


def _along(
    space: Space,
    grads: Sequence[Tensor],
    present: Sequence[bool],
    more: Sequence[Tensor] = (),
) -> Function:
    """``f(x, d, *arrays for more)``: the change of ``grads`` where x moves along d."""

    def build() -> tuple[list[Tensor], list[Tensor | None]]:
        directions = space.directions()
        return directions, jvp(list(grads), space.tensors, directions)

    directions, moved = space.once(("pushed", *grads), build)
    rest = iter(moved)
    parts = [next(rest) if p else None for p in present]
    run = space.compile([t for t in parts if t is not None], [*directions, *more])
    depends = [t is not None for t in parts]
    return lambda x, d, *arrays: space.pack(run(x, *space.unpack(d), *arrays), depends)


# -- dense matrices ------------------------------------------------------------------


def _columns(
    space: Space, ys: Sequence[Tensor | None], like: Sequence[Any]
) -> Function:
    """``f(x)``: the Jacobian (ys' elements, x's) by forward passes (None: zeros)."""

    def build() -> tuple[list[Tensor], list[Tensor | None]]:
        seeds = space.directions()
        moved = iter(jvp([y for y in ys if y is not None], space.tensors, seeds))
        return _batched(space, seeds, [y if y is None else next(moved) for y in ys])

    batches, outs = space.once(("columns", *ys), build)
    passes = _passes(space, batches, outs, space.like, like)
    return lambda x: passes(x).T


def _rows(space: Space, ys: Sequence[Tensor], like: Sequence[Any]) -> Function:
    """``f(x)``: the same by reverse passes."""

    def build() -> tuple[list[Tensor], list[Tensor | None]]:
        seeds = space.seeds(like, "seed")
        return _batched(space, seeds, space.gradients(list(ys), seeds))

    shapes = tuple(a.shape for a in like)
    batches, outs = space.once(("rows", *ys, shapes), build)
    return _passes(space, batches, outs, like, space.like)


def _batched(
    space: Space, seeds: Sequence[Tensor], outs: Sequence[Tensor | None]
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Placeholders for any number of seeds, and the outs for every one of them."""
    with space.graph.name_scope("optimize"):
        batches = [placeholder(s.dtype, [None, *s.shape], "seeds") for s in seeds]
    present = [t for t in outs if t is not None]
    found = iter(vectorize(present, dict(zip(seeds, batches))))
    return batches, [None if t is None else next(found) for t in outs]


def _passes(
    space: Space,
    batches: Sequence[Tensor],
    outs: Sequence[Tensor | None],
    sources: Sequence[Any],
    results: Sequence[Any],
) -> Function:
    """``f(x)``: (sources' reals, results' reals), the outs for every unit seed."""
    run = space.compile([t for t in outs if t is not None], batches)
    ends = list(accumulate(reals(a).size for a in results))
    count, size = sum(reals(a).size for a in sources), ends[-1]
    step = max(1, _BATCH // max(count, size, 1))

    def matrix(x: Flat) -> Any:
        whole = np.zeros((count, size))
        for start in range(0, count, step):
            n = min(step, count - start)
            found = iter(run(x, *pieces(np.eye(n, count, start), sources)))
            for out, a, end in zip(outs, results, ends):
                if out is not None:
                    width = reals(a).size
                    part = reals(next(found)).reshape(n, width)
                    whole[start : start + n, end - width : end] = part
        return whole

    return matrix


# -- sparse matrices -----------------------------------------------------------------


def _pays(space: Space, ys: Sequence[Tensor], how: str) -> bool:
    """Whether the derivative of ``ys`` is computed as a sparse one.

    Not where a fed tensor could change what the graph knows: then only if asked.
    """
    if how != "auto":
        return how == "sparse"
    tensors = [*ys, *space.tensors]
    return (
        space.start.size >= _FEW
        and all(t.dtype.is_floating and is_static(t.dims) for t in tensors)
        and all(t.op.type.startswith("Placeholder") for t in space.keys)
        and space.once(("sparse", *ys), lambda: is_sparse(ys, space.tensors, _DENSITY))
    )


def _sparse_function(space: Space, made: SparseDerivative) -> Function:
    run = space.compile([made.values])
    return lambda x: made.to_scipy(np.asarray(run(x)[0], np.float64))
