"""What a picture shows and leaves out: views, bodies, repeats, mirror, overlays."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from pictures import SVG, by_title, drawn, hints, parse, words

import dagrad as tf
from dagrad import viz
from dagrad.graphlib.errors import GraphError
from dagrad.viz.drawing import drawing_of, picture_of
from dagrad.viz.steps import collect_plan
from dagrad.viz.theme import CATEGORIES, DARK, LIGHT, ink_on, ramp


def layers(count: int, width: int = 4, train: bool = True) -> tf.Graph:
    """A network of equal layers in scopes, with its training step."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, width], name="x")
        h = x
        for i in range(count):
            with tf.name_scope(f"layer{i}"):
                w = tf.Variable(np.zeros((width, width), np.float32), name="W")
                h = tf.tanh(tf.matmul(h, w))
        with tf.name_scope("loss"):
            loss = tf.reduce_sum(h)
        if train:
            tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    return graph


@pytest.fixture
def looped() -> tf.Graph:
    """A loop over a branch, a call, and their gradient."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [3], name="x")

        def body(i: Any, y: Any) -> Any:
            return i + 1, tf.cond(y[0] > 0.0, lambda: y * x, lambda: tf.sin(y))

        _, y = tf.while_loop(lambda i, y: i < 3, body, [0, x], name="loop")
        f = tf.function(lambda a: tf.tanh(a) + 1.0, name="squash")
        tf.gradients(f(y), [x])
    return graph


# -- views ---------------------------------------------------------------------


def test_between_keeps_the_ways_only() -> None:
    graph = layers(4)
    picture = picture_of(graph, between=("layer1/Tanh", "layer2/Tanh"))
    names = {op.name for node in picture.nodes for op in node.ops}
    assert names == {"layer1/Tanh", "layer2/MatMul", "layer2/Tanh"}
    assert any("on no path not drawn" in fact for fact in picture.facts)


def test_between_takes_two_sides() -> None:
    with pytest.raises(GraphError, match="between takes two lists"):
        picture_of(layers(2), between=("x", []))


def test_hops_count_links() -> None:
    graph = layers(6, train=False)
    sizes = [
        len(picture_of(graph, focus="layer3/MatMul", hops=hops).nodes)
        for hops in range(4)
    ]
    # Itself; layer2/Tanh, layer3/W, layer3/Tanh; two products; their W and Tanh.
    assert sizes == [1, 4, 6, 10]


def test_expand_opens_a_scope_that_depth_folds() -> None:
    graph = layers(4)
    picture = picture_of(graph, depth=0, expand=["gradients/layer2"])
    assert [c.path for c in picture.clusters] == ["", "gradients", "gradients/layer2"]
    shown = {op.name for n in picture.nodes for op in n.ops if not n.folded}
    assert any("layer2/MatMul_grad" in name for name in shown)


def test_expand_takes_one_of_many_like_scopes_out() -> None:
    picture = picture_of(layers(200), expand="layer57")
    paths = {c.path: c.count for c in picture.clusters}
    assert paths["layer57"] == 1
    assert paths["layer0"] == 199


def test_expand_says_what_there_is() -> None:
    with pytest.raises(GraphError, match=r"'layer9' cannot be opened.*'layer0'"):
        picture_of(layers(2), expand=["layer9"])


def test_a_scope_too_big_to_open_is_cut_into_runs() -> None:
    with tf.Graph().as_default() as graph, tf.name_scope("big"):
        x = tf.placeholder(tf.float32, name="x")
        for _ in range(500):
            x = tf.identity(x)
    picture = picture_of(graph, depth=0, expand=["big"], max_nodes=12)
    assert 1 < len(picture.nodes) <= 12


# -- repeats -------------------------------------------------------------------


def test_like_scopes_are_drawn_once_with_their_number() -> None:
    picture = picture_of(layers(1000))
    counts = {c.path: c.count for c in picture.clusters}
    assert counts["layer0"] == 1000
    assert len(picture.nodes) < 40
    label = next(c.label for c in picture.clusters if c.path == "layer0")
    assert label == "layer0 ... layer999: 1,000 alike"
    again = [e for e in picture.edges if e.again]
    assert {e.label for e in again} == {"to the next"}
    assert "like scopes drawn as" in " ".join(picture.facts)


def test_edges_of_like_scopes_count_what_they_stand_for() -> None:
    picture = picture_of(layers(300))
    labels = {e.label for e in picture.edges}
    # The gradients of 300 layers, but for the first, go to one update each.
    assert "299 x float32[4,4]" in labels
    # Inside a layer each edge is one tensor.
    inside = {n.key for c in picture.clusters if c.path == "layer0" for n in c.nodes}
    own = [e for e in picture.edges if e.tail in inside and e.head in inside]
    assert {e.label for e in own if not e.again} == {"float32[4,4]", "float32[?,4]"}


def test_scopes_that_differ_are_not_merged() -> None:
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [3], name="x")
        for i in range(100):
            with tf.name_scope(f"step{i}"):
                h = tf.tanh(h) if i % 2 else tf.sin(h)
                h = h * 2.0
    counts = {c.path: c.count for c in picture_of(graph).clusters[1:]}
    assert counts == {"step0": 50, "step1": 50}


def test_scopes_of_other_names_are_not_merged() -> None:
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [3], name="x")
        for name in ("query", "key", "value", "output"):
            with tf.name_scope(name):
                h = tf.tanh(h) * 2.0
    picture = picture_of(graph, repeats=True)
    assert [c.path for c in picture.clusters[1:]] == ["query", "key", "value", "output"]


def test_repeats_are_drawn_one_by_one_on_request() -> None:
    graph = layers(5)
    assert len([n for n in picture_of(graph).nodes if n.part == "variable"]) == 9
    once = picture_of(graph, repeats=True)
    assert len([n for n in once.nodes if n.part == "variable"]) < 5


def test_every_operation_has_one_place() -> None:
    """Each operation is in one box, or in none and counted in the facts."""
    graph = layers(30)
    for options in ({}, {"depth": 0}, {"repeats": False}, {"layout": "mirror"}):
        ops = [op for node in picture_of(graph, **options).nodes for op in node.ops]
        assert len(ops) == len(set(ops))


# -- bodies --------------------------------------------------------------------


def test_a_body_is_a_nested_box(looped: tf.Graph) -> None:
    picture = picture_of(looped)
    bodies = {c.path: c for c in picture.clusters if c.body}
    assert set(bodies) >= {"loop/Loop()", "loop/Loop()/cond/Case()"}
    inner = bodies["loop/Loop()/cond/Case()"]
    names = {picture.clusters[i].label for i in inner.children}
    assert names == {"true", "false"}
    inside = {n.title for c in picture.clusters if "Case()" in c.path for n in c.nodes}
    assert {"Sin", "Mul"} <= inside


def test_what_goes_round_goes_back(looped: tf.Graph) -> None:
    picture = picture_of(looped)
    titles = {node.key: node.title for node in picture.nodes}
    back = {(titles[e.tail], titles[e.head]) for e in picture.edges if e.again}
    assert ("Add", "carry") in back
    assert {e.label for e in picture.edges if e.again} == {"to the next round"}


def test_what_a_body_captures_comes_from_outside(looped: tf.Graph) -> None:
    picture = picture_of(looped)
    titles = {node.key: node.title for node in picture.nodes}
    pairs = {(titles[e.tail], titles[e.head]) for e in picture.edges}
    assert ("x", "Mul") in pairs


def test_a_closed_body_is_its_operation(looped: tf.Graph) -> None:
    picture = picture_of(looped, depth=0)
    assert not any(c.body for c in picture.clusters)
    opened = picture_of(looped, max_nodes=4)
    assert len(opened.nodes) <= 4


def test_the_bodies_of_gradients_open_on_request(looped: tf.Graph) -> None:
    name = next(op.name for op in looped.operations if "squash_1_grad" in op.name)
    plain = picture_of(looped)
    assert not any("_grad" in c.path for c in plain.clusters)
    opened = picture_of(looped, expand=[name])
    assert any(c.body and "gradients" in c.path for c in opened.clusters)


def test_a_loop_made_again_for_its_gradient_is_drawn_once() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [3], name="x")
        _, y = tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y) * x), [0, x]
        )
        tf.gradients(y, [x])
    loops = [op.name for op in graph.operations if op.type == "Loop"]
    assert "while/Loop_saving" in loops
    picture = picture_of(graph, max_nodes=100)
    bodies = [c.path for c in picture.clusters if c.body]
    assert bodies == ["while/Loop()"]
    # What is kept goes from where it is made to the loop that reads it.
    kept = [node for node in picture.nodes if any("keeps" in n for n in node.notes)]
    assert kept or any(e.weak for e in picture.edges)


def test_a_body_with_a_variable_reads_it_from_outside() -> None:
    with tf.Graph().as_default() as graph:
        w = tf.Variable(np.ones(3), name="w")
        start = tf.ones([3], tf.float64)
        tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), [0, start])
    picture = picture_of(graph)
    variables = [n for n in picture.nodes if n.part == "variable"]
    assert [n.title for n in variables] == ["w"]
    titles = {node.key: node.title for node in picture.nodes}
    heads = {titles[e.head] for e in picture.edges if e.tail == variables[0].key}
    assert heads == {"Mul"}


def test_bodies_within_bodies_end_somewhere() -> None:
    with tf.Graph().as_default() as graph:
        y = tf.placeholder(tf.float32, [], name="x")

        def nest(depth: int, v: Any) -> Any:
            if not depth:
                return tf.sin(v)
            return tf.cond(v > 0.0, lambda: nest(depth - 1, v), lambda: v)

        nest(16, y)
    assert picture_of(graph, max_nodes=300).nodes


def test_focus_inside_a_body(looped: tf.Graph) -> None:
    loop = looped.get_operation_by_name("loop/Loop")
    inner = loop.attrs["body"].graph.operations
    case = next(op for op in inner if op.type == "Case")
    picture = picture_of(looped, focus=case, hops=0)
    inside = {op.name for node in picture.nodes for op in node.ops}
    assert inside and all("cond" in name for name in inside)


# -- mirror --------------------------------------------------------------------


def test_a_gradient_stands_beside_what_it_differentiates() -> None:
    svg = viz.to_svg(layers(3), layout="mirror")
    place = {}
    for g in drawn(svg):
        ys = [float(t.get("y", "0")) for t in g.iter(f"{SVG}text")]
        xs = [float(t.get("x", "0")) for t in g.iter(f"{SVG}text")]
        place[g.get("id")] = (sum(xs) / len(xs), sum(ys) / len(ys), g)
    links = drawn(svg, "edge")
    mirror = [g for g in links if "mirror" in g.get("class", "")]
    assert len(mirror) >= 6
    drawing = drawing_of(layers(3), layout="mirror")
    keys = [node.key for c in drawing.picture.clusters for node in c.nodes]
    assert {key for pair in drawing.picture.pairs for key in pair} <= set(keys)
    # All that is the gradient of one MatMul is one box.
    titles = [node.title for node in drawing.picture.nodes]
    assert titles.count("grad of MatMul") == 2


def test_a_mirrored_pair_is_on_one_level() -> None:
    dot = drawing_of(layers(3), layout="mirror").dot()
    assert dot.count("{rank=same;") >= 6
    assert "newrank=true" in dot
    with pytest.raises(GraphError, match="layout 'circle'"):
        picture_of(layers(1), layout="circle")


# -- overlays ------------------------------------------------------------------


def traced(graph: tf.Graph, fetches: Any, feeds: Any) -> Any:
    """The report of a traced run."""
    with tf.Session(graph=graph) as session:
        session.run([v.initializer for v in graph._variables.values()])
        metadata = tf.RunMetadata()
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        session.run(fetches, feeds, options=options, run_metadata=metadata)
    return metadata.report


def test_order_colours_by_the_steps_of_the_plan() -> None:
    graph = layers(3, train=False)
    with tf.Session(graph=graph) as session:
        plan = session.plan("loss/Sum:0", {"x:0": np.zeros((2, 4), np.float32)})
    drawing = drawing_of(graph, color="order", plan=plan, max_nodes=100)
    steps = {step.op: n for n, step in enumerate(plan.steps)}
    shown = [n for n in drawing.picture.nodes if n.ops and n.ops[0] in steps]
    assert len(shown) == 7
    for node in shown:
        assert node.notes[-1] == str(steps[node.ops[0]])
    ordered = sorted(shown, key=lambda n: steps[n.ops[0]])
    last = len(ordered) - 1
    assert [n.fill for n in (ordered[0], ordered[last])] == [ramp(0.0), ramp(1.0)]


def test_memory_is_of_the_results() -> None:
    graph = layers(1, train=False)
    drawing = drawing_of(graph, color="memory")
    notes = {n.title: n.notes[-1] if n.notes else "" for n in drawing.picture.nodes}
    assert notes["W"] == "64 B"
    blank = next(n for n in drawing.picture.nodes if n.title == "MatMul")
    assert blank.fill is None
    assert drawing.scale is not None and drawing.scale.blank == "sizes not known"


def test_flops_with_the_sizes_of_a_plan() -> None:
    graph = layers(1, train=False)
    with tf.Session(graph=graph) as session:
        plan = session.plan("loss/Sum:0", {"x:0": np.zeros((2, 4), np.float32)})
    drawing = drawing_of(graph, color="flops", plan=plan)
    product = next(n for n in drawing.picture.nodes if n.title == "MatMul")
    assert product.notes[-1] == "64"  # 2 * 2 * 4 * 4


def test_folded_boxes_sum_up() -> None:
    graph = layers(1, train=False)
    drawing = drawing_of(graph, color="memory", depth=0)
    layer = next(n for n in drawing.picture.nodes if n.title == "layer0")
    assert layer.notes[-1] == "64 B, 1 of 3 known"


def test_time_is_what_a_run_measured() -> None:
    graph = layers(2, train=False)
    report = traced(graph, "loss/Sum:0", {"x:0": np.zeros((2, 4), np.float32)})
    svg = viz.to_svg(graph, color="time", report=report)
    assert any(words(g).endswith("us") for g in drawn(svg))
    told = [hints(g) for g in drawn(viz.to_svg(graph, color="flops", report=report))]
    assert sum("us in the run" in hint for hint in told) == 5
    assert "time, measured" in words(parse(svg))
    with pytest.raises(GraphError, match="needs a traced run"):
        viz.to_svg(graph, color="time")


def test_a_report_draws_its_plan() -> None:
    graph = layers(2, train=False)
    report = traced(graph, "loss/Sum:0", {"x:0": np.zeros((2, 4), np.float32)})
    shown = {words(g).split(" | ")[0] for g in drawn(viz.render(report, color="time"))}
    assert {"x", "W", "MatMul", "Tanh", "Sum"} <= shown
    assert "<svg" in report._repr_svg_()


def test_nan_shows_where_it_begins() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [3], name="x")
        y = tf.reduce_sum(tf.log(x) * tf.sin(x))
    report = traced(graph, y, {x: [0.0, 1.0, 2.0]})
    assert report.nonfinite == {"Log:0": 1, "mul:0": 1, "Sum:0": 1}
    picture = drawing_of(graph, color="nan", report=report).picture
    found = {node.title: node.fill for node in picture.nodes}
    assert found == {
        "x": CATEGORIES[2],
        "Sin": CATEGORIES[2],
        "Log": CATEGORIES[6],
        "Mul": CATEGORIES[1],
        "Sum": CATEGORIES[1],
    }


def test_an_ordinary_run_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagrad.runtime import interpreter

    monkeypatch.setattr(interpreter, "_note_nonfinite", None)
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3])
        with tf.Session() as session:
            assert np.isinf(session.run(tf.log(x), {x: np.zeros(3)})).all()


def test_devices_are_kinds() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [3], name="x")
        with tf.device("/cpu:0"):
            y = tf.sin(x)
        with tf.device("/gpu:1"):
            tf.cos(y)
    drawing = drawing_of(graph, color="device")
    assert drawing.scale is not None
    names = [name for _, name in drawing.scale.classes]
    assert len(names) == 2 and drawing.scale.blank == "on no device"


def test_an_unknown_overlay_says_what_there_is() -> None:
    with pytest.raises(GraphError, match=r"color='heat' is none of 'order'"):
        viz.to_svg(layers(1), color="heat")


def test_an_overlay_may_be_a_function() -> None:
    from dagrad.viz.overlay import numbers

    graph = layers(1, train=False)
    values = {op: float(len(op.name)) for op in graph.operations}
    paint = numbers("letters", values, lambda v: f"{v:g} letters", join="max")
    shown = [words(g) for g in drawn(viz.to_svg(graph, color=paint))]
    assert any("13 letters" in w for w in shown)


def test_colours_rise_in_lightness() -> None:
    def light(colour: str) -> float:
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    found = [light(ramp(k / 20)) for k in range(21)]
    assert found == sorted(found)
    assert ink_on(ramp(0.0)) == "#ffffff" and ink_on(ramp(1.0)) == "#000000"


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
def test_text_is_readable_on_every_box(theme: Any) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(one: str, two: str) -> float:
        a, b = sorted((luminance(one), luminance(two)))
        return (b + 0.05) / (a + 0.05)

    fills = [look.fill for look in theme.parts.values()]
    for fill in [*fills, *theme.scope_fills, theme.background]:
        assert contrast(theme.text, fill) > 7
        assert contrast(theme.muted, fill) > 4.5


def test_the_theme_has_the_say_in_every_colour() -> None:
    svg = viz.to_svg(layers(2), theme="dark", title="Dark")
    fills = {e.get("fill") for e in parse(svg).iter()}
    assert DARK.background.lower() in {f.lower() for f in fills if f}
    assert LIGHT.text not in fills and LIGHT.background not in fills
    with pytest.raises(GraphError, match="theme 'pink'"):
        viz.to_svg(layers(1), theme="pink")


# -- plans ---------------------------------------------------------------------


def test_a_fused_step_opens_to_what_it_is_made_of() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [1000, 400], name="x")
        y = tf.reduce_sum(tf.tanh(x * 3.0) * tf.exp(x) + tf.log1p(tf.sin(x)))
    with tf.Session(graph=graph) as session:
        plan = session.plan(y, {x: np.zeros((1000, 400), np.float32)})
    assert any(step.opdef.type == "_Fused" for step in plan.steps)
    picture = picture_of(plan)
    (body,) = [c for c in picture.clusters if c.body]
    assert body.body == "Fused" and "operations in one step" in body.label
    assert {n.title for n in body.nodes} == {
        "Mul",
        "Tanh",
        "Exp",
        "Sin",
        "Log1p",
        "Add",
    }
    closed = picture_of(plan, depth=0)
    assert [n.title for n in closed.nodes] == ["x", "Fused", "Sum"]
    assert closed.nodes[1].notes[:2] == [
        "7 operations in one step",
        "Mul, Tanh, Exp, Mul, Sin, Log1p, Add",
    ]
    assert "done in one step" in words(parse(viz.render(plan, view="graph")))


def test_a_plan_has_the_sizes_of_the_run() -> None:
    graph = layers(1, train=False)
    with tf.Session(graph=graph) as session:
        plan = session.plan("loss/Sum:0", {"x:0": np.zeros((7, 4), np.float32)})
    labels = {e.label for e in picture_of(plan).edges}
    assert "float32[7,4]" in labels and "steps" in picture_of(plan).facts[0]
    names = picture_of(plan, focus="layer0/Tanh", hops=0).nodes
    assert [n.title for n in names] == ["Tanh"]
    with pytest.raises(GraphError, match="no step of the plan computes"):
        picture_of(plan, focus="layer0/W/Assign")


def test_bodies_open_in_plans() -> None:
    """With the sizes of the run; links go through to what reads and makes a value."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        w = tf.Variable(np.eye(4, dtype=np.float32), name="w")

        def turn(i: Any, h: Any) -> Any:
            side = tf.cond(h[0, 0] > 0.0, lambda: tf.tanh(h), lambda: tf.sin(h) * 2.0)
            return i + 1, tf.matmul(side, w)

        with tf.name_scope("part"):
            _, h = tf.while_loop(lambda i, h: i < 3, turn, [0, x])
        y = tf.reduce_sum(tf.exp(h), name="y")
    with tf.Session(graph=graph) as session:
        plan = session.plan(y, {x: np.zeros((7, 4), np.float32)})
    picture = picture_of(plan)
    bodies = [c.path for c in picture.clusters if c.body]
    assert bodies[0] == "part/while/Loop()"
    inner = "part/while/Loop()/cond/Case()"
    scopes = [c.path for c in picture.clusters]
    assert {f"{inner}/true", f"{inner}/false"} <= set(scopes)
    title = {n.key: n.title for n in picture.nodes}
    edges = {(title[e.tail], title[e.head]): e for e in picture.edges}
    assert edges["x", "carry_1"].label == "float32[7,4]"
    assert edges["w", "MatMul"].label == "float32[4,4]"
    for branch in ("Tanh", "Mul"):
        assert edges[branch, "MatMul"].label == "float32[7,4]"
    assert edges["MatMul", "Exp"].label == "float32[7,4]"
    assert edges["MatMul", "carry_1"].again == "to the next round"
    # Closed where there is no room, and opened when asked for.
    closed = picture_of(plan, max_nodes=4)
    assert not any(c.body for c in closed.clusters)
    assert "Loop" in {n.title for n in closed.nodes}
    forced = collect_plan(plan, inside=0, expand=["part/while/Loop"])
    assert "MatMul" in {i.type for i in forced.items}
    assert "MatMul" not in {i.type for i in collect_plan(plan, inside=0).items}
    near = picture_of(plan, focus="y", hops=2)
    assert "MatMul" in {n.title for n in near.nodes}
    parse(viz.render(plan, view="graph", color="order"))


