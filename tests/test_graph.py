"""The graph: names, scopes, control dependencies, collections, shapes, sources."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg

pytestmark = pytest.mark.usefixtures("graph")


# -- names and scopes ----------------------------------------------------------


def test_names_are_unique_whatever_their_case():
    names = [dg.constant(1.0, name=n).op.name for n in ("a", "A", "a", "a_1", "a")]
    assert names == ["a", "A_1", "a_2", "a_1_1", "a_3"]
    assert len({n.lower() for n in names}) == len(names)


def test_default_names_are_the_op_types():
    assert [dg.constant(1.0).op.name for _ in range(2)] == ["Const", "Const_1"]


def test_name_scopes_nest_and_are_numbered_when_repeated():
    with dg.name_scope("a") as outer:
        with dg.name_scope("b") as inner:
            x = dg.constant(1.0, name="x")
        with dg.name_scope("b"):
            y = dg.constant(1.0, name="x")
    with dg.name_scope("a") as again:
        pass
    assert (outer, inner, again) == ("a/", "a/b/", "a_1/")
    assert (x.name, y.name) == ("a/b/x:0", "a/b_1/x:0")


def test_a_scope_with_a_slash_is_entered_again():
    with dg.name_scope("a") as scope:
        dg.constant(1.0, name="x")
    with dg.name_scope("elsewhere"), dg.name_scope(scope):
        assert dg.constant(1.0, name="x").op.name == "a/x_1"
        assert dg.constant(1.0, name="y").op.name == "a/y"


def test_an_empty_scope_goes_to_the_top(graph):
    for top in (None, ""):
        with dg.name_scope("a"), graph.name_scope(top):
            assert "/" not in dg.constant(1.0, name="top").op.name


def test_a_scope_is_left_when_its_block_fails(graph):
    with pytest.raises(ZeroDivisionError), dg.name_scope("a"):
        raise ZeroDivisionError
    assert graph.get_name_scope() == ""


def test_an_op_and_a_scope_may_not_share_a_name():
    dg.constant(1.0, name="a")
    with dg.name_scope("a") as scope:
        assert scope == "a_1/"


def test_unique_name(graph):
    dg.constant(1.0, name="x")
    assert graph.unique_name("x", mark_as_used=False) == "x_1"
    assert graph.unique_name("x") == "x_1"
    assert graph.unique_name("x") == "x_2"
    assert dg.constant(1.0, name="x").op.name == "x_3"


def test_looking_up_by_name(graph):
    with dg.name_scope("a"):
        x = dg.constant(1.0, name="x")
    assert graph.get_tensor_by_name("a/x:0") is x
    assert graph.get_operation_by_name("a/x") is x.op
    assert graph.as_graph_element("a/x:0") is x
    assert graph.as_graph_element("a/x") is x.op
    assert graph.as_graph_element(dg.Variable(1.0, name="v")).name == "v:0"
    with pytest.raises(ValueError, match="tensor is needed"):
        graph.as_graph_element(x.op, allow_operation=False)
    with pytest.raises(ValueError, match="operation is needed"):
        graph.as_graph_element(x, allow_tensor=False)
    with pytest.raises(TypeError, match="neither"):
        graph.as_graph_element(3)
    with pytest.raises(TypeError, match="a name is a string, not 3"):
        graph.get_tensor_by_name(3)
    with pytest.raises(TypeError, match="a name is a string, not None"):
        graph.get_operation_by_name(None)


# -- structure ---------------------------------------------------------------------


def test_operations_are_in_topological_order(graph):
    x = dg.constant([1.0])
    y = dg.exp(x) + x
    assert [op.id for op in graph.get_operations()] == list(range(len(graph)))
    for op in graph.get_operations():
        assert all(t.op.id < op.id for t in op.inputs)
    assert x.consumers() == [op for op in graph.get_operations() if x in op.inputs]
    assert y.op.inputs[1] is x
    assert graph.version == len(graph)
    graph.validate()


def test_control_dependencies_nest_clear_and_skip_inputs(graph):
    a, b, c = (dg.constant(float(i), name=n) for i, n in enumerate("abc"))
    with graph.control_dependencies([a]):
        with graph.control_dependencies([b.op, a]):
            inner = dg.exp(c)
            fed_by_b = dg.exp(b)
            with graph.control_dependencies(None):
                free = dg.exp(c)
        outer = dg.exp(c)
    after = dg.exp(c)
    assert inner.op.control_inputs == (a.op, b.op)
    assert fed_by_b.op.control_inputs == (a.op,)
    assert free.op.control_inputs == after.op.control_inputs == ()
    assert outer.op.control_inputs == (a.op,)


def test_devices_are_recorded(graph):
    with dg.device("/gpu:1"):
        a = dg.constant(1.0)
        with graph.colocate_with(dg.constant(2.0)), dg.device(None):
            b = dg.constant(1.0)
    with graph.colocate_with(a):
        c = dg.constant(1.0)
    assert a.device == c.device
    assert "gpu" in a.device.lower()
    assert b.device == ""
    assert dg.Session().run(a) == 1.0


def test_attributes_are_read_only():
    op = dg.reduce_sum(dg.ones([2, 3]), axis=1).op
    with pytest.raises(TypeError):
        op.attrs["axis"] = 0
    with pytest.raises(ValueError, match="no attribute 'depth'"):
        op.get_attr("depth")


def test_a_failed_builder_leaves_the_graph_as_it_was(graph):
    a, b = dg.ones([2, 3]), dg.ones([4, 5])
    size = len(graph)
    with pytest.raises(ValueError, match="broadcast"):
        dg.add(a, b, name="sum")
    assert len(graph) == size
    assert a.consumers() == []
    assert dg.add(a, a, name="sum").op.name == "sum"
    graph.validate()


def test_collections(graph):
    graph.add_to_collection("k", 1)
    graph.add_to_collections(["k", "j"], 2)
    assert graph.get_collection("k") == [1, 2]
    graph.get_collection("k").append(5)
    assert graph.get_collection("k") == [1, 2]
    graph.get_collection_ref("k").append(5)
    assert graph.get_collection("k") == [1, 2, 5]
    assert sorted(graph.get_all_collection_keys()) == ["j", "k"]
    graph.clear_collection("k")
    assert graph.get_collection("k") == []
    with dg.name_scope("s"):
        x = dg.constant(1.0)
    graph.add_to_collection("t", x)
    assert graph.get_collection("t", scope="s/") == [x]
    assert graph.get_collection("t", scope="other") == []


def test_default_graphs(graph):
    other = dg.Graph()
    with other.as_default():
        assert dg.get_default_graph() is other
        assert dg.constant(1.0).graph is other
        with pytest.raises(ValueError, match="as_default"):
            dg.reset_default_graph()
    assert dg.get_default_graph() is graph


def test_operators_stay_in_the_graph_of_their_operands(graph):
    with dg.Graph().as_default():
        far = dg.constant([1.0, 2.0])
    assert (far * 2.0 + 1.0).graph is far.graph
    assert dg.gradients(far * far, far)[0].graph is far.graph
    assert len(graph) == 0


def test_the_source_of_an_operation_is_the_users_line():
    x = dg.constant(1.0)  # the line that counts
    assert x.op.source.filename == __file__
    assert x.op.source.text == "x = dg.constant(1.0)  # the line that counts"
    assert x.op.source.function.startswith("test_the_source")


# -- static shapes and values -------------------------------------------------------


def test_tf1_reads_shapes():
    x = dg.placeholder(dg.float32, [None, 3])
    assert x.shape.as_list() == x.get_shape().as_list() == [None, 3]
    assert x.shape[0].value is None
    assert x.shape[1].value == 3
    assert x.shape.ndims == 2
    assert np.zeros(x.shape[1]).shape == (3,)
    assert dg.placeholder(dg.float32).shape.ndims is None
    with pytest.raises(ValueError, match="unknown rank"):
        dg.placeholder(dg.float32).shape.as_list()


def test_set_shape_merges_or_raises():
    x = dg.placeholder(dg.float32, [None, 3], name="x")
    x.set_shape([2, None])
    assert x.shape == [2, 3]
    with pytest.raises(ValueError, match='"x"'):
        x.set_shape([5, 3])
    with pytest.raises(ValueError, match='"x"'):
        x.set_shape([2, 3, 1])
    assert x.shape == [2, 3]


def test_sizes_are_followed_through_arithmetic():
    x = dg.placeholder(dg.float32, [None, 4, 6])
    size = dg.shape(x)
    y = dg.reshape(x, [size[0], size[1] * size[2] // 2, -1])
    assert y.shape.as_list()[:2] == [None, 12]
    assert dg.ones([dg.shape(dg.ones([3, 5]))[1] + 1]).shape == [6]


def test_size_arithmetic_that_fails_is_left_to_the_run():
    n = dg.constant([3, 4])
    bad = n // dg.constant([0, 1])  # no error before somebody wants the value
    with pytest.raises(dg.errors.OpError):
        dg.Session().run(bad)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([None, 3], [3], [None, 3]),
        ([None], [4], [4]),
        ([None], [1], [None]),
        ([None], [None], [None]),
        ([2, 1, 3], [5, 1], [2, 5, 3]),
        ([0], [1], [0]),
    ],
)
def test_broadcasting_of_partial_shapes(a, b, expected):
    x, y = dg.placeholder(dg.float32, a), dg.placeholder(dg.float32, b)
    assert (x + y).shape.as_list() == (y + x).shape.as_list() == expected


def test_an_unknown_rank_stays_unknown():
    x = dg.placeholder(dg.float32)
    assert (x + dg.ones([2])).shape.ndims is None


# -- operators ------------------------------------------------------------------------


def test_equality_of_tensors_is_identity():
    a, b = dg.constant(1.0), dg.constant(1.0)
    assert a == a
    assert a != b
    assert a in [b, a]
    assert {a: 1, b: 2}[a] == 1


def test_numpy_functions_and_operands_build_nodes():
    x = dg.constant([1.0, 4.0])
    got = dg.Session().run(
        [np.sqrt(x), np.array([1.0, 1.0], np.float32) + x, 2.0 - x, np.float32(3) * x]
    )
    np.testing.assert_array_equal(got, [[1, 2], [2, 5], [1, -2], [3, 12]])


def test_iteration_over_a_known_first_axis():
    a, b = dg.constant([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(dg.Session().run([a, b]), [[1, 2], [3, 4]])
    assert len(dg.ones([4, 2])) == 4
