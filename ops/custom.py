"""Derivatives that the user's program gives, or refuses.

``custom_gradient`` marks the results of a function by one node, which is an
identity that a plan drops: at run time it costs nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..graphlib.batched import RowOp
from ..graphlib.errors import GradientError, GraphError
from ..graphlib.graph import Graph
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.subgraph import BODY_INPUT, BODY_VARIABLE
from ..graphlib.tensor import Tensor, as_tensor
from ..graphlib.traversal import ancestors
from ._batch import repeated, rows_of
from ._build import create, create_many, create_op, graph_of
from ._given import (
    EVEN,
    SHARED,
    UNEVEN,
    GradientFunction,
    flatten,
    has_rule,
    run_rule,
    traced,
)
from ._later import batch
from .core import always, copy_kernel, view_kernel

__all__ = ["custom_gradient", "grad_pass_through", "identity_n", "prevent_gradient"]


# -- several identities in one node ---------------------------------------------------


def _copies(xp: Any, *arrays: Any, out: Any = None, **attrs: Any) -> Any:
    # Runs only where the node must wait for others: else a plan drops it.
    outs = out if isinstance(out, tuple) else (out,) * len(arrays)
    return tuple(copy_kernel(xp, a, o) for a, o in zip(arrays, outs))


def _infer_first(inputs: Sequence[Any], attrs: Any) -> Any:
    return [(t.dtype, t.dims) for t in inputs[: attrs["n"]]]


def _known_first(inputs: Sequence[Any], attrs: Any) -> Any:
    return inputs[0].value


IDENTITY_N = OpDef(
    "IdentityN",
    infer=lambda inputs, attrs: [(t.dtype, t.dims) for t in inputs],
    kernel=_copies,
    inputs=("*input",),
    vjp=lambda op, *gs: gs,
    jvp=lambda op, *ts: ts,
    identity=always,
    value=_known_first,
    flops=lambda i, o, a: 0,
    batch=batch.leading,
    doc="y_i = x_i",
)


def identity_n(input: Any, name: str | None = None) -> list[Tensor]:
    """The same tensors, y_i = x_i, by one operation.

    ``gradient_override_map({"IdentityN": ...})`` gives several tensors one common
    gradient function.
    """
    tensors = [as_tensor(t) for t in input]
    if not tensors:
        raise GraphError("identity_n: needs at least one tensor")
    return list(create_many(IDENTITY_N, tensors, None, name))


# -- custom_gradient ------------------------------------------------------------------


def _custom_vjp(op: Operation, *cotangents: Tensor | None) -> list[Any]:
    n = op._attrs["n"]
    found = run_rule(op, "pull", cotangents)
    return [None] * n + found + [None] * (len(op.inputs) - n - len(found))


def _custom_jvp(op: Operation, *tangents: Tensor | None) -> list[Tensor | None]:
    attrs = op._attrs
    n, count = attrs["n"], attrs["n"] + attrs["args"]
    targets = count + attrs["variables"]
    by_arg, by_variable = tangents[n:count], tangents[count:targets]
    total: list[Tensor | None] = [None] * n
    if any(t is not None for t in by_arg) and has_rule(op, "push"):
        total = run_rule(op, "push", by_arg)
        by_arg = (None,) * len(by_arg)
    if any(t is not None for t in (*by_arg, *by_variable)):
        hidden = [None] * (len(op.inputs) - targets)
        rest = transposed(op, [*[None] * n, *by_arg, *by_variable, *hidden])
        total = [
            b if a is None else a if b is None else TABLE["add"](a, b)
            for a, b in zip(total, rest)
        ]
    return total


def _for_rows(op: RowOp, *batched: Tensor | None) -> Any:
    """The same node for many rows: its rule is that for one row, vectorised."""
    attrs = op.attrs
    n = attrs["n"]
    given = [t if b is None else b for t, b in zip(op.inputs, batched)]
    flags = [
        SHARED if b is None else UNEVEN if u else EVEN
        for b, u in zip(batched, op.uneven)
    ]
    rows = rows_of(*batched)
    for i in range(n):
        if flags[i] == SHARED:
            given[i], flags[i] = repeated(given[i], rows), EVEN
    levels = (*attrs.get("rows", ()), tuple(flags))
    return create_many(CUSTOM_GRADIENT, given, {**attrs, "rows": levels})


def transposed(op: Operation, tangents: Sequence[Tensor | None]) -> list[Tensor | None]:
    """J t from the vjp, which is linear in its cotangents (see graphlib.forward)."""
    from ..graphlib.forward import _transpose_of_transpose

    return _transpose_of_transpose(op, list(tangents))


CUSTOM_GRADIENT = OpDef(
    "CustomGradient",
    infer=_infer_first,
    kernel=lambda xp, *arrays, n, out=None, **attrs: _copies(xp, *arrays[:n], out=out),
    inputs=("*input",),
    vjp=_custom_vjp,
    jvp=_custom_jvp,
    identity=always,
    value=_known_first,
    flops=lambda i, o, a: 0,
    batch=_for_rows,
    doc="y_i = x_i for the first n inputs, with derivatives that the program gives",
)


class _Differentiated:
    """What :func:`custom_gradient` makes of a function."""

    def __init__(self, f: Callable[..., Any], rules: dict[str, Any]) -> None:
        functools.update_wrapper(self, f)
        self._f = f
        # Shared with the operations, so that def_jvp may follow a first call.
        self._rules = rules

    def def_jvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Give the forward rule: ``jvp(primals, tangents) -> tangents of y``."""
        self._rules["jvp"] = jvp
        return jvp

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        # A method: its self is no argument of the function in mathematics.
        if instance is None:
            return self
        return _Differentiated(self._f.__get__(instance, owner), self._rules)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors = [as_tensor(a) for a in args]
        graph = graph_of(*tensors)
        with graph.as_default():
            start = len(graph)
            made = self._f(*tensors, **kwargs)
            pair = isinstance(made, (list, tuple)) and len(made) == 2
            if not pair or not callable(made[1]):
                raise TypeError(
                    f"custom_gradient: {self._name()} must return a pair (y, grad_fn) "
                    f"with a function as its second part, not {made!r}"
                )
            y, grad_fn = made
            results = [as_tensor(t) for t in flatten(y)]
            if not results:
                raise TypeError(f"custom_gradient: {self._name()} returns no tensor")
            reads = _variables_read(graph, start, results, tensors)
            self._check_signature(grad_fn, list(reads))
            given = GradientFunction(
                graph, self._f, grad_fn, self._rules, results, tensors, reads
            )
            more, attrs = traced(given, start)
            attrs |= {
                "n": len(results),
                "args": len(tensors),
                "variables": len(reads),
            }
            inputs = [*results, *tensors, *reads.values(), *more]
            given.origin = create_op(CUSTOM_GRADIENT, inputs, attrs)
        return _pack(y, list(given.origin.outputs))

    def _name(self) -> str:
        return getattr(self._f, "__name__", repr(self._f))

    def _check_signature(self, grad_fn: Any, variables: list[Any]) -> None:
        if not variables:
            return
        try:
            parameters = inspect.signature(grad_fn).parameters
        except (TypeError, ValueError):  # a builtin that does not say
            return
        takes = "variables" in parameters or any(
            p.kind is p.VAR_KEYWORD for p in parameters.values()
        )
        if not takes:
            raise TypeError(
                f"custom_gradient: {self._name()} uses the variables "
                f"{[v.name for v in variables]}, so its grad_fn must accept a keyword "
                "argument variables=None and return (gradients of the arguments, "
                "list of gradients of the variables)"
            )


