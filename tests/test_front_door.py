"""The public names: TF1's, with TF1's arguments, documented and typed."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import dagrad as tf

HERE = Path(__file__).resolve().parent
# The names that programs written for TF1 use, from public repositories.
CORE = (HERE / "fixtures" / "tf1_core_symbols.txt").read_text("utf-8").split()

# Not here yet, and why: a name, or a prefix that ends in a dot.
LATER = {
    "FIFOQueue": "queues",
    "SparseTensor": "sparse tensors",
    "SparseTensorValue": "sparse tensors",
    "TextLineReader": "input pipelines",
    "data.": "input pipelines",
    "decode_base64": "strings",
    "decode_csv": "strings",
    "edit_distance": "sparse tensors",
    "image.": "images",
    "metrics.": "streaming metrics",
    "nn.bidirectional_dynamic_rnn": "recurrent cells",
    "nn.dynamic_rnn": "recurrent cells",
    "nn.rnn_cell.": "recurrent cells",
    "python.saved_model.": "checkpoints",
    "saved_model.": "checkpoints",
    "sparse_placeholder": "sparse tensors",
    "string_to_number": "strings",
    "train.ClusterSpec": "servers",
    "train.Coordinator": "queues",
    "train.QueueRunner": "queues",
    "train.Saver": "checkpoints",
    "train.Server": "servers",
    "train.batch": "queues",
    "train.checkpoint_exists": "checkpoints",
    "train.get_checkpoint_state": "checkpoints",
    "train.import_meta_graph": "checkpoints",
    "train.latest_checkpoint": "checkpoints",
    "train.shuffle_batch": "queues",
    "train.start_queue_runners": "queues",
    "train.string_input_producer": "queues",
}


def find(name: str) -> Any:
    """What dagrad has under a dotted name; raises AttributeError."""
    value: Any = tf
    for part in name.split("."):
        value = getattr(value, part)
    return value


def is_later(name: str) -> bool:
    """Whether a name is on the list of what is not here yet."""
    return any(
        name == key or (key.endswith(".") and f"{name}.".startswith(key))
        for key in LATER
    )


def public_modules() -> list[ModuleType]:
    """The package and its public modules."""
    return [tf, *filter(inspect.ismodule, (getattr(tf, n) for n in tf.__all__))]


# -- the names that programs use -----------------------------------------------


@pytest.mark.parametrize("name", [n for n in CORE if not is_later(n)])
def test_a_name_of_tf1_is_here(name: str) -> None:
    find(name)


@pytest.mark.parametrize("name", [n for n in CORE if is_later(n)])
def test_a_name_that_is_here_is_not_on_the_list_of_later_ones(name: str) -> None:
    with pytest.raises(AttributeError):
        find(name)


def test_the_list_of_later_names_is_about_names_in_use() -> None:
    def used(key: str) -> bool:
        return any(
            f"{n}.".startswith(key) if key[-1] == "." else n == key for n in CORE
        )

    assert [key for key in LATER if not used(key)] == []


# -- what every name has -------------------------------------------------------


@pytest.mark.parametrize("module", public_modules(), ids=lambda m: m.__name__)
def test_every_public_name_exists_and_is_documented(module: ModuleType) -> None:
    assert module.__doc__
    undocumented = []
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not inspect.getdoc(value):
            undocumented.append(name)
    assert undocumented == []


@pytest.mark.parametrize("module", public_modules(), ids=lambda m: m.__name__)
def test_every_public_method_is_documented(module: ModuleType) -> None:
    undocumented = [
        f"{name}.{method}"
        for name in module.__all__
        for method, function in vars_of(getattr(module, name))
        if not method.startswith("_") and not inspect.getdoc(function)
    ]
    assert undocumented == []


def vars_of(value: Any) -> list[tuple[str, Any]]:
    """The functions and properties that a class of dagrad defines."""
    if not inspect.isclass(value) or not value.__module__.startswith("dagrad"):
        return []
    kinds = (property, classmethod, staticmethod)
    return [
        (n, v)
        for n, v in vars(value).items()
        if inspect.isfunction(v) or isinstance(v, kinds)
    ]


@pytest.mark.parametrize("module", public_modules(), ids=lambda m: m.__name__)
def test_no_name_is_exported_by_accident(module: ModuleType) -> None:
    assert len(set(module.__all__)) == len(module.__all__)
    if module is tf:
        engine = {"composites", "graphlib", "ops", "runtime", "scopes"}
        engine |= {"TYPE_CHECKING", "annotations"}
        # Classes of an extra, there once they were asked for.
        engine |= {"AttrValue", "GraphDef", "NodeDef", "Summary"}
        assert {n for n in vars(tf) if not n.startswith("_")} - engine <= {*tf.__all__}
    if "__dir__" not in vars(module):
        return
    shown = {n for n in dir(module) if not n.startswith("_")}
    assert shown == {n for n in module.__all__ if not n.startswith("_")}


def test_every_builder_takes_a_name() -> None:
    """But for those that TF1 has without one."""
    for name in ("add", "matmul", "reduce_sum", "concat", "where", "zeros", "cast"):
        assert "name" in inspect.signature(getattr(tf, name)).parameters


# -- TF1's ways in -------------------------------------------------------------


def test_compat_v1_is_the_package() -> None:
    v1 = importlib.import_module("dagrad.compat.v1")
    assert v1 is tf
    assert tf.compat.v1 is tf


def test_ways_to_import(tmp_path: Path) -> None:
    program = (
        "import dagrad.compat.v1 as tf\n"
        "from dagrad.compat import v1\n"
        "from dagrad.python.framework import ops\n"
        "from dagrad import nn, losses\n"
        "import dagrad.train as train\n"
        "tf.disable_v2_behavior(); tf.disable_eager_execution()\n"
        "ops.reset_default_graph()\n"
        "assert v1 is tf and train is tf.train and nn is tf.nn\n"
        "assert not tf.executing_eagerly()\n"
        "print(tf.app.run, tf.flags.FLAGS is tf.app.flags.FLAGS)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_the_modules_that_programs_for_loops_import() -> None:
    from dagrad.python.ops import control_flow_ops, tensor_array_ops

    assert tf.control_flow_v2_enabled()
    tf.enable_control_flow_v2()
    with tf.Graph().as_default():
        squares = tensor_array_ops.TensorArray(tf.int32, 3)
        _, squares = control_flow_ops.while_loop(
            lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, i * i)), [0, squares]
        )
        count = tf.Variable(0)
        y = control_flow_ops.with_dependencies([count.assign(7)], squares.stack())
        with tf.Session() as session:
            assert session.run(y).tolist() == [0, 1, 4]
            assert session.run(count) == 7


@pytest.mark.parametrize("module", sorted(tf.python.ops.__all__))
def test_tf1s_modules_hold_the_public_names(module: str) -> None:
    found = importlib.import_module(f"dagrad.python.ops.{module}")
    for name in found.__all__:
        home = tf.test if module == "gradient_checker" else tf
        if name != "with_dependencies":
            assert getattr(found, name) is getattr(home, name)


def test_star_import_brings_the_public_names() -> None:
    names: dict[str, Any] = {}
    exec("from dagrad import *", names)
    assert set(tf.__all__) <= set(names)


def test_dtypes_are_numpys() -> None:
    assert tf.int32.as_numpy_dtype is np.int32
    assert tf.half is tf.float16
    assert tf.double is tf.float64
    assert tf.newaxis is None


# -- functions of the front door itself ----------------------------------------


@pytest.fixture
def graph() -> Iterator[tf.Graph]:
    """A graph of the test's own."""
    with tf.Graph().as_default() as g:
        yield g


