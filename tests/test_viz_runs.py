"""Pictures of plans and runs: what they say is what the plan and the run say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dagrad as tf
from dagrad import viz
from dagrad.graphlib.errors import GraphError
from dagrad.python.client import timeline as tf1_timeline
from dagrad.runtime.report import Event, RunReport, StepReport
from dagrad.runtime.rewrites import PASSES
from dagrad.viz.arena import plan_table
from dagrad.viz.bands import ROLES, _stair
from dagrad.viz.chart import POINTED
from dagrad.viz.memory import MemoryTrace
from dagrad.viz.rewrites import _NAMES
from dagrad.viz.timeline import FAMILIES, chrome_trace

SVG = "{http://www.w3.org/2000/svg}"
FULL, HARDWARE = tf.RunOptions.FULL_TRACE, tf.RunOptions.HARDWARE_TRACE


def training(rows=64):
    """A net with a loop inside, and its training step: x, fetches, feeds."""
    x = tf.placeholder(tf.float32, [None, 16], name="x")
    w = tf.Variable(np.full((16, 16), 0.1, np.float32), name="w")
    h = tf.tanh(tf.matmul(x, w))
    count = tf.placeholder(tf.int32, [], name="count")
    _, h = tf.while_loop(
        lambda i, h: i < count, lambda i, h: (i + 1, tf.sin(h) * 1.1), [0, h]
    )
    loss = tf.reduce_mean(tf.square(h))
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    batch = np.linspace(-1, 1, rows * 16).reshape(rows, 16)
    return [loss, step], {x: batch, count: 4}


def traced(level, **config):
    """The report of the second step of :func:`training`, and its loss."""
    fetches, feeds = training()
    with tf.Session(config=tf.ConfigProto(**config)) as session:
        session.run(tf.global_variables_initializer())
        session.run(fetches, feeds)
        metadata = tf.RunMetadata()
        loss, _ = session.run(fetches, feeds, tf.RunOptions(level), metadata)
    return metadata.report, loss


def parse(svg):
    """The root of well-formed SVG that runs nothing and asks nothing of a network."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in (
            "svg", "title", "desc", "rect", "text", "line", "path", "circle",
        )  # fmt: skip
        assert not any("href" in a or a.startswith("on") for a in element.attrib)
    return root


def filled(root, *colours):
    """The shapes of these colours that have a tooltip, with it."""
    return [
        (e, e.findtext(f"{SVG}title"))
        for e in root.iter()
        if e.get("fill") in colours and e.find(f"{SVG}title") is not None
    ]


def words(root):
    return [e.text or "" for e in root.iter(f"{SVG}text")]


# -- a run under a clock -------------------------------------------------------


@pytest.mark.parametrize("level", [FULL, HARDWARE])
def test_a_traced_run_gives_what_a_plain_run_gives(level) -> None:
    report, loss = traced(level)
    fetches, feeds = training()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(fetches, feeds)
        np.testing.assert_allclose(session.run(fetches[0], feeds), loss, rtol=1e-6)
    assert len(report.steps) == len(report.plan.steps)
    assert 0 < sum(e.seconds for e in report.events) <= report.seconds
    assert report.peak_bytes == max(s.live_bytes for s in report.steps)


def test_a_traced_run_of_the_fast_executor_says_the_bytes_that_only_a_run_tells():
    report, _ = traced(HARDWARE)
    # The states of the loop: five of 64 x 16 floats, of a number that is not known.
    assert ("float32(?, 64, 16)", 5 * 64 * 16 * 4) in report.peak_set.values()
    assert report.peak_bytes > max(report.plan.live_bytes)


def test_threads_have_events_of_their_own() -> None:
    a = tf.placeholder(tf.float32, [600, 600])
    y = tf.matmul(tf.matmul(a, a), a)
    feeds = {a: np.eye(600, dtype=np.float32)}
    config = tf.ConfigProto(intra_op_parallelism_threads=2)
    with tf.Session(config=config) as session:
        metadata = tf.RunMetadata()
        for _ in range(20):  # on a busy machine the helper may come too late
            options = tf.RunOptions(HARDWARE)
            result = session.run(y, feeds, options, metadata)
            threads = {e.thread for e in metadata.report.events}
            if len(threads) == 2:
                break
        np.testing.assert_array_equal(result, session.run(y, feeds))
    assert any(t.startswith("dagrad-") for t in threads)
    assert len(metadata.report.events) > len(metadata.report.steps)


def test_a_traced_run_that_fails_leaves_the_session_as_it_was() -> None:
    def f(v):
        if v < 0:
            raise ValueError("negative")
        return v

    x = tf.placeholder(tf.float64, [])
    y = tf.py_func(f, [x * 2.0], tf.float64) + 1.0
    with tf.Session() as session:
        options = tf.RunOptions(HARDWARE)
        with pytest.raises(tf.errors.DagradError, match="negative"):
            session.run(y, {x: -1.0}, options)
        assert session.run(y, {x: 1.0}, options) == 3.0
        assert session.run(y, {x: 2.0}) == 5.0


