"""Messages of programs (``tf.logging``), by way of Python's logger "dagrad"."""

from __future__ import annotations

from typing import Any

__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "debug",
    "error",
    "fatal",
    "get_verbosity",
    "info",
    "log",
    "set_verbosity",
    "warn",
    "warning",
]

DEBUG = 10
INFO = 20
WARN = 30
ERROR = 40
FATAL = 50


def _logger() -> Any:
    """The logger; it writes to standard error unless the program set one up."""
    import logging

    logger = logging.getLogger("dagrad")
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        logger.addHandler(handler)
    return logger


def set_verbosity(v: int) -> None:
    """Show messages of level ``v`` and above."""
    _logger().setLevel(v)


def get_verbosity() -> int:
    """The lowest level that is shown."""
    return int(_logger().getEffectiveLevel())


def log(level: int, msg: str, *args: Any, **kwargs: Any) -> None:
    """Write ``msg % args`` at a level."""
    _logger().log(level, msg, *args, **kwargs)


def debug(msg: str, *args: Any, **kwargs: Any) -> None:
    """Write ``msg % args`` at level DEBUG."""
    log(DEBUG, msg, *args, **kwargs)


def info(msg: str, *args: Any, **kwargs: Any) -> None:
    """Write ``msg % args`` at level INFO."""
    log(INFO, msg, *args, **kwargs)


def warning(msg: str, *args: Any, **kwargs: Any) -> None:
    """Write ``msg % args`` at level WARN."""
    log(WARN, msg, *args, **kwargs)


warn = warning


def error(msg: str, *args: Any, **kwargs: Any) -> None:
    """Write ``msg % args`` at level ERROR."""
    log(ERROR, msg, *args, **kwargs)


def fatal(msg: str, *args: Any, **kwargs: Any) -> None:
    """Write ``msg % args`` at level FATAL; the program goes on."""
    log(FATAL, msg, *args, **kwargs)
