"""Records: classes of named fields, declared as dataclasses are.

``dataclass`` writes and compiles all methods of a class when it is declared, 0.2 to
0.5 ms each: of forty such classes a tenth of a second's import was spent a sixth.
``record`` takes the same declaration.  Methods are functions that all records share,
but for ``__init__``, which is compiled when the first one is made; so a class that a
program never uses costs it nothing.  For a type checker it is ``dataclass``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__all__ = ["field", "fields", "record", "replace"]

_MISSING: Any = object()


class _Field:
    """One field: its name, how it is filled, and which methods look at it."""

    __slots__ = ("compare", "default", "factory", "kw_only", "name", "repr")

    def __init__(
        self,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        repr: bool = True,
        compare: bool = True,
        kw_only: bool = False,
    ) -> None:
        self.name = ""
        self.default = default
        self.factory = default_factory
        self.repr = repr
        self.compare = compare
        self.kw_only = kw_only


def fields(of: Any) -> tuple[_Field, ...]:
    """The fields of a record or of its class, in order."""
    found: tuple[_Field, ...] = of.__record_fields__
    return found


def _compiled(cls: Any, frozen: bool) -> Callable[..., None]:
    """``__init__`` of a class: one assignment for each field."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": _MISSING}
    plain: list[str] = []
    named: list[str] = []
    body: list[str] = []
    for f in fields(cls):
        value, parameter = f.name, f.name
        if f.default is not _MISSING:
            known[f"_{f.name}"] = f.default
            parameter = f"{f.name}=_{f.name}"
        elif f.factory is not _MISSING:
            known[f"_{f.name}"] = f.factory
            parameter = f"{f.name}=_MISSING"
            value = f"_{f.name}() if {f.name} is _MISSING else {f.name}"
        (named if f.kw_only else plain).append(parameter)
        left = (
            f"_set(self, {f.name!r}, {value})" if frozen else f"self.{f.name}={value}"
        )
        body.append(left)
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    given = ", ".join(["self", *plain, *(["*", *named] if named else [])])
    exec(f"def __init__({given}):\n " + "\n ".join(body or ["pass"]), known)
    made: Callable[..., None] = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _repr(self: Any) -> str:
    shown = ", ".join(
        f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr
    )
    return f"{type(self).__qualname__}({shown})"


def _key(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, f.name) for f in fields(self) if f.compare])


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return self is other or _key(self) == _key(other)


def _hash(self: Any) -> int:
    return hash(_key(self))


def _refuse(self: Any, name: str, *value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, f.name) for f in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for f, value in zip(fields(self), state):
        object.__setattr__(self, f.name, value)


def _declared(cls: Any) -> tuple[_Field, ...]:
    """The fields that a class and those it comes from declare."""
    found = {f.name: f for base in cls.__mro__[:0:-1] for f in _own(base)}
    for name in cls.__annotations__:
        default = cls.__dict__.get(name, _MISSING)
        f = default if isinstance(default, _Field) else _Field(default)
        f.name = name
        found[name] = f
    return tuple(found.values())


def _own(cls: Any) -> tuple[_Field, ...]:
    own: tuple[_Field, ...] = cls.__dict__.get("__record_fields__", ())
    return own


def _with_slots(cls: Any, names: list[str]) -> Any:
    """The class again, with slots in place of the defaults' attributes."""
    unwanted = {"__dict__", "__weakref__", *names}
    inside = {k: v for k, v in cls.__dict__.items() if k not in unwanted}
    made = type(cls)(cls.__name__, cls.__bases__, {**inside, "__slots__": tuple(names)})
    made.__qualname__ = cls.__qualname__
    return made


def _record(
    cls: Any = None, *, frozen: bool = False, eq: bool = True, slots: bool = False
) -> Any:
    """A class whose annotated names are fields: ``dataclass`` with these options."""
    if cls is None:
        return lambda cls: _record(cls, frozen=frozen, eq=eq, slots=slots)
    declared = _declared(cls)
    if slots:
        cls = _with_slots(cls, [f.name for f in declared])
        cls.__getstate__, cls.__setstate__ = _state, _set_state
    cls.__record_fields__ = declared
    if not slots:
        for f in declared:
            if f.default is not _MISSING:
                setattr(cls, f.name, f.default)
            elif f.name in cls.__dict__:
                delattr(cls, f.name)

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        # Two threads may both come here: they put the same in this one's place.
        cls.__init__ = _compiled(cls, frozen)
        cls.__init__(self, *args, **kwargs)

    # An op looks who declares it: no frame may stand between.
    looks = hasattr(cls, "__post_init__")
    cls.__init__ = _compiled(cls, frozen) if looks else first
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr
    if eq and "__eq__" not in cls.__dict__:
        cls.__eq__ = _eq
        cls.__hash__ = _hash if frozen else None
    if frozen:
        cls.__setattr__ = cls.__delattr__ = _refuse
    return cls


def _replace(of: Any, /, **changes: Any) -> Any:
    """A record with other values in some fields."""
    return type(of)(**{f.name: getattr(of, f.name) for f in fields(of)} | changes)


if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field, replace
else:
    record, field, replace = _record, _Field, _replace
