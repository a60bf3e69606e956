"""The explorer's data and its page: structure, hostile names, and the files' order."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dagrad as tf
from dagrad.viz import explorer
from dagrad.viz.explorer import tree as trees
from dagrad.viz.explorer.page import LAYOUT, VIEW, embed, whole_page
from dagrad.viz.overlay import steps_of

HERE = Path(explorer.__file__).parent
SHARED = {"model.js", "layout.js"}


@pytest.fixture
def network():
    """A graph of two layers, a loop over a branch, its training step, and feeds."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        h = x
        for name in ("first", "second"):
            with tf.variable_scope(name):
                w = tf.get_variable("w", [4, 4])
                h = tf.tanh(tf.matmul(h, w) * 2.0)

        def body(i, y):
            return i + 1, tf.cond(y[0, 0] > 0.0, lambda: y * 0.5, lambda: tf.sin(y))

        _, h = tf.while_loop(lambda i, y: i < 3, body, [0, h], name="again")
        loss = tf.reduce_mean(tf.square(h), name="loss")
        train = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            metadata = tf.RunMetadata()
            session.run(
                [train, loss],
                {x: np.ones([5, 4])},
                options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE),
                run_metadata=metadata,
            )
    return graph, metadata


def paths(data: dict[str, Any]) -> list[str]:
    """The labels of each box and of all around it."""
    boxes = data["boxes"]
    found: list[str] = []
    for parent, label in zip(boxes["parent"], boxes["label"]):
        found.append(label if parent <= 0 else f"{found[parent]}/{label}")
    return found


def box_of(data: dict[str, Any], name: str) -> int:
    return data["ops"]["home"][data["ops"]["name"].index(name)]


def links(data: dict[str, Any]) -> set[tuple[str, str, int]]:
    """Names of both ends, and the kind."""
    names, op = data["ops"]["name"], data["boxes"]["op"]
    table = data["links"]
    return {
        (names[op[t]], names[op[h]], kind)
        for t, h, kind in zip(table["tail"], table["head"], table["kind"])
    }


# -- the data ------------------------------------------------------------------


def test_boxes_are_a_tree_with_parents_first(network):
    data = explorer.data(network[0])
    parent = data["boxes"]["parent"]
    assert parent[0] == -1
    assert all(0 <= p < b for b, p in enumerate(parent) if b)
    assert len({len(column) for column in data["boxes"].values()}) == 1
    assert len({len(column) for column in data["ops"].values()}) == 1
    assert len({len(column) for column in data["links"].values()}) == 1


def test_every_operation_of_the_graph_is_found(network):
    graph, _ = network
    data = explorer.data(graph)
    names = data["ops"]["name"]
    assert {op.name for op in graph.operations} <= set(names)
    assert min(data["ops"]["home"]) >= 0
    at = names.index("first/mul/y")
    home = data["boxes"]["op"][data["ops"]["home"][at]]
    assert names[home] == "first/mul"
    assert "y = 2" in data["boxes"]["notes"][data["ops"]["home"][at]]


def test_variables_reads_and_slots_are_with_those_that_use_them(network):
    data = explorer.data(network[0])
    assert box_of(data, "first/w/read") == box_of(data, "first/w")
    (slot,) = [n for n in data["ops"]["name"] if n == "first/w/Momentum"]
    update = data["ops"]["name"][data["boxes"]["op"][box_of(data, slot)]]
    assert update.endswith("ApplyMomentum")


def test_bodies_are_boxes_in_their_operation_and_linked_through(network):
    data = explorer.data(network[0])
    loop = box_of(data, "again/Loop_saving")
    every = enumerate(paths(data))
    inside = [b for b, p in every if b > loop and ("/if true" in p or "/if false" in p)]
    assert inside, "the branch in the loop is shown"
    types = {
        data["types"][data["ops"]["type"][data["boxes"]["op"][b]]]
        for b in inside
        if data["boxes"]["op"][b] >= 0
    }
    assert {"Sin", "Mul"} <= types
    into = {h for t, h, _ in links(data) if t == "second/Tanh"}
    assert any(h.startswith("again/body/carry") for h in into)
    out = {t for t, h, _ in links(data) if h == "Square"}
    assert any("/cond/Case" in t for t in out)


def test_links_say_what_is_kept_and_what_is_state(network):
    found = links(explorer.data(network[0]))
    kinds = {(t, h): kind for t, h, kind in found}
    assert kinds[("x", "first/MatMul")] == trees.DATA
    assert kinds[("x", "gradients/first/MatMul_grad/MatMul")] == trees.KEPT
    update = next(h for t, h in kinds if t == "first/w" and "ApplyMomentum" in h)
    assert kinds[("first/w", update)] == trees.STATE
    assert trees.CONTROL in kinds.values()


