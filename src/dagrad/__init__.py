"""dagrad: a static dataflow-graph engine with session execution."""

from __future__ import annotations

from . import ops

__version__ = "0.1.0.dev0"
