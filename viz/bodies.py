"""What pictures say of the bodies of loops, branches and functions."""

from __future__ import annotations

from collections import Counter

from ..graphlib.operation import Operation
from ..graphlib.subgraph import Body, bodies_of
from ..graphlib.tensor import Tensor
from .theme import clean, short

__all__ = ["body_facts", "body_note", "entries", "exits", "rounds"]

_MOST_TYPES = 6


def body_note(op: Operation) -> str | None:
    """One line for the label of an operation that runs bodies (None for others)."""
    bodies = bodies_of(op)
    if not bodies:
        return None
    sizes = ", ".join(str(len(b.operations())) for b in bodies)
    if op.opdef.control != "loop":
        if len(bodies) == 1:
            return f"body of {sizes} operations"
        return f"branches of {sizes} operations"
    attrs = op.attrs
    parts = []
    if attrs["carries"]:
        parts.append(f"{attrs['carries']} carried")
    if attrs["scanned"]:
        parts.append(f"{attrs['scanned']} scanned")
    count = op.outputs[0].value
    times = "" if count is None else f", {int(count)} times"
    return f"{' and '.join(parts) or 'nothing carried'}, body of {sizes}{times}"


def body_facts(op: Operation) -> list[str]:
    """Lines for the tooltip of such an operation: each body and what it is made of."""
    return [_facts(i, body) for i, body in enumerate(bodies_of(op))]


def _facts(number: int, body: Body) -> str:
    ops = body.operations()
    types = Counter(o.type for o in ops if not o.type.startswith("Body"))
    shown = ", ".join(f"{n} {t}" for t, n in types.most_common(_MOST_TYPES))
    if len(types) > _MOST_TYPES:
        shown += f" and {len(types) - _MOST_TYPES} more types"
    of = short(clean(body.graph.what), 80)
    return (
        f"body {number}, {of}: {len(body.inputs)} inputs, {len(body.outputs)} outputs, "
        f"{len(ops)} operations: {shown or 'none'}"
    )


# -- how a body hangs in what is around it ----------------------------------------


def entries(op: Operation, number: int) -> list[tuple[int, Tensor]]:
    """(index of an input of ``op``, the input of body ``number`` that gets it)."""
    body = bodies_of(op)[number]
    if "wires" in op.attrs:
        return list(zip(op.attrs["wires"][number], body.inputs))
    return list(enumerate(body.inputs, len(op.inputs) - len(body.inputs)))


def rounds(op: Operation, index: int) -> bool:
    """Whether the body gets another value for that input in every round of a loop."""
    if op.opdef.control != "loop":
        return False
    first = len(op.inputs) - len(bodies_of(op)[0].inputs)
    count: int = op.attrs["carries"] + op.attrs["scanned"]
    return 0 <= index - first < count


def exits(op: Operation) -> list[tuple[Tensor, Tensor]]:
    """Of a loop: (input of the body, what it is in the next round)."""
    if op.opdef.control != "loop":
        return []
    body = bodies_of(op)[0]
    return list(zip(body.inputs[: op.attrs["carries"]], body.outputs))
