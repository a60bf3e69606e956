"""Variables: what TF1 programs see of them, and the order of reads and writes."""

from __future__ import annotations

import numpy as np
import pytest

from dagrad.graphlib import errors
from dagrad.graphlib.gradients import IndexedSlices, gradients
from dagrad.graphlib.graph import get_default_graph
from dagrad.graphlib.keys import GraphKeys
from dagrad.ops import initialization as init
from dagrad.ops import scatter_state as scatter
from dagrad.ops import training
from dagrad.ops._build import constant
from dagrad.ops.core import identity, placeholder
from dagrad.ops.random import random_normal
from dagrad.ops.state import Variable, assign, assign_add, is_variable_initialized
from dagrad.runtime.session import Session

pytestmark = pytest.mark.usefixtures("graph")


def started(*fetches, feeds=None):
    """Initialise everything, then run the fetches, each in a run of its own."""
    session = Session()
    session.run(init.global_variables_initializer())
    results = [session.run(f, feeds) for f in fetches]
    return results[0] if len(results) == 1 else results


# -- building ------------------------------------------------------------------


def test_operations_have_tf1_names(graph):
    Variable([1.0, 2.0], name="v")
    names = [(op.name, op.type) for op in graph.get_operations()]
    assert names == [
        ("v/initial_value", "Const"),
        ("v", "VariableV2"),
        ("v/Assign", "Assign"),
        ("v/read", "Identity"),
    ]


def test_default_name_is_made_unique():
    assert [Variable(0.0).name for _ in range(3)] == [
        "Variable:0",
        "Variable_1:0",
        "Variable_2:0",
    ]


def test_collections():
    a = Variable(0.0)
    b = Variable(0.0, trainable=False)
    c = Variable(0.0, collections=["mine"])
    graph = get_default_graph()
    assert graph.get_collection(GraphKeys.GLOBAL_VARIABLES) == [a, b]
    assert graph.get_collection(GraphKeys.TRAINABLE_VARIABLES) == [a, c]
    assert graph.get_collection("mine") == [c]
    assert init.trainable_variables() == [a, c]


def test_attributes():
    v = Variable(np.zeros((2, 3), np.float64), name="w")
    assert (v.name, v.op.name, v.dtype.name) == ("w:0", "w", "float64")
    assert v.shape.as_list() == v.get_shape().as_list() == [2, 3]
    assert v.initializer.type == "Assign"
    assert v.graph is get_default_graph()
    assert repr(v) == "<dagrad.Variable 'w:0' shape=(2, 3) dtype=float64>"


def test_initial_value_can_be_a_function():
    v = Variable(lambda: constant([1.0, 2.0]) + 1, name="v")
    assert v.initial_value.name.startswith("v/Initializer/")
    np.testing.assert_array_equal(started(v), [2, 3])


def test_dtype_converts_plain_values():
    assert started(Variable(1, dtype="float64")).dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"initial_value": 0.0, "constraint": 3}, ValueError),
        ({"initial_value": [1.0], "shape": (2,)}, errors.ShapeError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error):
        Variable(**arguments)


def test_shape_of_initial_value_must_be_known():
    with pytest.raises(errors.ShapeError, match="validate_shape"):
        Variable(placeholder("float32", (None,)))


def test_identity_equality_and_hash():
    a, b = Variable(0.0), Variable(0.0)
    assert a != b
    assert len({a, b, a}) == 2
    assert a in [b, a]


def test_created_inside_control_dependencies_it_does_not_wait():
    with get_default_graph().control_dependencies([constant(1.0)]):
        v = Variable(0.0)
    assert all(not op.control_inputs for op in (v.op, v.initializer, v.value().op))


# -- as a value ----------------------------------------------------------------


def test_operators_work_on_the_value():
    v = Variable([1.0, 2.0])
    got = started([v + 1, 1 - v, v * v, 2 / v, -v, v**2, v[1], abs(v), v > 1.5])
    want = [[2, 3], [0, -1], [1, 4], [2, 1], [-1, -2], [1, 4], 2, [1, 2], [0, 1]]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


