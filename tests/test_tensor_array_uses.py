"""TensorArrays: where they may stand in a program, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from array_programs import array, repeat, value

import dagrad as dg

pytestmark = pytest.mark.usefixtures("graph")


X = np.array([0.3, -0.8, 1.1])


# -- where arrays may stand ----------------------------------------------------------


def test_a_condition_may_read():
    ta = array(4, [3.0, 2.0, -1.0, 4.0])
    i = dg.while_loop(lambda i: ta.read(i) > 0, lambda i: i + 1, [0])
    assert value(i) == 2


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("flag", [True, False])
def test_branches_may_return_arrays(first, flag):
    x, p = dg.constant(X), dg.placeholder(dg.bool, [])
    ta = array(2)
    some, none = (lambda: ta.write(0, x * x)), (lambda: ta)
    y = dg.cond(p, *([some, none] if first else [none, some])).write(1, x).stack()
    got, slope = value([y, *dg.gradients(y, x)], {p: flag})
    written = flag is first
    np.testing.assert_allclose(got, [X * X * written, X])
    np.testing.assert_allclose(slope, 2 * X * written + 1)


def test_a_function_may_take_and_return_arrays():
    x = dg.constant(X)
    f = dg.function(lambda ta, i: ta.write(i + 1, dg.sin(ta.read(i))))
    y = f(array(2).write(0, x), 0).stack()
    got, slope = value([y, *dg.gradients(y, x)])
    np.testing.assert_allclose(got, [X, np.sin(X)])
    np.testing.assert_allclose(slope, 1 + np.cos(X))


def test_arrays_in_nested_structures():
    state = {"a": array(2), "b": (array(2), [dg.constant(1.0, dg.float64)])}

    def step(i, s):
        t = s["b"][1][0]
        a, b = s["a"].write(i, t), s["b"][0].write(1 - i, 10 * t)
        return ({"a": a, "b": (b, [t + 1.0])},)

    (s,) = repeat(2, step, state)
    got = value([s["a"].stack(), s["b"][0].stack()])
    np.testing.assert_array_equal(got, [[1, 2], [20, 10]])


def test_an_older_value_is_still_there():
    """A write gives a new array: who kept the old one reads what it held."""
    first = array(2, [1.0, 2.0])
    second = first.write(0, 5.0)
    got = value([first.stack(), second.stack(), first.read(0)])
    np.testing.assert_array_equal(got[0], [1, 2])
    np.testing.assert_array_equal(got[1], [5, 2])
    assert got[2] == 1


def test_a_handle_gives_the_array_back():
    ta = array(2).write(0, X)
    again = dg.TensorArray(dg.float64, handle=ta.handle, flow=ta.flow)
    np.testing.assert_array_equal(value(again.write(1, -X).stack()), [X, -X])


def test_identity_waits_and_close_does_nothing():
    v = dg.Variable(1.0)
    ta = dg.TensorArray(dg.float32, 1).unstack([3.0])
    with dg.control_dependencies([dg.assign(v, 2.0)]):
        later = ta.identity().read(0)
    with dg.Session() as session:
        session.run(v.initializer)
        assert session.run(later) == 3.0
        assert session.run(v) == 2.0
        session.run(ta.close())


# -- errors --------------------------------------------------------------------------


def test_another_dtype_is_an_error_that_names_both_lines():
    with pytest.raises(TypeError, match=r"float32 .*holds float64: use dagrad\.cast"):
        array(2).write(0, dg.constant(1.0))


def test_another_shape_is_an_error_that_names_the_first_write():
    ta = array(2).write(0, X)
    with pytest.raises(ValueError, match=r"shape \(2,\).*\(3,\) was written before"):
        ta.write(1, X[:2])


def test_another_shape_in_the_run_is_an_error():
    x = dg.placeholder(dg.float64, [None])
    y = array(2).write(0, X).write(1, x).stack()
    with pytest.raises(dg.errors.InvalidArgumentError, match=r"\(1,\) does not fit"):
        value(y, {x: [1.0]})


@pytest.mark.parametrize("at", [-1, 2])
def test_an_index_out_of_range_names_the_line(at):
    i = dg.placeholder(dg.int32, [])
    for y in (array(2, [1.0, 2.0]).read(i), array(2).write(i, 1.0).stack()):
        with pytest.raises(dg.errors.InvalidArgumentError, match="test_tensor_array"):
            value(y, {i: at})


def test_an_array_that_grew_is_read_within_its_size():
    ta = array(0, dynamic_size=True).unstack(np.ones(3)).write(3, 1.0)
    assert value(ta.size()) == 4
    with pytest.raises(dg.errors.InvalidArgumentError, match=r"4 is not in \[0, 4\)"):
        value(ta.read(4))


def test_indices_that_repeat_are_an_error():
    y = array(3).scatter([0, 2, 0], [1.0, 2.0, 3.0]).stack()
    with pytest.raises(dg.errors.InvalidArgumentError, match="twice"):
        value(y)


def test_pieces_cannot_be_written_or_stacked():
    ta = array(2, infer_shape=False).split(X, [1, 2])
    with pytest.raises(ValueError, match="pieces of different lengths"):
        ta.write(0, X)
    with pytest.raises(ValueError, match="pieces of different lengths"):
        ta.stack()


def test_lengths_that_do_not_add_up():
    with pytest.raises(ValueError, match="add up to 4, not to 3"):
        array(2, infer_shape=False).split(X, [1, 3])


@pytest.mark.parametrize(
    "use", [dg.convert_to_tensor, lambda ta: dg.constant(1.0) + ta, dg.reduce_sum]
)
def test_an_array_in_place_of_a_tensor_says_what_to_do(use):
    with pytest.raises(TypeError, match=r"no tensor: take its stack\(\)"):
        use(array(2))


def test_a_body_that_returns_another_kind_of_array():
    for other in (lambda ta: ta.stack(), lambda ta: array(2, dynamic_size=True)):
        with pytest.raises(ValueError, match="what the body returns differ"):
            repeat(2, lambda i, ta, other=other: (other(ta),), array(2))


def test_grad_says_what_to_do():
    with pytest.raises(LookupError, match="gradients"):
        array(2).grad("source")


@pytest.mark.parametrize("size", [-1, [1, 2], 1.5])
def test_sizes(size):
    with pytest.raises((ValueError, TypeError)):
        dg.TensorArray(dg.float32, size)
