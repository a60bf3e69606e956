"""From what a kernel did to calls of inner loops, checked against the kernel.

A *template* holds the calls of one kind of step: a kernel on arrays of given dtypes,
shapes, strides and overlaps.  It is made once, from a tape of the kernel on memory of
its own, and used for every such step, with other addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...graphlib.records import field, record
from .vm import MOST_ARGS, MOST_AXES, Machine
from .vm_loops import Loop, cast_loop, copy_loop, select_loop, ufunc_loop
from .vm_trace import Record, Tape, Untraceable

__all__ = [
    "Operand",
    "Template",
    "encoded",
    "extent",
    "layout",
    "traced_templates",
    "verified",
]

_IDENTITIES = {
    "add": 0,
    "multiply": 1,
    "logical_and": True,
    "logical_or": False,
    "bitwise_and": -1,
    "bitwise_or": 0,
    "bitwise_xor": 0,
}
# Taking an element twice changes nothing: these start from the first.
_IDEMPOTENT = ("maximum", "minimum", "fmax", "fmin")
_TRIALS = 3


class Operand(NamedTuple):
    """Where an array of a step is: ``offset`` bytes into the memory ``root``.

    It covers the bytes from ``low`` to ``high`` of that memory.  ``value`` is the
    array itself where its content never changes.
    """

    root: Any
    offset: int
    low: int
    high: int
    dtype: Any
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    value: Any = None


class Call(NamedTuple):
    """One call of a loop; ``args`` are (region, bytes from its start)."""

    loop: Loop
    args: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    #: (size, stride of each argument), the innermost axis first.
    outer: tuple[tuple[int, tuple[int, ...]], ...]


@record
class Template:
    """The calls of a step.

    Attributes:
        calls: regions are the step's operands, then ``extras``.
        extras: arrays of constants, and bytes of scratch memory.
        work: elements that the calls go through, roughly.
    """

    calls: list[Call] = field(default_factory=list)
    extras: list[Any] = field(default_factory=list)
    work: int = 0


def extent(shape: Sequence[int], strides: Sequence[int], size: int) -> tuple[int, int]:
    """The bytes that an array covers, from and to, counted from its first element."""
    low = sum((n - 1) * s for n, s in zip(shape, strides) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides) if s > 0)
    return low, high + size


def _address(array: Any) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


# -- memory to try things in --------------------------------------------------------


def layout(operands: Sequence[Operand]) -> tuple[list[tuple[int, int]], list[int]]:
    """(block, offset) of each operand in memory where the same of them overlap,
    and the sizes of the blocks."""
    spans = sorted([(o.root, o.low, o.high, i) for i, o in enumerate(operands)])
    places: list[tuple[int, int]] = [(0, 0)] * len(operands)
    sizes: list[int] = []
    root, start, end = None, 0, 0
    for name, low, high, i in spans:
        if not sizes or name != root or low >= end:
            root, start, end = name, low - low % 64, high
            sizes.append(0)
        end = max(end, high)
        sizes[-1] = end - start
        places[i] = len(sizes) - 1, operands[i].offset - start
    return places, sizes


class Shadow:
    """Memory like that of a step, for trying its kernel and its calls."""

    def __init__(self, operands: Sequence[Operand]) -> None:
        places, sizes = layout(operands)
        self.blocks = []
        for size in sizes:
            raw = np.zeros(size + 64, np.uint8)
            start = -_address(raw) % 64
            self.blocks.append(raw[start : start + size])
        self.arrays = [
            np.ndarray(o.shape, o.dtype, self.blocks[b], at, o.strides)
            if o.value is None
            else o.value
            for o, (b, at) in zip(operands, places)
        ]
        self.changing = [o.value is None for o in operands]

    def fill(self, seed: int) -> None:
        """Put random numbers everywhere; an odd seed brings special ones."""
        rng = np.random.default_rng(seed)
        for a, changes in zip(self.arrays, self.changing):
            if changes:
                a[...] = _numbers(rng, a.shape, a.dtype, special=bool(seed % 2))


def _numbers(rng: Any, shape: Any, dtype: Any, special: bool) -> Any:
    kind = dtype.kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        info = np.iinfo(dtype)
        if special:
            return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        return rng.integers(max(info.min, -9), 9, shape, dtype)
    values = rng.standard_normal(shape) * np.exp(rng.standard_normal(shape))
    if kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    if special:
        odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 1e30, -1e30, 700.0])
        values = np.where(rng.random(shape) < 0.3, rng.choice(odd, shape), values)
    return values.astype(dtype)


# -- loops for records --------------------------------------------------------------


class _Lowering:
    """Calls for the records of one tape.

    With ``buffered``, reductions go through a contiguous copy, as they do in some of
    NumPy's: which they do shows in the last bits of a sum.
    """

    def __init__(self, operands: Sequence[Any], buffered: bool) -> None:
        self.template = Template()
        self.buffered = buffered
        self.spans = []
        for a in operands:
            low, high = extent(a.shape, a.strides, a.itemsize)
            self.spans.append((_address(a), _address(a) + low, _address(a) + high))
        self.keep: list[Any] = []
        self.written: set[int] = set()
        self.found: dict[int, int] = {}
        self.count = len(operands)

    def region(self, array: Any, written: bool) -> tuple[int, int]:
        """The region of an array, and bytes from its start."""
        at = _address(array)
        low, high = extent(array.shape, array.strides, array.itemsize)
        for k, (start, first, last) in enumerate(self.spans):
            if first <= at + low and at + high <= last:
                return k, at - start
        owner = _owner(array)
        start = _address(owner)
        k = self.found.get(start, -1)
        if k < 0:
            k = self.found[start] = self.count + len(self.template.extras)
            self.keep.append(owner)
            if written:
                # Scratch memory has no content before its first write.
                if high - low != owner.nbytes or array.size * array.itemsize != (
                    owner.nbytes
                ):
                    raise Untraceable("scratch that is written in part")
                self.written.add(k)
                self.template.extras.append(owner.nbytes)
            else:
                if owner.nbytes > 4096:
                    raise Untraceable("a large array that is no operand")
                self.template.extras.append(owner)
        elif written and k not in self.written:
            raise Untraceable("a write into a constant")
        return k, at - start

    def _known(self, array: Any) -> bool:
        """Whether an array is in an operand, or what a call has written."""
        at = _address(array)
        if any(first <= at < last for _, first, last in self.spans):
            return True
        return self.found.get(_address(_owner(array)), -1) in self.written

    def lower(self, record: Record) -> None:
        """Append the calls of a record."""
        for x, told in zip(record.ins, record.told):
            if told and not self._known(x):
                raise Untraceable("a copy past the tape")
        arrays = [*record.ins, record.out]
        if any(not a.size or not a.flags.aligned for a in arrays):
            raise Untraceable("empty or unaligned arrays")
        if record.kind == "copy":
            self._copy(record.ins[0], record.out)
        elif record.kind == "select":
            self._call(select_loop(record.out.itemsize), record.ins, record.out)
        elif record.kind == "reduce":
            self._reduce(record)
        else:
            ins = self._cast(record)
            if record.kind == "matmul":
                self._matmul(ins, record)
            else:
                self._call(ufunc_loop(record.ufunc, record.dtypes), ins, record.out)

    def _cast(self, record: Record) -> list[Any]:
        if record.out.dtype != record.dtypes[-1]:
            raise Untraceable("a result that is cast")
        ins = []
        for x, dtype in zip(record.ins, record.dtypes):
            if x.dtype != dtype:
                scratch = np.empty(x.shape, dtype)
                self._copy(x, scratch)
                x = scratch
            ins.append(x)
        return ins

    def _copy(self, source: Any, target: Any) -> None:
        source = np.broadcast_to(source, target.shape)
        loop = None
        if source.dtype == target.dtype:
            loop = ufunc_loop(np.positive, (source.dtype, source.dtype))
            loop = loop or copy_loop(source.itemsize)
        else:
            loop = cast_loop(source.dtype, target.dtype)
        self._call(loop, (source,), target)

    def _call(self, loop: Loop | None, ins: Sequence[Any], out: Any) -> None:
        """A call element by element."""
        for x in ins:
            _no_partial_overlap(x, out)
        arrays = [*(np.broadcast_to(x, out.shape) for x in ins), out]
        lead = [out, *arrays[:-1]]
        self._emit(loop, arrays, _axes(out.shape, arrays, lead), (out,))

    def _reduce(self, record: Record) -> None:
        (x,), out, f = record.ins, record.out, record.ufunc
        if x.dtype != out.dtype or np.may_share_memory(x, out):
            raise Untraceable("a reduction that casts")
        loop = ufunc_loop(f, (x.dtype, x.dtype, x.dtype))
        if self.buffered:
            scratch = np.empty(x.shape, x.dtype)
            self._copy(x, scratch)
            x = scratch
        if f.__name__ in _IDEMPOTENT:
            first = [slice(None)] * x.ndim
            for i in record.axes:
                first[i] = slice(0, 1)
            self._copy(x[tuple(first)], out)
        elif f.__name__ in _IDENTITIES:
            start = np.array(_IDENTITIES[f.__name__]).astype(x.dtype)
            self._copy(start, out)
        else:
            raise Untraceable(f.__name__)
        spread = np.broadcast_to(out, x.shape)
        arrays = [spread, x, spread]
        self._emit(loop, arrays, _axes(x.shape, arrays, [x]), (spread,))

    def _matmul(self, ins: Sequence[Any], record: Record) -> None:
        (a, b), out = ins, record.out
        if a.ndim < 2 or b.ndim < 2:
            raise Untraceable("a product with a vector")
        if np.may_share_memory(a, out) or np.may_share_memory(b, out):
            raise Untraceable("a product over its operand")
        loop = ufunc_loop(np.matmul, record.dtypes)
        (m, n), p = a.shape[-2:], b.shape[-1]
        core = tuple(s for x in (a, b, out) for s in x.strides[-2:])
        batch = out.shape[:-2]
        arrays = [
            np.broadcast_to(x, (*batch, *x.shape[-2:]))[..., 0, 0] for x in (a, b, out)
        ]
        (count, strides), *outer = _axes(batch, arrays, arrays[::-1])
        self._emit(
            loop,
            [a, b, out],
            [((count, m, n, p), (*strides, *core)), *outer],
            (out,),
            m * n * p // 8,
        )

    def _emit(
        self,
        loop: Loop | None,
        arrays: Sequence[Any],
        axes: Sequence[tuple[Any, Any]],
        written: tuple[Any, ...],
        work: int = 0,
    ) -> None:
        if loop is None or len(arrays) > MOST_ARGS or len(axes) > MOST_AXES:
            raise Untraceable("no loop for it")
        self.keep.extend(arrays)
        args = tuple(self.region(a, False) for a in arrays[:-1] if a is not written[0])
        last = self.region(written[0], True)
        if arrays[0] is written[0]:  # a reduction reads what it writes
            args = (last, *args)
        (sizes, steps), *outer = axes
        inner = sizes if isinstance(sizes, tuple) else (sizes,)
        self.template.calls.append(
            Call(loop, (*args, last), inner, tuple(steps), tuple(outer))
        )
        self.template.work += work + max(a.size for a in arrays)


def _owner(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _no_partial_overlap(x: Any, out: Any) -> None:
    if np.may_share_memory(x, out) and (
        _address(x) != _address(out)
        or x.strides != out.strides
        or x.dtype != out.dtype
        or x.shape != out.shape
    ):
        raise Untraceable("arrays that overlap in part")


def _axes(
    shape: Sequence[int], arrays: Sequence[Any], lead: Sequence[Any]
) -> list[tuple[int, tuple[int, ...]]]:
    """(size, stride of each array) of the loops over ``shape``, the innermost first.

    Axes go from large to small strides of ``lead``, as in NumPy's iterator, and
    those that one stride describes are one.
    """
    order = [i for i, n in enumerate(shape) if n != 1]
    order.sort(key=lambda i: [-abs(a.strides[i]) for a in lead])
    found: list[tuple[int, tuple[int, ...]]] = []
    for i in reversed(order):
        strides = tuple(a.strides[i] for a in arrays)
        if found:
            n, inner = found[-1]
            if all(s == n * t for s, t in zip(strides, inner)):
                found[-1] = n * shape[i], inner
                continue
        found.append((shape[i], strides))
    return found or [(1, tuple(a.itemsize for a in arrays))]


def traced_templates(
    operands: Sequence[Operand], bind: Callable[[Sequence[Any]], Callable[[], Any]]
) -> Iterator[Template]:
    """Candidates for the calls of a kernel, of which one may be right.

    ``bind`` gives the kernel's call on arrays like ``operands``.

    Raises:
        Untraceable: the kernel does something else than calling loops.
    """
    shadow = Shadow(operands)
    shadow.fill(0)
    tape = Tape()
    told = [
        a if o.value is not None else tape.traced(a)
        for a, o in zip(shadow.arrays, operands)
    ]
    kernel = bind(told)
    try:
        kernel()
    except Untraceable:
        raise
    except Exception as error:  # the kernel takes no arrays of another class
        raise Untraceable(str(error)) from error
    reduces = any(record.kind == "reduce" for record in tape.records)
    for buffered in (False, True)[: 1 + reduces]:
        lowering = _Lowering(shadow.arrays, buffered)
        for taken in tape.records:
            lowering.lower(taken)
        yield lowering.template


# -- words ----------------------------------------------------------------------------


def encoded(call: Call, addresses: Sequence[int]) -> list[int]:
    """The words of a call, where region i starts at ``addresses[i]``."""
    count, outer = len(call.args), call.outer
    length = 7 + len(call.sizes) + len(call.steps) + count + len(outer) * (1 + count)
    words = [*call.loop, count, len(call.sizes), len(call.steps), len(outer), length]
    words += call.sizes
    words += call.steps
    words += [addresses[region] + at for region, at in call.args]
    words += [n for n, _ in outer]
    for _, strides in outer:
        words += strides
    return words


def verified(
    template: Template,
    operands: Sequence[Operand],
    bind: Callable[[Sequence[Any]], Callable[[], Any]],
    machine: Machine,
) -> bool:
    """Whether the calls do to the bit what the kernel does, on random numbers."""
    one, two = Shadow(operands), Shadow(operands)
    scratch = [np.empty(e, np.uint8) if type(e) is int else e for e in template.extras]
    addresses = [_address(a) for a in (*two.arrays, *scratch)]
    words = [0, len(template.calls)]
    for call in template.calls:
        words += encoded(call, addresses)
    table = np.array(words, np.int64)
    kernel = bind(one.arrays)
    for seed in range(_TRIALS):
        one.fill(seed)
        two.fill(seed)
        for a, b in zip(one.blocks, two.blocks):
            a[...] = b
        kernel()
        machine.run(_address(table))
        if any(a.tobytes() != b.tobytes() for a, b in zip(one.blocks, two.blocks)):
            return False
    return True
