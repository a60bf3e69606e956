"""The command line: pictures, plans and tables of saved graphs and TensorFlow's.

::

    dagrad draw model.json -o graph.svg
    dagrad explore model.json -o graph.html --feed images=64,28,28,1 --fetch train
    dagrad plan model.json --fetch loss --feed images=64,28,28,1
    dagrad summary model.json --depth 2

A model is what ``graph.save`` wrote, or a TensorFlow graph in a ``.pb``, ``.pbtxt`` or
``.meta`` file.

Exit codes: 0, done; 1, it could not be done, with the reason on standard error;
2, the command was not understood.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .graphlib.errors import DagradError, GraphError
from .graphlib.graph import Graph
from .graphlib.opdef import Spec
from .graphlib.operation import Operation
from .graphlib.shapes import Dims, is_static
from .graphlib.tensor import Tensor
from .graphlib.traversal import ancestors

__all__ = ["main"]

_TENSORFLOW = (".pb", ".pbtxt", ".meta")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's); return the exit code."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough (``dagrad plan ... | head``): nothing to complain of,
        # now or when Python flushes at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except DagradError as error:
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    print(f"dagrad: {message}", file=sys.stderr)
    return 1


# -- arguments -----------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = argparse.ArgumentParser(
        prog="dagrad",
        description="Pictures, plans and tables of saved graphs.",
        epilog="A graph is saved with graph.save('model.json'); a frozen graph of "
        "TensorFlow is a .pb file.",
    )
    parser.add_argument("--version", action="version", version=f"dagrad {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _draw_parser(commands)
    _explore_parser(commands)
    _plan_parser(commands)
    _summary_parser(commands)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", type=Path, help="a saved graph, as model.json")
    parser.add_argument(
        "--fetch",
        action="append",
        default=[],
        metavar="NAME",
        help="an operation or tensor to run; may be repeated",
    )
    return parser


def _feeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--feed",
        action="append",
        default=[],
        metavar="NAME=SHAPE",
        help="a tensor that is fed and its shape, as images=64,28,28,1 (nothing "
        "after = for a scalar); may be repeated",
    )


def _draw_parser(commands: Any) -> None:
    parser = _command(commands, "draw", _draw, "draw a graph as SVG, PNG, DOT or JSON")
    _feeds(parser)
    parser.add_argument("-o", "--output", type=Path, help="a file (default: MODEL.svg)")
    parser.add_argument("--depth", type=int, help="levels of scopes to open")
    parser.add_argument("--max-nodes", type=int, help="most boxes (default: 60)")
    parser.add_argument(
        "--expand", action="append", metavar="SCOPE", help="open it; may be repeated"
    )
    parser.add_argument("--focus", action="append", metavar="NAME", help="draw near it")
    parser.add_argument("--hops", type=int, help="how far from the focus (default: 2)")
    parser.add_argument(
        "--color",
        choices=("order", "memory", "flops", "device"),
        help="what the colours say; with --fetch and --feed as a run would have it",
    )
    parser.add_argument("--layout", choices=("scopes", "mirror"))
    parser.add_argument("--theme", choices=("light", "dark"))
    parser.add_argument("--direction", choices=("TB", "LR", "BT", "RL"))
    parser.add_argument("--title", help="a line above the drawing")


def _explore_parser(commands: Any) -> None:
    parser = _command(commands, "explore", _explore, "write an interactive page")
    _feeds(parser)
    parser.add_argument("-o", "--output", type=Path, help="default: MODEL.html")
    parser.add_argument("--title", help="the title of the page")
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def _plan_parser(commands: Any) -> None:
    parser = _command(commands, "plan", _plan, "print what a run would do")
    _feeds(parser)
    parser.add_argument("--memory-limit", metavar="SIZE", help="a budget, as 200MB")
    parser.add_argument("--explain", action="store_true", help="the rewrites instead")
    parser.add_argument("-o", "--output", type=Path, help="draw its memory as SVG too")


def _summary_parser(commands: Any) -> None:
    parser = _command(
        commands, "summary", _summary, "print a table of scopes, parameters and flops"
    )
    _feeds(parser)
    parser.add_argument(
        "--depth", type=int, default=1, help="levels to open (default: 1)"
    )
    parser.add_argument("--max-rows", type=int, default=400, help="most lines")


# -- what is read --------------------------------------------------------------


def _load(path: Path) -> Graph:
    """The graph in a file.

    Raises:
        GraphError: the file holds something else, or a graph that cannot be read.
        OSError: it cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix in _TENSORFLOW:
        from ._graphdef.reading import read_graph

        return read_graph(path)
    if suffix == ".onnx" and path.exists():
        raise GraphError(
            f"{path} is an ONNX model, and this version of dagrad has no importer for "
            "it: build the graph in Python and save it with graph.save('model.json')"
        )
    return Graph.load(path)


def _element(graph: Graph, name: str) -> Any:
    return graph.as_graph_element(name)


def _target(graph: Graph, names: Sequence[str]) -> Any:
    """The elements of these names, or the whole graph."""
    return [_element(graph, name) for name in names] or graph


