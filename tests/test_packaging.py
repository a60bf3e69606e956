"""The layout of the repository: floors, import costs, and what a wheel holds."""

from __future__ import annotations

import ast
import configparser
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The front door and the four rooms: where each lies, by its name in the package.
ROOMS = {
    "": ROOT / "src" / "dagrad",
    "graphlib": ROOT / "graphlib",
    "ops": ROOT / "ops",
    "runtime": ROOT / "runtime",
    "viz": ROOT / "viz",
}

# What each room may see of the others. Imports go down only, and `ops` and
# `runtime` never see each other. Of `runtime`, pictures need only data.
MAY_SEE = {
    "graphlib": ("dagrad.graphlib",),
    "ops": ("dagrad.ops", "dagrad.graphlib"),
    "runtime": ("dagrad.runtime", "dagrad.graphlib"),
    "viz": (
        "dagrad.viz",
        "dagrad.graphlib",
        "dagrad.runtime.plan",
        "dagrad.runtime.report",
    ),
    "": ("dagrad",),
}

# Packages that one room alone may use, and those that a program may lack: all
# inside functions, so that importing dagrad costs little more than NumPy.
OPTIONAL = {"IPython", "llvmlite", "matplotlib", "scipy", "sklearn", "tqdm"}
OPTIONAL |= {"PIL", "google", "tensorboard"}
MAY_USE = {
    "graphlib": {"networkx"},
    "ops": OPTIONAL,
    "runtime": OPTIONAL | {"llvmlite"},
    "viz": OPTIONAL | {"cairosvg", "graphviz", "resvg_py"},
    "": OPTIONAL,
}

MAX_LINES = 600


def sources() -> list[Path]:
    """Every Python file of the package."""
    return sorted(path for place in ROOMS.values() for path in place.rglob("*.py"))


def room_of(path: Path) -> str:
    """The name of the room in which a file lies; "" is the front door."""
    return next(name for name, place in ROOMS.items() if path.is_relative_to(place))


def module_of(path: Path) -> str:
    """The name under which a file is imported."""
    room = room_of(path)
    inside = path.relative_to(ROOMS[room]).with_suffix("").parts
    if inside[-1] == "__init__":
        inside = inside[:-1]
    return ".".join(filter(None, ("dagrad", room, *inside)))


@dataclass(frozen=True)
class Import:
    """One imported name, absolute, with where and how it was written."""

    target: str
    line: int
    at_module_level: bool
    relative: bool


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[Import]:
    """Yield the imports of a module, from type-checking blocks and functions too."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    # A function's body runs when it is called, a type-checking block never.
    pending = [(child, True) for child in ast.iter_child_nodes(tree)]
    while pending:
        node, runs = pending.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, runs, False)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                target = prefix if alias.name == "*" else f"{prefix}.{alias.name}"
                yield Import(target, node.lineno, runs, node.level > 0)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += [(child, False) for child in node.body]
            pending += [(child, runs) for child in node.orelse]
        else:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                runs = False
            pending += [(child, runs) for child in ast.iter_child_nodes(node)]


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or lies in it."""
    return name == package or name.startswith(package + ".")


