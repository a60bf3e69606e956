"""Give matrix products operands that BLAS can read.

A broadcast view repeats memory by strides of zero, which BLAS does not take: the
product would copy it inside every run, beside the plan.  Here the copy becomes a
node of its own, in planned memory, and products of one operand share it.
"""

from __future__ import annotations

from ..program import CONST, COPY, NODE, Node, Program, Value


def plan_copies(program: Program) -> int:
    """Insert copies of broadcast operands; returns how many."""
    copies: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        for i in node.opdef.blas:
            v = node.inputs[i]
            if v not in copies:
                if not _is_broadcast(v):
                    continue
                op = node.op if v.tensor is None else v.tensor.op
                copy = Node(op, COPY, {}, [v], [])
                copy.outputs = (Value(NODE, v.dtype, v.dims, v.tensor, copy),)
                copies[v] = copy.outputs[0]
                program.notes.add("operand copied for BLAS", node.op)
                nodes.append(copy)
            node.inputs[i] = copies[v]
        nodes.append(node)
    program.nodes = nodes
    return len(copies)


def _is_broadcast(v: Value) -> bool:
    """Whether some view on the way to ``v`` is larger than what it is a view of."""
    while v.static and v.node is not None and v.node.opdef.alias is not None:
        source = v.node.inputs[v.node.opdef.alias]
        if not source.static:
            return False
        if v.nbytes > source.nbytes:
            return True
        v = source
    # A folded view is a constant that keeps its strides.
    return v.kind == CONST and v.nbytes > 0 and 0 in v.value.strides