def test_numpy_functions_build_nodes():
    v = Variable([1.0, 2.0])
    product = started(np.multiply(np.array([3.0, 4.0], np.float32), v))
    np.testing.assert_array_equal(product, [3, 8])
    np.testing.assert_array_equal(started(np.float32(2) + v), [3, 4])


def test_iteration_and_truth_are_refused():
    v = Variable([1.0, 2.0])
    with pytest.raises(TypeError, match="iterate"):
        iter(v)
    with pytest.raises(TypeError, match="truth"):
        bool(v)


def test_gradient_reaches_every_read():
    v = Variable([1.0, 2.0])
    y = v * v + v.read_value() * identity(v)
    np.testing.assert_array_equal(started(gradients(y, v)[0]), [4, 8])


def test_gradient_through_a_write_is_an_error():
    v = Variable(1.0)
    x = constant(2.0)
    with pytest.raises(errors.GradientError, match="writes a variable"):
        gradients(v.assign(x), x)


# -- reads and writes ----------------------------------------------------------


def test_a_read_sees_the_value_before_the_runs_writes():
    v = Variable(1.0)
    read, write = v.value(), v.assign(5.0)
    session = Session()
    session.run(v.initializer)
    assert session.run([read, write, v + 0]) == [1, 5, 1]
    assert session.run(v) == 5


def test_a_read_inside_control_dependencies_sees_the_write():
    v = Variable(1.0)
    with get_default_graph().control_dependencies([v.assign(5.0)]):
        after = v + 1
    assert started([after, v.value() + 1]) == [6, 2]


def test_reads_in_one_block_share_a_node():
    v = Variable(1.0)
    with get_default_graph().control_dependencies([v.assign(5.0)]):
        assert v._as_tensor() is v._as_tensor()
        assert v._as_tensor() is not v.value()
    assert v._as_tensor() is v.value()


def test_writes_happen_in_order_of_creation():
    v = Variable(1.0)
    ops = [v.assign_add(2.0), v.assign(v * 10), v.assign_sub(3.0)]
    session = Session()
    session.run(v.initializer)
    session.run([op.op for op in reversed(ops)])
    assert session.run(v) == 7  # v * 10 reads the 1 before the run's writes


def test_assign_returns_the_value_after_it():
    v = Variable([1.0, 2.0])
    assert v.assign([3, 4], read_value=False).type == "Assign"
    np.testing.assert_array_equal(started(v.assign_add([1, 1])), [2, 3])
    np.testing.assert_array_equal(started(assign(v, [3, 4])), [3, 4])


def test_writes_can_be_chained():
    v = Variable(1.0)
    assert started(assign_add(assign(v, 2.0), 3.0)) == 5


def test_load_and_eval():
    v = Variable([1.0, 2.0])
    with Session() as session:
        v.load([8, 9], session)
        np.testing.assert_array_equal(v.eval(session), [8, 9])
        np.testing.assert_array_equal(v.eval(), [8, 9])


def test_a_value_of_another_shape_or_dtype_is_refused():
    v = Variable([1.0, 2.0])
    with pytest.raises(errors.ShapeError):
        v.assign([1.0])
    with pytest.raises(errors.ShapeError):
        v.assign_add(1.0)
    with pytest.raises(errors.DTypeError):
        v.assign(constant([1, 2]))
    with pytest.raises(errors.DTypeError):
        Variable(True).assign_add(True)


def test_a_fed_value_of_another_shape_is_refused_in_the_run():
    v = Variable([1.0, 2.0])
    x = placeholder("float32")
    write = v.assign_add(x)
    with pytest.raises(errors.DagradError, match=r"\(3,\)"):
        started(write, feeds={x: np.zeros(3)})


