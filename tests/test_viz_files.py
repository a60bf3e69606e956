"""Pictures as files and in browsers: kinds, links, roles, hostile texts."""

from __future__ import annotations

import copy
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SVG, drawn, hints, parse, words

import dagrad as tf
from dagrad import viz
from dagrad.graphlib.errors import GraphError
from dagrad.ops import core
from dagrad.viz import output
from dagrad.viz.sheet import stack
from dagrad.viz.svg import DrawingError
from dagrad.viz.theme import text_width


def small() -> tf.Graph:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        with tf.name_scope("layer"):
            w = tf.Variable(np.ones((3, 3), np.float32), name="W")
            y = tf.tanh(tf.matmul(x, w))
        tf.gradients(y, [w])
    return graph


# -- kinds of files ------------------------------------------------------------


def test_the_name_says_the_kind(tmp_path: Path) -> None:
    graph = small()
    for name in ("g.svg", "g.SVG", "g.json", "g.gv"):
        text = viz.render(graph, tmp_path / name)
        assert (tmp_path / name).read_text("utf-8") == text
    parse((tmp_path / "g.SVG").read_text("utf-8"))
    assert json.loads((tmp_path / "g.json").read_text("utf-8"))["nodes"]
    assert (tmp_path / "g.gv").read_text("utf-8").startswith("digraph")


@pytest.mark.parametrize("font", ["Inter, sans-serif", 'a"><script>', "\x00"])
def test_a_font_stands_before_our_own(font: str) -> None:
    graph = small()
    with tf.Session(graph=graph) as session:
        plan = session.plan(
            graph.get_operations()[-1],
            {graph.get_tensor_by_name("x:0"): np.ones((2, 3))},
        )
    for target in (graph, plan):
        root = parse(viz.render(target, font=font))
        names = {e.get("font-family") for e in root.iter() if e.get("font-family")}
        (stack,) = names
        assert stack.startswith(font.replace("\x00", " "))
        assert stack.endswith("sans-serif")


def test_png_by_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Drawer:
        @staticmethod
        def svg_to_bytes(svg_string: str, zoom: int) -> bytes:
            parse(svg_string)
            return b"\x89PNG" + bytes([zoom])

    monkeypatch.setitem(sys.modules, "resvg_py", Drawer)
    viz.render(small(), tmp_path / "g.png", scale=3)
    assert (tmp_path / "g.png").read_bytes() == b"\x89PNG\x03"