def custom_gradient(
    f: Callable[..., Any] | None = None, *, jvp: Callable[..., Any] | None = None
) -> Any:
    """A decorator: ``f`` returns ``(y, grad_fn)`` and says its own gradient (TF1).

    Args:
        f: a function of tensors that returns y (a tensor, or a nest of lists,
            tuples and dicts) and ``grad_fn(*dy)``, which builds the cotangents of
            the arguments from those of the parts of y.  Where f reads variables
            that are no arguments, ``grad_fn(*dy, variables=None)`` returns
            ``(cotangents of the arguments, [cotangents of the variables])``.
            Keyword arguments of a call go to f as they are.
        jvp: an optional forward rule ``jvp(primals, tangents) -> tangents of y``
            (lists of tensors, zeros where nothing moves); also given by
            ``@f.def_jvp``.  Without it forward mode transposes grad_fn, which must
            then be linear in dy (clipping is not: give a jvp).

    Returns:
        The function of the arguments that gives y.

    Nothing is differentiated through y but what grad_fn says; what grad_fn builds
    is differentiated for second derivatives.  No derivative reaches tensors that f
    reads without getting them as arguments.

    ``grad_fn`` is called for each gradient, and once when the operation is made: what
    it builds then is kept as a body, for the places where the operation is built
    again (rows of ``vectorized_map``, equations, loaded graphs).  What it collects in
    that call is dropped.  A grad_fn that calls f, that fails, or that writes variables
    is not kept; with such a one a graph cannot be saved.  A ``def_jvp`` after a call
    is not saved with it.

    Raises:
        TypeError: f does not return a pair, or its grad_fn takes no ``variables``
            though f reads some.
        GradientError: grad_fn gives another number of cotangents (when called).

    >>> import dagrad as tf
    >>> @tf.custom_gradient
    ... def log1pexp(x):
    ...     e = tf.exp(x)
    ...     return tf.log(1.0 + e), lambda dy: dy * (1.0 - 1.0 / (1.0 + e))
    >>> x = tf.constant(100.0)
    >>> with tf.Session() as session:
    ...     print(session.run(tf.gradients(log1pexp(x), x)))
    [np.float32(1.0)]

    Cost: none when run (a plan drops the node); building it builds the gradient.
    """
    if f is None:
        return functools.partial(custom_gradient, jvp=jvp)
    return _Differentiated(f, {"jvp": jvp})


