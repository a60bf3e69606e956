"""Graphs that TensorFlow froze, and what it computed of them: fixtures/graphdefs."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import dagrad as tf

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "graphdefs"


def path_of(name: str) -> Path:
    return HERE / f"{name}.pb"


def load(name: str) -> Any:
    """The GraphDef of a file, as TF1 programs read one."""
    graph_def = tf.GraphDef()
    with tf.gfile.GFile(path_of(name), "rb") as f:
        graph_def.ParseFromString(f.read())
    return graph_def


@cache
def saved() -> dict[str, Any]:
    """All arrays, by ``NAME|in|tensor`` and ``NAME|out|tensor``."""
    with np.load(HERE / "graphdefs.npz") as pools:
        index = json.loads(pools["index"].tobytes())
        left = {k: pools[k] for k in pools.files}
    found = {}
    for key, kind, shape in index:
        count = math.prod(shape)
        pool = left[f"pool {kind}"]
        found[key] = pool[:count].reshape(shape)
        left[f"pool {kind}"] = pool[count:]
    return found


def arrays(name: str, kind: str) -> dict[str, Any]:
    """What was fed ("in") or computed ("out"), by tensor."""
    start = f"{name}|{kind}|"
    return {k[len(start) :]: v for k, v in saved().items() if k.startswith(start)}