def test_scans_and_fused_steps_in_bodies_open_in_plans() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [5, 1000, 400], name="x")
        y = tf.map_fn(lambda r: tf.tanh(r * 3.0) * tf.exp(r) + tf.sin(r), x)
        y = tf.reduce_sum(y, name="y")
    with tf.Session(graph=graph) as session:
        plan = session.plan(y, {x: None})
    picture = picture_of(plan)
    kinds = [c.body for c in picture.clusters if c.body]
    title = {n.key: n.title for n in picture.nodes}
    edges = [(title[e.tail], title[e.head]) for e in picture.edges]
    assert "Loop" in kinds
    (sums,) = [tail for tail, head in edges if head == "Sum"]
    assert sums == "Add"
    parse(viz.render(plan, view="graph"))


def test_rewrites_show_before_and_after() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [64], name="x")
        y = tf.log(1.0 + x) + tf.exp(x * 1.0) + tf.sqrt(tf.constant(4.0))
    with tf.Session(graph=graph) as session:
        plan = session.plan(y, {x: np.zeros(64, np.float32)})
    svg = viz.render(plan, color="rewrites", title="What became of it")
    root = parse(svg)
    said = words(root)
    for text in ("Before", "After", "What each pass did:", "log(1 + x) -> log1p(x)"):
        assert text in said
    before, after = (
        {words(n).split(" | ")[0] for n in g.iter(f"{SVG}g") if _is_node(n)}
        for g in root.findall(f"{SVG}g")
    )
    assert "Log" in before and "Log1p" in after and "Sqrt" in before - after
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))


