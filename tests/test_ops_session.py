"""Every op in real plans: arena, views, in-place steps, given memory.

Values, gradients and jvps from a session (and from its tracing interpreter) are
those of the evaluator, which shares no code with the runtime; feeds are strided
and read-only, and what was fetched stays as it was however often a plan runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from evaluate import evaluate, frozen
from oprecord import Record

import dagrad as dg
from dagrad.graphlib.tensor import Tensor
from dagrad.testing import random_directions

_TRACE = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)


def _records() -> Iterator[Any]:
    for path in sorted((Path(__file__).parent / "op_records").glob("*.py")):
        for record in opchecks.load(path):
            yield pytest.param(record, id=f"{path.stem}-{record.label}")


class _Model:
    """A record's op between others, so that its inputs and outputs lie in the arena.

    It has gradients and jvps for fed cotangents and tangents.
    """

    def __init__(
        self, record: Record, dtype: str, dynamic: bool, twice: bool = False
    ) -> None:
        self.record = record
        self.arrays = record.draw(dtype)
        self.graph = dg.Graph()
        self.ones: dict[Any, Tensor] = {}
        with self.graph.as_default():
            self.inputs = [
                dg.placeholder(a.dtype, (None,) * a.ndim if dynamic else a.shape)
                for a in self.arrays
            ]
            built = record.build(*[self.same(t) for t in self.inputs])
            self.plain = list(built) if isinstance(built, (list, tuple)) else [built]
            self.outputs = [self.same(t) for t in self.plain]
        pairs = zip(self.inputs, record.args)
        self.xs = [t for t, a in pairs if t.dtype.is_inexact and a.differentiable]
        self.ys = [t for t in self.outputs if t.dtype.is_inexact]
        self.derivatives: list[Tensor] = []
        self.cotangents: list[Tensor] = []
        self.tangents: list[Tensor] = []
        if record.order and self.xs and self.ys:
            self._differentiate(twice)

    def same(self, t: Tensor) -> Tensor:
        """The values of ``t``, as another op's result."""
        if t.dtype is dg.string:
            return t
        one = self.ones.get(t.dtype)
        if one is None:
            one = self.ones[t.dtype] = dg.placeholder(t.dtype, ())
        return dg.logical_and(t, one) if t.dtype.is_bool else dg.multiply(t, one)

    def _differentiate(self, twice: bool) -> None:
        with self.graph.as_default():
            self.cotangents = [dg.placeholder(y.dtype, y.shape) for y in self.ys]
            self.tangents = [dg.placeholder(x.dtype, x.shape) for x in self.xs]
            made = [
                *dg.gradients(self.ys, self.xs, self.cotangents),
                *dg.jvp(self.ys, self.xs, self.tangents),
            ]
            self.derivatives = [t for t in made if t is not None]
            if twice and self.derivatives:
                xs = [*self.xs, *self.cotangents, *self.tangents]
                made = dg.gradients(self.derivatives, xs)
                self.derivatives += [t for t in made if t is not None]

    @property
    def random(self) -> bool:
        """Whether a run draws random numbers."""
        operations = self.graph.get_operations()
        return any(op.opdef.effect == "random" for op in operations)

    def feed(self, arrays: Sequence[Any]) -> dict[Tensor, Any]:
        """Arrays for the inputs, cotangents and tangents."""
        feeds = dict(zip(self.inputs, arrays))
        feeds.update((t, np.ones((), d.dtype)) for d, t in self.ones.items())
        rng = np.random.default_rng(5)
        values = evaluate(self.ys, feeds) if self.cotangents else []
        feeds.update(zip(self.cotangents, random_directions(rng, values)))
        values = [feeds[x] for x in self.xs] if self.tangents else []
        feeds.update(zip(self.tangents, random_directions(rng, values)))
        return feeds

    def other_feed(self) -> dict[Tensor, Any]:
        """Other numbers of the same shapes; integers only where they may change."""
        rng = np.random.default_rng(99)
        arrays = [
            a.draw(rng, d.dtype.name) for a, d in zip(self.record.args, self.inputs)
        ]
        try:
            return self.feed(arrays)
        except (ValueError, IndexError, RuntimeError, FloatingPointError):
            # Sizes, permutations and the like fit each other as they are.
            kept = zip(arrays, self.arrays)
            return self.feed([n if n.dtype.kind in "fc" else o for n, o in kept])


