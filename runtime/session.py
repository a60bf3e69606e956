"""Session: runs parts of a graph, and keeps its variables between runs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graphlib.errors import (
    CopyError,
    DeadlineExceededError,
    FeedError,
    FeedTypeError,
    FetchError,
    SessionClosedError,
)
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.operation import Operation
from ..graphlib.stacks import session_stack
from ..graphlib.tensor import Tensor
from .compiler import compile_plan
from .executor import MISS, Executable, miss
from .feeds import check_shape, convert, expand, feed_key, missing_feeds
from .fetches import Fetches
from .plan import Plan
from .program import needed_operations
from .settings import Settings
from .variables import State

if TYPE_CHECKING:
    from .report import RunMetadata, RunOptions

__all__ = ["InteractiveSession", "Session", "get_default_session"]

# How many (fetches, feed keys) a session keeps ready, and how many shapes of
# each: what a long-lived program that varies them may hold in memory.
_MAX_RUNNERS = 256
_MAX_SHAPES = 32

_LEAVES = (Tensor, Operation, str)
_ELEMENTS = frozenset((Tensor, Operation))


class _Nothing:
    """Stands in for an executable before there is one."""

    hot = staticmethod(miss)


class _Runner:
    """Everything that depends on (fetches, feed keys): ready for arrays."""

    __slots__ = (
        "_plans",
        "dtypes",
        "feeds",
        "fetches",
        "lock",
        "nested",
        "operations",
        "recent",
        "state",
    )

    def __init__(
        self,
        state: State,
        lock: threading.RLock,
        fetches: Fetches,
        feeds: list[Tensor],
        nested: bool,
    ) -> None:
        # Not the session: its memory goes when nobody refers to it, at once.
        self.state = state
        self.lock = lock
        self.fetches = fetches
        self.feeds = feeds
        # Arrays of these dtypes pass as they are; strings are looked at.
        self.dtypes = [
            None if t.dtype.dtype.kind == "O" else t.dtype.dtype for t in feeds
        ]
        self.nested = nested
        self.operations = needed_operations(fetches.tensors, fetches.targets, feeds)
        error = missing_feeds(self.operations, feeds, fetches.tensors, fetches.targets)
        if error is not None:
            raise error
        self._plans: dict[Any, Executable] = {}
        #: The executable of the last run that was not direct; before there is one,
        #: what stands in for it.
        self.recent: Executable | _Nothing = _Nothing()

    def __call__(self, values: Any) -> Any:
        """The results for these feed values, in the structure of the fetches."""
        arrays = self.convert(values)
        executable = self.executable(arrays)
        self.recent = executable
        return self.fetches.rebuild(executable(arrays))

    def convert(self, values: Any) -> list[Any]:
        """The feed values as arrays of the right dtype."""
        return [
            v if type(v) is np.ndarray and v.dtype is d else convert(t, v)
            for t, d, v in zip(self.feeds, self.dtypes, values)
        ]

    def executable(self, arrays: Sequence[Any]) -> Executable:
        """The plan for these shapes, made on first use."""
        key = tuple([a.shape for a in arrays])
        found = self._plans.get(key)
        if found is None:
            for t, a in zip(self.feeds, arrays):
                check_shape(t, a)
            with self.lock:
                found = self._plans.get(key)
                if found is None:
                    # Feeds that come in parts have to be taken apart by run().
                    rebuild = None if self.nested else self.fetches.rebuild
                    found = Executable(self.plan(key), self.state, rebuild)
                    if len(self._plans) >= _MAX_SHAPES:
                        del self._plans[next(iter(self._plans))]
                    self._plans[key] = found
        return found

    def plan(self, shapes: Sequence[tuple[int, ...]]) -> Plan:
        """A new plan for feeds of these shapes."""
        return compile_plan(
            self.operations,
            self.fetches.tensors,
            self.fetches.targets,
            self.feeds,
            shapes,
            settings=self.state.settings,
        )


class Session:
    """Runs a graph.

    >>> import dagrad as dg
    >>> x = dg.placeholder(dg.float32, [None])
    >>> with dg.Session() as session:
    ...     session.run(x * 2.0, {x: [1, 2]})
    array([2., 4.], dtype=float32)

    Args:
        target: accepted for TF1 programs; runs are in this process.
        graph: the graph to run (default: the default graph).
        config: a :class:`ConfigProto`: how many threads a run may use.
        rewrites: the names of the passes that a program goes through before it is
            planned (default: all), of "fold", "identity", "common", "bodies", "loops",
            "stable", "algebra", "joins", "views", "broadcasts", "chains", "dead",
            "sums" and "dense".  Whatever is chosen, results are right; all but
            "stable", "broadcasts" and "chains" keep them to the bit, and those say
            how far they go (docs/internals.md).  ``plan(...).explain()`` tells what
            each did.

    Raises:
        InvalidArgumentError: there is no such pass, or no such number of threads.
    """

    def __init__(
        self,
        target: Any = "",
        graph: Graph | None = None,
        config: Any = None,
        rewrites: Iterable[str] | None = None,
    ) -> None:
        if isinstance(target, Graph):
            target, graph = "", target
        if target not in ("", None, b"") and not isinstance(target, str):
            raise TypeError(f"target must be a string, not {target!r}")
        # Inside a body too: what runs is the graph around it.
        self._graph = get_default_graph().root if graph is None else graph
        self._config = config
        settings = Settings.of(config, rewrites)
        self._state = State(settings)
        #: Frees what plans are bound to, so that variables go with the session.
        self._forget = weakref.finalize(self, self._state.forget)
        self._forget.atexit = False
        #: Ends what the session asks of BLAS; None where it asks for nothing.
        self._free_blas: Callable[[], None] | None = None
        if settings.intra:
            from .blas import hold

            self._free_blas = hold(self)
        self._runners: dict[Any, _Runner] = {}
        self._compile_lock = threading.RLock()
        self._closed = False
        self._contexts: list[Any] = []

    # -- running -------------------------------------------------------------

    def run(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: RunOptions | None = None,
        run_metadata: RunMetadata | None = None,
    ) -> Any:
        """Compute ``fetches`` and return their values in the same structure.

        Args:
            fetches: a tensor, operation, variable or name, or lists, tuples,
                namedtuples, dicts and dataclasses of them.  Operations give
                None.
            feed_dict: tensor -> value; any tensor can be fed.
            options: see :class:`RunOptions`.
            run_metadata: filled by a traced run.

        Returns:
            NumPy arrays (scalars for 0-d tensors) that the caller may keep and
            change.

        Raises:
            FetchError, FeedError: something that cannot be fetched or fed, or a
                placeholder that is needed and not fed.
            FailedPreconditionError: a variable is not initialised.
            InvalidArgumentError, ExecutionError: an operation failed.
            SessionClosedError: the session is closed.
        """
        if feed_dict is None:
            feed_dict = {}
        elif type(feed_dict) is not dict:
            _check_feed_dict(feed_dict)
        runner = self._runner(fetches, feed_dict)
        if options is None:
            results = runner.recent.hot(feed_dict.values())
            if results is not MISS:
                return results
        values: Any = feed_dict.values()
        if runner.nested:
            values = [v for _, v in expand(feed_dict)]
        if options is not None and (options.trace_level or options.timeout_in_ms):
            arrays = runner.convert(values)
            executable = runner.executable(arrays)
            traced = self._traced(executable, arrays, options, run_metadata)
            return runner.fetches.rebuild(traced)
        return runner(values)

    def _runner(self, fetches: Any, feed_dict: Mapping[Any, Any]) -> _Runner:
        state = self._state  # before another thread closes the session
        if self._closed:
            raise SessionClosedError("this session is closed")
        try:
            key = (
                (fetches, *feed_dict)
                if type(fetches) is Tensor
                else (_structure(fetches), *feed_dict)
            )
            found = self._runners.get(key)
        except TypeError:
            _check_feed_dict(feed_dict)
            raise
        if found is not None:
            return found
        _check_feed_dict(feed_dict)
        pairs = expand(feed_dict)
        feeds: list[Tensor] = []
        for k, _ in pairs:
            t = feed_key(self._graph, k)
            if t in feeds:
                raise FeedError(f"{t!r} is fed twice")
            feeds.append(t)
        nested = len(pairs) != len(feed_dict) or any(
            isinstance(k, tuple) for k in feed_dict
        )
        taken = Fetches(self._graph, fetches)
        runner = _Runner(state, self._compile_lock, taken, feeds, nested)
        with self._compile_lock:
            if len(self._runners) >= _MAX_RUNNERS:
                del self._runners[next(iter(self._runners))]
            self._runners[key] = runner
        return runner

    def _traced(
        self,
        executable: Executable,
        arrays: Sequence[Any],
        options: RunOptions,
        run_metadata: RunMetadata | None,
    ) -> list[Any]:
        """A run that is measured: by the reference interpreter, or as it always is."""
        from .report import RunOptions, RunReport

        report = RunReport(plan=executable.plan)
        state = self._state
        plan = executable.plan
        executable.check_variables()
        acquire = state.lock.acquire_write if plan.writes else state.lock.acquire_read
        release = state.lock.release_write if plan.writes else state.lock.release_read
        held = acquire()
        try:
            if options.trace_level == RunOptions.HARDWARE_TRACE:
                from .tracing import run_traced

                results = run_traced(executable, arrays, report)
            else:
                from .interpreter import interpret

                results = interpret(plan, state, arrays, report)
        finally:
            try:
                release(held)
            except BaseException:  # an interrupt, perhaps before it was given back
                release(held)
                raise
        if run_metadata is not None:
            run_metadata.report = report
        limit = options.timeout_in_ms
        if limit and report.seconds * 1e3 > limit:
            raise DeadlineExceededError(
                f"the run took {report.seconds * 1e3:.0f} ms; the limit is {limit} ms"
            )
        return results

    def make_callable(
        self,
        fetches: Any,
        feed_list: Sequence[Any] | None = None,
        accept_options: bool = False,
    ) -> Callable[..., Any]:
        """A function that runs ``fetches`` with positional feeds.

        Args:
            fetches: as for :meth:`run`.
            feed_list: tensors to feed, in the order of the arguments.
            accept_options: accepted for TF1 programs: the function then takes
                ``options`` and ``run_metadata``.
        """
        keys = list(feed_list or ())
        runner = self._runner(fetches, dict.fromkeys(keys))
        if len(runner.feeds) != len(keys):
            raise FeedError("feed_list must name single tensors")
        count = len(keys)

        def call(*values: Any, options: Any = None, run_metadata: Any = None) -> Any:
            if self._closed:
                raise SessionClosedError("this session is closed")
            if len(values) != count:
                raise FeedError(f"{count} values are needed, {len(values)} were given")
            if accept_options and options is not None:
                feeds = dict(zip(keys, values))
                return self.run(fetches, feeds, options, run_metadata)
            results = runner.recent.hot(values)
            return runner(values) if results is MISS else results

        return call

    def plan(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Plan:
        """The plan that :meth:`run` would follow, without running it.

        Values in ``feed_dict`` may be arrays or, for their shape alone, None
        where the static shape is fully known.
        """
        feed_dict = feed_dict or {}
        runner = self._runner(fetches, feed_dict)
        values = [v for _, v in expand(feed_dict)]
        shapes = []
        for t, v in zip(runner.feeds, values):
            if v is None:
                if t.dims is None or None in t.dims:
                    raise FeedError(f"the shape of {t!r} is not known: give a value")
                v = np.empty(t.dims, t.dtype.dtype)
            shapes.append(convert(t, v))
        return runner.executable(shapes).plan

    # -- life ----------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The graph that this session runs."""
        return self._graph

    @property
    def graph_def(self) -> Graph:
        """The graph (TF1 programs hand this to writers)."""
        return self._graph

    @property
    def sess_str(self) -> str:
        """The target: always empty."""
        return ""

    def close(self) -> None:
        """Drop variables and plans; later runs raise SessionClosedError."""
        self._closed = True
        self._runners.clear()
        self._state.pool.close()
        if self._free_blas is not None:
            self._free_blas()
        self._forget()
        self._state = State(self._state.settings)

    def reset_random(self) -> None:
        """Start all random streams anew, as in a new session."""
        self._state.reset_random()

    def as_default(self) -> Any:
        """A context in which ``Tensor.eval`` and ``Operation.run`` use this session.

        Leaving it does not close the session.
        """
        return _Default(self)

    def __enter__(self) -> Session:
        graph = self._graph.as_default()
        graph.__enter__()
        default = _Default(self)
        default.__enter__()
        self._contexts.append((graph, default))
        return self

    def __exit__(self, *error: Any) -> None:
        graph, default = self._contexts.pop()
        default.__exit__(*error)
        graph.__exit__(*error)
        self.close()

    def list_devices(self) -> list[Any]:
        """The devices: one CPU."""
        return ["/device:CPU:0"]

    def __reduce__(self) -> Any:
        raise CopyError(
            f"{self!r} cannot be pickled or copied: it holds this process's arrays; "
            "make a new session, and save variables by session.run"
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._runners)} plans"
        return f"<dagrad.{type(self).__name__} of {self._graph!r}, {state}>"


