"""What is known of an operation without running it, as text and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..graphlib.export import summary
from ..graphlib.operation import Operation
from .bodies import body_facts
from .theme import bytes_text, clean, count_text, short, spec_text

__all__ = ["constant_text", "flops_of", "output_bytes", "place_text", "tooltip"]


def output_bytes(op: Operation, specs: Sequence[Any] | None = None) -> int | None:
    """Bytes of what ``op`` makes; None where a dimension is unknown.

    ``specs`` are what is known of the outputs, if that is more than the graph knows.
    """
    total = 0
    for t in specs if specs is not None else op.outputs:
        if t.dims is None or None in t.dims or t.dtype.size is None:
            return None
        total += math.prod(t.dims) * t.dtype.size
    return total


def flops_of(
    op: Operation,
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
) -> int | None:
    """Floating-point operations of ``op``; None where they depend on unknown sizes,
    or nobody knows what ``op`` does.

    ``inputs`` and ``outputs`` are what is known of the tensors, if that is more than
    the graph knows.
    """
    ins = op.inputs if inputs is None else inputs
    outs = op.outputs if outputs is None else outputs
    if op.opdef.effect in ("input", "constant", "variable", "default"):
        return 0
    if op.opdef.effect == "opaque":
        return None
    if any(t.dims is None or None in t.dims for t in (*ins, *outs)):
        return None
    if op.opdef.flops is None:
        return sum(math.prod(t.dims or ()) for t in outs)
    return int(op.opdef.flops(ins, outs, op.attrs))


def place_text(op: Operation) -> str:
    """``user.py:12``: where the program made ``op``; empty where nobody knows.

    Without folders: a picture of the same graph is the same on every machine.
    """
    where = op.source
    if where is None:
        return ""
    name = str(where.filename).replace("\\", "/").rpartition("/")[2]
    return clean(f"{name}:{where.lineno}")


def tooltip(op: Operation) -> str:
    """Everything that a label has no room for, one fact a line."""
    lines = [f"{op.type} {clean(op.name[:2000])}"]
    for t in op.outputs[:8]:
        lines.append(f"output {t.index}: {spec_text(t.dtype.name, t.dims)}")
    if len(op.outputs) > 8:
        lines.append(f"and {len(op.outputs) - 8} more outputs")
    lines += _costs(op)
    facts = body_facts(op)
    lines += facts
    for name, value in sorted(op.attrs.items()) if not facts else ():
        lines.append(f"{clean(name)} = {short(summary(value, 400), 120)}")
    if op.device:
        lines.append(f"device {clean(op.device[:200])}")
    if op.forward_op is not None:
        forward = op.forward_op
        lines.append(
            f"gradient of {clean(forward.name[:2000])} "
            f"({place_text(forward) or 'unknown place'})"
        )
    if op.source is not None:
        lines.append(place_text(op))
    return "\n".join(lines)


def _costs(op: Operation) -> list[str]:
    """Bytes and flops on one line; nothing where there are neither."""
    said = []
    size = output_bytes(op)
    if op.outputs and size is None:
        said.append("bytes depend on sizes that are not known")
    elif size:
        said.append(bytes_text(size))
    work = flops_of(op)
    if work:
        said.append(f"{count_text(work)} flops")
    return [", ".join(said)] if said else []


def constant_text(op: Operation) -> str:
    """A constant on one line: its value where it is small."""
    value = op.attrs.get("value")
    t = op.outputs[0]
    if value is None or value.size > 4 or value.dtype.kind == "O":
        return spec_text(t.dtype.name, t.dims)
    if value.dtype.kind in "fc" and value.size == 1:
        return f"{value.reshape(-1)[0]:.6g}"
    return short(summary(value), 24)
