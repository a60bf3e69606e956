"""Graph: an append-only list of operations, and the contexts that shape it.

Operations are only ever appended, and an operation can only read tensors that
exist, so creation order is a topological order.  Nothing here is recursive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .collecting import Collections
from .errors import (
    CopyError,
    DagradError,
    FinalizedError,
    GraphError,
    MissingNameError,
)
from .known import known_value
from .names import check_name
from .opdef import OpDef
from .operation import _NO_ATTRS, Operation, explain
from .operators import TABLE
from .source import Mark, caller, resolve
from .stacks import _stacks, home
from .tensor import Tensor, as_name

if TYPE_CHECKING:
    from .overrides import Override, OverrideScope

__all__ = ["Graph", "get_default_graph", "reset_default_graph"]


class _Context:
    """What the enclosing ``with`` blocks of one thread say of new operations."""

    __slots__ = (
        "controls",
        "device",
        "forward_op",
        "mark",
        "masked",
        "overrides",
        "scope",
    )

    def __init__(self, scope: str) -> None:
        self.scope = scope  # "" or "a/b/"
        self.controls: tuple[Operation, ...] = ()
        self.device: str | Callable[[Operation], str] = ""
        self.forward_op: Operation | None = None
        self.mark: Mark = None
        #: The operation that is differentiated and what zeros its cotangents where
        #: a ``where`` excludes them (see graphlib.masks).
        self.masked: Any = None
        self.overrides: dict[str, Override] = {}


class _Local(threading.local):
    def __init__(self, scope: str) -> None:
        self.context = _Context(scope)


class Graph(Collections):
    """A dataflow graph.

    >>> import dagrad as dg
    >>> g = dg.Graph()
    >>> with g.as_default():
    ...     c = dg.constant(2.0) * 3.0
    >>> [op.type for op in g.get_operations()]
    ['Const', 'Const', 'Mul']
    """

    #: The graph that this one is the body of a loop or branch in (see Subgraph).
    outer: Graph | None = None
    #: The scope at the top: empty but in bodies, whose names begin with it.
    top_scope = ""
    trial = False  #: whether what is built now only shows what it reads

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names: dict[str, int] = {}
        self._local = _Local(self.top_scope)
        self._lock = threading.RLock()
        self._finalized = False
        Collections.__init__(self)
        self._variables: dict[Operation, Any] = {}
        #: The graph-level random seed (None: each session draws its own).
        self.seed: int | None = None

    # -- adding operations ---------------------------------------------------

    def create_op(
        self,
        opdef: OpDef,
        inputs: Sequence[Tensor] = (),
        attrs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> Operation:
        """Append one operation and return it; the outputs hang on it.

        Args:
            opdef: what it computes.
            inputs: tensors of this graph.
            attrs: the op's attributes, as its inference and kernel take them.
            name: its name in the current scope (default: the op type), made
                unique; with a trailing slash it is a whole name, used as it is.

        Raises:
            GraphError: the graph is finalized, an input is another graph's, or
                the name is not valid.
            ShapeError, DTypeError: the inputs do not fit the op.
        """
        graphs = _stacks.graphs
        if graphs and graphs[-1].outer is not None:
            target = home(self)
            if target is not self:
                return target.create_op(opdef, inputs, attrs, name)
        inputs = tuple(inputs)
        context = self._local.context
        mark = context.mark or caller(2)
        overrides = context.overrides
        override = overrides.get(opdef.type) if overrides else None
        if override is not None:
            opdef = override.opdef
        for t in inputs:
            if t.op.graph is not self:
                inputs = self._adopt(opdef, name, inputs, mark)
                break
        try:
            specs = opdef.infer(inputs, attrs or _NO_ATTRS)
        except DagradError as error:
            full = context.scope + (name or opdef.type)
            if name is not None and name[-1:] == "/":
                full = name[:-1]
            shown = f'{opdef.type} "{full}"'
            where = f"defined at {resolve(mark)}"
            if context.forward_op is not None:
                where += f", in the gradient of {context.forward_op.describe()}"
            message = explain(shown, str(error), where, opdef, inputs)
            raise type(error)(message) from None
        controls, device = context.controls, context.device
        if controls:
            made = {t.op for t in inputs}
            controls = tuple(c for c in controls if c not in made)
        with self._lock:
            if self._finalized:
                raise FinalizedError(
                    f"the graph is finalized: cannot add {opdef.type} "
                    f'"{name or opdef.type}" at {resolve(mark)}'
                )
            if name is None:
                full = self._unique(context.scope + opdef.type)
            elif name[-1:] == "/":
                full = name[:-1]
                if full in self._by_name:
                    full = self._unique(full)
                else:
                    self._names.setdefault(full.lower(), 1)
            else:
                full = self._unique(context.scope + check_name(name, context.scope))
            op = Operation(
                self,
                len(self._operations),
                opdef,
                full,
                inputs,
                attrs,
                controls,
                device if isinstance(device, str) else "",
                context.forward_op,
                mark,
            )
            if len(specs) == 1:
                dtype, dims = specs[0]
                op.outputs = (Tensor(op, 0, dtype, dims),)
            else:
                op.outputs = tuple([Tensor(op, i, *s) for i, s in enumerate(specs)])
            # Sizes are integers: of other numbers nothing is worked out.
            sizes = opdef.shape_math and specs[0][0].kind <= 1
            if sizes or (opdef.value is not None and specs):
                op.outputs[0].value = known_value(opdef, inputs, op._attrs, specs)
            for t in inputs:
                readers = t._consumers
                if readers is None:
                    t._consumers = op
                elif type(readers) is list:
                    readers.append(op)
                else:
                    t._consumers = [readers, op]  # type: ignore[list-item]
            self._by_name[full] = op
            self._operations.append(op)
        if override is not None:
            override.scope.matched += 1
        if not isinstance(device, str):
            op.device = device(op) or ""
        return op

    def _adopt(
        self, opdef: OpDef, name: str | None, inputs: tuple[Tensor, ...], mark: Mark
    ) -> tuple[Tensor, ...]:
        """The tensors of this graph that stand for ``inputs``: bodies have such."""
        t = next(t for t in inputs if t.op.graph is not self)
        inner = t.op.graph
        why = "another graph; all inputs must be of one graph (see Graph.as_default)"
        if inner.outer is not None and inner.is_inside(self):
            why = f"{inner.describe()}: return it from there to use it outside"
        raise GraphError(
            f'{opdef.type} "{name or opdef.type}" at {resolve(mark)}: input '
            f"{t.op.describe()} ({t.op.defined_at()}) belongs to {why}"
        )

    # -- bodies --------------------------------------------------------------

    @property
    def root(self) -> Graph:
        """The graph that is no body: this one, or the outermost around it."""
        graph = self
        while graph.outer is not None:
            graph = graph.outer
        return graph

    def is_inside(self, other: Graph) -> bool:
        """Whether this is a body somewhere inside ``other``."""
        graph = self.outer
        while graph is not None:
            if graph is other:
                return True
            graph = graph.outer
        return False

    def source_of(self, inner: Tensor) -> Tensor | None:
        """What an input of a body stands for (see Subgraph)."""
        return None

    def describe(self) -> str:
        """How messages name this graph."""
        return "the graph"

    # -- reading -------------------------------------------------------------

    @property
    def operations(self) -> Sequence[Operation]:
        """The operations, in order of creation (a topological order)."""
        return tuple(self._operations)

    def get_operations(self) -> list[Operation]:
        """The operations, in order of creation."""
        return list(self._operations)

    @property
    def version(self) -> int:
        """The number of operations: grows with the graph."""
        return len(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> Any:
        raise CopyError(
            f"{self!r} cannot be pickled or copied: write it with graph.save(path) "
            "and read it with Graph.load(path)"
        )

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation called ``name``; raises MissingNameError."""
        op = self._by_name.get(as_name(name))
        if op is None:
            raise MissingNameError(
                f"the graph has no operation {name!r}{self._nearest(name)}"
            )
        return op

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor called ``name`` (``"layer1/MatMul:0"``).

        Raises:
            GraphError: ``name`` is not of the form ``op:index``.
            MissingNameError: there is no such operation or output.
        """
        stem, colon, index = as_name(name).rpartition(":")
        if not colon or not index.isdigit():
            raise GraphError(
                f"{name!r} is an operation's name, not a tensor's: a tensor is "
                f"named 'op:index', as in {name + ':0'!r}"
            )
        op = self.get_operation_by_name(stem)
        if int(index) >= len(op.outputs):
            raise MissingNameError(
                f"{op.describe()} has {len(op.outputs)} outputs: there is no {name!r}"
            )
        return op.outputs[int(index)]

    def _nearest(self, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name, list(self._by_name)[:20000], n=3)
        return f"; did you mean {', '.join(map(repr, near))}?" if near else ""

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Tensor | Operation:
        """The tensor or operation that ``obj`` stands for in this graph.

        Takes tensors, operations, variables and names.

        Raises:
            GraphError: it is of another graph or not of an allowed kind.
            MissingNameError: a name that the graph does not hold.
            TypeError: anything else.
        """
        if hasattr(obj, "_as_graph_element"):
            obj = obj._as_graph_element()
        found: Tensor | Operation
        if isinstance(obj, str):
            if ":" in obj and allow_tensor:
                found = self.get_tensor_by_name(obj)
            elif allow_operation:
                found = self.get_operation_by_name(obj)
            else:
                found = self.get_tensor_by_name(obj)
        elif isinstance(obj, (Tensor, Operation)):
            found = obj
        else:
            raise TypeError(
                f"{obj!r} (a {type(obj).__name__}) is neither a tensor, an "
                "operation, a variable nor a name"
            )
        if isinstance(found, Tensor) and not allow_tensor:
            raise GraphError(f"{found!r} is a tensor: an operation is needed here")
        if isinstance(found, Operation) and not allow_operation:
            raise GraphError(f"{found!r} is an operation: a tensor is needed here")
        if found.graph is not self:
            maker = found.op if isinstance(found, Tensor) else found
            if self.is_inside(found.graph):
                return found
            if found.graph.is_inside(self):
                raise GraphError(
                    f"{maker.describe()} ({maker.defined_at()}) is part of "
                    f"{found.graph.describe()}: return it from there to use it outside"
                )
            raise GraphError(
                f"{maker.describe()} ({maker.defined_at()}) belongs to another graph: "
                "was reset_default_graph() called after it was made, or is it made "
                "outside `with graph.as_default()`?"
            )
        return found

    # -- names and scopes ----------------------------------------------------

    def _unique(self, name: str) -> str:
        """``name``, or ``name_1`` and so on where it is taken (case ignored)."""
        names = self._names
        key = name.lower()
        count = names.get(key)
        if count is None:
            names[key] = 1
            return name
        while (taken := f"{key}_{count}") in names:
            count += 1
        names[key] = count + 1
        names[taken] = 1
        return f"{name}_{count}"

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """The name that ``name`` would get in the current scope."""
        full = self._local.context.scope + name
        with self._lock:
            if mark_as_used:
                return self._unique(full)
            if full.lower() not in self._names:
                return full
            i = self._names[full.lower()]
            while f"{full}_{i}".lower() in self._names:
                i += 1
            return f"{full}_{i}"

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Put new operations under ``name``; yields the scope with a slash.

        A name that is taken gets a number; one that ends in a slash re-enters
        that scope; None or "" goes to the top.
        """
        context = self._local.context
        before = context.scope
        if not name:
            context.scope = self.top_scope
        elif name[-1] == "/":
            check_name(name, "")
            context.scope = name
        else:
            with self._lock:
                context.scope = self._unique(before + check_name(name, before)) + "/"
        try:
            yield context.scope
        finally:
            context.scope = before

    def get_name_scope(self) -> str:
        """The current scope, without the last slash."""
        return self._local.context.scope[:-1]

    @contextmanager
    def control_dependencies(self, control_inputs: Iterable[Any] | None) -> Any:
        """Make new operations wait for ``control_inputs``.

        None clears the enclosing dependencies.  Takes operations, tensors and
        variables.  A variable that is read inside sees writes among them.
        """
        context = self._local.context
        before = context.controls
        if control_inputs is None:
            context.controls = ()
        else:
            found = dict.fromkeys(before)
            for c in control_inputs:
                element = self.as_graph_element(c)
                op = element.op if isinstance(element, Tensor) else element
                if op.graph is self:
                    found[op] = None
                else:
                    self._wait_outside(op)
            context.controls = tuple(found)
        try:
            yield
        finally:
            context.controls = before

    def _wait_outside(self, op: Operation) -> None:
        """Make all of a body wait for an operation around it (see Subgraph)."""

    @contextmanager
    def device(self, device_name_or_function: Any) -> Iterator[None]:
        """Record a device for new operations; it changes nothing about a run.

        A function is called with each new operation and returns its device.
        """
        context = self._local.context
        before = context.device
        context.device = device_name_or_function or ""
        try:
            yield
        finally:
            context.device = before

    @contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Record the device of ``op`` for new operations."""
        if op is None:
            yield
            return
        element = self.as_graph_element(op)
        with self.device(element.device):
            yield

    def gradient_override_map(self, op_type_map: Any) -> OverrideScope:
        """A context that gives new operations registered gradients instead of theirs.

        Args:
            op_type_map: op type -> name given to :class:`RegisterGradient` (or
                another op type, whose gradient is used: ``{"Round": "Identity"}``).

        The object that ``with`` gives counts in ``matched`` the operations that got
        one; a scope that is left with none warns.  Inner scopes go before outer ones.

        Raises:
            MissingNameError: an op type or a gradient that there is not.
            TypeError: no dict of strings.
        """
        from .overrides import OverrideScope

        return OverrideScope(home(self)._local.context, op_type_map)

    @contextmanager
    def _for_gradient_of(
        self, forward_op: Operation | None, scope: str, mark: Mark
    ) -> Iterator[None]:
        """Backward nodes: their scope, forward op and the user's line."""
        context = self._local.context
        saved = context.scope, context.forward_op, context.mark
        context.scope, context.forward_op = scope, forward_op
        context.mark = context.mark or mark
        try:
            yield
        finally:
            context.scope, context.forward_op, context.mark = saved

    # -- life ----------------------------------------------------------------

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the graph that builders add to, in this thread.

        Inside a body that is part of this graph, the body stays the default.
        """
        with home(self).as_innermost() as graph:
            yield graph

    @contextmanager
    def as_innermost(self) -> Iterator[Graph]:
        """:meth:`as_default`, also where a body of this graph is being built.

        What is made inside stands outside of the body, and so runs once.
        """
        stack = _stacks.graphs
        stack.append(self)
        try:
            yield self
        finally:
            if not stack or stack[-1] is not self:
                raise GraphError("Graph.as_default blocks must be left in order")
            stack.pop()

    def finalize(self) -> None:
        """Refuse further operations."""
        self._finalized = True

    @property
    def finalized(self) -> bool:
        """Whether :meth:`finalize` was called."""
        return self._finalized

    def validate(self) -> None:
        """Check the invariants of the graph; see :func:`checks.validate`."""
        from .checks import validate

        validate(self)

    def to_networkx(self) -> Any:
        """The graph as a ``networkx.MultiDiGraph``; see :mod:`export`."""
        from .export import to_networkx

        return to_networkx(self)

    def save(self, path: Any) -> None:
        """Write ``path`` (JSON) and the arrays beside it; see :mod:`export`."""
        from .export import save

        save(self, path)

    @staticmethod
    def load(path: Any) -> Graph:
        """The graph that :meth:`save` wrote."""
        from .export import load

        return load(path)

    def to_dot(self, **options: Any) -> str:
        """The drawing as Graphviz source; options as :func:`dagrad.viz.render`."""
        return TABLE["graph_to_dot"](self, **options)  # type: ignore[no-any-return]

    def to_svg(self, path: Any = None, **options: Any) -> str:
        """The drawing as SVG text, also written to ``path`` where given."""
        return TABLE["graph_to_svg"](  # type: ignore[no-any-return]
            self, path, **options
        )

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __repr__(self) -> str:
        return f"<dagrad.Graph of {len(self._operations)} operations>"


# -- the default graph ---------------------------------------------------------


_global_graph = Graph()


def get_default_graph() -> Graph:
    """The graph that builders add to: the innermost ``as_default``, or the global."""
    graphs = _stacks.graphs
    return graphs[-1] if graphs else _global_graph


def reset_default_graph() -> None:
    """Replace the global default graph by an empty one.

    Raises:
        GraphError: called inside ``Graph.as_default``.
    """
    global _global_graph
    if _stacks.graphs:
        raise GraphError("reset_default_graph() cannot be called inside as_default()")
    _global_graph = Graph()
