"""What every op must satisfy; see ``oprecord`` for how to describe one.

``check(record, dtype)`` builds the op and compares

* every kernel in the graph and in its gradients with its own inference, with
  itself given ``out`` (full of rubbish), scratch memory, strided inputs, an
  input's memory as output, and with its bound form;
* the values with the reference;
* the jvp with differences, the vjp with the jvp (<v, J t> = <J^T v, t>), and the
  same for the gradients' graph as often as ``record.order`` says;
* the graph with unknown dimensions with the static one;
* values known before a run with those of a run.

The inner product is Re(sum(conj(a) * b)), so complex ops are checked alike.
"""

from __future__ import annotations

import functools
import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evaluate import ancestors, evaluate, frozen, kernel_of
from oprecord import Record

import dagrad.ops  # noqa: F401  (declares the ops)
from dagrad.graphlib.forward import jvp
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.opdef import Spec
from dagrad.graphlib.operation import Operation
from dagrad.graphlib.shapes import compatible
from dagrad.graphlib.subgraph import bodies_of
from dagrad.graphlib.tensor import Tensor
from dagrad.ops.core import placeholder
from dagrad.testing import central_difference, inner_product, random_directions

_RTOL = {"float16": 5e-3, "float32": 1e-5, "float64": 1e-12}
_RTOL |= {"complex64": 1e-5, "complex128": 1e-12}
_DOUBLE = {"float64", "complex128"}
_STEP = 3e-4


