"""What the tests of derivatives run: a new session, with its variables initialised."""

from __future__ import annotations

from typing import Any

import dagrad as dg


def value(fetches: Any, feeds: Any = None) -> Any:
    """What a new session with initialised variables gives."""
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        return session.run(fetches, feeds)
