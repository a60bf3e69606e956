"""Derivatives that a program gives, as bodies: the rules of ``custom_gradient``.

A ``grad_fn`` is a Python function that remembers tensors of the graph where it was
made. So when the operation is made, what grad_fn builds is traced into a body: its
inputs are the cotangents and whatever it reads of the graph around, which the
operation gets as inputs too. With those the operation may stand elsewhere: in a loop
over rows, at the solution of an equation, in a graph that was loaded.

Where the operation stands where it was made, a derivative calls grad_fn itself, as
TF1 does, so that what grad_fn does beside (a summary, a collection) happens there.

What cannot be traced at once is traced when a copy of the operation is
differentiated: a function that calls itself in its gradient, which would never end,
and a grad_fn that fails, which must not fail a program that takes no derivative.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..graphlib.batched import Shared, Uneven
from ..graphlib.batching import vectorize_some
from ..graphlib.errors import GradientError
from ..graphlib.gradients import IndexedSlices, as_dense
from ..graphlib.graph import Graph
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.overrides import as_cotangent, zeros_for_none
from ..graphlib.stacks import home
from ..graphlib.subgraph import (
    BODY_VARIABLE,
    Body,
    Subgraph,
    captures_of,
    is_stateful,
    source_in,
    updated_inputs,
    variable_of,
)
from ..graphlib.tensor import Tensor, as_tensor
from ..graphlib.traversal import ancestors
from ._batch import repeat_rows
from ._bodies import copy_into
from ._build import create_op
from .core import PLACEHOLDER, identity
from .reduction import reduce_sum

__all__ = [
    "GradientFunction",
    "Rule",
    "flatten",
    "given_of",
    "has_rule",
    "run_rule",
    "traced",
]

# How deep traces lie in each other before one waits; a function that is made anew
# in its own gradient is not known again, and would be traced for ever.
_DEEPEST = 6

# What the program calls the functions.
_NAMES = {"pull": "grad_fn", "push": "jvp"}

# What a rule makes for each of its results: nothing, a tensor, or rows of one.
_NOTHING, _TENSOR, _ROWS = range(3)

# Effects of operations whose results are the memory of a variable.
_REFERENCES = ("variable", "assign", "update")

# What an input is to the rows of a vectorised operation.
SHARED, EVEN, UNEVEN = range(3)


class _Tracing(threading.local):
    def __init__(self) -> None:
        #: The functions whose gradients are traced now, innermost last.
        self.functions: list[Any] = []
        #: Whether one was called again in there.
        self.again = False


_tracing = _Tracing()


class GradientFunction:
    """The Python functions of one call, and the tensors that they know.

    Attributes:
        graph: where the call was made.
        function: what tells calls of one function from those of others.
        name: what messages call it.
        grad_fn: the gradient.
        rules: ``{"jvp": forward rule or None}``.
        results, args: the function's results and arguments.
        variables: the variables that it reads.
        origin: the operation of the call, once it is made.
    """

    def __init__(
        self,
        graph: Graph,
        f: Callable[..., Any],
        grad_fn: Callable[..., Any],
        rules: dict[str, Any],
        results: Sequence[Tensor],
        args: Sequence[Tensor],
        variables: Mapping[Any, Tensor],
    ) -> None:
        self.graph = graph
        function = inspect.unwrap(f)
        self.function = getattr(function, "__code__", function)
        self.name = getattr(f, "__name__", repr(f))
        self.grad_fn = grad_fn
        self.rules = rules
        self.results = list(results)
        self.args = list(args)
        self.variables = dict(variables)
        self.origin: Operation | None = None
        self._late: dict[str, Rule] = {}

    def call(self, kind: str, moving: Sequence[Tensor | None]) -> list[Any]:
        """What the program's function says: ``kind`` is "pull" or "push"."""
        return self._pull(moving) if kind == "pull" else self._push(moving)

    def _pull(self, cotangents: Sequence[Tensor | None]) -> list[Any]:
        given = zeros_for_none(self.results, cotangents)
        by_variable: Sequence[Any] = ()
        if self.variables:
            pair = self.grad_fn(*given, variables=list(self.variables))
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise self.wrong(
                    "its grad_fn uses variables, so it must return a pair: the "
                    "gradients of the arguments, and a list with those of the variables"
                )
            by_arg, by_variable = pair
            if len(by_variable) != len(self.variables):
                raise self.wrong(
                    f"its grad_fn gave {len(by_variable)} gradients for "
                    f"{len(self.variables)} variables: "
                    f"{[v.name for v in self.variables]}"
                )
        else:
            by_arg = self.grad_fn(*given)
        results = flatten(by_arg)
        if len(results) != len(self.args):
            raise self.wrong(
                f"its grad_fn gave {len(results)} gradients for "
                f"{len(self.args)} arguments"
            )
        targets = [*self.args, *self.variables.values()]
        return [as_cotangent(g, t) for g, t in zip([*results, *by_variable], targets)]

    def _push(self, tangents: Sequence[Tensor | None]) -> list[Any]:
        args = list(self.args)
        moved = flatten(self.rules["jvp"](args, zeros_for_none(args, tangents)))
        if len(moved) != len(self.results):
            raise self.wrong(
                f"its jvp gave {len(moved)} tangents for {len(self.results)} results"
            )
        return [as_cotangent(t, y) for t, y in zip(moved, self.results)]

    def wrong(self, problem: str) -> GradientError:
        """The error that says where the function was called."""
        op = self.origin
        if op is None:
            return GradientError(f"custom_gradient of {self.name}(): {problem}")
        return GradientError(op.explain(problem), op)

    def late(self, kind: str, op: Operation) -> Rule:
        """The rule for ``op``, a copy of the operation of the call."""
        if kind not in self._late:
            assert self.origin is not None
            rule, sources = _trace(self, kind)
            place = _places(self.origin.inputs)
            for t in sources:
                if t not in place:
                    raise GradientError(
                        op.explain(
                            f"the gradient that {self.name}() gives reads "
                            f"{t.op.describe()} ({t.op.defined_at()}), which is not "
                            "known here, as the operation is a copy: make it an "
                            "argument of the function"
                        ),
                        op,
                    )
            wires = tuple([place[t] for t in sources])
            self._late[kind] = rule._replace(wires=wires)
        return self._late[kind]


