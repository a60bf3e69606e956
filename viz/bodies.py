"""What pictures say of the bodies of loops, branches and functions."""

from __future__ import annotations

from collections import Counter

from ..graphlib.operation import Operation
from ..graphlib.subgraph import Body, bodies_of
from .theme import clean, short

__all__ = ["body_facts", "body_note"]

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