def _shapes(graph: Graph, feeds: Sequence[str]) -> dict[Tensor, tuple[int, ...]]:
    """What ``--feed`` says, by tensor.

    Raises:
        GraphError: it is not understood, or there is no such tensor.
    """
    found = {}
    for text in feeds:
        name, equals, shape = text.partition("=")
        try:
            dims = tuple(
                int(d) for d in shape.replace("x", ",").split(",") if d.strip()
            )
        except ValueError:
            dims = (-1,)
        if not equals or any(d < 0 for d in dims):
            raise GraphError(f"--feed {text}: write NAME=SHAPE, as images=64,28,28,1")
        tensor = _element(graph, name if ":" in name else f"{name}:0")
        known = tensor.dims
        fits = known is None or (
            len(known) == len(dims)
            and all(k is None or k == d for k, d in zip(known, dims))
        )
        if not fits:
            raise GraphError(f"--feed {text}: {tensor.op.describe()} has shape {known}")
        found[tensor] = dims
    return found


def _ends(graph: Graph) -> list[str]:
    """Operations that nothing reads, the last first: what one may want to run."""
    read = {t.op for op in graph.operations for t in op.inputs}
    read |= {c for op in graph.operations for c in op.control_inputs}
    ends = [op for op in graph.operations if op not in read]
    return [op.name for op in reversed(ends) if not _is_read(op)]


def _is_read(op: Operation) -> bool:
    """Whether ``op`` is a variable, a constant, or only hands on one."""
    if op.type == "Identity":
        op = op.inputs[0].op
    return op.opdef.effect in ("variable", "constant")


def _plan_of(options: argparse.Namespace, graph: Graph) -> Any:
    """The plan that the options ask for.

    Raises:
        GraphError: nothing to run was named, or a shape is not known.
    """
    from .runtime.config import ConfigProto
    from .runtime.session import Session

    if not options.fetch:
        ends = ", ".join(_ends(graph)[:8])
        raise GraphError(f"name what to run with --fetch, for instance one of: {ends}")
    fetches = [_element(graph, name) for name in options.fetch]
    shapes = _shapes(graph, options.feed)
    missing = []
    needed = ancestors(f.op if isinstance(f, Tensor) else f for f in fetches)
    _refuse_opaque(needed)
    for op in needed:
        if op.opdef.effect == "input" and op.outputs[0] not in shapes:
            dims = op.outputs[0].dims
            if is_static(dims):
                shapes[op.outputs[0]] = dims
            else:
                missing.append(f"--feed {op.name}={_ask(dims)}")
    if missing:
        raise GraphError(f"say which shapes are fed: {' '.join(missing)}")
    config = None
    if getattr(options, "memory_limit", None):
        config = ConfigProto(memory_limit=options.memory_limit)
    # A plan asks for nothing but the shapes.
    feeds = {t: np.empty(dims, t.dtype.dtype) for t, dims in shapes.items()}
    with Session(graph=graph, config=config) as session:
        return session.plan(fetches, feeds)


def _refuse_opaque(ops: Sequence[Operation]) -> None:
    """Raise where operations are needed that can only be drawn.

    Raises:
        GraphError: there are some.
    """
    found = [op for op in ops if op.opdef.effect == "opaque"]
    # What reads one of them could often be built but for that.
    among = set(found)
    first = [op for op in found if not any(t.op in among for t in op.inputs)]
    if first:
        said = [f"{op.describe()} ({op.get_attr('not built')})" for op in first[:3]]
        more = f" and {len(first) - 3} more" if len(first) > 3 else ""
        raise GraphError(
            f"this can be drawn but not planned: it needs {', '.join(said)}{more}; "
            "--fetch what needs none of them"
        )


def _ask(dims: Dims) -> str:
    return (
        "..." if dims is None else ",".join("N" if d is None else str(d) for d in dims)
    )


# -- the commands --------------------------------------------------------------


def _draw(options: argparse.Namespace) -> None:
    from . import viz

    graph = _load(options.model)
    output = options.output or options.model.with_suffix(".svg")
    chosen = "depth max_nodes expand focus hops direction title color layout theme"
    given = {name: getattr(options, name) for name in chosen.split()}
    kept = {name: value for name, value in given.items() if value is not None}
    if options.feed:
        kept["plan"] = _plan_of(options, graph)
    viz.render(_target(graph, options.fetch), output, **kept)
    print(output)


def _explore(options: argparse.Namespace) -> None:
    from . import viz

    graph = _load(options.model)
    output = options.output or options.model.with_suffix(".html")
    plan = _plan_of(options, graph) if options.fetch or options.feed else None
    title = options.title or options.model.name
    print(viz.explore(graph, plan, output, title=title))
    if options.open:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())


def _plan(options: argparse.Namespace) -> None:
    from . import viz

    plan = _plan_of(options, _load(options.model))
    print(plan.explain() if options.explain else plan)
    if options.output is not None:
        viz.render(plan, options.output, title=options.model.name)
        print(options.output)


def _summary(options: argparse.Namespace) -> None:
    from .viz.summary import summary

    graph = _load(options.model)
    shapes = {
        t: Spec(t.dtype, dims) for t, dims in _shapes(graph, options.feed).items()
    }
    target = _target(graph, options.fetch)
    text = summary(
        target, depth=options.depth, shapes=shapes, max_rows=options.max_rows
    )
    print(text, end="")
