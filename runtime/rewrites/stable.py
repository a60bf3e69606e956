"""Forms that lose no digits and do not overflow: log(softmax(x)), log(1 + x), ...

Precondition: real floating numbers.
Postcondition: the same function of real numbers, nearer to its true value: finite
where only an intermediate result overflowed, underflowed or cancelled.  Elsewhere
results move by rounding: by a few units in the last place of the result, or of the
largest of a row where a form works on rows; gradients below the least normal number may
become 0.  NaN stays NaN where the
function has no value, limits at infinities are the same or appear where there was NaN,
and log(1 + x) and exp(x) - 1 keep the sign of a zero x.

The gradients that these forms leave in a graph are rewritten with them: they divide
what underflows by itself, or multiply infinity by 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..program import Node, Program, Value
from ._walk import Walk, constant, rewrite_with
from .algebra import positive

__all__ = ["stabilize"]


def stabilize(program: Program) -> int:
    """Put stable forms in place; returns how many nodes changed."""
    if program.types.isdisjoint(_NEEDED):
        return 0
    return rewrite_with(program, _RULES)


# -- parts of patterns ---------------------------------------------------------------


def _one_and(w: Walk, v: Value, type: str) -> Value | None:
    """x of 1 + x ("Add") or 1 - x ("Sub")."""
    node = w.made_by(v, type)
    if node is None:
        return None
    one, x = node.inputs
    if w.number(one, x) == 1:
        return x
    return one if type == "Add" and w.number(x, one) == 1 else None


def _of(w: Walk, v: Value | None, type: str) -> Value | None:
    """x of type(x)."""
    node = None if v is None else w.made_by(v, type)
    return None if node is None else node.inputs[0]


def _alike(a: Value, b: Value) -> bool:
    return a is b or (a.static and a.dims == b.dims)


# -- logarithms ----------------------------------------------------------------------


def _log(w: Walk, node: Node) -> str | None:
    (v,) = node.inputs
    if v.node is None or not v.dtype.is_floating:
        return None
    if v.node.opdef.type == "Sum":
        return _log_of_sum(w, node)
    soft = w.made_by(v, "Softmax")
    if soft is not None:
        turned = w.turn(node, "LogSoftmax", soft.inputs, soft.attrs)
        return "log(softmax(x))" if turned else None
    x = _of(w, v, "Sigmoid")
    if x is not None:
        return "log(sigmoid(x))" if w.turn(node, "LogSigmoid", [x]) else None
    x = _of(w, v, "Exp")
    if x is not None:
        return "log(exp(x)) -> x" if w.bypass(node, x) else None
    x = _one_and(w, v, "Add")
    if x is not None:
        e = _of(w, x, "Exp")
        if e is not None and w.turn(node, "Softplus", [e]):
            return "log(1 + exp(x)) -> softplus(x)"
        return "log(1 + x) -> log1p(x)" if w.turn(node, "Log1p", [x]) else None
    x = _one_and(w, v, "Sub")
    if x is None or x.kind == "variable":
        return None
    s = _of(w, x, "Sigmoid")
    if s is not None and w.turn(node, "LogSigmoid", [w.add(node, "Neg", [s])]):
        return "log(1 - sigmoid(x))"
    if w.turn(node, "Log1p", [w.add(node, "Neg", [x])]):
        return "log(1 - x) -> log1p(-x)"
    return None


def _log_of_sum(w: Walk, node: Node) -> str | None:
    total = w.made_by(node.inputs[0], "Sum")
    x = None if total is None else _of(w, total.inputs[0], "Exp")
    if total is None or x is None:
        return None
    turned = w.turn(node, "LogSumExp", [x], total.attrs)
    return "log(sum(exp(x))) -> logsumexp(x)" if turned else None


def _log1p(w: Walk, node: Node) -> str | None:
    (v,) = node.inputs
    if v.node is None or not v.dtype.is_floating:
        return None
    x = _of(w, v, "Exp")
    if x is not None and w.turn(node, "Softplus", [x]):
        return "log1p(exp(x)) -> softplus(x)"
    x = _of(w, _of(w, v, "Neg"), "Sigmoid")
    if x is not None and w.turn(node, "LogSigmoid", [w.add(node, "Neg", [x])]):
        return "log1p(-sigmoid(x))"
    return None


# -- exponentials --------------------------------------------------------------------


def _sub(w: Walk, node: Node) -> str | None:
    e, one = node.inputs
    x = _of(w, e, "Exp")
    if x is not None and x.dtype.is_floating and w.number(one, e) == 1:
        return "exp(x) - 1 -> expm1(x)" if w.turn(node, "Expm1", [x]) else None
    x = _of(w, one, "Exp")
    if x is None or not x.dtype.is_floating or w.number(e, one) != 1:
        return None
    if x.dims != node.outputs[0].dims:
        return None
    w.turn(node, "Neg", [w.add(node, "Expm1", [x])])
    return "1 - exp(x) -> -expm1(x)"


def _add(w: Walk, node: Node) -> str | None:
    for e, one in (node.inputs, node.inputs[::-1]):
        if e.node is None or e.node.opdef.type != "Exp":
            continue
        x = _of(w, e, "Exp")
        if x is None or not x.dtype.is_floating or w.number(one, e) != -1:
            continue
        if w.turn(node, "Expm1", [x]):
            return "exp(x) - 1 -> expm1(x)"
    return None


def _reciprocal_of(w: Walk, node: Node, below: Value) -> str | None:
    """The kernel of Sigmoid does just this; its logarithm and gradient are known."""
    x = _of(w, _of(w, _one_and(w, below, "Add"), "Exp"), "Neg")
    if x is None or not x.dtype.is_floating:
        return None
    return "1 / (1 + exp(-x)) -> sigmoid(x)" if w.turn(node, "Sigmoid", [x]) else None


def _div(w: Walk, node: Node) -> str | None:
    above, below = node.inputs
    if below.node is None or below.node.opdef.type != "Add":
        return None
    if w.number(above, below) == 1:
        return _reciprocal_of(w, node, below)
    x = _of(w, above, "Exp")
    if x is None or not x.dtype.is_floating:
        return None
    if _of(w, _one_and(w, below, "Add"), "Exp") is not x:
        return None
    turned = w.turn(node, "Sigmoid", [x])
    return "exp(x) / (1 + exp(x)) -> sigmoid(x)" if turned else None


def _reciprocal(w: Walk, node: Node) -> str | None:
    return _reciprocal_of(w, node, node.inputs[0])


# -- powers --------------------------------------------------------------------------


def _pow(w: Walk, node: Node) -> str | None:
    """Squares, roots and reciprocals are rounded once, and take no logarithm."""
    x, y = node.inputs
    e = w.number(y, x) if x.dtype.is_floating else None
    if e == 2 and w.turn(node, "Square", [x]):
        return "x^2 -> x²"
    if e == -1 and w.turn(node, "Reciprocal", [x]):
        return "x^-1 -> 1 / x"
    # The power of -0.0 and of -inf differs from their root.
    if e == 0.5 and positive(x) and w.turn(node, "Sqrt", [x]):
        return "x^0.5 -> √x"
    return None


# -- gradients -----------------------------------------------------------------------


def _softmax_grad(w: Walk, node: Node) -> str | None:
    """Of log(softmax): y (g/y - sum(g/y y)) is g - y sum(g)."""
    y, v = node.inputs
    quotient = w.made_by(v, "RealDiv")
    if quotient is None or quotient.inputs[1] is not y or y.dims is None:
        return None
    g = quotient.inputs[0]
    if not _alike(g, y):
        return None
    axis = (node.attrs["axis"] % len(y.dims),)
    total = w.add(node, "Sum", [g], {"axis": axis, "keepdims": True})
    w.turn(node, "Sub", [g, w.add(node, "Mul", [y, total])])
    return "the gradient of log(softmax(x))"


def _sigmoid_grad(w: Walk, node: Node) -> str | None:
    """Of log(s), g/s s (1 - s) is g sigmoid(-x); of log(1 - s) it is -g s."""
    s, v = node.inputs
    x = _of(w, s, "Sigmoid")
    if x is None:
        return None
    quotient = w.made_by(v, "RealDiv")
    if quotient is not None and quotient.inputs[1] is s:
        g = quotient.inputs[0]
        if _alike(g, x):
            w.turn(node, "SoftplusGrad", [w.add(node, "Neg", [x]), g])
            return "the gradient of log(sigmoid(x))"
    inner = _of(w, v, "Neg")
    quotient = None if inner is None else w.made_by(inner, "RealDiv")
    if quotient is not None and _one_and(w, quotient.inputs[1], "Sub") is s:
        g = quotient.inputs[0]
        if _alike(g, x):
            w.turn(node, "Neg", [w.add(node, "Mul", [g, s])])
            return "the gradient of log(1 - sigmoid(x))"
    return None


def _mul(w: Walk, node: Node) -> str | None:
    for e, v in (node.inputs, node.inputs[::-1]):
        if e.node is None or e.node.opdef.type != "Exp" or v.node is None:
            continue
        x = _of(w, e, "Exp")
        if x is None or not x.dtype.is_floating:
            continue
        rule = _BESIDE_EXP.get(v.node.opdef.type)
        what = None if rule is None else rule(w, node, x, v)
        if what is not None:
            return what
    return None


def _of_softplus(w: Walk, node: Node, x: Value, v: Value) -> str | None:
    """g / (1 + e^x) e^x is g / (1 + e^-x)."""
    g = below = None
    quotient, product = w.made_by(v, "RealDiv"), w.made_by(v, "Mul")
    if quotient is not None:
        g, below = quotient.inputs
    elif product is not None:
        for a, b in (product.inputs, product.inputs[::-1]):
            inverse = _of(w, b, "Reciprocal")
            if inverse is not None:
                g, below = a, inverse
    if g is None or below is None or not _alike(g, x):
        return None
    if _of(w, _one_and(w, below, "Add"), "Exp") is not x:
        return None
    quotient = w.made_by(g, "RealDiv")
    divided = quotient is not None and _of(w, quotient.inputs[1], "Sigmoid") is x
    if quotient is not None and divided and w.bypass(node, quotient.inputs[0]):
        return "g / sigmoid(x) sigmoid(x) -> g"
    turned = w.turn(node, "SoftplusGrad", [x, g])
    return "the gradient of softplus(x)" if turned else None


def _of_quotient(w: Walk, node: Node, x: Value, v: Value) -> str | None:
    """-(g y / (1 + e^x)) e^x, for a y that was divided by 1 + e^x, is
    -g y / (1 + e^-x): x sigmoid(x) and gates, written out."""
    g = _less(w, x, v)
    if g is None:
        return None
    w.turn(node, "Neg", [_times_sigmoid(w, node, x, *g)])
    return "the gradient of a / (1 + exp(x))"


def _less(w: Walk, x: Value, v: Value) -> tuple[Value, Value] | None:
    """g and y of -(g (y / (1 + e^x))), all of the shape of x."""
    minus = _of(w, v, "Neg")
    product = None if minus is None else w.made_by(minus, "Mul")
    if product is None:
        return None
    for g, q in (product.inputs, product.inputs[::-1]):
        quotient = w.made_by(q, "RealDiv")
        if quotient is None or not _alike(g, x):
            continue
        y, below = quotient.inputs
        if _of(w, _one_and(w, below, "Add"), "Exp") is x and _alike(y, x):
            return g, y
    return None


def _times_sigmoid(w: Walk, at: Node, x: Value, g: Value, y: Value) -> Value:
    """g y sigmoid(x); of a logarithm g is g' / y, and y goes."""
    quotient = w.made_by(g, "RealDiv")
    if quotient is not None and quotient.inputs[1] is y and _alike(*quotient.inputs):
        return w.add(at, "SoftplusGrad", [x, quotient.inputs[0]])
    return w.add(at, "SoftplusGrad", [x, w.add(at, "Mul", [g, y])])


