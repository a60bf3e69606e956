"""while_loop, scan, map_fn and the folds: builders of loop operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graphlib.dtypes import as_dtype, int32
from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims
from ..graphlib.source import at_caller, entry
from ..graphlib.subgraph import (
    Subgraph,
    updated_inputs,
)
from ..graphlib.tensor import Tensor, as_tensor
from ..graphlib.traversal import ancestors
from ._build import graph_of
from ._loop import Parts
from ._nest import flatten, pack
from ._tracing import Carries, trace
from .checkpoints import policy
from .core import cast, stop_gradient
from .loops import loop

__all__ = ["foldl", "foldr", "map_fn", "scan", "while_loop"]


def _writers(outputs: Sequence[Tensor]) -> list[Operation]:
    return [op for op in ancestors([t.op for t in outputs]) if updated_inputs(op)]


def _boolean(value: Any, who: str) -> Tensor:
    t = as_tensor(value)
    if not t.dtype.is_bool:
        raise DTypeError(f"{who}{at_caller()}: the condition must be a bool, not {t!r}")
    if t.dims is not None and t.dims != ():
        raise ShapeError(
            f"{who}{at_caller()}: the condition must be a scalar, not {t!r}: use "
            "reduce_all or reduce_any"
        )
    return t


def _given_on(back_prop: bool) -> Callable[[Tensor], Tensor]:
    """What to do to each result."""
    return (lambda t: t) if back_prop else stop_gradient


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
    checkpoint_every: Any = None,
) -> Any:
    """Repeat ``loop_vars = body(*loop_vars)`` while ``cond(*loop_vars)`` holds.

    Both functions are called to build a body, once (again where a shape turns
    out to change from one iteration to the next), and may read any tensor or
    variable around the loop.  An assignment in the body runs in each iteration if
    the loop variables that it returns depend on it.

    Args:
        cond: ``f(*loop_vars) -> bool scalar``.
        body: ``f(*loop_vars) -> new loop_vars``, of the same structure and dtypes.
        loop_vars: any nesting of lists, tuples, dicts and TensorArrays.
        shape_invariants: what is known of the shape of each variable in every
            iteration; found automatically where it is not given.
        parallel_iterations, swap_memory: accepted for TF1 programs.
        back_prop: with False, derivatives treat the results as constants.
        name: the scope of the operations.
        maximum_iterations: stop after so many (an int or an integer scalar).
        return_same_structure: with False, a single variable is returned bare.
        checkpoint_every: k: for derivatives keep the loop variables of every k-th
            iteration only and compute the others again, block by block: n/k + k
            states for n iterations instead of n, for one more forward pass. A list
            of decreasing sizes makes blocks of blocks. "least": the fewest states
            that one more pass allows, sqrt(2 n) (two passes, where the loop tests).
            Bytes ("200MB"): the fewest passes whose states fit, by a binomial
            schedule (n must be known: here, a constant ``maximum_iterations``).

    Returns:
        The loop variables after the last iteration.

    Raises:
        DTypeError, ShapeError, ValueError: the body returns something else than
            the loop variables, or the condition is no bool scalar.

    Gradient: a loop backward over what the backward body reads of each iteration,
        which is kept; forward mode carries tangents along. Both to any order.

    Cost: the work of the iterations that run, in the memory of one, beside what is
    kept for a gradient.

    Example:
        >>> import dagrad as tf
        >>> step = lambda i, s: (i + 1, s + i)
        >>> i, s = tf.while_loop(lambda i, s: i < 5, step, [0, 0])
        >>> with tf.Session() as session:
        ...     print(session.run(s))
        10
    """
    if not callable(cond) or not callable(body):
        raise TypeError(f"{entry()}cond and body must be functions")
    leaves = flatten(loop_vars)
    if not leaves:
        raise ValueError(f"{entry()}no loop variables were given")
    outer = _home_of(leaves)
    with outer.as_default(), outer.name_scope(name or "while") as scope:
        who = f'while_loop "{scope[:-1]}"'
        carries = Carries(loop_vars, who, shape_invariants)

        def call(f: Callable[..., Any], tensors: Sequence[Tensor]) -> Any:
            packed = pack(loop_vars, tensors)
            if isinstance(packed, (list, tuple)):
                return f(*packed)
            return f(packed)

        def build(
            graph: Subgraph, ins: list[Tensor], rows: list[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            made = carries.tensors(call(body, ins))
            # The condition of the next iteration sees what this one wrote.
            with graph.control_dependencies(_writers(made)):
                return made, [_boolean(call(cond, made), who)]

        traced = trace(outer, scope, who, carries, (), build)
        bound = None
        if maximum_iterations is not None:
            bound = cast(as_tensor(maximum_iterations), int32)
        test = _boolean(call(cond, carries.inits), who)
        with outer.control_dependencies(traced.controls):
            op = loop(
                traced.body,
                carries.inits,
                (),
                traced.rest,
                bound=bound,
                test=test,
                keep=_kept(checkpoint_every, carries.inits, _known(bound)),
            )
            finals = list(Parts(op).finals)
        give = _given_on(back_prop)
        results = pack(loop_vars, [give(t) for t in finals])
    bare = isinstance(results, (list, tuple)) and len(results) == 1
    return results[0] if bare and not return_same_structure else results


def _kept(every: Any, carries: Sequence[Tensor], length: int | None) -> Any:
    return None if every is None else policy(every, carries, length)


def _known(bound: Tensor | None) -> int | None:
    value = None if bound is None else bound.value
    return None if value is None else int(value)


def _home_of(values: Sequence[Any]) -> Graph:
    """Where a loop over ``values`` belongs."""
    tensors = [v for v in values if isinstance(v, Tensor) or hasattr(v, "_as_tensor")]
    return graph_of(*tensors) if tensors else get_default_graph()


# -- over the rows of arrays ---------------------------------------------------------


def _scanned(elems: Any, who: str) -> list[Tensor]:
    arrays = [as_tensor(e) for e in flatten(elems)]
    if not arrays:
        raise ValueError(f"{who}{at_caller()}: nothing to scan over")
    for t in arrays:
        if t.dims == ():
            hint = ""
            if isinstance(elems, (list, tuple)):
                hint = "; a list is a structure of arrays, dagrad.constant([...]) one"
            raise ShapeError(
                f"{who}{at_caller()}: cannot scan over a scalar: {t!r}{hint}"
            )
    return arrays


def _rows_of(arrays: Sequence[Tensor]) -> list[tuple[Any, Dims]]:
    return [(t.dtype, None if t.dims is None else t.dims[1:]) for t in arrays]


def _part(t: Tensor, key: Any) -> Tensor:
    return TABLE["getitem"](t, key)  # type: ignore[no-any-return]


def scan(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
    checkpoint_every: Any = None,
) -> Any:
    """y_t = fn(y_{t-1}, elems[t]): all the y_t, stacked along a first axis.

    Args:
        fn: ``f(accumulator, row) -> accumulator``, of the structure and the dtypes
            of ``initializer``.
        elems: arrays (n, ...) in any nesting; ``fn`` gets their rows.
        initializer: y_{-1}; without it y_0 = elems[0].
        parallel_iterations, swap_memory, infer_shape: accepted for TF1 programs.
        back_prop: with False, derivatives treat the results as constants.
        reverse: go from the last row to the first.
        name: the scope of the operations.
        checkpoint_every: as for :func:`while_loop`; the results themselves are
            stacked all the same.

    Returns:
        (n, ...) for each part of the accumulator, in the order of ``elems``.

    Raises:
        DTypeError, ShapeError, ValueError: as :func:`while_loop`.

    Gradient: keeps the y_t, which are the result anyway, and what else the
        backward body reads.

    Example:
        >>> import dagrad as tf
        >>> y = tf.scan(lambda total, x: total + x, tf.constant([1, 2, 3]))
        >>> with tf.Session() as session:
        ...     print(session.run(y))
        [1 3 6]
    """
    leaves = flatten((elems, initializer) if initializer is not None else elems)
    outer = _home_of(leaves)
    with outer.as_default(), outer.name_scope(name or "scan") as scope:
        _, stacks, structure = _accumulate(
            fn,
            elems,
            initializer,
            reverse,
            scope,
            outer,
            True,
            checkpoint_every,
            "scan",
        )
        give = _given_on(back_prop)
        return pack(structure, [give(t) for t in stacks])


def _accumulate(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any,
    reverse: bool,
    scope: str,
    outer: Graph,
    stacked: bool,
    checkpoint_every: Any,
    kind: str,
) -> tuple[list[Tensor], list[Tensor], Any]:
    """The loop of scan and of the folds: the last accumulator, with ``stacked`` all
    of them in the order of ``elems``, and its structure."""
    who = f'{kind} "{scope[:-1]}"'
    if not callable(fn):
        raise TypeError(f"{entry()}fn must be a function, not {fn!r}")
    arrays = _scanned(elems, who)
    from_first = initializer is None
    if from_first:
        first, others = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
        initializer = pack(elems, [_part(t, first) for t in arrays])
        arrays = [_part(t, others) for t in arrays]
    carries = Carries(initializer, who)

    def build(
        graph: Subgraph, ins: list[Tensor], rows: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        return carries.tensors(fn(pack(initializer, ins), pack(elems, rows))), []

    traced = trace(outer, scope, who, carries, _rows_of(arrays), build)
    backwards = slice(None, None, -1)
    with outer.control_dependencies(traced.controls):
        kept = tuple(range(len(carries.inits))) if stacked else ()
        length = arrays[0].dims[0] if arrays[0].dims else None
        parts = Parts(
            loop(
                traced.body,
                carries.inits,
                arrays,
                traced.rest,
                reverse=reverse,
                history=kept,
                keep=_kept(checkpoint_every, carries.inits, length),
            )
        )
        finals = list(parts.finals)
        start = slice(0 if from_first else 1, None)
        stacks = [_part(parts.histories[i], start) for i in kept]
        if reverse:
            stacks = [_part(t, backwards) for t in stacks]
    return finals, stacks, initializer


def foldl(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    checkpoint_every: Any = None,
) -> Any:
    """The last y_t of :func:`scan`: fn(...fn(fn(initializer, elems[0]), elems[1])...).

    Arguments, errors and gradient: as :func:`scan`.
    """
    return _fold(
        fn, elems, initializer, back_prop, False, name or "foldl", checkpoint_every
    )


def foldr(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    checkpoint_every: Any = None,
) -> Any:
    """:func:`foldl` from the last row to the first.

    Arguments, errors and gradient: as :func:`scan`.
    """
    return _fold(
        fn, elems, initializer, back_prop, True, name or "foldr", checkpoint_every
    )


def _fold(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any,
    back_prop: bool,
    reverse: bool,
    name: str,
    checkpoint_every: Any,
) -> Any:
    leaves = flatten((elems, initializer) if initializer is not None else elems)
    outer = _home_of(leaves)
    kind = "foldr" if reverse else "foldl"
    with outer.as_default(), outer.name_scope(name) as scope:
        finals, _, structure = _accumulate(
            fn, elems, initializer, reverse, scope, outer, False, checkpoint_every, kind
        )
        give = _given_on(back_prop)
        return pack(structure, [give(t) for t in finals])


def map_fn(
    fn: Callable[..., Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """fn(elems[t]) for each row t, stacked along a first axis.

    Args:
        fn: ``f(row) -> result``, in any nesting.
        elems: arrays (n, ...) in any nesting; ``fn`` gets their rows.
        dtype: the dtypes of the result, where they are to be checked or where
            plain numbers are returned (TF1 needs it where they differ from those
            of ``elems``; here they are found out).
        parallel_iterations, swap_memory, infer_shape: accepted for TF1 programs.
        back_prop: with False, derivatives treat the results as constants.
        name: the scope of the operations.

    Returns:
        (n, ...) for each part of what ``fn`` returns.

    Raises:
        DTypeError: ``fn`` returns another dtype than ``dtype``.
        ShapeError: a scalar among ``elems``, or different numbers of rows.
        ValueError: ``fn`` returns None, or other things than ``dtype`` has.

    Gradient: a loop that keeps what the backward body reads.

    See also: ``vectorized_map``, which needs no loop where the ops allow it.
    """
    return _mapped(fn, elems, dtype, back_prop, name)


def _mapped(
    fn: Callable[..., Any],
    elems: Any,
    dtype: Any = None,
    back_prop: bool = True,
    name: str | None = None,
    strict: int | None = None,
) -> Any:
    """:func:`map_fn`; ``strict`` as for ``loop``."""
    outer = _home_of(flatten(elems))
    with outer.as_default(), outer.name_scope(name or "map") as scope:
        who = f'map_fn "{scope[:-1]}"'
        if not callable(fn):
            raise TypeError(f"{entry()}fn must be a function, not {fn!r}")
        arrays = _scanned(elems, who)
        structure: list[Any] = []

        def build(
            graph: Subgraph, ins: list[Tensor], rows: list[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            result = fn(pack(elems, rows))
            structure[:] = [result]
            return [], _as_dtypes(result, dtype, who)

        traced = trace(outer, scope, who, Carries((), who), _rows_of(arrays), build)
        with outer.control_dependencies(traced.controls):
            op = loop(traced.body, (), arrays, traced.rest, strict=strict)
        give = _given_on(back_prop)
        return pack(structure[0], [give(t) for t in Parts(op).stacks])


def _as_dtypes(result: Any, dtype: Any, who: str) -> list[Tensor]:
    if result is None:
        raise ValueError(f"{who}{at_caller()}: fn returns None: is a `return` missing?")
    leaves = flatten(result)
    wanted = [None] * len(leaves) if dtype is None else flatten(dtype)
    if len(wanted) != len(leaves):
        raise ValueError(
            f"{who}{at_caller()}: fn returns {len(leaves)} values, dtype "
            f"names {len(wanted)}"
        )
    made = []
    for value, d in zip(leaves, wanted):
        plain = not (isinstance(value, Tensor) or hasattr(value, "_as_tensor"))
        t = as_tensor(value, d if plain else None)
        if d is not None and t.dtype is not as_dtype(d):
            raise DTypeError(
                f"{who}: fn returns {t.dtype.name} ({t.op.defined_at()}), but dtype "
                f"says {as_dtype(d).name}"
            )
        made.append(t)
    return made


def map_rows(
    build: Callable[..., Any], tensors: Sequence[Tensor], uneven: bool = False
) -> list[Tensor]:
    """``build(*rows)`` (a tensor or several) for each row of ``tensors``, stacked.

    Rows of different shapes are an error, unless ``uneven`` (see graphlib/ragged).
    """
    strict = 0 if uneven else None
    fn = lambda rows: list(flatten(build(*rows)))  # noqa: E731
    return list(_mapped(fn, list(tensors), strict=strict))


OPERATORS = {"map_rows": map_rows}