class Rule(NamedTuple):
    """A derivative as a body, as the operation's attributes hold it.

    Attributes:
        body: its inputs are cotangents (or tangents), then what else it reads.
        wires: which inputs of the operation those others are.
        forms: what it makes for each result.
    """

    body: Body
    wires: tuple[int, ...]
    forms: tuple[int, ...]


class _RuleGraph(Subgraph):
    """The body of a rule, which knows the functions that it was traced from."""

    def __init__(self, given: GradientFunction) -> None:
        outer = given.graph
        scope = f"{outer._local.context.scope}{_plain(given.name)}_grad/"
        super().__init__(outer, scope, f"the gradient of {given.name}()")
        # TF1 calls a grad_fn later, when the scopes around the call are left.
        self._local.context.overrides = {}
        self.given = given
        self._given_mark = given.results[0].op._mark

    def _bare(self, opdef: OpDef, attrs: dict[str, Any], name: str) -> Tensor:
        context = self._local.context
        before, context.mark = context.mark, self._given_mark
        try:
            return super()._bare(opdef, attrs, name)
        finally:
            context.mark = before


def _plain(name: str) -> str:
    return name if name.isidentifier() else "custom"


# -- tracing -------------------------------------------------------------------------


def traced(given: GradientFunction, start: int) -> tuple[list[Tensor], dict[str, Any]]:
    """What the operation of a call reads for its derivatives, and its attributes.

    Args:
        given: the functions.
        start: from which operation of the graph on the call made them.
    """
    kinds = ["pull"] if given.rules["jvp"] is None else ["pull", "push"]
    if given.function in _tracing.functions or len(_tracing.functions) >= _DEEPEST:
        _tracing.again = True
        return _within_reach(given, start), {"grad_fn": given}
    found = []
    try:
        for kind in kinds:
            found.append((kind, *_trace(given, kind)))
    except Exception:
        # Asked for a derivative, the function says the same again.
        return _within_reach(given, start), {"grad_fn": given}
    inputs = [*given.results, *given.args, *given.variables.values()]
    head, place = len(inputs), _places(inputs)
    attrs: dict[str, Any] = {}
    for kind, rule, sources in found:
        for t in sources:
            if t not in place:
                place[t] = len(inputs)
                inputs.append(t)
        wires = tuple([place[t] for t in sources])
        attrs.update(zip(_keys(kind), rule._replace(wires=wires)))
    return inputs[head:], attrs