def test_only_variables_can_be_written():
    with pytest.raises(errors.DTypeError, match="not a variable"):
        assign(constant(1.0), 2.0)


def test_unvalidated_shape_can_change():
    v = Variable([1.0], validate_shape=False)
    assert v.shape.ndims is None
    session = Session()
    session.run(v.initializer)
    session.run(v.assign([[1.0, 2.0], [3.0, 4.0]]))
    assert session.run(v).shape == (2, 2)
    assert session.run(v * 2).shape == (2, 2)


def test_self_assignment_of_a_view():
    v = Variable(np.arange(9.0).reshape(3, 3))
    flipped = started(v.assign(v.value().T))
    np.testing.assert_array_equal(flipped, np.arange(9.0).reshape(3, 3).T)


# -- initialising --------------------------------------------------------------


def test_reading_before_initialising_is_an_error():
    v = Variable(1.0, name="weights")
    with pytest.raises(errors.FailedPreconditionError, match="weights"):
        Session().run(v + 1)


def test_is_variable_initialized():
    v = Variable(1.0)
    flag = is_variable_initialized(v)
    session = Session()
    assert not session.run(flag)
    session.run(v.initializer)
    assert session.run(flag)


def test_report_uninitialized_variables():
    a, b = Variable(1.0, name="a"), Variable(2.0, name="b")
    report = init.report_uninitialized_variables()
    session = Session()
    assert list(session.run(report)) == [b"a", b"b"]
    session.run(a.initializer)
    assert list(session.run(report)) == [b"b"]
    session.run(b.initializer)
    assert list(session.run(report)) == []


def test_initial_values_that_read_other_variables():
    a = Variable(random_normal([3]))
    b = Variable(a.initialized_value() * 2)
    c = Variable(a * 3 + b)
    session = Session()
    starts = init.global_variables_initializer()
    for _ in range(3):  # again: new draws of a, and b and c follow them
        session.run(starts)
        x, y, z = session.run([a, b, c])
        np.testing.assert_array_equal(y, x * 2)
        np.testing.assert_array_equal(z, x * 3 + y)


def test_initialising_in_any_order():
    a = Variable(2.0)
    b = Variable(a * 5)
    session = Session()
    session.run(init.variables_initializer([b, a]))
    assert session.run([a, b]) == [2, 10]


def test_one_initializer_alone_takes_initial_values_where_there_is_no_value():
    a = Variable(2.0)
    b = Variable(a * 5)
    c = Variable(b + 1)
    session = Session()
    session.run(c.initializer)
    assert session.run(c) == 11
    session.run([a.initializer, a.assign(3.0)])
    session.run(b.initializer)
    assert session.run(b) == 15


def test_a_long_chain_of_initial_values():
    v = Variable(0.0)
    for _ in range(1500):
        v = Variable(v + 1)
    assert started(v) == 1500


def test_no_variables_to_initialise():
    assert init.variables_initializer([]).type == "NoOp"


def test_local_variables():
    v = Variable(1.0, collections=[GraphKeys.LOCAL_VARIABLES], trainable=False)
    assert init.local_variables() == [v]
    session = Session()
    session.run(init.local_variables_initializer())
    assert session.run(v) == 1


# -- writing to parts ----------------------------------------------------------


def test_scatter_methods_take_indexed_slices():
    v = Variable(np.zeros((3, 2), np.float32))
    rows = IndexedSlices(constant([[1.0, 2.0], [3.0, 4.0]]), constant([2, 2]), v)
    np.testing.assert_array_equal(started(v.scatter_add(rows)), [[0, 0]] * 2 + [[4, 6]])
    np.testing.assert_array_equal(
        started(v.scatter_update(rows)), [[0, 0]] * 2 + [[3, 4]]
    )


