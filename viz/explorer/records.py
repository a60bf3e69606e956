"""What the explorer says of each operation, as columns of plain numbers and text."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from ...graphlib.errors import DagradError
from ...graphlib.export import summary
from ...graphlib.known import known_value
from ...graphlib.opdef import Spec
from ...graphlib.operation import Operation
from ...graphlib.shapes import is_static
from ...graphlib.source import Source
from ...graphlib.subgraph import Body, bodies_of
from ...graphlib.tensor import Tensor
from ..bodies import body_facts
from ..theme import clean, short, spec_text
from .tree import stands_for

__all__ = ["Costs", "Pool", "gradient_marks", "op_columns", "stats_of"]

# How far a gradient goes: see gradient_marks.
NO_GRADIENT, FLOWS, CUT, IS_GRADIENT = range(4)

# Operations whose gradient is often the very tensor that comes back.
_HANDED_ON = ("Add", "AddN", "Identity", "IdentityN")

_MOST_TEXT = 300
# What JavaScript's numbers hold exactly.
_MOST_NUMBER = 2**53 - 1


class Pool:
    """Values that occur often, once each, by number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._place: dict[Hashable, int] = {}

    def add(self, value: Any) -> int:
        """The number of ``value``, which a file can hold and a dict can find."""
        found = self._place.get(value)
        if found is None:
            found = self._place[value] = len(self.values)
            self.values.append(value)
        return found


class Costs:
    """Shapes, bytes and flops, for the graph or for given shapes of feeds.

    Args:
        ops: the operations in order.
        known: shapes that a run has, by tensor: those of feeds do.
    """

    def __init__(
        self, ops: Sequence[Operation], known: Mapping[Tensor, Any] | None = None
    ) -> None:
        self._known: dict[Tensor, Any] = dict(known or {})
        self._texts: dict[Any, str] = {}
        if self._known:
            self._infer(ops)

    def _infer(self, ops: Sequence[Operation]) -> None:
        """Inference once more, from the shapes that are known now."""
        known = self._known
        for op in ops:
            if all(t in known for t in op.outputs):
                continue
            source = stands_for(op)
            if source is not None and source in known:
                known[op.outputs[0]] = known[source]
                continue
            given = [known.get(t, t) for t in op.inputs]
            if all(s is t for s, t in zip(given, op.inputs)):
                continue
            attrs = dict(op.attrs)
            try:
                specs = op.opdef.infer(given, attrs)
                value = None
                if op.outputs and (op.opdef.value is not None or op.opdef.shape_math):
                    value = known_value(op.opdef, given, attrs, specs)
            except DagradError:
                # The run, not the picture, has to say that these shapes do not fit.
                continue
            for i, (t, (dtype, dims)) in enumerate(zip(op.outputs, specs)):
                known.setdefault(t, Spec(dtype, dims, value if i == 0 else None))

    def spec(self, t: Tensor) -> Any:
        """What has the dtype and the dims of ``t``."""
        return self._known.get(t, t)

    def nbytes(self, t: Tensor) -> int:
        """The bytes of ``t``, -1 where not known."""
        spec = self.spec(t)
        if not is_static(spec.dims) or spec.dtype.kind < 0:
            return -1
        size: int = spec.dtype.size * math.prod(spec.dims)
        return min(size, _MOST_NUMBER)

    def text(self, t: Tensor) -> str:
        """``float32[?,784]``."""
        spec = self.spec(t)
        key = spec.dtype.name, spec.dims
        found = self._texts.get(key)
        if found is None:
            found = self._texts[key] = spec_text(*key)
        return found

    def made(self, op: Operation) -> int:
        """The bytes that ``op`` makes, -1 where one of them is not known."""
        sizes = [self.nbytes(t) for t in op.outputs]
        return -1 if -1 in sizes else sum(sizes)

    def flops(self, op: Operation) -> int:
        """The arithmetic of ``op``, -1 where a shape or what it does is not known."""
        if op.opdef.effect in ("input", "variable", "constant"):
            return 0
        if op.opdef.effect == "opaque":
            return -1
        specs = [self.spec(t) for t in (*op.inputs, *op.outputs)]
        if not all(is_static(s.dims) for s in specs):
            return -1
        inputs, outputs = specs[: len(op.inputs)], specs[len(op.inputs) :]
        if op.opdef.flops is None:
            count: int = sum(math.prod(s.dims) for s in outputs)
            return min(count, _MOST_NUMBER)
        return min(int(op.opdef.flops(inputs, outputs, op.attrs)), _MOST_NUMBER)


