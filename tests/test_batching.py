"""Vectorised graphs against the same graph, run row by row.

The generic test goes through the records of all ops: the op itself, its reverse and
its forward derivative, with each choice of inputs batched, with sizes known and
unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from evaluate import evaluate
from oprecord import Record

import dagrad as dg
from dagrad.graphlib.batching import vectorize
from dagrad.graphlib.dtypes import as_dtype
from dagrad.graphlib.errors import GradientError, ShapeError
from dagrad.graphlib.forward import jvp
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.opdef import registered
from dagrad.graphlib.operators import TABLE
from dagrad.graphlib.tensor import Tensor
from dagrad.ops.core import placeholder

ROWS = 3
_FILES = sorted((Path(__file__).parent / "op_records").glob("*.py"))
#: Ops that run in a loop over the rows when one of their floating inputs is
#: batched, because no op does it for all rows at once.
LOOPED = {
    "Conv1D": "data and filter both batched: no op convolves in groups",
    "Conv3D": "as Conv1D",
    "Conv1DBackpropInput": "as Conv1D",
    "Conv3DBackpropInputV2": "as Conv1D",
    "Conv1DBackpropFilter": "as Conv1D",
    "Conv3DBackpropFilterV2": "as Conv1D",
    "HistogramFixedWidth": "counts, through which no derivative goes",
    "Range": "the size depends on the content",
    "FirstTrue": "rows may take different branches",
    "Case": "as FirstTrue, where the index is batched",
    "PyFuncStateless": "a Python function of one row",
    "SplitRows": "pieces of different lengths",
    "JoinRows": "as SplitRows",
    "Loop": "rows may need different numbers of iterations",
    "Implicit": "a solver of one row",
    "Ensure": "the check is of one row",
    "SetRows": "arrays that grow, and rows that are put where there were none",
}
#: The same for integers and bools: sizes, bounds and paddings that differ from row
#: to row, and labels or masks that tell the size of a result.
LOOPED_BY_INTEGERS = {
    *("Bincount", "Case", "InTopKV2", "MaskIndices", "MirrorPad", "OneHot", "Pad"),
    *("PartitionIndices", "RepeatIndices", "Reshape", "Roll", "ScatterNd"),
    *("SegmentCounts", "SegmentMax", "SegmentMin", "SegmentProd", "SegmentSum"),
    *("SequenceMask", "Slice", "SplitV", "StridedSlice", "Tile", "TopKV2"),
    *("TransposeBy", "SetRows", "SizedRows", "SplitRows", "JoinRows"),
    *("IndexBelow", "Unshaped"),
}
#: Ops whose results have a size of their own in each row, or are strings (of which the
#: simple evaluator here makes no stacks): there is no batch of them.
RAGGED = {"ListDiffPositions", "UniquePositions", "Where"}
RAGGED |= {"HistogramSummary", "ImageSummary", "MergeSummary", "ScalarSummary"}
RAGGED |= {"AudioSummary", "TextSummary"}

_RECORDS = [
    (path.stem, record, dtype)
    for path in _FILES
    for record in opchecks.load(path)
    if not RAGGED & set(record.types)
    for dtype in [_d for _d in ("float64", "complex128") if _d in record.dtypes]
    or record.dtypes[:1]
]

_MODE = {False: "static", True: "dynamic"}


def _unrolled(looped: set[str]) -> Any:
    """A loop over the rows, written out, that notes what needs it."""

    def map_rows(fn: Any, tensors: list[Tensor], uneven: bool) -> list[Tensor]:
        rows = [fn(*(t[i] for t in tensors)) for i in range(ROWS)]
        looped.add(rows[0][0].op.type)
        return [TABLE["stack"](list(parts)) for parts in zip(*rows)]

    return map_rows


@pytest.fixture
def looped(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    types: set[str] = set()
    monkeypatch.setitem(TABLE, "map_rows", _unrolled(types))
    return types


def _rows_of(record: Record, dtype: str) -> list[list[Any]]:
    rng = np.random.default_rng(3)
    return [[a.draw(rng, dtype) for a in record.args] for _ in range(ROWS)]


def _compare(
    ys: list[Tensor], rows: dict[Tensor, list[Any]], chosen: list[Tensor], what: str
) -> None:
    """The vectorised ``ys`` against those of each row."""
    graph = ys[0].graph
    with graph.as_default():
        batched = {
            t: placeholder(t.dtype, None if t.dims is None else (ROWS, *t.dims))
            for t in chosen
        }
    got = vectorize(ys, batched)
    feeds: dict[Tensor, Any] = {t: values[0] for t, values in rows.items()}
    want = [
        evaluate(ys, {**feeds, **{t: rows[t][i] for t in chosen}}) for i in range(ROWS)
    ]
    # The rows themselves are not fed: nothing may read them any more.
    shared = {t: v for t, v in feeds.items() if t not in batched}
    found = evaluate(
        got, {**shared, **{b: np.stack(rows[t]) for t, b in batched.items()}}
    )
    for y, g, parts in zip(ys, found, zip(*want)):
        opchecks.close(g, np.stack(parts), f"{what}: {y.op.describe()}", 1e-8, 1e-10)


def _gradients_agree(
    built: opchecks.Built, rows: dict[Tensor, list[Any]], seeds: list[Tensor]
) -> None:
    """The gradient of the batch is the batch of gradients."""
    with built.graph.as_default():
        batched = {
            t: placeholder(t.dtype, (ROWS, *(t.dims or ())))
            for t in [*built.inputs, *seeds]
            if t.dtype.is_inexact
        }
    pulled = gradients(built.ys, built.xs, seeds)
    want = vectorize([g for g in pulled if g is not None], batched)
    made = vectorize(built.ys, {t: b for t, b in batched.items() if t not in seeds})
    got = gradients(made, [batched[x] for x in built.xs], [batched[s] for s in seeds])
    feeds = {b: np.stack(rows[t]) for t, b in batched.items()}
    feeds |= {t: rows[t][0] for t in built.inputs if t not in batched}
    present = [g for g in got if g is not None]
    for g, w in zip(evaluate(present, feeds), evaluate(want, feeds), strict=True):
        opchecks.close(g, w, "the gradient of the batch", 1e-8, 1e-10)


def _choices(inputs: list[Tensor]) -> list[list[Tensor]]:
    alone = [[t] for t in inputs]
    return alone if len(inputs) < 2 else [*alone, inputs]


def _has_effects(graph: Graph) -> bool:
    effects = {op.opdef.effect for op in graph.get_operations()}
    return bool(effects - {None, "input", "constant"})


@pytest.mark.parametrize(
    ("record", "dtype", "dynamic"),
    [
        pytest.param(
            r, d, dyn, id=f"{f}-{r.label}-{d}-{'dynamic' if dyn else 'static'}"
        )
        for f, r, d in _RECORDS
        for dyn in ((False, True) if r.dynamic else (False,))
    ],
)
def test_rows(record: Record, dtype: str, dynamic: bool, looped: set[str]) -> None:
    with np.errstate(all="ignore"):
        built = opchecks.Built(record, dtype, dynamic)
        if _has_effects(built.graph):
            pytest.skip("draws or variables: see below")
        rows = dict(zip(built.inputs, map(list, zip(*_rows_of(record, dtype)))))
        floats = [t for t in built.inputs if t.dtype.is_inexact]
        for chosen in _choices(floats):
            _compare(built.outputs, rows, chosen, "the op")
        if not (record.order and built.xs and built.ys):
            assert looped <= set(LOOPED)
            return
        rng = np.random.default_rng(5)
        values = evaluate(built.ys, built.feeds)
        with built.graph.as_default():
            seeds = [placeholder(y.dtype, y.dims) for y in built.ys]
            tangents = [placeholder(x.dtype, x.dims) for x in built.xs]
        for t, like in [
            *zip(seeds, values),
            *((t, built.feeds[x]) for t, x in zip(tangents, built.xs)),
        ]:
            rows[t] = [
                np.asarray(rng.normal(size=like.shape), like.dtype) for _ in range(ROWS)
            ]
        if not dynamic:
            _gradients_agree(built, rows, seeds)
        pulled = [g for g in gradients(built.ys, built.xs, seeds) if g is not None]
        pushed = [t for t in jvp(built.ys, built.xs, tangents) if t is not None]
        for ys, more, what in (
            (pulled, seeds, "reverse"),
            (pushed, tangents, "forward"),
        ):
            if ys:
                _compare(ys, rows, more, what)
                _compare(ys, rows, [*more, *floats], f"{what}, everything batched")
    assert looped <= set(LOOPED), f"without a rule: {sorted(looped - set(LOOPED))}"


#: A size of -1 that only the run tells cannot be told beside no rows.
OPEN_SIZE = "Reshape-tensor"


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        pytest.param(r, d, id=f"{f}-{r.label}-{d}")
        for f, r, d in _RECORDS
        if r.label != OPEN_SIZE
    ],
)
def test_no_rows(record: Record, dtype: str) -> None:
    """A batch of no rows gives results of no rows, of the right shape."""
    with np.errstate(all="ignore"):
        built = opchecks.Built(record, dtype, record.dynamic)
        floats = [t for t in built.inputs if t.dtype.is_inexact]
        if _has_effects(built.graph) or not floats or LOOPED.keys() & set(record.types):
            pytest.skip("draws, variables, loops, or nothing to batch")
        ys = list(built.outputs)
        if record.order and built.xs and built.ys:
            ys += [g for g in gradients(built.ys, built.xs) if g is not None]
        one = evaluate(ys, built.feeds)
        with built.graph.as_default():
            rows = {t: placeholder(t.dtype, (None, *(t.dims or ()))) for t in floats}
        feeds = {t: v for t, v in built.feeds.items() if t not in rows}
        feeds |= {b: built.feeds[t][None][:0] for t, b in rows.items()}
        for y, got in zip(one, evaluate(vectorize(ys, rows), feeds), strict=True):
            assert got.shape == (0, *y.shape)


def _has_integers(record: Record, dtype: str) -> bool:
    return any(not as_dtype(a.dtype or dtype).is_inexact for a in record.args)


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        pytest.param(r, d, id=f"{f}-{r.label}-{d}")
        for f, r, d in _RECORDS
        if _has_integers(r, d) and "Range" not in r.types
    ],
)
def test_rows_of_integers(record: Record, dtype: str, looped: set[str]) -> None:
    with np.errstate(all="ignore"):
        built = opchecks.Built(record, dtype, dynamic=False)
        whole = [t for t in built.inputs if not t.dtype.is_inexact]
        if _has_effects(built.graph):
            pytest.skip("draws or variables")
        rows = dict(zip(built.inputs, map(list, zip(*_rows_of(record, dtype)))))
        for chosen in _choices(whole):
            _compare(built.outputs, rows, chosen, "the op")
        _compare(built.outputs, rows, built.inputs, "all inputs batched")
    assert looped <= set(LOOPED) | LOOPED_BY_INTEGERS


def test_ops_without_a_rule() -> None:
    """What is not listed here has one; these have results without a float, or of
    sizes of their own, or are Python's."""
    without = {
        name
        for name, opdef in registered().items()
        if opdef.batch is None and opdef.effect is None
    }
    assert without == {
        *("FirstTrue", "JoinRows", "OfShape", "PyFuncDerivative"),
        *("PyFuncStateless", "SplitRows", "Unshaped"),
        *("Eye", "HistogramFixedWidth", "ListDiffPositions", "NoOp"),
        *("PartitionIndices", "Range", "RepeatIndices", "ReportUninitialized"),
        *("SegmentCounts", "SegmentOrder", "StitchSize", "UniquePositions", "Where"),
        *("HistogramSummary", "ImageSummary", "MergeSummary", "ScalarSummary"),
        *("AudioSummary", "TextSummary"),
    }


