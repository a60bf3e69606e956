"""Pictures: well-formed, within their budget, the same each time, and honest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from work import growth

import dagrad
import dagrad.runtime.session
from dagrad import viz
from dagrad.graphlib.errors import GraphError
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.ops import core, grouping, linalg, reduction, state, training
from dagrad.runtime.report import RunReport, StepReport
from dagrad.viz import layout as viz_layout
from dagrad.viz import svg as viz_svg
from dagrad.viz.memory import MemoryTrace, memory_svg
from dagrad.viz.model import classify
from dagrad.viz.text import table

SVG = "{http://www.w3.org/2000/svg}"


def perceptron(layers: int = 2) -> tuple[Graph, Any, Any]:
    """A training graph with batches of unknown size: graph, loss, train op."""
    graph = Graph()
    with graph.as_default():
        x = core.placeholder("float32", (None, 5), name="x")
        variables = []
        h = x
        for i in range(layers):
            with graph.name_scope(f"layer{i}"):
                w = state.Variable(np.ones((5, 5), np.float32), name="W")
                b = state.Variable(np.zeros(5, np.float32), name="b")
                variables += [w, b]
                h = linalg.matmul(h, w) + b
        with graph.name_scope("loss"):
            loss = reduction.reduce_mean(h * h)
        slopes = gradients(loss, variables)
        with graph.name_scope("train"):
            steps = [v.assign_sub(g * 0.1) for v, g in zip(variables, slopes)]
            train = grouping.group(*steps, name="step")
        grouping.group(*[v.initializer for v in variables], name="init")
    return graph, loss, train


def chain(length: int) -> Graph:
    """One placeholder and ``length`` operations in a row, without scopes."""
    graph = Graph()
    with graph.as_default():
        t = core.placeholder("float32", (None,), name="x")
        for _ in range(length):
            t = core.identity(t)
    return graph


def parse(svg: str) -> ElementTree.Element:
    """The root of well-formed SVG that holds no script and no link."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    for element in root.iter():
        assert element.tag not in (f"{SVG}script", f"{SVG}foreignObject", f"{SVG}a")
        assert not any(
            key.lower().startswith("on") or "href" in key for key in element.attrib
        )
    return root


def drawn(svg: str, kind: str = "node") -> list[ElementTree.Element]:
    """The groups of one kind: node, edge or cluster."""
    return [
        g
        for g in parse(svg).iter(f"{SVG}g")
        if g.get("class", "").split(" ")[0] == kind
    ]


def words(element: ElementTree.Element) -> str:
    """All text that is drawn in an element."""
    return " | ".join(t.text or "" for t in element.iter(f"{SVG}text"))


def hints(element: ElementTree.Element) -> str:
    """What hovering says."""
    return element.findtext(f"{SVG}title", "")


# -- the training graph --------------------------------------------------------


def test_parts_follow_from_what_made_the_operations() -> None:
    graph, _, _ = perceptron()
    part = classify(graph, list(graph.operations))
    by_name = {op.name: p for op, p in part.items()}
    assert by_name["x"] == "input"
    assert by_name["layer0/W"] == "variable"
    assert by_name["layer0/MatMul"] == "forward"
    assert by_name["layer0/W/Assign"] == "initializer"
    assert by_name["layer0/W/initial_value"] == "initializer"
    assert by_name["init"] == "initializer"
    assert by_name["train/step"] == "update"
    assert by_name["train/AssignSub"] == "update"
    # The scaled gradient serves nothing but the update.
    scaled = [op for op in part if op.name.startswith("train/") and op.type == "Mul"]
    assert scaled and {part[op] for op in scaled} == {"update"}
    backward = [op for op in part if op.forward_op is not None]
    assert {part[op] for op in backward} <= {"backward", "constant"}


def test_a_variable_is_one_node_with_its_helpers_inside() -> None:
    graph, _, _ = perceptron(1)
    shown = [words(g) for g in drawn(viz.to_svg(graph))]
    assert sum("W | float32[5,5]" in w for w in shown) == 1
    assert not any("Assign |" in w or "initial_value" in w for w in shown)


def test_a_constant_is_text_inside_its_reader() -> None:
    graph, _, _ = perceptron(1)
    assert "y = 0.1" in viz.to_svg(graph)
    assert not any("Const" in words(g) for g in drawn(viz.to_svg(graph)))


