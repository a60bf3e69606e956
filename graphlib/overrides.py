"""Other gradients for op types: TF1's ``RegisterGradient`` and its override map.

An operation that is made under ``Graph.gradient_override_map`` carries a copy of
its OpDef with another vjp, so whatever walks the graph for derivatives (reverse,
forward by transposition, explanations) sees it without looking anything up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .errors import GradientWarning, MissingNameError, RegistrationError
from .opdef import OpDef, find, registered
from .operators import TABLE
from .records import fields, record
from .source import Mark, caller, resolve, warn
from .tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from .operation import Operation

__all__ = [
    "NoGradient",
    "NotDifferentiable",
    "Override",
    "OverrideScope",
    "RegisterGradient",
    "overridden",
    "zeros_for_none",
]

# Name -> (function, where it was registered); None: no derivative at all.
_GRADIENTS: dict[str, tuple[Callable[..., Any] | None, Mark]] = {}
# Derived definitions, so that equal operations keep sharing one.
_DERIVED: dict[tuple[OpDef, str], OpDef] = {}


class RegisterGradient:
    """A decorator that registers ``f(op, *grads)`` under a name (TF1).

    ``f`` builds the cotangents of ``op.inputs`` from those of ``op.outputs``: one
    tensor (or None) per input, alone or in a list.  Outputs that nothing reads
    have cotangents of zeros.  ``Graph.gradient_override_map`` uses the name.

    >>> import dagrad as tf
    >>> @tf.RegisterGradient("DocClippedIdentity")
    ... def clipped(op, grad):
    ...     return tf.clip_by_value(grad, -1.0, 1.0)
    >>> x = tf.constant([0.4, 1.6])
    >>> with tf.get_default_graph().gradient_override_map(
    ...     {"Round": "DocClippedIdentity"}
    ... ):
    ...     y = tf.round(x)
    >>> with tf.Session() as session:
    ...     print(session.run(tf.gradients(5.0 * y, x)))
    [array([1., 1.], dtype=float32)]

    Raises:
        TypeError: the name is no string.
        RegistrationError: the name is taken, or is an op type that has its own
            gradient.
    """

    def __init__(self, op_type: str) -> None:
        if not isinstance(op_type, str):
            raise TypeError(f"RegisterGradient: {op_type!r} is no string")
        self._name = op_type

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(f):
            raise TypeError(f"RegisterGradient({self._name!r}): {f!r} is no function")
        _register(self._name, f)
        return f


def NotDifferentiable(op_type: str) -> None:
    """Register ``op_type`` as having no derivative: results count as constants.

    Raises:
        TypeError, RegistrationError: as :class:`RegisterGradient`.
    """
    if not isinstance(op_type, str):
        raise TypeError(f"NotDifferentiable: {op_type!r} is no string")
    opdef = find(op_type)
    if opdef is None or opdef.vjp is not None:
        _register(op_type, None)


#: TF1's older name.
NoGradient = NotDifferentiable


def _register(name: str, f: Callable[..., Any] | None) -> None:
    taken = _GRADIENTS.get(name)
    if taken is not None:
        raise RegistrationError(
            f"the gradient {name!r} is registered already, at {resolve(taken[1])}"
        )
    if find(name) is not None:
        raise RegistrationError(
            f"{name!r} is an op type, whose derivative is declared with it: register "
            "the function under a name of its own and give it to new operations by "
            f"graph.gradient_override_map({{{name!r}: 'its own name'}})"
        )
    _GRADIENTS[name] = f, caller()


@record(frozen=True, slots=True)
class Override:
    """The definition that new operations of one type get, and the scope to tell."""

    opdef: OpDef
    scope: OverrideScope


class OverrideScope:
    """The context that ``Graph.gradient_override_map`` makes.

    Attributes:
        matched: how many operations got another gradient so far.

    Raises:
        TypeError, MissingNameError: see ``Graph.gradient_override_map``.
    """

    def __init__(self, context: Any, op_type_map: Any) -> None:
        if not isinstance(op_type_map, dict):
            raise TypeError(f"gradient_override_map takes a dict, not {op_type_map!r}")
        self.matched = 0
        self._context = context
        self._mark = caller()
        self._names = dict(op_type_map)
        self._before: list[Any] = []
        self._found = {}
        for op_type, name in op_type_map.items():
            if not isinstance(op_type, str) or not isinstance(name, str):
                raise TypeError(
                    "gradient_override_map takes a dict of op types to names, both "
                    f"strings, not {op_type!r}: {name!r}"
                )
            opdef = find(op_type)
            if opdef is None:
                raise MissingNameError(
                    f"gradient_override_map: there is no op type {op_type!r}"
                    + _nearest(op_type, registered())
                )
            self._found[op_type] = Override(overridden(opdef, name), self)

    def __enter__(self) -> OverrideScope:
        self._before.append(self._context.overrides)
        self._context.overrides = {**self._context.overrides, **self._found}
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._context.overrides = self._before.pop()
        if self._names and not self.matched and kind is None:
            warn(
                f"gradient_override_map({self._names}): no operation of type "
                f"{' or '.join(map(repr, self._names))} was made in this scope, so "
                "no gradient was replaced (the operations must be made inside)",
                GradientWarning,
                self._mark,
            )


def _nearest(name: str, names: Any) -> str:
    import difflib

    by_lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    return f"; did you mean {', '.join(repr(by_lower[n]) for n in near)}?" * bool(near)


def overridden(opdef: OpDef, name: str) -> OpDef:
    """``opdef`` with the gradient ``name`` in the place of its own.

    Raises:
        MissingNameError: nothing is registered under ``name``.
    """
    derived = _DERIVED.get((opdef, name))
    if derived is not None:
        return derived
    vjp: Any
    no_gradient = None
    if name in _GRADIENTS:
        f = _GRADIENTS[name][0]
        vjp = None if f is None else _as_rule(f)
    elif (own := find(name)) is not None:
        vjp = None if own.vjp is None else _as_other(own)
        no_gradient = own.no_gradient
    else:
        raise MissingNameError(
            f"no gradient {name!r} is registered for {opdef.type}"
            + _nearest(name, [*_GRADIENTS, *registered()])
            + f" (decorate a function with RegisterGradient({name!r}) first)"
        )
    # Rules that say or build something from the op's own derivative go with it: a
    # batch rule would make other operations, which have theirs.
    changed = {
        "vjp": vjp,
        "jvp": None,
        "jet": None,
        "linear": False,
        "batch": None,
        "singular": (),
        "no_gradient": no_gradient,
        "override": name,
    }
    # Not by the constructor: that would declare the type again.
    derived = object.__new__(OpDef)
    for f_ in fields(OpDef):
        own_value = getattr(opdef, f_.name)
        object.__setattr__(derived, f_.name, changed.get(f_.name, own_value))
    return _DERIVED.setdefault((opdef, name), derived)


def _as_rule(f: Callable[..., Any]) -> Callable[..., list[Any]]:
    def rule(op: Operation, *cotangents: Tensor | None) -> list[Any]:
        results = f(op, *zeros_for_none(op.outputs, cotangents))
        if not isinstance(results, (list, tuple)):
            results = [results]
        return [as_cotangent(g, t) for g, t in zip(results, op.inputs)] + [
            *results[len(op.inputs) :]
        ]

    return rule


def _as_other(opdef: OpDef) -> Callable[..., list[Any]]:
    """The rule of another op type."""

    def rule(op: Operation, *cotangents: Tensor | None) -> list[Any]:
        wanted = [t.dtype.is_inexact for t in op.inputs]
        return opdef.pull_back(op, cotangents, wanted)

    return rule


def zeros_for_none(
    tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The cotangents that a user's function gets: zeros where nothing arrived."""
    return [
        TABLE["zeros_like"](t) if g is None and t.dtype.is_inexact else g
        for t, g in zip(tensors, cotangents)
    ]


def as_cotangent(value: Any, like: Tensor) -> Any:
    """What a user's function returned for ``like``: a number or array as a tensor."""
    if value is None or isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        if hasattr(value, "_as_graph_element") and not hasattr(value, "indices"):
            return as_tensor(value)
        return value
    return as_tensor(value, dtype=like.dtype)
