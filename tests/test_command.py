"""The command line: through ``main(argv)``, and as ``python -m dagrad``."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import dagrad as tf
from dagrad._command import main
from dagrad.viz.summary import summary


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved network: 3 inputs, 5 hidden units, 1 output, and its training step."""
    path = tmp_path_factory.mktemp("models") / "model.json"
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        y = tf.placeholder(tf.float32, [4, 1], name="y")
        with tf.variable_scope("hidden"):
            w = tf.get_variable("w", [3, 5])
            b = tf.get_variable("b", [5])
            h = tf.tanh(tf.matmul(x, w) + b)
        with tf.variable_scope("output"):
            z = tf.matmul(h, tf.get_variable("w", [5, 1]))
        frozen = tf.get_variable("frozen", [7], trainable=False)
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(z - y)) + 0.0 * tf.reduce_sum(frozen)
        tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="train")
        tf.global_variables_initializer()
        graph.save(path)
    return path


FEED = ["--feed", "x=4,3"]


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


# -- what each command does ----------------------------------------------------


def test_draw_writes_svg(model, tmp_path, capsys):
    target = tmp_path / "graph.svg"
    code, out, err = run(capsys, "draw", model, "-o", target, "--depth", 1)
    assert (code, out.strip(), err) == (0, str(target), "")
    root = ElementTree.parse(target).getroot()
    assert root.tag.endswith("svg")
    said = {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"hidden", "x"} <= said


def test_draw_writes_dot_of_a_part(model, tmp_path, capsys):
    target = tmp_path / "part.dot"
    argv = ["draw", model, "-o", target, "--fetch", "hidden/Tanh"]
    assert run(capsys, *argv, "--direction", "LR", "--title", "A part")[0] == 0
    text = target.read_text(encoding="utf-8")
    assert text.startswith("digraph")
    assert "A part" in text
    assert "Square" not in text


def test_draw_opens_mirrors_and_colours(model, tmp_path, capsys):
    def said(*more):
        target = tmp_path / "graph.svg"
        assert run(capsys, "draw", model, "-o", target, *more)[0] == 0
        root = ElementTree.parse(target).getroot()
        return {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}

    closed = said("--depth", 0)
    assert "Tanh" not in closed
    assert "Tanh" in said("--depth", 0, "--expand", "hidden")
    assert "to its gradient" in said("--layout", "mirror", "--theme", "dark")
    run_of = ("--color", "memory", "--fetch", "loss/Mean", *FEED)
    assert "bytes of the results, as planned" in said(*run_of)
    assert "80 B" in said(*run_of)  # of four rows
    assert "80 B" not in said(*run_of[:4])


def test_draw_puts_the_picture_beside_the_model(model, capsys):
    code, out, _ = run(capsys, "draw", model, "--focus", "hidden/Tanh", "--hops", 1)
    assert code == 0
    assert Path(out.strip()) == model.with_suffix(".svg")
    assert model.with_suffix(".svg").exists()


def test_explore_writes_a_page(model, tmp_path, capsys):
    target = tmp_path / "graph.html"
    code, out, _ = run(
        capsys, "explore", model, "-o", target, *FEED, "--fetch", "train"
    )
    assert (code, out.strip()) == (0, str(target))
    text = target.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert data["title"] == "model.json"
    assert data["run"]["peakBytes"] > 0
    assert "float32[4,5]" in data["specs"]


def test_explore_needs_no_plan(model, tmp_path, capsys):
    code, _, _ = run(
        capsys, "explore", model, "-o", tmp_path / "g.html", "--title", "T"
    )
    assert code == 0
    assert "<title>T</title>" in (tmp_path / "g.html").read_text(encoding="utf-8")


def test_plan_prints_steps_and_peak(model, capsys):
    code, out, _ = run(capsys, "plan", model, "--fetch", "loss/Mean", *FEED)
    assert code == 0
    first, *steps = out.splitlines()
    assert first.startswith("plan of ")
    assert "peak" in first
    assert any("float32(4, 5)" in line and "hidden/MatMul" in line for line in steps)


def test_plan_explains_and_draws(model, tmp_path, capsys):
    target = tmp_path / "memory.svg"
    argv = ["plan", model, "--fetch", "train", *FEED, "--explain", "-o", target]
    code, out, _ = run(capsys, *argv, "--memory-limit", "1MB")
    assert code == 0
    assert not out.startswith("plan of")
    assert out.splitlines()[-1] == str(target)
    assert ElementTree.parse(target).getroot().tag.endswith("svg")