def _is_node(g: Any) -> bool:
    return g.get("class", "").startswith("node")  # type: ignore[no-any-return]


# -- why a gradient is none ----------------------------------------------------


def test_a_cut_is_marked_on_the_way() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        h = tf.tanh(x, name="h")
        y = tf.reduce_sum(tf.floor(h) * tf.stop_gradient(h), name="y")
    svg = viz.explain_gradient(y, x)
    floor = by_title(svg, "Floor")
    assert "constant by pieces" in words(floor) and "grad_pass_through" in hints(floor)
    kinds = [g.get("class", "").split()[-1] for g in drawn(svg, "edge")]
    assert kinds.count("cut") == 2 and kinds.count("open") >= 2
    assert "is None" in words(parse(svg))


def test_an_open_way_is_marked_beside_a_cut_one() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        y = tf.reduce_sum(tf.floor(x) + tf.sin(x), name="y")
    picture = drawing_of([y], color="gradient", gradient=(y, x)).picture
    titles = {node.key: node.title for node in picture.nodes}
    states = {(titles[e.tail], titles[e.head]): e.state for e in picture.edges}
    assert states["x", "Floor"] == "cut"
    assert states["x", "Sin"] == states["Sin", "Add"] == states["Add", "Sum"] == "open"


def test_a_cut_in_a_body_is_seen_in_the_body() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        _, y = tf.while_loop(
            lambda i, y: i < 3,
            lambda i, y: (i + 1, tf.round(y) * 2.0),
            [0, x],
        )
        svg = viz.explain_gradient(y, x)
    assert "constant by pieces" in words(by_title(svg, "Round"))


