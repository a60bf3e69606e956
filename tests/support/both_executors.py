"""Runs by the executor and by the reference interpreter, which must agree."""

from __future__ import annotations

from typing import Any

import numpy as np

import dagrad as tf
from dagrad.ops._nest import flatten


def value(fetches: Any, feeds: Any = None) -> Any:
    """What a session says; the reference interpreter must say the same."""
    session = tf.Session()
    fast = session.run(fetches, feeds)
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    slow = session.run(fetches, feeds, options=options, run_metadata=tf.RunMetadata())
    for a, b in zip(flatten(fast), flatten(slow), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
    return fast
