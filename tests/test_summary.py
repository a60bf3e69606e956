"""Summaries and event files: TF1's values, read back by TensorBoard's own code."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto import config_pb2, graph_pb2, summary_pb2
from tensorboard.util.tensor_util import make_ndarray

import dagrad as tf

FROZEN = json.loads((Path(__file__).parent / "fixtures/summaries.json").read_text())


def values(t):
    """What a summary holds."""
    with tf.Session() as session:
        return summary_pb2.Summary.FromString(session.run(t)).value


def events(directory):
    """All events of a directory with one event file."""
    (file,) = Path(directory).iterdir()
    return list(LegacyEventFileLoader(str(file)).Load())


# -- values --------------------------------------------------------------------


@pytest.mark.parametrize("name", FROZEN["histograms"])
def test_histograms_have_tf1s_buckets(name) -> None:
    frozen = FROZEN["histograms"][name]
    (value,) = values(tf.summary.histogram("h", np.array(frozen["values"])))
    h = value.histo
    facts = [h.min, h.max, h.num, h.sum, h.sum_squares]
    np.testing.assert_allclose(facts, frozen["facts"], rtol=1e-12)
    assert list(h.bucket_limit) == frozen["limits"]
    assert list(h.bucket) == frozen["counts"]


@pytest.mark.parametrize("name", FROZEN["images"])
def test_images_have_tf1s_shades(name) -> None:
    frozen = FROZEN["images"][name]
    batch = np.array(frozen["batch"], np.float32)  # None becomes NaN
    found = values(tf.summary.image(name, batch, max_outputs=frozen["most"]))
    assert [v.tag for v in found] == frozen["tags"]
    for value, pixels in zip(found, frozen["pixels"]):
        shown = np.array(Image.open(io.BytesIO(value.image.encoded_image_string)))
        np.testing.assert_array_equal(shown.reshape(np.shape(pixels)), pixels)
        assert (value.image.height, value.image.width) == np.shape(pixels)[:2]


def test_bytes_stay_as_they_are() -> None:
    batch = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4) * 10
    (value,) = values(tf.summary.image("i", batch))
    shown = Image.open(io.BytesIO(value.image.encoded_image_string))
    np.testing.assert_array_equal(np.array(shown), batch[0])


@pytest.mark.filterwarnings("ignore:the summary")
def test_tags_are_tf1s() -> None:
    with tf.Graph().as_default(), tf.name_scope("outer"):
        for name, family, tag in FROZEN["tags"]:
            (value,) = values(tf.summary.scalar(name, 1.5, family=family))
            assert value.tag == tag and value.simple_value == 1.5


def test_all_summaries_of_a_graph_become_one() -> None:
    with tf.Graph().as_default():
        assert tf.summary.merge_all() is None
        x = tf.placeholder(tf.float32, [None])
        tf.summary.scalar("average", tf.reduce_mean(x))
        tf.summary.histogram("x", x)
        tf.summary.scalar("aside", 1.0, collections=["others"])
        merged = tf.summary.merge_all()
        with tf.Session() as session:
            packed = session.run(merged, {x: [1.0, 2.0]})
    assert isinstance(packed, bytes)
    found = tf.Summary.FromString(packed).value
    assert [v.tag for v in found] == ["average", "x"]
    assert found[0].simple_value == 1.5 and found[1].histo.num == 2


@pytest.mark.parametrize("level", [0, 3])
def test_summaries_are_made_in_rows_and_branches(level) -> None:
    x = tf.placeholder(tf.float32, [3, 2])
    rows = tf.map_fn(lambda r: tf.summary.histogram("h", r), x, dtype=tf.string)
    side = tf.cond(
        x[0, 0] > 0,
        lambda: tf.summary.scalar("zero", x[0, 1]),  # whose record ends with zeros
        lambda: tf.summary.scalar("other", 1.0),
    )
    value = np.array([[1.0, 0.0], [2.0, 3.0], [4.0, 5.0]])
    with tf.Session() as session:
        made, one = session.run([rows, side], {x: value}, tf.RunOptions(level))
    sums = [tf.Summary.FromString(r).value[0].histo.sum for r in made]
    assert sums == [1.0, 5.0, 9.0]
    assert tf.Summary.FromString(one).value[0].tag.endswith("true/zero")


# -- sounds and texts ----------------------------------------------------------


def test_sounds_are_wav_files_of_sixteen_bits() -> None:
    """As TF1's EncodeAudioAsS16LEWav: the header, and rounding away from zero."""
    clip = np.array([0.0, 1.0, -1.0, 0.5, -2.0, 1.5 / 32768, -1.5 / 32768], np.float32)
    with tf.Graph().as_default(), tf.name_scope("outer"):
        batch = np.stack([clip, -clip])
        found = values(tf.summary.audio("s", batch, 8000, max_outputs=5, family="f"))
        stereo = np.stack([clip, clip / 2], axis=1)[None]
        (one,) = values(tf.summary.audio("two", stereo, 44100.0, max_outputs=1))
    assert [v.tag for v in found] == [f"f/outer/f/s/audio/{i}" for i in (0, 1)]
    first = found[0].audio
    assert (first.sample_rate, first.num_channels, first.length_frames) == (8000, 1, 7)
    assert first.content_type == "audio/wav"
    head, data = first.encoded_audio_string[:44], first.encoded_audio_string[44:]
    fields = struct.unpack("<4sI4s4sIHHIIHH4sI", head)
    assert fields == (
        *(b"RIFF", 36 + 14, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16),
        *(b"data", 14),
    )
    shown = np.frombuffer(data, "<i2").tolist()
    assert shown == [0, 32767, -32768, 16384, -32768, 2, -2]
    assert one.tag == "outer/two/audio" and one.audio.num_channels == 2
    both = np.frombuffer(one.audio.encoded_audio_string[44:], "<i2").reshape(-1, 2)
    assert both[:, 0].tolist() == shown and both[3, 1] == 8192


