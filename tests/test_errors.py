"""Bad input: the error class, what the message names, and that the session works on."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import dagrad as dg

HERE = __file__.rpartition("/")[2]


pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def x():
    return dg.placeholder(dg.float32, [None, 3], name="x")


@pytest.fixture
def session(x):
    """A session that must give the right result before and after the error."""
    y = x * 2.0
    with dg.Session() as s:

        def works():
            np.testing.assert_array_equal(s.run(y, {x: [[1, 2, 3]]}), [[2, 4, 6]])

        works()
        yield s
        works()


def line():
    """The line before the caller's, as messages write it."""
    frame = inspect.currentframe().f_back
    return f"{HERE}:{frame.f_lineno - 1}"


# -- feeds ------------------------------------------------------


def test_wrong_shape(session, x):
    with pytest.raises(dg.errors.InvalidArgumentError) as caught:
        session.run(x * 2.0, {x: np.zeros((2, 4))})
    for part in ["(2, 4)", "(?, 3)", '"x"', HERE]:
        assert part in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.op is x.op


def test_wrong_rank(session, x):
    with pytest.raises(ValueError, match=r"\(3,\)"):
        session.run(x * 2.0, {x: np.zeros(3)})


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (dg.float32, "text"),
        (dg.float32, [["a", "b"]]),
        (dg.float32, None),
        (dg.float32, 1 + 2j),
        (dg.float32, [[1.0], [1.0, 2.0]]),
        (dg.float32, {1: 2}),
        (dg.int32, 1.5),
        (dg.int32, 2**40),
        (dg.int32, float("nan")),
        (dg.uint8, -1),
        (dg.uint8, 256),
        (dg.bool, 2),
        (dg.string, 5),
        (dg.string, np.array([5], dtype=object)),
    ],
    ids=repr,
)
def test_wrong_dtype(session, dtype, value):
    p = dg.placeholder(dtype, name="wanted")
    with pytest.raises(dg.errors.InvalidArgumentError) as caught:
        session.run(dg.identity(p), {p: value})
    assert '"wanted"' in str(caught.value)
    assert dtype.name in str(caught.value)
    assert HERE in str(caught.value)


def test_a_tensor_or_variable_as_value(session, x):
    v = dg.Variable([[1.0, 2.0, 3.0]])
    for value in (dg.ones([1, 3]), v, x.op):
        with pytest.raises(dg.errors.InvalidArgumentError, match=r"session\.run"):
            session.run(x * 2.0, {x: value})


@pytest.mark.parametrize("key", ["nothing:0", "x", 3, None, 1.5])
def test_unknown_feed_key(session, x, key):
    with pytest.raises(dg.errors.InvalidArgumentError, match="feed key"):
        session.run(x * 2.0, {key: np.zeros((1, 3)), x: np.zeros((1, 3))})


def test_a_misspelt_feed_key_names_the_nearest(session, graph):
    long = dg.placeholder(dg.float32, [], name="learning_rate")
    with pytest.raises(dg.errors.InvalidArgumentError, match="learning_rate"):
        session.run(long * 1.0, {"learning_rat:0": 1.0})


def test_feed_of_another_graphs_tensor(session, x):
    with dg.Graph().as_default():
        other = dg.placeholder(dg.float32, [], name="stranger")
    with pytest.raises(dg.errors.InvalidArgumentError, match="another graph"):
        session.run(x * 2.0, {x: np.zeros((1, 3)), other: 1.0})


def test_an_unfeedable_tensor(session, x, graph):
    y = x + 1.0
    graph.prevent_feeding(y)
    with pytest.raises(dg.errors.InvalidArgumentError, match="may not be fed"):
        session.run(y, {y: np.zeros((1, 3))})


def test_the_same_tensor_fed_twice(session, x):
    with pytest.raises(dg.errors.InvalidArgumentError, match="twice"):
        session.run(x * 2.0, {x: np.zeros((1, 3)), "x:0": np.ones((1, 3))})


def test_a_list_or_a_tensor_in_place_of_a_feed_dict(session, x, graph):
    y = dg.ones([2, 2])
    size = len(graph)
    for wrong in ([y], y, "x:0", 5):
        with pytest.raises(dg.errors.InvalidArgumentError, match="feed_dict"):
            session.run(y, wrong)
    assert len(graph) == size


def test_all_missing_feeds_are_listed_with_lines_and_fetches(session, x):
    a = dg.placeholder(dg.float32, [2], name="a")
    at_a = line()
    b = dg.placeholder(dg.int32, None, name="b")
    at_b = line()
    y = dg.multiply(a, 2.0, name="y")
    z = dg.add(dg.cast(b, dg.float32), x, name="z")
    with pytest.raises(dg.errors.InvalidArgumentError) as caught:
        session.run([y, z], {x: np.zeros((1, 3))})
    message = str(caught.value)
    for part in ['"a"', '"b"', at_a, at_b, "y:0", "z:0", "int32", "(2,)"]:
        assert part in message
    assert '"x"' not in message


