"""Chains of products in the order that costs least: A B v is A (B v).

Sizes are known when a run is planned, so that the order can be the best: by dynamic
programming for matrix products, by opt_einsum's paths for Einsum (numpy.einsum_path
where opt_einsum is not installed).

Precondition: static shapes; results between that nothing else reads; no more than 24
matrices or 16 operands at a time.
Postcondition: at most 3/4 of the multiplications, else nothing changes.  Products of
integers wrap around to the same.  Those of floating numbers are rounded elsewhere: in
either order they differ from the true product by at most (k_1 + k_2 + ...) u |A| |B|
..., the k the inner sizes and u the unit roundoff, element by element; an intermediate
result may overflow in one order and not in the other.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..program import VARIABLE, Node, Program, Value
from ._walk import Budget, Walk

__all__ = ["order_chains"]

_MOST_MATRICES = 24
_MOST_OPERANDS = 16
# What a new order must save, of the multiplications.
_WORTH = 0.75


def order_chains(program: Program) -> int:
    """Order chains; returns how many changed."""
    if program.types.isdisjoint(_KINDS):
        return 0
    links = [n for n in program.nodes if n.opdef.type in _KINDS]
    made = {v for n in links for v in n.outputs}
    if made.isdisjoint(v for n in links for v in n.inputs):
        return 0
    walk = Walk(program, Budget(len(program.nodes)))
    inner = {_inner(walk, n, v) for n in links for v in n.inputs}
    rules = {"MatMul": _matmul, "Einsum": _einsum}

    def rule(w: Walk, node: Node) -> str | None:
        # The outermost product sees the whole chain.
        if node in inner or node.after or node.outputs[0].size < 0:
            return None
        return rules[node.opdef.type](w, node)

    return walk.run(dict.fromkeys(rules, rule))


_KINDS = ("Einsum", "MatMul")


def _inner(w: Walk, node: Node, v: Value) -> Node | None:
    """The product that makes ``v`` for ``node`` alone, where the two are a chain."""
    made = w.made_by(v, node.opdef.type)
    if made is None or w.uses[v] > 1 or not v.static:
        return None
    return made if _is_link(node) and _is_link(made) else None


def _is_link(node: Node) -> bool:
    attrs = node.attrs
    if node.opdef.type == "Einsum":
        return not attrs["loose"]
    plain = not (attrs["adjoint_a"] or attrs["adjoint_b"])
    return plain and all(v.static and len(v.dims or ()) == 2 for v in node.inputs)


# -- matrices ------------------------------------------------------------------------


class _Factor(NamedTuple):
    """A matrix of a chain, or its transpose."""

    value: Value
    flipped: bool

    @property
    def dims(self) -> tuple[int, int]:
        """Rows and columns."""
        m, n = self.value.dims  # type: ignore[misc]
        return (n, m) if self.flipped else (m, n)  # type: ignore[return-value]


def _factors(w: Walk, node: Node) -> tuple[list[_Factor], int]:
    """The factors of a chain from left to right, and its multiplications."""
    factors: list[_Factor] = []
    cost = 0
    stack: list[Any] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, _Factor):
            factors.append(item)
            continue
        attrs = item.attrs
        sides = [
            _Factor(v, attrs[f"transpose_{side}"]) for v, side in zip(item.inputs, "ab")
        ]
        (m, k), (_, n) = sides[0].dims, sides[1].dims
        cost += m * k * n
        room = len(factors) + len(stack) + 2 < _MOST_MATRICES
        for side in reversed(sides):
            made = None if side.flipped or not room else _inner(w, item, side.value)
            stack.append(side if made is None else made)
    return factors, cost


def _matmul(w: Walk, node: Node) -> str | None:
    if not _is_link(node):
        return None
    factors, cost = _factors(w, node)
    n = len(factors)
    if n < 3 or any(f.value.kind == VARIABLE for f in factors):
        return None
    if not w.budget.spend(n * n * n // 6):
        return None
    sizes = [factors[0].dims[0], *[f.dims[1] for f in factors]]
    least, cuts = _best(sizes)
    if least > _WORTH * cost:
        return None

    def product(i: int, j: int) -> _Factor:
        if i == j:
            return factors[i]
        left, right = product(i, cuts[i, j]), product(cuts[i, j] + 1, j)
        values = [left.value, right.value]
        return _Factor(w.add(node, "MatMul", values, _flags(left, right)), False)

    left, right = product(0, cuts[0, n - 1]), product(cuts[0, n - 1] + 1, n - 1)
    w.turn(node, "MatMul", [left.value, right.value], _flags(left, right))
    return "products of matrices in another order"


def _flags(left: _Factor, right: _Factor) -> dict[str, bool]:
    return {
        "transpose_a": left.flipped,
        "transpose_b": right.flipped,
        "adjoint_a": False,
        "adjoint_b": False,
    }


def _best(sizes: Sequence[int]) -> tuple[int, dict[tuple[int, int], int]]:
    """The least multiplications of a chain, and where to cut each part of it."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    cuts: dict[tuple[int, int], int] = {}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            ends = sizes[i] * sizes[j + 1]
            cost[i, j], cuts[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + ends * sizes[k + 1], k)
                for k in range(i, j)
            )
    return cost[0, n - 1], cuts


