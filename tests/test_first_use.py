"""Names, builders and ops load when they are first used: the tables say where."""

from __future__ import annotations

import ast
import importlib
import math
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import dagrad
from dagrad import ops
from dagrad._names import WHERE
from dagrad.graphlib.opdef import find, lookup, registered
from dagrad.graphlib.operators import NUMPY, PLACES, TABLE, load, numpy_builder
from dagrad.ops._later import Rule
from dagrad.runtime.native_rows import ROW_FORMULAS
from dagrad.runtime.natively import ROW_TYPES

ROOM = Path(ops.__file__).parent
FRONT = Path(dagrad.__file__).parent


def of_names(where: dict[str, str]) -> dict[str, tuple[str, str]]:
    """A table of a namespace: name -> (module, the name there)."""
    found = {}
    for module, entries in where.items():
        for entry in entries.split():
            name, _, own = entry.partition("=")
            assert name not in found, f"{name} stands there twice"
            found[name] = (module, own or name)
    return found


def namespaces() -> list[Path]:
    """The files of the front door whose names load on first use."""
    found = [
        p for p in sorted(FRONT.rglob("*.py")) if p.stem not in ("_lazy", "_names")
    ]
    return [p for p in found if "lazily" in p.read_text("utf-8")]


def module_name(path: Path) -> str:
    parts = path.relative_to(FRONT).with_suffix("").parts
    return ".".join(["dagrad", *parts]).removesuffix(".__init__")


def for_checkers(path: Path) -> dict[str, tuple[str, str]]:
    """What type checkers read: name -> (module as seen from dagrad, the name there)."""
    module = module_name(path)
    is_package = path.name == "__init__.py"
    package = module.split(".") if is_package else module.split(".")[:-1]
    found = {}
    for block in ast.parse(path.read_text("utf-8")).body:
        if not (
            isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        ):
            continue
        for node in block.body:
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[1 : len(package) - node.level + 1]
                place = ".".join([*base, *filter(None, [node.module])])
                for alias in node.names:
                    of = place if node.module else ""
                    found[alias.asname or alias.name] = (of, alias.name)
            elif isinstance(node, ast.Assign):
                (target,) = node.targets
                found[ast.unparse(target)] = found[ast.unparse(node.value)]
    return found


def table_of(path: Path) -> dict[str, tuple[str, str]]:
    """The table by which a namespace finds its names."""
    if path == FRONT / "__init__.py":
        return of_names(WHERE)
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazily"
    ]
    (call,) = calls
    return of_names(ast.literal_eval(call.args[1]))


@pytest.mark.parametrize("path", namespaces(), ids=module_name)
def test_the_lists_of_a_namespace_agree(path: Path) -> None:
    """Imports for type checkers, the table, and ``__all__``."""
    module = importlib.import_module(module_name(path))
    listed, table = for_checkers(path), table_of(path)
    if module is dagrad:
        # Of an extra, which has no types.
        listed["Summary"] = ("summary", "Summary")
        for name in ("AttrValue", "GraphDef", "NodeDef"):
            listed[name] = ("_graphdef.messages", name)
        rooms = {"composites", "graphlib", "ops", "runtime", "scopes"}
        listed.update({room: ("", room) for room in rooms})
    assert {n: p for n, p in listed.items() if not n.startswith("_")} == table
    for name in {*module.__all__} & {*table}:
        place, own = table[name]
        value = getattr(module, name)
        if place:
            assert value is getattr(importlib.import_module(f"dagrad.{place}"), own)
        else:
            assert value is sys.modules[f"{module.__name__}.{own}"]