def test_what_is_apart_is_drawn_apart() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        y = tf.sin(tf.placeholder(tf.float32, [3], name="z"), name="y")
    svg = viz.explain_gradient(y, x)
    assert {words(g).split(" | ")[0] for g in drawn(svg)} == {"x", "z", "Sin"}
    with pytest.raises(GraphError, match="needs gradient="):
        viz.to_svg([y], color="gradient")


# -- size ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_thousand_operations_fold_in_five_seconds() -> None:
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [8], name="x")
        for i in range(20_000):
            with tf.name_scope(f"block{i}"):
                h = tf.tanh(h * 2.0 + 1.0) + tf.sin(h)
    assert len(graph.operations) > 100_000
    started = time.process_time()
    svg = viz.to_svg(graph)
    assert time.process_time() - started < 5.0
    assert 0 < len(drawn(svg)) <= 60


def test_json_says_what_is_drawn() -> None:
    graph = layers(100)
    found = json.loads(viz.to_json(graph, color="memory"))
    picture = picture_of(graph)
    assert len(found["nodes"]) == len(picture.nodes)
    assert [e["tail"] for e in found["edges"]] == [e.tail for e in picture.edges]
    assert any(s["count"] == 100 for s in found["scopes"])
    assert found["scale"]["title"].startswith("bytes of the results")
    assert viz.to_json(layers(100)) == viz.to_json(layers(100))