def test_constants_become_nodes_on_request() -> None:
    graph, _, _ = perceptron(1)
    nodes = drawn(viz.to_svg(graph, show_constants=True))
    assert sum("0.1" in words(g) for g in nodes) == 2


def test_initialisers_appear_on_request() -> None:
    graph, _, _ = perceptron(1)
    assert ">init<" not in viz.to_svg(graph)
    assert ">init<" in viz.to_svg(graph, show_initializers=True)


def test_asking_for_an_initialiser_draws_it() -> None:
    graph, _, _ = perceptron(1)
    svg = viz.render(graph.get_operation_by_name("init"))
    assert ">init<" in svg


def test_edges_carry_dtype_and_shape() -> None:
    graph, _, _ = perceptron()
    labels = [words(g).strip() for g in drawn(viz.to_svg(graph), "edge")]
    assert "float32[?,5]" in labels
    assert "float32[5,5]" in labels


def test_unknown_rank_is_shown() -> None:
    graph = Graph()
    with graph.as_default():
        core.identity(core.placeholder("int64"))
    assert "int64[...]" in words(drawn(viz.to_svg(graph), "edge")[0])


def test_control_dependencies_are_dashed() -> None:
    graph, _, _ = perceptron()
    control = [
        g for g in drawn(viz.to_svg(graph), "edge") if "control" in g.get("class", "")
    ]
    assert len(control) == 4
    for g in control:
        assert g.find(f"{SVG}path").get("stroke-dasharray")  # type: ignore[union-attr]
        assert "waits for" in hints(g)


def test_tooltips_name_the_operation_and_its_line() -> None:
    graph, _, _ = perceptron()
    hint = next(
        hints(g) for g in drawn(viz.to_svg(graph)) if "layer1/MatMul\n" in hints(g)
    )
    assert hint.startswith("MatMul layer1/MatMul\noutput 0: float32[?,5]\n")
    assert "transpose_a = False" in hint
    assert re.search(r"test_viz\.py:\d+$", hint)


def test_backward_nodes_name_what_they_differentiate() -> None:
    graph, _, _ = perceptron()
    nodes = [g for g in drawn(viz.to_svg(graph)) if "backward" in g.get("class", "")]
    assert any("grad of MatMul" in words(g) for g in nodes)
    assert any("gradient of layer0/MatMul (" in hints(g) for g in nodes)


def test_every_colour_is_in_the_legend() -> None:
    graph, _, _ = perceptron()
    svg = viz.to_svg(graph)
    sheet = parse(svg).find(f"{SVG}g")
    assert sheet is not None
    legend = [t.text for t in sheet.findall(f"{SVG}text")]
    for name in ("placeholder", "variable", "forward", "backward", "update"):
        assert any(name in (text or "") for text in legend)
    assert "placeholder" not in words(parse(viz.to_svg(graph, legend=False)))


def test_slots_of_an_optimizer_are_named_in_their_update() -> None:
    graph = Graph()
    with graph.as_default():
        w = state.Variable(np.ones(2, np.float32), name="w")
        slot = state.Variable(np.zeros(2, np.float32), name="slot", trainable=False)
        slope = core.placeholder("float32", (2,), name="slope")
        training.apply_momentum(w, slot, 0.1, slope, 0.9)
    svg = viz.to_svg(graph)
    shown = [words(g) for g in drawn(svg)]
    assert any("ApplyMomentum" in w and "accum: slot" in w for w in shown)
    assert "1 slot named in updates" in words(parse(svg))
    assert not any(w.startswith("slot") for w in shown)
    assert len(drawn(viz.to_svg([slot]))) == 1


def test_runs_do_not_span_parts() -> None:
    graph, _, _ = perceptron(60)
    nodes = drawn(viz.to_svg(graph, max_nodes=30, repeats=False))
    parts = [g.get("class", "").split(" ")[1] for g in nodes]
    assert len(nodes) <= 30
    assert parts.count("backward") == 1
    assert parts.count("update") == 1


def test_like_scopes_open_together() -> None:
    graph, _, _ = perceptron(60)
    folded = {
        words(g).split(" | ")[0]
        for g in drawn(viz.to_svg(graph, repeats=False, max_nodes=200))
        if "folded" in g.get("class", "")
    }
    assert {f"layer{i}" for i in range(1, 59)} <= folded


