"""What the passes that match patterns share: one walk over the nodes, in order.

A rule looks at a node and at what made its inputs, and may change it in three ways:
the node computes something else (it keeps its outputs, its place in the order, and
the user's operation for messages), its reader gets another value, or new nodes are
put before it.  Rules never look through a node that waits for others, nor move the
direct read of a variable to another place: what it sees depends on where it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...graphlib.dtypes import as_dtype
from ...graphlib.errors import DagradError
from ...graphlib.opdef import lookup
from ..program import CONST, NODE, VARIABLE, Node, Program, Value, constant_value
from .fold import computed

__all__ = ["Budget", "Rule", "Walk", "constant", "is_real", "rewrite_with"]

Rule = Callable[["Walk", Node], "str | None"]

# A rule that has changed a node may match it again, as something else.
_AGAIN = 8
# A constant is looked through for equal elements up to this size.
_SMALL = 64 * 1024


class Budget:
    """How much a pass may do: a number of steps in proportion to the nodes.

    A step is what takes about a microsecond.  Steps are counted, not seconds, so
    that a plan never depends on how busy the machine is.
    """

    def __init__(self, nodes: int) -> None:
        self.left = 10_000 + 20 * nodes

    def spend(self, steps: int = 1) -> bool:
        """Take steps; False where they are spent."""
        self.left -= steps
        return self.left >= 0


class Walk:
    """A program while rules change it."""

    def __init__(self, program: Program, budget: Budget) -> None:
        self.program = program
        self.budget = budget
        self.subst: dict[Value, Value] = {}
        self.kept: list[Node] = []
        self.gone = False
        self._numbers: dict[Value, tuple[Any, int]] = {}

    def run(self, rules: Mapping[str, Rule]) -> int:
        """Apply ``rules`` (by op type) to every node; returns how often one did."""
        program, notes = self.program, self.program.notes
        subst, kept, budget = self.subst, self.kept, self.budget
        changed = 0
        spent = False
        for node in program.nodes:
            if subst:
                node.redirect(subst)
            rule = rules.get(node.opdef.type)
            if rule is None or spent:
                kept.append(node)
                continue
            self.gone = False
            for _ in range(_AGAIN):
                budget.left -= 1
                spent = budget.left < 0
                what = rule(self, node)
                if what is None:
                    break
                changed += 1
                notes.add(what, node.op)
                rule = rules.get(node.opdef.type)
                if self.gone or rule is None or spent:
                    break
            if not self.gone:
                kept.append(node)
        if spent:
            notes.add("stopped: its budget is spent", program.nodes[-1].op)
        if changed:
            program.keep(self.kept, self.subst)
        return changed

    # -- what a rule may ask ---------------------------------------------------------

    def made_by(self, v: Value, *types: str) -> Node | None:
        """The node that makes ``v``, if it has one of the types and may be looked
        through."""
        node = v.node
        if node is None or node.opdef.type not in types or node.after:
            return None
        if node.opdef.effect is not None:
            return None
        return None if any(i.kind == VARIABLE for i in node.inputs) else node

    def number(self, v: Value, beside: Value) -> Any:
        """The one number that ``v`` is full of, where the result of an elementwise op
        with ``beside`` has the shape of ``beside`` by its rank; else None."""
        if v.kind == CONST:
            found = self._numbers.get(v)
            if found is None:
                found = self._numbers[v] = _number_in(v.value)
            n, rank = found
            if not rank:
                return n
            if v.value.size == 1:
                ranked = beside.dims is not None and rank <= len(beside.dims)
                return n if ranked else None
            return n if beside.static else None
        if v.node is not None and v.static and beside.static:
            kind = v.node.opdef.type
            if kind == "Fill":
                return self.number(v.node.inputs[1], beside)
            if kind in ("OnesLike", "ZerosLike") and is_real(v):
                return (1.0 if v.dtype.is_floating else 1) * (kind == "OnesLike")
        return None

    @cached_property
    def uses(self) -> Counter[Value]:
        """How often each value was read or fetched when the walk began."""
        found: Counter[Value] = Counter()
        for node in self.program.nodes:
            found.update(node.inputs)
        found.update(self.program.fetches)
        return found

    # -- what a rule may do ----------------------------------------------------------

    def bypass(self, node: Node, v: Value) -> bool:
        """Let the readers of ``node`` read ``v``; whether that can be."""
        out = node.outputs[0]
        if node.after or v.kind == VARIABLE or len(node.outputs) > 1:
            return False
        if v.dims != out.dims or v.dtype is not out.dtype:
            return False
        self.subst[out] = v
        self.gone = True
        return True

    def turn(
        self,
        node: Node,
        type: str,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
    ) -> bool:
        """Let ``node`` compute something else; whether the result has the same shape
        and dtype."""
        opdef, attrs = lookup(type), attrs or {}
        if not _gives(opdef, inputs, attrs, node.outputs):
            return False
        node.opdef, node.inputs, node.attrs = opdef, list(inputs), attrs
        self.program.types.add(type)
        return True

    def add(
        self,
        node: Node,
        type: str,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
    ) -> Value:
        """The output of a new node before ``node``, on behalf of its operation; a
        constant where all inputs are."""
        opdef, attrs = lookup(type), attrs or {}
        new = Node(node.op, opdef, attrs, list(inputs), [])
        tensor = node.outputs[0].tensor if node.outputs else None
        specs = opdef.infer(new.inputs, attrs)
        new.outputs = tuple(
            Value(NODE, dtype, dims, tensor, new, i)
            for i, (dtype, dims) in enumerate(specs)
        )
        known = computed(new)
        if known is not None:
            return constant_value(known[0], new.outputs[0])
        self.kept.append(new)
        self.program.types.add(type)
        return new.outputs[0]


def rewrite_with(program: Program, rules: Mapping[str, Rule]) -> int:
    """Walk over ``program`` with ``rules``, if any could apply."""
    if program.types.isdisjoint(rules):
        return 0
    return Walk(program, Budget(len(program.nodes))).run(rules)


def constant(array: Any, like: Value) -> Value:
    """A constant, on behalf of the tensor of ``like``."""
    array = np.asarray(array)
    array.flags.writeable = False
    made = constant_value(array, like)
    made.dtype = as_dtype(array.dtype)
    made.size = array.nbytes
    return made


def is_real(v: Value) -> bool:
    """Whether it has real numbers, integers included."""
    return 1 <= v.dtype.kind <= 2


def _gives(
    opdef: Any, inputs: Sequence[Value], attrs: Any, outputs: Sequence[Value]
) -> bool:
    try:
        specs = opdef.infer(list(inputs), attrs)
    except DagradError:
        return False
    return len(specs) == len(outputs) and all(
        dtype is v.dtype and dims == v.dims for (dtype, dims), v in zip(specs, outputs)
    )


def _number_in(array: Any) -> tuple[Any, int]:
    """The number that an array is full of (None: it is not), and its rank."""
    if array.dtype.kind not in "fiu" or not array.size:
        return None, array.ndim
    first = array.flat[0]
    if any(s and n > 1 for s, n in zip(array.strides, array.shape)):
        if array.nbytes > _SMALL or first not in (0, 1, -1):
            return None, array.ndim
        if not (array == first).all():
            return None, array.ndim
        if first == 0 and array.dtype.kind == "f":
            signs = np.signbit(array)
            if signs.any() != signs.all():
                return None, array.ndim
    return first.item(), array.ndim
