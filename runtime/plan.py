"""Plan: what a run will do, as frozen data.

A plan holds no arrays except constants, so it can be printed, drawn and tested
without running it.  Executors bind it to memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..graphlib.dtypes import DType
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.records import field, record
from ..graphlib.shapes import Dims, text
from ..graphlib.source import Source
from ..graphlib.tensor import Tensor
from .changes import Change, told

__all__ = ["ARENA", "CALL", "CONST", "FEED", "FETCH", "VARIABLE", "VIEW"]
__all__ += ["SAME", "Plan", "Region", "Slot", "Step"]

# Kinds of slots: where a value's memory is.
ARENA = "arena"  #: at a fixed offset of the plan's arena
CONST = "const"  #: an array that the graph holds
FEED = "feed"  #: the caller's array
FETCH = "fetch"  #: a new array in every run, handed to the caller
VARIABLE = "variable"  #: the session's array
VIEW = "view"  #: a view of another slot (``owner``)
SAME = "same"  #: the memory of a feed (``owner``) that it overwrites
CALL = "call"  #: whatever the kernel returns; freed at its last use

#: Types of ops that plans alone hold (see ``fused`` and ``row_groups``): several
#: elementwise operations as one, or reductions of rows with what is around them.
FUSED_TYPE, ROWS_TYPE = "_Fused", "_Rows"
#: What readers call them.
_GROUPS = {FUSED_TYPE: "fused", ROWS_TYPE: "rows"}
GROUP_TYPES = tuple(_GROUPS)


class Slot(NamedTuple):
    """One value of a plan.

    Attributes:
        kind: where its memory is (see the constants of this module).
        tensor: the graph tensor it stands for; ``name``: its name.
        dtype, dims: element type and shape; dims has None where the shape is
            only known during the run.
        nbytes: bytes, 0 where not known before the run.
        offset: bytes from the start of the arena (kind "arena"), or from the
            start of the owner (kind "view" with known strides).
        strides: of a view whose place is known before the run, in bytes.
        owner: the slot whose memory this is: of a "view" (or "call") what it is a
            view of, of a "same" the feed that it overwrites, else itself.
        value: the array of a constant.
        first, last: steps at which it is made and last used (-1: not made by a
            step).
        group: the storage group: slots of one group share memory, one taking it
            over from the other.
    """

    kind: str
    tensor: Tensor | None
    dtype: DType
    dims: Dims
    nbytes: int
    owner: int
    offset: int = 0
    strides: tuple[int, ...] | None = None
    value: Any = None
    first: int = -1
    last: int = -1
    group: int = -1

    @property
    def name(self) -> str:
        """The name of the tensor, empty where it stands for none."""
        return "" if self.tensor is None else self.tensor.name

    @property
    def spec(self) -> str:
        """``float32(32, 10)``."""
        return f"{self.dtype.name}{text(self.dims)}"


class Step(NamedTuple):
    """One operation of a plan.

    Attributes:
        op: the graph's operation.
        opdef, attrs: what to compute.
        inputs, outputs: slot indices.
        work: (offset, numpy dtype, dims) of scratch arrays in the arena.
        frees: slots whose value is dead after this step.
        takes_over: (output slot, input slot) pairs that share memory.
        mode: "out" (kernel writes into planned memory), "view" (nothing to run),
            "call" (kernel allocates), "write" (changes a variable), "none".
        copy_view: a view op that must copy here, as its input's layout has no
            such view.
        placed: of a join, the inputs that are made in its result: they are views
            of it, and it copies the others.
    """

    op: Operation
    opdef: OpDef
    attrs: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    mode: str
    work: tuple[tuple[int, Any, tuple[int, ...]], ...] = ()
    frees: tuple[int, ...] = ()
    takes_over: tuple[tuple[int, int], ...] = ()
    copy_view: bool = False
    placed: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.op.name

    @property
    def group(self) -> Any:
        """The operations that the step runs as one, with their wiring, or None."""
        return self.attrs["group"] if self.opdef.type in _GROUPS else None

    @property
    def what(self) -> str:
        """What a reader is told that it runs.

        The type of the operation; of several in one step, what they are and the types
        of all: ``fused: Mul, Add, Tanh``, ``rows: Square, Sum``.
        """
        group = self.group
        if group is None:
            return self.opdef.type.lstrip("_")
        types: list[str] = [m.opdef.type.lstrip("_") for m in group.members]
        if len(types) == 1:
            return types[0]
        return f"{_GROUPS[self.opdef.type]}: {', '.join(types)}"

    @property
    def is_group(self) -> bool:
        """Whether it is several operations: elementwise ones, or of rows."""
        return self.opdef.type in GROUP_TYPES

    @property
    def source(self) -> Source | None:
        """The user's line that made the operation."""
        return self.op.source