@functools.cache
def load(path: Any) -> list[Record]:
    """The RECORDS of a file, which is read once for all the tests that go over it."""
    spec = importlib.util.spec_from_file_location(f"records_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    records: list[Record] = module.RECORDS
    return records


def run(path: Any, pattern: str = "") -> None:
    """Check the records of a file whose label has ``pattern``; print failures."""
    failed = total = 0
    for record in load(path):
        for dtype in record.dtypes:
            if pattern not in record.label:
                continue
            total += 1
            try:
                check(record, dtype)
            except Exception:
                failed += 1
                print(f"---- {record.label} {dtype}\n{traceback.format_exc(limit=-4)}")
    print(f"{total} checked, {failed} failed")


def close(got: Any, want: Any, what: str, rtol: float, atol: float = 0.0) -> None:
    """Equal up to ``rtol`` of each number and of the largest one."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    if want.dtype.kind not in "fc":
        assert np.array_equal(got, want), f"{what}: {got} is not {want}"
        return
    if got.dtype == want.dtype and got.tobytes() == want.tobytes():
        return  # as most are: what follows takes a hundred times as long
    finite = np.abs(want[np.isfinite(want)])
    scale = float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(
        got, want, rtol, max(atol, rtol * scale), err_msg=what, equal_nan=True
    )


# -- one kernel ------------------------------------------------------------------


class StrictCall:
    """Calls a kernel in every way that it must allow."""

    def __init__(self, exact: bool = True) -> None:
        self.exact = exact
        self.types: set[str] = set()
        self._seen: set[Any] = set()

    def __call__(self, op: Operation, arrays: list[Any]) -> Any:
        self.types.add(op.type)
        opdef = op.opdef
        who = op.describe()
        kernel = kernel_of(op)
        result = kernel(*arrays)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        if not op.outputs:
            return result
        # Each further derivative runs the operations below it again.
        if all(a.dtype.kind != "O" for a in arrays):
            call = (op, *((a.shape, a.dtype, a.tobytes()) for a in arrays))
            if call in self._seen:
                return result
            self._seen.add(call)
        assert len(results) == len(op.outputs), f"{who}: {len(results)} results"
        self.inference(op, arrays, results)
        plain = [np.asarray(r) for r in results]
        self.same(op, kernel(*map(_strided, arrays)), plain, "strided inputs")
        specs_in = [_spec(t, a) for t, a in zip(op.inputs, arrays)]
        specs_out = [_spec(t, r) for t, r in zip(op.outputs, plain)]
        if opdef.workspace is not None:
            work = tuple(
                _rubbish(dims, dtype)
                for dtype, dims in opdef.workspace(specs_in, specs_out, op.attrs)
            )
            self.same(op, kernel(*arrays, work=work), plain, "scratch memory")
        if opdef.writes_out:
            out = [_rubbish(r.shape, r.dtype) for r in plain]
            given = out[0] if len(out) == 1 else tuple(out)
            done = kernel(*map(_strided, arrays), out=given)
            self.same(op, done, plain, "out")
            self.same(op, given, plain, "what is left in out")
        if opdef.bind is not None:
            bound = opdef.bind(op.attrs, specs_in, specs_out)
            if bound is not None:
                out = [_rubbish(r.shape, r.dtype) for r in plain]
                self.same(op, bound(*arrays, *out), plain, "the bound kernel")
        for i in opdef.inplace:
            first = plain[0]
            if i >= len(arrays) or arrays[i].dtype != first.dtype:
                continue
            if arrays[i].shape == first.shape:
                memory = arrays[i].copy()
                twins = [t is op.inputs[i] for t in op.inputs]
                mixed = [memory if s else a for s, a in zip(twins, arrays)]
                given = (memory, *map(np.empty_like, plain[1:]))
                done = kernel(*mixed, out=given if len(plain) > 1 else memory)
                self.same(op, done, plain, f"input {i} as out")
        if opdef.alias is not None and plain[0].size:
            source = arrays[opdef.alias]
            if source.flags.c_contiguous:
                assert np.shares_memory(plain[0], source), f"{who} is no view"
        return result

    def same(self, op: Operation, got: Any, plain: list[Any], way: str) -> None:
        """Compare the results of two ways to call the kernel."""
        found = got if isinstance(got, (tuple, list)) else [got]
        for g, p in zip(found, plain, strict=True):
            what = f"{op.describe()} with {way}"
            assert np.asarray(g).dtype == p.dtype, f"{what}: dtype {g.dtype}"
            close(g, p, what, 10 * _RTOL.get(p.dtype.name, 0.0))

    def inference(self, op: Operation, arrays: list[Any], results: list[Any]) -> None:
        """Compare inference, at build time and on exact shapes, with the result."""
        specs = op.opdef.infer(
            [_spec(t, a) for t, a in zip(op.inputs, arrays)], op.attrs
        )
        for t, r, (dtype, dims) in zip(op.outputs, results, specs, strict=True):
            what = f"{op.describe()}: {r.dtype}{r.shape}"
            assert r.dtype == t.dtype.dtype, f"{what}, inferred {t.dtype.name}"
            assert compatible(t.dims, r.shape), f"{what}, inferred {t.dims}"
            assert dtype is t.dtype, f"{what}, inferred {dtype.name} for exact shapes"
            if self.exact:
                assert dims == r.shape, f"{what}, inferred {dims} for exact shapes"
            else:
                assert compatible(dims, r.shape), f"{what}, inferred {dims}"


def _spec(t: Tensor, array: Any) -> Spec:
    known = array.dtype.kind in "iub" and array.size <= 64
    return Spec(t.dtype, array.shape, np.asarray(array) if known else None)


def _rubbish(shape: Any, dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind == "O":
        return np.empty(shape, dtype)
    filler = {"f": np.nan, "c": np.nan, "b": True}.get(dtype.kind, 77)
    return np.full(shape, filler, dtype)


def _strided(array: Any) -> Any:
    """The same numbers, read-only, with gaps between them (and a gap in front)."""
    if array.ndim == 0 or array.dtype.kind == "O":
        return array
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
    wide[..., 1::2] = array
    return frozen(wide[..., 1::2])


# -- one record ---------------------------------------------------------------------


class Built:
    """A record's op in a graph of its own."""

    def __init__(self, record: Record, dtype: str, dynamic: bool) -> None:
        self.record = record
        self.arrays = record.draw(dtype)
        self.graph = Graph()
        with self.graph.as_default():
            self.inputs = [
                placeholder(a.dtype, (None,) * a.ndim if dynamic else a.shape)
                for a in self.arrays
            ]
            built = record.build(*self.inputs)
        self.outputs: list[Tensor] = (
            list(built) if isinstance(built, (list, tuple)) else [built]
        )
        self.feeds = dict(zip(self.inputs, self.arrays))
        self.xs = [
            t
            for t, a in zip(self.inputs, record.args)
            if t.dtype.is_inexact and a.differentiable
        ]
        self.ys = [t for t in self.outputs if t.dtype.is_inexact]


def check(record: Record, dtype: str) -> set[str]:
    """Check everything about one record; returns the op types that ran."""
    strict = StrictCall(record.exact)
    with np.errstate(all="ignore"):
        built = Built(record, dtype, dynamic=False)
        values = evaluate(built.outputs, built.feeds, call=strict)
        static = all(t.dims is not None and None not in t.dims for t in built.outputs)
        assert static or not record.exact, "a dimension of the result is not known"
        _against_reference(record, dtype, built, values)
        _known_values(record, built)
        if record.dynamic:
            loose = Built(record, dtype, dynamic=True)
            got = evaluate(loose.outputs, loose.feeds, call=strict)
            for g, v in zip(got, values, strict=True):
                close(g, v, "unknown dimensions", 10 * _RTOL.get(v.dtype.name, 0.0))
        if record.order and built.xs and built.ys:
            if dtype in _DOUBLE:
                _derivatives(built, record.order, strict)
            if record.dynamic or dtype in ("float32", "complex64"):
                _other_gradients(record, dtype, strict)
        types = strict.types | _types_in(built.graph)
    # Derivatives are taken in double precision only, where the record has it.
    if dtype in _DOUBLE or not set(record.dtypes) & _DOUBLE:
        missing = set(record.types) - types
        assert not missing, f"{record.label} does not make {missing}, which it lists"
    return types


def _types_in(graph: Graph) -> set[str]:
    """The types of a graph's operations and of those in their bodies."""
    found: set[str] = set()
    graphs = [graph]
    while graphs:
        for op in graphs.pop().get_operations():
            found.add(op.type)
            graphs.extend(body.graph for body in bodies_of(op))
    return found


def _against_reference(
    record: Record, dtype: str, built: Built, values: list[Any]
) -> None:
    if record.reference is None:
        return
    want = record.reference(*[a.copy() for a in built.arrays])
    if not isinstance(want, (list, tuple)):
        want = [want]
    for i, (v, w) in enumerate(zip(values, want, strict=True)):
        rtol = _RTOL.get(v.dtype.name, 0.0) if record.rtol is None else record.rtol
        if v.dtype.kind not in "fc":
            assert np.array_equal(v, w), f"output {i}: {v} is not {np.asarray(w)}"
            continue
        close(v, w, f"output {i} against the reference", rtol, record.atol or 0.0)


def _known_values(record: Record, built: Built) -> None:
    """Build on constants: what is known before a run must be what a run gives."""
    from dagrad.ops._build import constant

    with Graph().as_default():
        made = record.build(*[constant(a) for a in built.arrays])
    made = list(made) if isinstance(made, (list, tuple)) else [made]
    for t in made:
        for node in ancestors([t], {}):
            for u in node.outputs:
                if u.value is None or node.opdef.effect is not None:
                    continue
                got = evaluate(u)
                if isinstance(u.value, tuple):
                    pairs = zip(u.value, got.tolist(), strict=True)
                    assert all(k in (None, g) for k, g in pairs), f"{u!r}: {u.value}"
                else:
                    close(u.value, got, f"known value of {u!r}", 0.0)
                    assert u.value.dtype == got.dtype, f"known value of {u!r}"


# -- derivatives ----------------------------------------------------------------------


def _zeros_for_none(
    tensors: Sequence[Tensor | None], feeds: Any, like: Sequence[Any], call: Any
) -> list[Any]:
    """Values, with zeros where a derivative is None (nothing depends on it)."""
    found = evaluate([t for t in tensors if t is not None], feeds, call=call)
    values = iter(found)
    return [
        np.zeros_like(a) if t is None else next(values) for t, a in zip(tensors, like)
    ]


def _difference(ys: Any, feeds: Any, xs: Any, ts: Any) -> list[Any]:
    """dy/dh of y(x + h t), by central differences of fourth order."""

    def at(h: float) -> list[Any]:
        moved = {x: feeds[x] + h * t for x, t in zip(xs, ts, strict=True)}
        found: list[Any] = evaluate(list(ys), {**feeds, **moved})
        return found

    return central_difference(at, _STEP)


def _derivatives(built: Built, order: int, strict: StrictCall) -> None:
    rng = np.random.default_rng(7)
    ys, xs, feeds = list(built.ys), list(built.xs), dict(built.feeds)
    for level in range(1, order + 1):
        y_values = evaluate(ys, feeds)
        x_values = [feeds[x] for x in xs]
        ts, vs = random_directions(rng, x_values), random_directions(rng, y_values)
        want = _difference(ys, feeds, xs, ts)
        _forward_mode(level, ys, xs, ts, y_values, feeds, strict, want)
        with built.graph.as_default():
            seeds = [placeholder(y.dtype, v.shape) for y, v in zip(ys, vs)]
        feeds.update(zip(seeds, vs))
        pulled = gradients(ys, xs, seeds)
        got = _zeros_for_none(pulled, feeds, x_values, strict)
        for g, x in zip(got, x_values, strict=True):
            assert g.shape == x.shape, f"order {level}: gradient of shape {g.shape}"
        left, right = inner_product(vs, want), inner_product(got, ts)
        size = inner_product([np.abs(v) for v in vs], [np.abs(w) for w in want]) + abs(
            right
        )
        assert abs(left - right) <= 1e-6 * size + 1e-8, (
            f"order {level}: <v, J t> is {left} by differences, <J^T v, t> is {right}"
        )
        ys = [g for g in pulled if g is not None]
        xs = xs + seeds
        if not ys:
            return


def _forward_mode(
    level: int,
    ys: list[Tensor],
    xs: list[Tensor],
    ts: list[Any],
    y_values: list[Any],
    feeds: Any,
    strict: StrictCall,
    want: list[Any],
) -> None:
    """The jvp against differences: all inputs together, then each alone."""
    graph = ys[0].graph
    with graph.as_default():
        tangents = [placeholder(x.dtype, t.shape) for x, t in zip(xs, ts)]
    feeds = {**feeds, **dict(zip(tangents, ts))}
    pushed = jvp(ys, xs, tangents)
    got = _zeros_for_none(pushed, feeds, y_values, strict)
    for g, w in zip(got, want, strict=True):
        close(g, w, f"order {level}: jvp against differences", 1e-6, 1e-8)
    if len(xs) == 1 or level > 1:
        return
    total = [np.zeros_like(y) for y in y_values]
    for x, t in zip(xs, tangents):
        alone = _zeros_for_none(jvp(ys, [x], [t]), feeds, y_values, strict)
        total = [s + a for s, a in zip(total, alone, strict=True)]
    for s, w in zip(total, want, strict=True):
        close(s, w, "the sum of the jvps of each input alone", 1e-6, 1e-8)


def _gradient_values(built: Built, strict: StrictCall) -> list[Any]:
    rng = np.random.default_rng(11)
    with built.graph.as_default():
        y_values = evaluate(built.ys, built.feeds)
        vs = random_directions(rng, y_values)
        seeds = [placeholder(y.dtype, y.dims) for y in built.ys]
    feeds = {**built.feeds, **dict(zip(seeds, vs))}
    pulled = gradients(built.ys, built.xs, seeds)
    return _zeros_for_none(pulled, feeds, [feeds[x] for x in built.xs], strict)


def _other_gradients(record: Record, dtype: str, strict: StrictCall) -> None:
    """Gradients with unknown dimensions and in single precision."""
    wide = {"float32": "float64", "complex64": "complex128"}.get(dtype, dtype)
    if wide not in record.dtypes:
        return
    want = _gradient_values(Built(record, wide, dynamic=False), strict)
    if wide != dtype:
        got = _gradient_values(Built(record, dtype, dynamic=False), strict)
        for g, w in zip(got, want, strict=True):
            close(g, w, f"gradient in {dtype}", 1e-3, 1e-4)
    elif record.dynamic:
        got = _gradient_values(Built(record, dtype, dynamic=True), strict)
        for g, w in zip(got, want, strict=True):
            close(g, w, "gradient with unknown dimensions", 1e-10)
