"""Summaries and event files for TensorBoard (``tf.summary``).

A summary is a node; running it gives a record, which a writer adds to an event file::

    loss_curve = tf.summary.scalar("loss", loss)
    with tf.summary.FileWriter("logs", tf.get_default_graph()) as writer:
        for step in range(100):
            _, record = session.run([train, loss_curve])
            writer.add_summary(record, step)

Everything here needs the package tensorboard: ``pip install "dagrad[tensorboard]"``.
"""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

from .graphlib.errors import GraphError
from .graphlib.graph import Graph
from .ops.summaries import (
    audio,
    histogram,
    image,
    merge,
    merge_all,
    messages,
    scalar,
    text,
)
from .runtime.report import RunMetadata

__all__ = [
    "FileWriter",
    "audio",
    "histogram",
    "image",
    "merge",
    "merge_all",
    "scalar",
    "text",
]


def __getattr__(name: str) -> Any:
    if name == "Summary":
        return messages().Summary
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class FileWriter:
    """Writes an event file, which TensorBoard reads while it grows.

    Args:
        logdir: a directory, made if it is missing; each writer adds a file.
        graph: a graph to write at once (see :meth:`add_graph`).
        max_queue: how many events may wait to be written.
        flush_secs: seconds after which what waits is written.
        graph_def: as ``graph``, for old programs.
        filename_suffix: text at the end of the file's name.
        session: accepted for TF1 programs.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """

    def __init__(
        self,
        logdir: Any,
        graph: Any = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: Any = None,
        filename_suffix: str | None = None,
        session: Any = None,
    ) -> None:
        messages()
        self._directory: str = os.fspath(logdir)
        self._arguments = max_queue, flush_secs, filename_suffix or ""
        self._writer: Any = None
        self.reopen()
        graph = graph if graph is not None else graph_def
        if graph is not None:
            self.add_graph(graph)

    def get_logdir(self) -> str:
        """The directory."""
        return self._directory

    def add_graph(
        self, graph: Any, global_step: int | None = None, graph_def: Any = None
    ) -> None:
        """Write a graph, for TensorBoard's graph tab: scopes to open, shapes, devices,
        attributes, the lines that made the operations, and the bodies of loops.

        Raises:
            GraphError: this is no graph.
        """
        from .viz.graphdef import graph_def as encode

        graph = graph if graph is not None else graph_def
        if not isinstance(graph, Graph):
            raise GraphError(f"add_graph needs a graph, not {graph!r}")
        self._add({"graph_def": encode(graph).SerializeToString()}, global_step)

    def add_summary(self, summary: Any, global_step: int | None = None) -> None:
        """Write a summary: what running one gave, or a ``Summary`` message."""
        if isinstance(summary, bytes):
            summary = messages().Summary.FromString(summary)
        self._add({"summary": summary}, global_step)

    def add_event(self, event: Any) -> None:
        """Write an ``Event`` message as it is."""
        if self._writer is None:
            warnings.warn(
                "this FileWriter is closed: nothing is written until it is reopened",
                stacklevel=2,
            )
            return
        self._writer.add_event(event)

    def add_run_metadata(
        self, run_metadata: RunMetadata, tag: str, global_step: int | None = None
    ) -> None:
        """Write the times and bytes that a traced run measured, under a name.

        Raises:
            GraphError: nothing was measured.
        """
        from tensorboard.compat.proto import event_pb2

        from .viz.graphdef import run_metadata_def

        if run_metadata.report is None:
            raise GraphError(
                "nothing was measured: pass the metadata to session.run with "
                "options=RunOptions(trace_level=RunOptions.FULL_TRACE)"
            )
        packed = run_metadata_def(run_metadata.report).SerializeToString()
        tagged = event_pb2.TaggedRunMetadata(tag=tag, run_metadata=packed)
        self._add({"tagged_run_metadata": tagged}, global_step)

    def add_session_log(self, session_log: Any, global_step: int | None = None) -> None:
        """Write a ``SessionLog`` message."""
        self._add({"session_log": session_log}, global_step)

    def _add(self, what: dict[str, Any], global_step: int | None) -> None:
        from tensorboard.compat.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), **what)
        if global_step is not None:
            event.step = int(global_step)
        self.add_event(event)

    def flush(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write what waits and end the file; later events are not written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def reopen(self) -> None:
        """Go on after :meth:`close`, in a new file; no effect on an open writer."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is None:
            waiting, seconds, suffix = self._arguments
            self._writer = EventFileWriter(self._directory, waiting, seconds, suffix)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
