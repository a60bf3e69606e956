"""Operation: a node of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import CopyError, GraphError
from .opdef import OpDef
from .operators import TABLE
from .shapes import text
from .source import Mark, Source, resolve

if TYPE_CHECKING:
    from .graph import Graph
    from .tensor import Tensor

__all__ = ["Operation"]

_NO_ATTRS: dict[str, Any] = {}
#: Types of ops that choose element by element (see ``masks``).
SELECTS = frozenset(("Select", "SelectV2"))


class Operation:
    """One op in a graph: what it computes, from which tensors, and who made it.

    Attributes:
        graph: the graph that holds it.
        id: its position in the graph; inputs always have smaller ids.
        opdef: what it computes.
        name: unique in the graph, with its scopes (``layer1/MatMul``).
        inputs: the tensors that it reads.
        outputs: the tensors that it makes.
        control_inputs: operations that run before it for another reason.
        device: what ``dagrad.device`` recorded; never needed to run.
        forward_op: for a node that ``gradients`` made, the operation that it
            differentiates; else None.
    """

    __slots__ = (
        "__weakref__",
        "_attrs",
        "_mark",
        "control_inputs",
        "device",
        "forward_op",
        "graph",
        "id",
        "inputs",
        "name",
        "opdef",
        "outputs",
    )

    def __init__(
        self,
        graph: Graph,
        id: int,
        opdef: OpDef,
        name: str,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any] | None,
        control_inputs: tuple[Operation, ...],
        device: str,
        forward_op: Operation | None,
        mark: Mark,
    ) -> None:
        self.graph = graph
        self.id = id
        self.opdef = opdef
        self.name = name
        self.inputs = inputs
        self.outputs: tuple[Tensor, ...] = ()
        self._attrs = attrs or _NO_ATTRS
        self.control_inputs = control_inputs
        self.device = device
        self.forward_op = forward_op
        self._mark = mark

    @property
    def type(self) -> str:
        """The op type (``"MatMul"``)."""
        return self.opdef.type

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The attributes, read-only.

        With ``_gradient_op_type``, as in TF1, where ``gradient_override_map`` gave
        the operation another gradient.
        """
        override = self.opdef.override
        if override is not None:
            return MappingProxyType({**self._attrs, "_gradient_op_type": override})
        return MappingProxyType(self._attrs)

    def get_attr(self, name: str) -> Any:
        """One attribute; raises GraphError where the op has none of that name."""
        attrs = self.attrs
        try:
            return attrs[name]
        except KeyError:
            raise GraphError(
                f"{self.describe()} has no attribute {name!r}; it has {sorted(attrs)}",
                self,
            ) from None

    @property
    def source(self) -> Source | None:
        """The line of the user's program that created it."""
        return resolve(self._mark)

    @property
    def scope(self) -> str:
        """The name scope (``"layer1"``), empty at the top."""
        return self.name.rpartition("/")[0]

    @property
    def node_def(self) -> Operation:
        """Itself: TF1 programs read ``op.node_def.name`` and ``.op``."""
        return self

    @property
    def op(self) -> str:
        """The op type, as TF1's NodeDef spells it."""
        return self.opdef.type

    def values(self) -> tuple[Tensor, ...]:
        """The outputs (TF1's spelling)."""
        return self.outputs

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run this operation in ``session`` (default: the default session)."""
        from .stacks import default_session

        default_session(session, "Operation.run").run(self, feed_dict)

    def describe(self) -> str:
        """``MatMul "layer1/MatMul"``, for messages."""
        return f'{self.opdef.type} "{self.name}"'

    def defined_at(self) -> str:
        """``defined at user.py:12``, with the forward op's line for a gradient."""
        where = f"defined at {self.source or 'an unknown place'}"
        forward = self.forward_op
        if forward is not None:
            where += (
                f", as part of the gradient of {forward.describe()}, "
                f"defined at {forward.source or 'an unknown place'}"
            )
        return where

    def explain(self, problem: str) -> str:
        """``problem`` with this operation, its inputs and their lines."""
        return explain(
            self.describe(), problem, self.defined_at(), self.opdef, self.inputs
        )

    def __copy__(self) -> Operation:
        return self

    def __deepcopy__(self, memo: Any) -> Operation:
        return self

    def __reduce__(self) -> Any:
        raise CopyError(
            f"{self!r} is a node of a graph and cannot be pickled: save the graph "
            "with graph.save(path)",
            self,
        )

    def _repr_svg_(self) -> str:
        return TABLE["draw"](self)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<dagrad.Operation {self.name!r} type={self.opdef.type}>"


def is_control(op: Operation) -> bool:
    """Whether derivatives pass through the bodies of ``op``."""
    return op.opdef.control is not None and op.opdef.override is None


def explain(
    who: str, problem: str, where: str, opdef: OpDef, inputs: tuple[Tensor, ...]
) -> str:
    """The text of an error about an operation: problem, lines, inputs."""
    lines = [f"{who}: {problem}", f"  {where}"]
    for name, t in zip(input_names(opdef, len(inputs)), inputs):
        lines.append(
            f"  input {name}: {t.op.describe()} {t.dtype.name}{text(t.dims)}, "
            f"{t.op.defined_at()}"
        )
    return "\n".join(lines)


def input_names(opdef: OpDef, count: int) -> list[str]:
    """The names of ``count`` inputs; a starred name is numbered."""
    names = list(opdef.inputs)
    if names and names[-1].startswith("*"):
        stem = names.pop()[1:]
        names += [f"{stem}[{i}]" for i in range(count - len(names))]
    while len(names) < count:
        names.append(str(len(names)))
    return names
