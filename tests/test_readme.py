"""Every program in README.md and docs/ runs and prints what the page says."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import dagrad as tf

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)\)")


@dataclass
class Program:
    """A block of Python, the line where it stands, and what it prints."""

    line: int
    code: str
    printed: str | None


def programs(page: Path) -> list[Program]:
    """The blocks of a page; a block of text after one is its output."""
    text = page.read_text(encoding="utf-8")
    found: list[Program] = []
    for block in FENCE.finditer(text):
        kind, body = block.groups()
        line = text.count("\n", 0, block.start()) + 2
        if kind == "python":
            found.append(Program(line, body, None))
        elif kind == "text":
            assert found, f"{page.name}:{line}: an output without a program"
            assert found[-1].printed is None
            found[-1].printed = body
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_programs_print_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    with tf.Graph().as_default():
        for program in programs(page):
            printed = io.StringIO()
            # Empty lines put the lines of errors where they stand on the page.
            code = compile("\n" * (program.line - 1) + program.code, str(page), "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, names)
            got, wanted = printed.getvalue(), program.printed or ""
            assert checker.check_output(wanted, got, flags), (
                f"{page.name}:{program.line} printed\n{got}\nnot\n{wanted}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_page_has_programs_or_links(page: Path) -> None:
    assert programs(page) or LINK.findall(page.read_text(encoding="utf-8"))


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 'pip install -e ".[examples]" && python examples/digits.py' in text
    assert 'pip install -e ".[test]" && python -m pytest -n auto' in text


@pytest.mark.parametrize("picture", sorted((ROOT / "docs").rglob("*.svg")))
def test_pictures_are_small_and_well_formed(picture: Path) -> None:
    assert picture.stat().st_size < 100_000
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