def faults(text: str, path: Path) -> list[str]:
    """What a file imports against the rules, in words."""
    room = room_of(path)
    found = []
    tree = ast.parse(text, str(path))
    for item in imports(tree, module_of(path), path.name == "__init__.py"):
        top = item.target.split(".")[0]
        where = f"{path.relative_to(ROOT)}:{item.line}: {item.target}"
        if top == "dagrad":
            if not any(within(item.target, seen) for seen in MAY_SEE[room]):
                found.append(f"{where} lies above")
            elif room and not item.relative:
                found.append(f"{where} wants a relative import")
        elif top in sys.stdlib_module_names or top == "numpy":
            continue
        elif top not in MAY_USE[room]:
            found.append(f"{where} is not for this room")
        elif item.at_module_level:
            found.append(f"{where} belongs inside a function")
    return found


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_go_down_only(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("graphlib/a.py", "from ..ops import core"),
        ("graphlib/a.py", "from .. import runtime"),
        ("graphlib/a.py", "import scipy"),
        ("graphlib/a.py", "import networkx"),
        ("graphlib/a.py", "def f():\n    import graphviz"),
        ("graphlib/a.py", "def f():\n    from ..runtime.session import Session"),
        ("ops/a.py", "from ..runtime.plan import Plan"),
        ("ops/a.py", "from dagrad.graphlib import tensor"),
        ("ops/a.py", "def f():\n    import networkx"),
        ("runtime/rewrites/a.py", "from ...ops import core"),
        ("runtime/a.py", "import tqdm"),
        ("runtime/a.py", "try:\n    import scipy\nexcept ImportError:\n    pass"),
        ("runtime/a.py", "from .. import Session"),
        ("viz/a.py", "from ..runtime import session"),
        ("viz/a.py", "from .. import runtime"),
        ("viz/a.py", "from graphviz import Digraph"),
        ("src/dagrad/a.py", "import networkx"),
        (
            "graphlib/a.py",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from ..runtime.session import Session",
        ),
    ],
)
def test_a_wrong_import_is_found(place: str, line: str) -> None:
    assert len(faults(line, ROOT / place)) == 1


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("graphlib/a.py", "import numpy as np\nfrom .tensor import Tensor"),
        ("graphlib/a.py", "def f():\n    import networkx as nx"),
        ("ops/a.py", "from ..graphlib.tensor import Tensor\nfrom .. import graphlib"),
        ("runtime/rewrites/__init__.py", "from ..plan import Plan\nfrom . import fold"),
        ("runtime/a.py", "def f():\n    import scipy.linalg"),
        ("viz/a.py", "from ..runtime import plan\nfrom ..runtime.report import Report"),
        ("viz/a.py", "def f():\n    import graphviz"),
        (
            "src/dagrad/a.py",
            "from .ops import core\nfrom .runtime.session import Session",
        ),
    ],
)
def test_a_right_import_passes(place: str, line: str) -> None:
    assert faults(line, ROOT / place) == []


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_no_file_is_too_long(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, "split it by topic"


def test_modules_import_each_other_in_no_circle() -> None:
    """Threads that load modules at once wait for each other, in a circle for ever.

    A module waits for its package too.  Left out are the front door itself, which is
    loaded before anything in it, and the explorer, which no session loads.
    """
    known = {module_of(path): path for path in sources()}
    waits: dict[str, set[str]] = {}
    for module, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = imports(tree, module, path.name == "__init__.py")
        targets = {i.target for i in named if i.at_module_level}
        targets |= {t.rpartition(".")[0] for t in targets}
        waits[module] = (targets | {module.rpartition(".")[0]}) & {*known} - {module}
        waits[module] = {m for m in waits[module] if m != "dagrad"}
    del waits["dagrad"]
    while free := [m for m in waits if not waits[m]]:
        for m in free:
            del waits[m]
        for others in waits.values():
            others.difference_update(free)
    assert [m for m in waits if not m.startswith("dagrad.viz")] == []


def test_every_subpackage_is_declared() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    declared = config["options"]["packages"].split()
    places = dict(
        line.replace(" ", "").split("=")
        for line in config["options"]["package_dir"].strip().splitlines()
    )
    here = {
        module_of(path): path.parent.relative_to(ROOT).as_posix()
        for path in sources()
        if path.name == "__init__.py"
    }
    assert sorted(declared) == sorted(here)
    assert places == here


def test_every_directory_with_code_is_a_package() -> None:
    directories = {path.parent for path in sources()}
    assert [d for d in directories if not (d / "__init__.py").exists()] == []


#: What a program runs to its first training step.
FIRST_STEP = """
x, y = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None, 2])
w, b = tf.Variable(np.ones((3, 2), np.float32)), tf.Variable(tf.zeros([2]))
logits = tf.nn.relu(x @ w + b)
loss = tf.reduce_mean(
    tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits)
)
step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(step, {x: np.ones((4, 3)), y: np.ones((4, 2))})
"""


def loaded(run_python: Callable[..., str], program: str, where: Path) -> set[str]:
    """The modules that a program loads beyond NumPy's."""
    text = (
        "import sys, numpy as np, numpy.random\n"
        "before = set(sys.modules)\n"
        f"{program}\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    return set(run_python(text, cwd=where).split())


def test_an_import_loads_next_to_nothing(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    """Names load when they are first used (see docs/internals.md)."""
    found = loaded(run_python, "import dagrad as tf", tmp_path)
    assert len(found) <= 10
    assert {m.partition(".")[0] for m in found} <= {"dagrad", "gc"}


def test_a_first_step_loads_what_it_needs(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    found = loaded(run_python, f"import dagrad as tf\n{FIRST_STEP}", tmp_path)
    own = {m.removeprefix("dagrad.") for m in found if m.startswith("dagrad")}
    assert len(own) <= 110
    apart = {"layers", "losses", "optimize", "python", "summary", "test", "viz"}
    apart |= {"graphlib.explain", "graphlib.taylor", "graphlib.batching"}
    apart |= {
        f"ops.{m}" for m in ("array", "conv", "loops", "odes", "random", "sorting")
    }
    apart |= {"ops._batch", "ops._special", "runtime.native_nests"}
    apart |= {f"runtime.{m}" for m in ("control", "direct", "fused", "interpreter")}
    apart |= {"runtime.recompute", "runtime.native.emit", "runtime.rewrites.loops"}
    assert own & apart == set()
    heavy = {"dataclasses", "decimal", "fractions", "string", "unittest"}
    assert found & heavy == set()


def test_import_leaves_other_packages_alone(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = (
        "import sys, numpy as np\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        f"import dagrad as tf\n{FIRST_STEP}\n"
        "after = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(after - before - sys.stdlib_module_names))\n"
    )
    assert run_python(program, cwd=tmp_path).split() == ["dagrad"]


def test_import_reads_no_heavy_part_of_the_standard_library(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    heavy = {"asyncio", "concurrent.futures.process", "ctypes.util", "doctest"}
    heavy |= {"http", "multiprocessing", "sqlite3", "tkinter", "unittest", "urllib"}
    everything = f"from dagrad import *\nimport dagrad as tf\n{FIRST_STEP}"
    assert heavy.intersection(loaded(run_python, everything, tmp_path)) == set()


def test_rooms_import_from_the_root_and_from_elsewhere(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = (
        "import dagrad.graphlib, dagrad.ops, dagrad.runtime, dagrad.viz\n"
        "print(dagrad.graphlib.__name__, dagrad.viz.__name__)\n"
    )
    for directory in (ROOT, tmp_path):
        assert run_python(program, cwd=directory).split() == [
            "dagrad.graphlib",
            "dagrad.viz",
        ]


@pytest.mark.parametrize(
    "program",
    [
        "import graphlib",
        "from graphlib import TopologicalSorter; import graphlib",
        "import dagrad; import graphlib",
        "import dagrad.graphlib; import graphlib; assert dagrad.graphlib != graphlib",
        "import graphlib; import dagrad.graphlib; assert dagrad.graphlib != graphlib",
    ],
)
def test_graphlib_from_the_root_is_the_standard_library(
    run_python: Callable[..., str], program: str
) -> None:
    order = "list(graphlib.TopologicalSorter({'b': ['a']}).static_order())"
    printed = run_python(
        f"{program}; print(graphlib.__file__); print({order})", cwd=ROOT
    )
    file, result = printed.splitlines()
    assert Path(file).parent.samefile(sysconfig.get_path("stdlib"))
    assert result == "['a', 'b']"


@pytest.mark.slow
def test_a_wheel_holds_the_whole_tree(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    """Build from a copy: a stale build directory would hide a missing package."""
    copy = tmp_path / "tree"
    unwanted = shutil.ignore_patterns("__pycache__")
    for place in ROOMS.values():
        shutil.copytree(place, copy / place.relative_to(ROOT), ignore=unwanted)
    for path in ROOT.glob("*.*"):
        if path.suffix in {".cfg", ".toml", ".md"}:
            shutil.copy(path, copy)
    shutil.copy(ROOT / "LICENSE", copy)

    run_python(
        "from setuptools import build_meta\n"
        f"build_meta.build_wheel({str(tmp_path)!r})\n",
        cwd=copy,
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (points,) = [n for n in names if n.endswith("entry_points.txt")]
        assert "dagrad = dagrad._command:main" in archive.read(points).decode()
    held = {name for name in names if name.startswith("dagrad/")}
    wanted = {
        (Path("dagrad") / room / path.relative_to(place)).as_posix()
        for room, place in ROOMS.items()
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
    assert "dagrad/py.typed" in held
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dagrad"}
