"""Files and directories by TF1's names (``tf.gfile``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from .graphlib.errors import AlreadyExistsError, NotFoundError

__all__ = [
    "Copy",
    "DeleteRecursively",
    "Exists",
    "FastGFile",
    "GFile",
    "Glob",
    "IsDirectory",
    "ListDirectory",
    "MakeDirs",
    "MkDir",
    "Open",
    "Remove",
    "Rename",
    "Stat",
    "Walk",
]


class GFile:
    """A file: bytes in a mode with ``b``, else UTF-8 text.

    Args:
        name: its path.
        mode: as for ``open``; the file is opened on first use.

    Raises:
        NotFoundError: on first use, where there is none to read.
    """

    def __init__(self, name: Any, mode: str = "r") -> None:
        self._name = os.fspath(name)
        self._mode = mode
        self._file: Any = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self._name)

    @property
    def mode(self) -> str:
        """The mode."""
        return self._mode

    def _opened(self) -> Any:
        if self._file is None:
            encoding = None if "b" in self._mode else "utf-8"
            try:
                self._file = open(  # noqa: SIM115
                    self._name, self._mode, encoding=encoding
                )
            except FileNotFoundError as error:
                raise NotFoundError(str(error)) from None
        return self._file

    def read(self, n: int = -1) -> Any:
        """The next ``n`` characters or bytes (-1: all that are left)."""
        return self._opened().read(n)

    def readline(self) -> Any:
        """The next line, with its end."""
        return self._opened().readline()

    def readlines(self) -> list[Any]:
        """The lines that are left."""
        return list(self._opened().readlines())

    def write(self, file_content: Any) -> None:
        """Append to what was written."""
        self._opened().write(file_content)

    def seek(self, offset: int, whence: int = 0) -> None:
        """Go to a place in the file."""
        self._opened().seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return int(self._opened().tell())

    def size(self) -> int:
        """The bytes that the file has on disk."""
        return os.path.getsize(self._name)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._opened().flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> GFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._opened())


Open = FastGFile = GFile


def Exists(filename: Any) -> bool:
    """Whether there is such a file or directory."""
    return os.path.exists(filename)


def IsDirectory(dirname: Any) -> bool:
    """Whether there is such a directory."""
    return os.path.isdir(dirname)


def ListDirectory(dirname: Any) -> list[str]:
    """The names in a directory; raises NotFoundError where there is none."""
    if not os.path.isdir(dirname):
        raise NotFoundError(f"there is no directory {dirname!r}")
    return os.listdir(dirname)


def MkDir(dirname: Any) -> None:
    """Make one directory; its parent must be there."""
    if os.path.exists(dirname):
        raise AlreadyExistsError(f"{dirname!r} exists already")
    try:
        os.mkdir(dirname)
    except FileNotFoundError as error:
        raise NotFoundError(str(error)) from None


def MakeDirs(dirname: Any) -> None:
    """Make a directory and those above it, where they are missing."""
    os.makedirs(dirname, exist_ok=True)


def Remove(filename: Any) -> None:
    """Delete a file; raises NotFoundError where there is none."""
    try:
        os.remove(filename)
    except FileNotFoundError as error:
        raise NotFoundError(str(error)) from None


def DeleteRecursively(dirname: Any) -> None:
    """Delete a directory and all that it holds."""
    import shutil

    if not os.path.isdir(dirname):
        raise NotFoundError(f"there is no directory {dirname!r}")
    shutil.rmtree(dirname)


def Rename(oldname: Any, newname: Any, overwrite: bool = False) -> None:
    """Move a file; raises AlreadyExistsError where another is in its place."""
    _refuse(newname, overwrite)
    os.replace(oldname, newname)


def Copy(oldpath: Any, newpath: Any, overwrite: bool = False) -> None:
    """Copy a file; raises AlreadyExistsError where another is in its place."""
    import shutil

    _refuse(newpath, overwrite)
    shutil.copyfile(oldpath, newpath)


def _refuse(path: Any, overwrite: bool) -> None:
    if not overwrite and os.path.exists(path):
        raise AlreadyExistsError(f"{path!r} exists already: pass overwrite=True")


def Glob(filename: Any) -> list[str]:
    """The paths that match a pattern, or any of a list of patterns."""
    from glob import glob

    patterns = [filename] if isinstance(filename, (str, os.PathLike)) else filename
    return [path for p in patterns for path in glob(os.fspath(p))]


def Stat(filename: Any) -> os.stat_result:
    """What the system knows of a file."""
    return os.stat(filename)


def Walk(top: Any, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """(directory, its directories, its files), for all below ``top``."""
    return os.walk(top, topdown=in_order)
