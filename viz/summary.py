"""A table of what a graph holds: scopes and operations, parameters, flops, bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graphlib.keys import GraphKeys
from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static
from ..graphlib.tensor import Tensor
from .explorer.records import Costs
from .explorer.timeline import known_shapes, plan_of
from .explorer.tree import INITIALIZERS, RUN, Box, build
from .model import select
from .theme import PARTS, bytes_text, short

__all__ = ["summary"]

_HEADS = ("name", "type", "output", "parameters", "flops", "bytes")
_MOST_ROWS = 400
_UNITS = ("", " k", " M", " G", " T")


@dataclass
class _Row:
    """Sums over what one box holds."""

    operations: int = 0
    parameters: int = 0
    flops: int = 0
    nbytes: int = 0
    unknown: bool = False
    output: str = ""

    def add(self, other: _Row) -> None:
        """Count what lies inside too; the output is that of the last."""
        self.operations += other.operations
        self.parameters += other.parameters
        self.flops += other.flops
        self.nbytes += other.nbytes
        self.unknown |= other.unknown
        self.output = other.output or self.output


def summary(
    target: Any,
    report: Any = None,
    *,
    depth: int = 1,
    shapes: Mapping[Tensor, Any] | None = None,
    max_rows: int = _MOST_ROWS,
) -> str:
    """One scope or operation a line, with parameters, flops and bytes, and totals.

    Args:
        target: a graph, or tensors, operations and variables (with all they need).
        report: a plan or a run, for the shapes of its feeds.
        depth: how many levels of scopes to open.
        shapes: what has ``dtype`` and ``dims`` for tensors whose shape is not known.
        max_rows: most lines of the table; the middle is left out beyond it.

    Where a shape is not known, sums say "≥" what is known.  Bytes are those of all
    tensors made; a plan says how many are alive at once.
    """
    graph, ops, asked = select(target)
    plan, _ = plan_of(report)
    tree = build(ops, asked)
    costs = Costs(ops, {**known_shapes(plan), **(shapes or {})})
    noted: dict[Box, list[Operation]] = {}
    for op in ops:
        home = tree.home.get(op)
        if home is not None:
            noted.setdefault(home, []).append(op)
    sums: dict[Box, _Row] = {}
    for box in reversed(tree.boxes):
        row = _own(noted.get(box, ()), costs, box.op)
        if box.op is None or box.op.opdef.control is None:
            for child in box.children:
                row.add(sums[child])
        sums[box] = row
    lines = list(_lines(tree.boxes[0], depth, sums))
    trainable = {
        getattr(v, "op", v) for v in graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
    }
    parts: dict[str, _Row] = {}
    for op in ops:
        parts.setdefault(_part(tree.part[op]), _Row()).add(_own([op], costs))
    return _table(lines, max_rows) + _totals(ops, parts, costs, trainable)


def _part(part: str) -> str:
    """Sources count as forward: they have no flops of their own."""
    return "forward" if part in ("input", "variable", "constant") else part


def _own(ops: Sequence[Operation], costs: Costs, main: Operation | None = None) -> _Row:
    """What operations shown by one box come to: itself (``main``) and what it notes."""
    row = _Row()
    for op in ops:
        row.operations += 1
        if op.opdef.effect == "variable":
            row.parameters += _size(op, costs)
        flops, made = costs.flops(op), costs.made(op)
        row.flops += max(0, flops)
        if op.opdef.effect not in ("variable", "assign", "update"):
            row.nbytes += max(0, made)
        row.unknown |= flops < 0 or made < 0
    if main is not None and main.outputs and main.opdef.effect != "constant":
        row.output = costs.text(main.outputs[0])
    return row


def _size(op: Operation, costs: Costs) -> int:
    dims = costs.spec(op.outputs[0]).dims
    return math.prod(dims) if is_static(dims) else 0


def _lines(root: Box, depth: int, sums: Mapping[Box, _Row]) -> list[tuple[str, ...]]:
    """The cells of each line; runs of siblings are no level of their own."""
    found: list[tuple[str, ...]] = []
    stack = [(child, 0) for child in reversed(root.children)]
    while stack:
        box, level = stack.pop()
        if box.kind == RUN:
            stack += [(child, level) for child in reversed(box.children)]
            continue
        row = sums[box]
        at_least = "≥ " if row.unknown else ""
        kind = box.op.type if box.op is not None else f"{row.operations:,} operations"
        found.append(
            (
                "  " * level + short(box.label, 44),
                short(kind, 28),
                short(row.output, 30),
                f"{row.parameters:,}" if row.parameters else "",
                at_least + _count(row.flops) if row.flops or row.unknown else "",
                at_least + bytes_text(row.nbytes) if row.nbytes or row.unknown else "",
            )
        )
        if box.op is None and level < depth and box.label != INITIALIZERS:
            stack += [(child, level + 1) for child in reversed(box.children)]
    return found


def _count(number: int) -> str:
    """A number for people: ``512``, ``1.25 k``, ``3.4 G``."""
    unit = 0
    value = float(number)
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.3g}{_UNITS[unit]}" if unit else f"{number}"


def _table(lines: Sequence[tuple[str, ...]], max_rows: int) -> str:
    left_out = max(0, len(lines) - max(2, max_rows))
    head = (len(lines) - left_out + 1) // 2
    shown = [*lines[:head], *lines[head + left_out :]] if left_out else list(lines)
    widths = [max(len(row[i]) for row in (_HEADS, *shown)) for i in range(len(_HEADS))]

    def line(cells: Sequence[str]) -> str:
        words = [
            cell.rjust(width) if i > 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))
        ]
        return "  ".join(words).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    out = [line(_HEADS), rule, *map(line, shown)]
    if left_out:
        out.insert(2 + head, f"... {left_out:,} lines left out ...")
    return "\n".join([*out, rule]) + "\n"


def _totals(
    ops: Sequence[Operation],
    parts: Mapping[str, _Row],
    costs: Costs,
    trainable: set[Any],
) -> str:
    variables = [op for op in ops if op.opdef.effect == "variable"]
    held = sum(_size(op, costs) for op in variables)
    learned = sum(_size(op, costs) for op in variables if op in trainable)
    nbytes = bytes_text(sum(max(0, costs.made(op)) for op in variables))
    lines = [
        f"{len(ops):,} operations, {len(variables):,} variables",
        f"parameters: {held:,} ({learned:,} trainable), {nbytes}",
    ]
    if not variables:
        # A frozen graph has its weights in constants.
        numbers = [op for op in ops if op.opdef.effect == "constant"]
        count = sum(_size(op, costs) for op in numbers)
        nbytes = bytes_text(sum(max(0, costs.made(op)) for op in numbers))
        lines[1] = f"no parameters; constants of {count:,} elements, {nbytes}"
    for part, look in PARTS.items():
        row = parts.get(part)
        if row is None or not (row.flops or row.nbytes or row.unknown):
            continue
        at_least = "at least " if row.unknown else ""
        tensors = f", tensors of {at_least}{row.nbytes:,} bytes" if row.nbytes else ""
        lines.append(f"{look.label}: {at_least}{row.flops:,} flops{tensors}")
    return "\n".join(lines) + "\n"
