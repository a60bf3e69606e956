"""Command-line flags as TF1 programs define them (``tf.app.flags``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .graphlib.errors import DagradError

__all__ = [
    "FLAGS",
    "DEFINE_bool",
    "DEFINE_boolean",
    "DEFINE_enum",
    "DEFINE_float",
    "DEFINE_integer",
    "DEFINE_list",
    "DEFINE_string",
    "FlagError",
]


class FlagError(DagradError, ValueError):
    """A flag that is not defined, or a value that it does not take."""


class _Flag:
    def __init__(
        self, default: Any, help: str | None, convert: Callable[[str], Any]
    ) -> None:
        self.default = default
        self.value = default
        self.help = help or ""
        self.convert = convert
        self.is_bool = convert is _bool


class Flags:
    """The flags of the program; ``FLAGS.name`` is a value.

    The command line is read at the first look at a value, or when called.
    """

    def __init__(self) -> None:
        self.__dict__["_flags"] = {}
        self.__dict__["_parsed"] = False
        self.__dict__["_rest"] = []

    def __call__(self, argv: Sequence[str]) -> list[str]:
        """Read flags from ``argv``; returns the program's name and the rest.

        Raises:
            FlagError: an unknown flag, or a value that does not fit.
        """
        rest = self._read(list(argv[1:]), strict=True)
        self.__dict__["_parsed"] = True
        return [*argv[:1], *rest]

    def _read(self, arguments: list[str], strict: bool) -> list[str]:
        rest: list[str] = []
        items = iter(arguments)
        for item in items:
            if item == "--":
                return rest + list(items)
            if not item.startswith("-") or item == "-":
                rest.append(item)
                continue
            name, equals, text = item.lstrip("-").partition("=")
            flag, negated = self._flags.get(name), False
            if flag is None and name.startswith("no"):
                flag = self._flags.get(name[2:])
                negated = flag is not None and flag.is_bool
                flag = flag if negated else None
            if flag is None:
                if name in ("help", "h"):
                    print(self)
                    raise SystemExit(0)
                if strict:
                    raise FlagError(f"unknown flag {item!r}; known are {list(self)}")
                rest.append(item)
            elif negated:
                flag.value = False
            elif flag.is_bool and not equals:
                flag.value = True
            else:
                value = text if equals else next(items, None)
                if value is None:
                    raise FlagError(f"the flag --{name} needs a value")
                flag.value = self._convert(name, flag, value)
        return rest

    @staticmethod
    def _convert(name: str, flag: _Flag, text: str) -> Any:
        try:
            return flag.convert(text)
        except ValueError as error:
            raise FlagError(f"--{name}: {error}") from None

    def __getattr__(self, name: str) -> Any:
        flag = self._flags.get(name)
        if flag is None:
            raise AttributeError(f"there is no flag {name!r}")
        if not self._parsed:
            self.__dict__["_rest"] = self._read(sys.argv[1:], strict=False)
            self.__dict__["_parsed"] = True
        return flag.value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._flags:
            raise AttributeError(f"there is no flag {name!r}")
        self._flags[name].value = value

    def __contains__(self, name: object) -> bool:
        return name in self._flags

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)

    def flag_values_dict(self) -> dict[str, Any]:
        """Name -> value of all flags."""
        return {name: getattr(self, name) for name in self._flags}

    def __str__(self) -> str:
        return "\n".join(
            f"  --{name}: {flag.help} (default: {flag.default!r})"
            for name, flag in self._flags.items()
        )


#: The flags of the program.
FLAGS = Flags()


def _define(
    name: str, default: Any, help: str | None, convert: Callable[[str], Any]
) -> None:
    FLAGS._flags[name] = _Flag(default, help, convert)
    if FLAGS._parsed:
        # Flags that were defined after the first look are read from the same line.
        FLAGS.__dict__["_parsed"] = False


def _bool(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("true", "t", "1", "yes", "y"):
        return True
    if lowered in ("false", "f", "0", "no", "n"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def DEFINE_string(name: str, default: str | None, help: str | None = None) -> None:
    """Define a flag whose value is text."""
    _define(name, default, help, str)


def DEFINE_integer(name: str, default: int | None, help: str | None = None) -> None:
    """Define a flag whose value is an integer."""
    _define(name, default, help, lambda text: int(text, 0))


def DEFINE_float(name: str, default: float | None, help: str | None = None) -> None:
    """Define a flag whose value is a number."""
    _define(name, None if default is None else float(default), help, float)


def DEFINE_boolean(name: str, default: bool | None, help: str | None = None) -> None:
    """Define a flag that is on (``--name``) or off (``--noname``)."""
    _define(name, default, help, _bool)


DEFINE_bool = DEFINE_boolean


def DEFINE_enum(
    name: str, default: str | None, enum_values: Sequence[str], help: str | None = None
) -> None:
    """Define a flag whose value is one of ``enum_values``."""

    def convert(text: str) -> str:
        if text not in enum_values:
            raise ValueError(f"{text!r} is none of {list(enum_values)}")
        return text

    _define(name, default, help, convert)


def DEFINE_list(name: str, default: Any, help: str | None = None) -> None:
    """Define a flag whose value is a list, separated by commas."""

    def convert(text: str) -> list[str]:
        return [part.strip() for part in text.split(",")] if text else []

    start = convert(default) if isinstance(default, str) else default
    _define(name, start, help, convert)
