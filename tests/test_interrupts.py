"""An interrupt anywhere in a run leaves a session as usable as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dagrad as dg
from dagrad.runtime import executor

pytestmark = pytest.mark.usefixtures("graph")


class Interrupt(BaseException):
    """What Ctrl-C raises, which no ``except Exception`` takes."""


def interrupted(run: Callable[[], Any], after: int) -> bool:
    """Whether ``run`` was interrupted, at the ``after``-th place where Python looks for
    signals: the beginning of a function, and the end of a call of C."""
    left = after

    def at_event(frame: Any, event: str, arg: Any) -> None:
        nonlocal left
        # The last call is the one that ends this.
        if event in ("call", "c_return") and arg is not sys.setprofile:
            left -= 1
            if left < 0:
                raise Interrupt

    try:
        sys.setprofile(at_event)
        run()
        sys.setprofile(None)
    except Interrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.parametrize("patience", [1, 10_000], ids=["direct", "by loops"])
@pytest.mark.parametrize("what", ["read", "write"])
def test_a_session_goes_on_after_an_interrupt(what, patience, monkeypatch):
    monkeypatch.setattr(executor, "_PATIENCE", patience)
    x = dg.placeholder(dg.float32, [2])
    v = dg.Variable(np.zeros(2, np.float32))
    read, write = v + x, v.assign_add(x)
    ones = np.ones(2, np.float32)
    session = dg.Session()
    session.run(v.initializer)
    fetched = read if what == "read" else write
    for _ in range(3):
        session.run(fetched, {x: ones})
    after = 0
    while interrupted(lambda: session.run(fetched, {x: ones}), after):
        after += 1
        # Whoever waits for it would wait for good.
        lock = session._state.lock
        assert lock._writer is None, f"after {after} calls"
        assert not lock._readers, f"after {after} calls"
        value = session.run(v)
        np.testing.assert_array_equal(session.run(read, {x: ones}), value + 1)
        np.testing.assert_array_equal(session.run(write, {x: ones}), value + 1)
    assert after > 5


def test_an_interrupt_while_native_code_is_being_made():
    x = dg.placeholder(dg.float32, [8])
    y = dg.tanh(x) * 3.0 + dg.sqrt(dg.square(x))
    session = dg.Session(config=dg.ConfigProto(native="wait"))
    ones = np.ones(8, np.float32)

    def warm(frame: Any, made: Callable[[Any], None] = executor.warm) -> None:
        made(frame)
        raise Interrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "warm", warm)
        with pytest.raises(Interrupt):
            session.run(y, {x: ones})
    (arena,) = session._state.arenas._arenas
    assert not arena.lock.locked()
    session.run(y, {x: ones})
    assert len(session._state.arenas._arenas) == 1