# -- live bytes ----------------------------------------------------------------


@given(
    layers=st.integers(1, 6),
    width=st.integers(1, 40),
    fetch_slopes=st.booleans(),
    limit=st.booleans(),
)
def test_the_bands_add_up_to_the_live_bytes(layers, width, fetch_slopes, limit):
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [8, width], name="x")
        h = x
        for _ in range(layers):
            h = tf.tanh(tf.matmul(h, tf.ones([width, width]))) + tf.reshape(h, [8, -1])
        loss = tf.reduce_sum(h)
        (slope,) = tf.gradients(loss, [x], checkpoints="memory" if limit else None)
        fetches = [loss, slope] if fetch_slopes else loss
        with tf.Session() as session:
            plan = session.plan(fetches, {x: None})
    trace = MemoryTrace.of_plan(plan)
    for number, live in enumerate(plan.live_bytes):
        assert sum(t.nbytes for t in trace.live_at(number)) == live


def test_the_picture_of_a_run_shows_what_loops_keep() -> None:
    report, _ = traced(FULL)
    root = parse(viz.render(report, view="memory"))
    (tape,) = filled(root, *ROLES["tape"][1])
    assert "float32[?,64,16]\n20 KiB, alive in steps" in tape[1]
    shown = words(root)
    assert "keeps float32[?,64,16] for its gradient (20 KiB)" in shown
    assert any("steps an iteration" in w for w in shown)
    assert {"forward", "backward", "measured", "predicted"} <= set(shown)


def test_a_band_stands_where_its_tensor_lives() -> None:
    trace = MemoryTrace(["a", "b", "c", "d"], [4, 12, 8, 0], [("t", "", 8, 1, 2)])
    root = parse(viz.render(trace))
    ((band, _),) = filled(root, *ROLES["forward"][1])
    xs = [float(v) for v in re.findall(r"[MH](-?[\d.]+)", band.get("d"))]
    axis = {w: float(e.get("x")) for e in root.iter(f"{SVG}text") for w in [e.text]}
    assert axis["0"] < min(xs) < axis["1"] < axis["2"] < max(xs) < axis["3"]


