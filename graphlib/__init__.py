"""The graph and what is done to a graph: the lowest room of dagrad.

Python's standard library has a module of this name. A program started from the
root of the repository finds this directory first; it is then handed the standard
library's module, so that ``from graphlib import TopologicalSorter`` keeps working.
"""

from __future__ import annotations

if __name__ == "graphlib":

    def _hand_over() -> None:
        """Put the standard library's module in this one's place."""
        import importlib.util
        import os
        import sys
        import sysconfig

        path = os.path.join(sysconfig.get_path("stdlib"), "graphlib.py")
        spec = importlib.util.spec_from_file_location("graphlib", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"no standard library module at {path}", name="graphlib")
        module = importlib.util.module_from_spec(spec)
        sys.modules["graphlib"] = module
        spec.loader.exec_module(module)

    _hand_over()
