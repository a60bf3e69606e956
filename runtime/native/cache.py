"""Machine code on disk, so that a second process starts warm.

A file is named after the digest of what it depends on: the kernel's canonical form,
LLVM, the processor and the code that generates code. It holds its own digest, so
that one that was cut off or that somebody else wrote is noticed. ``DAGRAD_CACHE_DIR``
chooses the directory; empty, nothing is kept.
"""

from __future__ import annotations

import os
import stat
import sys
import warnings
from contextlib import suppress
from pathlib import Path

__all__ = ["directory", "read", "write"]

_MAGIC = b"dagrad native kernel 1\n"
#: Bytes that are kept: some ten thousand kernels.
_LIMIT = 64 * 1024 * 1024

_warned: set[str] = set()


def _warn(message: str) -> None:
    """Say it once in a process."""
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def directory() -> Path | None:
    """Where kernels are kept; None: nowhere."""
    given = os.environ.get("DAGRAD_CACHE_DIR")
    if given is not None:
        return Path(given) if given else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "dagrad"


def _path(key: str) -> Path | None:
    base = directory()
    if base is None:
        return None
    return base / (_digest(key.encode()).hex() + ".o")


def _digest(data: bytes) -> bytes:
    import hashlib  # slow to load, and needed where there is native code only

    return hashlib.sha256(data).digest()


def _trusted(path: Path) -> bool:
    """Whether nobody but this user can have written there: it is run as code."""
    if not hasattr(os, "getuid"):
        return True
    found = path.stat()
    mine = found.st_uid == os.getuid()
    return mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(key: str) -> bytes | None:
    """The object file for a key, or None.

    A file that is broken or not ours is left aside, with one warning.
    """
    path = _path(key)
    if path is None:
        return None
    try:
        data = path.read_bytes()
        trusted = _trusted(path.parent) and _trusted(path)
    except OSError:
        return None
    if not trusted:
        _warn(
            f"others than this user may write to {path.parent}: the native kernels "
            "kept there are left aside (DAGRAD_CACHE_DIR chooses another directory)"
        )
        return None
    head = len(_MAGIC) + 32
    payload = data[head:]
    if data[:head] != _MAGIC + _digest(payload):
        _warn(
            f"a file in {path.parent} is no native kernel, or is broken: it is "
            "left aside and written anew"
        )
        return None
    with suppress(OSError):
        os.utime(path)  # recently used: kept when space is short
    return payload


def write(key: str, payload: bytes) -> None:
    """Keep an object file; where that fails the next process compiles again."""
    path = _path(key)
    if path is None:
        return
    try:
        import tempfile

        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + _digest(payload) + payload)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        _trim(path.parent)
    except OSError as error:
        _warn(f"native kernels cannot be kept in {path.parent}: {error}")


def _trim(base: Path) -> None:
    """Remove what was not used for longest, down to three quarters of the limit."""
    files = []
    with os.scandir(base) as entries:
        for entry in entries:
            if entry.name.endswith((".o", ".tmp")):
                found = entry.stat()
                files.append((found.st_mtime, found.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    if total <= _LIMIT:
        return
    for _, size, path in sorted(files):
        with suppress(FileNotFoundError):  # another process was faster
            os.unlink(path)
        total -= size
        if total <= _LIMIT * 3 // 4:
            return