def test_two_plans_stand_on_one_scale(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [256, 64])
        h = x
        for _ in range(32):
            h = tf.tanh(tf.matmul(h, tf.ones([64, 64])))
        (slope,) = tf.gradients(tf.reduce_sum(h), [x])
        (thrifty,) = tf.gradients(tf.reduce_sum(h), [x], checkpoints="memory")
        with tf.Session() as session:
            plans = [session.plan(g, {x: None}) for g in (slope, thrifty)]
    svg = viz.render(plans, tmp_path / "c.svg", labels=("all kept", "some kept"))
    assert (tmp_path / "c.svg").read_text("utf-8") == svg
    shown = words(parse(svg))
    assert "all kept" in shown and "some kept" in shown
    ticks = [w for w in shown if re.fullmatch(r"[\d.]+ MiB", w)]
    assert ticks[: len(ticks) // 2] == ticks[len(ticks) // 2 :]
    share = plans[1].peak_bytes / plans[0].peak_bytes
    assert any(f"({share:.0%})" in w for w in shown)


# -- the timeline --------------------------------------------------------------


def report_of(events, steps):
    """A report of a plan whose steps are the first ones of :func:`training`."""
    fetches, feeds = training()
    with tf.Session() as session:
        plan = session.plan(fetches, feeds)
    made = [
        StepReport(s.name, s.what, "", t, 0.001, 0, 64, ())
        for s, t in zip(plan.steps, steps)
    ]
    made += [
        StepReport(s.name, s.what, "", 0.01, 0.0, 0, 64, ())
        for s in plan.steps[len(made) :]
    ]
    return RunReport(made, 0.01, plan, 64, {}, events)


def test_bars_stand_at_their_times_in_the_lane_of_their_thread() -> None:
    events = [
        Event(1, "m", "MatMul", "MainThread", 0.0, 0.004),
        Event(2, "t", "Tanh", "MainThread", 0.006, 0.002),
        Event(1, "m", "MatMul", "dagrad-1", 0.002, 0.008),
    ]
    root = parse(viz.render(report_of(events, [0.0, 0.0, 0.006])))
    fills = [colour for _, colour in FAMILIES.values()]
    bars = [
        (float(e.get("x")), float(e.get("width")), float(e.get("y")), said)
        for e, said in filled(root, *fills)
    ]
    first, second, other = bars
    second_of = 100 * first[1] / 0.4  # pixels: the first bar is 4 ms wide
    assert second[0] - first[0] == pytest.approx(0.006 * second_of, abs=0.2)
    assert other[1] == pytest.approx(2 * first[1], abs=0.2)
    assert first[2] == second[2] < other[2]
    assert "step 2: Tanh, t\n2 ms from 6 ms" in second[3]
    shown = words(root)
    assert shown.index("main thread") < shown.index("dagrad-1")


def test_calls_too_short_to_be_seen_are_drawn_and_counted_together() -> None:
    events = [
        Event(k % 9, "a", "Tanh", "MainThread", k * 1e-7, 1e-7) for k in range(100_000)
    ]
    svg = viz.render(report_of(events, []))
    assert len(svg) < 1_500_000
    counts = [
        int(said.split(" calls")[0].replace(",", ""))
        for _, said in filled(parse(svg), *[c for _, c in FAMILIES.values()])
        if " calls" in said
    ]
    assert sum(counts) > 99_000


@pytest.mark.parametrize("level", [FULL, HARDWARE])
def test_a_run_is_drawn_whole(level, tmp_path: Path) -> None:
    report, _ = traced(level, intra_op_parallelism_threads=2)
    for theme in ("light", "dark"):
        root = parse(viz.render(report, tmp_path / f"{theme}.svg", theme=theme))
        shown = words(root)
        assert any(w.startswith("Alive at the peak") for w in shown)
        assert "Time by type of operation" in shown
        assert root.get("role") == "img" and root.findtext(f"{SVG}desc")


def test_a_run_as_a_trace_for_chrome(tmp_path: Path) -> None:
    report, _ = traced(HARDWARE)
    text = viz.render(report, tmp_path / "run.json")
    assert (tmp_path / "run.json").read_text("utf-8") == text
    events = json.loads(text)["traceEvents"]
    bars = [e for e in events if e["ph"] == "X"]
    assert len(bars) == len(report.events)
    for bar, event in zip(bars, report.events):
        assert bar["ts"] == pytest.approx(event.start * 1e6, abs=1e-3)
        assert bar["dur"] == pytest.approx(event.seconds * 1e6, abs=1e-3)
        assert bar["args"]["name"] == event.name
    assert any("test_viz_runs.py" in bar["args"]["source"] for bar in bars)
    (lane,) = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert {bar["tid"] for bar in bars} == {0} and lane == "MainThread"
    counters = [e["args"]["bytes"] for e in events if e["ph"] == "C"]
    assert counters == [s.live_bytes for s in report.steps]


def test_tf1s_timeline_writes_the_same_trace() -> None:
    report, _ = traced(FULL)
    writer = tf1_timeline.Timeline(step_stats=report)
    assert writer.generate_chrome_trace_format(show_memory=True) == chrome_trace(report)
    plain = json.loads(writer.generate_chrome_trace_format())
    assert not [e for e in plain["traceEvents"] if e["ph"] == "C"]
    with pytest.raises(TypeError, match="FULL_TRACE"):
        tf1_timeline.Timeline(None)


# -- the arena, and the plan as a table ----------------------------------------


def test_boxes_of_the_arena_do_not_overlap() -> None:
    fetches, feeds = training()
    with tf.Session() as session:
        plan = session.plan(fetches, feeds)
    fills = [c for _, tints in ROLES.values() for c in tints]
    boxes = [
        [float(e.get(k)) for k in ("x", "y", "width", "height")]
        for e, _ in filled(parse(viz.render(plan, view="arena")), *fills)
    ]
    assert len(boxes) > 8
    for i, (x, y, w, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[:i]:
            beside = x + w <= x2 + 0.2 or x2 + w2 <= x + 0.2
            # Boxes of a few bytes are drawn 0.4 high, so that they are seen.
            above = y + h <= y2 + 0.6 or y2 + h2 <= y + 0.6
            assert beside or above


def test_the_table_of_a_plan() -> None:
    fetches, feeds = training()
    with tf.Session() as session:
        plan = session.plan(fetches, feeds)
    lines = plan_table(plan).splitlines()
    assert len(lines) == len(plan.steps) + 3
    assert lines[0].split()[:3] == ["step", "type", "name"]
    (tanh,) = [s for s in lines if re.match(r" *\d+ +Tanh ", s)]
    assert "in place of MatMul" in tanh and "test_viz_runs.py" in tanh
    assert f"{max(plan.live_bytes):,}" in "".join(lines)
    short = plan_table(plan, max_rows=4)
    assert f"... {len(plan.steps) - 4:,} steps left out ..." in short


# -- what cannot be drawn, and hostile texts -----------------------------------


def test_what_there_is_no_picture_of() -> None:
    with pytest.raises(GraphError, match="trace_level"):
        viz.render(tf.RunMetadata())
    with pytest.raises(GraphError, match="no plan"):
        viz.render(RunReport())
    trace = MemoryTrace(["a"], [1])
    with pytest.raises(
        GraphError, match='view "timeline" of a MemoryTrace'.replace('"', ".")
    ):
        viz.render(trace, view="timeline")
    with pytest.raises(GraphError, match="theme"):
        viz.render(trace, theme="pink")
    with pytest.raises(GraphError, match="run report"):
        viz.render(trace, "a.json")


@given(
    text=st.text(max_size=40) | st.sampled_from(["]]>", '"><script>', "\x00", "&#0;"])
)
def test_any_name_gives_a_well_formed_picture(text) -> None:
    report = report_of([Event(1, text, text, text, 0.0, 0.01)], [])
    for view in ("timeline", "memory"):
        parse(viz.render(report, view=view, title=text))
    trace = MemoryTrace([text], [8], [(text, text, 8, 0, 0, "tape", (text,))])
    parse(viz.render([trace, trace], labels=(text, text)))
    json.loads(chrome_trace(report))


def test_the_same_plan_gives_the_same_bytes() -> None:
    fetches, feeds = training()
    with tf.Session() as a, tf.Session() as b:
        first, second = a.plan(fetches, feeds), b.plan(fetches, feeds)
    for view in ("memory", "arena"):
        assert viz.render(first, view=view) == viz.render(second, view=view)


# -- what is asked for and what is given ---------------------------------------


def test_run_metadata_stands_for_its_report() -> None:
    with tf.Graph().as_default() as graph:
        metadata = tf.RunMetadata()
        assert metadata._repr_svg_() is None
        with pytest.raises(GraphError, match="nothing was measured"):
            viz.to_svg(graph, color="time", report=metadata)
        fetches, feeds = training()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            options = tf.RunOptions(trace_level=FULL)
            session.run(fetches, feeds, options, metadata)
    report = metadata.report
    assert report is not None
    assert metadata._repr_svg_() == report._repr_svg_()
    wanted = viz.render(graph, color="time", report=report)
    assert viz.render(graph, color="time", report=metadata) == wanted
    wanted = viz.render(report, color="time")
    assert viz.render(metadata, color="time") == wanted


def test_rewrites_are_drawn_of_a_plan_wherever_it_is() -> None:
    with tf.Graph().as_default() as graph:
        report, _ = traced(HARDWARE)
    wanted = viz.render(report.plan, color="rewrites")
    assert wanted == viz.render(report, color="rewrites")
    assert wanted == graph.to_svg(color="rewrites", plan=report.plan)
    assert wanted == graph.to_svg(color="rewrites", report=report)
    with pytest.raises(GraphError, match="say plan="):
        graph.to_svg(color="rewrites")


def test_every_pass_has_words_for_the_legend() -> None:
    assert set(_NAMES) == {*PASSES, "fuse"}


def test_a_level_that_stays_is_said_once() -> None:
    assert _stair([(1, 2), (1, 3), (2, 4), (1, 5)]) == "V1.0H3.0V2.0H4.0V1.0H5.0"


def test_places_of_the_pointer_are_few_and_know_the_most() -> None:
    steps = [f"s{i}" for i in range(5000)]
    live = [1000 + (7000 if i == 1234 else i % 7) for i in range(5000)]
    root = parse(viz.render(MemoryTrace(steps, live)))
    tips = [r.findtext(f"{SVG}title") or "" for r in root.iter(f"{SVG}rect")]
    told = [tip for tip in tips if tip.startswith("step ")]
    assert 50 < len(told) <= 1040 / POINTED
    assert any(tip.startswith("step 1,234: s1234\n") for tip in told)


def test_scratch_of_no_bytes_is_no_memory() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [2, 8, 8, 3], name="x")
        y = tf.nn.conv2d(x, tf.ones([3, 3, 3, 4]), [1, 1, 1, 1], "SAME")
        with tf.Session() as session:
            plan = session.plan(y, {x: np.zeros((2, 8, 8, 3))})
    lives = MemoryTrace.of_plan(plan).tensors
    assert any(life.role == "scratch" for life in lives)
    assert all(life.nbytes > 0 for life in lives)


def test_a_view_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [4], name="x")
        with tf.Session() as session:
            plan = session.plan(tf.sin(x), {x: np.zeros(4)})
    for options in ({"view": "arena"}, {"view": "graph"}, {"path": "both.json"}):
        with pytest.raises(GraphError, match="compared by their memory"):
            viz.render([plan, plan], **options)
    with pytest.raises(GraphError, match="not a Plan; view=") as caught:
        viz.render(plan, tmp_path / "plan.json")
    assert len(str(caught.value)) < 200
