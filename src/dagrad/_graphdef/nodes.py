"""One node of a GraphDef, as the builders of operations see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..graphlib.errors import GraphError
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor
from .values import Budget, array_of, plain

__all__ = ["Build", "Input", "Node", "input_of"]

#: What makes the operation of a node: its tensors, or an operation that has none.
Build = Callable[["Node"], "Tensor | Operation | Sequence[Tensor]"]

#: Attributes that say no more than the inputs do, or where and how fast to run.
# fmt: off
_IDLE = frozenset([
    "I", "Index", "N", "SrcT", "T", "T1", "T2", "TI", "TL", "Ta", "Taxis",
    "Tblock_shape", "Tcrops", "Tdim", "Tidx", "Tin", "Tindex", "Tindices", "Tk",
    "Tlabels", "Tlen", "Tmultiples", "Tnumsegments", "Tpaddings", "Tparams", "Tperm",
    "Treal", "Tsegmentids", "Tshape", "Tshift", "U", "allowed_devices", "container",
    "debug_name", "grad_a", "grad_b", "grad_x", "grad_y", "index_type", "is_ref",
    "shared_name", "swap_memory", "use_cudnn_on_gpu", "use_locking", "validate_indices",
])
# fmt: on


class Input(NamedTuple):
    """What an input of a node is called."""

    node: str
    output: int  # -1: a control input

    def __str__(self) -> str:
        return f"^{self.node}" if self.output < 0 else f"{self.node}:{self.output}"


def input_of(text: str) -> Input:
    """An input as a NodeDef spells it: ``x``, ``x:1`` or ``^x``.

    Raises:
        GraphError: it is nothing of these.
    """
    if text[:1] == "^":
        return Input(text[1:], -1)
    name, colon, index = text.rpartition(":")
    if not colon:
        return Input(text, 0)
    if not index.isascii() or not index.isdigit() or len(index) > 9:
        raise GraphError(f"{text!r} names no output: write 'node' or 'node:1'")
    return Input(name, int(index))


class Node:
    """A node while its operation is made.

    Attributes:
        type: TensorFlow's op type.
        name: the operation's name, with a slash at its end: builders take it whole.
        inputs: the tensors that it reads.
        used: which of its outputs are read, by number.
        producer: the version of TensorFlow's graphs that wrote the file.
    """

    def __init__(
        self,
        node_def: Any,
        name: str,
        inputs: Sequence[Tensor],
        used: frozenset[int],
        producer: int,
        budget: Budget,
    ) -> None:
        self.type: str = node_def.op
        self.name = name
        self.inputs = inputs
        self.used = used
        self.producer = producer
        self._attrs: Mapping[str, Any] = node_def.attr
        self._budget = budget
        self._read: set[str] = set()

    def take(self, count: int) -> Sequence[Tensor]:
        """The inputs, of which there are ``count``.

        Raises:
            GraphError: there are more or fewer.
        """
        if len(self.inputs) != count:
            raise GraphError(f"it has {len(self.inputs)} inputs, not {count}")
        return self.inputs

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or ``default`` where the file leaves it out.

        Raises:
            GraphError: there is none and no default, or it is of another kind.
        """
        self._read.add(name)
        if name not in self._attrs:
            if default is None:
                raise GraphError(f"it has no attribute {name!r}")
            return default
        found = plain(self._attrs[name])
        if default is not None and type(found) is not type(default):
            raise GraphError(f"attribute {name!r} is {found!r}, which it cannot be")
        return found

    def need(self, name: str, kind: type) -> Any:
        """An attribute that must be there: a number, text, DType or list of integers.

        Raises:
            GraphError: there is none, or it is of another kind.
        """
        found = self.attr(name)
        wrong = type(found) is not kind
        if wrong or (kind is list and any(type(v) is not int for v in found)):
            raise GraphError(f"attribute {name!r} is {found!r}, which it cannot be")
        return found

    def shape(self, name: str) -> Any:
        """An attribute that is a shape; left out, nothing is known of it.

        Raises:
            GraphError: it is of another kind.
        """
        self._read.add(name)
        if name not in self._attrs:
            return None
        value = self._attrs[name]
        if value.WhichOneof("value") != "shape":
            raise GraphError(f"attribute {name!r} is no shape")
        return plain(value)

    def array(self, name: str) -> Any:
        """An attribute that is an array.

        Raises:
            GraphError: there is none.
        """
        self._read.add(name)
        if name not in self._attrs or self._attrs[name].WhichOneof("value") != "tensor":
            raise GraphError(f"it has no array {name!r}")
        return array_of(self._attrs[name].tensor, self._budget)

    def expect(self, name: str, value: Any) -> None:
        """Refuse any other value of an attribute.

        Raises:
            GraphError: it has another.
        """
        found = self.attr(name, value)
        if found != value:
            raise GraphError(f"attribute {name!r} is {found!r}, not {value!r}")

    def check_all_read(self) -> None:
        """Refuse attributes that nobody asked for: they may change what is computed.

        Raises:
            GraphError: there are some.
        """
        more = sorted(
            name
            for name in self._attrs
            if name[:1] != "_" and name not in self._read and name not in _IDLE
        )
        if more:
            raise GraphError(f"attributes {more} are not known here")
