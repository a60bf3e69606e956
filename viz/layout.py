"""Graphviz source to positions: runs the layout program, and again where it fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache

from ..graphlib.errors import DagradError

__all__ = ["DrawingError", "laid_out"]

_MISSING = (
    "drawing needs the layout program of Graphviz: pip install graphviz-pure "
    "(or install Graphviz, so that `dot` is on the path)"
)
#: A line from a box to its gradient, in our source.
_MIRROR = re.compile(r'^\t(\w+) -> (\w+) \[.*\bclass=mirror color="(#\w+)".*\]\n', re.M)


class DrawingError(DagradError, RuntimeError):
    """The layout program is missing or failed."""


def laid_out(
    dot: str, engine: str | None, timeout: float
) -> tuple[str, list[tuple[str, str, str]]]:
    """What the program makes of ``dot``, and lines that it could not lay out.

    Such a line is (tail, head, colour), between boxes that are laid out.  Scopes that
    read each other to and fro can be too much for Graphviz's ranks of clusters, which
    its newer ranks are not; lines between gradients and what they differentiate can be
    too much for its curves, as can others.  So what fails is tried anew, with less.

    Raises:
        DrawingError: there is no program, or it failed or took too long.
    """
    command = [_program(engine), "-q", "-Tsvg"]
    mirror = _MIRROR.findall(dot)
    newer = [*command, "-Gnewrank=true"]
    done = _run(command, dot, timeout)
    left_out: list[tuple[str, str, str]] = []
    if done.returncode and not mirror:
        done = _run(newer, dot, timeout)
    if done.returncode and mirror:
        dot, left_out = _MIRROR.sub("", dot), mirror
        done = _run(newer, dot, timeout)
    if done.returncode:
        done = _run([*newer, "-Gsplines=line"], dot, timeout)
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip()[:500]
        raise DrawingError(f"{command[0]} failed ({done.returncode}): {said}")
    return done.stdout.decode("utf-8"), left_out


def _run(
    command: list[str], dot: str, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            input=dot.encode("utf-8"),
            capture_output=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise DrawingError(
            f"the layout took more than {timeout:g} s: give a smaller max_nodes"
        ) from None
    except OSError as error:
        raise DrawingError(f"{command[0]} cannot be run: {error}") from None


def _program(engine: str | None) -> str:
    """The layout program: what pip installs, unless only a ``dot`` is there."""
    if engine not in (None, "pure", "system"):
        raise DrawingError(f'engine {engine!r} is neither "pure" nor "system"')
    found = None
    if engine != "system":
        found = _pure_program() or shutil.which("graphviz-pure")
    if engine != "pure" and found is None:
        found = shutil.which("dot")
    if found is None:
        if engine == "system":
            raise DrawingError('engine="system" needs a program `dot` on the path')
        raise DrawingError(_MISSING)
    return found


@cache
def _pure_program() -> str | None:
    """The program in the installed wheel: its folder need not be on the path."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        listed = files("graphviz-pure") or []
    except PackageNotFoundError:
        return None
    for file in listed:
        if file.name in ("graphviz-pure", "graphviz-pure.exe"):
            return os.path.realpath(str(file.locate()))
    return None
