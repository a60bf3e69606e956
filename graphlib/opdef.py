"""What an op is: one frozen record, declared in one place, referenced by every
operation of that type.

An :class:`OpDef` carries inference, kernel, derivative rules, aliasing facts and
cost, so nothing is looked up by name while a graph is built, differentiated or
run.  ``ops/_kinds.py`` has constructors that fill most fields from the kind of
op (elementwise, linear, reduction).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Union

from .dtypes import DType
from .errors import GraphError, MissingNameError
from .operators import PLACES
from .records import field, record
from .shapes import Dims
from .source import Mark, caller, resolve

if TYPE_CHECKING:
    from .operation import Operation
    from .tensor import Tensor

__all__ = ["OpDef", "OutSpecs", "Spec", "find", "lookup", "registered"]


class Spec:
    """What is known of a value without having it: dtype, shape, perhaps more.

    ``value`` is what is known of the content: an ndarray (all of it), or a
    tuple of ``int | None`` for a vector of sizes of which some are known.
    A Tensor has the same three attributes, so inference takes either.
    """

    __slots__ = ("dims", "dtype", "value")

    def __init__(self, dtype: DType, dims: Dims, value: Any = None) -> None:
        self.dtype = dtype
        self.dims = dims
        self.value = value

    def __repr__(self) -> str:
        return f"Spec({self.dtype.name}, {self.dims})"


#: What inference returns: one (dtype, dims) pair per output.
OutSpecs = Sequence[tuple[DType, Dims]]
SpecLike = Union["Tensor", Spec]
Infer = Callable[[Sequence[Any], Mapping[str, Any]], OutSpecs]


@record(frozen=True, eq=False, slots=True)
class OpDef:
    """One op, whole.

    Attributes:
        type: CamelCase name, unique (TF1's where TF1 has the op).
        infer: ``f(inputs, attrs) -> [(dtype, dims), ...]``, pure; ``inputs`` are
            Tensors or Specs.  Raises ShapeError or DTypeError with a message
            that says the rule and both sides; the op's name and the user's
            lines are added by the graph.
        kernel: the name of a NumPy ufunc, or ``f(xp, *arrays, out=None,
            **attrs)``.  It never sees a Tensor.  Given ``out`` (an array, or a
            tuple of arrays for several outputs) it may write there and return
            it, see ``writes_out``; it never writes into its inputs unless
            ``updates`` says so.
        inputs: names of the inputs; a last name with a star takes any number.
        vjp: reverse rule(s).  A tuple holds one ``f(op, *cotangents) -> Tensor
            | None`` per input (None: that input is never differentiated); a
            single function returns all at once.  Cotangents of outputs that
            nothing reads are None.  Rules build graph nodes, never call NumPy.
            None: the op has no derivative with respect to anything (integer
            results, comparisons); see also ``no_gradient``.
        jvp: forward rule ``f(op, *tangents) -> Tensor | sequence``; a tangent
            is None where it is zero.  None: it follows from the vjp.
        linear: the jvp does not depend on the values of the inputs that have a
            derivative, except by pieces (relu, max, sort): there are no second
            derivatives, and the jvp takes every Taylor coefficient.
        jet: Taylor rule ``f(op, series) -> [series, ...]``, one per output.  The
            series of an input is the list of its Taylor coefficients, ``[x_0,
            x_1, ..., x_K]``, where x_0 is the input itself, x_k = x^(k) / k!,
            and None is zero; results alike, from the output itself on.  None:
            it follows from ``linear``, or from the jvp (see ``taylor``).
        batch: ``f(op, *batched) -> Tensor | sequence``: the op for many rows at
            once.  ``batched[i]`` is input i with a leading batch axis, or None
            where it is the same for all rows (read ``op.inputs[i]``); the results
            have a leading batch axis, or are ``Shared``.  None, or a result of
            NotImplemented: a loop over the rows (see ``batching.vectorize``).
        no_gradient: None, or why asking for a gradient through this op is an
            error (shown to the user), for ops that have a derivative in
            mathematics but no rule here.
        alias: index of the input of which output 0 is a view (the kernel
            returns the view and is called without ``out``, except with
            ``writes_out`` where the input's layout has no such view).
        inplace: inputs whose memory output 0 may take over when they die here
            (same shape and dtype checked by the planner; the kernel must allow
            ``out is input``).
        writes_out: whether the kernel honours ``out``.
        identity: ``f(inputs, outputs, attrs) -> bool``: whether, for these
            shapes, each output i equals input i, so that a plan may drop the node.
        workspace: ``f(inputs, outputs, attrs) -> [(numpy dtype, dims), ...]``:
            scratch arrays that the kernel takes as ``work=(...)``; planned in
            the arena.  A kernel called without ``work`` allocates its own.
        transient: ``f(inputs, outputs, attrs) -> bytes`` that the kernel allocates
            for itself while it runs, where that is worth counting; a kernel may
            carry it as an attribute.
        bind: ``f(attrs, inputs, outputs) -> callable(*arrays, out) | None``:
            a faster kernel for static shapes (specs are fully known); takes
            the out array(s) as last positional argument(s).
        pieces: ``f(attrs, inputs, outputs) -> [callable(*arrays, out), ...] | None``:
            calls for static shapes that each write a part of the output, to be made
            in any order or at once; how many and which depends on the shapes alone.
            None where cutting does not pay.  Elementwise ops need none.
        places: ``f(inputs, attrs) -> [index, ...]`` of an op whose output is its
            inputs side by side: where each of them goes, as an index of slices and
            ints from the first axis on.  A plan may let an input be made there.
        blas: inputs that the kernel hands to BLAS, which reads no broadcast view.
        settle: ``f(arrays, out, work, attrs) -> callable() | None``: a call that
            is ready to run, for arrays whose memory (not content) is the same
            in every run; None where these arrays do not allow it.
        nest: ``f(inputs, outputs, attrs) -> windows.Nest | None``: what native code
            can compute in the kernel's place, for static shapes; None where that
            does not pay.
        effect: None for pure ops; else "input" (placeholder), "default" (its
            input, unless its output is fed), "constant",
            "variable", "assign" (kernel gets cells for ``updates``), "update"
            (kernel changes the arrays of ``updates`` in place), "probe" (kernel
            gets the cell of input 0: whether it has a value), "random"
            (kernel takes a Generator after ``xp``), or "io" (runs once per
            run that needs it, never folded, merged or reordered with other io), or
            "opaque" (an operation of another program, to be drawn only).
            A control operation with an effect in one of its bodies has "body".
        updates: inputs (variables) that the kernel changes (a control operation
            has them as an attribute: they depend on its bodies).
        control: "branch" or "loop" for operations that run bodies: the kernel
            takes ``run(body, arrays) -> arrays`` after ``xp``, and the rules take
            ``needed=``, which inputs a derivative is wanted for.
        shape_only: inputs of which the kernel reads nothing but the shape.
        elementwise: output element i depends on the inputs' elements i only
            (after broadcasting).
        commutative: the order of two inputs does not matter (for CSE).
        chainable: f(a, b, c) is f(f(a, b), c) to the bit, for any number of
            inputs, so that a plan may add each term when it arrives.
        shape_math: run at build time on small known integer inputs, so that
            sizes computed in the graph stay known.
        singular: inputs at some of whose values a partial derivative is infinite or
            NaN (log at 0), or ``f(attrs) -> inputs``.
        override: the registered gradient that took the place of the op's own
            rules (``Graph.gradient_override_map``), None for a declared op.
        value: ``f(inputs, attrs) -> ndarray | tuple | None``: what is known of
            output 0 at build time (see :class:`Spec`).
        flops: ``f(inputs, outputs, attrs) -> int``; None: one per output
            element.
        doc: one line with the formula.
        declared: where, for the error of a second declaration.
    """

    type: str
    infer: Infer
    kernel: str | Callable[..., Any] | None
    inputs: tuple[str, ...] = ()
    vjp: Any = None
    jvp: Any = None
    linear: bool = False
    jet: Callable[..., Any] | None = None
    batch: Any = None
    no_gradient: str | None = None
    alias: int | None = None
    inplace: tuple[int, ...] = ()
    writes_out: bool = False
    identity: Callable[..., bool] | None = None
    workspace: Callable[..., Any] | None = None
    transient: Callable[..., int] | None = None
    bind: Callable[..., Any] | None = None
    pieces: Callable[..., Any] | None = None
    places: Callable[..., Sequence[tuple[Any, ...]]] | None = None
    blas: tuple[int, ...] = ()
    settle: Callable[..., Any] | None = None
    nest: Callable[..., Any] | None = None
    effect: str | None = None
    updates: tuple[int, ...] = ()
    control: str | None = None
    shape_only: tuple[int, ...] = ()
    elementwise: bool = False
    commutative: bool = False
    chainable: bool = False
    shape_math: bool = False
    singular: tuple[int, ...] | Callable[..., tuple[int, ...]] = ()
    override: str | None = None
    value: Callable[..., Any] | None = None
    flops: Callable[..., int] | None = None
    doc: str = ""
    declared: Mark = field(default=None, repr=False)

    def __post_init__(self) -> None:
        first = _REGISTRY.get(self.type)
        if first is not None:
            raise GraphError(
                f"op type {self.type!r} is declared already, at "
                f"{resolve(first.declared)}"
            )
        object.__setattr__(self, "declared", _declared_at())
        if self.transient is None:
            carried = getattr(self.kernel, "transient", None)
            object.__setattr__(self, "transient", carried)
        _REGISTRY[self.type] = self

    def __repr__(self) -> str:
        return f"<OpDef {self.type}>"

    def pull_back(
        self,
        op: Operation,
        cotangents: Sequence[Tensor | None],
        needed: Sequence[bool],
    ) -> list[Any]:
        """Cotangents of the inputs that ``needed`` marks (None elsewhere)."""
        rules = self.vjp
        if callable(rules):
            bodies = self.control is not None and self.override is None
            more = {"needed": needed} if bodies else {}
            results = list(rules(op, *cotangents, **more))
            if len(results) != len(needed):
                return results  # the caller says what is wrong
            return [r if n else None for r, n in zip(results, needed)]
        return [
            rule(op, *cotangents) if n and rule is not None else None
            for rule, n in zip(rules, needed)
        ]


_REGISTRY: dict[str, OpDef] = {}


def _declared_at() -> Mark:
    import sys

    frame = sys._getframe(3)  # past __post_init__ and the generated __init__
    return (frame.f_code, frame.f_lasti) if frame is not None else caller()


def find(type_name: str) -> OpDef | None:
    """The op of that type, None where there is none; its family is loaded."""
    opdef = _REGISTRY.get(type_name)
    if opdef is None and type_name in PLACES.types:
        import_module(PLACES.types[type_name])
        opdef = _REGISTRY[type_name]
    return opdef


def lookup(type_name: str) -> OpDef:
    """The op of that type; raises MissingNameError where there is none."""
    opdef = find(type_name)
    if opdef is None:
        raise MissingNameError(f"no op type {type_name!r} is declared")
    return opdef


def registered() -> Mapping[str, OpDef]:
    """All ops that graphs can hold, by type: every family is loaded.

    Types with a leading underscore exist in plans only and are left out.
    """
    for place in set(PLACES.types.values()):
        import_module(place)
    return {name: d for name, d in _REGISTRY.items() if name[0] != "_"}
