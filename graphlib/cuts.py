"""Where an operation lets no derivative pass from an input to an output, and why."""

from __future__ import annotations

from typing import Any

from .operation import Operation, input_names
from .records import record
from .tensor import Tensor

__all__ = ["Cut", "cut_of", "place"]

# Ops whose results say something of an input's shape only.
_SHAPE_ONLY = ("Shape", "Size", "Rank", "ZerosLike", "OnesLike")


@record(frozen=True)
class Cut:
    """One place where a path carries no derivative on.

    Attributes:
        op: the operation that cuts.
        tensor: the input at which it does.
        kind: "dtype", "comparison", "stop_gradient", "constant" (by pieces), "zero"
            (the gradient is a tensor of zeros), "shape", "random", "input",
            "no_derivative", "override", "py_func", "custom", "stop_gradients",
            "fed", "refuses", "condition" (only the condition of a loop reads it),
            "body" (all paths through a loop, branch or function are cut inside), or
            "carried": its input is no floating tensor because of a cut before it.
            Of the last two only the reason is listed.
        why: a sentence without its full stop.
        remedy: what to do, another one; empty where there is no advice.
        within: for an operation in a body, which one (``the body of while_loop
            "while"``); else empty.
    """

    op: Operation
    tensor: Tensor
    kind: str
    why: str
    remedy: str = ""
    within: str = ""

    @property
    def refuses(self) -> bool:
        """Whether ``gradients`` raises here."""
        return self.kind == "refuses"

    @property
    def source(self) -> Any:
        """The line of the user's program that made the operation."""
        return self.op.source


def place(op: Operation) -> str:
    """``user.py:12``, and for a node of a gradient also what it differentiates."""
    where = str(op.source or "an unknown place")
    if op.forward_op is not None:
        where += f", in the gradient of {op.forward_op.describe()}"
    return where


def cut_of(op: Operation, index: int, out: Tensor, stopped: bool) -> Cut | None:
    """Why no derivative passes from input ``index`` to ``out``; None where one does.

    Args:
        op, index, out: the edge.
        stopped: the input is among ``stop_gradients``.
    """
    t = op.inputs[index]
    if stopped:
        return Cut(op, t, "stop_gradients", f"stop_gradients holds {t.name} constant")
    if not out.dtype.is_inexact or not t.dtype.is_inexact:
        return _by_dtype(op, index, t, out)
    opdef = op.opdef
    if opdef.override is not None:
        if opdef.vjp is None:
            why = f"the gradient {opdef.override!r} that it was given is none at all"
            return Cut(op, t, "override", why)
        return None
    special = _SPECIAL.get(op.type)
    if special is not None:
        return special(op, index, t)
    if opdef.vjp is None:
        if opdef.no_gradient is not None:
            return Cut(op, t, "refuses", f"it refuses: {opdef.no_gradient}")
        return _without_rule(op, t)
    if not callable(opdef.vjp):
        rules = list(zip(opdef.vjp, op.inputs))
        if len(rules) == len(op.inputs) and rules[index][0] is None:
            name = input_names(opdef, len(op.inputs))[index]
            why = f"it has no derivative with respect to its input {name!r}"
            return Cut(op, t, "input", why)
    return None


def _by_dtype(op: Operation, index: int, t: Tensor, out: Tensor) -> Cut:
    if not t.dtype.is_inexact:
        why = f"its input {t.name} is {t.dtype.name}, which carries no derivative"
        return Cut(op, t, "carried", why)
    if op.type in _SHAPE_ONLY:
        return Cut(op, t, "shape", "it reads only the shape of its input")
    if out.dtype.name == "bool":
        return Cut(
            op,
            t,
            "comparison",
            "its result is True or False, which jumps and has no slope",
            "A smooth stand-in: sigmoid((a - b) / width); to choose by it, "
            "where(c, a, b) has the gradients of a and b",
        )
    if op.type == "Cast":
        return Cut(
            op,
            t,
            "dtype",
            f"its result is {out.dtype.name}, through which no derivative passes",
            "Keep it floating; to round and pass the gradient on, "
            "grad_pass_through(round)",
        )
    why = f"its result is {out.dtype.name} (an index, a count or a code), without slope"
    return Cut(op, t, "dtype", why)


def _without_rule(op: Operation, t: Tensor) -> Cut:
    if op.type in _SHAPE_ONLY:
        return Cut(op, t, "shape", "it reads only the shape of its input")
    if op.opdef.effect == "random":
        return Cut(
            op,
            t,
            "random",
            "its result is a random draw, whose dependence on the input is not smooth",
            "Write the draw as a function of fixed noise, as mean + stddev * "
            "random_normal(shape)",
        )
    if op.opdef.elementwise:
        return Cut(
            op,
            t,
            "constant",
            "it is constant by pieces: its slope is 0 wherever there is one",
            "To pass the gradient straight through: grad_pass_through(f), or "
            f'gradient_override_map({{"{op.type}": "Identity"}})',
        )
    return Cut(op, t, "no_derivative", f"the op {op.type} has no derivative")


def _stop(op: Operation, index: int, t: Tensor) -> Cut:
    return Cut(op, t, "stop_gradient", "it is there to stop the gradient")


def _sign(op: Operation, index: int, t: Tensor) -> Cut | None:
    if t.dtype.is_complex:
        return None
    return Cut(op, t, "zero", "its slope is 0 on both sides of the jump")


def _prevent(op: Operation, index: int, t: Tensor) -> Cut:
    message = op.attrs["message"] or "prevent_gradient without a message"
    return Cut(op, t, "refuses", f"it refuses: {message}")


def _custom(op: Operation, index: int, t: Tensor) -> Cut | None:
    n, targets = op.attrs["n"], op.attrs["args"] + op.attrs["variables"]
    if n <= index < n + targets:
        return None
    return Cut(
        op,
        t,
        "custom",
        "the function of a custom_gradient computed it, and gradients go to the "
        "function's arguments only",
        "Make x an argument of that function",
    )


def _implicit(op: Operation, index: int, t: Tensor) -> Cut | None:
    if index >= op.attrs["n"]:
        return None
    return Cut(
        op,
        t,
        "solver",
        "a solver computed it; the solution of an equation depends on what the "
        "equation reads, not on how or from where it was found",
        "Make x a part of the equation",
    )


def _py_func(op: Operation, index: int, t: Tensor) -> Cut | None:
    functions = op.attrs["functions"]
    if functions["vjp"] is not None:
        return None
    if functions["jvp"] is not None:
        return Cut(op, t, "refuses", "it has a jvp but no vjp", "Give py_func vjp=")
    return Cut(
        op,
        t,
        "py_func",
        "a Python function has no derivative unless one is given",
        "py_func(..., vjp=f(inputs, outputs, cotangents))",
    )


def _power(op: Operation, index: int, t: Tensor) -> Cut | None:
    if op.attrs["exponent"] != 0:
        return None
    return Cut(op, t, "zero", "its exponent is 0, so it is 1 everywhere")


_SPECIAL = {
    "CustomGradient": _custom,
    "Implicit": _implicit,
    "PowScalar": _power,
    "PreventGradient": _prevent,
    "PyFunc": _py_func,
    "PyFuncStateless": _py_func,
    "Sign": _sign,
    "StopGradient": _stop,
}