def _of_reciprocal(w: Walk, node: Node, x: Value, v: Value) -> str | None:
    """-g y² e^x, y = 1 / (1 + e^x), is -g y sigmoid(x)."""
    inner = w.made_by(v, "ReciprocalGrad")
    if inner is None:
        return None
    y, g = inner.inputs
    minus, below = _of(w, y, "Sigmoid"), _of(w, y, "Reciprocal")
    known = minus is not None and minus is _of(w, x, "Neg")
    if not known and _of(w, below and _one_and(w, below, "Add"), "Exp") is not x:
        return None
    if not _alike(g, x):
        return None
    w.turn(node, "Neg", [_times_sigmoid(w, node, x, g, y)])
    return "the gradient of 1 / (1 + exp(x))"


def _of_sigmoid(w: Walk, node: Node, x: Value, v: Value) -> str | None:
    """(g / (1 + e^x) - g y / (1 + e^x)) e^x, y = sigmoid(x), is g y sigmoid(-x)."""
    total = w.made_by(v, "AddN")
    if total is None or len(total.inputs) != 2:
        return None
    for first, second in (total.inputs, total.inputs[::-1]):
        quotient, g = w.made_by(first, "RealDiv"), _less(w, x, second)
        if quotient is None or g is None or quotient.inputs[0] is not g[0]:
            continue
        below = _one_and(w, quotient.inputs[1], "Add")
        if _of(w, below, "Exp") is not x or _of(w, g[1], "Sigmoid") is not x:
            continue
        made = _times_sigmoid(w, node, w.add(node, "Neg", [x]), *g)
        if w.bypass(node, made):
            return "the gradient of exp(x) / (1 + exp(x))"
    return None


