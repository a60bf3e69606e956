"""TF1's writer of traces for ``chrome://tracing``."""

from __future__ import annotations

from typing import Any

from ...runtime.report import RunReport

__all__ = ["Timeline"]


class Timeline:
    """The measurements of a run, to be written as a trace.

    Args:
        step_stats: ``run_metadata.step_stats`` of a traced run.
        graph: accepted for TF1 programs: the measurements know their graph.

    Raises:
        TypeError: this is no measurement of a run.
    """

    def __init__(self, step_stats: Any, graph: Any = None) -> None:
        if not isinstance(step_stats, RunReport):
            raise TypeError(
                "Timeline needs run_metadata.step_stats of a run with "
                "options=RunOptions(trace_level=RunOptions.FULL_TRACE), not "
                f"{step_stats!r}"
            )
        self._report = step_stats

    def generate_chrome_trace_format(
        self, show_dataflow: bool = True, show_memory: bool = False
    ) -> str:
        """The trace as JSON text (see :func:`dagrad.viz.timeline.chrome_trace`).

        Args:
            show_dataflow: accepted for TF1 programs.
            show_memory: with a counter of the live bytes.
        """
        from ...viz.timeline import chrome_trace

        return chrome_trace(self._report, show_memory=show_memory)
