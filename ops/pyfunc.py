"""Python functions of arrays as nodes, with derivatives that are such functions too.

The function runs when the graph runs.  It gets copies of the arrays, so it may keep
or change them, and its results are checked and copied.  Sessions may call it from
several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from ..graphlib.dtypes import as_dtype, convert_exactly, string
from ..graphlib.errors import (
    DagradError,
    DTypeError,
    GradientError,
    InvalidArgumentError,
    OutOfRangeError,
    ResourceExhaustedError,
    ShapeError,
    UnimplementedError,
    UnknownError,
)
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.overrides import zeros_for_none
from ..graphlib.shapes import Dims, as_dims, text
from ..graphlib.source import entry
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create_op, graph_of, numeric_array

__all__ = ["numpy_function", "py_func"]


# -- running --------------------------------------------------------------------------

# As TF1 classes the errors of a Python function; all of them are OpErrors.
_CLASSES: tuple[tuple[type[Exception], type[Exception]], ...] = (
    (StopIteration, OutOfRangeError),
    (MemoryError, ResourceExhaustedError),
    (NotImplementedError, UnimplementedError),
    (ValueError, InvalidArgumentError),
    (TypeError, InvalidArgumentError),
)


def _name(func: Any) -> str:
    return getattr(func, "__qualname__", None) or repr(func)


def _kernel(
    xp: Any,
    *arrays: Any,
    func: Callable[..., Any],
    Tout: tuple[Any, ...],
    shape: tuple[Dims, ...],
    out: Any = None,
    **more: Any,
) -> Any:
    # Copies: planned memory is used again, and a function may keep what it gets.
    given = [np.array(a) if a.ndim else a.dtype.type(a[()]) for a in arrays]
    try:
        results = func(*given)
    except DagradError:
        raise
    except Exception as error:
        wanted = next((w for e, w in _CLASSES if isinstance(error, e)), UnknownError)
        raise wanted(
            f"the Python function {_name(func)} raised {type(error).__name__}: {error}"
            f"{_raised_at(error)}"
        ) from error
    return _checked(results, func, Tout, shape)


def _raised_at(error: BaseException) -> str:
    """Where in the user's function the error came from."""
    trace, last = error.__traceback__, None
    while trace is not None:
        last, trace = trace, trace.tb_next
    if last is None:
        return ""
    return f" (at {last.tb_frame.f_code.co_filename}:{last.tb_lineno})"