def test_a_source_of_very_many_is_named_in_its_readers() -> None:
    graph = Graph()
    with graph.as_default():
        x = core.placeholder("float32", (2,), name="x")
        for _ in range(50):
            core.identity(x)
    svg = viz.to_svg(graph)
    assert len(drawn(svg, "edge")) == 3
    assert sum("reads x" in words(g) for g in drawn(svg)) == 47


def test_edges_to_a_reader_of_very_many_become_text() -> None:
    graph = Graph()
    with graph.as_default():
        core.add_n([core.placeholder("float32", (2,)) for _ in range(50)])
    svg = viz.to_svg(graph)
    assert len(drawn(svg, "edge")) == 3
    assert sum("to AddN" in words(g) for g in drawn(svg)) == 47


def test_kept_values_are_named_where_their_edges_would_crowd() -> None:
    graph, _, _ = perceptron(30)
    svg = viz.to_svg(graph, repeats=False, max_nodes=200)
    assert "edges written as text" in svg
    assert "keeps layer" in svg
    assert not any("saved" in g.get("class", "") for g in drawn(svg, "edge"))


# -- scopes --------------------------------------------------------------------


def test_depth_zero_folds_every_scope() -> None:
    graph, _, _ = perceptron()
    svg = viz.to_svg(graph, depth=0)
    assert drawn(svg, "cluster") == []
    folded = {
        words(g).split(" | ")[0] for g in drawn(svg) if "folded" in g.get("class", "")
    }
    assert {"layer0", "layer1", "loss", "gradients", "train"} <= folded


def test_depth_one_opens_the_outermost_scopes() -> None:
    graph, _, _ = perceptron()
    svg = viz.to_svg(graph, depth=1)
    scopes = {words(g) for g in drawn(svg, "cluster")}
    labels = {t.text for t in parse(svg).iter(f"{SVG}text")}
    assert {"layer0", "gradients"} <= scopes | labels
    assert any("folded" in g.get("class", "") for g in drawn(svg))


def test_edges_between_folded_scopes_are_merged_with_a_count() -> None:
    graph, _, _ = perceptron()
    labels = [words(g) for g in drawn(viz.to_svg(graph, depth=0), "edge")]
    assert any("4 tensors" in label for label in labels)


@pytest.mark.parametrize("budget", [1, 5, 12, 30, 200])
def test_the_budget_holds(budget: int) -> None:
    graph, _, _ = perceptron(6)
    svg = viz.to_svg(graph, max_nodes=budget)
    assert 0 < len(drawn(svg)) <= budget


@pytest.mark.parametrize("budget", [1, 3, 40])
def test_the_budget_holds_without_scopes(budget: int) -> None:
    assert 0 < len(drawn(viz.to_svg(chain(500), max_nodes=budget))) <= budget


def test_drawing_takes_work_in_proportion_to_the_operations() -> None:
    def drawing(n: int) -> Any:
        graph = chain(n)
        return lambda: viz.to_svg(graph)

    assert growth(drawing, 3000) < 2.2
    svg = drawing(20_000)()
    assert len(drawn(svg)) <= 200
    assert "20,001 operations" in svg


def test_scopes_may_nest_very_deep() -> None:
    graph = Graph()
    with graph.as_default(), graph.name_scope("/".join(["s"] * 3000)):
        core.identity(core.placeholder("float32", name="x"))
    assert len(drawn(viz.to_svg(graph))) == 2
    assert drawn(viz.to_svg(graph, depth=0))


def test_many_edges_shrink_the_picture_instead_of_reaching_the_layout() -> None:
    graph = Graph()
    with graph.as_default():
        layer = [core.placeholder("float32", (2,)) for _ in range(40)]
        for _ in range(4):
            layer = [core.add_n(layer) for _ in range(40)]
    svg = viz.to_svg(graph)
    assert len(drawn(svg, "edge")) <= 3 * 200 + 40


# -- what is drawn -------------------------------------------------------------


def test_tensors_draw_with_what_they_need_only() -> None:
    _, loss, _ = perceptron()
    svg = viz.render([loss])
    assert not any("backward" in g.get("class", "") for g in drawn(svg))
    assert any("Mean" in words(g) for g in drawn(svg))


def test_focus_keeps_the_neighbourhood() -> None:
    graph, _, _ = perceptron()
    near = viz.to_svg(graph, focus="layer0/MatMul", hops=1)
    # Itself, x, the variable and the sum.
    assert len(drawn(near)) == 4
    assert "beyond the focus" in near
    assert len(drawn(viz.to_svg(graph, focus="layer0/MatMul:0", hops=0))) == 1