def _row_graph() -> tuple[Graph, Tensor, Tensor]:
    graph = Graph()
    with graph.as_default():
        x = placeholder("float64", (2,), name="x")
        batch = placeholder("float64", (ROWS, 2), name="batch")
    return graph, x, batch


def test_what_does_not_depend_on_the_batch_is_shared() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        w = placeholder("float64", (2,), name="w")
        shared = TABLE["neg"](w)
        y = TABLE["mul"](x, shared)
    before = len(graph)
    (got,) = vectorize([y], {x: batch})
    assert [op.type for op in graph.get_operations()[before:]] == ["Mul"]
    assert shared in got.op.inputs
    assert got.dims == (ROWS, 2)


def test_a_result_that_is_the_same_for_all_rows_is_broadcast() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        w = placeholder("float64", (2,))
    (got,) = vectorize([w], {x: batch})
    rows = evaluate(got, {w: [1.0, 2.0], batch: np.zeros((ROWS, 2))})
    assert rows.tolist() == [[1.0, 2.0]] * ROWS


def test_an_effect_is_refused() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        v = dg.Variable(np.zeros(2))
        y = TABLE["add"](dg.assign(v, x), 1.0)
    with pytest.raises(GradientError, match=r"Assign.*effect"):
        vectorize([y], {x: batch})


