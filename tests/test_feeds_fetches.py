"""Feeds and fetches: what is accepted, how it is converted, what comes back."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

import dagrad as dg

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def session(graph):
    with dg.Session() as s:
        yield s


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Step:
    loss: Any
    parts: Any


@dataclasses.dataclass(eq=False)
class ByIdentity:
    value: Any


# -- fetches ----------------------------------------------------


def test_structures_come_back_as_they_were(session):
    a, b = dg.constant(1.0), dg.constant([2.0, 3.0])
    got = session.run({"x": [a, (b, a)], "y": Pair(a, [b]), "z": Step(b, {"k": a})})
    assert type(got) is dict
    assert list(got) == ["x", "y", "z"]
    assert type(got["x"]) is list
    assert type(got["x"][1]) is tuple
    assert type(got["y"]) is Pair
    assert type(got["z"]) is Step
    assert got["x"][0] == got["y"].left == got["z"].parts["k"] == 1.0
    for array in (got["x"][1][0], got["y"].right[0], got["z"].loss):
        np.testing.assert_array_equal(array, [2.0, 3.0])


def test_empty_structures(session):
    assert session.run([]) == []
    assert session.run(()) == ()
    assert session.run({}) == {}
    assert session.run([[], {}]) == [[], {}]


def test_mappings(session):
    a = dg.constant(1.0)
    ordered = session.run(collections.OrderedDict([("b", a), ("a", a)]))
    assert type(ordered) is collections.OrderedDict
    assert list(ordered) == ["b", "a"]
    assert session.run(collections.defaultdict(list, {"k": a})) == {"k": 1.0}


def test_names_operations_and_variables(session):
    v = dg.Variable([1.0, 2.0], name="v")
    dg.identity(v * 3.0, name="tripled")
    got = session.run([v.initializer, dg.no_op()])
    assert got == [None, None]
    by_name, op, by_variable = session.run(["tripled:0", "tripled", v])
    np.testing.assert_array_equal(by_name, [3.0, 6.0])
    assert op is None
    np.testing.assert_array_equal(by_variable, [1.0, 2.0])


def test_scalars_are_numpy_scalars_of_the_tensors_dtype(session):
    for dtype in (dg.float32, dg.float64, dg.int32, dg.bool, dg.complex64):
        got = session.run(dg.cast(dg.constant(1), dtype))
        assert isinstance(got, np.generic)
        assert got.dtype == dtype.as_numpy_dtype


def test_a_fed_tensor_can_be_fetched(session):
    x = dg.placeholder(dg.float32, [2])
    given = np.array([1.0, 2.0], np.float32)
    got = session.run(x, {x: given})
    np.testing.assert_array_equal(got, given)
    assert not np.shares_memory(got, given)


def test_a_constant_can_be_fetched_and_changed(session):
    c = dg.constant([1.0, 2.0])
    session.run(c)[0] = 9.0
    np.testing.assert_array_equal(session.run(c), [1.0, 2.0])


def test_a_fetched_variable_is_a_copy(session):
    v = dg.Variable([1.0, 2.0])
    session.run(v.initializer)
    session.run(v)[0] = 9.0
    session.run(dg.reshape(v, [1, 2]))[0, 0] = 9.0
    np.testing.assert_array_equal(session.run(v), [1.0, 2.0])


def test_results_of_earlier_runs_do_not_change(session):
    x = dg.placeholder(dg.float32, [3])
    y = [dg.exp(x), dg.reshape(x * 2.0, [3, 1]), dg.transpose(dg.reshape(x, [1, 3]))]
    first = session.run(y, {x: np.zeros(3)})
    session.run(y, {x: np.ones(3)})
    np.testing.assert_array_equal(first[0], [1, 1, 1])
    for array in first[1:]:
        np.testing.assert_array_equal(array, np.zeros((3, 1)))


def test_a_changed_dataclass_is_read_anew(session):
    holder = ByIdentity(dg.constant(1.0))
    assert session.run(holder).value == 1.0
    holder.value = dg.constant(2.0)
    assert session.run(holder).value == 2.0


def test_the_kind_of_sequence_is_part_of_the_structure(session):
    a = dg.constant(1.0)
    assert session.run([a, a]) == [1.0, 1.0]
    assert session.run((a, a)) == (1.0, 1.0)
    assert session.run(Pair(a, a)) == Pair(1.0, 1.0)


# -- feeds ------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (dg.float32, 1, 1.0),
        (dg.float32, True, 1.0),
        (dg.float32, np.float64(0.1), np.float32(0.1)),
        (dg.float64, np.float32(0.1), np.float64(np.float32(0.1))),
        (dg.int32, np.int64(7), 7),
        (dg.int32, 7.0, 7),
        (dg.int64, np.uint8(200), 200),
        (dg.uint8, 255, 255),
        (dg.bool, 1, True),
        (dg.complex64, 2.5, 2.5 + 0j),
        (dg.string, "text", b"text"),
        (dg.string, b"\x00\xff", b"\x00\xff"),
    ],
    ids=repr,
)
def test_values_are_converted_where_nothing_is_lost(session, dtype, value, expected):
    x = dg.placeholder(dtype, [])
    got = session.run(dg.identity(x), {x: value})
    assert got == expected
    if dtype is not dg.string:
        assert got.dtype == dtype.as_numpy_dtype


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.arange(6, dtype=np.float32).reshape(2, 3)[::-1, ::-1],
        np.broadcast_to(np.float32(3), (2, 3)),
        np.arange(6, dtype=np.float32).reshape(2, 3).tolist(),
        np.arange(6, dtype=np.float32).reshape(2, 3).view(np.ma.MaskedArray),
    ],
    ids=["float64", "fortran", "step", "big-endian", "reversed", "broadcast", "list",
         "subclass"],
)  # fmt: skip
def test_arrays_of_any_layout(session, array):
    x = dg.placeholder(dg.float32, [None, 3])
    plain = np.asarray(array, dtype="<f4")
    got = session.run([x * 2.0, dg.reshape(x, [-1]), dg.transpose(x)[1:]], {x: array})
    np.testing.assert_array_equal(got[0], plain * 2)
    np.testing.assert_array_equal(got[1], plain.reshape(-1))
    np.testing.assert_array_equal(got[2], plain.T[1:])


def test_a_read_only_feed_is_not_written_to(session):
    x = dg.placeholder(dg.float32, [3])
    given = np.ones(3, np.float32)
    given.setflags(write=False)
    y = x
    for _ in range(5):
        y = dg.exp(y) - 1.0
    session.run(y, {x: given})
    np.testing.assert_array_equal(given, 1.0)


def test_feeds_are_never_changed(session):
    x = dg.placeholder(dg.float32, [3])
    v = dg.Variable([0.0, 0.0, 0.0], dtype=dg.float32)
    session.run(v.initializer)
    given = np.ones(3, np.float32)
    session.run([v.assign(x), v.assign_add(x), dg.add_n([x, x, x])], {x: given})
    given[:] = 5.0  # nor does the session keep a reference
    np.testing.assert_array_equal(session.run(v), [2.0, 2.0, 2.0])


def test_names_and_nested_keys(session):
    a, b, c = (dg.placeholder(dg.float32, [], name=n) for n in "abc")
    total = a + 10.0 * b + 100.0 * c
    assert session.run(total, {"a:0": 1, b: 2, "c:0": 3}) == 321
    assert session.run(total, {(a, (b, c)): (1, [2, 3])}) == 321
    assert session.run(total, {(a, (b, c)): (4, [5, 6])}) == 654


def test_an_intermediate_tensor_replaces_what_made_it(session):
    x = dg.placeholder(dg.float32, [2])
    hidden = dg.exp(x)
    y = hidden * 2.0
    # x need not be fed: nothing needs it any more.
    np.testing.assert_array_equal(session.run(y, {hidden: [1.0, 2.0]}), [2.0, 4.0])


def test_a_fed_constant_replaces_its_value_and_what_was_known_of_it(session):
    c = dg.constant([2, 3])
    doubled = c * 2
    filled = dg.fill(c, 7.0)
    shaped = dg.reshape(dg.range(6), c) + 0
    got = session.run([doubled, filled, shaped], {c: [3, 2]})
    np.testing.assert_array_equal(got[0], [6, 4])
    np.testing.assert_array_equal(got[1], np.full((3, 2), 7.0))
    np.testing.assert_array_equal(got[2], np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(session.run(filled), np.full((2, 3), 7.0))


def test_a_fed_shape(session):
    x = dg.placeholder(dg.float32, [None, 2])
    size = dg.shape(x)
    assert session.run(dg.reduce_sum(dg.ones(size * 2)), {size: [5, 3]}) == 60.0


def test_one_output_of_many(session):
    x = dg.placeholder(dg.float32, [2, 3])
    first, second = dg.unstack(x)
    got = session.run([first, second], {x: np.ones((2, 3)), second: [7, 8, 9]})
    np.testing.assert_array_equal(got[0], [1, 1, 1])
    np.testing.assert_array_equal(got[1], [7, 8, 9])


def test_placeholder_with_default(session):
    x = dg.placeholder_with_default([1.0, 2.0], [None])
    y = x * 2.0
    np.testing.assert_array_equal(session.run(y), [2.0, 4.0])
    np.testing.assert_array_equal(session.run(y, {x: [5.0]}), [10.0])


def test_what_set_shape_told_still_holds_in_a_run(session):
    x = dg.placeholder(dg.float32, [None])
    rows = dg.boolean_mask(x, x > 0.0)
    rows.set_shape([2])
    y = dg.stack([rows, rows])
    assert y.shape.as_list() == [2, 2]
    got = session.run(y, {x: [1.0, -1.0, 2.0]})
    np.testing.assert_array_equal(got, [[1.0, 2.0], [1.0, 2.0]])


def test_feed_order_does_not_matter(session):
    a, b = dg.placeholder(dg.float32, [2]), dg.placeholder(dg.float32, [3])
    y = dg.concat([a, b], 0)
    one = session.run(y, {a: [1, 2], b: [3, 4, 5]})
    two = session.run(y, {b: [3, 4, 5], a: [1, 2]})
    np.testing.assert_array_equal(one, two)


def test_a_feed_that_nothing_needs_is_allowed(session):
    a, b = dg.placeholder(dg.float32, [2]), dg.placeholder(dg.float32, [3])
    np.testing.assert_array_equal(
        session.run(a * 2.0, {a: [1, 2], b: [0, 0, 0]}), [2, 4]
    )


def test_strings_pass_through(session):
    x = dg.placeholder(dg.string, [None])
    got = session.run(dg.identity(x), {x: np.array(["a", b"b"], dtype=object)})
    assert got.tolist() == [b"a", b"b"]


# -- callables --------------------------------------------------


def test_make_callable(session):
    a, b = dg.placeholder(dg.float32, [None]), dg.placeholder(dg.float32, [])
    call = session.make_callable({"sum": a + b, "op": dg.no_op()}, [a, b])
    for n in (1, 3, 2, 3):
        got = call(np.ones(n), 2)
        np.testing.assert_array_equal(got["sum"], np.full(n, 3.0))
        assert got["op"] is None


def test_make_callable_without_feeds(session):
    assert session.make_callable(dg.constant(2.0))() == 2.0


def test_a_callable_sees_variables_change(session):
    v = dg.Variable([1.0])
    session.run(v.initializer)
    read, add = session.make_callable(v), session.make_callable(v.assign_add([1.0]))
    assert [read()[0], add()[0], add()[0], read()[0]] == [1.0, 2.0, 3.0, 3.0]


def test_a_callable_traced(session):
    x = dg.placeholder(dg.float32, [2])
    call = session.make_callable(dg.exp(x), [x], accept_options=True)
    metadata = dg.RunMetadata()
    options = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    got = call([0.0, 0.0], options=options, run_metadata=metadata)
    np.testing.assert_array_equal(got, [1.0, 1.0])
    assert [s.type for s in metadata.report.steps] == ["Exp"]


# -- fetched arrays in another shape ---------------------------------------------------


def test_a_large_array_that_is_fetched_reshaped_is_not_copied():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [512, 64])
        y = dg.expand_dims(dg.reshape(dg.sin(x), [64, 512]), 0)
        plan = dg.Session().plan(y, {x: None})
    size = 512 * 64 * 8
    assert plan.arena_bytes == 0
    assert plan.peak_bytes == size


def test_reshaped_fetches_share_nothing_and_keep_their_values():
    a = np.random.default_rng(0).normal(size=(512, 64))
    with dg.Graph().as_default(), dg.Session() as session:
        x = dg.placeholder(dg.float64, [512, 64])
        y = dg.sin(x)
        flat = dg.reshape(y, [-1])
        turned, again = dg.reshape(y, [64, 512]), dg.reshape(y, [64, 512])
        fetches = [flat, turned, dg.reduce_sum(dg.square(flat)), dg.exp(y), flat[:9]]
        for wanted in (fetches, [y, *fetches], [turned, again]):
            run = session.make_callable(wanted, [x])
            first, second = run(a), run(2.0 * a)
            arrays = [r for r in (*first, *second) if np.ndim(r)]
            for i, r in enumerate(arrays):
                assert r.flags.writeable
                assert not any(np.shares_memory(r, s) for s in arrays[:i])
        first = session.run(fetches, {x: a})
        np.testing.assert_array_equal(first[0], np.sin(a).reshape(-1))
        np.testing.assert_array_equal(first[1], np.sin(a).reshape(64, 512))
        np.testing.assert_allclose(first[2], np.sum(np.sin(a) ** 2))
        np.testing.assert_array_equal(first[3], np.exp(np.sin(a)))
        np.testing.assert_array_equal(first[4], np.sin(a).reshape(-1)[:9])
