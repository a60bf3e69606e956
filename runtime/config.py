"""Session configuration: TF1's protos as plain records.

Fields that mean something to dagrad say so; the others are kept so that TF1
programs run unchanged.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ConfigProto", "GPUOptions", "GraphOptions", "OptimizerOptions"]


class _Record:
    """Keyword fields, with None for those not given."""

    _fields: tuple[str, ...] = ()

    def __init__(self, **fields: Any) -> None:
        for name in self._fields:
            object.__setattr__(self, name, None)
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        given = {n: getattr(self, n) for n in self._fields}
        inside = ", ".join(f"{n}={v!r}" for n, v in given.items() if v is not None)
        return f"{type(self).__name__}({inside})"


class GPUOptions(_Record):
    """Recorded, never used: a run is on the CPU."""

    _fields = (
        "allow_growth",
        "per_process_gpu_memory_fraction",
        "visible_device_list",
        "allocator_type",
        "deferred_deletion_bytes",
        "polling_active_delay_usecs",
        "force_gpu_compatible",
    )


class OptimizerOptions(_Record):
    """Recorded, never used: ``Session(rewrites=...)`` chooses."""

    L0 = -1
    L1 = 0
    DEFAULT = 0
    OFF = 0
    ON_1 = 1
    ON_2 = 2
    _fields = (
        "do_common_subexpression_elimination",
        "do_constant_folding",
        "do_function_inlining",
        "global_jit_level",
        "opt_level",
    )


class GraphOptions(_Record):
    """Recorded, never used."""

    _fields = (
        "enable_recv_scheduling",
        "optimizer_options",
        "build_cost_model",
        "infer_shapes",
        "place_pruned_graph",
        "rewrite_options",
        "timeline_step",
    )

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{"optimizer_options": OptimizerOptions(), **fields})


class ConfigProto(_Record):
    """Options of a session.

    ``native`` says whether native code may take the place of NumPy's calls (with the
    extra ``dagrad[jit]``): "auto" (the default): fused operations as soon as the
    background has compiled them, stretches of small ones once a plan has run a few
    times; "wait": before the first run, so that all runs give the same bits; "off".
    Where it is not given, the environment variable DAGRAD_NATIVE says it.

    ``memory_limit``: bytes (a number, or text: ``"200MB"``, ``"64MiB"``) that one run
    may take beside its feeds, the graph's constants and the session's variables:
    intermediate values, scratch memory and fetched arrays.  Where a plan needs more,
    values are computed again instead of being kept, at the least cost that was found;
    results are the same to the bit.  Where that is not enough, the run raises
    :class:`ResourceExhaustedError` before it starts.  Memory of shapes that are only
    known during the run does not count.

    Numbers of threads: None or 0 leaves everything as it is: one thread, and BLAS as
    the user's environment has it.

    intra_op_parallelism_threads: how many threads share a large elementwise step or
        matrix product.  Any number takes BLAS's own threads away while the session is
        open (with the extra ``dagrad[threads]``).
    inter_op_parallelism_threads: how many branches of a plan run at the same time,
        where they are long enough.

    Results are the same to the bit for all numbers from 1 on.
    """

    _fields = (
        "allow_soft_placement",
        "log_device_placement",
        "device_count",
        "intra_op_parallelism_threads",
        "inter_op_parallelism_threads",
        "use_per_session_threads",
        "gpu_options",
        "graph_options",
        "operation_timeout_in_ms",
        "device_filters",
        "placement_period",
        "isolate_session_state",
        "cluster_def",
        "rpc_options",
        "session_inter_op_thread_pool",
        "experimental",
        "native",
        "memory_limit",
    )

    def __init__(self, **fields: Any) -> None:
        start = {"gpu_options": GPUOptions(), "graph_options": GraphOptions()}
        super().__init__(**{**start, **fields})
