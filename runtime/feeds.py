"""Feeds: which tensors a run replaces, and by which arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, convert_exactly
from ..graphlib.errors import DagradError, DTypeError, FeedError, FeedTypeError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation
from ..graphlib.shapes import compatible, text
from ..graphlib.tensor import Tensor

__all__ = ["check_shape", "convert", "expand", "feed_key", "missing_feeds"]


def feed_key(graph: Graph, key: Any) -> Tensor:
    """The tensor that a feed key names.

    Raises:
        FeedError: it is no tensor of this graph, or may not be fed.
    """
    try:
        element = graph.as_graph_element(key, allow_operation=False)
    except (DagradError, TypeError) as error:
        raise FeedTypeError(f"cannot use {key!r} as a feed key: {error}") from None
    assert isinstance(element, Tensor)
    if not graph.is_feedable(element):
        why = ""
        if element.op.opdef.effect == "constant":
            why = ": the body of a loop or branch holds its value; use a placeholder"
        raise FeedError(f"{element!r} may not be fed{why}")
    return element


def expand(feed_dict: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """(key, value) pairs; keys that are tuples, lists or dataclasses of tensors
    are fed part by part.

    Raises:
        FeedError: a nested key and its value differ in length.
    """
    pairs = []
    stack = list(reversed(list(feed_dict.items())))
    while stack:
        key, value = stack.pop()
        if isinstance(key, (tuple, list)):
            try:
                values = list(value)
            except TypeError:
                raise FeedError(
                    f"the feed key {key!r} has {len(key)} parts, its value "
                    f"{value!r} none"
                ) from None
            if len(key) != len(values):
                raise FeedError(
                    f"the feed key {key!r} has {len(key)} parts, its value "
                    f"{len(values)}"
                )
            stack.extend(reversed(list(zip(key, values))))
        elif hasattr(type(key), "__dataclass_fields__"):
            from dataclasses import fields  # whoever has one has loaded it

            names = [f.name for f in fields(key)]
            parts = [(getattr(key, n), getattr(value, n)) for n in names]
            stack.extend(reversed(parts))
        else:
            pairs.append((key, value))
    return pairs


def convert(tensor: Tensor, value: Any) -> np.ndarray[Any, Any]:
    """``value`` as an array of the dtype of ``tensor``.

    Converts between dtypes where only float precision can be lost.

    Raises:
        FeedError: a tensor as value, or a dtype that loses information.
    """
    dtype = tensor.dtype
    if (
        type(value) is not np.ndarray
        or value.dtype != dtype.dtype
        or value.dtype.kind == "O"
    ):
        value = _as_array(tensor, value, dtype)
    return value  # type: ignore[no-any-return]


def check_shape(tensor: Tensor, value: np.ndarray[Any, Any]) -> None:
    """Raise FeedError unless the shape of ``value`` fits the static one."""
    if tensor.dims is not None and not compatible(tensor.dims, value.shape):
        raise FeedError(
            f"cannot feed an array of shape {text(value.shape)} for "
            f"{tensor.op.describe()} of shape {text(tensor.dims)}, "
            f"{tensor.op.defined_at()}",
            tensor.op,
        )


def _as_array(tensor: Tensor, value: Any, dtype: DType) -> Any:
    if isinstance(value, (Tensor, Operation)) or hasattr(value, "_as_tensor"):
        raise FeedTypeError(
            f"cannot feed {value!r} for {tensor.op.describe()}: a feed must be an "
            "array or number; session.run(tensor) gives a tensor's value",
            tensor.op,
        )
    target = dtype.dtype
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise _refused(tensor, value, str(error)) from None
    if target.kind == "O":
        return _strings(tensor, value, array)
    if array.dtype == target:
        return array
    if target.kind == "b" and array.dtype.kind in "iuf":
        if not bool(np.all((array == 0) | (array == 1))):
            raise _refused(tensor, value, "only 0 and 1 are booleans")
        return array.astype(target)
    try:
        return convert_exactly(array, dtype)
    except DTypeError as error:
        raise _refused(tensor, value, str(error)) from None


def _strings(tensor: Tensor, value: Any, array: Any) -> Any:
    if array.dtype.kind not in "SUO":
        raise _refused(tensor, value, f"it has dtype {array.dtype}")
    out = np.empty(array.shape, dtype=object)
    flat = [v.encode() if isinstance(v, str) else v for v in array.reshape(-1).tolist()]
    if not all(isinstance(v, bytes) for v in flat):
        raise _refused(tensor, value, "it holds something else than strings")
    out.reshape(-1)[:] = flat
    return out


def _refused(tensor: Tensor, value: Any, why: str) -> FeedError:
    shown = np.array2string(value, threshold=6) if isinstance(value, np.ndarray) else ""
    shown = (shown or repr(value))[:80]
    return FeedError(
        f"cannot feed {shown} for {tensor.op.describe()} of dtype "
        f"{tensor.dtype.name}: {why} ({tensor.op.defined_at()})",
        tensor.op,
    )


def missing_feeds(
    operations: Iterable[Operation],
    feeds: Iterable[Tensor],
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
) -> FeedError | None:
    """The error that names every placeholder that is needed and not fed."""
    fed = set(feeds)
    missing = [
        op
        for op in operations
        if op.opdef.effect == "input" and op.outputs[0] not in fed
    ]
    if not missing:
        return None
    wanted = [(t.op, t.name) for t in fetches] + [(op, op.name) for op in targets]
    lines = []
    for op in missing:
        t = op.outputs[0]
        needs = next((n for o, n in wanted if _reaches(o, op, fed)), "")
        line = (
            f'  placeholder "{op.name}" {t.dtype.name}{text(t.dims)}, {op.defined_at()}'
        )
        lines.append(line + (f", needed by the fetch {needs!r}" if needs else ""))
        twin = next((f for f in fed if f.op.source == op.source), None)
        if twin is not None:
            lines.append(
                f'    you fed "{twin.op.name}", made by the same line earlier or '
                "later: is it a stale twin?"
            )
    count = len(missing)
    what = "a value" if count == 1 else f"values for {count} placeholders"
    return FeedError(
        f"you must feed {what}:\n" + "\n".join(lines),
        missing[0],
    )


def _reaches(start: Operation, goal: Operation, fed: set[Tensor]) -> bool:
    seen: set[Operation] = set()
    stack = [start]
    while stack:
        op = stack.pop()
        if op is goal:
            return True
        if op in seen or op.id < goal.id:
            continue
        seen.add(op)
        stack.extend(t.op for t in op.inputs if t not in fed)
        stack.extend(op.control_inputs)
    return False
