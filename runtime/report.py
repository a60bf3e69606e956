"""What a run measured: time, bytes, and what was alive at the peak."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graphlib.operators import TABLE
from ..graphlib.records import field, record

__all__ = ["Event", "RunMetadata", "RunOptions", "RunReport", "StepReport"]


class Event(NamedTuple):
    """What one thread did without a break: a step, or its part of one.

    ``start`` and ``seconds`` count from the start of the run.
    """

    step: int
    name: str
    type: str
    thread: str
    start: float
    seconds: float


@record(frozen=True, slots=True)
class StepReport:
    """One step: seconds, bytes it made, bytes alive after it.

    ``outputs`` are the slots of the plan that it filled, with their bytes.
    """

    name: str
    type: str
    source: str
    start: float
    seconds: float
    output_bytes: int
    live_bytes: int
    shapes: tuple[str, ...]
    outputs: tuple[tuple[int, int], ...] = ()


@record
class RunReport:
    """Measurements of one run.

    Attributes:
        steps: in the order of execution.
        events: what each thread did, by time of start.
        nonfinite: tensor -> how many of its numbers were NaN or infinite, where any
            was, feeds and variables included; of a variable at the start.  None where
            nobody looked: the fast executor does not.
        seconds: of the whole run.
        plan: the plan that ran (its ``peak_bytes`` is the prediction).
        peak_bytes: the most bytes alive at once.  The reference interpreter allocates
            every output, so this can exceed the plan's prediction; the fast executor
            keeps to the plan, which then says all but the sizes that only a run tells.
        peak_set: what was alive then: name -> (dtype and shape, bytes).
    """

    steps: list[StepReport] = field(default_factory=list)
    seconds: float = 0.0
    plan: Any = None
    nonfinite: dict[str, int] | None = field(default=None, kw_only=True)
    peak_bytes: int = 0
    peak_set: dict[str, tuple[str, int]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def by_type(self) -> dict[str, tuple[int, float]]:
        """Op type -> (count, seconds), slowest first."""
        totals: dict[str, tuple[int, float]] = {}
        for s in self.steps:
            n, t = totals.get(s.type, (0, 0.0))
            totals[s.type] = (n + 1, t + s.seconds)
        return dict(sorted(totals.items(), key=lambda kv: -kv[1][1]))

    def _repr_svg_(self) -> str:
        return TABLE["draw"](self)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        lines = [
            f"{len(self.steps)} steps in {self.seconds * 1e3:.3f} ms, "
            f"peak {self.peak_bytes:,} bytes"
        ]
        lines.append(f"{'us':>10} {'bytes':>12} {'live':>14}  operation")
        lines.extend(
            f"{s.seconds * 1e6:10.1f} {s.output_bytes:12,} {s.live_bytes:14,}  "
            f"{s.type} {s.name}"
            for s in self.steps
        )
        lines.append("alive at the peak:")
        lines.extend(
            f"  {n:14,}  {name} {spec}" for name, (spec, n) in self.peak_set.items()
        )
        return "\n".join(lines)


class RunOptions:
    """Options of one run (TF1's proto).

    Args:
        trace_level: ``FULL_TRACE`` (and ``SOFTWARE_TRACE``): the reference interpreter
            runs the plan, and the bytes of every array are measured.
            ``HARDWARE_TRACE``: the fast executor runs it as it always does, in its
            planned memory and in all its threads, under a clock.  Both fill
            ``run_metadata``.
        timeout_in_ms: a run that took longer raises DeadlineExceededError.

    Other fields are accepted for TF1 programs.
    """

    NO_TRACE = 0
    SOFTWARE_TRACE = 1
    HARDWARE_TRACE = 2
    FULL_TRACE = 3

    def __init__(
        self,
        trace_level: int = 0,
        timeout_in_ms: int = 0,
        inter_op_thread_pool: int = 0,
        output_partition_graphs: bool = False,
        debug_options: Any = None,
        report_tensor_allocations_upon_oom: bool = False,
    ) -> None:
        self.trace_level = trace_level
        self.timeout_in_ms = timeout_in_ms
        self.inter_op_thread_pool = inter_op_thread_pool
        self.output_partition_graphs = output_partition_graphs
        self.debug_options = debug_options
        self.report_tensor_allocations_upon_oom = report_tensor_allocations_upon_oom


class RunMetadata:
    """What a traced run measured: see ``report``.

    Attributes:
        report: a :class:`RunReport`, None before a traced run.
    """

    def __init__(self) -> None:
        self.report: RunReport | None = None

    def _repr_svg_(self) -> str | None:
        return None if self.report is None else self.report._repr_svg_()

    @property
    def step_stats(self) -> RunReport | None:
        """The report (TF1's name for the measurements)."""
        return self.report