class _Default:
    """Makes a session the default of this thread."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> Session:
        session_stack().append(self.session)
        return self.session

    def __exit__(self, *error: Any) -> None:
        stack = session_stack()
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is self.session:
                del stack[i]
                break


class InteractiveSession(Session):
    """A session that is the default from its construction to :meth:`close`."""

    def __init__(
        self,
        target: Any = "",
        graph: Graph | None = None,
        config: Any = None,
        rewrites: Iterable[str] | None = None,
    ) -> None:
        super().__init__(target, graph, config, rewrites)
        self._default = _Default(self)
        self._default.__enter__()
        # A given graph becomes the default graph too, as in TF1.
        self._graph_context = None if graph is None else graph.as_default()
        if self._graph_context is not None:
            self._graph_context.__enter__()

    def close(self) -> None:
        """End being the default, and drop variables and plans."""
        if not self._closed:
            self._default.__exit__()
            if self._graph_context is not None:
                self._graph_context.__exit__(None, None, None)
            del self._default  # it refers to the session
        super().close()


def get_default_session() -> Session | None:
    """The innermost default session of this thread, or None."""
    stack = session_stack()
    return stack[-1] if stack else None


def _check_feed_dict(feed_dict: Any) -> None:
    if isinstance(feed_dict, _LEAVES) or not isinstance(feed_dict, Mapping):
        raise FeedTypeError(
            f"feed_dict must be a dict from tensors to values, not {feed_dict!r}; "
            "to fetch several things at once write session.run([a, b])"
        )
    for key in feed_dict:
        try:
            hash(key)
        except TypeError:
            raise FeedTypeError(f"{key!r} cannot be a feed key") from None


def _structure(item: Any) -> Any:
    """A hashable key that tells one fetch structure from another."""
    kind = type(item)
    if kind in _ELEMENTS:
        return item
    if isinstance(item, (list, tuple)):
        parts = [x if type(x) in _ELEMENTS else _structure(x) for x in item]
        return (kind, *parts)
    if isinstance(item, Mapping):
        return (kind, *[(k, _structure(v)) for k, v in item.items()])
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields  # whoever has one has loaded it

        return (
            kind,
            *[_structure(getattr(item, f.name)) for f in fields(item) if f.init],
        )
    try:
        hash(item)
    except TypeError:
        raise FetchError(f"cannot fetch {item!r} (a {kind.__name__})") from None
    return item


# What pictures of numbers call by name.
OPERATORS = {"session": Session}
