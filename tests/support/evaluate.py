"""An evaluator that shares no code with the runtime: the oracle of its tests.

``evaluate(tensors, feeds)`` walks the ancestors in order of creation and calls
each kernel once, without ``out``.  Arrays are frozen before a kernel sees them,
so a kernel that writes into its inputs fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dagrad.graphlib.operation import Operation
from dagrad.graphlib.tensor import Tensor

Call = Callable[[Operation, list[Any]], Any]


class Cell:
    """A variable's memory."""

    def __init__(self, array: Any = None) -> None:
        self.array = array

    def assign(self, array: Any) -> None:
        """Copy ``array`` in, in place where shape and dtype allow."""
        mine = self.array
        if mine is None or mine.shape != array.shape or mine.dtype != array.dtype:
            self.array = np.array(array)
        else:
            np.copyto(mine, array)


def kernel_of(op: Operation) -> Callable[..., Any]:
    """``f(*arrays, out=None, ...)`` with the op's attributes bound."""
    kernel = op.opdef.kernel
    attrs = dict(op.attrs)
    if isinstance(kernel, str):
        ufunc = getattr(np, kernel)
        return lambda *arrays, **more: ufunc(*arrays, **more)
    assert kernel is not None, f"{op.type} has no kernel: feed it"
    bound = kernel
    if op.opdef.control is not None:
        return lambda *arrays, **more: bound(np, run_body, *arrays, **attrs, **more)
    return lambda *arrays, **more: bound(np, *arrays, **attrs, **more)


def run_body(body: Any, arrays: list[Any]) -> list[Any]:
    """The outputs of the body of a control operation."""
    feeds = dict(zip(body.inputs, arrays, strict=True))
    outputs = [t for t in body.outputs if t is not None]
    return list(evaluate(outputs, feeds)) if outputs else []


def plain_call(op: Operation, arrays: list[Any]) -> Any:
    """The kernel's result."""
    return kernel_of(op)(*arrays)


def random_call(op: Operation, arrays: list[Any]) -> Any:
    """A random op's result, from a generator that depends on the op's name."""
    key = sum(ord(c) * 31**i for i, c in enumerate(op.name)) % 2**63
    generator = np.random.Generator(np.random.Philox(key))
    return kernel_of(op)(generator, *arrays)


def ancestors(targets: Sequence[Any], fed: Mapping[Tensor, Any]) -> list[Operation]:
    """The operations that ``targets`` need, in order of creation."""
    found: set[Operation] = set()
    stack = [t.op if isinstance(t, Tensor) else t for t in targets if t not in fed]
    while stack:
        op = stack.pop()
        if op in found:
            continue
        found.add(op)
        stack.extend(t.op for t in op.inputs if t not in fed)
        stack.extend(op.control_inputs)
    return sorted(found, key=lambda op: op.id)


def evaluate(
    targets: Any,
    feeds: Mapping[Tensor, Any] | None = None,
    cells: dict[Operation, Cell] | None = None,
    call: Call = plain_call,
) -> Any:
    """The arrays of ``targets`` (a tensor, an operation, or a list of them).

    Args:
        targets: what to compute; an operation gives None.
        feeds: arrays for placeholders or any other tensors.
        cells: the variables' memory, by variable operation; it is changed by
            assignments.
        call: how a pure op's result is computed (to check more on the way).
    """
    single = not isinstance(targets, (list, tuple))
    wanted = [targets] if single else list(targets)
    cells = {} if cells is None else cells
    values: dict[Tensor, Any] = {}
    for t, v in (feeds or {}).items():
        values[t] = frozen(np.asarray(v, dtype=t.dtype.dtype))
    operations = ancestors(wanted, values)
    for op in operations:
        # A variable's tensor is its value before the run's writes.
        if op.opdef.effect == "variable" and op.outputs[0] not in values:
            cell = cells.setdefault(op, Cell())
            if cell.array is not None:
                values[op.outputs[0]] = frozen(cell.array.copy())
    for op in operations:
        if op.opdef.effect == "variable":
            continue
        if op.outputs and all(t in values for t in op.outputs):
            continue
        results = _run(op, values, cells, call)
        if len(op.outputs) == 1 and not isinstance(results, (tuple, list)):
            results = (results,)
        for t, r in zip(op.outputs, results or ()):
            if t not in values:
                values[t] = frozen(np.asarray(r))
    out = [values[t] if isinstance(t, Tensor) else None for t in wanted]
    return out[0] if single else out


def frozen(array: Any) -> Any:
    """A read-only view of ``array``."""
    view = array.view()
    view.setflags(write=False)
    return view


def variable_of(t: Tensor) -> Operation | None:
    """The variable whose memory ``t`` is, following aliases."""
    while t.op.opdef.effect != "variable":
        alias = t.op.opdef.alias
        if alias is None:
            return None
        t = t.op.inputs[alias]
    return t.op


def _run(
    op: Operation,
    values: dict[Tensor, Any],
    cells: dict[Operation, Cell],
    call: Call,
) -> Any:
    effect = op.opdef.effect
    arrays: list[Any] = []
    for i, t in enumerate(op.inputs):
        variable = variable_of(t)
        if variable is not None and (
            i in op.opdef.updates or (effect in ("assign", "probe") and i == 0)
        ):
            cell = cells.setdefault(variable, Cell())
            arrays.append(cell if effect in ("assign", "probe") else cell.array)
        elif variable is t.op and variable is not None and op.control_inputs:
            # A read that waits for a write sees it.
            arrays.append(frozen(cells[variable].array.copy()))
        else:
            arrays.append(values[t])
    if effect in ("assign", "update"):
        result = kernel_of(op)(*arrays)
        return None if result is None else np.array(result)
    if effect == "random":
        return random_call(op, arrays)
    if effect is None:
        return call(op, arrays)
    return plain_call(op, arrays)
