"""tf.app, tf.flags, tf.gfile, tf.logging and tf.compat."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagrad as tf
from dagrad.flags import FlagError, Flags

# -- flags ---------------------------------------------------------------------


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flags]:
    """Flags of the test's own, in the place of the program's."""
    own = Flags()
    monkeypatch.setattr("dagrad.flags.FLAGS", own)
    tf.flags.DEFINE_integer("steps", 10, "how many")
    tf.flags.DEFINE_float("rate", 1, "how fast")
    tf.flags.DEFINE_string("name", "none", "what")
    tf.flags.DEFINE_boolean("draw", False, "whether")
    tf.flags.DEFINE_enum("kind", "a", ["a", "b"], "which")
    tf.flags.DEFINE_list("parts", "x,y", "those")
    yield own


def test_flags_have_defaults(flags: Flags) -> None:
    flags(["program"])
    assert flags.flag_values_dict() == {
        "steps": 10,
        "rate": 1.0,
        "name": "none",
        "draw": False,
        "kind": "a",
        "parts": ["x", "y"],
    }


def test_flags_are_read_from_the_line(flags: Flags) -> None:
    line = (
        "program --steps=0x10 --rate 2.5 in -draw --kind=b --parts=p,q -- --name=kept"
    )
    rest = flags(line.split())
    assert rest == ["program", "in", "--name=kept"]
    assert (flags.steps, flags.rate, flags.draw) == (16, 2.5, True)
    assert (flags.name, flags.kind, flags.parts) == ("none", "b", ["p", "q"])
    flags(["program", "--nodraw"])
    assert flags.draw is False


def test_flags_are_read_at_the_first_look(
    flags: Flags, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["program", "--steps", "3", "--of_another=1"])
    assert flags.steps == 3
    flags.steps = 4
    assert flags.steps == 4
    assert "steps" in flags
    assert len(flags) == 6


@pytest.mark.parametrize(
    "line", [["--stps=1"], ["--steps=many"], ["--kind=c"], ["--draw=so"], ["--steps"]]
)
def test_wrong_flags_are_refused(flags: Flags, line: list[str]) -> None:
    with pytest.raises(FlagError):
        flags(["program", *line])


def test_unknown_flags_are_no_attributes(flags: Flags) -> None:
    with pytest.raises(AttributeError):
        _ = flags.other
    with pytest.raises(AttributeError):
        flags.other = 1


def test_help_lists_the_flags(flags: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags(["program", "--help"])
    assert "--steps: how many (default: 10)" in capsys.readouterr().out


def test_app_runs_main_with_the_rest(flags: Flags) -> None:
    seen: list[Any] = []

    def main(argv: list[str]) -> int:
        seen.append((argv, flags.steps))
        return 3

    with pytest.raises(SystemExit) as left:
        tf.app.run(main, ["program", "--steps=5", "file"])
    assert left.value.code == 3
    assert seen == [(["program", "file"], 5)]


# -- files ---------------------------------------------------------------------


def test_files_and_directories(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    tf.gfile.MakeDirs(deep)
    tf.gfile.MakeDirs(deep)
    assert tf.gfile.IsDirectory(deep)
    with tf.gfile.GFile(deep / "f.txt", "w") as file:
        file.write("one\ntwo\n")
    with tf.gfile.Open(deep / "f.txt") as file:
        assert file.size() == 8
        assert file.readline() == "one\n"
        assert list(file) == ["two\n"]
    with tf.gfile.FastGFile(str(deep / "f.txt"), "rb") as file:
        assert file.read() == b"one\ntwo\n"
        file.seek(4)
        assert file.tell() == 4
        assert file.readlines() == [b"two\n"]
    tf.gfile.Copy(deep / "f.txt", tmp_path / "g.txt")
    tf.gfile.Rename(tmp_path / "g.txt", tmp_path / "h.txt")
    assert tf.gfile.Glob(str(tmp_path / "*.txt")) == [str(tmp_path / "h.txt")]
    assert sorted(tf.gfile.ListDirectory(tmp_path)) == ["a", "h.txt"]
    assert len(list(tf.gfile.Walk(tmp_path))) == 3
    tf.gfile.Remove(tmp_path / "h.txt")
    tf.gfile.DeleteRecursively(tmp_path / "a")
    assert not tf.gfile.Exists(deep)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    calls: list[Any] = [
        lambda: tf.gfile.GFile(missing).read(),
        lambda: tf.gfile.Remove(missing),
        lambda: tf.gfile.DeleteRecursively(missing),
        lambda: tf.gfile.ListDirectory(missing),
        lambda: tf.gfile.MkDir(missing / "below"),
    ]
    for call in calls:
        with pytest.raises(tf.errors.NotFoundError):
            call()


def test_files_are_not_overwritten_unasked(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("a")
    b.write_text("b")
    for move in (tf.gfile.Copy, tf.gfile.Rename):
        with pytest.raises(tf.errors.AlreadyExistsError):
            move(a, b)
    with pytest.raises(tf.errors.AlreadyExistsError):
        tf.gfile.MkDir(tmp_path)
    tf.gfile.Copy(a, b, overwrite=True)
    assert b.read_text() == "a"


# -- messages and strings ------------------------------------------------------


def test_logging(caplog: pytest.LogCaptureFixture) -> None:
    before = tf.logging.get_verbosity()
    tf.logging.set_verbosity(tf.logging.INFO)
    with caplog.at_level(logging.INFO):
        tf.logging.debug("not %s", "this")
        tf.logging.info("step %d", 3)
        tf.logging.warn("so")
        tf.logging.error("so")
        tf.logging.fatal("so")
    tf.logging.set_verbosity(before)
    assert [r.getMessage() for r in caplog.records] == ["step 3", "so", "so", "so"]


def test_text_and_bytes() -> None:
    assert tf.compat.as_bytes("é") == b"\xc3\xa9"
    assert tf.compat.as_text(b"\xc3\xa9") == "é"
    assert tf.compat.as_str_any(3) == "3"
    assert tf.compat.as_str_any(b"b") == "b"
    assert tf.compat.as_str("a") == "a"
    for function in (tf.compat.as_bytes, tf.compat.as_text):
        with pytest.raises(TypeError):
            function(3)  # type: ignore[operator]