class Region(NamedTuple):
    """Steps that run side by side: to all other steps they are one.

    Attributes:
        first, last: the stretch of steps that it is.
        branches: steps of one branch run one after the other, in this order.
    """

    first: int
    last: int
    branches: tuple[tuple[int, ...], ...]


@record(frozen=True)
class Plan:
    """What one run does for given fetches, feeds and shapes of feeds.

    Attributes:
        steps: in the order of execution.
        slots: every value.
        feeds: slots of the feeds, in the order of the feed keys.
        fetches: slots to return.
        live_bytes: bytes alive at each step: the plan's own memory (what lives
            in the arena, and fetched arrays, which count for the whole run);
            not feeds, constants or variables.
        peak_bytes: the most of ``live_bytes``, and ``transient_bytes``.
        transient_bytes: the most that one kernel allocates for itself.
        arena_bytes: size of the arena.
        fetch_bytes: size of the fetched arrays.
        exact: whether every shape is known, and how often each loop that keeps
            something runs, so that the peak is exact.
        order: the name of the chosen order; ``tried``: peak bytes by order.
        rewrites: (pass, number of nodes it removed or changed).
        changes: what the passes did, and to which operations (see ``explain``).
        variables: slots of variables; ``assigned``: those that may get new
            memory in this run; ``required``: slot -> (reader or None).
        updated: slots of variables that are changed in place.
        variable_ops: slot -> the operation that makes the variable.
        writes: whether the run changes variables.
        bodies: the plans of the bodies of loops and branches whose shapes are
            known before the run.
        seconds: what planning took.
        regions: stretches of steps that several threads share.
    """

    steps: tuple[Step, ...]
    slots: tuple[Slot, ...]
    feeds: tuple[int, ...]
    fetches: tuple[int, ...]
    live_bytes: tuple[int, ...]
    peak_bytes: int
    transient_bytes: int
    arena_bytes: int
    fetch_bytes: int
    exact: bool
    order: str
    tried: Mapping[str, int]
    rewrites: tuple[tuple[str, int], ...]
    variables: tuple[int, ...]
    assigned: frozenset[int]
    updated: frozenset[int]
    required: Mapping[int, Operation | None]
    variable_ops: Mapping[int, Operation]
    writes: bool
    bodies: Mapping[Any, Plan] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)
    changes: tuple[Change, ...] = field(default=(), compare=False)
    regions: tuple[Region, ...] = ()

    def live_at(self, step: int) -> list[Slot]:
        """The slots whose memory is alive at ``step``, largest first."""
        alive = [
            s
            for s in self.slots
            if s.kind in (ARENA, FETCH, CALL) and s.first <= step <= s.last
        ]
        return sorted(alive, key=lambda s: (-s.nbytes, s.name))

    @property
    def peak_step(self) -> int:
        """The first step at the peak, -1 for an empty plan."""
        if not self.live_bytes:
            return -1
        return self.live_bytes.index(max(self.live_bytes))

    def explain(self) -> str:
        """What each rewrite did, how often, and to which of the user's lines.

        The bodies of loops and branches follow, each with its own.
        """
        lines = told(self.changes, self.rewrites)
        for key, plan in self.bodies.items():
            lines.append(f"body of {key.body.graph.what}:")
            lines += [f"  {line}" for line in plan.explain().splitlines()]
        return "\n".join(lines)

    def _repr_svg_(self) -> str:
        return TABLE["draw"](self)  # type: ignore[no-any-return]

    def bodies_of(self, step: Step) -> Iterator[tuple[str, Plan]]:
        """The plans of what a loop or branch runs, and what each is of."""
        attrs = step.attrs
        held = attrs["branches"] if "branches" in attrs else (attrs.get("body"),)
        for key, plan in self.bodies.items():
            if key.body in held:
                yield f"body of {key.body.graph.what}", plan

    def __str__(self) -> str:
        lines = [
            f"plan of {len(self.steps)} steps, peak {self.peak_bytes:,} bytes "
            f"(arena {self.arena_bytes:,}, fetched {self.fetch_bytes:,}), "
            f"order {self.order!r}"
        ]
        for region in self.regions:
            counts = ", ".join(str(len(branch)) for branch in region.branches)
            lines.append(
                f"steps {region.first} to {region.last} run side by side, in branches "
                f"of {counts}"
            )
        for i, step in enumerate(self.steps):
            ins = ", ".join(f"%{s}" for s in step.inputs)
            outs = ", ".join(f"%{s}:{self.slots[s].spec}" for s in step.outputs)
            frees = " ".join(f"%{s}" for s in step.frees)
            what = f"[{step.what}]" if ": " in step.what else step.what
            lines.append(
                f"{i:5} {outs or '-'} = {what}({ins})  # {step.name}"
                + (f"  frees {frees}" if frees else "")
                + (f"  {len(step.placed)} in place" if step.placed else "")
            )
            for title, plan in self.bodies_of(step):
                lines.append(f"      {title}:")
                lines += [f"        {line}" for line in str(plan).splitlines()]
        return "\n".join(lines)
