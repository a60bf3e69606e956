"""Running a program with flags (``tf.app``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import flags

__all__ = ["flags", "run"]


def run(
    main: Callable[[list[str]], Any] | None = None,
    argv: Sequence[str] | None = None,
) -> NoReturn:
    """Read the flags, call ``main(argv)`` and leave with its result.

    Args:
        main: the program (default: ``main`` of the script).
        argv: the command line (default: ``sys.argv``).

    Raises:
        FlagError: an unknown flag, or a value that it does not take.
    """
    rest = flags.FLAGS(sys.argv if argv is None else argv)
    program = main or sys.modules["__main__"].__dict__["main"]
    sys.exit(program(rest))
