"""Native kernels, for the extra ``dagrad[jit]``: LLVM through llvmlite.

``trace`` turns the kernels of elementwise ops into scalar expressions, ``emit`` and
``codegen`` these into loops in LLVM's language (with ``functions`` of our own for exp
and its like), ``engine`` those into machine code, ``cache`` keeps machine code on disk,
and ``worker`` does all this in the background.  ``vm`` runs tables of NumPy's own inner
loops.  Nothing here is a condition for running: where anything fails, NumPy goes on.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

__all__ = ["available"]


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether llvmlite is installed; it is not imported."""
    try:
        return find_spec("llvmlite") is not None
    except (ImportError, ValueError):  # None in its place in sys.modules
        return False