# -- sums of products ----------------------------------------------------------------


def _terms(equation: str) -> tuple[str, str, str]:
    left, out = equation.split("->")
    a, b = left.split(",")
    return a, b, out


def _operands(w: Walk, node: Node) -> tuple[list[tuple[Value, str]], str, int] | None:
    """The operands of a tree of sums of products under common labels, the labels of
    its result, and its multiplications."""
    out = _terms(node.attrs["equation"])[2]
    import string  # slow to load

    spare = iter([c for c in string.ascii_letters if c not in node.attrs["equation"]])
    names = {c: c for c in node.attrs["equation"] if c in string.ascii_letters}
    leaves: list[tuple[Value, str]] = []
    cost = 0
    stack: list[tuple[Node, dict[str, str]]] = [(node, names)]
    while stack:
        item, names = stack.pop()
        *terms, _ = _terms(item.attrs["equation"])
        cost += _multiplications(zip(item.inputs, terms))
        for v, term in zip(item.inputs, terms):
            labels = "".join(names[c] for c in term)
            made = _inner(w, item, v)
            if made is None or len(leaves) + len(stack) + 2 > _MOST_OPERANDS:
                leaves.append((v, labels))
                continue
            *inside, result = _terms(made.attrs["equation"])
            mine = dict(zip(result, labels))
            for c in dict.fromkeys("".join(inside)):
                if c not in mine:
                    fresh = next(spare, None)
                    if fresh is None:
                        return None
                    mine[c] = fresh
            stack.append((made, mine))
    return leaves, out, cost


def _multiplications(operands: Any) -> int:
    sizes: dict[str, int] = {}
    for v, labels in operands:
        sizes.update(zip(labels, v.dims))
    return math.prod(sizes.values())


def _einsum(w: Walk, node: Node) -> str | None:
    if not _is_link(node) or not all(v.static for v in node.inputs):
        return None
    found = _operands(w, node)
    if found is None:
        return None
    parts, out, cost = found
    if len(parts) < 3 or any(v.kind == VARIABLE or not v.static for v, _ in parts):
        return None
    if not w.budget.spend(50 * len(parts) ** 3):
        return None
    equation = ",".join(labels for _, labels in parts) + "->" + out
    shapes: list[Any] = [v.dims for v, _ in parts]
    path = _path(equation, shapes)
    if any(len(pair) != 2 for pair in path):
        return None
    return _contract(w, node, parts, out, path, cost)


def _contract(
    w: Walk,
    node: Node,
    parts: list[tuple[Value, str]],
    out: str,
    path: Sequence[Sequence[int]],
    cost: int,
) -> str | None:
    """Build the products of a path, if they are fewer."""
    sizes: dict[str, int] = {}
    for v, labels in parts:
        sizes.update(zip(labels, v.dims))  # type: ignore[arg-type]
    left_over = [term for _, term in parts]
    steps = []
    total = 0
    for pair in path:
        j, i = sorted(pair, reverse=True)
        b, a = left_over.pop(j), left_over.pop(i)
        rest = set(out).union(*left_over)
        kept = "".join(c for c in dict.fromkeys(a + b) if c in rest)
        made = kept if left_over else out
        total += math.prod(sizes[c] for c in {*a, *b})
        steps.append((i, j, f"{a},{b}->{made}"))
        left_over.append(made)
    if total > _WORTH * cost:
        return None
    values = [v for v, _ in parts]
    for i, j, equation in steps:
        right, left = values.pop(j), values.pop(i)
        attrs = {"equation": equation, "loose": ""}
        if not values:
            w.turn(node, "Einsum", [left, right], attrs)
            break
        values.append(w.add(node, "Einsum", [left, right], attrs))
    return "an einsum in another order"


def _path(equation: str, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Which operands to multiply in turn; results go to the end."""
    try:
        planner = importlib.import_module("opt_einsum")
    except ImportError:
        arrays = [np.broadcast_to(np.float32(0), dims) for dims in shapes]
        how = "optimal" if len(shapes) <= 6 else "greedy"
        path = np.einsum_path(equation, *arrays, optimize=(how, 1 << 60))[0]
        return [tuple(pair) for pair in path[1:]]
    return list(planner.contract_path(equation, *shapes, shapes=True)[0])
