"""How one op's outputs depend on its inputs, element by element.

A rule takes, for each input, the pattern of its dependence (a row per element)
and gives the patterns of the outputs.  Most ops need no rule of their own:

- *elementwise* ops line their operands up by broadcasting;
- *moving* ops (reshape, slice, gather, pad, ...) run their own kernel on the
  numbers of the elements, and what comes out says where each element came from;
- *gathering back* (the transposes of those) runs the kernel of the op that it
  transposes;
- *labelled* ops (reductions, softmax, batched linear algebra) let every output
  depend on all inputs with its label;
- whatever has no rule depends on everything.

The result may be too large for one value of the inputs, never too small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.opdef import lookup
from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static
from ..graphlib.tensor import Tensor
from ..graphlib.traversal import between
from ._known import MOVING, Known, dims_of, moving_attrs, size_of
from ._pattern import Pattern, identity, stacked, unite

__all__ = [
    "RULES",
    "SUMS",
    "Deps",
    "Rule",
    "TooManyEntries",
    "copied_from",
    "propagate",
    "summed_from",
]

#: The dependence of each input; None: it depends on nothing.
Deps = Sequence[Pattern | None]
Rule = Callable[[Operation, Deps, Known], "list[Pattern | None]"]

#: Entries of one op's own pattern above which a coarser one is taken.
MOST_ENTRIES = 1 << 24


def output_patterns(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """The dependence of each output of ``op`` (None: it depends on nothing)."""
    rules = op.opdef.vjp
    if isinstance(rules, tuple) and len(rules) == len(deps):
        deps = [None if r is None else p for r, p in zip(rules, deps)]
    if all(p is None for p in deps):
        return [None] * len(op.outputs)
    rule = RULES.get(op.type)
    if op.opdef.override is not None:
        # Its derivative is the program's: any element of it may be other than zero.
        rule = whole
    elif rule is None:
        rule = elementwise if op.opdef.elementwise else whole
    if any(not is_static(t.dims) for t in op.outputs) or any(
        not is_static(t.dims) and (p is not None or rule is not elementwise)
        for t, p in zip(op.inputs, deps)
    ):
        rule = whole if op.opdef.control is None else rule
    return [
        p if t.dtype.is_inexact else None
        for t, p in zip(op.outputs, rule(op, deps, known))
    ]


class TooManyEntries(Exception):
    """A pattern is larger than the caller of :func:`propagate` wants to follow."""


def propagate(
    ys: Sequence[Tensor],
    given: dict[Tensor, Pattern],
    known: Known,
    most: int | None = None,
) -> list[Pattern | None]:
    """The patterns of ``ys`` from those of some tensors, which are held.

    Raises:
        TooManyEntries: a pattern on the way has more than ``most``.
    """
    found = dict(given)
    path = between(ys, given, set())
    last: dict[Tensor, Operation] = {}
    for op in path:
        for t in op.inputs:
            last[t] = op
    keep = {*given, *ys}
    for op in path:
        deps = [found.get(t) for t in op.inputs]
        if any(p is not None for p in deps):
            for t, p in zip(op.outputs, output_patterns(op, deps, known)):
                if p is not None and t not in given:
                    if most is not None and p.size > most:
                        raise TooManyEntries
                    found[t] = p
        for t in op.inputs:
            # Patterns of dense parts are large: forget them after the last use.
            if last[t] is op and t not in keep:
                found.pop(t, None)
    return [found.get(y) for y in ys]


# -- the kinds of rules ----------------------------------------------------------------


def whole(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Every output element depends on everything that any input depends on.

    A tensor whose size is not known has one row for all its elements.
    """
    zero = [None if p is None else np.zeros(p.shape[0], np.int64) for p in deps]
    outs = [
        np.zeros(size_of(t) if is_static(t.dims) else 1, np.int64) for t in op.outputs
    ]
    return labelled(deps, zero, outs, 1)


def labelled(
    deps: Deps, labels: Sequence[Any], outputs: Sequence[Any], count: int
) -> list[Pattern | None]:
    """Outputs depend on all input elements with their label (< ``count``)."""
    union = unite([p.grouped(a, count) for p, a in zip(deps, labels) if p is not None])
    return [union.take(a) for a in outputs]


