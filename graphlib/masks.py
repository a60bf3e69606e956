"""Gradients through ``where`` that what is not chosen cannot make NaN.

The cotangent that a Select sends to one of its branches is zero where the condition
chose the other.  Further back an infinite partial derivative would turn that zero
into NaN: 0 * inf.  So the walk remembers for such a cotangent the mask under which
alone it counts, carries the mask back through operations that keep elements in
place or only move, repeat and add them, and puts the zeros back once, where the
elements are about to be mixed or the walk ends.  Rubbish in between stays at places
that the mask excludes.

Into the bodies of loops, branches and functions, and out of them, no mask is passed:
the cotangent that crosses is clean, and counts where it is not zero.

Where a mask is lost (behind a matrix product, say) and an operation follows whose
slope can be infinite, at an argument that the condition guards, a warning shows the
safe form.  Without a Select in the graph nothing here runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import GradientWarning
from .opdef import lookup
from .operation import SELECTS, Operation, is_control
from .operators import TABLE
from .records import record, replace
from .shapes import is_static
from .source import warn
from .stacks import home
from .tensor import Tensor

__all__ = ["Masks", "guarded", "selects"]

# Results are sums of input elements with weights >= 0 that depend on no value, so the
# vjp of a mask says which input elements a masked cotangent can reach.
_MOVING = frozenset(
    (
        "BroadcastTo",
        "ConcatV2",
        "ExpandDims",
        "GatherNd",
        "GatherV2",
        "MatrixDiag",
        "MatrixDiagPart",
        "MatrixTranspose",
        "Mean",
        "Pack",
        "Pad",
        "Reshape",
        "ReverseV2",
        "Roll",
        "Rows",
        "RowsGrad",
        "Slice",
        "Split",
        "SplitV",
        "Spread",
        "Squeeze",
        "StridedSlice",
        "Sum",
        "SumTo",
        "Tile",
        "Transpose",
        "TransposeBy",
        "Unpack",
    )
)
# Reductions: what is not chosen of the results is whole rows of the input.
_REDUCING = frozenset(("EuclideanNorm", "LogSumExp", "Max", "Min", "Prod"))
# Rules that the program gives: they may be nonlinear in the cotangent.
_GIVEN = frozenset(("CustomGradient", "PyFunc", "PyFuncStateless"))
# Ops that keep elements in place, though they are not computed one by one.
_PASSING = frozenset(("Identity", "Imag", "PlaceholderWithDefault", "Real"))
# Ops in place whose partial derivatives are fixed finite numbers.
_PLAIN = frozenset(
    ("Add", "AddN", "Cast", "Complex", "Conj", "Neg", "Sub", *SELECTS, *_PASSING)
)
# How far back a condition is followed to see what it guards, and how many are.
_REACH = 200
_FOLLOWED = 16


class _Mask:
    """Where a cotangent can be other than zero; a bool tensor, built when needed.

    Attributes:
        conditions: the conditions of the Selects that it comes from (None: many).
        single: whether it is a scalar, for all elements alike.
        parts: for an operation with several outputs, the mask of each.
        branch: for one branch of a Select, (the mask around it, the Select, side).
    """

    __slots__ = (
        "_build",
        "_needs",
        "_tensor",
        "branch",
        "conditions",
        "parts",
        "single",
    )

    def __init__(
        self,
        build: Callable[[], Tensor],
        needs: Sequence[_Mask],
        conditions: frozenset[Tensor] | None,
        single: bool = False,
    ) -> None:
        self._build = build
        self._needs = tuple(needs)
        self._tensor: Tensor | None = None
        self.conditions = conditions
        self.single = single
        self.parts: dict[int, _Mask] = {}
        self.branch: tuple[_Mask | None, Operation, bool] | None = None

    def tensor(self) -> Tensor:
        """The mask: True where the cotangent counts."""
        stack = [self]
        while stack:  # no recursion: wheres nest as deep as the graph
            mask = stack[-1]
            waiting = [m for m in mask._needs if m._tensor is None]
            if mask._tensor is None and waiting:
                stack += waiting
                continue
            if mask._tensor is None:
                mask._tensor = mask._build()
                mask._needs = ()
            stack.pop()
        assert self._tensor is not None
        return self._tensor


def _union(*sets: frozenset[Tensor] | None) -> frozenset[Tensor] | None:
    """The conditions of several masks; None where they get too many to follow."""
    whole: set[Tensor] = set()
    for s in sets:
        if s is None:
            return None
        whole |= s
    return frozenset(whole) if len(whole) <= _FOLLOWED else None


@record(frozen=True, slots=True)
class _State:
    """What is known of the sum of cotangents of a tensor.

    Attributes:
        mask: where it counts; None: everywhere.
        dirty: whether it may hold rubbish where it does not count.
        lost: conditions whose mask was lost on the way from y (None: many).
    """

    mask: _Mask | None
    dirty: bool
    lost: frozenset[Tensor] | None


_NOTHING = _State(None, False, frozenset())


def selects(op: Operation) -> bool:
    """Whether masks begin at ``op``: a Select, or one in its bodies."""
    return op.type in SELECTS or (is_control(op) and _holds_select(op))


def _holds_select(op: Operation) -> bool:
    return _bodies_have(op, "_select", lambda o: o.type in SELECTS)


def _mixes(op: Operation) -> bool:
    """Whether something in the bodies of ``op`` mixes elements of what has a slope."""

    def mixing(o: Operation) -> bool:
        if o.opdef.override is None and o.type in _MOVING | _REDUCING | SELECTS:
            return False
        slopes = any(t.dtype.is_inexact for t in o.inputs)
        return slopes and not is_control(o) and not _in_place(o)

    return _bodies_have(op, "_mixing", mixing)


def _bodies_have(op: Operation, what: str, test: Callable[[Operation], bool]) -> bool:
    """Whether the bodies of ``op``, and theirs, hold an operation that passes."""
    known: dict[Operation, bool] = vars(op.graph).setdefault(f"{what}_in", {})
    if op not in known:
        attrs = op._attrs
        bodies = attrs["branches"] if "branches" in attrs else (attrs["body"],)
        known[op] = any(
            _bodies_have(o, what, test) if is_control(o) else test(o)
            for body in bodies
            for o in body.operations()
        )
    return known[op]


def guarded(op: Operation) -> bool:
    """Whether what is 0 of the cotangents of ``op`` (with bodies) does not count."""
    masked = home(op.graph)._local.context.masked
    return masked is not None and masked[0] is op


class Masks:
    """The masks of one walk; ``live`` is False until it met a Select."""

    def __init__(self) -> None:
        self.live = False
        self._states: dict[Tensor, _State] = {}
        self._crossed = False
        self._told: set[Any] = set()

    def seed(self, grads: Any, total: Any) -> None:
        """What is 0 of the cotangents that a walk starts from does not count."""
        self.live = True
        for t in grads:
            self._states[t] = _State(_nonzero(total(grads, t)), False, frozenset())

    # -- before an operation's rule ------------------------------------------------

    def enter(self, op: Operation, grads: Any, total: Any, targets: set[Tensor]) -> Any:
        """Clean what ``op`` would mix up; the state of its cotangents.

        Also sets what ``unbroadcast`` applies before it sums.
        """
        keeps = _in_place(op)
        states = []
        for t in op.outputs:
            mine = self._states.get(t, _NOTHING)
            if mine.dirty and (not keeps or t in targets):
                self._clean(t, grads, total)
                mine = self._states[t]
            if t in grads:
                states.append((t.index, mine))
        state = states[0][1] if len(op.outputs) == 1 and states else _together(states)
        if state.lost and op.opdef.singular:
            self._warn(op, state)
        mask = state.mask
        if mask is not None and keeps:
            home(op.graph)._local.context.masked = op, lambda g: _select(mask, g)
        if is_control(op):
            self._crossed = any(s.mask is not None for _, s in states)
            if self._crossed:
                home(op.graph)._local.context.masked = op, None
        return state

    def leave(self, op: Operation) -> None:
        """Forget what :meth:`enter` set."""
        home(op.graph)._local.context.masked = None
        for t in op.outputs:
            self._states.pop(t, None)

    def pass_out(self, inner: Tensor, outer: Tensor, grads: Any, total: Any) -> None:
        """Note the state of what goes from a captured tensor to what it stands for."""
        state = self._states.pop(inner, _NOTHING)
        if outer not in grads:
            if state is not _NOTHING:
                self._states[outer] = state
            return
        self._states[inner] = state
        for t in (inner, outer):
            self.finish(t, grads, total)
            self._states.pop(t, None)

    def finish(self, t: Tensor, grads: Any, total: Any) -> None:
        """Clean the cotangent of a tensor where the walk ends."""
        state = self._states.get(t)
        if state is not None and state.dirty:
            self._clean(t, grads, total)

    def _clean(self, t: Tensor, grads: Any, total: Any) -> None:
        state = self._states[t]
        g = total(grads, t)
        if g is not None and state.mask is not None:
            grads[t] = [_select(state.mask, g)]
        self._states[t] = replace(state, dirty=False)

    # -- after it ------------------------------------------------------------------

    def arrive(
        self,
        op: Operation,
        index: int,
        g: Any,
        state: _State,
        grads: Any,
        cotangents: Sequence[Any],
    ) -> Any:
        """Note the state of the contribution ``g`` to an input; perhaps clean it."""
        t = op.inputs[index]
        new = self._behind(op, index, state, cotangents, g)
        parts = grads.get(t)
        if not parts:
            if new is not _NOTHING:
                self.live = True
                self._states[t] = new
            return g
        old = self._states.get(t, _NOTHING)
        if old is _NOTHING and new is _NOTHING:
            return g
        lost = _union(old.lost, new.lost)
        if old.mask is new.mask:
            self._states[t] = _State(old.mask, old.dirty or new.dirty, lost)
            return g
        if old.dirty and old.mask is not None:
            grads[t] = [_select(old.mask, p) for p in parts]
        if new.dirty and new.mask is not None:
            g = _select(new.mask, g)
        mask = _either(old.mask, new.mask)
        self._states[t] = _State(mask, False, lost)
        return g

    def _behind(
        self,
        op: Operation,
        index: int,
        state: _State,
        cotangents: Sequence[Any],
        g: Any,
    ) -> _State:
        """The state of ``g``, which ``op`` sends to one of its inputs."""
        mask, opdef = state.mask, op.opdef
        if is_control(op) and (mask is None or not mask.single):
            conditions = frozenset() if mask is None else mask.conditions
            lost = state.lost
            if _mixes(op):
                lost, conditions = _union(lost, conditions), frozenset()
            if type(g) is Tensor and (self._crossed or _holds_select(op)):
                return _State(_nonzero(g, conditions), False, lost)
            return _State(None, False, lost) if lost != frozenset() else _NOTHING
        if opdef.override is None and op.type in SELECTS and index:
            mask = _branch(mask, op, index == 1)
            if not _same_shape(op, index):
                mask = _moved(mask, op, index, None)
            return _State(mask, state.dirty, state.lost)
        if mask is None:
            return _NOTHING if state is _NOTHING else _State(None, False, state.lost)
        if _in_place(op):
            dirty = state.dirty or not _is_plain(op, index)
            if not _same_shape(op, index):
                mask = _moved(mask, op, index, None)
            return _State(mask, dirty, state.lost)
        if opdef.override is None and op.type in _MOVING:
            given = [k for k, c in enumerate(cotangents) if c is not None]
            # The weights of a mean could become 0 in a narrow dtype.
            rule = "Sum" if op.type == "Mean" else op.type
            mask = _moved(mask, op, index, rule, given)
            return _State(mask, False, state.lost)
        if opdef.override is None and op.type in _REDUCING:
            return _State(_moved(mask, op, index, "Sum"), True, state.lost)
        if mask.single and opdef.override is None and op.type not in _GIVEN:
            # All of the cotangent counts or nothing, and a rule is linear in it.
            return _State(mask, True, state.lost)
        if mask.conditions and op not in self._told:
            self._told.add(op)
            self._look_behind(op, mask.conditions)
        return _State(None, False, _union(state.lost, mask.conditions))

    # -- warning -------------------------------------------------------------------

    def _warn(self, op: Operation, state: _State) -> None:
        """Warn of a slope that a lost mask excluded."""
        held = frozenset() if state.mask is None else state.mask.conditions
        if held is None or state.lost is None:
            return
        for condition in state.lost - held:
            self._tell(op, condition)

    def _look_behind(self, mixing: Operation, conditions: frozenset[Tensor]) -> None:
        """Warn of values that may be NaN where ``conditions`` exclude them.

        The rule of ``mixing``, where masks end, multiplies its other operands by
        the zeros of the cotangent.
        """
        stack = [t.op for t in mixing.inputs]
        seen: set[Operation] = set()
        while stack and len(seen) < _REACH:
            op = stack.pop()
            if op in seen or not (_in_place(op) or op.type in _MOVING):
                continue
            seen.add(op)
            stack.extend(t.op for t in op.inputs)
            if op.opdef.singular:
                for condition in conditions:
                    self._tell(op, condition)

    def _tell(self, op: Operation, condition: Tensor) -> None:
        where = op.source, condition.op.source
        if where in self._told or not _guards(condition, op):
            return
        self._told.add(where)
        warn(
            f"{op.describe()} (defined at {op.source}) can be infinite, or have an "
            "infinite slope, where the condition of a where() excludes it, and an "
            "operation between them mixes elements, so that 0 * inf may make this "
            f"gradient NaN.  The condition is {condition.op.describe()} (defined at "
            f"{condition.op.source}).  Choose a safe argument first:\n"
            "    x_safe = where(ok, x, 1.0)   # any value at which f is smooth\n"
            "    y = where(ok, f(x_safe), other)",
            GradientWarning,
            op._mark,
        )


def _together(states: Sequence[tuple[int, _State]]) -> _State:
    """The state of an operation with several outputs, given those with cotangents.

    It has a mask where all of them do; which one belongs to which output, only
    ``_moved`` asks.
    """
    if not any(s is not _NOTHING for _, s in states):
        return _NOTHING
    lost = _union(*(s.lost for _, s in states))
    parts = {k: s.mask for k, s in states if s.mask is not None}
    conditions = _union(*(m.conditions for m in parts.values()))
    if not parts or len(parts) < len(states):
        return _State(None, False, _union(lost, conditions))
    if len(parts) == 1:
        return _State(next(iter(parts.values())), False, lost)
    whole = _Mask(_no_tensor, (), conditions)
    whole.parts = parts
    return _State(whole, False, lost)


def _no_tensor() -> Tensor:
    raise AssertionError("the mask of several outputs has no one tensor")


# -- what operations do to places -----------------------------------------------------


def _in_place(op: Operation) -> bool:
    """Whether the rule maps element i of the cotangent to element i."""
    opdef = op.opdef
    return opdef.override is None and (opdef.elementwise or op.type in _PASSING)


def _same_shape(op: Operation, index: int) -> bool:
    """Whether that input certainly has the shape of the output."""
    t, out = op.inputs[index], op.outputs[0]
    if t.dims == out.dims and is_static(t.dims):
        return True
    return len(op.inputs) == 1


def _is_plain(op: Operation, index: int) -> bool:
    """Whether the partial derivative is a fixed finite number."""
    if op.type in _PLAIN:
        return True
    if op.type == "Mul":
        return _is_finite(op.inputs[1 - index])
    return op.type == "RealDiv" and index == 0 and _is_finite(op.inputs[1], True)


def _is_finite(t: Tensor, nonzero: bool = False) -> bool:
    value = t.value
    if not isinstance(value, np.ndarray) or value.size > 64:
        return False
    return bool(np.isfinite(value).all() and (not nonzero or value.all()))


def _guards(condition: Tensor, op: Operation) -> bool:
    """Whether ``condition`` is made of an argument of ``op`` by simple steps."""
    singular = op.opdef.singular
    indices = singular(op.attrs) if callable(singular) else singular
    arguments = {op.inputs[i] for i in indices}
    seen: set[Operation] = set()
    stack = [condition.op]
    while stack and len(seen) < _REACH:
        maker = stack.pop()
        if maker in seen or maker is op:
            continue
        seen.add(maker)
        known = maker.opdef.elementwise or maker.type in _MOVING | _REDUCING
        if not known and maker.type not in ("Any", "All"):
            continue
        for t in maker.inputs:
            if t in arguments:
                return True
            stack.append(t.op)
    return False


# -- masks ----------------------------------------------------------------------------


def _nonzero(g: Tensor, conditions: frozenset[Tensor] | None = frozenset()) -> _Mask:
    """Where a clean cotangent is not zero."""
    return _Mask(lambda: TABLE["not_equal"](g, 0), (), conditions)


def _branch(around: _Mask | None, op: Operation, first: bool) -> _Mask:
    """Where a Select takes its first (second) branch, inside the mask around it."""
    condition, out = op.inputs[0], op.outputs[0]

    def build() -> Tensor:
        chosen: Tensor = condition
        if op.type == "Select":  # a vector condition chooses rows
            yes, no = (
                TABLE[f"{n}_like"](out, dtype=condition.dtype)
                for n in ("ones", "zeros")
            )
            made = op.graph.create_op(lookup("Select"), (condition, yes, no))
            chosen = made.outputs[0]
        if not first:
            chosen = TABLE["invert"](chosen)
        if around is None:
            return chosen
        return TABLE["and"](around.tensor(), chosen)  # type: ignore[no-any-return]

    needs = () if around is None else (around,)
    conditions = _union(frozenset((condition,)), *(m.conditions for m in needs))
    single = condition.dims == () and all(m.single for m in needs)
    mask = _Mask(build, needs, conditions, single)
    mask.branch = around, op, first
    return mask


def _either(a: _Mask | None, b: _Mask | None) -> _Mask | None:
    """Where one of two masks lets the cotangent count."""
    if a is None or b is None:
        return None
    if a.branch is not None and b.branch is not None:
        (around, op, first), (other, twin, second) = a.branch, b.branch
        if around is other and op is twin and first is not second:
            return around  # both branches together
    conditions, single = _union(a.conditions, b.conditions), a.single and b.single
    return _Mask(
        lambda: TABLE["or"](a.tensor(), b.tensor()), (a, b), conditions, single
    )


def _moved(
    mask: _Mask,
    op: Operation,
    index: int,
    rule: str | None,
    outputs: Sequence[int] = (0,),
) -> _Mask:
    """The mask of an input: the elements from which a chosen result is made.

    ``rule`` names the op whose vjp says so, given weights of 0 and 1 for the
    outputs; None: a sum over the axes along which the input was broadcast.
    """
    if mask.single:
        return mask  # all or nothing, whatever the shape

    def weight(k: int) -> Tensor:
        out = op.outputs[k]
        chosen = mask.parts[k] if mask.parts else mask
        made = TABLE["cast"](chosen.tensor(), out.dtype)
        return TABLE["broadcast_like"](made, out)  # type: ignore[no-any-return]

    def build() -> Tensor:
        from .gradients import as_dense

        if rule is None:
            reached = TABLE["sum_to"](weight(0), op.inputs[index])
        else:
            needed = [i == index for i in range(len(op.inputs))]
            weights = [
                weight(k) if k in outputs else None for k in range(len(op.outputs))
            ]
            pulled = lookup(rule).pull_back(op, weights, needed)
            reached = as_dense(pulled[index])
        return TABLE["not_equal"](reached, 0)  # type: ignore[no-any-return]

    needs = [mask.parts[k] for k in outputs] if mask.parts else [mask]
    return _Mask(build, needs, mask.conditions)


def _select(mask: _Mask, g: Any) -> Any:
    """``g``, and zero where the mask excludes it."""
    from .gradients import as_dense

    return TABLE["where"](mask.tensor(), as_dense(g), 0)