def op_columns(
    ops: Sequence[Operation],
    part: Mapping[Operation, str],
    costs: Costs,
    source_link: str | None,
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Columns of ``ops``, and the pools that their numbers point into."""
    number = {op: i for i, op in enumerate(ops)}
    pools = {name: Pool() for name in ("types", "parts", "specs", "sources", "devices")}
    columns: dict[str, list[Any]] = {
        "name": [_line(op.name) for op in ops],
        "type": [pools["types"].add(_line(op.type)) for op in ops],
        "part": [pools["parts"].add(part[op]) for op in ops],
        "out": [[pools["specs"].add(costs.text(t)) for t in op.outputs] for op in ops],
        "bytes": [costs.made(op) for op in ops],
        "flops": [costs.flops(op) for op in ops],
        "attrs": [_attrs(op) for op in ops],
        "device": [pools["devices"].add(_line(op.device or "")) for op in ops],
        "source": _sources(ops, pools["sources"], source_link),
        "forward": [_number(number, op.forward_op) for op in ops],
    }
    return columns, {name: _plain(pool.values) for name, pool in pools.items()}


def _line(text: str) -> str:
    """``text`` on one line; most names need no change, which is quick to see."""
    return text if text.isprintable() else clean(text)


def _plain(values: list[Any]) -> list[Any]:
    return [list(v) if isinstance(v, tuple) else v for v in values]


def _number(number: Mapping[Operation, int], op: Operation | None) -> int:
    return -1 if op is None else number.get(op, -1)


def _attrs(op: Operation) -> Any:
    """Name and text of each attribute; 0 for none, which is short."""
    if not op.attrs:
        return 0
    found = [
        [_line(name), _brief(summary(value, _MOST_TEXT))]
        for name, value in sorted(op.attrs.items())
        if not isinstance(value, Body) and name not in ("branches", "wires")
    ]
    if bodies_of(op):
        found += [["runs", fact] for fact in body_facts(op)]
    return found or 0


def _brief(text: str) -> str:
    return (
        text
        if len(text) <= _MOST_TEXT and text.isprintable()
        else short(text, _MOST_TEXT)
    )


def _sources(ops: Sequence[Operation], pool: Pool, link: str | None) -> list[int]:
    """For each operation the number of its place; a place is worked out once."""
    known: dict[Any, int] = {}
    found = []
    for op in ops:
        mark = op._mark
        # The operations keep the code, so that no other takes over its id.
        place = mark and (id(mark[0]), *mark[1:])
        number = known.get(place)
        if number is None:
            number = known[place] = pool.add(_source(op.source, link))
        found.append(number)
    return found


def _source(source: Source | None, link: str | None) -> tuple[str, str]:
    """``file:line`` and a link to it, empty where there is none."""
    if source is None:
        return "", ""
    path = source.filename.replace("\\", "/")
    href = ""
    if link is not None and (path.startswith("/") or path[1:3] == ":/"):
        place = quote(path if path.startswith("/") else f"/{path}")
        href = link.replace("{path}", place).replace("{line}", str(source.lineno))
    return clean(str(source)[-_MOST_TEXT:]), href


# -- gradients -----------------------------------------------------------------


def gradient_marks(ops: Iterable[Operation], part: Mapping[Operation, str]) -> Any:
    """For each operation how a gradient goes through it: column ``gradient``.

    0: none asked for; 1: it flows; 2: it is cut here, between an operation that it
    reaches and sources that could have one; 3: part of the gradient itself.
    """
    every = list(ops)
    reached = {op.forward_op for op in every if op.forward_op is not None}
    # What depends on a source that a gradient could be wanted for.
    depends: set[Operation] = set()
    read: set[Operation] = set()
    for op in every:
        if part[op] in ("input", "variable"):
            depends |= {op} if any(t.dtype.is_inexact for t in op.outputs) else set()
        elif any(t.op in depends for t in op.inputs):
            depends.add(op)
        if op.type in _HANDED_ON and any(t.op in reached for t in op.inputs):
            # Its gradient is the gradient that it gets: no operation is made for it.
            reached.add(op)
        if op in reached:
            for t in op.inputs:
                read.add(t.op)
                if t.op in part and _is_read(t.op, part):
                    read.add(t.op.inputs[0].op)
    marks = []
    for op in every:
        if part[op] == "backward":
            marks.append(IS_GRADIENT)
        elif op in reached:
            marks.append(FLOWS)
        elif op in read and op in depends:
            ends = part[op] in ("input", "variable") or _is_read(op, part)
            marks.append(FLOWS if ends else CUT)
        else:
            marks.append(NO_GRADIENT)
    return marks


def _is_read(op: Operation, part: Mapping[Operation, str]) -> bool:
    """Whether ``op`` only hands on a variable."""
    return op.type == "Identity" and part.get(op.inputs[0].op) == "variable"


# -- values --------------------------------------------------------------------


def stats_of(
    values: Mapping[Tensor, Any],
    each: Callable[[Tensor], int],
    counted: Mapping[Tensor, int],
) -> Any:
    """For operations with known values, by number: whether any is not finite, and text.

    Args:
        values: arrays, by tensor.
        each: the number of a tensor's operation, -1 where it is not shown.
        counted: how many numbers of a tensor were not finite in a run.
    """
    found: dict[str, list[Any]] = {}
    for t, bad in counted.items():
        if t not in values and each(t) >= 0:
            entry = found.setdefault(str(each(t)), [0, []])
            if bad:
                entry[0] = 1
                entry[1].append(f"output {t.index}: {bad:,} NaN or infinite")
    for t, value in values.items():
        number = each(t)
        array = np.asarray(value)
        if number < 0 or array.dtype.kind not in "fciub":
            continue
        finite = np.isfinite(array)
        bad = int(array.size - np.count_nonzero(finite))
        good = array[finite] if bad else array.ravel()
        text = f"output {t.index}: "
        if array.dtype.kind == "f" and good.size:
            text += (
                f"min {good.min():.4g}, mean {good.mean(dtype=float):.4g}, "
                f"max {good.max():.4g}"
            )
        else:
            text += f"{array.size:,} values"
        if bad:
            text += f", {bad:,} of {array.size:,} NaN or infinite"
        entry = found.setdefault(str(number), [0, []])
        entry[0] = max(entry[0], int(bad > 0))
        entry[1].append(text)
    return found
