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
            results = (o0,)
        ...
        return rebuild(results)

``MISS`` says that nothing has happened and that :meth:`Frame.run`, which does the
same by loops, has to answer: for other shapes or dtypes, while somebody else runs in
the arena, and after variables got new memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .executor import MISS, Executable, miss
from .frame import Frame
from .leaving import COPY, GIVE, found, leave
from .quiet import hush, unhush
from .written import Text, indented

__all__ = ["direct_run"]

#: Instructions that are written out; a loop runs more of them.
_MOST_INSTRUCTIONS = 16
#: Lines above which the text costs more than it is likely to save.
_MOST_LINES = 200


def direct_run(
    executable: Executable, frame: Frame, rebuild: Callable[[Sequence[Any]], Any]
) -> Callable[[Any], Any]:
    """The function for a frame that keeps its instructions from now on.

    Args:
        executable: whose frame it is; it is told of failures.
        frame: a frame that has its native stretches, if it is to get any.
        rebuild: puts the fetched values into the caller's structure.
    """
    feeds = [frame.plan.slots[i] for i in frame.plan.feeds]
    if any(s.dtype.dtype.kind == "O" for s in feeds):
        return miss  # strings are looked at one by one
    text = Text(
        frame,
        MISS=MISS,
        arena=frame.arena,
        empty=np.empty,
        epoch=frame.epoch,
        failed=executable.failed,
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
        dtype, shape = text.name("d", s.dtype.dtype), text.name("s", s.dims)
        head.append(
            f"if type({v}) is not ndarray or {v}.dtype is not {dtype} "
            f"or {v}.shape != {shape}:"
        )
        head.append("    return MISS")
    body = _locked(_run(text, values))
    if executable.lock is not None:  # the session's variables
        text.names["begin"], text.names["end"] = executable.lock
        body = ["held = begin()", "try:", *indented(body), "finally:", "    try:"]
        body += ["        end(held)", "    except BaseException:"]  # an interrupt
        body += ["        end(held)", "        raise"]
    # The structure may be the caller's code: it is no part of the run.
    end = "return rebuild(results)"
    lines = ["def run(values):", *indented([*head, *body, end])]
    return text.function(lines) if len(lines) <= _MOST_LINES else miss


def _run(text: Text, values: Sequence[str]) -> list[str]:
    """From the arrays to the results, in an arena that is locked."""
    frame = text.frame
    made, cells, spent = [], [], []
    for v, sites in zip(values, frame.feed_sites):
        text.put(v, sites)
    for k, (make, dims, dtype, sites, parts) in enumerate(frame.fresh):
        maker = "empty" if make is np.empty else text.name("m", make)
        made.append(f"o{k} = {maker}({text.name('p', dims)}, {text.name('q', dtype)})")
        text.put(f"o{k}", sites)
        for j, (shape, kind, offset, strides, where) in enumerate(parts):
            names = [text.name("p", shape), text.name("q", kind), f"o{k}"]
            arguments = ", ".join([*names, str(offset), text.name("t", strides)])
            made.append(f"o{k}_{j} = ndarray({arguments})")
            text.put(f"o{k}_{j}", where)
    # A run may give these new memory, and writes it where it is read.
    for cell, sites in frame.assigned_sites:
        array = f"{text.name('x', cell)}.array"
        cells += [f"{text.place(t, k)} = {array}" for t, k in sites]
    calls, loud = text.calls(_MOST_INSTRUCTIONS)
    if loud:
        calls = ["token = hush()", "try:", *indented(calls)]
        calls += ["finally:", "    unhush(token)"]
    results = []
    for k, (how, array) in enumerate(frame.collect):
        if array is None:
            given = text.given.pop((id(frame.outs), k), None)
            if given is None:
                value = text.place(frame.outs, k)
                spent.append(f"{value} = None")
            else:
                value = given[0]
            if how != GIVE:
                value = f"{text.name('g', leave if how == COPY else found)}({value})"
        elif array.ndim:
            value = f"{text.name('c', array.copy)}()"
        else:
            value = f"{text.name('b', array)}[()]"
        results.append(f"{value}, ")
    places = text.places()
    return [
        *made,
        *cells,
        *[f"{place} = {value}" for place, value in places],
        *calls,
        "at = -1",
        f"results = ({''.join(results)})",
        *spent,
        *[f"{place} = None" for place, _ in places],
    ]


def _locked(lines: Sequence[str]) -> list[str]:
    """Lines that run in the frame's arena, where it is free and still right."""
    return [
        "if not take(False):",
        "    return MISS",
        "at = -1",
        "try:",
        "    if arena.retired or state.epoch != epoch:",
        "        return MISS",
        *indented(lines),
        "except BaseException as error:",
        "    failed(frame, at, error, values)",
        "    raise",
        "finally:",
        "    give()",
    ]