def lanes(dims: Sequence[int], axes: Any) -> Any:
    """Labels of elements: equal where they differ along ``axes`` only (None: all)."""
    if axes is None:
        return np.zeros(prod(dims), np.int64)
    gone = {a % len(dims) for a in axes}
    kept = [1 if i in gone else d for i, d in enumerate(dims)]
    return np.broadcast_to(np.arange(prod(kept)).reshape(kept), dims).reshape(-1)


def spread_to(dims: Sequence[int], out: Sequence[int]) -> Any:
    """For each element of the broadcast shape, the element that stands there."""
    return np.broadcast_to(np.arange(prod(dims)).reshape(dims), out).reshape(-1)


def _nothing(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Constant wherever it has a derivative."""
    return [None] * len(op.outputs)


def _same(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Element i of the output is element i of the input."""
    return [deps[0]]


# Input i has no effect where input j is zero.
_SILENT = {
    "Mul": {0: 1, 1: 0},
    "RealDiv": {1: 0},
    "DivNoNan": {0: 1, 1: 0},
    "Xlogy": {1: 0},
    "Xdivy": {1: 0},
    "Pow": {0: 1},
}
# Of an activation and its cotangent: no effect where the cotangent is zero.
_PRODUCT = {0: 1}


def elementwise(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Operands broadcast; known zeros of a factor silence the other one."""
    out = dims_of(op.outputs[0])
    silent = _SILENT.get(op.type)
    if silent is None and op.opdef.inputs == ("a", "g"):
        silent = _PRODUCT
    parts = []
    for i, (t, p) in enumerate(zip(op.inputs, deps)):
        if p is None:
            continue
        factor = known.nonzero(op.inputs[silent[i]]) if silent and i in silent else None
        dims = dims_of(t)
        if factor is not None and not np.all(factor):
            there = np.broadcast_to(factor, out).reshape(-1)
            p = p.take(np.where(there, spread_to(dims, out), -1))
        elif dims != out:
            p = p.take(spread_to(dims, out))
        parts.append(p)
    return [unite(parts)]


def _select(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """A known condition tells which operand stands where."""
    condition = known.value(op.inputs[0])
    if condition is None:
        return elementwise(op, deps, known)
    out = dims_of(op.outputs[0])
    if op.type == "Select" and condition.ndim == 1 and len(out) > 1:
        condition = condition.reshape((-1,) + (1,) * (len(out) - 1))
    taken = np.broadcast_to(condition, out).reshape(-1)
    parts = []
    for t, p, there in zip(op.inputs[1:], deps[1:], (taken, ~taken)):
        if p is not None:
            parts.append(p.take(np.where(there, spread_to(dims_of(t), out), -1)))
    return [unite(parts)]


def moved(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """The op's own kernel, run on the numbers of the elements."""
    places = _origins(op, [p is not None for p in deps], known)
    if places is None:
        return whole(op, deps, known)
    source = stacked([p for p in deps if p is not None])
    return [source.take(at) for at in places]


def _origins(op: Operation, live: Sequence[bool], known: Known) -> list[Any] | None:
    """Where a moving op takes the elements of its outputs from.

    Its own kernel runs on the numbers of the elements, 0 standing for none.

    Args:
        live: the inputs whose elements are counted, one input after the other.

    Returns:
        For each output the numbers of its elements' origins, -1 where an element
        comes from no counted one; None where an index is not known.
    """
    arrays: list[Any] = []
    first = 1
    for t, counted in zip(op.inputs, live):
        if counted:
            dims = dims_of(t)
            numbers = np.arange(first, first + prod(dims), dtype=np.float64)
            arrays.append(numbers.reshape(dims))
            first += prod(dims)
        elif t.dtype.is_inexact:
            arrays.append(np.zeros(dims_of(t)))
        else:
            value = known.value(t)
            if value is None:
                return None
            arrays.append(value)
    results = op.opdef.kernel(np, *arrays, **moving_attrs(op))  # type: ignore[operator, misc]
    if len(op.outputs) == 1 and not isinstance(results, (tuple, list)):
        results = (results,)
    return [_numbers(r) for r in results]


def copied_from(op: Operation, live: Sequence[bool], known: Known) -> list[Any] | None:
    """For each output of an op that only copies: which elements these are copies of.

    Elements are numbered through the ``live`` inputs, those that depend on x, one
    after the other, and -1 stands for what is a copy of none.  A sum with what does
    not depend on x has the derivatives of a copy and counts as one.  None where the
    op computes, has a derivative of its own, copies what only a run knows, or has
    shapes that are not static.
    """
    tensors = (*op.inputs, *op.outputs)
    if op.opdef.override is not None or not all(is_static(t.dims) for t in tensors):
        return None
    if op.type in _COPIES_ALL:
        return [np.arange(size_of(op.outputs[0]))]
    if op.type == "Add" or (op.type == "Sub" and live[0]):
        one = [t for t, counted in zip(op.inputs, live) if counted]
        if len(one) > 1:
            return None
        return [spread_to(dims_of(one[0]), dims_of(op.outputs[0]))]
    if op.type in MOVING or op.type == "GatherV2":
        return _origins(op, live, known)
    return None


#: Ops whose output has the elements of its input in their order.
_COPIES_ALL = frozenset(("Identity", "Reshape", "Squeeze", "ExpandDims"))


#: Ops that add elements to where indices say.
SUMS = frozenset(
    ("AddRows", "GatherGrad", "ScatterNd", "ScatterRows", "SegmentSum",
     "UnsortedSegmentSum")
)  # fmt: skip


def summed_from(
    op: Operation, live: Sequence[bool], known: Known
) -> list[Pattern] | None:
    """For each output of an op that only copies and sums: the elements it sums.

    The pattern of a matrix of zeros and ones, whose columns are the elements of the
    ``live`` inputs, one after the other.  None as for :func:`copied_from`.
    """
    tensors = (*op.inputs, *op.outputs)
    if op.opdef.override is not None or not all(is_static(t.dims) for t in tensors):
        return None
    total = sum(size_of(t) for t, counted in zip(op.inputs, live) if counted)
    places = copied_from(op, live, known)
    if places is not None:
        every = identity(total, total)
        return [every.take(at) for at in places]
    if op.type not in SUMS and op.type not in ("Add", "AddN"):
        return None
    if any(t.dtype.is_integer and known.value(t) is None for t in op.inputs):
        return None
    deps: list[Pattern | None] = []
    first = 0
    for t, counted in zip(op.inputs, live):
        deps.append(identity(size_of(t), total, first) if counted else None)
        first += size_of(t) if counted else 0
    (found,) = RULES.get(op.type, elementwise)(op, deps, known)
    # An operand that is broadcast is a term of several sums: left to the op itself.
    if found is None or np.bincount(found.indices).max(initial=0) > 1:
        return None
    return [found]


def _numbers(array: Any) -> Any:
    return np.asarray(array).reshape(-1).astype(np.int64) - 1


def _gathers_back(data: int, forward: str, **fixed: Any) -> Rule:
    """A rule for the transpose of a moving op: ``forward`` says what goes where."""

    def rule(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
        names = list(op.opdef.inputs)
        names += [names[-1]] * (len(op.inputs) - len(names))
        pairs = list(zip(names, op.inputs))
        del pairs[data]
        where = [known.value(t) for name, t in pairs if name != "shape"]
        if any(v is None for v in where):
            return whole(op, deps, known)
        dims = dims_of(op.outputs[0])
        count = prod(dims)
        numbers = np.arange(1, count + 1, dtype=np.float64).reshape(dims)
        attrs = {k: v for k, v in op.attrs.items() if k != "last"} | fixed
        labels = lookup(forward).kernel(np, numbers, *where, **attrs)  # type: ignore[operator, misc]
        source = deps[data]
        assert source is not None
        return [source.grouped(_numbers(labels), count)]

    return rule


# -- along axes ------------------------------------------------------------------------


def _reduction(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    dims = dims_of(op.inputs[0])
    axis = op.attrs["axis"]
    count = size_of(op.outputs[0])
    outs = [np.arange(count)] * len(op.outputs)
    return labelled(deps, [lanes(dims, axis)], outs, count)


def _sum_to(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    dims, out = dims_of(op.inputs[0]), dims_of(op.outputs[0])
    p = deps[0]
    assert p is not None
    return [p.grouped(spread_to(out, dims), prod(out))]


def _broadcast(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    p = deps[0]
    assert p is not None
    return [p.take(spread_to(dims_of(op.inputs[0]), dims_of(op.outputs[0])))]


def _along_axis(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Outputs depend on the whole lane along ``axis`` (default: the last)."""
    axis = op.attrs.get("axis", -1)
    dims = dims_of(op.inputs[0])
    labels = lanes(dims, (axis,))
    if any(p is not None and p.shape[0] != len(labels) for p in deps):
        return whole(op, deps, known)
    count = prod(dims) // dims[axis] if dims[axis] else 0
    outs = []
    for t in op.outputs:
        own = dims_of(t)
        if own == dims:
            outs.append(labels)
        elif len(own) == len(dims):  # the k greatest
            outs.append(lanes(own, (axis,)))
        else:  # one result per lane
            outs.append(np.arange(count))
    return labelled(deps, [labels] * len(deps), outs, count)


def _weights(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """exp(x - y): x element by element, y along the reduced axes."""
    x, y = deps
    parts = [] if x is None else [x]
    if y is not None:
        parts.append(y.take(lanes(dims_of(op.inputs[0]), op.attrs["axis"])))
    return [unite(parts)]


def _prefix(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Position i along the axis depends on positions 0 to i."""
    dims = dims_of(op.inputs[0])
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    places = np.arange(prod(dims))
    places = places[None] if axis is None else places.reshape(dims)
    places = np.moveaxis(places, -1 if axis is None else axis, 0)
    if reverse:
        places = places[::-1]
    total = running(unite([p for p in deps if p is not None]), places)
    if op.attrs.get("exclusive"):
        total = total.take(_earlier(places, 1))
    return [total]


def running(p: Pattern, places: Any) -> Pattern:
    """Unions over all earlier places, axis 0 of ``places``, by doubling."""
    step = 1
    while step < len(places):
        p = unite([p, p.take(_earlier(places, step))])
        step *= 2
    return p


def _earlier(places: Any, step: int) -> Any:
    """For each place the one ``step`` before it, -1 at the start."""
    index = np.full(places.size, -1, np.int64)
    index[places[step:]] = places[:-step]
    return index


def _segment_prefix(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Row i depends on the rows before it in its segment, column by column."""
    p = deps[0]
    assert p is not None
    n, *rest = dims_of(op.inputs[0])
    edge = known.value(op.inputs[1])
    if edge is None:  # any row before may be of its segment
        edge = np.zeros(n, bool)
    places = np.arange(n * prod(rest)).reshape(n, -1)
    if op.attrs["reverse"]:
        places, edge = places[::-1], edge[::-1]
    since = np.arange(n) - np.maximum.accumulate(np.where(edge, np.arange(n), 0))
    age = np.empty(places.size, np.int64)
    age[places] = since[:, None]
    step, longest = 1, since.max(initial=0)
    while step < longest:
        p = unite([p, p.take(np.where(age < step, -1, _earlier(places, step)))])
        step *= 2
    return [p.take(np.where(age < 1, -1, _earlier(places, 1)))]


# -- rows by index ---------------------------------------------------------------------


def _gather_labels(params: Sequence[int], axis: int, out: Sequence[int]) -> Any:
    """For each gathered element, its lane of the parameters."""
    axis %= len(params)
    rank = len(out) - len(params) + 1
    kept = (*params[:axis], *(1,) * rank, *params[axis + 1 :])
    return spread_to(kept, out)


def _gather(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    if known.value(op.inputs[1]) is not None or op.attrs["batch_dims"]:
        return moved(op, deps, known)
    params, out = dims_of(op.inputs[0]), dims_of(op.outputs[0])
    axis = op.attrs["axis"]
    labels = lanes(params, (axis,))
    outs = [_gather_labels(params, axis, out)]
    return labelled(deps[:1], [labels], outs, len(labels))


def _gather_grad(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    attrs = op.attrs
    if known.value(op.inputs[1]) is not None or attrs.get("batch_dims"):
        rule = _gathers_back(0, "GatherV2", axis=attrs.get("axis", 0), batch_dims=0)
        if attrs.get("batch_dims"):
            rule = _gathers_back(0, "GatherV2")
        return rule(op, deps, known)
    axis = attrs.get("axis", 0)
    out = dims_of(op.outputs[0])
    labels = _gather_labels(out, axis, dims_of(op.inputs[0]))
    return labelled(deps[:1], [labels], [lanes(out, (axis,))], prod(out))


def _segments(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Row s of the result depends on all rows whose id is s."""
    data, ids = op.inputs[:2]
    out = dims_of(op.outputs[0])
    row = prod(out[1:])
    inner = np.arange(row)
    p = deps[0]
    assert p is not None
    values = known.value(ids)
    if values is None:
        labels = np.arange(size_of(data)) % max(row, 1)
        outs = np.arange(prod(out)) % max(row, 1)
        return labelled([p], [labels], [outs], row)
    values = values.reshape(-1, 1).astype(np.int64)
    inside = (values >= 0) & (values < out[0])
    labels = np.where(inside, values * row + inner, -1).reshape(-1)
    return [p.grouped(labels, prod(out))]


def _add_rows(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Row i depends on row i of the total and on what is added to it."""
    total, _, added = deps
    out = dims_of(op.outputs[0])
    row, size = prod(out[1:]), prod(out)
    parts = [] if total is None else [total]
    if added is not None:
        index = known.value(op.inputs[1])
        inner = np.arange(row)
        if index is None:
            labels = np.arange(added.shape[0]) % max(row, 1)
            outs = np.arange(size) % max(row, 1)
            (spread,) = labelled([added], [labels], [outs], row)
            assert spread is not None
            parts.append(spread)
        else:
            at = index.reshape(-1, 1).astype(np.int64) * row + inner
            parts.append(added.grouped(at.reshape(-1), size))
    return [unite(parts)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Identity", "PlaceholderWithDefault", "Reshape", "Squeeze", "ExpandDims",
         "Real", "Imag"),
        _same,
    ),
    "Sign": _nothing,
    **dict.fromkeys(("Select", "SelectV2"), _select),
    **dict.fromkeys(
        MOVING,
        moved,
    ),
    "AdvancedIndexGrad": _gathers_back(0, "AdvancedIndex"),
    "MirrorPadGrad": _gathers_back(0, "MirrorPad"),
    "ScatterNd": _gathers_back(1, "GatherNd"),
    "TileGrad": _gathers_back(0, "Tile"),
    "BroadcastTo": _broadcast,
    "SumTo": _sum_to,
    **dict.fromkeys(
        ("Sum", "Mean", "Max", "Min", "Prod", "LogSumExp", "EuclideanNorm", "Moments"),
        _reduction,
    ),
    **dict.fromkeys(
        ("Softmax", "LogSoftmax", "SoftmaxGrad", "Sort", "TopKV2", "Cross",
         "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"),
        _along_axis,
    ),
    "LogSumExpWeights": _weights,
    **dict.fromkeys(("Cumsum", "Cumprod", "LinearRecurrence"), _prefix),
    "SegmentCumprod": _segment_prefix,
    "GatherV2": _gather,
    "AddRows": _add_rows,
    **dict.fromkeys(("SetRows", "Rows", "RowsGrad", "SizedRows"), moved),
    **dict.fromkeys(("GatherGrad", "ScatterRows"), _gather_grad),
    **{
        f"{kind}Segment{how}": _segments
        for kind in ("", "Unsorted")
        for how in ("Sum", "Max", "Min", "Prod")
    },
}  # fmt: skip
