"""What can be told of a node whose op type dagrad does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.dtypes import DType, bool_, int32
from ..graphlib.errors import DagradError
from ..graphlib.opaque import UNKNOWN
from ..graphlib.shapes import Dims, text
from .nodes import Input
from .table import CONTROL_FLOW
from .values import dims_of, dtype_of, plain

__all__ = ["facts_of", "outputs_of"]

#: Attributes that say the dtype of every output, and those that list one for each.
_ONE = ("dtype", "out_type", "output_type", "DstT")
_EACH = ("Tout", "output_types", "out_types", "component_types", "dtypes")
_MOST_OUTPUTS = 1000


def outputs_of(node_def: Any, used: set[int]) -> list[tuple[DType, Dims]]:
    """Dtype and shape of each output, as far as the node says them.

    There are as many as the node has shapes or dtypes for, or as are read.
    """
    shapes = _shapes(node_def)
    dtypes = _flow(node_def) or _listed(node_def)
    count = max(len(shapes), len(dtypes), max(used, default=-1) + 1)
    common = _common(node_def)
    return [
        (
            dtypes[i] if i < len(dtypes) else common,
            shapes[i] if i < len(shapes) else None,
        )
        for i in range(min(count, _MOST_OUTPUTS))
    ]


def _shapes(node_def: Any) -> list[Dims]:
    """The shapes that TensorFlow noted, of ``add_shapes=True``."""
    if "_output_shapes" not in node_def.attr:
        return []
    found: list[Dims] = []
    for shape in node_def.attr["_output_shapes"].list.shape:
        try:
            found.append(dims_of(shape))
        except DagradError:
            found.append(None)  # only shown, and then as not known
    return found


def _known(number: int) -> DType:
    try:
        return dtype_of(number)
    except DagradError:
        return UNKNOWN


def _flow(node_def: Any) -> list[DType]:
    """Of what hands a value on, round by round or to one of two sides."""
    if node_def.op not in CONTROL_FLOW:
        return []
    if node_def.op == "LoopCond":
        return [bool_]
    own = _known(node_def.attr["T"].type)
    return {"Merge": [own, int32], "Switch": [own, own]}.get(
        node_def.op.removeprefix("Ref"), [own]
    )


def _listed(node_def: Any) -> list[DType]:
    for name in _EACH:
        if name in node_def.attr:
            return [_known(n) for n in node_def.attr[name].list.type]
    return []


def _common(node_def: Any) -> DType:
    for name in _ONE:
        if name in node_def.attr and node_def.attr[name].type:
            return _known(node_def.attr[name].type)
    return UNKNOWN


def facts_of(node_def: Any, back: Sequence[Input], problem: str) -> dict[str, Any]:
    """The attributes of a node, to be shown, and why it is not built."""
    facts = {
        name: _shown(value)
        for name, value in node_def.attr.items()
        if name != "_output_shapes"
    }
    if back:
        facts["next round from"] = ", ".join(map(str, back))
    facts["not built"] = problem
    return facts


def _shown(value: Any) -> Any:
    """An attribute as text: arrays by their shape, functions by their name."""
    kind = value.WhichOneof("value")
    if kind == "tensor":
        shape = ",".join(str(d.size) for d in value.tensor.tensor_shape.dim)
        return f"{_known(value.tensor.dtype).name}[{shape}]"
    if kind == "func":
        return value.func.name
    try:
        found = plain(value)
    except DagradError as error:
        return str(error)
    if kind == "shape":
        return text(found)
    if isinstance(found, list):
        return [v.name if isinstance(v, DType) else str(v) for v in found]
    return found