def _of_logsumexp(w: Walk, node: Node, x: Value, v: Value) -> str | None:
    """spread(g / s) e^x, s = sum(e^x) along an axis, is spread(g) softmax(x)."""
    spread = w.made_by(v, "Spread")
    quotient = None if spread is None else w.made_by(spread.inputs[0], "RealDiv")
    total = None if quotient is None else w.made_by(quotient.inputs[1], "Sum")
    if spread is None or quotient is None or total is None:
        return None
    g, s = quotient.inputs
    same = all(spread.attrs[k] == total.attrs[k] for k in ("axis", "keepdims"))
    if not same or _of(w, total.inputs[0], "Exp") is not x or not _alike(g, s):
        return None
    if not (x.dims and x.dims == node.outputs[0].dims == spread.outputs[0].dims):
        return None
    soft = _softmax(w, node, x, total.attrs["axis"])
    if soft is None:
        return None
    wide = w.add(node, "Spread", [g, spread.inputs[1]], spread.attrs)
    w.turn(node, "Mul", [wide, soft])
    return "the gradient of logsumexp(x)"


def _softmax(w: Walk, at: Node, x: Value, axes: Any) -> Value | None:
    """The softmax along axes that follow each other, which become one for it."""
    dims: Any = x.dims
    rank = len(dims)
    found = list(range(rank)) if axes is None else sorted(i % rank for i in axes)
    first, n = found[0], len(found)
    if found != list(range(first, first + n)) or not x.static:
        return None
    if n == 1:
        return w.add(at, "Softmax", [x], {"axis": first})
    one = (*dims[:first], math.prod(dims[first : first + n]), *dims[first + n :])
    flat = w.add(at, "Reshape", [x, _sizes(one, x)])
    soft = w.add(at, "Softmax", [flat], {"axis": first})
    return w.add(at, "Reshape", [soft, _sizes(dims, x)])


def _sizes(dims: Any, like: Value) -> Value:
    return constant(np.array(dims, np.int32), like)


# By what makes the other factor of a product with e^x.
_BESIDE_EXP = {
    "AddN": _of_sigmoid,
    "Mul": _of_softplus,
    "Neg": _of_quotient,
    "RealDiv": _of_softplus,
    "ReciprocalGrad": _of_reciprocal,
    "Spread": _of_logsumexp,
}

_RULES = {
    "Add": _add,
    "Log": _log,
    "Log1p": _log1p,
    "Mul": _mul,
    "Pow": _pow,
    "RealDiv": _div,
    "Reciprocal": _reciprocal,
    "SigmoidGrad": _sigmoid_grad,
    "SoftmaxGrad": _softmax_grad,
    "Sub": _sub,
}
# Without one of these there is nothing to find.
_NEEDED = frozenset(("Exp", "Log", "Log1p", "Pow", "SigmoidGrad", "SoftmaxGrad"))
