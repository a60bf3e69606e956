"""while_loop, scan, the folds and map_fn: what they compute, of what, in what shape."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from both_executors import value

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


# -- while_loop: values --------------------------------------------------


def test_a_loop_counts():
    i = tf.while_loop(lambda i: i < 10, lambda i: i + 1, [0])
    assert value(i) == 10


def test_a_loop_may_run_no_iteration_at_all():
    i, x = tf.while_loop(lambda i, x: i < 0, lambda i, x: (i + 1, x * 2.0), [3, 1.5])
    assert value([i, x]) == [3, 1.5]


def test_fibonacci():
    a, _, _ = tf.while_loop(
        lambda a, b, n: n > 0,
        lambda a, b, n: (b, a + b, n - 1),
        [tf.constant(0, tf.int64), tf.constant(1, tf.int64), 50],
    )
    assert value(a) == 12586269025


def test_carries_that_change_places():
    a, b, _ = tf.while_loop(
        lambda a, b, n: n > 0,
        lambda a, b, n: (b, a, n - 1),
        [tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0]), tf.constant(3)],
    )
    np.testing.assert_array_equal(value([a, b]), [[3.0, 4.0], [1.0, 2.0]])


def test_a_carry_that_two_carries_take():
    a, b, _ = tf.while_loop(
        lambda a, b, n: n > 0, lambda a, b, n: (b, b, n - 1), [1.0, 2.0, 3]
    )
    assert value([a, b]) == [2.0, 2.0]


def test_one_value_in_two_carries():
    x = tf.constant([1.0, 2.0])
    a, b, _ = tf.while_loop(
        lambda a, b, n: n < 3, lambda a, b, n: (a + b, b, n + 1), [x, x, 0]
    )
    np.testing.assert_array_equal(value([a, b]), [[4.0, 8.0], [1.0, 2.0]])


def test_a_carry_that_becomes_a_constant():
    a, _ = tf.while_loop(lambda a, n: n < 2, lambda a, n: (7.0, n + 1), [1.0, 0])
    assert value(a) == 7.0


def test_a_carry_that_becomes_what_is_captured():
    x = tf.placeholder(tf.float32, [None])
    a, _ = tf.while_loop(
        lambda a, n: n < 2, lambda a, n: (x, n + 1), [tf.zeros([3]), 0]
    )
    np.testing.assert_array_equal(value(a, {x: [1.0, 2.0, 3.0]}), [1.0, 2.0, 3.0])


def test_the_result_is_not_the_memory_of_what_was_fed():
    x = tf.placeholder(tf.float32, [2])
    a, _ = tf.while_loop(lambda a, n: n < 0, lambda a, n: (a + 1.0, n + 1), [x, 0])
    fed = np.array([1.0, 2.0], np.float32)
    got = tf.Session().run(a, {x: fed})
    got[0] = 9.0
    assert fed[0] == 1.0


def test_a_view_of_a_carry_is_carried():
    a, _ = tf.while_loop(
        lambda a, n: n < 3,
        lambda a, n: (tf.reverse(tf.transpose(a), [0]), n + 1),
        [tf.constant([[1.0, 2.0], [3.0, 4.0]]), 0],
    )
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for _ in range(3):
        x = x.T[::-1]
    np.testing.assert_array_equal(value(a), x)


def test_newton_for_a_square_root():
    x = tf.while_loop(
        lambda x: tf.abs(x * x - 2.0) > 1e-12,
        lambda x: 0.5 * (x + 2.0 / x),
        [tf.constant(1.0, tf.float64)],
    )
    assert value(x) == pytest.approx(np.sqrt(2.0), abs=1e-12)


def test_the_condition_may_read_what_is_around_it():
    limit = tf.placeholder(tf.int32, [])
    i = tf.while_loop(lambda i: i < limit, lambda i: i + 3, [0])
    assert [int(value(i, {limit: n})) for n in (-1, 0, 1, 7)] == [0, 0, 3, 9]


@pytest.mark.parametrize(("most", "count"), [(0, 0), (3, 3), (100, 10), (-2, 0)])
def test_maximum_iterations(most, count):
    i = tf.while_loop(lambda i: i < 10, lambda i: i + 1, [0], maximum_iterations=most)
    assert value(i) == count


def test_maximum_iterations_may_be_a_tensor():
    most = tf.placeholder(tf.int32, [])
    i = tf.while_loop(lambda i: i < 10, lambda i: i + 1, [0], maximum_iterations=most)
    assert [int(value(i, {most: n})) for n in (0, 4, 20)] == [0, 4, 10]


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "int8",
        "int32",
        "int64",
        "uint8",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ],
)
def test_carries_of_any_dtype(dtype):
    x = tf.constant(np.array([[0, 1], [1, 0]], dtype))
    y, _ = tf.while_loop(
        lambda x, n: n < 3, lambda x, n: (tf.transpose(x[::-1]), n + 1), [x, 0]
    )
    want = np.array([[0, 1], [1, 0]], dtype)
    for _ in range(3):
        want = want[::-1].T
    got = value(y)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_strings_are_carried():
    s, _ = tf.while_loop(lambda s, n: n < 2, lambda s, n: (s, n + 1), ["a", 0])
    assert value(s) in ("a", b"a")


# -- while_loop: structures ----------------------------------------------


Pair = collections.namedtuple("Pair", "left right")


def test_any_nesting_is_carried():
    start = [0, {"b": (1.0, [2.0]), "a": Pair(3.0, 4.0)}]

    def step(i, d):
        assert isinstance(d["a"], Pair)
        (x, [y]) = d["b"]
        return [i + 1, {"a": Pair(d["a"].right, d["a"].left), "b": (x + y, [y])}]

    i, d = tf.while_loop(lambda i, d: i < 3, step, start)
    assert isinstance(d["a"], Pair)
    assert isinstance(d["b"], tuple)
    assert value(i) == 3
    assert value([d["a"].left, d["a"].right, d["b"][0], d["b"][1][0]]) == [4, 3, 7, 2]


def test_a_namedtuple_of_loop_variables():
    r = tf.while_loop(lambda a, b: a < 3, lambda a, b: Pair(a + 1, b * 2), Pair(0, 1))
    assert isinstance(r, Pair)
    assert value([r.left, r.right]) == [3, 8]


def test_a_dict_of_loop_variables():
    r = tf.while_loop(
        lambda d: d["i"] < 3,
        lambda d: [{"i": d["i"] + 1, "x": d["x"] * 2}],
        [{"i": 0, "x": 1}],
    )
    assert value(r) == {"i": 3, "x": 8}


def test_one_variable_comes_bare_or_in_its_list():
    bare = tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0])
    kept = tf.while_loop(
        lambda i: i < 3, lambda i: [i + 1], [0], return_same_structure=True
    )
    assert value(bare) == 3
    assert value(kept) == [3]


def test_a_tensor_alone_is_a_loop_variable():
    assert value(tf.while_loop(lambda i: i < 3, lambda i: i + 1, tf.constant(0))) == 3


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (lambda i, x: i + 1, ValueError, "loop variables"),
        (lambda i, x: (i + 1, x, x), ValueError, "2 and 3 values"),
        (lambda i, x: (i + 1, (x,)), ValueError, "structure"),
        (lambda i, x: (i + 1, tf.cast(x, tf.float64)), TypeError, "float64"),
        (lambda i, x: (x, x), TypeError, "loop variable 0 is int32"),
    ],
)
def test_a_body_that_returns_something_else_is_an_error(step, error, text):
    with pytest.raises(error, match=text):
        tf.while_loop(lambda i, x: i < 3, step, [0, 1.0])


@pytest.mark.parametrize("test", [lambda i: i, lambda i: tf.constant([True])])
def test_a_condition_that_is_no_bool_scalar_is_an_error(test):
    with pytest.raises((TypeError, ValueError), match="condition"):
        tf.while_loop(test, lambda i: i + 1, [0])


def test_no_loop_variables_are_an_error():
    with pytest.raises(ValueError, match="no loop variables"):
        tf.while_loop(lambda: True, lambda: (), [])


def test_what_is_no_function_is_an_error():
    with pytest.raises(TypeError, match="functions"):
        tf.while_loop(True, lambda i: i + 1, [0])


# -- while_loop: shapes ---------------------------------------------------


def test_a_shape_that_grows_is_found_out():
    x, _ = tf.while_loop(
        lambda x, n: n < 3,
        lambda x, n: (tf.concat([x, x], 0), n + 1),
        [tf.ones([1, 2]), 0],
    )
    assert x.shape.as_list() == [None, 2]
    assert value(x).shape == (8, 2)


def test_a_rank_that_grows_is_found_out():
    x, _ = tf.while_loop(
        lambda x, n: n < 3,
        lambda x, n: (tf.expand_dims(x, 0), n + 1),
        [tf.ones([2]), 0],
    )
    assert x.shape.ndims is None
    assert value(x).shape == (1, 1, 1, 2)


def test_an_unknown_shape_that_stays_is_known():
    x = tf.placeholder(tf.float32, [None, 3])
    y, _ = tf.while_loop(lambda y, n: n < 3, lambda y, n: (y * 2.0, n + 1), [x, 0])
    assert y.shape.as_list() == [None, 3]
    assert value(y, {x: np.ones((2, 3))}).tolist() == [[8.0] * 3] * 2


def test_unknown_ranks():
    x = tf.placeholder(tf.float32)
    y, _ = tf.while_loop(lambda y, n: n < 3, lambda y, n: (y + x, n + 1), [x, 0])
    for shape in ((), (2,), (0, 3), (2, 1, 2)):
        np.testing.assert_array_equal(value(y, {x: np.ones(shape)}), np.full(shape, 4))


def test_a_carry_that_broadcasts_up_at_run_time():
    x = tf.placeholder(tf.float32)
    y, _ = tf.while_loop(
        lambda y, n: n < 2,
        lambda y, n: (y + x, n + 1),
        [tf.zeros([]), 0],
    )
    np.testing.assert_array_equal(value(y, {x: [1.0, 2.0]}), [2.0, 4.0])


def test_invariants_allow_what_changes():
    x, _ = tf.while_loop(
        lambda x, n: n < 2,
        lambda x, n: (tf.concat([x, [1.0]], 0), n + 1),
        [tf.zeros([0]), 0],
        shape_invariants=[tf.TensorShape([None]), tf.TensorShape([])],
    )
    np.testing.assert_array_equal(value(x), [1.0, 1.0])


def test_an_invariant_that_does_not_hold_is_an_error():
    with pytest.raises(ValueError, match="shape invariant"):
        tf.while_loop(
            lambda x, n: n < 2,
            lambda x, n: (tf.concat([x, [1.0]], 0), n + 1),
            [tf.zeros([1]), 0],
            shape_invariants=[tf.TensorShape([1]), tf.TensorShape([])],
        )


def test_an_invariant_that_does_not_fit_the_start_is_an_error():
    with pytest.raises(ValueError, match="initial value"):
        tf.while_loop(
            lambda x: True,
            lambda x: x,
            [tf.zeros([3])],
            shape_invariants=[tf.TensorShape([2])],
        )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3)])
def test_arrays_of_any_size_are_carried(shape):
    x = np.ones(shape, np.float32)
    y, _ = tf.while_loop(lambda y, n: n < 3, lambda y, n: (y * 2.0, n + 1), [x, 0])
    np.testing.assert_array_equal(value(y), x * 8.0)


def test_a_body_that_does_not_run_need_not_fit():
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float32, [None])
    y, _ = tf.while_loop(
        lambda y, i: i < n, lambda y, i: (y + tf.constant([1.0, 2.0]), i + 1), [x, 0]
    )
    assert value(y, {x: [0.0, 0.0], n: 1}).tolist() == [1.0, 2.0]
    assert value(y, {x: [5.0] * 3, n: 0}).tolist() == [5.0] * 3
    with pytest.raises(tf.errors.InvalidArgumentError, match="broadcast"):
        tf.Session().run(y, {x: [5.0] * 3, n: 1})


def test_shapes_that_change_in_some_runs_only():
    n = tf.placeholder(tf.int32, [])
    x, _ = tf.while_loop(
        lambda x, i: i < n,
        lambda x, i: (tf.concat([x, x[:1] * 2.0], 0), i + 1),
        [tf.constant([1.0]), 0],
    )
    for k in (0, 3, 1, 0, 3):
        np.testing.assert_array_equal(value(x, {n: k}), [1.0] + [2.0] * k)


# -- scan ------------------------------------------------------------------


def test_scan_is_a_running_sum():
    x = np.arange(12.0).reshape(4, 3)
    y = tf.scan(lambda a, row: a + row, tf.constant(x))
    np.testing.assert_array_equal(value(y), np.cumsum(x, 0))


def test_scan_with_a_start():
    y = tf.scan(lambda a, row: a * 2 + row, tf.constant([1, 2, 3]), initializer=10)
    np.testing.assert_array_equal(value(y), [21, 44, 91])


def test_scan_backward():
    y = tf.scan(lambda a, row: a * 2 + row, tf.constant([1, 2, 3]), reverse=True)
    np.testing.assert_array_equal(value(y), [17, 8, 3])
    y = tf.scan(
        lambda a, row: a * 2 + row, tf.constant([1, 2, 3]), initializer=1, reverse=True
    )
    np.testing.assert_array_equal(value(y), [25, 12, 5])


def test_scan_of_structures():
    rows = {"x": tf.constant([1.0, 2.0, 3.0]), "n": tf.constant([1, 2, 3])}

    def step(acc, row):
        total, (count,) = acc
        return total + row["x"], (count + row["n"],)

    total, (count,) = tf.scan(step, rows, initializer=(0.0, (0,)))
    np.testing.assert_array_equal(value(total), [1.0, 3.0, 6.0])
    np.testing.assert_array_equal(value(count), [1, 3, 6])


def test_scan_of_no_rows():
    x = tf.placeholder(tf.float32, [None, 2])
    y = tf.scan(lambda a, row: a + row, x, initializer=tf.zeros([2]))
    assert value(y, {x: np.zeros((0, 2))}).shape == (0, 2)
    np.testing.assert_array_equal(value(y, {x: np.ones((2, 2))}), [[1, 1], [2, 2]])


def test_scan_of_one_row():
    np.testing.assert_array_equal(
        value(tf.scan(lambda a, r: a + r, np.array([5.0]))), [5.0]
    )


def test_scan_of_rows_of_arrays_of_unknown_rank():
    x = tf.placeholder(tf.float32)
    y = tf.scan(lambda a, row: a + row, x)
    np.testing.assert_array_equal(value(y, {x: [1.0, 2.0, 3.0]}), [1.0, 3.0, 6.0])
    np.testing.assert_array_equal(value(y, {x: [[1.0], [2.0]]}), [[1.0], [3.0]])


def test_scan_over_a_scalar_is_an_error():
    with pytest.raises(ValueError, match="scalar"):
        tf.scan(lambda a, r: a + r, tf.constant(1.0))


def test_scan_over_arrays_of_different_lengths_is_an_error():
    a, b = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    y = tf.scan(lambda s, row: s + row[0] * row[1], (a, b), initializer=0.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="first axis"):
        tf.Session().run(y, {a: [1.0, 2.0], b: [1.0]})
    with pytest.raises(ValueError, match="first axis"):
        tf.scan(
            lambda s, row: s + row[0] * row[1],
            (tf.zeros([2]), tf.zeros([3])),
            initializer=0.0,
        )


def test_scan_stacks_only_rows_of_one_shape():
    y = tf.scan(
        lambda a, r: tf.concat([a, [r]], 0),
        tf.constant([1.0, 2.0]),
        initializer=tf.zeros([0]),
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="different shapes"):
        tf.Session().run(y)


def test_the_accumulator_of_scan_must_be_of_one_dtype():
    with pytest.raises(TypeError, match="int32"):
        tf.scan(lambda a, r: tf.cast(a, tf.float32) + r, tf.zeros([3]), initializer=0)


# -- folds and maps ----------------------------------------------------------


def test_foldl_and_foldr():
    digits = tf.constant([1, 2, 3])
    assert value(tf.foldl(lambda a, d: a * 10 + d, digits)) == 123
    assert value(tf.foldr(lambda a, d: a * 10 + d, digits)) == 321
    assert value(tf.foldl(lambda a, d: a * 10 + d, digits, initializer=9)) == 9123
    assert value(tf.foldr(lambda a, d: a * 10 + d, digits, initializer=9)) == 9321


def test_a_fold_of_no_rows_is_its_start():
    x = tf.placeholder(tf.float32, [None])
    y = tf.foldl(lambda a, r: a + r, x, initializer=2.0)
    assert value(y, {x: []}) == 2.0


def test_a_fold_of_no_rows_without_a_start_is_an_error():
    x = tf.placeholder(tf.float32, [None])
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.Session().run(tf.foldl(lambda a, r: a + r, x), {x: []})


def test_map_fn():
    x = np.arange(6.0).reshape(3, 2)
    y = tf.map_fn(lambda row: tf.reduce_sum(row * row), tf.constant(x))
    np.testing.assert_array_equal(value(y), (x * x).sum(1))


def test_map_fn_of_structures():
    a, b = np.arange(3.0), np.arange(3) * 10
    r = tf.map_fn(
        lambda e: {"sum": e[0] + tf.cast(e[1], tf.float64), "int": (e[1],)},
        (tf.constant(a), tf.constant(b)),
        dtype={"sum": tf.float64, "int": (tf.int64,)},
    )
    np.testing.assert_array_equal(value(r["sum"]), a + b)
    np.testing.assert_array_equal(value(r["int"][0]), b)


def test_map_fn_checks_dtypes():
    with pytest.raises(TypeError, match="float32"):
        tf.map_fn(lambda r: r, tf.zeros([3]), dtype=tf.int32)


def test_map_fn_of_numbers():
    y = tf.map_fn(lambda r: 1, tf.zeros([3]), dtype=tf.int64)
    got = value(y)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [1, 1, 1])


def test_map_fn_over_no_rows():
    x = tf.placeholder(tf.float32, [None, 2])
    y = tf.map_fn(lambda r: tf.stack([r, r]), x)
    assert y.shape.as_list() == [None, 2, 2]
    assert value(y, {x: np.zeros((0, 2))}).shape == (0, 2, 2)


def test_map_fn_over_many_rows():
    x = tf.placeholder(tf.float32, [None])
    y = tf.map_fn(lambda r: r * r, x)
    rows = np.arange(5000, dtype=np.float32)
    np.testing.assert_array_equal(value(y, {x: rows}), rows * rows)


def test_the_same_row_twice_in_the_result():
    a, b = tf.map_fn(lambda r: (r, r), tf.constant([1.0, 2.0]))
    np.testing.assert_array_equal(value([a, b]), [[1.0, 2.0], [1.0, 2.0]])
