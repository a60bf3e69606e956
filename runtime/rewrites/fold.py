"""Constant folding: a node whose inputs are all known is computed once.

Precondition: none.
Postcondition: every value is the same to the bit.  Ones and zeros of the shape of
something, as the gradient of a y begins with, do not wait for it where the shape is
known: they are constants, or a fill that other passes see through.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graphlib.dtypes import as_dtype
from ...graphlib.opdef import lookup
from ..program import CONST, Node, Program, Value, constant_value

# A folded result lives as long as the plan: keep only what is small, or no
# larger than the constants that it was made of.
_SMALL = 64 * 1024

_LIKE = {"OnesLike": 1, "ZerosLike": 0}


def fold_constants(program: Program) -> int:
    """Replace computable nodes by constants; returns how many were replaced."""
    subst: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in program.nodes:
        node.redirect(subst)
        if node.opdef.type in _LIKE and node.outputs[0].static:
            _fill(node)
            program.types.add("Fill")
            program.notes.add("ones or zeros of a known shape", node.op)
        results = computed(node)
        if results is None:
            kept.append(node)
            continue
        program.notes.add("removed", node.op)
        for v, array in zip(node.outputs, results):
            subst[v] = constant_value(array, v)
    return program.keep(kept, subst)


def _fill(node: Node) -> None:
    """Let ones or zeros like an operand do without it."""
    out = node.outputs[0]
    sizes = np.array(out.dims, np.int32)
    number = np.array(_LIKE[node.opdef.type], out.dtype.dtype)
    node.opdef, node.attrs = lookup("Fill"), {}
    node.inputs = [_constant(sizes, out), _constant(number, out)]


def _constant(array: Any, like: Value) -> Value:
    array.flags.writeable = False
    return Value(CONST, as_dtype(array.dtype), array.shape, like.tensor, value=array)


def computed(node: Node) -> list[Any] | None:
    """The outputs of ``node`` if they are known before the run, else None."""
    opdef = node.opdef
    if opdef.effect is not None or node.after or not node.outputs:
        return None
    if opdef.control is not None:
        return None
    if len(node.outputs) == 1:
        value = node.outputs[0].value
        if isinstance(value, np.ndarray) and value.shape == node.outputs[0].dims:
            return [value]
    size = 0
    for v in node.inputs:
        if v.kind != CONST:
            return None
        size += v.nbytes
    if not node.inputs:
        return None
    limit = max(_SMALL, size)
    if opdef.alias is None and any(
        not v.static or v.nbytes > limit for v in node.outputs
    ):
        return None
    arrays = [v.value for v in node.inputs]
    kernel = opdef.kernel
    try:
        with np.errstate(all="ignore"):
            if isinstance(kernel, str):
                result = getattr(np, kernel)(*arrays)
            elif kernel is not None:
                result = kernel(np, *arrays, **node.attrs)
            else:
                return None
    except Exception:
        # The run will compute it and report the error with the user's lines.
        return None
    results = result if isinstance(result, tuple) else (result,)
    out = []
    for r, v in zip(results, node.outputs):
        array = np.asarray(r, dtype=v.dtype.dtype)
        if array.flags.writeable:
            array = array.view()  # as ``constant`` does
            array.setflags(write=False)
        out.append(array)
    return out
