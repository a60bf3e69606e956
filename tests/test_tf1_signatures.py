"""Public names take TF1's parameters: same places, same keywords, same defaults.

``fixtures/make_tf1_signatures.py`` froze TensorFlow's own.
"""

from __future__ import annotations

import enum
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import dagrad

FROZEN: dict[str, list[Any]] = json.loads(
    (Path(__file__).parent / "fixtures" / "tf1_signatures.json").read_text("utf-8")
)

# Parameters that TensorFlow 2 added to TF1's functions.
LATER = {
    "*": {"skip_gradients_aggregation", "use_own_namescope_for_non_slot_vars"},
    "fill": {"layout"},
    "gather_nd": {"bad_indices_policy"},
    "lin_space": {"axis"},
    "linalg.diag": {"align"},
    "linalg.diag_part": {"align"},
    "linalg.matmul": {"output_type", "grad_a", "grad_b"},
    "linalg.set_diag": {"align"},
    "linspace": {"axis"},
    "math.top_k": {"index_type"},
    "matmul": {"output_type", "grad_a", "grad_b"},
    "matrix_diag": {"align"},
    "matrix_diag_part": {"align"},
    "matrix_set_diag": {"align"},
    "nn.fused_batch_norm": {"exponential_avg_factor"},
    "nn.silu": {"beta"},
    "nn.swish": {"beta"},
    "nn.top_k": {"index_type"},
    "ones": {"layout"},
    "scatter_nd": {"bad_indices_policy"},
    "tensor_scatter_add": {"bad_indices_policy"},
    "tensor_scatter_sub": {"bad_indices_policy"},
    "tensor_scatter_update": {"bad_indices_policy"},
    "train.FtrlOptimizer": {"beta"},
    "zeros": {"layout"},
}
# What differs on purpose, and why.
ONES = "None stands for ones along every axis, whatever the rank"
SENTINEL = "TF1 itself had a first parameter _sentinel, which TF2 dropped"
INT32 = "TF1's default; TF2 writes None for it"
EXCEPTIONS = {
    "DType": "as_dtype finds the one instance of each dtype",
    "Graph.create_op": "takes dagrad's definition of the op, as ops are its own",
    "IndexedSlices": "knows the tensor it is a gradient of, not a dense shape",
    "OpError": "takes TF1's order and also (message, op)",
    "get_variable": "synchronization and aggregation None are AUTO and NONE",
    "nn.conv2d": ONES,
    "nn.conv2d_backprop_filter": ONES,
    "nn.conv2d_backprop_input": ONES,
    "nn.conv3d": ONES,
    "nn.conv3d_backprop_filter": ONES,
    "nn.depthwise_conv2d_native": ONES,
    "nn.depthwise_conv2d_native_backprop_filter": ONES,
    "nn.depthwise_conv2d_native_backprop_input": ONES,
    "nn.sigmoid_cross_entropy_with_logits": SENTINEL,
    "nn.softmax_cross_entropy_with_logits": SENTINEL,
    "nn.sparse_softmax_cross_entropy_with_logits": SENTINEL,
    "shape": INT32,
    "size": INT32,
}
PREFIXES = {
    "errors.": "as OpError",
    "flags.DEFINE_": "TF1's were wrappers of absl's, whose own extras are left out",
}


def plain(value: Any) -> Any:
    """A default as the frozen file writes it."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dagrad.DType):
        return f"tf.{value.name}"
    return f"<{type(value).__name__}>"


def deviations(name: str) -> list[str]:
    """What a program that calls ``name`` as in TF1 would notice."""
    ours: Any = dagrad
    for part in name.split("."):
        ours = getattr(ours, part)
    parameters = list(inspect.signature(ours).parameters.values())
    places = [p for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    by_name = {p.name: p for p in parameters if p.kind != p.POSITIONAL_ONLY}
    kinds = {p.kind for p in parameters}
    later = LATER["*"] | LATER.get(name, set())
    found = []
    for i, row in enumerate(FROZEN[name]):
        word, *default = row if isinstance(row, list) else (row,)
        if word == "self" or word.startswith("*") or word in later:
            continue
        if word not in by_name:
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                found.append(f"{word}: missing")
            continue
        if i < len(places) and places[i].name != word:
            found.append(f"{word}: {places[i].name} stands at its place {i}")
        p = by_name[word]
        mine = [] if p.default is p.empty else [plain(p.default)]
        if mine != default and default:  # a default for what TF1 requires is no harm
            found.append(f"{word}: default {mine}, not {default}")
    return found


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_signature_is_tf1s(name: str) -> None:
    """Each TF1 parameter is taken at its place, under its name, by its default."""
    found = deviations(name)
    if name in EXCEPTIONS:
        assert found, "no longer an exception"
    elif not name.startswith(tuple(PREFIXES)):
        assert found == []


def test_errors_take_tf1s_order() -> None:
    """OpError(node_def, op, message, code), as programs raise them."""
    op = dagrad.no_op()
    error = dagrad.errors.OutOfRangeError(None, op, "done")
    assert (error.message, error.op) == ("done", op)