def test_focus_on_a_variable() -> None:
    graph, _, _ = perceptron()
    variable = next(iter(graph._variables.values()))
    shown = " ".join(words(g) for g in drawn(viz.to_svg(graph, focus=variable, hops=1)))
    assert "MatMul" in shown


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(GraphError, match="nothing to draw"):
        viz.render([])
    with pytest.raises(GraphError, match="cannot be drawn"):
        viz.render(3)


def test_an_empty_graph_is_a_sheet() -> None:
    assert drawn(viz.to_svg(Graph())) == []


def test_direction_is_checked() -> None:
    assert "rankdir=LR" in viz.to_dot(chain(1), direction="LR")
    with pytest.raises(GraphError, match="direction"):
        viz.to_dot(chain(1), direction="diagonal")


# -- files and programs --------------------------------------------------------


def test_render_writes_by_the_name_of_the_file(tmp_path: Path) -> None:
    graph, _, _ = perceptron(1)
    svg = viz.render(graph, tmp_path / "g.svg", title="A title")
    assert (tmp_path / "g.svg").read_text("utf-8") == svg
    assert parse(svg).findtext(f"{SVG}title") == "A title"
    dot = viz.render(graph, str(tmp_path / "g.dot"))
    assert dot.startswith("digraph") and (tmp_path / "g.dot").read_text("utf-8") == dot


def test_the_same_graph_gives_the_same_bytes() -> None:
    first, second = perceptron(3)[0], perceptron(3)[0]
    assert viz.to_dot(first) == viz.to_dot(second)
    assert viz.to_svg(first) == viz.to_svg(second)