def test_a_batch_of_another_shape_is_refused() -> None:
    _, x, _ = _row_graph()
    with x.graph.as_default():
        other = placeholder("float64", (ROWS, 5))
    with pytest.raises(ShapeError, match="no batch of rows"):
        vectorize([x], {x: other})


def test_batches_of_different_sizes_are_refused() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        z, other = placeholder("float64", ()), placeholder("float64", (ROWS + 1,))
    with pytest.raises(ShapeError, match="different numbers of rows"):
        vectorize([TABLE["mul"](x, z)], {x: batch, z: other})


def test_operations_keep_the_line_and_the_forward_operation() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        y = dg.tanh(x)
        (g,) = gradients(y, [x])
    assert g is not None
    (got,) = vectorize([g], {x: batch}, name="rows")
    assert got.op.name.startswith("rows/")
    assert got.op.source == g.op.source
    assert got.op.forward_op is g.op.forward_op


def test_rows_draw_apart_only_where_they_depend_on_the_batch() -> None:
    graph = Graph()
    with graph.as_default():
        rate = placeholder("float64", ())
        rates = placeholder("float64", (200,))
        own = dg.random_gamma([3], rate, dtype="float64", seed=1)
        common = dg.random_normal([3], dtype="float64", seed=2) * rate
        got = vectorize([own, common], {rate: rates})
    apart, alike = evaluate(got, {rates: np.full(200, 2.0)})
    assert apart.shape == alike.shape == (200, 3)
    assert len(np.unique(apart)) == 600
    assert len(np.unique(alike)) == 3


def test_deep_chains_are_vectorised_without_recursion() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        y = x
        for _ in range(5000):
            y = TABLE["neg"](y)
    (got,) = vectorize([y], {x: batch})
    rows = np.arange(6.0).reshape(ROWS, 2)
    assert np.array_equal(evaluate(got, {batch: rows}), rows)


def test_stop_gradient_stays_one() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        y = dg.stop_gradient(x) * 2.0
    (got,) = vectorize([y], {x: batch})
    assert gradients(got, [batch]) == [None]


def test_control_dependencies_follow() -> None:
    graph, x, batch = _row_graph()
    with graph.as_default():
        first = TABLE["neg"](x)
        with graph.control_dependencies([first]):
            y = TABLE["add"](x, 1.0) * first
    (got,) = vectorize([y], {x: batch})
    new_first = got.op.inputs[1].op
    assert new_first.type == "Neg"
    assert got.op.inputs[0].op.control_inputs == (new_first,)
