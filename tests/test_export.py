"""Graphs outside the process: what is saved comes back, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from evaluate import evaluate
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from oprecord import Record
from same_graphs import same_graph, same_value
from work import growth

from dagrad.graphlib.dtypes import float32, int64
from dagrad.graphlib.errors import GraphError
from dagrad.graphlib.export import load, save, to_networkx, validate
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.tensor import Tensor
from dagrad.ops import core, linalg, reduction, state, variable_scope
from dagrad.ops.implicit import Rule

_RECORDS = Path(__file__).parent / "op_records"
_CASES = []
for _path in sorted(_RECORDS.glob("*.py")):
    try:
        _loaded = opchecks.load(_path)
    except Exception:  # test_ops_generic reports it
        continue
    _CASES += [pytest.param(r, id=f"{_path.stem}-{r.label}") for r in _loaded]


def training_graph() -> tuple[Graph, Any, Any]:
    """A small graph with variables, gradients, scopes and control inputs."""
    graph = Graph()
    with graph.as_default(), graph.device("/cpu:0"):
        x = core.placeholder("float32", (None, 3), name="x")
        with graph.name_scope("model"):
            w = state.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="w")
            y = reduction.reduce_mean(linalg.matmul(x, w) * 0.5, name="loss")
        (slope,) = gradients(y, [w])
        with graph.control_dependencies([y]):
            step = w.assign_sub(slope * 0.1, name="step")
        graph.add_to_collection("train_op", step)
        graph.add_to_collection("notes", ("text", 1, 2.5, None, float32))
    graph.seed = 7
    return graph, y, step


def through_a_file(graph: Graph, folder: Path) -> Graph:
    save(graph, folder / "graph.json")
    return load(folder / "graph.json")


# -- the round trip ------------------------------------------------------------


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, Rule)


@pytest.mark.parametrize("record", _CASES)
def test_every_op_comes_back_with_the_same_results(
    record: Record, tmp_path: Path
) -> None:
    graph = Graph()
    drawn = record.draw(record.dtypes[0])
    with graph.as_default():
        inputs = [core.placeholder(a.dtype, a.shape, name="input") for a in drawn]
        built = record.build(*inputs)
    outputs = [
        t
        for t in (built if isinstance(built, (list, tuple)) else [built])
        if isinstance(t, Tensor)
    ]
    validate(graph)
    if any(_is_code(v) for op in graph.operations for v in op.attrs.values()):
        with pytest.raises(GraphError, match="cannot be saved"):
            save(graph, tmp_path / "graph.json")
        return
    loaded = through_a_file(graph, tmp_path)
    validate(loaded)
    same_graph(graph, loaded)
    with np.errstate(all="ignore"):
        want = evaluate(outputs, dict(zip(inputs, drawn)))
        feeds = {loaded.get_tensor_by_name(t.name): a for t, a in zip(inputs, drawn)}
        got = evaluate([loaded.get_tensor_by_name(t.name) for t in outputs], feeds)
    for a, b in zip(want, got):
        same_value(a, b)


def test_a_training_graph_comes_back_and_trains(tmp_path: Path) -> None:
    graph, y, step = training_graph()
    loaded = through_a_file(graph, tmp_path)
    validate(loaded)
    same_graph(graph, loaded)
    x = np.ones((2, 3), np.float32)
    results = []
    for g in (graph, loaded):
        cells: dict[Any, Any] = {}
        variable = g.get_collection("trainable_variables")[0]
        evaluate(variable.initializer, cells=cells)
        feeds = {g.get_tensor_by_name("x:0"): x}
        evaluate(g.get_tensor_by_name(step.name), feeds, cells)
        results.append(evaluate(g.get_tensor_by_name(y.name), feeds, cells))
    assert results[0] == results[1]


def test_variables_come_back_as_variables(tmp_path: Path) -> None:
    graph = Graph()
    with graph.as_default(), variable_scope.variable_scope("a"):
        kept = variable_scope.get_variable("v", shape=(2, 3))
        other = state.Variable(1.0, trainable=False, name="other")
    loaded = through_a_file(graph, tmp_path)
    names = [v.name for v in loaded.get_collection("variables")]
    assert names == [kept.name, other.name]
    v, o = loaded.get_collection("variables")
    assert isinstance(v, state.Variable) and v.trainable and not o.trainable
    assert v.initializer.name == kept.initializer.name
    assert v.value().name == kept.value().name
    with loaded.as_default(), variable_scope.variable_scope("a", reuse=True):
        assert variable_scope.get_variable("v", shape=(2, 3)) is v


def test_the_rest_of_a_graph_comes_back(tmp_path: Path) -> None:
    graph, y, _ = training_graph()
    graph.prevent_feeding(y)
    graph.finalize()
    loaded = through_a_file(graph, tmp_path)
    assert loaded.seed == 7
    assert loaded.finalized
    assert not loaded.is_feedable(loaded.get_tensor_by_name(y.name))
    assert loaded.get_collection("notes") == [("text", 1, 2.5, None, float32)]
    assert loaded.get_collection("train_op")[0].graph is loaded


def test_new_names_go_on_where_the_saved_graph_left_off(tmp_path: Path) -> None:
    graph, _, _ = training_graph()
    loaded = through_a_file(graph, tmp_path)
    for g in (graph, loaded):
        with g.as_default(), g.name_scope("model"):
            core.placeholder("float32", name="x")
    assert graph.operations[-1].name == loaded.operations[-1].name == "model_1/x"


def test_shapes_that_were_set_come_back(tmp_path: Path) -> None:
    graph = Graph()
    with graph.as_default():
        x = core.placeholder("float32", name="x")
        y = core.identity(x, name="y")
        y.set_shape((None, 4))
        x.set_shape((2, None))
    loaded = through_a_file(graph, tmp_path)
    assert loaded.get_tensor_by_name("x:0").dims == (2, None)
    assert loaded.get_tensor_by_name("y:0").dims == (None, 4)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.sampled_from([float32, int64])
    | arrays_of.arrays(
        st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "c8", "c16", "?", ">f4"]),
        arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    ).map(lambda a: a.astype(a.dtype.newbyteorder("="))),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


@given(value=_VALUES)
def test_any_attribute_comes_back(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    graph = Graph()
    x = graph.create_op(core.PLACEHOLDER, (), {"dtype": float32, "shape": None})
    graph.create_op(core.IDENTITY, x.outputs, {"value": value})
    loaded = through_a_file(graph, folder)
    if isinstance(value, complex):
        assert repr(loaded.operations[1].attrs["value"]) == repr(value)
    else:
        same_value(value, loaded.operations[1].attrs["value"])


def test_strings_and_bytes_come_back(tmp_path: Path) -> None:
    value = np.empty((2, 2), dtype=object)
    value[:] = [[b"\x00\xff", "é"], [b"", "plain"]]
    graph = Graph()
    x = graph.create_op(core.PLACEHOLDER, (), {"dtype": float32, "shape": None})
    graph.create_op(core.IDENTITY, x.outputs, {"value": value})
    loaded = through_a_file(graph, tmp_path)
    assert loaded.operations[1].attrs["value"].tolist() == value.tolist()


# -- files ---------------------------------------------------------------------


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        graph, _, _ = training_graph()
        save(graph, tmp_path / f"{name}.json")
        for suffix in (".json", ".npz"):
            content = (tmp_path / f"{name}{suffix}").read_bytes()
            digests.add(hashlib.sha256(content).hexdigest())
    assert len(digests) == 2


def test_saving_what_was_loaded_changes_nothing(tmp_path: Path) -> None:
    graph, _, _ = training_graph()
    save(graph, tmp_path / "a.json")
    save(load(tmp_path / "a.json"), tmp_path / "b.json")
    for suffix in (".json", ".npz"):
        first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        assert first.read_bytes() == second.read_bytes()


def test_the_names_of_the_files(tmp_path: Path) -> None:
    graph, _, _ = training_graph()
    save(graph, tmp_path / "model")
    save(graph, str(tmp_path / "other.json"))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["model", "model.npz", "other.json", "other.npz"]
    with pytest.raises(GraphError, match="arrays' file"):
        save(graph, tmp_path / "model.npz")


def test_a_file_takes_work_in_proportion_to_its_operations(tmp_path: Path) -> None:
    def long(n: int) -> Graph:
        graph = Graph()
        with graph.as_default():
            t = core.placeholder("float32", (), name="x")
            for i in range(n):
                t = core.add_n([t, core.constant(float(i))])
        return graph

    def there_and_back(n: int) -> Any:
        graph = long(n)
        return lambda: validate(through_a_file(graph, tmp_path))

    assert growth(there_and_back, 500) < 2.2
    graph = long(10_000)
    loaded = through_a_file(graph, tmp_path)
    assert len(loaded) == len(graph)
    last = loaded.operations[-1].inputs[1].op.attrs["value"]
    assert last == np.float32(9_999)


def test_a_python_function_cannot_be_saved(tmp_path: Path) -> None:
    graph = Graph()
    x = graph.create_op(core.PLACEHOLDER, (), {"dtype": float32, "shape": None})
    graph.create_op(core.IDENTITY, x.outputs, {"f": math.sin}, name="call")
    with pytest.raises(GraphError, match=r'Identity "call" .*attribute \'f\''):
        save(graph, tmp_path / "graph.json")
    assert list(tmp_path.iterdir()) == []


def test_a_constraint_cannot_be_saved(tmp_path: Path) -> None:
    graph = Graph()
    with graph.as_default():
        state.Variable(1.0, name="v", constraint=core.identity)
    with pytest.raises(GraphError, match=r"'v:0'.*constraint"):
        save(graph, tmp_path / "graph.json")


def test_a_collection_that_no_file_can_hold_is_reported(tmp_path: Path) -> None:
    graph, _, _ = training_graph()
    graph.add_to_collection("objects", object())
    with pytest.warns(UserWarning, match="collection 'objects' is not saved"):
        save(graph, tmp_path / "graph.json")
    assert load(tmp_path / "graph.json").get_collection("objects") == []


# -- files that are wrong, or worse --------------------------------------------


def altered(folder: Path, change: Any) -> Path:
    """A saved graph whose JSON ``change`` edited."""
    graph, _, _ = training_graph()
    path = folder / "graph.json"
    save(graph, path)
    head = json.loads(path.read_text())
    change(head)
    path.write_text(json.dumps(head))
    return path


def _set(record: dict[str, Any], **fields: Any) -> None:
    record.update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: _set(h, version=99), "version 99"),
        (lambda h: _set(h, format="x"), "no saved graph"),
        (lambda h: h.pop("operations"), "not a well-formed"),
        (lambda h: _set(h, arrays_sha256="0"), "checksum"),
        (lambda h: _set(h["operations"][0], type="NoSuchOp"), "NoSuchOp"),
        (lambda h: _set(h["operations"][0], name=""), "no name"),
        (lambda h: _set(h["operations"][1], name="x"), "twice"),
        (lambda h: _set(h["operations"][-1], inputs=["nowhere:0"]), "nowhere"),
        (lambda h: _set(h["operations"][-1], inputs=["x:7"]), "x:7"),
        (lambda h: _set(h["operations"][0], outputs=[["int32", [3]]]), "the file says"),
        (lambda h: _set(h["operations"][0], attrs={}), "cannot be restored"),
        (lambda h: _set(h["operations"][0], attrs={"dtype": {"x": 1}}), "cannot be"),
        (lambda h: _set(h, collections=[["a", [{"tensor": "gone:0"}]]]), "gone"),
        (lambda h: _set(h, variables=[{"operation": "x", "record": {}}]), "well-for"),
        (lambda h: _set(h, operations={"a": 1}), "well-formed"),
    ],
)
def test_a_wrong_file_is_an_error(tmp_path: Path, change: Any, message: str) -> None:
    path = altered(tmp_path, change)
    with pytest.raises(GraphError, match=message):
        load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_no_json_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"graph\.json"):
        load(path)


@pytest.mark.parametrize("where", [-1, 10**9, "0", None, 1.5])
def test_arrays_outside_their_pool_are_errors(tmp_path: Path, where: Any) -> None:
    def change(head: dict[str, Any]) -> None:
        const = next(o for o in head["operations"] if o["type"] == "Const")
        const["attrs"]["value"]["start"] = where

    with pytest.raises(GraphError):
        load(altered(tmp_path, change))


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    graph, _, _ = training_graph()
    path = tmp_path / "graph.json"
    save(graph, path)
    arrays = tmp_path / "graph.npz"
    np.savez(arrays, float32=np.array([print], dtype=object))
    head = json.loads(path.read_text())
    head["arrays_sha256"] = hashlib.sha256(arrays.read_bytes()).hexdigest()
    path.write_text(json.dumps(head))
    with pytest.raises(GraphError, match="Object arrays cannot be loaded"):
        load(path)


def test_the_arrays_file_is_plain_numpy(tmp_path: Path) -> None:
    graph, _, _ = training_graph()
    save(graph, tmp_path / "graph.json")
    with np.load(tmp_path / "graph.npz", allow_pickle=False) as pools:
        assert set(pools.files) <= {"float32", "int32", "int64"}
    with zipfile.ZipFile(tmp_path / "graph.npz") as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


# -- checks --------------------------------------------------------------------


def _wrong_id(g: Graph) -> None:
    g._operations[2].id = 99


def _wrong_reader(g: Graph) -> None:
    g.get_tensor_by_name("x:0")._consumers = []


def _wrong_shape(g: Graph) -> None:
    g.get_tensor_by_name("model/MatMul:0").dims = (9, 9)


def _wrong_name(g: Graph) -> None:
    g._by_name["extra"] = g._operations[0]


def _wrong_order(g: Graph) -> None:
    g._operations[0].control_inputs = (g._operations[5],)


def _stranger(g: Graph) -> None:
    other = core.placeholder("float32")
    g.add_to_collection("losses", other)


@pytest.mark.parametrize(
    "breach",
    [_wrong_id, _wrong_reader, _wrong_shape, _wrong_name, _wrong_order, _stranger],
)
def test_a_broken_graph_is_found(breach: Any) -> None:
    graph, _, _ = training_graph()
    validate(graph)
    with Graph().as_default():
        breach(graph)
    with pytest.raises(GraphError):
        validate(graph)


# -- networkx ------------------------------------------------------------------


def test_networkx_has_every_operation_and_edge() -> None:
    import networkx as nx

    graph, _, step = training_graph()
    drawn = to_networkx(graph)
    assert list(drawn.nodes) == [op.name for op in graph.operations]
    assert drawn.number_of_edges() == sum(
        len(op.inputs) + len(op.control_inputs) for op in graph.operations
    )
    assert nx.is_directed_acyclic_graph(drawn)
    assert drawn.nodes["x"]["type"] == "Placeholder"
    assert drawn.nodes["x"]["attrs"]["dtype"] == "float32"
    assert "test_export.py:" in drawn.nodes["x"]["source"]
    edge = drawn.edges["x", "model/MatMul", 0]
    assert edge["dtype"] == "float32" and edge["shape"] == (None, 3)
    assert (edge["output"], edge["index"], edge["control"]) == (0, 0, False)
    assert drawn.edges["model/loss", step.op.name, 0]["control"] is True


def test_networkx_keeps_parallel_edges() -> None:
    graph = Graph()
    with graph.as_default():
        x = core.placeholder("float32", name="x")
        core.add_n([x, x], name="twice")
    assert to_networkx(graph).number_of_edges("x", "twice") == 2