def test_backward_operations_stand_in_the_forward_scope(network):
    data = explorer.data(network[0])
    path = paths(data)[box_of(data, "gradients/second/MatMul_grad/MatMul")]
    assert path == "gradients/second/MatMul"


def test_a_run_gives_shapes_flops_order_times_and_lifetimes(network):
    graph, metadata = network
    data = explorer.data(graph, metadata)
    ops = data["ops"]
    at = ops["name"].index("first/MatMul")
    assert data["specs"][ops["out"][at][0]] == "float32[5,4]"
    assert ops["bytes"][at] == 5 * 4 * 4
    assert ops["flops"][at] == 2 * 5 * 4 * 4
    plan, run = metadata.report.plan, data["run"]
    assert ops["order"][at] == next(
        i for i, s in enumerate(plan.steps) if s.op.name == "first/MatMul"
    )
    measured = sum(t for t in ops["time"] if t >= 0)
    assert measured == pytest.approx(
        1e9 * sum(s.seconds for s in metadata.report.steps), rel=0.01
    )
    assert run["live"] == list(plan.live_bytes)
    assert run["measured"] == [s.live_bytes for s in metadata.report.steps]
    assert run["peak"] == plan.peak_step
    alive = sum(t[3] for t in run["tensors"] if t[4] <= run["peak"] <= t[5])
    assert alive == sum(s.nbytes for s in plan.live_at(plan.peak_step))
    assert 0 < alive <= run["live"][run["peak"]]
    assert all(-1 <= t[0] < len(data["boxes"]["op"]) for t in run["tensors"])


def test_bodies_have_the_memory_of_a_round(graph):
    x = tf.placeholder(tf.float32, [8, 8], name="x")

    def inner(j, v):
        return j + 1, tf.matmul(v, x)

    def outer(i, v):
        return i + 1, tf.tanh(tf.while_loop(lambda j, v: j < 2, inner, [0, v])[1])

    _, y = tf.while_loop(lambda i, v: i < 3, outer, [0, x])
    with tf.Session() as session:
        plan = session.plan(y, {x: np.ones((8, 8), np.float32)})
    data = explorer.data(graph, plan)
    first, second = data["run"]["bodies"]
    assert first["title"] == 'while/Loop: body of while_loop "while"'
    bodies = [p for _, _, p in steps_of(plan) if p is not plan]
    assert bodies[0].live_bytes == tuple(first["live"])
    assert bodies[-1].live_bytes == tuple(second["live"])
    kinds, ops = data["types"], data["ops"]["type"]
    inside = [data["boxes"]["op"][b] for b in second["steps"] if b >= 0]
    assert "MatMul" in {kinds[ops[o]] for o in inside}
    assert data["boxes"]["op"][first["within"]] >= 0
    assert second["within"] in first["steps"]
    assert json.dumps(data)


def test_a_plan_alone_gives_everything_but_times(network):
    graph, metadata = network
    data = explorer.data(graph, metadata.report.plan)
    assert data["run"]["measured"] is None
    assert set(data["ops"]["time"]) == {-1}


def test_without_a_plan_unknown_sizes_stay_unknown(network):
    data = explorer.data(network[0])
    at = data["ops"]["name"].index("first/MatMul")
    assert data["specs"][data["ops"]["out"][at][0]] == "float32[?,4]"
    assert data["ops"]["bytes"][at] == data["ops"]["flops"][at] == -1
    assert data["run"] is None


def test_values_say_what_is_not_finite(graph):
    x = tf.placeholder(tf.float32, [3], name="x")
    y = tf.log(x, name="y")
    data = explorer.data(graph, values={x: [1.0, 2.0, 3.0], y: [0.0, np.nan, np.inf]})
    names = data["ops"]["name"]
    assert data["values"][str(names.index("x"))][0] == 0
    bad, (text,) = data["values"][str(names.index("y"))]
    assert bad == 1
    assert "2 of 3 NaN or infinite" in text