@pytest.mark.usefixtures("graph")
def test_name_scope_nests_and_is_entered_again() -> None:
    with tf.name_scope("a") as outer:
        with tf.name_scope("b") as inner:
            assert inner == "a/b/"
            assert tf.constant(1, name="c").name == "a/b/c:0"
        with tf.name_scope("b") as inner:
            assert inner == "a/b_1/"
    with tf.name_scope(outer):
        assert tf.constant(1, name="c").name == "a/c:0"
    with tf.name_scope("a"), tf.name_scope(None):
        assert tf.constant(1, name="c").name == "c:0"


@pytest.mark.usefixtures("graph")
def test_name_scope_of_a_builder() -> None:
    x = tf.constant(1)
    with tf.Graph().as_default():
        with tf.name_scope(None, "default", [x]) as scope:
            assert scope == "default/"
            assert tf.get_default_graph() is x.graph
        with tf.name_scope("given", "default", [x]) as scope:
            assert scope == "given/"
        with pytest.raises(ValueError, match="needs a name"):
            tf.name_scope(None, None, [x])
        with pytest.raises(TypeError):
            tf.name_scope(3)  # type: ignore[arg-type]


def test_collections(graph: tf.Graph) -> None:
    with tf.name_scope("s"):
        c = tf.constant(1)
    tf.add_to_collection("kept", c)
    tf.add_to_collections(["kept", "too"], 2)
    assert tf.get_collection("kept") == [c, 2]
    assert tf.get_collection("kept", scope="s/") == [c]
    tf.get_collection_ref("too").append(3)
    assert graph.get_collection("too") == [2, 3]


@pytest.mark.usefixtures("graph")
def test_devices_are_recorded() -> None:
    with tf.device("/gpu:0"):
        a = tf.constant(1)
    with tf.colocate_with(a):
        b = tf.constant(2)
    assert a.device == b.device
    assert "gpu" in a.device.lower()


@pytest.mark.usefixtures("graph")
def test_saturating_casts() -> None:
    def cast(values: list[float], dtype: Any) -> Any:
        with tf.Session() as session:
            return session.run(tf.saturate_cast(tf.constant(values), dtype)).tolist()

    assert cast([300, -2, 7], tf.uint8) == [255, 0, 7]
    assert cast([1e30, -1e30, 2.5], tf.int16) == [32767, -32768, 2]
    top = cast([1e30], tf.int32)[0]
    assert 2**31 - 2**8 <= top < 2**31


@pytest.mark.usefixtures("graph")
def test_small_functions() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    assert tf.is_tensor(x)
    assert tf.is_tensor(tf.Variable(1))
    assert not tf.is_tensor(1)
    assert tf.get_static_value(tf.constant([1, 2]) + 1).tolist() == [2, 3]
    assert tf.get_static_value(tf.shape(x)) is None
    assert tf.get_static_value(tf.shape(x), partial=True) == [None, 3]
    assert tf.broadcast_static_shape([None, 3], [5, 1]).as_list() == [5, 3]
    assert tf.dimension_value(x.shape[1]) == 3
    assert tf.dimension_value(x.shape[0]) is None
    assert tf.dimension_at_index(x.shape, 1).value == 3
    with tf.Session() as session:
        doubled = tf.scalar_mul(2, x)
        first, second = tf.identity_n([x, doubled])
        best = tf.arg_max(x, 1)
        session.run([tf.tables_initializer(), tf.initialize_all_tables()])
        values = session.run([first, second, best], {x: [[1, 3, 2]]})
    assert [v.tolist() for v in values] == [[[1, 3, 2]], [[2, 6, 4]], [1]]