def _places(tensors: Sequence[Tensor]) -> dict[Tensor, int]:
    """Where each of ``tensors`` stands first."""
    return {t: i for i, t in reversed([*enumerate(tensors)])}


def _keys(kind: str) -> tuple[str, str, str]:
    return kind, f"{kind}_wires", f"{kind}_forms"


def _trace(given: GradientFunction, kind: str) -> tuple[Rule, list[Tensor]]:
    """A rule without wires, and the tensors that it reads around it."""
    before, _tracing.again = _tracing.again, False
    _tracing.functions.append(given.function)
    try:
        made = _traced_once(given, kind, ())
        if _tracing.again:
            # What waits in there takes along all that is known where it stands.
            made = _traced_once(given, kind, made[1])
        return made
    finally:
        _tracing.functions.pop()
        _tracing.again = before


def _traced_once(
    given: GradientFunction, kind: str, known: Sequence[Tensor]
) -> tuple[Rule, list[Tensor]]:
    like = given.results if kind == "pull" else given.args
    graph = _RuleGraph(given)
    into = [
        graph.add_input(t.dtype, t.dims, "given") if t.dtype.is_inexact else None
        for t in like
    ]
    with graph.as_innermost(), _on_trial(graph):
        for t in known:
            graph.capture(t)
        forms, outputs = [], []
        for g in given.call(kind, into):
            parts = [] if g is None else [g]
            if type(g) is IndexedSlices:
                parts = [g.values, g.indices]
            forms.append(len(parts))
            outputs += [graph.capture(as_tensor(p)) for p in parts]
    ins = [t for t in into if t is not None]
    rest = captures_of(outputs, ins)
    body = Body(graph, (*ins, *rest), tuple(outputs))
    waits = [op for op in ancestors(graph.outer_controls) if is_stateful(op)]
    writes = any(updated_inputs(op) for op in graph._operations) and body.written()
    if waits or writes:
        what = f"wait for {waits[-1].describe()}" if waits else "write a variable"
        raise given.wrong(
            f"the operations that its {_NAMES[kind]} builds {what}, so they cannot be "
            "built again at another place: differentiate where the function is called"
        )
    return Rule(body, (), tuple(forms)), [_source(graph, t) for t in rest]


def _source(graph: Subgraph, t: Tensor) -> Tensor:
    """What a body reads, of the graph around it; of a variable, its value."""
    source = source_in(graph, t)
    if t.op.opdef is not BODY_VARIABLE:
        return source
    variable = graph._variables.get(variable_of(t.op))
    return identity(source) if variable is None else variable.value()


@contextmanager
def _on_trial(graph: Graph) -> Iterator[None]:
    """Trace a function that is called again later: what it collects does not count,
    and it makes no variables."""
    root = graph.root
    collections = root._collections
    before = {k: len(v) for k, v in collections.items()}
    graph.trial = True
    try:
        yield
    finally:
        graph.trial = False
        for key in [*collections]:
            del collections[key][before.get(key, 0) :]
            if key not in before:
                del collections[key]


def _within_reach(given: GradientFunction, start: int) -> list[Tensor]:
    """The tensors that a function which is traced later may ask for: those that the
    call made, and what these were made of."""
    graph = given.graph
    if isinstance(graph, _RuleGraph):
        start = 0
    found: dict[Tensor, None] = {}
    for op in graph._operations[start:]:
        if op.opdef.effect in (None, "constant", "input", "random"):
            found.update(dict.fromkeys((*op.inputs, *op.outputs)))
    head = {*given.results, *given.args, *given.variables.values()}
    return [t for t in found if t not in head and t.op.opdef.effect not in _REFERENCES]


# -- running a rule ------------------------------------------------------------------


def given_of(op: Operation) -> GradientFunction | None:
    """The functions that an operation's derivatives were traced from, if known: a
    graph that was loaded has none."""
    attrs = op._attrs
    found: GradientFunction | None = attrs.get("grad_fn")
    if found is None:
        found = getattr(attrs["pull"].graph, "given", None)
    return found