def test_a_feed_of_a_stale_twin_is_pointed_out(session):
    made = [dg.placeholder(dg.float32, [], name="twin") for _ in range(2)]
    with pytest.raises(dg.errors.InvalidArgumentError, match="stale twin"):
        session.run(made[1] * 2.0, {made[0]: 1.0})


def test_a_missing_feed_is_found_though_shapes_were_planned_before(session, x):
    with pytest.raises(dg.errors.InvalidArgumentError, match="you must feed"):
        session.run(x * 2.0)
    with pytest.raises(dg.errors.InvalidArgumentError, match="you must feed"):
        session.plan(x * 2.0)


# -- fetches ----------------------------------------------------


def test_fetching_none_explains_gradients(session, x):
    unconnected = dg.gradients(dg.ones([]), x)[0]
    for fetch in (unconnected, [x, None], {"g": None}):
        with pytest.raises(TypeError, match="gradient"):
            session.run(fetch, {x: np.zeros((1, 3))})


@pytest.mark.parametrize(
    "fetch",
    [5, np.zeros(2), {1, 2}, object(), [[1.5]]],
    ids=["number", "array", "set", "object", "lists"],
)
def test_fetching_what_is_no_part_of_a_graph(session, fetch):
    with pytest.raises(TypeError, match="cannot fetch"):
        session.run(fetch)


def test_fetching_an_unknown_name(session, graph):
    dg.ones([], name="accuracy")
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        session.run("acuracy:0")
    with pytest.raises(ValueError, match="no 'accuracy:3'"):
        session.run("accuracy:3")


def test_fetching_another_graphs_tensor(session):
    with dg.Graph().as_default():
        other = dg.ones([2])
    for fetch in (other, other.op, [other]):
        with pytest.raises(ValueError, match="another graph"):
            session.run(fetch)


# -- sessions ---------------------------------------------------


def test_a_closed_session(x):
    y = x * 2.0
    session = dg.Session()
    call = session.make_callable(y, [x])
    session.run(y, {x: [[1, 2, 3]]})
    session.close()
    session.close()
    feeds = {x: [[1, 2, 3]]}
    for use in (
        lambda: session.run(y, feeds),
        lambda: call([[1, 2, 3]]),
        lambda: session.plan(y, feeds),
        lambda: session.make_callable(y, [x]),
        lambda: y.eval(feeds, session),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            use()


def test_eval_without_a_session(x):
    for use in (x.eval, x.op.run, dg.Variable([1.0]).eval):
        with pytest.raises(ValueError, match="session"):
            use()


def test_a_callable_with_a_wrong_number_of_values(session, x):
    call = session.make_callable(x * 2.0, [x])
    with pytest.raises(ValueError, match="1 values are needed, 2"):
        call([[1, 2, 3]], [[1, 2, 3]])
    np.testing.assert_array_equal(call([[1, 2, 3]]), [[2, 4, 6]])


def test_uninitialised_variables_are_all_named(session, x):
    v = dg.Variable([1.0, 1.0, 1.0], name="v")
    at_v = line()
    w = dg.Variable([1.0, 1.0, 1.0], name="w")
    at_w = line()
    y = (x + v) * w
    with pytest.raises(dg.errors.FailedPreconditionError) as caught:
        session.run(y, {x: [[1, 2, 3]]})
    for part in ['"v"', '"w"', at_v, at_w, "global_variables_initializer"]:
        assert part in str(caught.value)
    session.run(v.initializer)
    with pytest.raises(dg.errors.FailedPreconditionError) as caught:
        session.run(y, {x: [[1, 2, 3]]})
    assert '"v"' not in str(caught.value)
    session.run(w.initializer)
    np.testing.assert_array_equal(session.run(y, {x: [[1, 2, 3]]}), [[2, 3, 4]])


@pytest.mark.parametrize("traced", [False, True])
def test_an_uninitialised_variable_fetched_or_updated(session, traced):
    v = dg.Variable([1.0], name="v")
    options = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE) if traced else None
    for fetch in (v, v.assign_add([1.0]), v.value(), dg.identity(v)):
        with pytest.raises(dg.errors.FailedPreconditionError, match='"v"'):
            session.run(fetch, options=options)


# -- shapes that clash ------------------------------------------


def test_a_clash_at_build_time_names_both_inputs_and_their_lines(graph):
    a = dg.ones([2, 3], name="left")
    at_a = line()
    b = dg.ones([4, 5], name="right")
    at_b = line()
    size = len(graph)
    with pytest.raises(ValueError) as caught:
        dg.matmul(a, b, name="product")
    message = str(caught.value)
    for part in ['"product"', '"left"', '"right"', at_a, at_b, "(2, 3)", "(4, 5)"]:
        assert part in message
    assert len(graph) == size
    graph.validate()


def test_a_clash_at_build_time_under_broadcasting():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4, 3\)"):
        dg.ones([2, 3]) + dg.ones([4, 3])


def test_mixed_dtypes_at_build_time(graph):
    with pytest.raises(TypeError, match=r"float32.*int32"):
        dg.add_n([dg.ones([2, 2]), dg.ones([2, 2], dg.int32)])


