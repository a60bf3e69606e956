"""Einstein summation, lowered to one matrix product per pair of operands."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import broadcast, is_static, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import common_dtype, create, pair, scope
from ._jets import bilinear
from ._kinds import require
from ._later import batch_product
from .core import cast
from .linalg import _product
from .reduction import reduce_sum
from .views import transpose

__all__ = ["einsum", "tensordot"]


# -- the op: two operands --------------------------------------------------------------


def _terms(equation: str) -> tuple[str, str, str]:
    left, out = equation.split("->")
    a, b = left.split(",")
    return a, b, out


def _infer_einsum(inputs: Sequence[Any], attrs: Any) -> Any:
    a, b = inputs
    require(inputs, "ifc")
    la, lb, lo = _terms(attrs["equation"])
    sizes: dict[str, int | None] = {}
    for labels, x in ((la, a), (lb, b)):
        if x.dims is None:
            continue
        if len(x.dims) != len(labels):
            raise ShapeError(
                f"equation {attrs['equation']!r}: {labels!r} has {len(labels)} axes, "
                f"its operand has shape {text(x.dims)}"
            )
        for label, d in zip(labels, x.dims):
            if label not in sizes or label in attrs["loose"]:
                merged = broadcast((sizes.get(label, 1),), (d,)) or (None,)
                sizes[label] = merged[0]
            elif sizes[label] is None:
                sizes[label] = d
            elif d is not None and d != sizes[label]:
                raise ShapeError(
                    f"equation {attrs['equation']!r}: axis {label!r} has sizes "
                    f"{sizes[label]} and {d}"
                )
    for labels, x in ((la, a), (lb, b)):
        if x.dims is None:
            # A size-1 axis may still meet a larger one here.
            for label in set(labels) & set(attrs["loose"]):
                if sizes.get(label) == 1:
                    sizes[label] = None
    return ((a.dtype, tuple(sizes.get(label) for label in lo)),)


class _Lowering(NamedTuple):
    """How a pair becomes a product of matrices, one for each index of a batch.

    Attributes:
        swap: the second operand stands on the left, so that the last axis of the result
            is one of the columns.
        batch, left, inner: how many labels stand for each of these.
        perm_a, perm_b: the order of axes of the left and the right operand.
        perm_o: the order of the result's axes among (batch, left, right).
        straight: whether these are the result's axes in their order.
        copies: whether the left operand, the right one and the product need memory,
            as axes that become one are not beside each other.
    """

    swap: bool
    batch: int
    left: int
    inner: int
    perm_a: tuple[int, ...]
    perm_b: tuple[int, ...]
    perm_o: tuple[int, ...]
    straight: bool
    copies: tuple[bool, bool, bool]


@lru_cache(maxsize=512)
def _lowering(equation: str) -> _Lowering:
    la, lb, lo = _terms(equation)
    swap = lo[-1:] in la and lo[-1:] not in lb
    if swap:
        la, lb = lb, la
    batch = [c for c in lo if c in la and c in lb]
    inner = [c for c in la if c in lb and c not in lo]
    left = [c for c in lo if c in la and c not in lb]
    right = [c for c in lo if c in lb and c not in la]
    perm_a = tuple(la.index(c) for c in (*batch, *left, *inner))
    perm_b = tuple(lb.index(c) for c in (*batch, *inner, *right))
    made = [*batch, *left, *right]
    perm_o = tuple(made.index(c) for c in lo)
    groups = [(left, la), (inner, la)], [(inner, lb), (right, lb)]
    apart = [not all(_beside(*g) for g in pair) for pair in groups]
    straight = lo == "".join(made)
    # BLAS writes rows wherever they are, if a row is in one piece.
    rows = len(left) <= 1 and len(right) == 1 and lo[-1:] == right[-1]
    copies = (apart[0], apart[1], not straight and not rows)
    sizes = len(batch), len(left), len(inner)
    return _Lowering(swap, *sizes, perm_a, perm_b, perm_o, straight, copies)


def _beside(group: Sequence[str], labels: str) -> bool:
    return "".join(group) in labels


def _einsum_kernel(
    xp: Any,
    a: Any,
    b: Any,
    *,
    equation: str,
    loose: str,
    out: Any = None,
    work: Any = (),
) -> Any:
    la, lb, _ = _terms(equation)
    sizes = dict(zip(la, a.shape))
    form = _lowering(equation)
    if any(sizes.get(c, n) != n for c, n in zip(lb, b.shape)):
        if form.inner == 0 or any(c not in loose for c in la if c in lb):
            _check(equation, la, lb, a, b, loose)
        return xp.einsum(equation, a, b, out=out)
    if form.swap:
        a, b = b, a
    a, b = a.transpose(form.perm_a), b.transpose(form.perm_b)
    nb, nl, ni = form.batch, form.left, form.inner
    if ni == 0:
        nr = b.ndim - nb
        a = a.reshape(a.shape + (1,) * nr)
        b = b.reshape(b.shape[:nb] + (1,) * nl + b.shape[nb:])
        target = None if out is None else out.transpose(_inverse(form.perm_o))
        result = xp.multiply(a, b, target)
        return xp.asarray(result).transpose(form.perm_o) if out is None else out
    batch, rows = a.shape[:nb], a.shape[nb : nb + nl]
    columns = b.shape[nb + ni :]
    k = _size(a.shape[nb + nl :])
    m, n = _size(rows), _size(columns)
    if work:
        scratch = iter(work)
        a, b = (
            _copied(xp, x, next(scratch)) if copy else x
            for x, copy in zip((a, b), form.copies)
        )
    placed = out is not None and not form.copies[2]
    flat = None
    if placed:
        # A view: axes are only put in order, and one of size 1 is added.
        made = out if form.straight else out.transpose(_inverse(form.perm_o))
        flat = made.reshape(*batch, m, n)
    elif form.copies[2] and work:
        flat = next(scratch)
    result = _product(xp, a.reshape(*batch, m, k), b.reshape(*batch, k, n), flat)
    if placed:
        return out
    result = xp.asarray(result).reshape((*batch, *rows, *columns))
    result = result.transpose(form.perm_o)
    if out is None:
        return result
    xp.copyto(out, result)
    return out


def _copied(xp: Any, x: Any, out: Any) -> Any:
    xp.copyto(out, x)
    return out


def _einsum_workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
    """Memory for operands in another order and for a product that is not."""
    form = _lowering(attrs["equation"])
    if form.inner == 0 or not all(is_static(x.dims) for x in (*inputs, *outputs)):
        return []
    if not _same_sizes(inputs, attrs["equation"]):
        return []
    pair = inputs[::-1] if form.swap else inputs
    orders = form.perm_a, form.perm_b
    found = [
        (x.dtype.dtype, tuple(x.dims[i] for i in perm))
        for x, perm, copy in zip(pair, orders, form.copies)
        if copy
    ]
    if form.copies[2]:
        made = [outputs[0].dims[i] for i in _inverse(form.perm_o)]
        nb, nl = form.batch, form.left
        m, n = _size(made[nb : nb + nl]), _size(made[nb + nl :])
        found.append((outputs[0].dtype.dtype, (*made[:nb], m, n)))
    return found


def _same_sizes(inputs: Any, equation: str) -> bool:
    """Whether no axis of size 1 meets a larger one."""
    la, lb, _ = _terms(equation)
    sizes = dict(zip(la, inputs[0].dims))
    return all(sizes.get(c, n) == n for c, n in zip(lb, inputs[1].dims))


def _check(equation: str, la: str, lb: str, a: Any, b: Any, loose: str) -> None:
    for c in la:
        if c in lb and c not in loose:
            m, n = a.shape[la.index(c)], b.shape[lb.index(c)]
            if m != n:
                raise InvalidArgumentError(
                    f"equation {equation!r}: axis {c!r} has sizes {m} and {n}"
                )


def _size(dims: Sequence[int]) -> int:
    n = 1
    for d in dims:
        n *= d
    return n


def _inverse(perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def _einsum_flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    la, lb, _ = _terms(attrs["equation"])
    sizes = dict(zip(la, inputs[0].dims or ()))
    for label, d in zip(lb, inputs[1].dims or ()):
        sizes[label] = max(d or 0, sizes.get(label) or 0)
    return 2 * _size([d or 0 for d in sizes.values()])


def _pair_node(
    equation: str, a: Tensor, b: Tensor, loose: str, name: str | None = None
) -> Tensor:
    return create(EINSUM, (a, b), {"equation": equation, "loose": loose}, name)


def _einsum_pull(op: Operation, g: Tensor, mine: int) -> Tensor:
    terms = _terms(op.attrs["equation"])
    x, other = op.inputs[mine], op.inputs[1 - mine]
    if other.dtype.is_complex:
        other = TABLE["conj"](other)
    equation = f"{terms[2]},{terms[1 - mine]}->{terms[mine]}"
    grad = _pair_node(equation, g, other, op.attrs["loose"])
    if not op.attrs["loose"] or (grad.dims == x.dims and is_static(x.dims)):
        return grad
    return TABLE["sum_to"](grad, x)  # type: ignore[no-any-return]


def _einsum_jvp(op: Operation, ta: Tensor | None, tb: Tensor | None) -> Tensor:
    a, b = op.inputs
    equation, loose = op.attrs["equation"], op.attrs["loose"]
    terms = []
    if ta is not None:
        terms.append(_pair_node(equation, ta, b, loose))
    if tb is not None:
        terms.append(_pair_node(equation, a, tb, loose))
    return terms[0] if len(terms) == 1 else TABLE["add"](*terms)


EINSUM = OpDef(
    "Einsum",
    infer=_infer_einsum,
    kernel=_einsum_kernel,
    inputs=("a", "b"),
    vjp=(
        lambda op, g: _einsum_pull(op, g, 0),
        lambda op, g: _einsum_pull(op, g, 1),
    ),
    jvp=_einsum_jvp,
    jet=bilinear(0, 1),
    writes_out=True,
    workspace=_einsum_workspace,
    flops=_einsum_flops,
    batch=batch_product.einsum,
    doc="products of a and b, summed over the labels that the result lacks",
)


# -- the builder -----------------------------------------------------------------------


def _parse(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str, str]:
    """Labels per operand, of the result, and those that stand for ``...``."""
    compact = equation.replace(" ", "")
    left, arrow, out = compact.partition("->")
    terms = left.split(",")
    who = f"einsum {equation!r}"
    if len(terms) != len(tensors):
        raise InvalidArgumentError(
            f"{who} names {len(terms)} operands, {len(tensors)} were given"
        )
    used = set(compact)
    spare = [c for c in string.ascii_letters if c not in used]
    most = 0
    counts = []
    for term, t in zip(terms, tensors):
        letters = term.replace("...", "", 1)
        if not all(c in string.ascii_letters for c in letters):
            raise InvalidArgumentError(f"{who}: {term!r} is not a list of letters")
        if "..." in term:
            if t.dims is None:
                raise ShapeError(f"{who}: '...' needs a known rank, not that of {t!r}")
            counts.append(len(t.dims) - len(letters))
            most = max(most, counts[-1])
        else:
            counts.append(0)
        if t.dims is not None and len(t.dims) != len(letters) + counts[-1]:
            raise ShapeError(f"{who}: {term!r} does not fit shape {text(t.dims)}")
        if counts[-1] < 0:
            raise ShapeError(f"{who}: {term!r} does not fit shape {text(t.dims)}")
    if most > len(spare):
        raise InvalidArgumentError(f"{who}: more than 52 axes")
    dots = "".join(spare[:most])
    labels = [
        term.replace("...", dots[most - n :] if n else "")
        for term, n in zip(terms, counts)
    ]
    if not arrow:
        once = sorted(c for c in used - set(",.->") if left.count(c) == 1)
        out = "..." * ("..." in left) + "".join(once)
    result = out.replace("...", dots)
    known = set("".join(labels))
    if len(set(result)) != len(result) or not set(result) <= known:
        raise InvalidArgumentError(
            f"{who}: the result {out!r} must name labels of the operands, each once"
        )
    return labels, result, dots


def _diagonals(x: Tensor, labels: str) -> tuple[Tensor, str]:
    """``x`` with repeated labels reduced to diagonals."""
    from .matrix import matrix_diag_part

    while len(set(labels)) < len(labels):
        c = next(c for c in labels if labels.count(c) > 1)
        i = labels.index(c)
        j = labels.index(c, i + 1)
        rest = [k for k in range(len(labels)) if k not in (i, j)]
        x = matrix_diag_part(transpose(x, [*rest, i, j]))
        labels = "".join(labels[k] for k in rest) + c
    return x, labels


def _reduced(x: Tensor, labels: str, keep: set[str]) -> tuple[Tensor, str]:
    """``x`` summed over the labels that nothing else names."""
    gone = [i for i, c in enumerate(labels) if c not in keep]
    if gone:
        x = reduce_sum(x, gone)
        labels = "".join(c for c in labels if c in keep)
    return x, labels


def _next_pair(parts: Sequence[tuple[Tensor, str]], out: str) -> tuple[int, int]:
    """The pair whose product is smallest (unknown sizes count as 16)."""
    best: tuple[float, int, int] | None = None
    for i in range(len(parts)):
        for j in range(i + 1, len(parts)):
            rest = set(out).union(
                *(set(p[1]) for k, p in enumerate(parts) if k not in (i, j))
            )
            sizes: dict[str, int] = {}
            for t, labels in (parts[i], parts[j]):
                for c, d in zip(labels, t.dims or (None,) * len(labels)):
                    sizes[c] = max(sizes.get(c, 1), 16 if d is None else d)
            shared = set(parts[i][1]) & set(parts[j][1])
            cost = float(_size([n for c, n in sizes.items() if c in rest]))
            if not shared:
                cost *= 1e6
            if best is None or cost < best[0]:
                best = (cost, i, j)
    assert best is not None
    return best[1], best[2]


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Tensor:
    """Sums of products of labelled axes: ``einsum("bij,bjk->bik", x, y)``.

    Each operand's axes are labelled by letters; the result sums, over all
    labels that it lacks, the product of the operands.  ``...`` stands for
    further axes, which broadcast; a repeated label takes a diagonal; without
    ``->`` the result has the labels that occur once, in alphabetical order.

    Args:
        equation: the labels, as for np.einsum.
        inputs: tensors of integers, floating or complex, promoted together.
        name: the name of the operation.
        optimize: accepted for NumPy programs.

    Raises:
        InvalidArgumentError: an equation that is not well formed.
        ShapeError: ranks or sizes that do not fit it.

    Every pair of operands becomes one matrix product; more than two are taken
    pair by pair, the smallest intermediate result first.

    Gradient: the same kind of sum, with the cotangent in place of the operand.
    """
    name = kwargs.pop("name", None)
    kwargs.pop("optimize", None)
    if kwargs:
        raise InvalidArgumentError(f"einsum: unexpected arguments {sorted(kwargs)}")
    if not isinstance(equation, str):
        raise InvalidArgumentError(f"einsum: {equation!r} is not an equation")
    dtype = common_dtype(inputs)
    tensors = []
    for x in inputs:
        if isinstance(x, Tensor) or hasattr(x, "_as_tensor"):
            tensors.append(cast(x, dtype))
        else:
            tensors.append(as_tensor(x, dtype))
    labels, out, loose = _parse(equation, tensors)
    with scope(name, "einsum", *tensors):
        return _contract(tensors, labels, out, loose)


def _contract(
    tensors: Sequence[Tensor], labels: Sequence[str], out: str, loose: str
) -> Tensor:
    parts = [_diagonals(t, term) for t, term in zip(tensors, labels)]
    for i, (t, term) in enumerate(parts):
        others = set(out).union(*(set(p[1]) for k, p in enumerate(parts) if k != i))
        parts[i] = _reduced(t, term, others)
    while len(parts) > 1:
        i, j = (0, 1) if len(parts) == 2 else _next_pair(parts, out)
        b, lb = parts.pop(j)
        a, la = parts.pop(i)
        if parts:
            rest = set(out).union(*(set(p[1]) for p in parts))
            lo = "".join(dict.fromkeys(c for c in la + lb if c in rest))
        else:
            lo = out
        both = loose if set(loose) & set(la) & set(lb) else ""
        parts.append((_pair_node(f"{la},{lb}->{lo}", a, b, both), lo))
    x, term = parts[0]
    if term == out:
        return x
    return transpose(x, [term.index(c) for c in out])


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """The sum of products over pairs of axes, as np.tensordot.

    Args:
        a, b: integers, floating or complex, of known rank.
        axes: n (a's last n axes with b's first n), or two lists of axes (or
            two ints) that are paired.
        name: the name of the operation.

    Raises:
        ShapeError: an unknown rank, an axis out of range, sizes that differ.
        InvalidArgumentError: lists of different lengths.

    Returns:
        a's other axes, then b's.
    """
    a, b = pair(a, b)
    if a.dims is None or b.dims is None:
        raise ShapeError(f"tensordot: {a!r} and {b!r}: both ranks must be known")
    ra, rb = len(a.dims), len(b.dims)
    if isinstance(axes, Tensor) or hasattr(axes, "_as_tensor"):
        axes = as_tensor(axes).value
        if axes is None:
            raise InvalidArgumentError("tensordot: axes must be known before the run")
        axes = axes.tolist()
    if isinstance(axes, (int, np.integer)):
        first, second = list(range(ra - int(axes), ra)), list(range(int(axes)))
        if not 0 <= axes <= min(ra, rb):
            raise ShapeError(f"tensordot: no {axes} axes in ranks {ra} and {rb}")
    else:
        one, two = axes
        first = [int(i) for i in np.reshape(one, -1)]
        second = [int(i) for i in np.reshape(two, -1)]
    if len(first) != len(second):
        raise InvalidArgumentError(
            f"tensordot: {first} and {second} must pair the same number of axes"
        )
    for i, rank in [(i, ra) for i in first] + [(i, rb) for i in second]:
        if not -rank <= i < rank:
            raise ShapeError(f"tensordot: axis {i} is out of range for rank {rank}")
    letters = string.ascii_letters
    la = list(letters[:ra])
    lb = list(letters[ra : ra + rb])
    for i, j in zip(first, second):
        lb[j] = la[i]
    paired = set(la) & set(lb)
    lo = "".join(c for c in la + lb if c not in paired)
    equation = f"{''.join(la)},{''.join(lb)}->{lo}"
    return _pair_node(equation, a, b, "", name or "Tensordot")


def _numpy_tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    return tensordot(a, b, axes)


def _numpy_einsum(*operands: Any, optimize: Any = False) -> Tensor:
    return einsum(*operands)


OPERATORS = {"einsum": einsum, "tensordot": tensordot}
NUMPY = {np.einsum: _numpy_einsum, np.tensordot: _numpy_tensordot}
