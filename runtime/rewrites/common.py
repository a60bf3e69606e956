"""Common subexpressions: equal pure nodes of equal inputs are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..program import CONST, Node, Program, Value

# Larger arrays are compared by identity: hashing their bytes costs too much.
_SMALL = 1024


def merge_common(program: Program) -> int:
    """Merge equal nodes; returns how many were dropped."""
    subst: dict[Value, Value] = {}
    kept: list[Node] = []
    seen: dict[Any, Node] = {}
    constants: dict[Any, Value] = {}
    for node in program.nodes:
        node.redirect(subst)
        inputs = node.inputs
        for i, v in enumerate(inputs):
            if v.kind == CONST:
                inputs[i] = constants.setdefault(_content(v), v)
        if node.opdef.effect is not None or node.after or not node.outputs:
            kept.append(node)
            continue
        ids: Any = [id(v) for v in inputs]
        if node.opdef.commutative:
            ids.sort()
        key = (node.opdef, tuple(ids), attrs_key(node.attrs))
        first = seen.setdefault(key, node)
        if first is node:
            kept.append(node)
        else:
            for mine, theirs in zip(node.outputs, first.outputs):
                subst[mine] = theirs
    return program.keep(kept, subst)


def _content(v: Value) -> Any:
    array = v.value
    if array.nbytes <= _SMALL and array.dtype.kind != "O":
        return array.dtype, array.shape, array.tobytes()
    return id(array)


def attrs_key(attrs: Mapping[str, Any]) -> Any:
    """A hashable key of attributes; arrays by content if small, else identity."""
    if not attrs:
        return ()
    return tuple((k, _hashable(attrs[k])) for k in attrs)


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.nbytes <= _SMALL and value.dtype.kind != "O":
            return value.dtype, value.shape, value.tobytes()
        return id(value)
    if isinstance(value, (tuple, list)):
        return tuple(_hashable(v) for v in value)
    if isinstance(value, float):
        return value.hex()  # -0.0 is not 0.0, and NaN equals itself
    if isinstance(value, bool):
        return "bool", value
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value
