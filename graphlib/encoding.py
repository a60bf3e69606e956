"""Values of a graph as JSON and pooled arrays, and back: data, never code.

Plain JSON stands for None, bool, int, str and finite floats; an array stands for
a tuple; everything else is an object with one key that names the kind.  Arrays
go to one pool per dtype, so a graph of many small constants has few members.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .dtypes import DTYPES, DType, as_dtype
from .graph import Graph
from .operation import Operation
from .subgraph import Body, Subgraph
from .tensor import Tensor

__all__ = ["Reader", "Writer", "read_pools"]


class Writer:
    """Attribute values as JSON; arrays go to the pools."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.pools: dict[str, list[Any]] = {}
        self.sizes: dict[str, int] = {}
        #: A graph and its bodies, by number.
        self.numbers = {g: i for i, g in enumerate(graphs)}

    def place(self, element: Tensor | Operation) -> Any:
        """How a file names a tensor or operation: in a body, with its number."""
        number = self.numbers.get(element.graph)
        if number is None:
            raise TypeError(f"{element!r} of another graph")
        return [number, element.name] if number else element.name

    def encode(self, value: Any) -> Any:
        """``value`` as JSON; raises TypeError for what a file cannot hold."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (tuple, list)):
            items = [self.encode(v) for v in value]
            return items if isinstance(value, tuple) else {"list": items}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value))}
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, complex):
            return {"complex": [self.encode(value.real), self.encode(value.imag)]}
        if isinstance(value, DType):
            return {"dtype": value.name}
        if isinstance(value, bytes):
            return {"bytes": value.decode("latin-1")}
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return {"slice": [self.encode(p) for p in parts]}
        if isinstance(value, Tensor):
            return {"tensor": self.place(value)}
        if isinstance(value, Operation):
            return {"operation": self.place(value)}
        if isinstance(value, Body):
            outputs = [None if t is None else t.name for t in value.outputs]
            return {
                "body": [
                    self.numbers[value.graph],
                    [t.name for t in value.inputs],
                    outputs,
                ]
            }
        if isinstance(value, dict):
            pairs = [[self.encode(k), self.encode(v)] for k, v in value.items()]
            return {"dict": pairs}
        raise TypeError(f"a {type(value).__name__}")

    def _array(self, array: Any) -> Any:
        shape = list(array.shape)
        if array.dtype.kind in "OSU":
            # Latin-1 maps bytes to text and back; a str is marked by its list.
            items = [
                v.decode("latin-1") if isinstance(v, bytes) else [_str(v)]
                for v in array.reshape(-1).tolist()
            ]
            return {"strings": items, "shape": shape}
        name = as_dtype(array.dtype).name
        start = self.sizes.get(name, 0)
        self.pools.setdefault(name, []).append(array.reshape(-1))
        self.sizes[name] = start + array.size
        return {"array": name, "start": start, "shape": shape}

    def archive(self) -> bytes:
        """The pools as an npz, stored without compression and without dates."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(self.pools):
                pool = np.concatenate(self.pools[name])
                little = pool.astype(pool.dtype.newbyteorder("<"), copy=False)
                member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                member.create_system = 3
                member.external_attr = 0o644 << 16
                with archive.open(member, "w", force_zip64=True) as out:
                    np.lib.format.write_array(
                        out, little, version=(1, 0), allow_pickle=False
                    )
        return buffer.getvalue()


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an array that holds a {type(value).__name__}")
    return value


class Reader:
    """The inverse of :class:`Writer`."""

    def __init__(
        self, pools: Mapping[str, Any], find: Callable[[int, str], Graph]
    ) -> None:
        self.pools = pools
        #: find(number, name): the graph of that number, with what ``name`` names.
        self.find = find

    def tensor(self, place: Any) -> Tensor:
        """The tensor that :meth:`Writer.place` wrote."""
        number, name = place if isinstance(place, list) else (0, place)
        return self.find(number, name).get_tensor_by_name(name)

    def operation(self, place: Any) -> Operation:
        """The operation that :meth:`Writer.place` wrote."""
        number, name = place if isinstance(place, list) else (0, place)
        return self.find(number, name).get_operation_by_name(name)

    def _body(self, held: Any) -> Body:
        number, inputs, outputs = held
        given = tuple([self.tensor([number, name]) for name in inputs])
        made = [None if t is None else self.tensor([number, t]) for t in outputs]
        graph = self.find(number, "")
        if not isinstance(graph, Subgraph):
            raise ValueError(f"graph {number} is no body")
        return Body(graph, given, tuple(made))

    def decode(self, value: Any) -> Any:
        """The value that JSON stands for; raises ValueError where it is none."""
        if isinstance(value, list):
            return tuple([self.decode(v) for v in value])
        if not isinstance(value, dict):
            return value
        if "array" in value:
            return self._array(value)
        if "strings" in value:
            items = [
                v.encode("latin-1") if isinstance(v, str) else _str(v[0])
                for v in value["strings"]
            ]
            flat = np.empty(len(items), dtype=object)
            flat[:] = items
            return _frozen(flat.reshape(_shape(value)))
        if len(value) != 1:
            raise ValueError(f"no value is written as {sorted(value)}")
        ((kind, held),) = value.items()
        if kind == "dtype":
            return DTYPES[held]
        if kind == "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[held]
        if kind == "complex":
            return complex(self.decode(held[0]), self.decode(held[1]))
        if kind == "bytes":
            return held.encode("latin-1")
        if kind == "scalar":
            return self.decode(held)[()]
        if kind == "slice":
            return slice(*self.decode(held))
        if kind == "list":
            return list(self.decode(held))
        if kind == "dict":
            return {self.decode(k): self.decode(v) for k, v in held}
        if kind == "tensor":
            return self.tensor(held)
        if kind == "operation":
            return self.operation(held)
        if kind == "variable":
            op = self.operation(held)
            return op.graph._variables[op]
        if kind == "body":
            return self._body(held)
        raise ValueError(f"no value is of kind {kind!r}")

    def _array(self, value: Any) -> Any:
        shape = _shape(value)
        count = math.prod(shape)
        start = value["start"]
        pool = self.pools[value["array"]]
        if not isinstance(start, int) or not 0 <= start <= pool.size - count:
            raise ValueError(f"array at {start!r} lies outside its pool")
        return _frozen(pool[start : start + count].reshape(shape).copy())


def _shape(value: Any) -> tuple[int, ...]:
    shape = tuple(value["shape"])
    if not all(type(d) is int and d >= 0 for d in shape):
        raise ValueError(f"{shape} is no shape")
    return shape


def _frozen(array: Any) -> Any:
    array.setflags(write=False)
    return array


def read_pools(content: bytes) -> dict[str, Any]:
    """The pools in an npz; raises ValueError where it holds anything else."""
    pools = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            for name in archive.files:
                pool = archive[name]
                wanted = DTYPES[name].dtype
                pools[name] = pool.astype(wanted, copy=False).reshape(-1)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"arrays: {error}") from None
    return pools
