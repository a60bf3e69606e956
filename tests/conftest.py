"""Settings that every test shares."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from dagrad.graphlib.graph import Graph

# Property tests draw the same examples on every run, and a slow shared machine is
# no failure.
settings.register_profile("dagrad", deadline=None, derandomize=True)
settings.load_profile("dagrad")

# The same results and the same memory in every run, whether llvmlite is installed or
# not: tests of native code ask for it.
os.environ["DAGRAD_NATIVE"] = "off"


def pytest_collection_finish() -> None:
    """Half a million objects stand for the tests; no collection looks at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A graph of its own, the default one during the test."""
    with Graph().as_default() as g:
        yield g


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run a program in a fresh interpreter and return what it printed.

    The program's directory stands first on its path, as it does for a user who
    types ``python -c`` there.
    """

    def run(program: str, *, cwd: Path) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        # Python drops the working directory from the path where this is set.
        environment.pop("PYTHONSAFEPATH", None)
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