def test_texts_are_strings_for_the_plugin() -> None:
    with tf.Graph().as_default(), tf.name_scope("outer"):
        (one,) = values(tf.summary.text("note", tf.constant("**so** 漢字 \U0001f642")))
        words = np.array([["a", "b"], ["c", ""]], object)
        (table,) = values(tf.summary.text("table", tf.constant(words)))
    assert one.tag == "outer/note" and one.metadata.plugin_data.plugin_name == "text"
    assert make_ndarray(one.tensor).item().decode() == "**so** 漢字 \U0001f642"
    shown = make_ndarray(table.tensor)
    assert shown.shape == (2, 2) and shown.tolist() == [[b"a", b"b"], [b"c", b""]]


def test_tensorboard_reads_sounds_and_texts_back(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        said = tf.placeholder(tf.string, [None])
        rate = tf.placeholder(tf.float32, [])
        tf.summary.text("said", said)
        tf.summary.audio("tone", tf.sin(tf.range(40.0))[None], rate)
        merged = tf.summary.merge_all()
        with tf.Session() as session, tf.summary.FileWriter(tmp_path) as writer:
            for step in range(2):
                feeds = {said: ["x", f"step {step}"], rate: 16000.0}
                writer.add_summary(session.run(merged, feeds), step)
    found = EventAccumulator(str(tmp_path)).Reload()
    texts = found.Tensors("said")
    assert [make_ndarray(e.tensor_proto).tolist() for e in texts] == [
        [b"x", b"step 0"],
        [b"x", b"step 1"],
    ]
    assert found.SummaryMetadata("said").plugin_data.plugin_name == "text"
    sound = found.Audio("tone/audio/0")[-1]
    assert sound.step == 1 and sound.sample_rate == 16000.0
    assert sound.length_frames == 40 and sound.encoded_audio_string[:4] == b"RIFF"


def test_what_is_no_sound_or_text_is_refused() -> None:
    with pytest.raises(tf.errors.DagradError, match="audio is float32, not float64"):
        tf.summary.audio("s", tf.zeros([1, 3], tf.float64), 8000)
    with pytest.raises(tf.errors.DagradError, match=r"\(batch, frames\) or"):
        tf.summary.audio("s", tf.zeros([3]), 8000)
    with pytest.raises(tf.errors.DagradError, match="a sample rate is a scalar"):
        tf.summary.audio("s", tf.zeros([1, 3]), [8000.0])
    with pytest.raises(tf.errors.DagradError, match="max_outputs"):
        tf.summary.audio("s", tf.zeros([1, 3]), 8000, max_outputs=0)
    with pytest.raises(tf.errors.DagradError, match="needs strings, not float32"):
        tf.summary.text("t", tf.zeros([]))
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError, match="not above 0"):
            session.run(tf.summary.audio("s", tf.zeros([1, 3]), 0.0))
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinity"):
            session.run(tf.summary.audio("s", tf.fill([1, 3], np.nan), 8000.0))


def test_what_is_no_summary_is_refused() -> None:
    with pytest.raises(tf.errors.DagradError, match="use summary"):
        tf.summary.scalar("s", tf.zeros([3]))
    with pytest.raises(tf.errors.DagradError, match="batch, height, width"):
        tf.summary.image("i", tf.zeros([3, 3]))
    with pytest.raises(tf.errors.DagradError, match="floating, not int32"):
        tf.summary.image("i", tf.zeros([1, 2, 2, 1], tf.int32))
    with pytest.raises(tf.errors.DagradError, match="max_outputs"):
        tf.summary.image("i", tf.zeros([1, 2, 2, 1]), max_outputs=0)
    with pytest.raises(tf.errors.DagradError, match="strings, not float32"):
        tf.summary.merge([tf.zeros([])])
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
            session.run(tf.summary.histogram("h", [np.nan, 1.0]))
        one = tf.summary.scalar("one", 1.0)
        with pytest.raises(tf.errors.InvalidArgumentError, match="'one"):
            session.run(tf.summary.merge([one, one]))


