"""The command line over TensorFlow's files: whole ones, unknown ones, broken ones."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import frozen
import pytest
from google.protobuf import text_format
from pictures import by_title, drawn, hints, words

import dagrad as tf
from dagrad import viz
from dagrad._command import main
from dagrad._graphdef.messages import message
from dagrad._graphdef.reading import read_graph
from dagrad.graphlib.errors import DagradError, GraphError


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


def picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, *argv: object
) -> dict[str, Any]:
    """What ``dagrad draw`` makes, as JSON."""
    target = tmp_path / "drawn.json"
    assert run(capsys, "draw", *argv, "-o", target) == (0, f"{target}\n", "")
    found = json.loads(target.read_text(encoding="utf-8"))
    found["titles"] = {n["title"]: n for n in found["nodes"]}
    return found


# -- frozen networks -----------------------------------------------------------


def test_a_frozen_network_is_drawn(capsys, tmp_path):
    target = tmp_path / "graph.svg"
    argv = ["draw", frozen.path_of("lenet"), "-o", target]
    assert run(capsys, *argv) == (0, f"{target}\n", "")
    svg = target.read_text(encoding="utf-8")
    scopes = {s["path"] for s in picture(capsys, tmp_path, argv[1])["scopes"]}
    assert scopes == {"", "conv1", "conv2", "dense", "logits"}
    boxes = [words(g).split(" | ")[0] for g in drawn(svg)]
    assert boxes.count("Conv2D") == boxes.count("MaxPool") == 2
    # Weights are said where they are read, and not their reads nor axes apart.
    assert "Const" not in boxes
    assert boxes.count("Identity") == 1
    assert "b = float32[54,8]" in words(drawn(svg)[boxes.index("MatMul")])
    assert "ArgMax" in boxes


def test_a_frozen_network_is_planned(capsys):
    argv = ["plan", frozen.path_of("lenet"), "--fetch", "probabilities"]
    code, _, err = run(capsys, *argv)
    assert (code, "--feed images=N,12,12,1" in err) == (1, True)
    code, out, _ = run(capsys, *argv, "--feed", "images=2,12,12,1")
    assert code == 0
    steps = [line.split(" = ")[1].split("(")[0] for line in out.splitlines()[1:]]
    assert [s for s in steps if s in ("Conv2D", "MaxPool", "MatMul", "Softmax")] == [
        "Conv2D",
        "MaxPool",
        "Conv2D",
        "MaxPool",
        "MatMul",
        "MatMul",
        "Softmax",
    ]


def test_a_frozen_network_is_tabled(capsys):
    argv = ["summary", frozen.path_of("separable"), "--feed", "input=2,9,9,3"]
    code, out, _ = run(capsys, *argv)
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    flops = 2 * (2 * 5 * 5) * (3 * 3 * 3) * 4
    assert rows["Conv2D"][:3] == ["Conv2D", "Conv2D", "float32[2,5,5,4]"]
    assert rows["Conv2D"][3:5] == [f"{flops / 1000:.3g}", "k"]
    assert "reduction_indices" not in out
    assert "no parameters; constants of " in out
    assert "cannot be planned" not in out


def test_a_frozen_network_is_explored(capsys, tmp_path):
    target = tmp_path / "graph.html"
    argv = ["explore", frozen.path_of("recurrent"), "-o", target, "--fetch", "state"]
    code, _, err = run(capsys, *argv, "--feed", "words=4,3")
    assert (code, err) == (0, "")
    text = target.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert data["title"] == "recurrent.pb"
    assert "float32[4,3]" in data["specs"]
    assert data["run"]["peakBytes"] > 0


def test_the_same_graph_as_text_and_in_a_meta_file(capsys, tmp_path):
    whole = picture(capsys, tmp_path, frozen.path_of("recurrent"))
    graph_def = frozen.load("recurrent")
    (tmp_path / "a.pbtxt").write_text(text_format.MessageToString(graph_def))
    meta = message("MetaGraphDef")(graph_def=graph_def)
    (tmp_path / "a.meta").write_bytes(meta.SerializeToString())
    for name in ("a.pbtxt", "a.meta"):
        assert picture(capsys, tmp_path, tmp_path / name) == whole


def test_nothing_says_that_a_program_made_it():
    graph = read_graph(frozen.path_of("lenet"))
    assert {op.source for op in graph.operations} == {None}


# -- what dagrad does not have -------------------------------------------------


def test_other_operations_are_drawn_by_type_name_and_attributes():
    svg = viz.to_svg(read_graph(frozen.path_of("boxes")))
    box = by_title(svg, "NonMaxSuppressionV3")
    assert words(box).split(" | ")[1:3] == ["nms/NonMaxSuppressionV3", "input[2] = 3"]
    said = hints(box).splitlines()
    assert "output 0: unknown[?]" in said
    assert "T_threshold = float32" in said
    assert "not built = dagrad does not have it" in said
    # What reads it is as little known, and says so.
    said = hints(by_title(svg, "GatherV2 (not built)")).splitlines()
    assert any(line.startswith("not built = gather: indices must be") for line in said)
    texts = words(drawn(svg, "graph")[0])
    assert "cannot be planned" in texts


def test_a_loop_of_tf1_is_drawn_without_its_way_back(capsys, tmp_path):
    found = picture(capsys, tmp_path, frozen.path_of("loop"))
    for title in ("Enter", "Merge", "Switch", "Exit", "LoopCond", "NextIteration"):
        assert found["titles"][title]["part"] == "opaque"
    assert found["titles"]["Add"]["part"] == "forward"
    labels = {e["label"] for e in found["edges"]}
    assert {"int32[...]", "float32[...]", "bool[...]"} <= labels
    merges = [n for n in found["nodes"] if n["title"] == "Merge"]
    back = sorted(
        line
        for n in merges
        for line in n["tooltip"].splitlines()
        if line.startswith("next round from")
    )
    assert back == [
        "next round from = while/NextIteration:0",
        "next round from = while/NextIteration_1:0",
    ]


def test_other_operations_are_tabled_and_explored(capsys, tmp_path):
    code, out, _ = run(capsys, "summary", frozen.path_of("boxes"))
    assert code == 0
    (row,) = [line for line in out.splitlines() if line.startswith("nms")]
    assert row.split()[:4] == [
        "nms/NonMaxSuppressionV3",
        "NonMaxSuppressionV3",
        "unknown[?]",
        "≥",
    ]
    assert "cannot be planned: at least 0 flops" in out
    target = tmp_path / "g.html"
    code, _, err = run(capsys, "explore", frozen.path_of("loop"), "-o", target)
    assert (code, err) == (0, "")
    text = target.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    parts = data["ops"]["part"]
    assert "opaque" in data["parts"] and data["looks"]["opaque"][0]
    assert data["parts"].index("opaque") in parts


def test_what_needs_other_operations_cannot_be_planned(capsys):
    path = frozen.path_of("boxes")
    for argv in (["plan", path], ["draw", path, "--feed", "x=5,4"]):
        code, out, err = run(capsys, *argv, "--fetch", "best")
        assert (code, out) == (1, "")
        assert "can be drawn but not planned" in err
        assert 'NonMaxSuppressionV3 "nms/NonMaxSuppressionV3"' in err
        assert "GatherV2" not in err
    # What needs none of them can.
    code, out, _ = run(capsys, "plan", path, "--fetch", "scores")
    assert code == 0
    assert "Sum" in out
    code, _, err = run(capsys, "plan", path)
    assert "--fetch, for instance one of: init, best" in err


def test_an_opaque_operation_never_runs():
    graph = read_graph(frozen.path_of("boxes"))
    x = frozen.arrays("boxes", "in")["x:0"]
    with tf.Session(graph=graph) as session, pytest.raises(DagradError) as caught:
        session.run("nms/NonMaxSuppressionV3:0", {"x:0": x})
    assert "can only be drawn" in str(caught.value)


# -- files that are something else ---------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pb", b"", "holds no nodes"),
        ("a.pb", b"\x08\x01", "holds no nodes"),
        ("a.pb", b"\x89PNG\r\n\x1a\n", "is no GraphDef"),
        ("a.pb", b'{"format": "dagrad graph"}', "is no GraphDef"),
        ("a.pbtxt", b"node { name: }", "is no GraphDef"),
        ("a.pbtxt", b"\xff\xfe", "is no GraphDef"),
        ("a.pbtxt", b'node { name: "x" op: "NoOp" input: "y" }', "reads 'y'"),
        ("a.meta", b"\x0a", "is no MetaGraphDef"),
    ],
)
def test_other_files_are_refused(name, content, said, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    for command in ("draw", "explore", "plan", "summary"):
        code, out, err = run(capsys, command, path)
        assert (code, out) == (1, "")
        assert err.startswith(f"dagrad: {path}")
        assert said in err
        assert err.count("\n") == 1
    code, _, err = run(capsys, "draw", tmp_path / "gone.pb")
    assert (code, err) == (
        1,
        f"dagrad: {tmp_path}/gone.pb: No such file or directory\n",
    )


@pytest.mark.parametrize("name", ["boxes", "layers", "loop", "old", "state"])
def test_damaged_files_are_read_or_refused(name, tmp_path):
    """Cut, with other bytes, with nodes that others stood for: no other error."""
    whole = frozen.path_of(name).read_bytes()
    rng = random.Random(name)
    path = tmp_path / "damaged.pb"
    refused = 0
    for trial in range(40):
        content = bytearray(whole)
        if trial % 4 == 0:
            del content[rng.randrange(len(content)) :]
        elif trial % 4 == 1:
            graph_def = frozen.load(name)
            node, other = rng.choice(graph_def.node), rng.choice(graph_def.node)
            node.op = other.op
            node.input[:] = other.input
            content = bytearray(graph_def.SerializeToString())
        else:
            for _ in range(rng.choice([1, 3, 9])):
                content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            viz.to_svg(read_graph(path))
        except GraphError as error:
            refused += 1
            assert str(error).startswith(str(path))
    assert 0 < refused < 40


# -- what pictures leave out ---------------------------------------------------


def titles(graph: tf.Graph, **options: Any) -> list[str]:
    return [words(g).split(" | ")[0] for g in drawn(viz.to_svg(graph, **options))]


def test_constants_that_nothing_reads_are_counted_and_not_drawn():
    with tf.Graph().as_default() as graph:
        axis = tf.constant(0, name="axis")
        late = tf.constant(1, name="late")
        assert titles(graph) == ["axis", "late"]  # there is nothing else
        x = tf.placeholder(tf.float32, [3, 2], name="x")
        with tf.control_dependencies([late]):
            tf.reduce_sum(x, axis, name="total")
    assert sorted(titles(graph)) == ["Sum", "x"]
    svg = viz.to_svg(graph)
    assert "1 constant that nothing reads not drawn" in words(drawn(svg, "graph")[0])
    assert "axis" in titles(graph, show_constants=True)
    assert titles(graph, focus=axis, hops=1) == ["axis"]


@pytest.mark.parametrize(
    ("constant", "read"), [("w", "w/read"), ("c/Read/resource", "c/Read")]
)
def test_reads_of_frozen_variables_are_said_where_they_are_read(constant, read):
    with tf.Graph().as_default() as graph:
        w = tf.constant([[1.0, 2.0]] * 3, name=f"{constant}")
        # A name with a slash at its end is taken whole.
        value = tf.identity(w, name=f"{read}/")
        assert titles(graph) == ["Identity"]  # nothing reads it
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        tf.matmul(x, value)
    assert value.op.name == read
    svg = viz.to_svg(graph)
    assert sorted(titles(graph)) == ["MatMul", "x"]
    assert "b = float32[3,2]" in words(by_title(svg, "MatMul"))
    assert sorted(titles(graph, focus=value, hops=0)) == ["Identity"]
