"""A run as straight Python: what a session calls once a plan has run a few times.

Of a plan with few operations most time goes into what surrounds the kernels: looking
at feeds, writing them into argument lists, collecting results.  All of it is known
when a frame is bound, so it is written down as the source of one function::

    def run(values):
        v0, = values
        if type(v0) is not ndarray or v0.dtype is not d0 or v0.shape != s0:
            return MISS
        if not take(False):
            return MISS
        try:
            if arena.retired or state.epoch != epoch:
                return MISS
            o0 = empty(p0, q0)
            token = hush()
            at = 0
            f0(v0, a0_1, o0)
            unhush(token)
            return rebuild((o0,))
        ...

The text holds numbered names only, so plans of one form share their code.  ``MISS``
says that nothing has happened and that :meth:`Frame.run`, which does the same by
loops, has to answer: for other shapes or dtypes, while somebody else runs in the
arena, and after variables got new memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .frame import COPY, GIVE, Frame, found, leave
from .quiet import hush, unhush

if TYPE_CHECKING:
    from .executor import Executable

__all__ = ["MISS", "direct_run", "miss"]

#: What a direct run returns where it has not run.
MISS = object()
#: Instructions that are written out; a loop runs more of them.
_MOST_INSTRUCTIONS = 16
#: Lines above which the text costs more than it is likely to save.
_MOST_LINES = 200


def miss(values: Any) -> Any:
    """A direct run that never answers."""
    return MISS


def direct_run(
    executable: Executable, frame: Frame, rebuild: Callable[[Sequence[Any]], Any]
) -> Callable[[Any], Any]:
    """The function for a frame that keeps its instructions from now on.

    Args:
        executable: whose frame it is; it is told of failures.
        frame: a frame that has its native stretches, if it is to get any.
        rebuild: puts the fetched values into the caller's structure.
    """
    writer = _Writer(executable, frame)
    lines = writer.lines(rebuild)
    if lines is None or len(lines) > _MOST_LINES:
        return miss
    names = writer.names
    source = f"def make({', '.join(names)}):\n"
    source += "".join(f"    {line}\n" for line in lines)
    source += "    return run\n"
    made: Callable[[Any], Any] = _compiled(source)(**names)
    return made


@lru_cache(maxsize=256)
def _compiled(source: str) -> Callable[..., Any]:
    space: dict[str, Any] = {}
    exec(compile(source, "<a run of dagrad>", "exec"), space)
    made: Callable[..., Any] = space["make"]
    return made


class _Writer:
    """Writes the function of one frame."""

    def __init__(self, executable: Executable, frame: Frame) -> None:
        self.executable = executable
        self.frame = frame
        #: What the text's names stand for.
        self.names: dict[str, Any] = {"MISS": MISS}
        #: (id of an argument list, position) -> the name of what each run puts there,
        #: and the list: those that are left are written there.
        self.given: dict[tuple[int, int], tuple[str, list[Any]]] = {}
        self.lists: dict[int, str] = {}
        self.cleared: list[str] = []

    def name(self, prefix: str, value: Any) -> str:
        """A name for a value."""
        found = f"{prefix}{len(self.names)}"
        self.names[found] = value
        return found

    def lines(self, rebuild: Callable[[Sequence[Any]], Any]) -> list[str] | None:
        """The lines of the function; None where feeds have to be looked at."""
        frame, names = self.frame, self.names
        feeds = [frame.plan.slots[i] for i in frame.plan.feeds]
        if any(s.dtype.dtype.kind == "O" for s in feeds):
            return None
        names.update(
            arena=frame.arena,
            empty=np.empty,
            epoch=frame.epoch,
            execute=frame.execute,
            failed=self.executable.failed,
            frame=frame,
            give=frame.arena.lock.release,
            hush=hush,
            ndarray=np.ndarray,
            rebuild=rebuild,
            state=frame.state,
            take=frame.arena.lock.acquire,
            unhush=unhush,
        )
        values = [f"v{i}" for i in range(len(feeds))]
        head = [f"{', '.join(values)}, = values"] if values else []
        for v, s in zip(values, feeds):
            dtype, shape = self.name("d", s.dtype.dtype), self.name("s", s.dims)
            head.append(
                f"if type({v}) is not ndarray or {v}.dtype is not {dtype} "
                f"or {v}.shape != {shape}:"
            )
            head.append("    return MISS")
        body = _locked(self._run(values))
        if self.executable.lock is not None:  # the session's variables
            names["begin"], names["end"] = self.executable.lock
            body = ["begin()", "try:", *_in(body), "finally:", "    end()"]
        return ["def run(values):", *_in([*head, *body])]

    def _run(self, values: Sequence[str]) -> list[str]:
        """From the arrays to the results, in an arena that is locked."""
        frame = self.frame
        made, cells = [], []
        for v, sites in zip(values, frame.feed_sites):
            self._put(v, sites)
        for k, (dims, dtype, sites) in enumerate(frame.fresh):
            shape, kind = self.name("p", dims), self.name("q", dtype)
            made.append(f"o{k} = empty({shape}, {kind})")
            self._put(f"o{k}", sites)
        # A run may give these new memory, and writes it where it is read.
        for cell, sites in frame.assigned_sites:
            array = f"{self.name('x', cell)}.array"
            cells += [f"{self._place(t, k)} = {array}" for t, k in sites]
        calls = self._calls()
        results = [self._result(k, *how) for k, how in enumerate(frame.collect)]
        places = [(self._place(t, k), v) for (_, k), (v, t) in self.given.items()]
        return [
            *made,
            *cells,
            *[f"{place} = {value}" for place, value in places],
            *calls,
            f"result = rebuild(({''.join(f'{r}, ' for r in results)}))",
            *self.cleared,
            *[f"{place} = None" for place, _ in places],
            "return result",
        ]

    def _place(self, target: list[Any], k: int) -> str:
        """The name of a place in an argument list."""
        name = self.lists.get(id(target))
        if name is None:
            name = self.lists[id(target)] = self.name("l", target)
        return f"{name}[{k}]"

    def _put(self, name: str, sites: Sequence[tuple[list[Any], int]]) -> None:
        """Note where an array of this run is read."""
        for target, k in sites:
            self.given[id(target), k] = name, target

    def _calls(self) -> list[str]:
        """The instructions; what they read is there."""
        frame = self.frame
        if len(frame.instructions) > _MOST_INSTRUCTIONS:
            return _quietly(["execute()"])
        written = {(id(t), k) for sites in frame._sites.values() for t, k in sites}
        machine = {id(stretch.run) for stretch in frame.kept}
        lines, loud = [], False
        for at, (function, args) in enumerate(frame.instructions):
            lines.append(f"at = {at}")
            if hasattr(function, "in_python"):
                lines += self._stretch(function)
                continue
            places = [(id(args), k) for k in range(len(args))]
            if all(p in self.given for p in places if p in written):
                texts = [
                    self.given[p][0] if p in written else self.name("a", a)
                    for p, a in zip(places, args)
                ]
                for p in places:
                    self.given.pop(p, None)
            else:
                texts = ["*" + self.name("l", args)]
            lines.append(f"{self.name('f', function)}({', '.join(texts)})")
            loud |= id(function) not in machine
        return _quietly(lines) if loud else lines

    def _stretch(self, stretch: Any) -> list[str]:
        """A native stretch, which may find arrays that it cannot work on."""
        run, address = self.name("f", stretch.run), self.name("a", stretch.address)
        instead = self.name("f", stretch.in_python)
        return [f"if {run}({address}):", f"    {instead}()"]

    def _result(self, k: int, how: int, array: Any) -> str:
        """The ``k``-th fetched value as the caller gets it."""
        if array is not None:
            if array.ndim == 0:
                return f"{self.name('b', array)}[()]"
            return f"{self.name('c', array.copy)}()"
        outs = self.frame.outs
        given = self.given.pop((id(outs), k), None)
        if given is None:
            text = self._place(outs, k)
            self.cleared.append(f"{text} = None")
        else:
            text = given[0]
        if how == GIVE:
            return text
        return f"{self.name('g', leave if how == COPY else found)}({text})"


def _in(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _quietly(lines: Sequence[str]) -> list[str]:
    """Lines with NumPy's warnings off."""
    return ["token = hush()", "try:", *_in(lines), "finally:", "    unhush(token)"]


def _locked(lines: Sequence[str]) -> list[str]:
    """Lines that run in the frame's arena, where it is free and still right."""
    return [
        "if not take(False):",
        "    return MISS",
        "at = -1",
        "try:",
        "    if arena.retired or state.epoch != epoch:",
        "        return MISS",
        *_in(lines),
        "except BaseException as error:",
        "    failed(frame, at, error, values)",
        "    raise",
        "finally:",
        "    give()",
    ]
