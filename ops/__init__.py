"""Operation definitions and the builders that add them to a graph.

Importing this package declares every op and fills graphlib's operator table.
"""

from __future__ import annotations

from ..graphlib.operators import TABLE
from . import core

TABLE.update(core.OPERATORS)
