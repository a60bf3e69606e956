"""Tensor: a symbolic value, the output of an operation.  It holds no data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .dtypes import DType, as_dtype
from .errors import CopyError, DagradError, ShapeError
from .operators import TABLE, numpy_builder
from .shapes import Dims, TensorShape, as_dims, merge, text

if TYPE_CHECKING:
    from .graph import Graph
    from .operation import Operation

__all__ = ["Tensor"]


class Tensor:
    """The ``index``-th output of ``op``.

    Attributes:
        op: the operation that makes it.
        index: which of the operation's outputs it is.
        dtype: the element type.
        dims: the static shape as a tuple (None: unknown dimension), or None.
        value: what is known of the content before a run (see ``opdef.Spec``).
    """

    __slots__ = ("__weakref__", "_consumers", "dims", "dtype", "index", "op", "value")

    # NumPy must let `array + tensor` reach __radd__ through __array_ufunc__.
    __array_priority__ = 100

    def __init__(self, op: Operation, index: int, dtype: DType, dims: Dims) -> None:
        self.op = op
        self.index = index
        self.dtype = dtype
        self.dims = dims
        self.value: Any = None
        # One reader, as most tensors have, needs no list.
        self._consumers: list[Operation] | Operation | None = None

    # -- reading -------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The graph that holds this tensor."""
        return self.op.graph

    @property
    def name(self) -> str:
        """``op name:index``."""
        return f"{self.op.name}:{self.index}"

    @property
    def device(self) -> str:
        """The device recorded for the operation (never needed to run)."""
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        """The static shape."""
        return TensorShape(self.dims)

    def get_shape(self) -> TensorShape:
        """The static shape (TF1's spelling)."""
        return TensorShape(self.dims)

    @property
    def ndim(self) -> int | None:
        """The rank, or None where it is unknown."""
        return None if self.dims is None else len(self.dims)

    @property
    def T(self) -> Tensor:
        """The transpose (all axes reversed, as NumPy's ``.T``)."""
        return TABLE["transpose"](self)  # type: ignore[no-any-return]

    def set_shape(self, shape: Any) -> None:
        """Merge what is known of the shape with ``shape``, in place.

        Raises:
            ShapeError: the two cannot hold of one tensor.
        """
        try:
            self.dims = merge(self.dims, as_dims(shape))
        except ShapeError:
            raise ShapeError(
                f"set_shape: {self.op.describe()} has shape {text(self.dims)}, "
                f"which is not compatible with {text(as_dims(shape))}",
                self.op,
            ) from None

    def consumers(self) -> list[Operation]:
        """The operations that read this tensor, in order of creation."""
        readers = self._consumers
        if readers is None:
            return []
        return list(readers) if isinstance(readers, list) else [readers]

    @property
    def value_index(self) -> int:
        """The index among the operation's outputs."""
        return self.index

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value in ``session`` (default: the default session)."""
        from .stacks import default_session

        return default_session(session, "Tensor.eval").run(self, feed_dict)

    # -- what a symbolic value cannot do -------------------------------------

    def __bool__(self) -> bool:
        raise DagradTypeError(
            f"the truth value of {self!r} is not known while the graph is built: "
            "use dagrad.where or dagrad.cond for `if` (dagrad.while_loop for `while`, "
            "logical_and, logical_or, logical_not for `and`, `or`, `not`), `is not "
            "None` to test for None, or session.run(tensor) for the value",
            self.op,
        )

    def __iter__(self) -> Any:
        if self.dims is None or not self.dims or self.dims[0] is None:
            raise DagradTypeError(
                f"cannot iterate over {self!r}: its first dimension is not known; "
                "use dagrad.unstack(t, num=n), or t[i]",
                self.op,
            )
        return iter(TABLE["unstack"](self))

    def __len__(self) -> int:
        if self.dims and self.dims[0] is not None:
            return self.dims[0]
        raise DagradTypeError(
            f"len() of {self!r} is not known while the graph is built: "
            "use dagrad.shape(t)[0]",
            self.op,
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise DagradTypeError(
            f"{self!r} is symbolic and has no array: use session.run(tensor), "
            "or a dagrad function in place of the NumPy one",
            self.op,
        )

    def __copy__(self) -> Tensor:
        return self  # like a string: it never changes, and its identity is its key

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self

    def __reduce__(self) -> Any:
        raise CopyError(
            f"{self!r} is a place in a graph and cannot be pickled: pickle "
            "session.run(tensor), or save the graph with graph.save(path)",
            self.op,
        )

    def __float__(self) -> float:
        raise self._no_number("float")

    def __int__(self) -> int:
        raise self._no_number("int")

    def __index__(self) -> int:
        # A tensor whose value the graph knows is still symbolic: say so early.
        raise self._no_number("an index")

    def _no_number(self, what: str) -> DagradTypeError:
        return DagradTypeError(
            f"{self!r} is symbolic and cannot be used as {what}: "
            "session.run(tensor) gives its value",
            self.op,
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        raise DagradTypeError(
            f"{self!r} cannot be assigned to: build a new tensor with "
            "dagrad.where, dagrad.tensor_scatter_update or dagrad.concat",
            self.op,
        )

    # -- NumPy functions build nodes -----------------------------------------

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        builder = numpy_builder(ufunc)
        if method != "__call__" or kwargs or builder is None:
            raise DagradTypeError(
                f"np.{ufunc.__name__} (method {method!r}) is not offered on "
                f"{self!r}: use a dagrad function, or session.run for the value",
                self.op,
            )
        return builder(*inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        builder = numpy_builder(func)
        if builder is None:
            raise DagradTypeError(
                f"np.{func.__name__} is not offered on {self!r}: use a dagrad "
                "function, or session.run for the value",
                self.op,
            )
        return builder(*args, **kwargs)

    # -- operators -----------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return TABLE["add"](self, other)  # type: ignore[no-any-return]

    def __radd__(self, other: Any) -> Tensor:
        return TABLE["add"](other, self)  # type: ignore[no-any-return]

    def __sub__(self, other: Any) -> Tensor:
        return TABLE["sub"](self, other)  # type: ignore[no-any-return]

    def __rsub__(self, other: Any) -> Tensor:
        return TABLE["sub"](other, self)  # type: ignore[no-any-return]

    def __mul__(self, other: Any) -> Tensor:
        return TABLE["mul"](self, other)  # type: ignore[no-any-return]

    def __rmul__(self, other: Any) -> Tensor:
        return TABLE["mul"](other, self)  # type: ignore[no-any-return]

    def __truediv__(self, other: Any) -> Tensor:
        return TABLE["truediv"](self, other)  # type: ignore[no-any-return]

    def __rtruediv__(self, other: Any) -> Tensor:
        return TABLE["truediv"](other, self)  # type: ignore[no-any-return]

    def __floordiv__(self, other: Any) -> Tensor:
        return TABLE["floordiv"](self, other)  # type: ignore[no-any-return]

    def __rfloordiv__(self, other: Any) -> Tensor:
        return TABLE["floordiv"](other, self)  # type: ignore[no-any-return]

    def __mod__(self, other: Any) -> Tensor:
        return TABLE["mod"](self, other)  # type: ignore[no-any-return]

    def __rmod__(self, other: Any) -> Tensor:
        return TABLE["mod"](other, self)  # type: ignore[no-any-return]

    def __pow__(self, other: Any) -> Tensor:
        return TABLE["pow"](self, other)  # type: ignore[no-any-return]

    def __rpow__(self, other: Any) -> Tensor:
        return TABLE["pow"](other, self)  # type: ignore[no-any-return]

    def __matmul__(self, other: Any) -> Tensor:
        return TABLE["matmul"](self, other, name="matmul")  # type: ignore[no-any-return]

    def __rmatmul__(self, other: Any) -> Tensor:
        return TABLE["matmul"](other, self, name="matmul")  # type: ignore[no-any-return]

    def __neg__(self) -> Tensor:
        return TABLE["neg"](self)  # type: ignore[no-any-return]

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return TABLE["abs"](self)  # type: ignore[no-any-return]

    def __invert__(self) -> Tensor:
        return TABLE["invert"](self)  # type: ignore[no-any-return]

    def __and__(self, other: Any) -> Tensor:
        return TABLE["and"](self, other)  # type: ignore[no-any-return]

    def __rand__(self, other: Any) -> Tensor:
        return TABLE["and"](other, self)  # type: ignore[no-any-return]

    def __or__(self, other: Any) -> Tensor:
        return TABLE["or"](self, other)  # type: ignore[no-any-return]

    def __ror__(self, other: Any) -> Tensor:
        return TABLE["or"](other, self)  # type: ignore[no-any-return]

    def __xor__(self, other: Any) -> Tensor:
        return TABLE["xor"](self, other)  # type: ignore[no-any-return]

    def __rxor__(self, other: Any) -> Tensor:
        return TABLE["xor"](other, self)  # type: ignore[no-any-return]

    def __lt__(self, other: Any) -> Tensor:
        return TABLE["less"](self, other)  # type: ignore[no-any-return]

    def __le__(self, other: Any) -> Tensor:
        return TABLE["less_equal"](self, other)  # type: ignore[no-any-return]

    def __gt__(self, other: Any) -> Tensor:
        return TABLE["greater"](self, other)  # type: ignore[no-any-return]

    def __ge__(self, other: Any) -> Tensor:
        return TABLE["greater_equal"](self, other)  # type: ignore[no-any-return]

    # `==` stays identity (tensors are dict keys and list members, as in TF1);
    # dagrad.equal builds the elementwise comparison.

    def __getitem__(self, key: Any) -> Tensor:
        return TABLE["getitem"](self, key)  # type: ignore[no-any-return]

    def _repr_svg_(self) -> str:
        return TABLE["draw"](self)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return (
            f"<dagrad.Tensor {self.name!r} shape={text(self.dims)} "
            f"dtype={self.dtype.name}>"
        )


class DagradTypeError(DagradError, TypeError):
    """A symbolic tensor was used where Python needs a value, or no name as one."""


def as_name(name: Any) -> str:
    """``name``; raises DagradTypeError where it is no string."""
    if not isinstance(name, str):
        raise DagradTypeError(f"a name is a string, not {name!r}")
    return name


def as_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """``value`` as a tensor of the current graph.

    Tensors pass through; variables are read; arrays, numbers, strings and
    nested lists become constants; lists that hold tensors are stacked.

    Raises:
        DTypeError: ``value`` is a tensor of another dtype, or cannot be of
            ``dtype``.
    """
    if type(value) is Tensor or isinstance(value, Tensor):
        tensor = value
    elif hasattr(value, "_as_tensor"):
        tensor = value._as_tensor()
    elif isinstance(value, (list, tuple)) and _holds_tensor(value):
        if dtype is None:
            dtype = _tensor_dtype(value)
        return TABLE["stack"](  # type: ignore[no-any-return]
            [as_tensor(v, dtype) for v in value], name=name or "packed"
        )
    else:
        return TABLE["constant"](value, dtype, name=name)  # type: ignore[no-any-return]
    if dtype is not None and tensor.dtype is not as_dtype(dtype):
        from .errors import DTypeError

        raise DTypeError(
            f"{tensor.op.describe()} has dtype {tensor.dtype.name}, but "
            f"{as_dtype(dtype).name} is needed here: use dagrad.cast",
            tensor.op,
        )
    return tensor


def _holds_tensor(items: Sequence[Any]) -> bool:
    stack = list(items)
    while stack:
        v = stack.pop()
        if isinstance(v, Tensor) or hasattr(v, "_as_tensor"):
            return True
        if isinstance(v, (list, tuple)):
            stack.extend(v)
    return False


def _tensor_dtype(items: Sequence[Any]) -> DType | None:
    """The dtype of the first tensor in nested lists: scalars beside it follow."""
    stack = list(reversed(items))
    while stack:
        v = stack.pop()
        if isinstance(v, Tensor) or hasattr(v, "_as_tensor"):
            return v.dtype  # type: ignore[no-any-return]
        if isinstance(v, (list, tuple)):
            stack.extend(reversed(v))
    return None


def known_dims(t: Any) -> Dims:
    """A size vector (1-D integer tensor or Spec) as dims, as far as it is known.

    None where not even its length is known.
    """
    value = t.value
    if isinstance(value, tuple):
        return tuple(value)
    if value is not None:
        return tuple(int(v) for v in np.asarray(value).reshape(-1))
    dims: Dims = t.dims
    if dims is not None and len(dims) == 1 and dims[0] is not None:
        return (None,) * dims[0]
    return None