def test_another_process_gives_the_same_bytes(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = (
        "from dagrad import viz; from dagrad.graphlib.graph import Graph\n"
        "from dagrad.ops import core\n"
        "g = Graph()\n"
        "with g.as_default():\n"
        "    a = [core.placeholder('float32', name=n) for n in 'abcdef']\n"
        "    core.add_n(a)\n"
        "import hashlib; print(hashlib.sha256(viz.to_svg(g).encode()).hexdigest())\n"
    )
    assert run_python(program, cwd=tmp_path) == run_python(program, cwd=tmp_path)


def test_the_svg_has_a_size(tmp_path: Path) -> None:
    root = parse(viz.to_svg(perceptron()[0]))
    box = [float(v) for v in root.attrib["viewBox"].split()]
    assert float(root.attrib["width"]) == box[2] > 100
    assert float(root.attrib["height"]) == box[3] > 100


def test_the_layout_program_has_nothing_to_complain_about() -> None:
    import subprocess

    dot = viz.to_dot(perceptron()[0], title="plain")
    program = viz_layout._program("pure")
    done = subprocess.run(
        [program, "-Tsvg"], input=dot.encode(), capture_output=True, check=True
    )
    assert done.stderr == b""


def test_a_missing_program_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(viz_layout, "_pure_program", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(viz_svg.DrawingError, match="pip install graphviz-pure"):
        viz.to_svg(chain(1))
    with pytest.raises(viz_svg.DrawingError, match="`dot`"):
        viz.to_svg(chain(1), engine="system")


def test_a_syntax_error_of_the_program_is_shown() -> None:
    with pytest.raises(viz_svg.DrawingError, match="syntax error"):
        viz_svg.draw("digraph {")


def test_importing_imports_no_graphviz(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = (
        "import sys, dagrad.viz\n"
        "print([m for m in ('graphviz', 'networkx', 'xml') if m in sys.modules])\n"
    )
    assert run_python(program, cwd=tmp_path) == "[]\n"


def test_a_graph_draws_itself() -> None:
    graph = chain(1)
    assert parse(graph._repr_svg_()) is not None
    assert graph.to_dot(direction="LR") == viz.to_dot(graph, direction="LR")


# -- hostile texts -------------------------------------------------------------

ANY_TEXT = st.text(min_size=1, max_size=60) | st.sampled_from(
    [
        '"><script>alert(1)</script>',
        "<b>&amp;",
        "a\nb\\nc\\",
        "]]>",
        "\\N",
        "x" * 10_000,
        "<" * 50 + ">",
        "π → ∞ ·",
        "\x00\x1b",
        "cluster_1",
        "a:b:c",
        "-->",
        "\ud800",
    ]
)


@given(name=ANY_TEXT, title=ANY_TEXT, attribute=ANY_TEXT)
def test_any_text_gives_well_formed_svg(name: str, title: str, attribute: str) -> None:
    graph = Graph()
    with graph.as_default():
        x = core.placeholder("float32", name="x")
        # A trailing slash takes a name as it is, unchecked.
        y = graph.create_op(core.IDENTITY, [x], {"note": attribute}, f"{name}/")
        graph.create_op(core.IDENTITY, y.outputs, None, f"{name}/inside/")
        graph.create_op(core.IDENTITY, y.outputs, None, f"{name}/other/")
    for depth in (None, 0):
        svg = viz.to_svg(graph, title=title, depth=depth)
        assert drawn(svg)
        assert "<script" not in svg
        # Long texts are cut, so no box is wider than a page.
        assert float(parse(svg).attrib["width"]) < 1500


@given(name=ANY_TEXT, title=ANY_TEXT)
def test_any_text_gives_a_well_formed_chart(name: str, title: str) -> None:
    trace = MemoryTrace([name], [8], [(name, name, 8, 0, 0)])
    parse(memory_svg(trace, title=title))


# -- memory --------------------------------------------------------------------


def trace_of(count: int) -> MemoryTrace:
    live = [1000 + 3000 * (i % 7) for i in range(count)]
    tensors = [(f"t{i}", "float32[25]", 100 + i, i, i + 3) for i in range(count)]
    return MemoryTrace(
        [f"step{i}" for i in range(count)],
        live,
        tensors,
        measured=[v + 100 for v in live],
        workspace=[10] * count,
    )


def test_the_peak_and_its_live_set() -> None:
    trace = trace_of(20)
    assert trace.peak() == (6, 19_010)
    assert [t[0] for t in trace.live_at(6)] == ["t6", "t5", "t4", "t3"]
    svg = memory_svg(trace, title="Memory")
    shown = words(parse(svg))
    assert "peak 18.6 KiB at step 6, step6" in shown
    for said in ("Alive at the peak: 4 tensors", "t6", "106 B", "measured", "6 to 9"):
        assert said in shown


def test_long_traces_keep_the_peak_and_few_points() -> None:
    trace = trace_of(50_000)
    trace.live_bytes[31_234] = 10**6
    svg = memory_svg(trace)
    assert len(svg) < 200_000
    assert "peak 977 KiB at step 31,234" in svg


@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_traces(count: int) -> None:
    parse(memory_svg(trace_of(count)))


def test_a_trace_without_bytes() -> None:
    parse(memory_svg(MemoryTrace(["a", "b"], [0, 0])))


def test_a_trace_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(GraphError, match="2 measured for 1 steps"):
        MemoryTrace(["a"], [1], measured=[1, 2])


def test_a_plan_and_a_report_draw_as_memory() -> None:
    graph, loss, _ = perceptron()
    x = graph.get_tensor_by_name("x:0")
    feeds = {x: np.ones((4, 5), np.float32)}
    with dagrad.runtime.session.Session(graph=graph) as session:
        plan = session.plan(loss, feeds)
    trace = MemoryTrace.of_plan(plan)
    assert trace.peak()[1] == plan.peak_bytes
    assert "Alive at the peak" in viz.render(plan)
    steps = [StepReport(s.name, "", "", 0.0, 0.0, 0, 64, ()) for s in plan.steps]
    assert "measured" in viz.render(RunReport(steps, plan=plan))


def test_render_takes_a_trace(tmp_path: Path) -> None:
    svg = viz.render(trace_of(5), tmp_path / "m.svg")
    assert (tmp_path / "m.svg").read_text("utf-8") == svg


# -- the table -----------------------------------------------------------------


def test_the_table_has_a_line_for_each_operation() -> None:
    graph, _, _ = perceptron(1)
    lines = table(graph).splitlines()
    assert len(lines) == 2 + len(graph.operations)
    assert lines[0].split() == [
        "id", "name", "type", "part", "outputs", "inputs", "source",
    ]  # fmt: skip
    assert any(re.search(r"layer0/MatMul +MatMul +forward +float32", s) for s in lines)


def test_a_long_table_says_what_it_leaves_out() -> None:
    text = table(chain(1000), max_rows=10)
    assert "... 991 operations left out ..." in text
    assert len(text.splitlines()) == 13
