"""Updates of optimizers as native loops: one pass over a variable and its slots.

The method of an optimizer is a function of tiles (see ``ops/_optimizer.py``); traced,
it is what happens to one element. Where the arrays' memory is the same in every run,
native code takes its place as soon as it is there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .native.codegen import DENSE, STILL, Kernel
from .native.emit import known
from .native.engine import Code, available
from .native.trace import Tape, Traced, Untraceable
from .native.worker import Native, native
from .plan import Step

__all__ = ["bind_update"]

#: Elements from which native code pays.
_LEAST = 4096
_LONG = 1 << 16


def bind_update(
    step: Step, args: Sequence[Any], settled: Callable[[], Any], mode: str
) -> Callable[[], Any]:
    """``settled``, or what runs natively as soon as it can."""
    method = getattr(step.opdef.kernel, "update", None)
    if method is None or mode == "off" or not available():
        return settled
    if args[0].size < _LEAST or args[0].dtype.kind != "f":
        return settled
    return _Update(step, args, settled, mode, method)


class _Update:
    """An update of one frame.

    What a method makes of its hyperparameters may be numbers, which are read in
    every run, or anything else (None, True), which shapes the code: ``_form``.
    """

    __slots__ = (
        "_address",
        "_args",
        "_arrays",
        "_attrs",
        "_calls",
        "_form",
        "_given",
        "_method",
        "_native",
        "_numbers",
        "_settled",
        "_wait",
    )

    def __init__(
        self,
        step: Step,
        args: Sequence[Any],
        settled: Callable[[], Any],
        mode: str,
        method: Any,
    ) -> None:
        self._method = method
        self._settled = settled
        self._attrs = step.attrs
        self._wait = mode == "wait"
        self._arrays = [*args[: method.states], args[method.at]]
        self._given = [*args[method.states : method.at], *args[method.at + 1 :]]
        self._form: Any = None
        self._calls = 0

    def __call__(self) -> None:
        prepared = self._method.prepare(*self._given, **self._attrs)
        form = tuple(
            [
                None if isinstance(c, (np.ndarray, np.generic)) else (c,)
                for c in prepared
            ]
        )
        if form != self._form:
            self._bind(form)
        found = self._native
        code = None if found is None else found.code or self._arrives(found)
        if code is None:
            self._settled()
            return
        k = 0
        for c in prepared:
            if isinstance(c, (np.ndarray, np.generic)):
                self._numbers[k] = c
                k += 1
        size = self._arrays[0].size
        call = code.call if size >= _LONG else code.call_short
        call(self._address, 0, size)

    def _arrives(self, found: Native) -> Code | None:
        """Ask for the code; returns it if it is there."""
        self._calls += 1
        return found.asked(self._wait, self._calls, self._arrays[0].size)

    def _bind(self, form: Any) -> None:
        self._form = form
        dtype = self._arrays[0].dtype
        self._numbers = np.empty(max(1, form.count(None)), dtype)
        try:
            kernel = self._kernel(dtype)
        except Untraceable:
            self._native = None
            return
        self._native = native(kernel)
        n = len(kernel.dtypes)
        addresses = [a.ctypes.data for a in self._arrays]
        start = self._numbers.ctypes.data
        addresses += [start + k * dtype.itemsize for k in range(form.count(None))]
        addresses += addresses[: n - len(addresses)]  # the states are the outputs
        self._args = (ctypes.c_int64 * (2 * n))(*addresses)
        self._address = ctypes.addressof(self._args)

    def _kernel(self, dtype: Any) -> Kernel:
        method = self._method
        tape = Tape(known)
        count = method.states + 1 + self._form.count(None)
        given = [Traced(tape, dtype, tape.input(k, dtype)) for k in range(count)]
        states, g = given[: method.states], given[method.states]
        numbers = iter(given[method.states + 1 :])
        prepared = [next(numbers) if c is None else c[0] for c in self._form]
        work = [Traced(tape, dtype, None) for _ in range(method.scratch)]
        try:
            method.step(states, g, work, *prepared)
        except TypeError as error:  # NumPy's, of a function that takes no such array
            raise Untraceable(str(error)) from error
        results = tuple([s.element() for s in states])
        dtypes = (dtype.str,) * (count + method.states)
        still = count - method.states - 1
        moves = DENSE * (method.states + 1) + STILL * still + DENSE * method.states
        kernel = Kernel(tuple(tape.code), results, dtypes, 1, moves)
        if kernel.limited:
            raise Untraceable("a function that is right within a reach only")
        return kernel