def _awkward(feeds: dict[Tensor, Any]) -> dict[Tensor, Any]:
    """The same numbers in strided, read-only arrays."""
    return {t: frozen(opchecks._strided(a)) for t, a in feeds.items()}


def _turned(feeds: dict[Tensor, Any]) -> dict[Tensor, Any]:
    """The same numbers column by column, as copies that keep an order are too."""
    return {t: np.asfortranarray(a) if a.ndim else a for t, a in feeds.items()}


def _check(
    got: Sequence[Any], want: Sequence[Any], fetches: Sequence[Tensor], ulps: int = 0
) -> None:
    """Compare, with ``ulps`` of 1 for sums of another order that cancel."""
    for t, g, w in zip(fetches, got, want, strict=True):
        # A scalar string comes as bytes; NumPy would cut them at their last zeros.
        found = np.asarray(g, object if w.dtype == object else None)
        assert found.dtype == w.dtype, f"{t!r}: dtype {found.dtype}"
        rtol = 100 * opchecks._RTOL.get(w.dtype.name, 0.0)
        atol = ulps * np.finfo(w.dtype).eps if w.dtype.kind in "fc" else 0.0
        opchecks.close(found, w, f"{t.op.describe()}", rtol, atol)


def _spoil(arrays: Sequence[Any]) -> None:
    """Overwrite what was fetched, as its owner may."""
    for a in arrays:
        if isinstance(a, np.ndarray) and a.dtype.kind != "O":
            a.fill(np.nan if a.dtype.kind in "fc" else 77)


def _runs(model: _Model, session: Any, fetches: list[Tensor]) -> None:
    first, second = model.feed(model.arrays), model.other_feed()
    want, want_second = evaluate(fetches, first), evaluate(fetches, second)
    got = session.run(fetches, first)
    _check(got, want, fetches)
    kept = [np.array(g) for g in got]
    _check(session.run(fetches, _awkward(second)), want_second, fetches)
    for g, k in zip(got, kept, strict=True):
        np.testing.assert_array_equal(g, k, "a later run changed a fetched array")
    before = [np.array(a) for a in first.values()]
    _spoil(got)
    for a, b in zip(first.values(), before, strict=True):
        np.testing.assert_array_equal(a, b, "a fetched array is a feed's memory")
    _check(session.run(fetches, _awkward(first)), want, fetches)
    _check(session.run(fetches, _turned(first), options=_TRACE), want, fetches, 100)
    _check(session.run(fetches, _awkward(second)), want_second, fetches)


def _random_runs(model: _Model, session: Any, fetches: list[Tensor]) -> None:
    """The same stream gives the same numbers by both executors."""
    feeds = model.feed(model.arrays)
    runs = []
    for options in (None, _TRACE, None):
        session.reset_random()
        runs.append(session.run(fetches, _awkward(feeds), options=options))
    for a, b, c in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


_CASES = list(_records())


def _widest(record: Record) -> str:
    double = [d for d in record.dtypes if d in ("float64", "complex128")]
    return double[0] if double else record.dtypes[-1]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("record", _CASES)
def test_in_a_session(record: Record, dynamic: bool) -> None:
    if dynamic and not record.dynamic:
        pytest.skip("needs known sizes")
    with np.errstate(all="ignore"):
        model = _Model(record, _widest(record), dynamic)
        with dg.Session(graph=model.graph) as session:
            check = _random_runs if model.random else _runs
            # Inputs beside results; then results alone, whose inputs may die.
            together = [*model.plain, *model.derivatives, *model.inputs]
            check(model, session, together)
            check(model, session, model.outputs)
            if model.derivatives:
                check(model, session, model.derivatives)


@pytest.mark.slow
@pytest.mark.parametrize("record", [p for p in _CASES if p.values[0].order > 1])
def test_second_derivatives_in_a_session(record: Record) -> None:
    with np.errstate(all="ignore"):
        model = _Model(record, _widest(record), record.dynamic, twice=True)
        if not model.derivatives or model.random:
            pytest.skip("nothing to differentiate")
        with dg.Session(graph=model.graph) as session:
            _runs(model, session, model.derivatives)