def test_a_traced_run_says_where_numbers_are_not_finite(graph):
    x = tf.placeholder(tf.float32, [3], name="x")
    y = tf.log(x, name="y")
    marks = {}
    for level in (tf.RunOptions.FULL_TRACE, tf.RunOptions.HARDWARE_TRACE):
        metadata = tf.RunMetadata()
        with tf.Session(graph=graph) as session:
            session.run(y, {x: [1.0, 0.0, 2.0]}, tf.RunOptions(level), metadata)
        data = explorer.data(graph, metadata)
        names = data["ops"]["name"]
        marks[level] = {names[int(k)]: bad for k, (bad, _) in data["values"].items()}
    assert marks[tf.RunOptions.FULL_TRACE] == {"x": 0, "y": 1}
    assert marks[tf.RunOptions.HARDWARE_TRACE] == {}  # nobody looked
    with pytest.raises(tf.errors.DagradError, match="FULL_TRACE"):
        tf.viz.render(y, color="nan", report=metadata.report)


def test_a_gradient_is_marked_where_it_flows_and_where_it_is_cut(graph):
    x = tf.placeholder(tf.float32, [3], name="x")
    with tf.name_scope("kept"):
        a = tf.sin(x)
    with tf.name_scope("gone"):
        b = tf.stop_gradient(tf.exp(x))
    y = tf.reduce_sum(a * b, name="y")
    tf.gradients(y, [x])
    data = explorer.data(graph)
    marks = dict(zip(data["ops"]["name"], data["ops"]["gradient"]))
    assert marks["x"] == marks["kept/Sin"] == marks["y"] == 1
    assert marks["gone/StopGradient"] == 2
    assert marks["gone/Exp"] == 0
    assert marks["gradients/kept/Sin_grad/mul"] == 3


def test_no_scope_shows_more_than_can_be_seen(graph):
    x = tf.placeholder(tf.float32, [2], name="x")
    for i in range(700):
        with tf.name_scope(f"layer_{i}"):
            x = tf.sin(x) + tf.cos(x)
    tf.reduce_sum(x, name="total")
    tree = trees.build(list(graph.operations))
    assert max(len(b.children) for b in tree.boxes) <= trees.MOST_CHILDREN
    top = [(b.kind, b.label) for b in tree.boxes if b.parent is tree.boxes[0]]
    assert (trees.OP, "total") in top
    assert (trees.OP, "x") in top
    runs = [label for kind, label in top if kind == trees.RUN]
    assert runs[0].startswith("layer_0 … ")
    assert runs[-1].endswith(" … layer_699")
    assert sum(b.op is not None for b in tree.boxes) == 700 * 3 + 2


def test_a_body_that_many_share_is_not_copied_without_end(graph, monkeypatch):
    monkeypatch.setattr(trees, "MOST_COPIES", 12)
    f = tf.function(lambda a: tf.tanh(a) * 2.0 + 1.0, name="f")
    x = tf.placeholder(tf.float32, [3])
    for _ in range(6):
        x = f(x)
    tree = trees.build(list(graph.operations))
    shown = [b for b in tree.boxes if b.op is not None and b.op.type == "Tanh"]
    assert len(shown) == 2
    assert sum("not shown here" in " ".join(b.notes) for b in tree.boxes) == 4


def test_deep_scopes_and_long_chains_need_no_recursion(graph):
    with tf.name_scope("/".join(["s"] * 3000)):
        x = tf.sin(tf.cos(tf.zeros([2])))
    for _ in range(3000):
        x = tf.sin(x)
    data = explorer.data(graph)
    assert len(json.dumps(data)) < 3_000_000


def test_tensors_are_shown_with_what_they_need(network):
    graph, _ = network
    data = explorer.data(graph.get_tensor_by_name("first/Tanh:0"))
    assert "second/w" not in data["ops"]["name"]
    assert data["facts"][1].startswith("of ")


def test_what_cannot_be_shown_is_refused(network):
    graph, _ = network
    with pytest.raises(tf.errors.GraphError, match="report must be"):
        explorer.data(graph, {"steps": 3})
    with pytest.raises(tf.errors.GraphError, match="cannot be drawn"):
        explorer.data(object())


# -- the page ------------------------------------------------------------------


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.title = ""
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = ""
        if tag == "script":
            self._in = dict(attrs).get("id") or "view"
        elif tag == "title":
            self._in = "title"

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "title":
            self.title += data
        elif self._in:
            self.scripts[self._in] = self.scripts.get(self._in, "") + data


def held(page: str) -> Any:
    """The data in a page, read as the page reads it."""
    text = Parsed(page).scripts["data"].strip()
    if text.startswith("{"):
        return json.loads(text)
    return json.loads(zlib.decompress(base64.b64decode(text)))