def cells(text: str) -> dict[str, list[str]]:
    """The lines of a table by their first word, as words."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if words:
            found.setdefault(words[0], words)
    return found


def test_summary_counts_parameters_and_flops(model, capsys):
    code, out, _ = run(capsys, "summary", model, *FEED)
    assert code == 0
    rows = cells(out)
    assert rows["hidden"][1:3] == ["7", "operations"]
    assert rows["hidden"][3:5] == ["float32[4,5]", "20"]
    assert rows["MatMul"][2] == "float32[4,5]"
    assert rows["MatMul"][3] == str(2 * 4 * 3 * 5)
    assert "parameters: 32 (25 trainable), 128 B" in out
    assert "at least" not in out
    assert "backward: " in out


def test_summary_says_what_is_not_known(model, capsys):
    _, out, _ = run(capsys, "summary", model, "--depth", 0)
    rows = cells(out)
    assert rows["hidden"][3:] == ["float32[?,5]", "20", "≥", "0", "≥", "80", "B"]
    assert "MatMul" not in rows
    assert "forward: at least" in out


def test_summary_leaves_out_the_middle_of_much(model, capsys):
    _, out, _ = run(capsys, "summary", model, "--max-rows", 4)
    assert "lines left out" in out
    assert len(out.splitlines()) < 16


def test_summary_of_tensors(model):
    graph = tf.Graph.load(model)
    text = summary(graph.get_tensor_by_name("hidden/Tanh:0"))
    assert "parameters: 20 (20 trainable)" in text
    assert "backward" not in text


# -- what goes wrong -----------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["plan", "MODEL"], "--fetch, for instance one of: init, train"),
        (["plan", "MODEL", "--fetch", "loss/Mean"], "--feed x=N,3"),
        (["plan", "MODEL", "--fetch", "nothing"], "no operation 'nothing'"),
        (["plan", "MODEL", "--fetch", "train", "--feed", "x"], "NAME=SHAPE"),
        (["plan", "MODEL", "--fetch", "train", "--feed", "x=4,a"], "NAME=SHAPE"),
        (["plan", "MODEL", "--fetch", "train", "--feed", "x=4,4"], "has shape"),
        (["plan", "MODEL", "--fetch", "train", "--feed", "v=4"], "'v'"),
        (["draw", "nowhere.json"], "nowhere.json: No such file"),
        (["draw", "MODEL", "-o", "no/such/folder/g.svg"], "no/such/folder"),
        (["draw", "MODEL", "--focus", "nothing"], "nothing"),
        (["summary", __file__], "is no JSON"),
    ],
)
def test_reasons_are_one_line_on_standard_error(argv, said, model, capsys):
    argv = [str(model) if a == "MODEL" else a for a in argv]
    code, out, err = run(capsys, *argv)
    assert code == 1
    assert out == ""
    assert err.startswith("dagrad: ")
    assert said in err
    assert "Traceback" not in err


def test_formats_without_an_importer_are_named(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x0a\x00")
    code, _, err = run(capsys, "draw", path)
    assert code == 1
    assert "no importer" in err
    assert "graph.save('model.json')" in err


@pytest.mark.parametrize(
    "argv", [[], ["paint", "x"], ["draw"], ["draw", "x", "--depth", "deep"]]
)
def test_what_is_not_understood_exits_with_2(argv, capsys):
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert "usage: dagrad" in err


def test_help_and_version(capsys):
    code, out, _ = run(capsys, "--version")
    assert (code, out.strip()) == (0, f"dagrad {tf.__version__}")
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in ("draw", "explore", "plan", "summary"))


# -- as a program --------------------------------------------------------------


def test_the_module_runs(model, tmp_path):
    command = [sys.executable, "-m", "dagrad", "summary", str(model)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "hidden" in done.stdout
    done = subprocess.run(
        [*command[:3], "draw", "gone.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr == "dagrad: gone.json: No such file or directory\n"


def test_a_reader_that_stops_early_is_no_error(model, tmp_path):
    program = "import sys; from dagrad._command import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "plan", str(model), "--fetch", "train"]
    process = subprocess.Popen(
        [*command, *FEED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(60) in (0, 1)
    process.stderr.close()
    assert said == ""


def test_the_entry_point_is_declared(repository):
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg", encoding="utf-8")
    (line,) = config["options.entry_points"]["console_scripts"].split("\n")[1:]
    name, _, place = line.partition(" = ")
    assert name == "dagrad"
    module, _, function = place.partition(":")
    assert module == main.__module__
    assert function == main.__name__