def test_more_scatter_methods_and_reads_of_parts():
    v = Variable([[4.0], [6.0]])
    rows = IndexedSlices(constant([[2.0]]), constant([1]), v)
    for method, expected in (("mul", 12), ("div", 3), ("min", 2), ("max", 6)):
        assert started(getattr(v, f"scatter_{method}")(rows))[1, 0] == expected
    np.testing.assert_array_equal(started(v.sparse_read([1, 1])), [[6], [6]])
    np.testing.assert_array_equal(started(v.gather_nd([[1, 0]])), [6])


def test_scalar_updates_go_to_every_row():
    v = Variable(np.zeros((3, 2), np.float32))
    got = started(scatter.scatter_update(v, [0, 2], 7.0))
    np.testing.assert_array_equal(got, [[7, 7], [0, 0], [7, 7]])


@pytest.mark.parametrize("bad", [-1, 3])
def test_scatter_out_of_range_raises(bad):
    v = Variable([1.0, 2.0, 3.0])
    with pytest.raises(errors.InvalidArgumentError, match=r"not in\s+\[0, 3\)"):
        started(scatter.scatter_add(v, [0, bad], [1.0, 1.0]))


def test_scatter_of_the_variables_own_value():
    v = Variable([1.0, 2.0, 3.0])
    got = started(scatter.scatter_add(v, [2, 1, 0], v))
    np.testing.assert_array_equal(got, [4, 4, 4])


def test_integer_scatter_div_truncates_and_refuses_zero():
    v = Variable([7, -7])
    np.testing.assert_array_equal(
        started(scatter.scatter_div(v, [0, 1], [2, 2])), [3, -3]
    )
    with pytest.raises(errors.InvalidArgumentError, match="zero"):
        started(scatter.scatter_div(v, [0], [0]))


# -- optimizers' updates -------------------------------------------------------


def _adam(x, m, v, g, alpha):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return x - alpha * m / (np.sqrt(v) + 1e-8), m, v


@pytest.mark.parametrize("n", [1, 32768, 32769, 100_000])
def test_adam_in_tiles(n):
    rng = np.random.default_rng(0)
    x, m, g = rng.standard_normal((3, n))
    v = rng.random(n)
    want = _adam(x, m, v, g, 0.01 * np.sqrt(1 - 0.999) / (1 - 0.9))
    arrays = [x.copy(), m.copy(), v.copy()]
    scalars = [np.asarray(s) for s in (0.9, 0.999, 0.01, 0.9, 0.999, 1e-8)]
    training.ADAM.kernel(np, *arrays, *scalars, g, use_nesterov=False)
    for got, expected in zip(arrays, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_a_gradient_that_is_a_view_of_the_variable():
    start = np.arange(12.0).reshape(4, 3) @ np.arange(12.0).reshape(3, 4)
    v = Variable(start)
    got = started(training.apply_gradient_descent(v, 0.5, v.value().T))
    np.testing.assert_array_equal(got, start - 0.5 * start.T)


def test_updates_allocate_nothing():
    import tracemalloc

    arrays = [np.ones(200_000, np.float32) for _ in range(4)]
    scalars = [np.asarray(s, np.float32) for s in (0.9, 0.99, 0.1, 0.9, 0.99, 1e-8)]
    work = [np.empty(32768, np.float32)] * 2

    def step():
        training.ADAM.kernel(
            np, *arrays[:3], *scalars, arrays[3], use_nesterov=False, work=work
        )

    step()
    tracemalloc.start()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000  # bytes: views and scalars, no array of 200,000


def test_a_slot_must_have_the_variables_shape_and_dtype():
    v, slot = Variable([1.0, 2.0]), Variable([1.0])
    with pytest.raises(errors.ShapeError):
        training.apply_momentum(v, slot, 0.1, constant([1.0, 1.0]), 0.9)
    with pytest.raises(errors.DTypeError):
        training.apply_gradient_descent(v, 0.1, constant([1.0, 1.0], "float64"))
    with pytest.raises(errors.DTypeError):
        training.apply_gradient_descent(Variable([1]), 1, constant([1]))