@pytest.mark.parametrize("path", namespaces(), ids=module_name)
def test_a_name_that_there_is_not_is_an_attribute_error(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
        _ = module.unknown
    assert not hasattr(module, "unknown")


# -- families of ops --------------------------------------------------------------


def families() -> list[ModuleType]:
    """Every module of the room."""
    found = [m.name for m in pkgutil.iter_modules([str(ROOM)])]
    return [importlib.import_module(f"dagrad.ops.{name}") for name in found]


def split(table: dict[str, str]) -> dict[str, list[str]]:
    return {family: names.split() for family, names in table.items()}


def short(module: str) -> str:
    return module.rpartition(".")[2]


def test_the_table_of_types_is_right(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    """Each op type stands with the module that declares it."""
    program = """
import importlib, pkgutil, sys
from dagrad import ops
from dagrad.graphlib import opdef

class Noted(dict):
    def __setitem__(self, name, value):
        frame = sys._getframe(1)
        while frame.f_code.co_name != "<module>":
            frame = frame.f_back
        print(name, frame.f_globals["__name__"])
        super().__setitem__(name, value)

opdef._REGISTRY = Noted(opdef._REGISTRY)
for module in pkgutil.iter_modules(ops.__path__):
    importlib.import_module(f"dagrad.ops.{module.name}")
"""
    lines = run_python(program, cwd=tmp_path).splitlines()
    assert dict(line.split() for line in lines) == PLACES.types
    assert set(registered()) == {*PLACES.types}


@pytest.mark.parametrize("kind", ["OPERATORS", "NUMPY"])
def test_the_tables_of_builders_are_right(kind: str) -> None:
    found = {}
    for family in families():
        offered = getattr(family, kind, {})
        names = {n if kind == "OPERATORS" else n.__name__ for n in offered}
        if names:
            found[short(family.__name__)] = sorted(names)
    table = split(getattr(ops, kind))
    assert found == {family: sorted(names) for family, names in table.items()}


def test_unknown_ones_are_errors() -> None:
    with pytest.raises(KeyError):
        TABLE["unknown"]
    assert "unknown" not in TABLE
    assert numpy_builder(len) is None
    assert find("Unknown") is None
    with pytest.raises(dagrad.errors.MissingNameError, match="no op type 'Unknown'"):
        lookup("Unknown")


def test_loading_twice_changes_nothing() -> None:
    load("dagrad.ops.transcendental")
    before = dict(TABLE), dict(NUMPY)
    load("dagrad.ops.transcendental")
    assert (dict(TABLE), dict(NUMPY)) == before


def test_rules_that_load_later_are_there() -> None:
    for opdef in registered().values():
        if isinstance(opdef.batch, Rule):
            assert callable(opdef.batch.load())


def test_rows_that_may_run_natively_have_formulas() -> None:
    assert {*ROW_FORMULAS} == ROW_TYPES


# -- in a new process ---------------------------------------------------------------


def test_numpys_functions_find_their_builders(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = (
        "import numpy as np, dagrad as tf\n"
        "x = tf.placeholder('float64', [2, 2])\n"
        "one = np.float64(1)\n"
        "made = [np.exp(x), np.linalg.det(x), np.stack([x, x]), one + x, -x, x ** 2]\n"
        "for y in made:\n"
        "    print(y.op.type)\n"
    )
    assert run_python(program, cwd=tmp_path).split() == [
        "Exp",
        "MatrixDeterminant",
        "Pack",
        "Add",
        "Neg",
        "PowScalar",
    ]


def test_a_saved_graph_loads_the_families_that_it_names(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    graph = dagrad.Graph()
    with graph.as_default():
        x = dagrad.placeholder(dagrad.float32, [4, 4], name="x")
        v = dagrad.Variable(dagrad.ones([4, 4]), name="v")
        total = dagrad.while_loop(
            lambda i, s: i < 3, lambda i, s: (i + 1, s @ v), (dagrad.constant(0), x)
        )[1]
        dagrad.svd(total)
        dagrad.identity(dagrad.lgamma(total), name="y")
    graph.save(tmp_path / "graph")
    program = (
        "import dagrad as tf\n"
        "g = tf.Graph.load('graph')\n"
        "g.validate()\n"
        "with tf.Session(graph=g) as session:\n"
        "    session.run(tf.variables_initializer(g.get_collection('variables')))\n"
        "    print(session.run('y:0', {'x:0': [[1.0] * 4] * 4})[0, 0])\n"
    )
    found = float(run_python(program, cwd=tmp_path))
    assert found == pytest.approx(math.lgamma(64.0), rel=1e-5)


def test_an_unknown_type_in_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(dagrad.errors.MissingNameError):
        dagrad.Graph().gradient_override_map({"NoSuchOp": "Identity"})


def test_threads_may_use_names_for_the_first_time_at_once(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    program = """
import sys, threading
sys.setswitchinterval(1e-6)
import dagrad as tf
names = [n for n in tf.__all__ if n not in ("summary", "python", "contrib")]
start, failed = threading.Barrier(8), []

def work(k):
    try:
        start.wait()
        for i in range(len(names)):
            getattr(tf, names[(i * (2 * k + 1) + 37 * k) % len(names)])
        with tf.Graph().as_default():
            x = tf.Variable(float(k))
            y = tf.reduce_sum(tf.nn.relu(tf.exp(x)))
            (g,) = tf.gradients(y, [x])
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                session.run(g)
    except BaseException as error:
        failed.append(repr(error))

threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(failed)
"""
    for _ in range(3):
        assert run_python(program, cwd=tmp_path) == "[]\n"