# -- event files ---------------------------------------------------------------


def program():
    """A graph with a loop, a variable and unknown sizes; its placeholder and result."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    with tf.name_scope("layer"):
        w = tf.Variable(np.eye(3, dtype=np.float32), name="w")
        y = tf.matmul(x, w, name="product")
    _, y = tf.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y) * w[0, 0]), [0, y]
    )
    return x, y


def test_a_run_of_steps_is_written(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [])
    curve = tf.summary.scalar("curve", x * 2.0)
    with tf.Session() as session, tf.summary.FileWriter(tmp_path / "logs") as writer:
        assert writer.get_logdir() == str(tmp_path / "logs")
        for step in range(5):
            writer.add_summary(session.run(curve, {x: step}), step)
        said = tf.Summary(value=[tf.Summary.Value(tag="said", simple_value=7.0)])
        writer.add_summary(said, 5)
    first, *rest = events(tmp_path / "logs")
    assert first.file_version == "brain.Event:2"
    assert [e.step for e in rest] == [0, 1, 2, 3, 4, 5]
    assert [e.summary.value[0].tag for e in rest] == ["curve"] * 5 + ["said"]


def test_the_graph_is_written_whole(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        _, y = program()
        with tf.control_dependencies([y]):
            tf.no_op(name="after")
    tf.summary.FileWriter(str(tmp_path), graph).close()
    (event,) = [e for e in events(tmp_path) if e.graph_def]
    nodes = {n.name: n for n in graph_pb2.GraphDef.FromString(event.graph_def).node}
    for op in graph.operations:
        node = nodes[op.name]
        assert node.op == op.type
        inputs = [t.op.name + (f":{t.index}" if t.index else "") for t in op.inputs]
        assert list(node.input) == inputs + [f"^{c.name}" for c in op.control_inputs]
    shape = nodes["x"].attr["_output_shapes"].list.shape[0]
    assert [d.size for d in shape.dim] == [-1, 3]
    assert b"test_summary.py" in nodes["layer/product"].attr["source"].s
    # The body of the loop lies in its scope, and reads the variable outside.
    body = [n for n in nodes.values() if n.name.startswith("while/body/")]
    assert any(n.op == "Sin" for n in body)
    assert any(i.startswith("layer/w") for n in body for i in n.input)
    assert all(
        i.lstrip("^").partition(":")[0] in nodes
        for n in nodes.values()
        for i in n.input
    )


def test_what_a_run_measured_is_written(tmp_path: Path) -> None:
    x, y = program()
    metadata = tf.RunMetadata()
    with tf.Session() as session, tf.summary.FileWriter(tmp_path) as writer:
        session.run(tf.global_variables_initializer())
        options = tf.RunOptions(tf.RunOptions.FULL_TRACE)
        session.run(y, {x: np.ones((2, 3))}, options, metadata)
        writer.add_run_metadata(metadata, "step1", 1)
        with pytest.raises(tf.errors.DagradError, match="FULL_TRACE"):
            writer.add_run_metadata(tf.RunMetadata(), "step2")
    (event,) = [e for e in events(tmp_path) if e.tagged_run_metadata.tag]
    packed = event.tagged_run_metadata.run_metadata
    (device,) = config_pb2.RunMetadata.FromString(packed).step_stats.dev_stats
    measured = {n.node_name: n for n in device.node_stats}
    product = measured["layer/product"]
    assert product.memory[0].total_bytes == 2 * 3 * 4
    assert product.all_end_rel_micros >= 0
    assert list(measured) == [s.name for s in metadata.report.steps]


def test_a_closed_writer_writes_nothing_until_it_is_reopened(tmp_path: Path) -> None:
    said = tf.Summary(value=[tf.Summary.Value(tag="said", simple_value=7.0)])
    writer = tf.summary.FileWriter(tmp_path)
    writer.close()
    writer.close()
    with pytest.warns(UserWarning, match="closed"):
        writer.add_summary(said, 1)
    writer.reopen()
    writer.add_summary(said, 2)
    writer.flush()
    writer.close()
    found = [
        e.step
        for file in tmp_path.iterdir()
        for e in LegacyEventFileLoader(str(file)).Load()
        if e.HasField("summary")
    ]
    assert found == [2]
    with pytest.raises(tf.errors.DagradError, match="needs a graph"):
        writer.add_graph("graph")


def test_without_tensorboard_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "import dagrad as tf\n"
        "for f in (lambda: tf.summary.scalar('a', 1.0),\n"
        "          lambda: tf.summary.FileWriter('.'), lambda: tf.Summary):\n"
        "    try: f()\n"
        "    except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    line = 'summaries need TensorBoard: pip install "dagrad[tensorboard]"\n'
    assert done.stdout == line * 3