def _checked(results: Any, func: Any, dtypes: Sequence[Any], shapes: Any) -> Any:
    """What the function returned as arrays of the dtypes and shapes it promised."""
    if not dtypes:
        return None  # whatever it returned is not asked for
    if not isinstance(results, (list, tuple)):
        results = [results]
    if len(results) != len(dtypes):
        raise InvalidArgumentError(
            f"the Python function {_name(func)} returned {len(results)} values, but "
            f"Tout names {len(dtypes)}: {[d.name for d in dtypes]} (a list counts as "
            "several values: return np.array(...) for one)"
        )
    arrays = []
    for i, (value, dtype, dims) in enumerate(zip(results, dtypes, shapes)):
        array = _converted(value, dtype, i, func)
        fits = dims is None or (
            len(dims) == array.ndim
            and all(d is None or d == n for d, n in zip(dims, array.shape))
        )
        if not fits:
            raise InvalidArgumentError(
                f"value {i} that the Python function {_name(func)} returned has shape "
                f"{text(array.shape)}, but shape= promised {text(dims)}"
            )
        arrays.append(array)
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def _converted(value: Any, dtype: Any, i: int, func: Any) -> Any:
    who = f"value {i} that the Python function {_name(func)} returned"
    if value is None:
        raise InvalidArgumentError(f"{who} is None, but Tout says {dtype.name}")
    try:
        if dtype is string:
            return numeric_array(value, string, who)
        array = np.asarray(value)
        if array.dtype == dtype.dtype:
            return np.array(array)  # a copy: the function may keep its own
        if isinstance(value, (np.ndarray, np.generic)):
            raise InvalidArgumentError(
                f"{who} is {array.dtype}, but Tout says {dtype.name}: return "
                f"value.astype(np.{dtype.name}), or change Tout"
            )
        return np.array(convert_exactly(array, dtype))
    except (DTypeError, ValueError, TypeError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(
            f"{who} does not become {dtype.name}: {error}"
        ) from None


# -- derivatives ----------------------------------------------------------------------


def _inexact(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t for t in tensors if t.dtype.is_inexact]


def _linear_node(
    op: Operation,
    kind: str,
    functions: dict[str, Any],
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    vectors: Sequence[Tensor | None],
) -> list[Tensor]:
    """The node that runs the user's vjp or jvp: a result per inexact x (or y)."""
    like = _inexact(xs if kind == "vjp" else ys)
    along = _inexact(ys if kind == "vjp" else xs)
    given = zeros_for_none(along, vectors)
    if not like:
        return []
    attrs = {
        "kind": kind,
        "functions": functions,
        "inputs": tuple(t.dtype.is_inexact for t in xs),
        "outputs": tuple(t.dtype.is_inexact for t in ys),
        "Tout": tuple(t.dtype for t in like),
        "shape": tuple(t.dims for t in like),
    }
    made = create_op(LINEAR, (*xs, *ys, *given), attrs, f"{op.type}_{kind}")  # type: ignore[arg-type]
    return list(made.outputs)


def _linear_kernel(
    xp: Any,
    *arrays: Any,
    kind: str,
    functions: dict[str, Any],
    inputs: tuple[bool, ...],
    outputs: tuple[bool, ...],
    Tout: tuple[Any, ...],
    shape: tuple[Dims, ...],
    out: Any = None,
) -> Any:
    func = functions[kind]
    n, m = len(inputs), len(outputs)
    along, like = (outputs, inputs) if kind == "vjp" else (inputs, outputs)

    def derivative(*given: Any) -> Any:
        vectors = iter(given[n + m :])
        spread = [next(vectors) if float_ else None for float_ in along]
        made = func(list(given[:n]), list(given[n : n + m]), spread)
        if not isinstance(made, (list, tuple)):
            made = [made]
        if len(made) != len(like):
            what = "cotangents for inputs" if kind == "vjp" else "tangents for outputs"
            raise InvalidArgumentError(
                f"the {kind} {_name(func)} returned {len(made)} {what}, of which there "
                f"are {len(like)}"
            )
        kept = [v for v, float_ in zip(made, like) if float_]
        zero = given[:n] if kind == "vjp" else given[n : n + m]
        zeros = [z for z, float_ in zip(zero, like) if float_]
        return tuple(np.zeros_like(z) if v is None else v for v, z in zip(kept, zeros))

    derivative.__qualname__ = f"{_name(func)} ({kind} of a py_func)"
    results = _kernel(xp, *arrays, func=derivative, Tout=Tout, shape=shape)
    # A derivative has the shape of what it belongs to, known or not.
    first = (arrays[:n], inputs) if kind == "vjp" else (arrays[n : n + m], outputs)
    wanted = [a.shape for a, float_ in zip(*first) if float_]
    for i, (r, dims) in enumerate(
        zip(results if isinstance(results, tuple) else (results,), wanted)
    ):
        if r.shape != dims:
            raise InvalidArgumentError(
                f"value {i} that the {kind} {_name(func)} returned has shape "
                f"{text(r.shape)}, not {text(dims)} as what it belongs to"
            )
    return results


def _linear_rule(op: Operation, *cotangents: Tensor | None, index: int) -> Any:
    """The transpose of a derivative node with respect to one of its vectors."""
    attrs = op._attrs
    n, m = len(attrs["inputs"]), len(attrs["outputs"])
    other = _linear_in(op, index < n + m, "vjp" if attrs["kind"] == "jvp" else "jvp")
    made = _linear_node(
        op, other, attrs["functions"], op.inputs[:n], op.inputs[n : n + m], cotangents
    )
    return made[index - n - m]


def _linear_jvp(op: Operation, *tangents: Tensor | None) -> list[Tensor]:
    attrs = op._attrs
    n, m = len(attrs["inputs"]), len(attrs["outputs"])
    nonlinear = any(t is not None for t in tangents[: n + m])
    kind = _linear_in(op, nonlinear, attrs["kind"])
    xs, ys = op.inputs[:n], op.inputs[n : n + m]
    return _linear_node(op, kind, attrs["functions"], xs, ys, tangents[n + m :])


def _linear_in(op: Operation, nonlinear: bool, needed: str) -> str:
    """``needed``, if the user gave that function and it is all that is needed."""
    kind = op._attrs["kind"]
    if nonlinear:
        raise GradientError(
            op.explain(
                f"it runs the {kind} of a py_func, whose own derivative nobody gave: "
                "for second derivatives build the gradient with dagrad's operations "
                "(custom_gradient around py_func)"
            ),
            op,
        )
    if op._attrs["functions"][needed] is None:
        raise GradientError(
            op.explain(
                f"it runs the {kind} of a py_func, and its transpose is needed here: "
                f"give py_func {needed}=f(inputs, outputs, vectors) too"
            ),
            op,
        )
    return needed


class _EachInput:
    """One rule per input, however many there are: ``rule(op, *cotangents, index=i)``.

    So that only the inputs which are asked for can refuse.
    """

    def __init__(self, rule: Callable[..., Any]) -> None:
        self._rule = rule

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return (partial(self._rule, index=i) for i in count())


def _promised(inputs: Sequence[Any], attrs: Any) -> Any:
    return tuple(zip(attrs["Tout"], attrs["shape"]))


LINEAR = OpDef(
    "PyFuncDerivative",
    infer=_promised,
    kernel=_linear_kernel,
    inputs=("*inputs",),
    vjp=_EachInput(_linear_rule),
    jvp=_linear_jvp,
    doc="the vjp or jvp of a Python function, at inputs and outputs, along vectors",
)


def _py_func_vjp(op: Operation, *cotangents: Tensor | None) -> list[Any]:
    functions = op._attrs["functions"]
    nothing: list[Any] = [None] * len(op.inputs)
    if functions["vjp"] is None:
        if functions["jvp"] is None:
            return nothing  # a constant to derivatives, as in TF1
        raise GradientError(
            op.explain(
                "it has a forward derivative only: give py_func "
                "vjp=f(inputs, outputs, cotangents) too"
            ),
            op,
        )
    along = [c for c, t in zip(cotangents, op.outputs) if t.dtype.is_inexact]
    made = iter(_linear_node(op, "vjp", functions, op.inputs, op.outputs, along))
    return [next(made) if t.dtype.is_inexact else None for t in op.inputs]


def _py_func_jvp(op: Operation, *tangents: Tensor | None) -> list[Any]:
    functions = op._attrs["functions"]
    if functions["jvp"] is None:
        if functions["vjp"] is None:
            return [None] * len(op.outputs)
        raise GradientError(
            op.explain(
                "it has a reverse derivative only: give py_func "
                "jvp=f(inputs, outputs, tangents) too"
            ),
            op,
        )
    along = [c for c, t in zip(tangents, op.inputs) if t.dtype.is_inexact]
    made = iter(_linear_node(op, "jvp", functions, op.inputs, op.outputs, along))
    return [next(made) if t.dtype.is_inexact else None for t in op.outputs]


def _py_func_op(type: str, effect: str | None, doc: str) -> OpDef:
    return OpDef(
        type,
        infer=_promised,
        kernel=_kernel,
        inputs=("*input",),
        vjp=_py_func_vjp,
        jvp=_py_func_jvp,
        effect=effect,
        doc=doc,
    )


# TF1's two types, so that gradient_override_map({"PyFunc": ...}) works.
PY_FUNC = _py_func_op("PyFunc", "io", "func(x...), once per run that needs it")
PY_FUNC_STATELESS = _py_func_op(
    "PyFuncStateless", None, "func(x...), a function of its arguments only"
)


def py_func(
    func: Callable[..., Any],
    inp: Any,
    Tout: Any,
    stateful: bool = True,
    name: str | None = None,
    *,
    shape: Any = None,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
) -> Any:
    """The results of a Python function of arrays, called when the graph runs (TF1).

    Args:
        func: ``func(*arrays)``, which returns an array, or a list of them.  It gets
            copies of its own; scalars come as NumPy scalars, strings as bytes.
        inp: a list of tensors.
        Tout: the dtype of the result, or a list of dtypes; an empty list for a
            function that is called for its effect.
        stateful: whether it may do something else than compute: then it runs once
            per run that needs it, in the order in which such operations were made.
            With False, equal calls are merged, and a call on constants may be made
            once and for all.
        name: the name of the operation.
        shape: the shape of the result (a list of shapes where Tout is a list);
            default: unknown.  What is promised is checked in every run.
        vjp: ``vjp(inputs, outputs, cotangents) -> cotangents of the inputs``, all
            lists of arrays (None for what is not floating or complex; None in the
            result means zero).  It must depend on nothing else, and be linear in the
            cotangents.
        jvp: ``jvp(inputs, outputs, tangents) -> tangents of the outputs``, alike.

    Returns:
        A tensor, or a list of them where Tout is a list; with an empty Tout the
        operation.

    Gradient: by vjp in reverse and by jvp in forward mode, for first derivatives.
    Without both, results are constants to derivatives, as in TF1, where programs give
    the op type "PyFunc" another gradient by ``gradient_override_map``.

    A graph that holds such an operation cannot be saved: files hold no code.

    Raises:
        TypeError: func is no function.
        ShapeError: the numbers of shapes and dtypes differ.
        InvalidArgumentError, UnknownError, ...: when run: func raised (ValueError and
            TypeError give the first, others as in TF1), or returned another number of
            values, another dtype or another shape than promised.
        GradientError: a derivative needs the function that was not given.

    >>> import dagrad as tf
    >>> import numpy as np
    >>> x = tf.constant([1.0, 2.0])
    >>> y = tf.py_func(
    ...     np.square, [x], tf.float32, shape=[2],
    ...     vjp=lambda xs, ys, gs: [gs[0] * 2 * xs[0]],
    ... )
    >>> with tf.Session() as session:
    ...     print(session.run(tf.gradients(y, x)))
    [array([2., 4.], dtype=float32)]
    """
    if not callable(func):
        raise TypeError(f"py_func: func must be a function, not {func!r}")
    for label, rule in (("vjp", vjp), ("jvp", jvp)):
        if rule is not None and not callable(rule):
            raise TypeError(f"py_func: {label} must be a function, not {rule!r}")
    tensors = [as_tensor(t) for t in (inp if isinstance(inp, (list, tuple)) else [inp])]
    many = isinstance(Tout, (list, tuple))
    dtypes = tuple(as_dtype(d) for d in (Tout if many else [Tout]))
    attrs = {
        "func": func,
        "Tout": dtypes,
        "shape": _shapes(shape, len(dtypes), many),
        "functions": {"vjp": vjp, "jvp": jvp},
    }
    opdef = PY_FUNC if stateful else PY_FUNC_STATELESS
    with graph_of(*tensors).as_default():
        op = create_op(opdef, tensors, attrs, name)
    if not dtypes:
        return op
    return list(op.outputs) if many else op.outputs[0]


def _shapes(shape: Any, n: int, many: bool) -> tuple[Dims, ...]:
    """One static shape per output."""
    if shape is None:
        return (None,) * n
    if not many:
        return (as_dims(shape),)
    shapes = tuple(as_dims(s) for s in shape)
    if len(shapes) != n:
        raise ShapeError(
            f"{entry()}{len(shapes)} shapes are given for {n} dtypes in Tout"
        )
    return shapes


def numpy_function(
    func: Callable[..., Any], inp: Any, Tout: Any, name: str | None = None
) -> Any:
    """:func:`py_func` with ``stateful=True`` (TF 1.15's newer name)."""
    return py_func(func, inp, Tout, stateful=True, name=name)
