"""TensorArray: an array that a program fills and reads row by row.

It is a value, as everything in a graph: a write gives a new TensorArray, and the
old one still holds what it held.  A plan takes the memory over where nothing reads
the old one any more, so that a loop's writes cost no more than their rows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, as_dtype, int32
from ..graphlib.errors import DTypeError, GradientError, GraphError, ShapeError
from ..graphlib.shapes import (
    Dims,
    TensorShape,
    as_dims,
    compatible,
    is_static,
    merge,
    text,
)
from ..graphlib.source import entry
from ..graphlib.tensor import Tensor, as_name, as_tensor
from ._build import create, scope
from ._loop import join
from ._static import integers, known_int, sizes, try_ints
from .core import cast, identity, shape
from .creation import range as range_
from .creation import zeros
from .elementwise import add
from .extremes import reduce_max
from .gather import GATHER
from .grouping import no_op
from .indexing import getitem
from .joining import concat
from .reduction import reduce_prod
from .rounding import maximum
from .rows import (
    INDEX_BELOW,
    JOIN_ROWS,
    SIZED_ROWS,
    SPLIT_ROWS,
    UNSHAPED,
    set_rows,
)
from .views import reshape

__all__ = ["TensorArray"]


class _Element:
    """What is known of the shape of an array's elements.

    All that come from one TensorArray share it, so that what a loop's body writes
    is known around the loop.

    Attributes:
        declared: the shape that the program gave.
        written: what the shapes of all writes have in common; "none" before any.
        where: the line of the first write.
    """

    def __init__(self, declared: Dims, infer: bool) -> None:
        self.declared = declared
        self.infer = infer
        self.written: Dims | str = "none"
        self.where = ""

    @property
    def dims(self) -> Dims:
        """The shape, as far as it is known."""
        if isinstance(self.written, str):
            return self.declared
        return merge(self.declared, self.written)

    def take(self, dims: Dims, t: Tensor) -> None:
        """Take note of a write; raises ShapeError where the array is not for it."""
        if not compatible(self.declared, dims):
            raise ShapeError(
                f"{entry()}an element of shape {text(dims)} ({t.op.defined_at()}), but "
                f"element_shape is {text(self.declared)}",
                t.op,
            )
        if isinstance(self.written, str):
            self.written, self.where = dims, t.op.defined_at()
            return
        if self.infer and not compatible(self.written, dims):
            raise ShapeError(
                f"{entry()}an element of shape {text(dims)} ({t.op.defined_at()}), but "
                f"one of shape {text(self.written)} was written before ({self.where}): "
                "the elements of a TensorArray have one shape",
                t.op,
            )
        self.written = join(self.written, dims)


class TensorArray:
    """An array of tensors of one dtype and shape, written and read by index.

    A TensorArray is a loop variable of ``while_loop`` like any other, alone or in
    a nesting; a body may also read one from outside.  Each write returns a new
    TensorArray, which is to be used from then on.

    Args:
        dtype: of the elements.
        size: their number: an int or an integer scalar.
        dynamic_size: whether a write past the end makes the array longer.
        clear_after_read: accepted for TF1 programs: an element may be read as
            often as one likes, and its memory lives as long as it is needed.
        tensor_array_name: a name for the operations (``name`` wins).
        handle, flow: of another TensorArray, to have it again.
        infer_shape: whether writes of different shapes are an error at once.
        element_shape: of the elements, as far as it is known.
        colocate_with_first_write_call: accepted for TF1 programs.
        name: a name for the operations.

    Raises:
        ValueError: neither a size nor a handle, or both.
        DTypeError, ShapeError: a size that is no integer scalar.

    An element that was never written is zero.  One that is written twice has the
    last value, where TF1 raises.  An index out of range raises
    InvalidArgumentError in the run.  Elements have one shape, also without
    ``infer_shape``; only those that ``split`` makes may differ in their first size.

    Gradient: the cotangent of an element that is written is that row of the
        array's cotangent; the cotangent of an element that is read is added to its
        row.  Both modes, to any order; nothing is kept of the array itself.

    Cost: of a row for each read and each write in a loop (of the whole array for
        each write with ``dynamic_size``).

    Example:
        >>> import dagrad as tf
        >>> squares = tf.TensorArray(tf.float32, size=4)
        >>> x = tf.constant(3.0)
        >>> step = lambda i, ta: (i + 1, ta.write(i, x * tf.to_float(i)))
        >>> _, squares = tf.while_loop(lambda i, ta: i < 4, step, [0, squares])
        >>> y = squares.stack()
        >>> with tf.Session() as session:
        ...     print(session.run([y, tf.gradients(y, x)[0]]))
        [array([0., 3., 6., 9.], dtype=float32), np.float32(6.0)]
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: Any = None,
        clear_after_read: Any = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self._dtype = as_dtype(dtype)
        self._name = as_name(name or tensor_array_name or "TensorArray")
        self._buffer: Tensor | None = None
        self._count: Tensor | None = None
        self._lengths: Tensor | None = None
        self._blank: tuple[Dims, Tensor] | None = None
        if handle is not None:
            self._take_handle(handle, flow, size)
            return
        if size is None:
            raise ValueError(f"{entry()}a TensorArray needs a size")
        if flow is not None:
            raise ValueError(f"{entry()}flow belongs to a handle: give both")
        self._size = _size(size)
        self._dynamic = bool(dynamic_size)
        self._element = _Element(as_dims(element_shape), bool(infer_shape))

    def _take_handle(self, handle: Any, flow: Any, size: Any) -> None:
        if not isinstance(handle, TensorArray):
            raise GraphError(
                f"{entry()}handle must be the handle of a TensorArray, not {handle!r}"
            )
        if size is not None:
            raise ValueError(f"{entry()}give a handle or a size, not both")
        if handle._dtype is not self._dtype:
            raise DTypeError(
                f"{entry()}the handle is of a TensorArray of {handle._dtype.name}, not "
                f"{self._dtype.name}"
            )
        vars(self).update(vars(handle))
        if flow is not None:
            self._buffer = as_tensor(flow, self._dtype)

    def __repr__(self) -> str:
        return (
            f"<dagrad.TensorArray {self._name!r} dtype={self._dtype.name} "
            f"element_shape={text(self._element.dims)}>"
        )

    def _as_tensor(self) -> Tensor:
        raise DTypeError(
            f"{entry()}{self!r} is no tensor: take its stack(), or read an element"
        )

    # -- what loops see of it ------------------------------------------------------

    def _parts(self) -> list[Tensor]:
        """The tensors that it is made of."""
        parts = [self._array()]
        if self._dynamic:
            parts.append(self._size if self._count is None else self._count)
        if self._lengths is not None:
            parts.append(self._lengths)
        return parts

    def _from_parts(self, parts: Sequence[Tensor]) -> TensorArray:
        """This TensorArray with other tensors in their place."""
        rest = list(parts)
        made = copy.copy(self)
        made._blank = None
        made._buffer = rest.pop(0)
        if self._dynamic:
            made._count = rest.pop(0)
        if self._lengths is not None:
            made._lengths = rest.pop(0)
        return made

    def _with(self, buffer: Tensor, count: Tensor | None = None) -> TensorArray:
        made = copy.copy(self)
        made._blank = None
        made._buffer = buffer
        made._count = count
        return made

    def _array(self) -> Tensor:
        """The buffer: where nothing was written yet, zeros or empty rows."""
        if self._buffer is not None:
            return self._buffer
        element = self._element.dims
        if self._blank is not None and self._blank[0] == element:
            return self._blank[1]
        # Not in a loop's body that is being built: it may be asked for again later.
        with self._size.op.graph.as_innermost(), scope(None, self._name):
            if is_static(element):
                known = try_ints(self._size, "size")
                first = self._size if known is None else int(known)
                made = zeros([first, *element], self._dtype)
            else:
                attrs = {"dtype": self._dtype, "element": element}
                made = create(UNSHAPED, (self._size,), attrs)
        self._blank = element, made
        return made

    # -- properties ----------------------------------------------------------------

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self._dtype

    @property
    def element_shape(self) -> TensorShape:
        """The static shape of the elements."""
        return TensorShape(self._element.dims)

    @property
    def dynamic_size(self) -> bool:
        """Whether a write past the end makes the array longer."""
        return self._dynamic

    @property
    def handle(self) -> TensorArray:
        """What ``TensorArray(dtype, handle=...)`` takes."""
        return self

    @property
    def flow(self) -> Tensor:
        """The tensor that holds the elements: who reads it runs after the writes."""
        return self._array()

    # -- one element ---------------------------------------------------------------

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The TensorArray with ``value`` at ``index``.

        Args:
            index: an int or an integer scalar.
            value: of the elements' dtype and shape.
            name: the scope of the operations.

        Raises:
            DTypeError, ShapeError: ``value`` is no element.
        """
        self._refuse_pieces("write")
        t = self._of_dtype(value)
        at = _scalar(index, "index")
        self._element.take(t.dims, t)
        with scope(name, "TensorArrayWrite", t, at):
            return self._put(at, t, add(at, 1) if self._dynamic else None)

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element at ``index``, an int or an integer scalar."""
        at = _scalar(index, "index")
        with scope(name, "TensorArrayRead", self._array(), at):
            row = self._rows(at, "TensorArrayReadV3")
            if self._lengths is not None:
                attrs = {"axis": 0, "batch_dims": 0}
                length = create(GATHER, (self._lengths, at), attrs)
                return getitem(row, slice(0, length))
            return _with_dims(row, self._element.dims)

    # -- several -------------------------------------------------------------------

    def stack(self, name: str | None = None) -> Tensor:
        """All elements, stacked along a first axis."""
        self._refuse_pieces("stack")
        array = self._array()
        if self._dynamic:
            array = self._filled(name or "TensorArrayStack")
        else:
            array = identity(array, name or "TensorArrayStack")
        return _with_dims(array, self._element.dims, 1)

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements at ``indices``, an integer vector, stacked."""
        self._refuse_pieces("gather")
        at = _vector(indices, "indices")
        with scope(name, "TensorArrayGather", self._array(), at):
            rows = self._rows(at, "TensorArrayGatherV3")
            return _with_dims(rows, self._element.dims, 1)

    def concat(self, name: str | None = None) -> Tensor:
        """All elements, joined along their first axis."""
        with scope(name, "TensorArrayConcat", self._array()):
            array = self._array()
            if self._lengths is not None:
                return create(JOIN_ROWS, (array, self._lengths))
            if self._dynamic:
                array = self._filled("filled")
            array = _with_dims(array, self._element.dims, 1)
            dims = array.dims
            if dims is not None and len(dims) < 2:
                raise ShapeError(
                    f"{entry()}scalars cannot be joined: use stack", array.op
                )
            if dims is None:
                vector = shape(array)
                first, rest = vector[:2], vector[2:]
                total = reduce_prod(first, keepdims=True)
                return reshape(array, concat([total, rest], 0))
            known = sizes(array)
            return reshape(array, [known[0] * known[1], *known[2:]])

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The TensorArray whose elements are the rows of ``value``.

        Args:
            value: shape (size, ...), of the elements' dtype; with ``dynamic_size``
                any number of rows.
            name: the scope of the operations.
        """
        t = self._of_dtype(value)
        self._element.take(_element_of(t), t)
        n = None if t.dims is None else t.dims[0]
        with scope(name, "TensorArrayUnstack", t, self._size):
            size = self._known_size()
            if n is not None and n == size:
                return self._pieces(None)._with(identity(t), self._count)
            if self._dynamic and size == 0:
                return self._pieces(None)._with(identity(t), shape(t)[0])
            less = n is not None and size is not None and n < size
            if self._dynamic or less or (self._buffer is not None and n is None):
                self._refuse_pieces("unstack")
                return self._put_all(range_(shape(t)[0]), t)
            if size is not None and n is not None:
                raise ShapeError(
                    f"{entry()}{n} rows ({t.op.defined_at()}) do not fit a TensorArray "
                    f"of size {size}: use dynamic_size=True",
                    t.op,
                )
            whole = create(SIZED_ROWS, (t, self._size))
            return self._pieces(None)._with(whole)

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The TensorArray with the rows of ``value`` at ``indices``.

        Args:
            indices: an integer vector (n,) without repeats.
            value: shape (n, ...), of the elements' dtype.
            name: the scope of the operations.
        """
        self._refuse_pieces("scatter")
        t = self._of_dtype(value)
        at = _vector(indices, "indices")
        self._element.take(_element_of(t), t)
        with scope(name, "TensorArrayScatter", t, at):
            return self._put_all(at, t)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The TensorArray whose elements are consecutive pieces of ``value``.

        Pieces of different lengths can be read and joined again; writes to such an
        array raise.

        Args:
            value: shape (sum of the lengths, ...), of the elements' dtype.
            lengths: an integer vector (size,): the first sizes of the elements.
            name: the scope of the operations.
        """
        t = self._of_dtype(value)
        rest = _element_of(t)
        parts = cast(_vector(lengths, "lengths"), int32)
        known = try_ints(parts, "lengths")
        same = known is not None and known.size > 0 and bool((known == known[0]).all())
        width = int(known.max()) if known is not None and known.size else None
        if rest is not None:
            self._element.take((width if same else None, *rest), t)
        with scope(name, "TensorArraySplit", t, parts):
            widest: Any = width
            if width is None:
                with_zero = concat([parts, np.zeros(1, np.int32)], 0)
                widest = reduce_max(with_zero)
            if not self._dynamic:
                parts = create(SIZED_ROWS, (parts, self._size))
            padded = create(SPLIT_ROWS, (t, parts, as_tensor(widest, int32)))
            return self._pieces(None if same else parts)._with(padded, shape(parts)[0])

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements, an int32 scalar."""
        if self._dynamic:
            count = self._size if self._count is None else self._count
        elif self._buffer is None:
            count = self._size
        else:
            count = shape(self._buffer)[0]
        return identity(count, name or "TensorArraySize")

    # -- the rest of TF1's methods -------------------------------------------------

    def identity(self) -> TensorArray:
        """The same TensorArray, in operations of their own.

        They wait for what ``control_dependencies`` says.
        """
        return self._from_parts([identity(t) for t in self._parts()])

    def close(self, name: str | None = None) -> Any:
        """An operation that does nothing: memory is given back when it is free."""
        return no_op(name or "TensorArrayClose")

    def grad(self, source: str, flow: Any = None, name: str | None = None) -> Any:
        """Raises GradientError: gradients go through TensorArrays by themselves."""
        raise GradientError(
            f"{entry()}a TensorArray keeps no gradient beside it: gradients(y, x) goes "
            "through its writes and reads by itself; for the cotangents of all "
            "elements take gradients(y, array.stack()) and read from that"
        )

    # -- how it is done ------------------------------------------------------------

    def _of_dtype(self, value: Any) -> Tensor:
        plain = not (isinstance(value, Tensor) or hasattr(value, "_as_tensor"))
        t = as_tensor(value, self._dtype if plain else None)
        if t.dtype is not self._dtype:
            raise DTypeError(
                f"{entry()}{t.op.describe()} is {t.dtype.name} ({t.op.defined_at()}), "
                f"but the TensorArray holds {self._dtype.name}: use dagrad.cast",
                t.op,
            )
        return t

    def _refuse_pieces(self, what: str) -> None:
        if self._lengths is not None:
            raise ShapeError(
                f"{entry()}{what} does not work on pieces of different lengths: read "
                "them or join them by concat"
            )

    def _pieces(self, lengths: Tensor | None) -> TensorArray:
        made = copy.copy(self)
        made._lengths = lengths
        return made

    def _known_size(self) -> int | None:
        if self._buffer is not None and not self._dynamic:
            return None if self._buffer.dims is None else self._buffer.dims[0]
        known = try_ints(self._parts()[1] if self._dynamic else self._size, "size")
        return None if known is None else int(known)

    def _put(self, at: Tensor, rows: Tensor, needed: Tensor | None) -> TensorArray:
        """With ``rows`` at ``at``, and room for ``needed`` rows."""
        count = None
        if needed is not None:
            before = self._size if self._count is None else self._count
            count = maximum(before, cast(needed, int32))
        made = set_rows(self._array(), at, rows, self._dynamic, "TensorArrayWriteV3")
        return self._with(made, count)

    def _put_all(self, at: Tensor, rows: Tensor) -> TensorArray:
        needed = None
        if self._dynamic:
            both = concat([cast(at, int32), np.full(1, -1, np.int32)], 0)
            needed = reduce_max(both) + 1
        return self._put(at, rows, needed)

    def _filled(self, name: str) -> Tensor:
        """A dynamic array's rows, without the room beyond them."""
        array, count = self._parts()[:2]
        with scope(name, name, array):
            return getitem(array, slice(0, count))

    def _rows(self, at: Tensor, name: str) -> Tensor:
        array = self._array()
        if self._dynamic:
            at = create(INDEX_BELOW, (at, self._parts()[1]))
        return create(GATHER, (array, at), {"axis": 0, "batch_dims": 0}, name)


def _size(size: Any) -> Tensor:
    t = _scalar(size, "size")
    known = try_ints(t, "size")
    if known is not None and known_int(t, "size") < 0:
        raise ShapeError(f"{entry()}size must be >= 0, not {int(known)}")
    return cast(t, int32)


def _scalar(value: Any, what: str) -> Tensor:
    t = integers(value, what)
    if t.dims not in (None, ()):
        raise ShapeError(f"{entry()}{what} must be a scalar, not {t!r}")
    return t


def _vector(value: Any, what: str) -> Tensor:
    t = integers(value, what)
    if t.dims is not None and len(t.dims) != 1:
        raise ShapeError(f"{entry()}{what} must be a vector, not {t!r}")
    return t


def _element_of(t: Tensor) -> Dims:
    if t.dims == ():
        raise ShapeError(
            f"{entry()}a scalar has no rows: {t.op.describe()} ({t.op.defined_at()})",
            t.op,
        )
    return None if t.dims is None else t.dims[1:]


def _with_dims(t: Tensor, element: Dims, axes: int = 0) -> Tensor:
    """``t``, with what is known of an element's shape behind its first axes."""
    if element is not None:
        t.set_shape(((None,) * axes) + element)
    return t