def grad_pass_through(f: Callable[..., Any]) -> Any:
    """``f``, with the gradient of the identity (the straight-through estimator).

    The cotangent of y becomes that of the argument, unchanged; variables that f
    reads get none.

    >>> import dagrad as tf
    >>> x = tf.constant([0.2, 1.7])
    >>> y = tf.grad_pass_through(tf.round)(x)
    >>> with tf.Session() as session:
    ...     print(session.run([y, *tf.gradients(y, x)]))
    [array([0., 2.], dtype=float32), array([1., 1.], dtype=float32)]

    Reference:
        Bengio, Leonard & Courville (2013), arXiv:1308.3432.
    """

    @functools.wraps(f)
    def passing(*args: Any, **kwargs: Any) -> Any:
        def grad(*gs: Any, variables: Any = None) -> Any:
            return gs if variables is None else (gs, [None] * len(variables))

        return f(*args, **kwargs), grad

    return _Differentiated(passing, {"jvp": None})


def _variables_read(
    graph: Graph, start: int, results: Sequence[Tensor], args: Sequence[Tensor]
) -> dict[Any, Tensor]:
    """Trainable variables that ``results`` read in operations from ``start`` on.

    Each with its read.  Those that are arguments are left out: their cotangents
    are the arguments'.
    """
    given = {_variable_of(graph, t) for t in args}
    ops = ancestors((t.op for t in results), False, lambda op: op.id < start)
    read = [t for op in ops if op.id >= start for t in op.inputs]
    found: dict[Any, Tensor] = {}
    for t in (*read, *results):
        variable = _variable_of(graph, t)
        if variable is None or variable in given or not variable.trainable:
            continue
        found.setdefault(variable, variable.value())
    return found


def _variable_of(graph: Graph, t: Tensor) -> Any:
    """The variable of which ``t`` is a read, perhaps one outside of a body; else
    None."""
    found: Tensor | None = t
    while found is not None:
        op = found.op
        if op.type == "Identity":
            found = op.inputs[0]
        elif op.opdef in (BODY_INPUT, BODY_VARIABLE):
            found = op.graph.source_of(found)
        else:
            return graph._variables.get(op)
    return None


# -- structures -----------------------------------------------------------------------


def _pack(like: Any, flat: list[Any]) -> Any:
    """``flat``, taken from the front, in the structure of ``like``."""
    if isinstance(like, Mapping):
        packed = {k: _pack(like[k], flat) for k in sorted(like)}
        return type(like)([(k, packed[k]) for k in like])  # type: ignore[call-arg]
    if isinstance(like, (list, tuple)):
        items = [_pack(item, flat) for item in like]
        if hasattr(like, "_fields"):
            return type(like)(*items)
        return items if isinstance(like, list) else tuple(items)
    return flat.pop(0)


# -- refusing -------------------------------------------------------------------------


def _refuse(op: Operation, *_: Any) -> Any:
    message = op._attrs["message"]
    told = f": {message}" if message else ""
    raise GradientError(op.explain(f"a gradient was asked for through it{told}"), op)


PREVENT_GRADIENT = OpDef(
    "PreventGradient",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=view_kernel,
    inputs=("x",),
    vjp=(_refuse,),
    jvp=_refuse,
    alias=0,
    identity=always,
    value=_known_first,
    flops=lambda i, o, a: 0,
    batch=batch.leading,
    doc="y = x; asking for a derivative through it is an error",
)


def prevent_gradient(input: Any, message: str = "", name: str | None = None) -> Tensor:
    """y = x, through which no derivative may be asked for.

    Unlike :func:`stop_gradient`, which makes it zero, this refuses: for results that
    depend on x in a way that no gradient would tell.

    Raises:
        GradientError: when ``gradients`` or ``jvp`` reach it, with ``message``.
    """
    attrs = {"message": str(message)}
    return create(PREVENT_GRADIENT, (as_tensor(input),), attrs, name)
