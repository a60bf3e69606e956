"""cond, case, switch_case, and functions: builders of branch operations."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import bool_, int32
from ..graphlib.errors import DTypeError, GraphError, InvalidArgumentError, ShapeError
from ..graphlib.graph import Graph
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.source import at_caller, entry
from ..graphlib.stacks import home
from ..graphlib.subgraph import Body, Subgraph, captures_of, source_in
from ..graphlib.tensor import Tensor, as_tensor
from ._build import constant, create, graph_of
from ._nest import assert_same, flatten, pack
from .branches import CALL, CASE, RECOMPUTED_CALL, branch
from .core import cast, identity

__all__ = ["case", "cond", "function", "recompute_grad", "switch_case"]


class _Branch:
    """What one branch function built."""

    def __init__(self, outer: Graph, scope: str, what: str, fn: Any) -> None:
        self.graph = Subgraph(outer, scope, what)
        with self.graph.as_innermost():
            self.result = fn()
            #: Leaves as they were returned: tensors, operations, numbers, None.
            self.leaves = [] if self.result is None else flatten(self.result)
        self.outputs: list[Tensor] = []

    def finish(self, dtypes: Sequence[Any]) -> None:
        """Leaves as tensors of the body, of the dtypes that the branches share."""
        with self.graph.as_innermost():
            self.outputs = [_tensor(v, d) for v, d in zip(self.leaves, dtypes)]
            self.outputs = [self.graph.capture(t) for t in self.outputs]

    def body(self) -> Body:
        """The branch as a body."""
        return Body(
            self.graph, tuple(captures_of(self.outputs, ())), tuple(self.outputs)
        )

    def passed(self, body: Body) -> list[Tensor]:
        """What to pass for the inputs of the body."""
        return [source_in(self.graph, t) for t in body.inputs]


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _tensor(value: Any, dtype: Any) -> Tensor:
    """A leaf as a tensor; an operation becomes True once it has run."""
    if isinstance(value, Operation):
        with value.graph.control_dependencies([value]):
            return identity(constant(True), name="ran")
    return as_tensor(value, None if _is_symbolic(value) else dtype)


def _shared_dtypes(branches: Sequence[_Branch], who: str) -> list[Any]:
    """Per leaf, the dtype that the branches agree on; plain numbers follow."""
    dtypes: list[Any] = []
    for k, leaves in enumerate(zip(*[b.leaves for b in branches])):
        found = None
        for leaf in leaves:
            own = None
            if isinstance(leaf, Operation):
                own = bool_
            elif _is_symbolic(leaf):
                own = leaf.dtype
            if own is None or found is own:
                continue
            if found is not None:
                remedy = "use dagrad.cast in one of them"
                if any(isinstance(leaf, Operation) for leaf in leaves):
                    remedy = "an operation counts as bool: let all return one (group)"
                raise DTypeError(
                    f"{who}{at_caller()}: the branches make {found.name} and "
                    f"{own.name} of value {k}: {remedy}"
                )
            found = own
        dtypes.append(found)
    return dtypes


def _choose(
    index: Tensor,
    fns: Sequence[Callable[[], Any]],
    labels: Sequence[str],
    name: str,
    who: str,
    strict: bool,
    order: Sequence[int] | None = None,
) -> Any:
    """The result of the function that ``index`` chooses, as a Case operation.

    The functions are called as they are given; ``index`` i chooses that at
    ``order[i]`` (None: at i).
    """
    outer = home(index.op.graph)
    with outer.as_default(), outer.name_scope(name) as scope:
        what = f'{who} "{scope[:-1]}"'
        branches = [
            _Branch(outer, f"{scope}{label}", f"{what}, {label}", fn)
            for fn, label in zip(fns, labels)
        ]
        first = branches[0].result
        for other in branches[1:]:
            if (other.result is None) is not (first is None):
                raise ValueError(
                    f"{what}{at_caller()}: one branch returns None, another does not: "
                    "is a `return` missing?"
                )
            assert_same(
                first, other.result, f"{what}{at_caller()}: the branches differ"
            )
        dtypes = _shared_dtypes(branches, what)
        for b, label in zip(branches, labels):
            try:
                b.finish(dtypes)
            except DTypeError as error:
                raise DTypeError(f"{what}, {label}: {error}") from None
        if order is not None:
            branches = [branches[i] for i in order]
        bodies = [b.body() for b in branches]
        controls = [c for b in branches for c in b.graph.outer_controls]
        with outer.control_dependencies(controls):
            op = branch(
                CASE, index, bodies, [b.passed(f) for b, f in zip(branches, bodies)]
            )
    if first is None:
        return op
    packed = pack(first, op.outputs)
    if not strict and isinstance(packed, (list, tuple)) and len(packed) == 1:
        return packed[0]
    return packed


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """``true_fn()`` where ``pred`` holds, else ``false_fn()``: only one of them runs.

    Both functions are called once, to build the branches; what they create runs
    only when its branch is taken, assignments too. What they read from around
    them is computed before.

    Args:
        pred: a bool scalar tensor.
        true_fn, false_fn: functions without arguments that return tensors in the
            same nesting and of the same dtypes; an operation gives True once it
            has run.
        strict: keep a list or tuple of one value as it is (else it is unpacked).
        name: the scope of the operations.
        fn1, fn2: TF1's older names of the functions.

    Returns:
        What the branches return, with shapes that fit both; the operation where
        they return None.

    Raises:
        TypeError: ``pred`` is a Python bool, or a branch no function.
        DTypeError, ValueError: the branches return different things.

    Gradient: that of the branch that ran; zero where only the other one reads an x.

    Cost: that of the branch that runs, beside what both read from around them.

    Example:
        >>> import dagrad as tf
        >>> x = tf.placeholder(tf.float32, [])
        >>> y = tf.cond(x > 0.0, lambda: tf.sqrt(x), lambda: -x)
        >>> (dy,) = tf.gradients(y, [x])
        >>> with tf.Session() as session:
        ...     print(*session.run([y, dy], {x: 4.0}), *session.run([y, dy], {x: -4.0}))
        2.0 0.25 4.0 -1.0
    """
    true_fn = true_fn if fn1 is None else fn1
    false_fn = false_fn if fn2 is None else fn2
    if isinstance(pred, (bool, np.bool_)):
        raise TypeError(f"{entry()}pred must not be a Python bool: use `if`")
    if not callable(true_fn) or not callable(false_fn):
        raise TypeError(f"{entry()}true_fn and false_fn must be functions")
    p = as_tensor(pred)
    if not p.dtype.is_bool:
        raise DTypeError(f"{entry()}pred must be a bool, not {p!r}")
    _require_scalar(p, "pred")
    fns = (true_fn, false_fn)
    return _choose(p, fns, ("true", "false"), name or "cond", "cond", strict, (1, 0))


def _require_scalar(t: Tensor, what: str) -> None:
    if t.dims is not None and t.dims != ():
        raise ShapeError(f"{entry()}{what} must be a scalar, not {t!r}")


def _first_true_kernel(
    xp: Any, *flags: Any, exclusive: bool, needed: bool, out: Any = None
) -> Any:
    true = [i for i, flag in enumerate(flags) if flag]
    if exclusive and len(true) > 1:
        raise InvalidArgumentError(
            f"more than one condition holds: those at {true}; exclusive=False takes "
            "the first"
        )
    if needed and not true:
        raise InvalidArgumentError("no condition holds, and there is no default")
    return xp.asarray(true[0] if true else len(flags), np.int32)


def _infer_first_true(inputs: Sequence[Any], attrs: Any) -> Any:
    for t in inputs:
        if not t.dtype.is_bool:
            raise DTypeError(f"takes bools, not {t.dtype.name}")
    return ((int32, ()),)


FIRST_TRUE = OpDef(
    "FirstTrue",
    infer=_infer_first_true,
    kernel=_first_true_kernel,
    inputs=("*flags",),
    doc="the position of the first flag that holds, else their number",
)


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """The result of the first function whose condition holds, else of ``default``.

    Args:
        pred_fn_pairs: (bool scalar, function) pairs, or a dict of them.
        default: what to run where no condition holds; without it that is an error
            when it happens.
        exclusive: make it an error that more than one condition holds.
        strict, returns, gradient: as :func:`cond`.
        name: the scope of the operations.

    Raises:
        InvalidArgumentError: during a run, see ``default`` and ``exclusive``.
    """
    pairs = (
        list(pred_fn_pairs.items())
        if isinstance(pred_fn_pairs, Mapping)
        else [tuple(pair) for pair in pred_fn_pairs]
    )
    if not pairs:
        raise ValueError(f"{entry()}case needs at least one condition")
    if any(len(p) != 2 or not callable(p[1]) for p in pairs):
        raise TypeError(f"{entry()}case takes (condition, function) pairs")
    if default is not None and not callable(default):
        raise TypeError(f"{entry()}default must be a function")
    flags = [as_tensor(p) for p, _ in pairs]
    for t in flags:
        _require_scalar(t, "a condition")
    attrs = {"exclusive": exclusive, "needed": default is None}
    index = create(FIRST_TRUE, flags, attrs)
    fns = [f for _, f in pairs] + ([] if default is None else [default])
    labels = [f"case_{i}" for i in range(len(pairs))] + ["default"]
    return _choose(index, fns, labels, name, "case", strict)


def switch_case(
    branch_index: Any,
    branch_fns: Any,
    default: Callable[[], Any] | None = None,
    name: str = "switch_case",
) -> Any:
    """The result of ``branch_fns[branch_index]()``; only that function's part runs.

    Args:
        branch_index: an integer scalar.
        branch_fns: functions, a dict from integers to functions, or such pairs.
        default: for any other index (without it, the last function).
        name: the scope of the operations.

    Returns and gradient: as :func:`cond`.
    """
    i = as_tensor(branch_index)
    if not i.dtype.is_integer:
        raise DTypeError(f"{entry()}branch_index must be an integer, not {i!r}")
    _require_scalar(i, "branch_index")
    if isinstance(branch_fns, Mapping):
        numbered = dict(branch_fns)
    else:
        items = list(branch_fns)
        pairs = all(isinstance(f, (tuple, list)) for f in items)
        numbered = dict(items) if pairs else dict(enumerate(items))
    if not numbered or not all(callable(f) for f in numbered.values()):
        raise TypeError(f"{entry()}branch_fns must be functions")
    keys = sorted(numbered)
    if any(not isinstance(k, (int, np.integer)) or k < 0 for k in keys):
        raise ValueError(f"{entry()}the keys of branch_fns must be integers >= 0")
    fns = [numbered[k] for k in keys]
    labels = [f"branch_{k}" for k in keys]
    if default is not None:
        fns.append(default)
        labels.append("default")
    if keys != list(range(len(keys))):
        flags = [as_tensor(_equal(i, k)) for k in keys]
        i = create(FIRST_TRUE, flags, {"exclusive": False, "needed": False})
    return _choose(cast(i, int32), fns, labels, name, "switch_case", False)


def _equal(i: Tensor, k: int) -> Tensor:
    from .logical import equal

    return equal(i, k)


# -- functions -----------------------------------------------------------------------


class Function:
    """A function of tensors as one operation: one body, however often it is called.

    The body is built at the first call with arguments of these dtypes and shapes
    in this graph, and may capture tensors and variables around it.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        opdef: OpDef = CALL,
        name: str | None = None,
        input_signature: Any = None,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"{entry()}function takes a function, not {fn!r}")
        functools.update_wrapper(self, fn)
        self.python_function = fn
        self.input_signature = input_signature
        self._opdef = opdef
        self._name = name or _name_of(fn)
        self._building = threading.local()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it: an operation in the current graph."""
        leaves = flatten((list(args), kwargs))
        symbolic = [v for v in leaves if _is_tensor_like(v)]
        outer = graph_of(*[v for v in symbolic if _is_symbolic(v)])
        with outer.as_default():
            tensors = [as_tensor(v) for v in symbolic]
            body, result, rest, controls = self._traced(outer, args, kwargs, tensors)
            with outer.control_dependencies(controls):
                op = branch(self._opdef, None, [body], [[*tensors, *rest]], self._name)
        if result is None:
            return op
        return pack(result, op.outputs)

    def _traced(
        self, outer: Graph, args: Any, kwargs: Any, tensors: list[Tensor]
    ) -> tuple[Body, Any, list[Tensor], list[Operation]]:
        key = self._key(args, kwargs)
        kept = vars(outer).setdefault("_functions", {})
        known = kept.setdefault(self, {})
        if key is None or key not in known:
            made = self._trace(outer, args, kwargs, tensors)
            if key is None:
                return made
            known[key] = made
        return known[key]  # type: ignore[no-any-return]

    def _key(self, args: Any, kwargs: Any) -> Any:
        """What tells one body from another; None where that cannot be told."""
        parts: list[Any] = []
        for v in flatten((list(args), kwargs)):
            if _is_tensor_like(v):
                t = v if _is_symbolic(v) else np.asarray(v)
                dims = getattr(t, "dims", None) if _is_symbolic(v) else t.shape
                if _is_symbolic(v) and not isinstance(v, Tensor):
                    dims = v.shape.as_tuple()
                parts.append((str(t.dtype), dims))
            else:
                parts.append(v)
        try:
            hash(tuple(parts))
        except TypeError:
            return None
        return repr((_shape_of(list(args)), _shape_of(kwargs))), tuple(parts)

    def _trace(
        self, outer: Graph, args: Any, kwargs: Any, tensors: list[Tensor]
    ) -> tuple[Body, Any, list[Tensor], list[Operation]]:
        if getattr(self._building, "on", False):
            raise GraphError(
                f"{entry()}function {self._name!r} calls itself while it is built: a "
                "graph has no recursion; use while_loop"
            )
        self._building.on = True
        try:
            with outer.name_scope(self._name) as scope:
                graph = Subgraph(outer, scope, f'function "{self._name}"')
            ins = [graph.add_input(t.dtype, t.dims, "argument") for t in tensors]
            given = iter(ins)
            mixed = [
                next(given) if _is_tensor_like(v) else v
                for v in flatten((list(args), kwargs))
            ]
            in_args, in_kwargs = pack((list(args), kwargs), mixed)
            with graph.as_innermost():
                result = self.python_function(*in_args, **in_kwargs)
                leaves = [] if result is None else flatten(result)
                outputs = [graph.capture(_tensor(v, None)) for v in leaves]
        finally:
            self._building.on = False
        rest = captures_of(outputs, ins)
        body = Body(graph, (*ins, *rest), tuple(outputs))
        passed = [source_in(graph, t) for t in rest]
        return body, result, passed, list(graph.outer_controls)


def _name_of(fn: Any) -> str:
    """The name of a Python function as the name of an operation."""
    found = re.sub(r"[^A-Za-z0-9_.]", "_", getattr(fn, "__name__", ""))
    return found.strip("_") or "function"


def _is_tensor_like(value: Any) -> bool:
    return _is_symbolic(value) or isinstance(value, (np.ndarray, np.generic))


def _shape_of(structure: Any) -> Any:
    """The nesting of a structure, as something to compare."""
    if isinstance(structure, Mapping):
        return {k: _shape_of(structure[k]) for k in sorted(structure)}
    if isinstance(structure, (list, tuple)):
        return [_shape_of(v) for v in structure]
    return 0


def function(
    fn: Callable[..., Any] | None = None,
    name: str | None = None,
    input_signature: Any = None,
) -> Any:
    """A function of tensors as one operation, with one body for all of its calls.

    Args:
        fn: ``f(*args, **kwargs)`` of tensors (arrays and numbers stay as they are),
            in any nesting; it may read tensors and variables around it.
        name: what its operations are called.
        input_signature: accepted for programs of TF 1.15 and later; a body is made
            for each combination of dtypes and shapes that is called.

    Returns:
        A function, called with tensors, in any number of graphs.

    Raises:
        GraphError: it calls itself.

    Gradient: a call of the backward body, which reads what the forward call kept.

    Example:
        >>> import dagrad as tf
        >>> @tf.function
        ... def hypotenuse(a, b):
        ...     return tf.sqrt(a * a + b * b)
        >>> with tf.Session() as session:
        ...     print(session.run(hypotenuse(tf.constant(3.0), tf.constant(4.0))))
        5.0
    """
    if fn is None:
        return lambda f: Function(f, name=name, input_signature=input_signature)
    return Function(fn, name=name, input_signature=input_signature)


def recompute_grad(f: Callable[..., Any]) -> Function:
    """``f`` as one operation that keeps nothing for its gradient but its inputs.

    The backward pass computes ``f`` again. A stack of k such functions keeps k
    inputs instead of all that they compute, for one more forward pass (Chen, Xu,
    Zhang and Guestrin 2016).

    Args:
        f: a function of tensors that draws no random numbers and writes nothing.

    Raises:
        GraphError: when it is called, if it does.

    Example:
        >>> import dagrad as tf
        >>> block = tf.recompute_grad(lambda x: tf.tanh(tf.sin(x) * x))
        >>> x = tf.constant(0.5)
        >>> (dy,) = tf.gradients(block(block(x)), [x])
        >>> with tf.Session() as session:
        ...     print(round(float(session.run(dy)), 4))
        0.3994
    """
    return Function(f, RECOMPUTED_CALL)