def has_rule(op: Operation, kind: str) -> bool:
    """Whether the program gave the rule "pull" or "push"."""
    given = given_of(op)
    return kind in op._attrs or (
        given is not None and (kind == "pull" or given.rules["jvp"] is not None)
    )


def run_rule(op: Operation, kind: str, moving: Sequence[Tensor | None]) -> list[Any]:
    """What the program's rule makes of cotangents of the results ("pull") or of
    tangents of the arguments ("push")."""
    given = given_of(op)
    if given is not None and given.origin is op:
        return given.call(kind, moving)
    attrs = op._attrs
    if kind in attrs:
        rule = Rule(*[attrs[key] for key in _keys(kind)])
    else:
        assert given is not None
        rule = given.late(kind, op)
    n, count = attrs["n"], attrs["args"]
    like = op.outputs if kind == "pull" else op.inputs[n : n + count]
    return _run(
        op, kind, rule, attrs.get("rows", ()), op.inputs, zeros_for_none(like, moving)
    )


def _run(
    op: Operation,
    kind: str,
    rule: Rule,
    rows: Sequence[Sequence[int]],
    inputs: Sequence[Tensor],
    moving: Sequence[Tensor | None],
) -> list[Any]:
    """The rule for ``inputs``, which the last of ``rows`` says to have rows."""
    if rows:
        return _run_rows(op, kind, rule, rows, inputs, moving)
    graph = home(op.graph)
    passed = [t for t in moving if t is not None]
    passed += [inputs[i] for i in rule.wires]
    scope = graph._local.context.scope
    made = iter(copy_into(graph, rule.body, passed, scope))
    n = op._attrs["n"]
    found: list[Any] = []
    for i, form in enumerate(rule.forms):
        if form == _ROWS:
            found.append(IndexedSlices(next(made), next(made), inputs[n + i]))
        else:
            found.append(None if form == _NOTHING else next(made))
    return found


def _run_rows(
    op: Operation,
    kind: str,
    rule: Rule,
    rows: Sequence[Sequence[int]],
    inputs: Sequence[Tensor],
    moving: Sequence[Tensor | None],
) -> list[Any]:
    """The rule for one row, vectorised; what all rows share gets a sum over them."""
    attrs, flags = op._attrs, rows[-1]
    n, count = attrs["n"], attrs["args"]
    known: dict[Tensor, Tensor] = {}
    uneven: set[Tensor] = set()

    def row_of(t: Tensor | None, flag: int) -> Tensor | None:
        if t is None or flag == SHARED:
            return t
        dims = None if t.dims is None else t.dims[1:]
        row = create_op(PLACEHOLDER, (), {"dtype": t.dtype, "shape": dims}, "row")
        known[row.outputs[0]] = t
        if flag == UNEVEN:
            uneven.add(row.outputs[0])
        return row.outputs[0]

    # A placeholder stands for a row while one row is built; it is never run.
    of_moving = flags[:n] if kind == "pull" else flags[n : n + count]
    one = [row_of(t, flag) for t, flag in zip(inputs, flags)]
    one_moving = [row_of(t, flag) for t, flag in zip(moving, of_moving)]
    made = _run(op, kind, rule, rows[:-1], one, one_moving)  # type: ignore[arg-type]
    dense = [as_dense(t) for t in made if t is not None]
    wide = iter(vectorize_some(dense, known, "rows", uneven))
    like = next(iter(known.values()))
    of_result = flags[n:] if kind == "pull" else flags[:n]
    return [
        None if t is None else _as_input(next(wide), flag, like)
        for t, flag in zip(made, of_result)
    ]


def _as_input(made: Tensor | Shared | Uneven, flag: int, like: Tensor) -> Tensor:
    """A vectorised cotangent or tangent, as what it belongs to is."""
    if isinstance(made, Shared):
        made = repeat_rows(made.tensor, like)
    elif isinstance(made, Uneven):
        made = made.tensor if flag == UNEVEN else TABLE["even"](made.tensor)
    return reduce_sum(made, 0) if flag == SHARED else made


def flatten(value: Any) -> list[Any]:
    """The leaves of a nest of lists, tuples and mappings (by sorted keys, as TF1)."""
    flat: list[Any] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            stack.extend(item[k] for k in sorted(item, reverse=True))
        elif isinstance(item, (list, tuple)):
            stack.extend(reversed(item))
        else:
            flat.append(item)
    return flat
