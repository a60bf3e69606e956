"""TensorFlow's protocol buffers: their classes, and files that hold them.

The classes are those that the package tensorboard carries, an extra; nothing of
dagrad needs them but what reads or writes TensorFlow's files.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..graphlib.errors import GraphError

__all__ = ["is_graph_def", "message", "parse"]

#: Where tensorboard has each class.
_PLACES = {
    "AttrValue": "attr_value_pb2",
    "GraphDef": "graph_pb2",
    "MetaGraphDef": "meta_graph_pb2",
    "NodeDef": "node_def_pb2",
}


def message(name: str) -> Any:
    """One of TensorFlow's message classes.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """
    try:
        module = importlib.import_module(f"tensorboard.compat.proto.{_PLACES[name]}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "TensorFlow's graphs need the messages of TensorBoard: "
            'pip install "dagrad[tensorboard]"'
        ) from error
    return getattr(module, name)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return message(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_graph_def(value: Any) -> bool:
    """Whether ``value`` is a GraphDef, be it tensorboard's or TensorFlow's own."""
    described = getattr(value, "DESCRIPTOR", None)
    return getattr(described, "name", None) == "GraphDef"


def parse(path: Path) -> Any:
    """The GraphDef in a file: binary, as text in one that ends in ``.pbtxt``, or in
    the MetaGraphDef of one that ends in ``.meta``.

    Raises:
        GraphError: the file holds something else, or tensorboard is not installed.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    suffix = path.suffix.lower()
    kind = "MetaGraphDef" if suffix == ".meta" else "GraphDef"
    try:
        made = message(kind)()
    except ModuleNotFoundError as error:
        raise GraphError(f"{path}: {error}") from None
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError

    try:
        if suffix == ".pbtxt":
            text_format.Parse(content.decode("utf-8"), made)
        else:
            made.ParseFromString(content)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise GraphError(f"{path} is no {kind}, or not a whole one: {said}") from None
    graph_def = made.graph_def if suffix == ".meta" else made
    if not graph_def.node:
        raise GraphError(
            f"{path} holds no nodes of a GraphDef (SavedModels, checkpoints and other "
            "files of TensorFlow are not read)"
        )
    return graph_def
