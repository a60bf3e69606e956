"""import_graph_def: graphs that TensorFlow froze give its numbers; others are refused.

``fixtures/make_graphdefs.py`` made the files.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import frozen
import numpy as np
import pytest
from google.protobuf import text_format

import dagrad as tf
from dagrad._graphdef.table import _FAMILIES, BUILDERS
from dagrad._graphdef.values import Budget, array_of, dtype_of
from dagrad.graphlib.errors import DTypeError, GraphError, MissingNameError, ShapeError

COMPUTED = ("arithmetic", "arrays", "constants", "images", "layers", "lenet", "old")
COMPUTED += ("more_arrays", "recurrent", "separable")
DRAWN = ("boxes", "loop")


@pytest.fixture(autouse=True)
def graph() -> Any:
    with tf.Graph().as_default() as graph:
        yield graph


def run(names: Any, feeds: dict[str, Any]) -> list[Any]:
    graph = tf.get_default_graph()
    with tf.Session() as session:
        return session.run(
            list(names), {graph.get_tensor_by_name(k): v for k, v in feeds.items()}
        )


# -- the numbers are TensorFlow's ----------------------------------------------


@pytest.mark.parametrize("name", COMPUTED)
def test_results_are_tensorflows(name: str) -> None:
    wanted, feeds = frozen.arrays(name, "out"), frozen.arrays(name, "in")
    assert wanted
    made = tf.import_graph_def(frozen.load(name), return_elements=list(wanted), name="")
    assert made is not None
    for static, (tensor, array) in zip(made, wanted.items()):
        assert isinstance(static, tf.Tensor) and static.name == tensor
        if array.dtype.kind != "S":
            assert static.dtype == array.dtype, tensor
        assert static.shape.is_compatible_with(array.shape), tensor
    for tensor, found in zip(wanted, run(wanted, feeds)):
        array = wanted[tensor]
        if array.dtype.kind == "S":
            assert found.tolist() == array.tolist()
            continue
        assert found.dtype == array.dtype, tensor
        exact = array.dtype.kind in "biu"
        tolerance = {"f2": 2e-3, "f4": 2e-6, "c8": 2e-6}.get(array.dtype.str[1:], 1e-12)
        np.testing.assert_allclose(
            found,
            array,
            rtol=0 if exact else 4 * tolerance,
            atol=0 if exact else tolerance,
            err_msg=tensor,
        )


def test_every_op_type_of_the_table_is_in_a_file() -> None:
    found = {n.op for name in (*COMPUTED, "state") for n in frozen.load(name).node}
    assert BUILDERS.keys() - found == set()


def test_an_op_type_is_built_in_one_place() -> None:
    types = [type for family in _FAMILIES for type in family.BUILDERS]
    assert len(types) == len(set(types)) == len(BUILDERS)


def test_variables_start_and_step() -> None:
    tf.import_graph_def(frozen.load("state"), name="")
    graph = tf.get_default_graph()
    wanted = frozen.arrays("state", "out")
    with tf.Session() as session:
        before = session.run(["is:0", "is_too:0"])
        assert before == frozen.saved()["state|before"].tolist() == [False, False]
        session.run("init")
        session.run("step")
        for tensor, array in wanted.items():
            np.testing.assert_array_equal(session.run(tensor), array, err_msg=tensor)
        uniform, normal = session.run(["uniform:0", "normal:0"])
        truncated, whole = session.run(["truncated:0", "integers:0"])
    assert ((uniform >= 0) & (uniform < 1)).all() and uniform.shape == (2, 3)
    assert normal.shape == (2, 3) and len(set(normal.ravel())) == 6
    assert whole.dtype == np.int32 and set(whole) <= {3, 4} and whole.shape == (9,)
    assert truncated.dtype == np.float64 and (abs(truncated) < 2).all()
    assert graph.get_operation_by_name("init").type == "NoOp"


def test_imported_graphs_are_differentiated_and_saved(tmp_path: Path) -> None:
    x, y = tf.import_graph_def(
        frozen.load("separable"), return_elements=["input:0", "scores:0"], name="net"
    )
    (slope,) = tf.gradients(y, x)
    feed = frozen.arrays("separable", "in")["input:0"]
    with tf.Session() as session:
        own = session.run([y, slope], {x: feed})
    tf.get_default_graph().save(tmp_path / "net.json")
    graph = tf.Graph.load(tmp_path / "net.json")
    with tf.Session(graph=graph) as session:
        again = session.run([y.name, slope.name], {x.name: feed})
    for a, b in zip(own, again):
        np.testing.assert_array_equal(a, b)
    wanted = frozen.saved()["separable|slope"]
    np.testing.assert_allclose(own[1], wanted, rtol=1e-5, atol=1e-6)


# -- names, maps and elements, as TF1 has them ---------------------------------


TEXT = """
node {
  name: "s/x" op: "Placeholder"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: 2 } } } }
}
node { name: "w" op: "NoOp" device: "/cpu:0" }
node {
  name: "s/y" op: "Neg" input: "s/x" input: "^w"
  attr { key: "T" value { type: DT_FLOAT } }
}
node { name: "parts" op: "Unpack" input: "s/y:0" attr { key: "num" value { i: 2 } } }
node { name: "sum" op: "Add" input: "parts:1" input: "parts" }
versions { producer: 27 }
"""


def small() -> Any:
    return text_format.Parse(TEXT, tf.GraphDef())


def test_names_stand_under_import() -> None:
    graph = tf.get_default_graph()
    assert tf.import_graph_def(small()) is None
    assert [op.name for op in graph.get_operations()] == [
        "import/s/x",
        "import/w",
        "import/s/y",
        "import/parts",
        "import/sum",
    ]
    parts = graph.get_operation_by_name("import/parts")
    assert [t.name for t in parts.outputs] == ["import/parts:0", "import/parts:1"]
    y = graph.get_operation_by_name("import/s/y")
    assert [c.name for c in y.control_inputs] == ["import/w"]
    assert y.source is not None and y.source.filename == __file__
    assert graph.get_operation_by_name("import/w").device == "/cpu:0"
    tf.import_graph_def(small())
    with tf.name_scope("outer"), tf.control_dependencies([y]), tf.device("/gpu:0"):
        tf.import_graph_def(small(), name="net")
    again = graph.get_operation_by_name("import_1/s/y")
    assert [c.name for c in again.control_inputs] == ["import_1/w"]
    again = graph.get_operation_by_name("outer/net/s/y")
    assert [c.name for c in again.control_inputs] == ["import/s/y", "outer/net/w"]
    assert again.device == "/gpu:0"
    assert graph.get_operation_by_name("outer/net/w").device == "/cpu:0"
    tf.import_graph_def(small(), name="")
    assert graph.get_tensor_by_name("sum:0").op.type == "Add"
    # Twice at the top: names that are taken get a number.
    (total,) = tf.import_graph_def(small(), return_elements=["sum"], name="")
    assert total.name == "sum_1"
    assert [t.name for t in total.inputs] == ["parts_1:1", "parts_1:0"]


def test_elements_come_back_in_the_order_of_their_names() -> None:
    found = tf.import_graph_def(
        small(), return_elements=["sum:0", "w", "parts:1", "parts"], name="n"
    )
    assert found is not None
    assert [e.name for e in found] == ["n/sum:0", "n/w", "n/parts:1", "n/parts"]
    assert isinstance(found[1], tf.Operation) and isinstance(found[2], tf.Tensor)
    assert tf.import_graph_def(small(), return_elements=[]) == []
    wrong: Any
    for wrong in ("nothing", "nothing:0", "parts:2", "w:0", "parts:x"):
        with pytest.raises(ValueError, match=wrong.partition(":")[0]):
            tf.import_graph_def(small(), return_elements=[wrong])
    for wrong in ("sum:0", [3]):
        with pytest.raises(TypeError):
            tf.import_graph_def(small(), return_elements=wrong)


def test_inputs_are_mapped() -> None:
    two = tf.constant([3.0, 5.0])
    hook = tf.no_op(name="hook")
    mapped = {"s/x:0": two, "^w": hook, "parts": tf.constant(10.0)}
    total, x, y = tf.import_graph_def(
        small(), mapped, return_elements=["sum:0", "s/x:0", "s/y"], name="m"
    )
    assert x is two
    assert y.inputs[0] is two and y.control_inputs == (hook,)
    # What is mapped is there all the same.
    assert tf.get_default_graph().get_operation_by_name("m/s/x").type == "Placeholder"
    assert run([total], {}) == [5.0]  # parts:1 is -5, parts:0 is mapped to 10
    # As an element, too, what is mapped is what it is mapped to.
    assert tf.import_graph_def(small(), {"sum": two}, return_elements=["sum:0"]) == [
        two
    ]
    total = tf.import_graph_def(small(), {"s/x": [1.0, 2.0]}, return_elements=["sum:0"])
    assert run(total, {}) == [-3.0]
    with pytest.raises(ValueError, match="no 'nothing:0'"):
        tf.import_graph_def(small(), {"nothing": two})
    with pytest.raises(TypeError, match=r"'s/x:0' is float32, .* is int32"):
        tf.import_graph_def(small(), {"s/x": tf.constant([1, 2])})


def test_a_name_in_the_file_is_kept_where_builders_need_more_names() -> None:
    graph_def = frozen.load("layers")
    taken = graph_def.node.add(name="LRN/Square", op="Const")
    taken.CopyFrom(next(n for n in graph_def.node if n.name == "w"))
    taken.name = "LRN/Square"
    tf.import_graph_def(graph_def, name="")
    graph = tf.get_default_graph()
    assert {n.name for n in graph_def.node} <= {o.name for o in graph.get_operations()}
    assert graph.get_operation_by_name("LRN/Square").type == "Const"


def test_in_a_loop_what_is_imported_belongs_to_the_body() -> None:
    graph_def = tf.GraphDef()
    x = graph_def.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = 1
    graph_def.node.add(name="y", op="Square", input=["x"])

    def body(i: Any, h: Any) -> Any:
        (y,) = tf.import_graph_def(graph_def, {"x": h}, return_elements=["y:0"])
        return i + 1, y

    _, h = tf.while_loop(lambda i, h: i < 3, body, [0, 1.5])
    assert run([h], {}) == [pytest.approx(1.5**8)]


def test_a_file_of_tensorflows_own_class_is_taken() -> None:
    """Any message called GraphDef has the fields that are read."""

    class Descriptor:
        name = "GraphDef"

    class Other:
        DESCRIPTOR = Descriptor()

        def __init__(self, inner: Any) -> None:
            self.node, self.versions = inner.node, inner.versions

    (total,) = tf.import_graph_def(
        Other(small()), {"s/x": [1.0, 2.0]}, return_elements=["sum:0"]
    )
    assert run([total], {}) == [-3.0]
    wrong: Any
    for wrong in (small().node[0], b"", None):
        with pytest.raises(TypeError, match="needs a GraphDef"):
            tf.import_graph_def(wrong)


def test_old_files_do_not_tell_an_unknown_shape_from_a_scalar() -> None:
    assert frozen.saved()["old|rank"]  # TensorFlow itself
    tf.import_graph_def(frozen.load("old"), name="")
    graph = tf.get_default_graph()
    assert graph.get_tensor_by_name("x:0").shape.ndims is None
    newer = frozen.load("old")
    newer.versions.producer = 22
    tf.import_graph_def(newer, name="newer")
    assert graph.get_tensor_by_name("newer/x:0").shape.as_list() == []


def test_the_part_that_nodes_need() -> None:
    whole = frozen.load("boxes")
    part = tf.graph_util.extract_sub_graph(whole, ["scores"])
    names = [n.name for n in part.node]
    assert names == [n.name for n in whole.node if n.name in names]
    assert "nms" not in " ".join(names) and {"x", "scores"} <= set(names)
    assert part.versions == whole.versions
    feeds, wanted = frozen.arrays("boxes", "in"), frozen.arrays("boxes", "out")
    tf.import_graph_def(part, name="")
    np.testing.assert_allclose(*run(["scores:0"], feeds), wanted["scores:0"], rtol=1e-6)
    wrong: Any
    with pytest.raises(MissingNameError, match="'nothing'"):
        tf.graph_util.extract_sub_graph(whole, ["nothing"])
    for wrong in ((whole, "scores"), (None, ["scores"])):
        with pytest.raises(TypeError):
            tf.graph_util.extract_sub_graph(*wrong)


# -- what dagrad does not have -------------------------------------------------


def test_missing_op_types_are_named_before_anything_is_made() -> None:
    graph = tf.get_default_graph()
    with pytest.raises(GraphError) as caught:
        tf.import_graph_def(frozen.load("boxes"))
    said = str(caught.value)
    assert "NonMaxSuppressionV3 ('nms/NonMaxSuppressionV3')" in said
    assert "extract_sub_graph" in said
    assert len(graph) == 0


def test_loops_of_tf1_are_refused_by_name() -> None:
    with pytest.raises(GraphError) as caught:
        tf.import_graph_def(frozen.load("loop"))
    said = str(caught.value)
    assert all(type in said for type in ("Enter", "Exit", "Merge", "NextIteration"))
    assert "while_loop" in said


def test_what_reads_a_constant_that_waits_waits_too() -> None:
    """TensorFlow leaves the order to the constant where that is enough."""
    graph_def = frozen.load("state")
    ones = next(n for n in graph_def.node if n.name == "ones")
    assert ones.op == "Const" and list(ones.input) == ["^AssignAdd"]
    tf.import_graph_def(graph_def, name="")
    op = tf.get_default_graph().get_operation_by_name("ones")
    assert [c.name for c in op.control_inputs] == ["AssignAdd"]
    assert op.inputs[0].op.type == "Const"
    assert op.inputs[0].name == "ones/value:0"


def change(build: Callable[[Any], None]) -> Any:
    """The small graph, changed."""
    graph_def = small()
    build(graph_def)
    return graph_def


def attr(node: int, name: str, **value: Any) -> Callable[[Any], None]:
    def build(graph_def: Any) -> None:
        graph_def.node[node].attr[name].CopyFrom(tf.AttrValue(**value))

    return build


def inputs(node: int, *names: str) -> Callable[[Any], None]:
    def build(graph_def: Any) -> None:
        graph_def.node[node].input[:] = names

    return build


def rename(node: int, name: str) -> Callable[[Any], None]:
    def build(graph_def: Any) -> None:
        graph_def.node[node].name = name

    return build


def retype(node: int, type: str) -> Callable[[Any], None]:
    def build(graph_def: Any) -> None:
        graph_def.node[node].op = type

    return build


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (rename(1, "sum"), "two nodes are called 'sum'"),
        (rename(1, "a b"), "'a b' is not a valid name"),
        (rename(1, ""), "'' is not a valid name"),
        (rename(1, "w/"), "'w/' is the name of a scope"),
        (retype(1, "No\x01Op"), "is no op type"),
        (retype(1, ""), "'' is no op type"),
        (rename(1, "_w"), "'_w' is not a valid name"),
        (inputs(2, "s/x", "^gone"), "node 's/y' reads 'gone'"),
        (inputs(2, "gone:3"), "reads 'gone'"),
        (inputs(2, "s/x:one"), "node 's/y': 's/x:one'"),
        (inputs(2, "s/x:-1"), "'s/x:-1'"),
        (inputs(2, "s/x:99999999999999999999"), "names no output"),
        (inputs(2, "s/x:7"), "'s/x:7' is read"),
        (inputs(2, "w"), "'w:0' is read"),
        (inputs(2, ""), "reads ''"),
        (inputs(2), "it has 0 inputs, not 1"),
        (inputs(2, "s/x", "s/x"), "it has 2 inputs, not 1"),
        (inputs(2, "s/y"), "in a circle: 's/y' <- 's/y'"),
        (inputs(2, "sum"), "'s/y' <- 'sum' <- 'parts' <- 's/y'"),
        (inputs(2, "s/x", "^sum"), "in a circle"),
        (attr(0, "dtype", type=11), "qint8"),
        (attr(0, "dtype", type=999), "number 999"),
        (attr(0, "dtype"), "has no value"),
        (attr(0, "shape", i=3), "'shape' is no shape"),
        (attr(3, "num", s=b"two"), "'num' is 'two'"),
        (attr(3, "num", i=-5), "node 'parts' (Unpack) cannot be imported"),
        (attr(3, "num", i=3), "does not hold 3 slices"),
        (attr(2, "rounding", s=b"up"), "['rounding'] are not known"),
    ],
)
def test_what_is_not_well_formed_is_refused(
    build: Callable[[Any], None], said: str
) -> None:
    with pytest.raises(GraphError) as caught:
        tf.import_graph_def(change(build))
    assert said in str(caught.value)


def test_negative_sizes_are_refused() -> None:
    def build(graph_def: Any) -> None:
        graph_def.node[0].attr["shape"].shape.dim[0].size = -7

    with pytest.raises(GraphError, match="negative sizes"):
        tf.import_graph_def(change(build))


@pytest.mark.parametrize(
    ("node", "key", "value", "said"),
    [
        ("Conv2D", "data_format", b"NCHW_VECT_C", "NCHW_VECT_C"),
        ("Conv2D", "padding", b"MOST", "MOST"),
        ("MaxPool", "ksize", b"2", "MaxPool"),
        ("FusedBatchNorm", "is_training", b"no", "is_training"),
    ],
)
def test_attributes_of_other_kinds_name_the_node(
    node: str, key: str, value: bytes, said: str
) -> None:
    graph_def = frozen.load("layers")
    found = next(n for n in graph_def.node if n.name == node)
    found.attr[key].CopyFrom(tf.AttrValue(s=value))
    with pytest.raises(GraphError) as caught:
        tf.import_graph_def(graph_def)
    assert f"node {node!r}" in str(caught.value)
    assert said in str(caught.value)


def test_an_axis_that_only_a_run_knows_names_the_node() -> None:
    graph_def = frozen.load("arithmetic")
    node = next(n for n in graph_def.node if n.op == "Mean")
    axis = next(n for n in graph_def.node if n.name == node.input[1])
    axis.op = "Placeholder"
    del axis.attr["value"]
    with pytest.raises(GraphError, match=r"node 'Mean' .*before the run"):
        tf.import_graph_def(graph_def)


@pytest.mark.parametrize("pixels", [0, -3, 2**31 - 1])
def test_images_of_no_or_too_many_pixels_are_refused(pixels: int) -> None:
    graph_def = frozen.load("images")
    node = next(n for n in graph_def.node if n.op == "ResizeBilinear")
    size = next(n for n in graph_def.node if n.name == node.input[1])
    content = np.array([pixels, 4], np.int32).tobytes()
    size.attr["value"].tensor.tensor_content = content
    with pytest.raises(GraphError, match=f"makes {pixels} pixels of 3"):
        tf.import_graph_def(graph_def)


def test_outputs_that_only_gradients_read_are_refused() -> None:
    graph_def = frozen.load("layers")
    graph_def.node.add(name="more", op="Neg", input=["FusedBatchNorm:3"])
    with pytest.raises(GraphError, match="only gradients"):
        tf.import_graph_def(graph_def)
    graph_def = frozen.load("layers")
    loss = "SoftmaxCrossEntropyWithLogits"
    graph_def.node.add(name="more", op="Neg", input=[f"{loss}:1"])
    with pytest.raises(GraphError, match=r"use dagrad\.gradients"):
        tf.import_graph_def(graph_def)


# -- arrays that are not what they say -----------------------------------------


def tensor(**fields: Any) -> Any:
    found = tf.AttrValue().tensor
    sizes = fields.pop("sizes", [])
    for size in sizes:
        found.tensor_shape.dim.add(size=size)
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(found, name).extend(value)
        else:
            setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("proto", "said"),
    [
        (tensor(dtype=1, sizes=[2], float_val=[1.0, 2.0, 3.0]), "has 3 values"),
        (tensor(dtype=1, sizes=[2], tensor_content=b"1234567"), "has 7 bytes"),
        (tensor(dtype=7, sizes=[2], tensor_content=b"ab"), "strings is packed"),
        (tensor(dtype=8, sizes=[1], scomplex_val=[1.0]), "half of a complex"),
        (tensor(dtype=1, sizes=[-1], float_val=[1.0]), "unknown dimensions"),
        (tensor(dtype=1, sizes=[-2], float_val=[1.0]), "negative sizes"),
        (tensor(dtype=1, sizes=[1] * 65, float_val=[1.0]), "65 axes"),
        (tensor(dtype=1, sizes=[2**40, 2**40], float_val=[1.0]), "bytes, where"),
        (tensor(dtype=14, sizes=[1], half_val=[1]), "bfloat16"),
        (tensor(dtype=0), "number 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(proto: Any, said: str) -> None:
    with pytest.raises((ShapeError, DTypeError)) as caught:
        array_of(proto, Budget())
    assert said in str(caught.value)


def test_one_value_may_fill_an_array_but_not_all_memory() -> None:
    ones = tensor(dtype=1, sizes=[1000], float_val=[1.0])
    budget = Budget(10_000)
    np.testing.assert_array_equal(array_of(ones, budget), np.ones(1000, np.float32))
    array_of(ones, budget)
    with pytest.raises(ShapeError, match="2,000"):
        array_of(ones, budget)
    none = tensor(dtype=9, sizes=[3])
    np.testing.assert_array_equal(array_of(none, Budget()), np.zeros(3, np.int64))
    empty = tensor(dtype=7, sizes=[2])
    assert array_of(empty, Budget()).tolist() == [b"", b""]


def test_bytes_of_bools_are_true_or_false() -> None:
    found = array_of(tensor(dtype=10, sizes=[3], tensor_content=b"\0\1\7"), Budget())
    assert found.view(np.uint8).tolist() == [0, 1, 1]


def test_references_have_the_dtype_that_they_refer_to() -> None:
    assert dtype_of(101) is tf.float32


# -- much ----------------------------------------------------------------------


def test_long_chains_in_any_order_need_no_depth() -> None:
    graph_def = tf.GraphDef()
    count = 5000
    for i in reversed(range(1, count)):
        graph_def.node.add(name=f"n{i}", op="Neg", input=[f"n{i - 1}"])
    first = graph_def.node.add(name="n0", op="Placeholder")
    first.attr["dtype"].type = 1
    first.attr["shape"].shape.SetInParent()
    graph_def.versions.producer = 27
    x, y = tf.import_graph_def(graph_def, return_elements=["n0:0", f"n{count - 1}:0"])
    with tf.Session() as session:
        assert session.run(y, {x: 2.0}) == -2.0
    gc.collect()


def test_without_tensorboard_the_error_says_what_to_install(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "import dagrad as tf\n"
        "try:\n    tf.GraphDef\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
        "from dagrad._command import main\n"
        f"print(main(['draw', {str(frozen.path_of('lenet'))!r}]))\n"
    )
    said = run_python(program, cwd=tmp_path)
    assert 'pip install "dagrad[tensorboard]"' in said
    assert said.split()[-1] == "1"