def test_what_follows_like_scopes_leads_to_the_next_one() -> None:
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [3], name="x")
        for i in range(100):
            with tf.name_scope(f"layer{i}"):
                h = tf.sin(h * 2.0)
            h = tf.tanh(h)
    picture = picture_of(graph)
    assert [n.title for n in picture.nodes] == ["x", "Mul", "Sin", "Tanh"]
    again = [(e.tail, e.head) for e in picture.edges if e.again]
    titles = {node.key: node.title for node in picture.nodes}
    assert [(titles[a], titles[b]) for a, b in again] == [("Tanh", "Mul")]


def test_layers_without_scopes_are_drawn_once_too() -> None:
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [None, 4], name="x")
        for _ in range(200):
            w = tf.Variable(np.zeros((4, 4), np.float32))
            h = tf.tanh(tf.matmul(h, w))
        loss = tf.reduce_sum(h)
        tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    picture = picture_of(graph)
    assert len(picture.nodes) < 20
    counts = {c.label: c.count for c in picture.clusters if c.count > 1}
    assert counts["Variable to Tanh ... Variable_199 to Tanh_199: 200 alike"] == 200
    assert sorted(counts.values()) == [199, 200, 200]
    again = [e for e in picture.edges if e.again]
    assert {e.again for e in again} == {"to the next"} and len(again) == 2


def test_an_irregular_chain_is_cut_into_runs() -> None:
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [4], name="x")
        for k in rng.integers(0, 4, 400):
            h = (tf.sin, tf.cos, tf.tanh, tf.exp)[k](h)
    picture = picture_of(graph)
    assert len(picture.nodes) <= 60
    inside = {op for node in picture.nodes for op in node.ops}
    once = sum(c.count - 1 for c in picture.clusters if c.count > 1)
    assert len(inside) + 3 * once >= 380


@pytest.mark.slow
def test_many_loose_operations_take_seconds() -> None:
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        h = tf.placeholder(tf.float32, [4], name="x")
        for k in rng.integers(0, 4, 50_000):
            h = (tf.sin, tf.cos, tf.tanh, tf.exp)[k](h)
    started = time.process_time()
    assert len(picture_of(graph).nodes) <= 60
    assert time.process_time() - started < 5.0
