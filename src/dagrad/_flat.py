"""Variables of a session as one float64 vector, as SciPy's optimizers see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .graphlib.collecting import once
from .graphlib.gradients import as_dense, gradients
from .graphlib.stacks import default_session
from .graphlib.tensor import Tensor
from .ops.core import placeholder
from .ops.state import Variable
from .runtime.feeds import expand, feed_key

__all__ = ["Flat", "Function", "Space", "pieces", "reals", "scipy_optimize"]

Flat = Any  #: a float64 vector of all variables
Function = Callable[..., Any]


def scipy_optimize() -> Any:
    """The module scipy.optimize.

    Raises:
        ImportError: SciPy is not installed.
    """
    try:
        import scipy.optimize
    except ImportError as error:
        raise ImportError(
            'dagrad.optimize needs SciPy: pip install "dagrad[optimize]"'
        ) from error
    return scipy.optimize


def reals(array: Any) -> Flat:
    """The numbers of an array as a float64 vector."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(flat.real.dtype).astype(np.float64)


def pieces(x: Any, like: Sequence[Any]) -> list[Any]:
    """The numbers along the last axis, (..., n), as arrays like the given ones.

    The opposite of :func:`reals`: the results have shapes (...) + a.shape.
    """
    out = []
    begin = 0
    for a in like:
        end = begin + a.size * (2 if a.dtype.kind == "c" else 1)
        part = np.ascontiguousarray(x[..., begin:end])
        begin = end
        if a.dtype.kind == "c":
            part = part.view(np.complex128)
        out.append(part.astype(a.dtype).reshape((*x.shape[:-1], *a.shape)))
    return out


class Space:
    """Variables, their session, and what is fed: SciPy's vector and back."""

    def __init__(
        self, variables: Any, session: Any, feed_dict: Mapping[Any, Any] | None
    ) -> None:
        self.single = not isinstance(variables, (list, tuple))
        self.variables: list[Variable] = [variables] if self.single else [*variables]
        for v in self.variables:
            if not isinstance(v, Variable):
                raise TypeError(f"optimize: {v!r} is no variable")
            if not v.dtype.is_inexact:
                raise TypeError(f"optimize: {v!r} holds no floating numbers")
        if not self.variables:
            raise ValueError("optimize: no variables were given")
        self.session = default_session(session, "dagrad.optimize")
        self.graph = self.variables[0].graph
        self.tensors = [v._as_graph_element() for v in self.variables]
        arrays = [np.asarray(a) for a in self.session.run(self.tensors)]
        #: Zeros of the shape and dtype of each variable.
        self.like = [np.zeros_like(a) for a in arrays]
        self.start = np.concatenate([reals(a) for a in arrays])
        pairs = expand(feed_dict or {})
        self.keys = [feed_key(self.graph, k) for k, _ in pairs]
        self.values = [v for _, v in pairs]

    def unpack(self, x: Flat) -> list[Any]:
        """One array per variable, of its shape and dtype."""
        return pieces(np.asarray(x, np.float64), self.like)

    def once(self, key: Any, build: Callable[[], Any]) -> Any:
        """What ``build`` adds to the graph, added once for these variables."""
        shapes = tuple(a.shape for a in self.like)

        def plain() -> Any:
            # Whatever the caller is in the middle of, derivatives wait for nothing.
            with self.graph.as_default(), self.graph.control_dependencies(None):
                return build()

        return once(self.graph, (key, tuple(self.tensors), shapes), plain)

    def seeds(self, like: Sequence[Any], name: str) -> list[Tensor]:
        """Placeholders of the shapes and dtypes of arrays."""
        with self.graph.as_default(), self.graph.name_scope("optimize"):
            return [placeholder(a.dtype, a.shape, name=name) for a in like]

    def directions(self) -> list[Tensor]:
        """Placeholders for a vector in this space."""
        return self.seeds(self.like, "direction")

    def compile(
        self, fetches: Sequence[Tensor], more: Sequence[Tensor] = ()
    ) -> Function:
        """``f(x, *arrays for more)``: the fetches at a point, by one plan."""
        feeds = [*self.tensors, *more, *self.keys]
        call = self.session.make_callable(list(fetches), feeds)
        return lambda x, *arrays: call(*self.unpack(x), *arrays, *self.values)

    def gradients(self, ys: Any, seeds: Any = None) -> list[Tensor | None]:
        """Dense gradients for the variables."""
        grads = gradients(ys, self.tensors, seeds)
        return [None if g is None else as_dense(g) for g in grads]

    def pack(self, found: Iterable[Any], present: Sequence[bool]) -> Flat:
        """One vector from an array per variable that is ``present``, else zeros."""
        given = iter(found)
        return np.concatenate(
            [reals(next(given) if p else zero) for p, zero in zip(present, self.like)]
        )

    def bounds(self, given: Any) -> tuple[Flat, Flat] | None:
        """The bounds as two vectors."""
        if given is None:
            return None
        if isinstance(given, Mapping):
            unknown = [v for v in given if v not in self.variables]
            if unknown:
                raise ValueError(
                    f"optimize: bounds for {unknown!r}, which is not moved"
                )
            pairs = [given.get(v) for v in self.variables]
        else:
            pairs = [given] if self.single else list(given)
        if len(pairs) != len(self.variables):
            raise ValueError(
                f"optimize: {len(pairs)} pairs of bounds for "
                f"{len(self.variables)} variables"
            )
        sides: tuple[list[Any], list[Any]] = ([], [])
        for v, pair, like in zip(self.variables, pairs, self.like):
            if v.dtype.is_complex and pair is not None:
                raise ValueError(f"optimize: {v!r} is complex and has no bounds")
            low, high = (None, None) if pair is None else pair
            size = (*like.shape, 2) if v.dtype.is_complex else like.shape
            for side, limit, free in zip(sides, (low, high), (-np.inf, np.inf)):
                full = np.broadcast_to(free if limit is None else limit, size)
                side.append(np.asarray(full, np.float64).reshape(-1))
        return np.concatenate(sides[0]), np.concatenate(sides[1])

    def callback(self, user: Callable[[list[Any]], Any]) -> Function:
        """A callback of SciPy's that hands arrays to the user's."""
        return lambda x, *state: user(self.unpack(x))

    def finish(self, result: Any) -> Any:
        """Write the result into the session, and shape it."""
        result.x_flat = result.x
        result.x = self.unpack(result.x)
        for v, value in zip(self.variables, result.x):
            v.load(value, self.session)
        return result
