"""Sums that a loop adds up: one product, or one sum, after the loop.

The gradient of weights in a loop is a sum of thin products, ``total + A_t' B_t`` in
every iteration: each writes a matrix as large as the weights and adds it.  With the
rows of all A_t and B_t stacked below each other it is one product.  ``total + x_t`` is
the sum of the stacked x_t, where these are stacked anyway.

Precondition: native code is there, and no memory limit (see ``compiler.passes_of``); a
loop without effects that keeps no checkpoints and waits for nothing, of a known number
of iterations; only the sum reads the total.
Postcondition: the stacks that are new hold no more than the product that an iteration
need not make any more, or than 512 kB; no iteration does more than before.  The sums
have the same terms in another order: n terms are added with an error of at most n u
times the sum of their absolute values (u the unit roundoff), before and after.  A total
that starts from zeros is not added to them, so that it may be -0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...graphlib.operation import Operation
from ...graphlib.shapes import is_static
from ...graphlib.tensor import Tensor
from ..program import VARIABLE, Node, Program, Value
from ._loop_parts import LoopParts, is_zero, may_change
from ._walk import Budget, constant

__all__ = ["sum_after_loops"]

#: Bytes that new stacks may take in any case.
_SLACK = 512 * 1024
#: Iterations from which it pays.
_LEAST = 3


def sum_after_loops(program: Program) -> int:
    """Take sums out of loops; returns how many."""
    if "Loop" not in program.types:
        return 0
    budget = Budget(len(program.nodes))
    subst: dict[Value, Value] = {}
    kept: list[Node] = []
    changed = 0
    for node in program.nodes:
        node.redirect(subst)
        kept.append(node)
        if not may_change(node) or not budget.spend(len(node.attrs["body"].inputs)):
            continue
        loop = _Summing(node)
        if loop.length < _LEAST or not budget.spend(len(loop.body.operations())):
            continue
        done = loop.change(subst)
        if not done:
            continue
        for what in done:
            program.notes.add(what, node.op)
        loop.rebuild()
        program.types.update(n.opdef.type for n in loop.after)
        kept += loop.after
        changed += len(done)
    if changed:
        program.keep(kept, subst)
    return changed


class _Term(NamedTuple):
    """What an iteration adds to carry ``position``.

    ``factors`` are the matrices whose product it is, as (rows, columns) after
    ``rows`` of them are summed over; else ``whole`` is summed over its first axes.
    """

    position: int
    factors: tuple[Tensor, ...]
    whole: Tensor | None


class _Summing(LoopParts):
    """A loop that adds something up."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.after: list[Node] = []

    def change(self, subst: dict[Value, Value]) -> list[str]:
        """Take out what pays: products first, whose stacks sums may share."""
        terms = self._terms()
        if not terms:
            return []
        self.known = {t: v for t, v in self.rows if v.static and v.kind != VARIABLE}
        self.known.update({t: v for t, v, _ in self.stacks if v.static})
        done = []
        gone = set()
        for term in sorted(terms, key=lambda term: not term.factors):
            total = self._product(term) if term.factors else self._sum(term)
            if total is None:
                continue
            first, final = self.carries[term.position][1], self.finals[term.position]
            if not is_zero(first):
                total = self.made(self.after, "Add", [first, total], {}, final)
            subst[final] = total
            gone.add(term.position)
            kind = "products" if term.factors else "terms"
            done.append(f"a sum of {kind}, after the loop")
        self.keep_carries([i for i in range(len(self.carries)) if i not in gone])
        return done

    # -- what is added up --------------------------------------------------------------

    def _terms(self) -> list[_Term]:
        readers = self.body_readers()
        ends = {*(t for t, _, _ in self.stacks)}
        found = []
        for i, (c, first) in enumerate(self.carries):
            new = self.carried[i]
            op = new.op
            if i in self.histories or i in self.unshaped or first.kind == VARIABLE:
                continue
            if op.type not in ("Add", "AddN") or len(op.inputs) != 2:
                continue
            if op.control_inputs or readers[c] != [op] or readers[new]:
                continue
            if not c.dtype.is_inexact or not first.static:
                continue
            if first.dims != self.finals[i].dims or {c, new} & ends:
                continue
            if self.carried.count(new) > 1 or c in self.carried:
                continue
            a, b = op.inputs
            part = b if a is c else a
            if part is c or self.dims_of([part])[0] != first.dims:
                continue
            alone = readers[part] == [op] and part not in (*ends, *self.carried)
            found.append(self._term(i, part, alone))
        return [term for term in found if term is not None]

    def _term(self, i: int, part: Tensor, alone: bool) -> _Term | None:
        """The term ``part`` of carry ``i``; ``alone``: nobody else reads it."""
        op = part.op
        inside = {t for pairs in (self.rows, self.rest) for t, _ in pairs}
        if not alone or part in inside or op.control_inputs:
            return _Term(i, (), part)
        if op.type == "MatMul":
            return _Term(i, tuple(op.inputs), None)
        if op.type == "SumTo":
            x, out = op.inputs[0], self.dims_of([part])[0]
            dims = self.dims_of([x])[0]
            if dims and out is not None and dims[len(dims) - len(out) :] == out:
                return _Term(i, (), x)
        return _Term(i, (), part)

    # -- after the loop ----------------------------------------------------------------

    def _product(self, term: _Term) -> Value | None:
        """The sum of the products of all iterations."""
        added = self.carried[term.position].op.inputs
        product = next(t.op for t in added if t is not self.carries[term.position][0])
        sides = self._sides(product, term)
        if sides is None:
            return None
        final = self.finals[term.position]
        if not self._may_stack([t for t, _, _ in sides], final.nbytes):
            return None
        tall = []
        for t, rows, columns in sides:
            stack = self._stack(t, final)
            dims = constant(np.array([self.length * rows, columns], np.int32), final)
            dims.tensor = None
            tall.append(self.made(self.after, "Reshape", [stack, dims], {}, final))
        attrs = dict(product._attrs, transpose_a=True, transpose_b=False)
        return self.made(self.after, "MatMul", tall, attrs, final)

    def _sides(
        self, product: Operation, term: _Term
    ) -> list[tuple[Tensor, int, int]] | None:
        """(tensor, rows, columns) of the two factors, where rows of each belong
        together."""
        attrs = product._attrs
        if attrs["adjoint_a"] or attrs["adjoint_b"]:
            return None
        found = []
        flags = attrs["transpose_a"], not attrs["transpose_b"]
        shapes = self.dims_of(term.factors)
        for t, dims, rows_first in zip(term.factors, shapes, flags):
            if not is_static(dims) or len(dims) != 2 or not self._moves(t):
                return None
            rows, columns = dims if rows_first else dims[::-1]
            if not rows_first and rows != 1:
                return None  # its rows would have to be turned first
            found.append((t, rows, columns))
        return found

    def _sum(self, term: _Term) -> Value | None:
        """The sum of the terms of all iterations."""
        t, final = term.whole, self.finals[term.position]
        assert t is not None
        (dims,) = self.dims_of([t])
        if not is_static(dims) or t not in self.known or not self._moves(t):
            return None
        sizes = constant(np.array(final.dims, np.int32), final)
        sizes.tensor = None
        return self.made(self.after, "SumTo", [self._stack(t, final), sizes], {}, final)

    # -- stacks ------------------------------------------------------------------------

    def _moves(self, t: Tensor) -> bool:
        """Whether each iteration makes ``t`` anew."""
        same = any(t is r for r, _ in self.rest) or t.op.opdef.effect == "constant"
        return not same and t.dtype.is_inexact

    def _may_stack(self, tensors: list[Tensor], saved: int) -> bool:
        """Whether the stacks take little that are not there yet."""
        new = [t for t in dict.fromkeys(tensors) if t not in self.known]
        size = 0
        for t, dims in zip(new, self.dims_of(new)):
            assert is_static(dims), "they are looked at first"
            size += math.prod(dims) * t.dtype.size
        return self.length * size <= max(saved, _SLACK)

    def _stack(self, t: Tensor, like: Value) -> Value:
        if t not in self.known:
            self.known[t] = self.stacked(t, self.dims_of([t])[0], like)
        return self.known[t]
