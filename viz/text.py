"""A graph as a plain table, for terminals and for diffs."""

from __future__ import annotations

from typing import Any

from .parts import classify
from .targets import select
from .theme import clean, short, spec_text

__all__ = ["table"]

_HEADS = ("id", "name", "type", "part", "outputs", "inputs", "source")


def table(target: Any, max_rows: int = 200, width: int = 32) -> str:
    """One operation a line: id, name, type, part, outputs, inputs, source.

    Args:
        target: a graph, or tensors, operations and variables (with all they need).
        max_rows: most lines; the middle is left out beyond it, and said so.
        width: most characters of a column.
    """
    graph, ops, _ = select(target)
    part = classify(graph, ops)
    shown = ops
    left_out = max(0, len(ops) - max(2, max_rows))
    head = (len(ops) - left_out + 1) // 2
    if left_out:
        shown = [*ops[:head], *ops[head + left_out :]]
    rows: list[tuple[str, ...]] = [_HEADS]
    for op in shown:
        names = [t.name for t in op.inputs] + [f"^{c.name}" for c in op.control_inputs]
        specs = [spec_text(t.dtype.name, t.dims) for t in op.outputs]
        cells = (
            op.name,
            op.type,
            part[op],
            ", ".join(specs[:8]),
            ", ".join(names[:8]),
        )
        source = op.source
        where = "" if source is None else clean(str(source)).replace("\\", "/")
        place = where.rpartition("/")[2]
        rows.append((str(op.id), *(short(c, width) for c in cells), place))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADS))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    if left_out:
        lines.insert(2 + head, f"... {left_out:,} operations left out ...")
    return "\n".join(lines) + "\n"