def test_no_program_for_png_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("resvg_py", "cairosvg"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(output.shutil, "which", lambda name: None)
    with pytest.raises(DrawingError, match="pip install resvg_py"):
        viz.render(small(), tmp_path / "g.png")
    assert not (tmp_path / "g.png").exists()


def test_a_real_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    svg = viz.to_svg(small())
    try:
        image = output.png(svg, scale=2.0)
    except DrawingError:
        pytest.skip("no program here draws SVG")
    wide, tall = struct.unpack(">II", image[16:24])
    root = parse(svg)
    assert abs(wide - 2 * float(root.attrib["width"])) <= 2
    assert abs(tall - 2 * float(root.attrib["height"])) <= 2


def test_a_dot_on_the_path_serves_where_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dagrad.viz import layout as module

    real = module._program("pure")
    monkeypatch.setattr(module, "_pure_program", lambda: None)
    found = {"dot": real, "graphviz-pure": None}
    monkeypatch.setattr(module.shutil, "which", lambda name: found[name])
    assert module._program(None) == real
    with pytest.raises(DrawingError, match="pip install graphviz-pure"):
        module._program("pure")


# -- notebooks -----------------------------------------------------------------


def test_everything_draws_itself() -> None:
    graph = small()
    tensor = graph.get_tensor_by_name("layer/Tanh:0")
    with tf.Session(graph=graph) as session:
        feeds = {"x:0": np.zeros((2, 3), np.float32)}
        plan = session.plan(tensor, feeds)
    why = tf.explain_gradient(tensor, graph.get_tensor_by_name("x:0"))
    for thing in (graph, tensor, tensor.op, plan, why):
        parse(thing._repr_svg_())
    # A tensor with what it needs, without its gradient.
    parts = {g.get("class", "").split()[1] for g in drawn(tensor._repr_svg_())}
    assert parts == {"input", "variable", "forward"}


def test_gradients_draw_themselves() -> None:
    """Still a list, as TF1's programs expect; beside what they are the gradients of."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        z = tf.placeholder(tf.float32, [3], name="z")
        y = tf.reduce_sum(tf.tanh(x), name="y")
        found = tf.gradients(y, [x, z])
        assert isinstance(found, list) and found == [found[0], None]
        assert type(found[:1]) is list and len(copy.copy(found)) == 2
        svg = found._repr_svg_()
        edges = drawn(svg, "edge")
        assert any("mirror" in g.get("class", "").split() for g in edges)
        parts = {g.get("class", "").split()[1] for g in drawn(svg)}
        assert parts == {"input", "forward", "backward"}
        # Where there is none, the picture says why.
        none = tf.gradients(tf.stop_gradient(y), [x])
        assert none == [None]
        assert "StopGradient" in words(parse(none._repr_svg_()))
        assert tf.gradients(y, [])._repr_svg_() is None


def test_a_list_of_gradients_is_drawn() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [3], name="x")
        z = tf.placeholder(tf.float32, [3], name="z")
        slopes = tf.gradients(tf.sin(x), [x, z])
    assert slopes[1] is None
    parts = {g.get("class", "").split()[1] for g in drawn(viz.render(slopes))}
    assert "backward" in parts


# -- links and roles -----------------------------------------------------------


def test_links_lead_to_the_line() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [3], name="x")
        line = sys._getframe().f_lineno - 1
    svg = viz.to_svg(graph, links="vscode://file{path}:{line}")
    (link,) = parse(svg, links=True).iter(f"{SVG}a")
    assert link.get("href", "").startswith("vscode://file/")
    assert link.get("href", "").endswith(f"test_viz_files.py:{line}")
    assert x is not None and not list(parse(viz.to_svg(graph)).iter(f"{SVG}a"))


@pytest.mark.parametrize(
    "form", ["javascript:alert('{path}')", "no path", "data:{path}"]
)
def test_links_run_nothing(form: str) -> None:
    with pytest.raises(GraphError, match="links="):
        viz.to_svg(small(), links=form)


def test_screen_readers_are_told() -> None:
    root = parse(viz.to_svg(small(), title="Small"))
    assert root.get("role") == "graphics-document document"
    assert root.findtext(f"{SVG}title") == "Small"
    said = root.findtext(f"{SVG}desc", "")
    assert "boxes" in said and "open scopes: layer" in said
    roles = {g.get("class", "").split()[0]: g.get("role") for g in root.iter(f"{SVG}g")}
    assert roles["node"] == "graphics-symbol" and roles["cluster"] == "graphics-object"
    assert all(hints(g) for g in drawn(viz.to_svg(small())))


# -- text fits -----------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"depth": 0}, {"color": "memory"}])
def test_text_fits_its_box(options: dict[str, Any]) -> None:
    svg = viz.to_svg(small(), **options)
    for group in drawn(svg):
        xs: list[float] = []
        for shape in group.iter():
            for point in (shape.get("points") or "").split():
                xs.append(float(point.split(",")[0]))
            path = (shape.get("d") or "").replace("M", " ").replace("C", " ")
            xs += [float(p.split(",")[0]) for p in path.split()]
        wide = max(xs) - min(xs)
        for text in group.iter(f"{SVG}text"):
            size = float(text.get("font-size", "11"))
            bold = text.get("font-weight") == "bold"
            assert text_width(text.text or "", size, bold) <= wide


def test_boxes_do_not_overlap() -> None:
    svg = viz.to_svg(small(), layout="mirror")
    boxes = []
    for group in drawn(svg):
        xs, ys = [], []
        for shape in group:
            text = f"{shape.get('points') or ''} {shape.get('d') or ''}"
            for pair in text.replace("M", " ").replace("C", " ").split():
                x, _, y = pair.partition(",")
                xs.append(float(x))
                ys.append(float(y))
        boxes.append((min(xs), min(ys), max(xs), max(ys)))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (a, b)


def test_labels_stay_within_their_scope() -> None:
    """Those of straight edges; and lines below any of them make way."""
    with tf.Graph().as_default() as graph:
        h = tf.zeros([2, 28, 28, 6], name="x")
        with tf.name_scope("layer"):
            for _ in range(3):
                h = tf.sin(h)
    root = parse(viz.to_svg(graph))
    groups = list(root.iter(f"{SVG}g"))
    scope = next(g for g in groups if g.get("class", "").startswith("cluster"))
    outline = next(e.get("d", "") for e in scope.iter() if e.get("d"))
    right = max(float(p.split(",")[0]) for p in outline[1:].replace("C", " ").split())
    labels = [
        text
        for g in groups
        if g.get("class", "").startswith("edge")
        for text in g.iter(f"{SVG}text")
    ]
    assert len(labels) == 3
    for label in labels:
        width = text_width(label.text or "", float(label.get("font-size", "0")))
        assert float(label.get("x", "0")) + width / 2 < right
        assert label.get("paint-order") == "stroke"


# -- hostile texts -------------------------------------------------------------

HOSTILE = st.text(min_size=1, max_size=40) | st.sampled_from(
    [
        '"><script>alert(1)</script>',
        "' onload='alert(1)",
        "<b>&amp;</b>",
        "&#60;script&#62;",
        "]]>",
        "<!--",
        "\\N\\G\\L",
        "a\nb\r\nc\\",
        "{}{0}",
        "\x00\x1b\x7f\x85",
        "\ud800\udfff\ufffe",
        "\u202e\u2028",
        "π → ∞ · 漢字 🙂",
        "x" * 10_000,
        "/" * 50 + "a",
        "()",
        "url(http://example.com/)",
        "href=javascript:alert(1)",
    ]
)


@settings(max_examples=50)
@given(names=st.lists(HOSTILE, min_size=1, max_size=5), title=HOSTILE, data=st.data())
def test_hostile_graphs_give_well_formed_pictures(
    names: list[str], title: str, data: Any
) -> None:
    with tf.Graph().as_default() as graph:
        made = [tf.placeholder(tf.float32, [2], name="x")]
        for name in names:
            # A trailing slash takes a name as it is, unchecked.
            picked = data.draw(st.sampled_from(made))
            attrs = {"note": title}
            for inner in ("", "/a", "/b"):
                op = graph.create_op(core.IDENTITY, [picked], attrs, f"{name}{inner}/")
                op.device = title
                made.append(op.outputs[0])
        made.append(tf.add_n(made))
    options = data.draw(
        st.sampled_from(
            [
                {},
                {"depth": 0},
                {"layout": "mirror"},
                {"color": "device", "theme": "dark"},
                {"color": "gradient", "gradient": (made[-1], made[0])},
                {"repeats": True, "max_nodes": 4},
            ]
        )
    )
    svg = viz.to_svg(graph, title=title, **options)
    parse(svg)
    assert svg == viz.to_svg(graph, title=title, **options)
    svg.encode("utf-8")
    linked = viz.to_svg(graph, links=True, **options)
    parse(linked, links=True)
    json.loads(viz.to_json(graph, title=title, **options)).keys()
    parse(stack([[svg, svg]], title=title, desc=title, lines=[title, f"  {title}"]))


@given(name=HOSTILE)
def test_hostile_names_on_the_whiteboard(name: str) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [], name="x")
        y = graph.create_op(core.IDENTITY, [x], None, f"{name}/").outputs[0]
    parse(viz.trace(y, {x: 1.0}).to_svg(title=name))


def test_dot_source_is_no_html() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [2], name="x")
        graph.create_op(core.IDENTITY, [x], None, "<b>bold</b>/")
    assert any("<b>bold</b>" in hints(g) for g in drawn(viz.to_svg(graph)))


@pytest.mark.parametrize(
    "options",
    [{"color": "memory"}, {"color": "device"}, {"layout": "mirror"}, {"depth": 0}],
    ids=str,
)
def test_the_layout_program_complains_of_nothing(options: dict[str, Any]) -> None:
    import subprocess

    from dagrad.viz.layout import _program

    done = subprocess.run(
        [_program("pure"), "-Tsvg"],
        input=viz.to_dot(small(), title="plain", **options).encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