def test_a_clash_at_run_time_names_static_and_actual_shapes(session, x):
    w = dg.placeholder(dg.float32, [None, 2], name="w")
    y = dg.matmul(x, w, name="product")
    with pytest.raises(dg.errors.InvalidArgumentError) as caught:
        session.run(y, {x: np.zeros((2, 3)), w: np.zeros((4, 2))})
    message = str(caught.value)
    for part in ['"product"', '"x"', '"w"', "(2, 3), (4, 2)", "(?, 2)", HERE]:
        assert part in message
    got = session.run(y, {x: np.ones((2, 3)), w: np.ones((3, 2))})
    np.testing.assert_array_equal(got, np.full((2, 2), 3.0))


def test_a_clash_in_a_backward_node_names_the_forward_one(session):
    a = dg.placeholder(dg.float32, [None], name="a")
    g = dg.placeholder(dg.float32, [None], name="g")
    y = dg.exp(a, name="forward")
    grad = dg.gradients(y, a, g)[0]
    with pytest.raises(dg.errors.InvalidArgumentError) as caught:
        session.run(grad, {a: np.zeros(2), g: np.zeros(3)})
    assert 'gradient of Exp "forward"' in str(caught.value)
    assert session.run(grad, {a: [0.0], g: [3.0]}) == [3.0]


def test_a_clash_found_by_a_kernel(session):
    # Sizes that depend on data are only known while the plan runs.
    a = dg.placeholder(dg.float32, [None], name="a")
    kept = dg.boolean_mask(a, a > 0.0)
    y = kept + a
    with pytest.raises(RuntimeError) as caught:
        session.run(y, {a: [-1.0, 2.0, 3.0]})
    assert "Add" in str(caught.value)
    assert HERE in str(caught.value)
    np.testing.assert_array_equal(session.run(y, {a: [1.0, 2.0]}), [2.0, 4.0])


def test_a_run_that_fails_leaves_variables_that_it_did_not_reach(session):
    v = dg.Variable([1.0])
    session.run(v.initializer)
    a = dg.placeholder(dg.int32, [])
    with dg.control_dependencies([dg.constant(7) // a]):
        write = v.assign_add([1.0])
    with pytest.raises(RuntimeError):
        session.run(write, {a: 0})
    assert session.run(v) == [1.0]
    assert session.run(write, {a: 1}) == [2.0]


# -- what a symbolic value is not -------------------------------


@pytest.mark.parametrize(
    ("use", "remedy"),
    [
        (bool, "dagrad.where"),
        (float, "session.run"),
        (int, "session.run"),
        (np.asarray, "session.run"),
        (lambda t: [1, 2, 3][t], "session.run"),
        (list, "unstack"),
        (len, "shape"),
    ],
)
def test_python_asks_a_tensor_for_a_value(use, remedy):
    t = dg.placeholder(dg.float32, [None], name="t")
    with pytest.raises(TypeError, match=remedy) as caught:
        use(t)
    assert "t:0" in str(caught.value)
    assert isinstance(caught.value, dg.errors.DagradError)


def test_if_tensor():
    t = dg.ones([])
    with pytest.raises(TypeError, match="truth value"):
        if t > 0.0:
            pass


def test_assignment_to_an_element():
    t = dg.ones([2])
    with pytest.raises(TypeError, match="tensor_scatter_update"):
        t[0] = 5.0


def test_an_unknown_numpy_function():
    with pytest.raises(TypeError, match=r"np\.unwrap"):
        np.unwrap(dg.ones([3]))
    with pytest.raises(TypeError, match=r"np\.add"):
        np.add.reduce(dg.ones([3]))


# -- names and graphs -------------------------------------------


def test_duplicate_names_are_made_unique():
    names = [dg.ones([], name="same").op.name for _ in range(3)]
    assert names == ["same", "same_1", "same_2"]


@pytest.mark.parametrize("name", ["has space", "_leading", "-x", "ünï", "a:0", ""])
def test_a_name_that_is_not_valid(name, graph):
    with pytest.raises(ValueError, match="not a valid name"):
        dg.placeholder(dg.float32, name=name)
    assert len(graph) == 0


def test_inputs_of_two_graphs(x):
    with dg.Graph().as_default():
        other = dg.ones([3], name="far")
    with pytest.raises(ValueError, match="another graph") as caught:
        dg.add(x, other)
    assert '"far"' in str(caught.value)
    assert HERE in str(caught.value)


def test_a_finalized_graph(session, x, graph):
    y = x + 1.0
    graph.finalize()
    with pytest.raises(ValueError, match="finalized"):
        x + 2.0
    # Running adds nothing to a graph.
    np.testing.assert_array_equal(session.run(y, {x: [[0, 0, 0]]}), [[1, 1, 1]])
    session.run([y, y.op], {x: [[0, 0, 0]]})


def test_an_unknown_operation(graph):
    with pytest.raises(KeyError, match="nothing"):
        graph.get_operation_by_name("nothing")
    with pytest.raises(ValueError, match="op:index"):
        graph.get_tensor_by_name("nothing")