def test_the_page_is_one_file_that_asks_for_nothing(network, tmp_path):
    path = tf.viz.explore(network[0], network[1], tmp_path / "g.html", title="<a> & b")
    assert path == tmp_path / "g.html"
    page = path.read_text(encoding="utf-8")
    parsed = Parsed(page)
    assert parsed.title == "<a> & b"
    assert not [a for _, a in parsed.tags if "src" in a or "href" in a]
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource)\b\s*\(", page)
    policy = next(a for t, a in parsed.tags if t == "meta" and "http-equiv" in a)
    assert policy["content"].startswith("default-src 'none'")
    assert sorted(parsed.scripts) == ["data", "layout", "view"]
    assert held(page)["format"] == "dagrad explorer"
    assert "Permission is hereby granted" in json.loads(parsed.scripts["layout"])


def test_much_data_is_compressed(graph):
    x = tf.zeros([2])
    for i in range(4000):
        x = tf.sin(x, name=f"a_rather_long_name_of_an_operation_{i}")
    data = explorer.data(graph)
    plain = len(json.dumps(data))
    page = whole_page(data, "many")
    assert plain > 400_000
    assert len(embed(data)) < plain / 4
    assert held(page)["ops"]["name"] == data["ops"]["name"]


def test_a_source_links_to_its_line(graph):
    tf.zeros([2], name="z")
    links = {"vscode://file{path}:{line}": "vscode://file", "file://{path}": "file:///"}
    for link, start in links.items():
        data = explorer.data(graph, source_link=link)
        said, href = data["sources"][data["ops"]["source"][0]]
        assert said.endswith(f"test_explorer.py:{said.rpartition(':')[2]}")
        assert href.startswith(start)
    assert explorer.data(graph)["sources"][0][1] == ""


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "@@VIEW@@",
    "a\u2028b\u2029c",
    "\"quoted\" & 'so' `${1}`",
    "\\u003c/script>",
    "x" * 10_000,
    "äöü 漢字 🙂",
    "__proto__",
    "tab\tnew\nline\x00\x1b[0m",
]
names = st.one_of(
    st.sampled_from(HOSTILE), st.text(min_size=1, max_size=60).filter(str.strip)
)


def renamed(graph: Any, made: list[str]) -> None:
    """Hostile names, as no builder lets them in but a loaded file might."""
    for i, (op, name) in enumerate(zip(graph.operations, made)):
        op.name = f"{name}_{i}"


@given(st.lists(names, min_size=3, max_size=8), names)
def test_hostile_names_stay_data(made, title):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [2])
        for _ in made:
            x = tf.sin(x)
    renamed(graph, made)
    data = explorer.data(graph, title=title, source_link="file://{path}")
    page = whole_page(data, title)
    parsed = Parsed(page)
    tags = [tag for tag, _ in parsed.tags]
    assert tags == PLAIN_TAGS
    assert held(page)["ops"]["name"] == data["ops"]["name"]
    assert parsed.scripts["view"] == PLAIN_VIEW
    # No character that ends a line of script or a script stands in the data.
    assert not re.search("[<>&\u2028\u2029]", parsed.scripts["data"])


def _plain() -> Parsed:
    with tf.Graph().as_default() as graph:
        tf.zeros([2])
    return Parsed(whole_page(explorer.data(graph), "plain"))


PLAIN_TAGS = [tag for tag, _ in _plain().tags]
PLAIN_VIEW = _plain().scripts["view"]


# -- the files -----------------------------------------------------------------


def test_every_script_is_used_and_short():
    ours = {p.name for p in HERE.glob("*.js")}
    assert ours == {n for n in (*VIEW, *LAYOUT) if "/" not in n}
    assert set(VIEW) & set(LAYOUT) == SHARED
    for path in (*HERE.glob("*.js"), *HERE.glob("*.css"), *HERE.glob("*.html")):
        assert path.read_text(encoding="utf-8").count("\n") <= 600, path.name


def test_scripts_write_text_never_markup():
    for name in (*VIEW, "worker.js"):
        text = (HERE / name).read_text(encoding="utf-8")
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write", text), name
        assert not re.search(r"\beval\b|new Function", text), name
        assert "</script" not in text
        assert "<!--" not in text


def test_the_vendored_file_is_the_recorded_one():
    folder = HERE / "vendor"
    content = (folder / "dagre.min.js").read_bytes()
    said = (folder / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in said
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    version = lock["packages"]["node_modules/@dagrejs/dagre"]["version"]
    assert content.startswith(f"/*! dagre {version},".encode())
    licence = (folder / "LICENSE.dagre").read_text(encoding="utf-8")
    assert licence in content.decode("utf-8")
    assert len(content) < 64_000
