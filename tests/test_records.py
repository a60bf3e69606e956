"""Records behave as the dataclasses that are declared alike."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from typing import Any

import pytest

from dagrad.graphlib import records


def declared(decorator: Any, field: Any, **options: Any) -> Any:
    """The same class by ``record`` and by ``dataclass``."""

    @decorator(**options)
    class Point:
        """A place."""

        x: int
        y: int = 2
        tags: list[str] = field(default_factory=list)
        hidden: str = field(default="", repr=False)
        note: str = field(default="", compare=False)
        extra: int = field(default=0, kw_only=True)

        def total(self) -> int:
            return self.x + self.y

    return Point


def both(**options: Any) -> tuple[Any, Any]:
    own = declared(records.record, records.field, **options)
    return own, declared(dataclasses.dataclass, dataclasses.field, **options)


OPTIONS = [
    {},
    {"frozen": True},
    {"eq": False},
    {"slots": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "eq": False, "slots": True},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_record_is_made_and_shown_as_a_dataclass(options: dict[str, bool]) -> None:
    for cls in both(**options):
        first = cls(1)
        assert (first.x, first.y, first.tags, first.total()) == (1, 2, [], 3)
        assert cls(1).tags is not first.tags
        given = cls(3, y=4, tags=["a"], hidden="h", note="n", extra=5)
        assert repr(given).endswith("Point(x=3, y=4, tags=['a'], note='n', extra=5)")
        assert cls.__doc__ == "A place."
        for wrong in ((), (1, 2, [], "", "", 6)):
            with pytest.raises(TypeError):
                cls(*wrong)
        with pytest.raises(TypeError, match="unknown"):
            cls(1, unknown=2)


@pytest.mark.parametrize("options", OPTIONS)
def test_equality_and_hash_are_those_of_a_dataclass(options: dict[str, bool]) -> None:
    own, model = both(**options)
    for cls in (own, model):
        assert (cls(1) == cls(1, note="other")) is options.get("eq", True)
        assert cls(1) != cls(2)
        assert cls(1) != 1
    assert (own.__hash__ is None) is (model.__hash__ is None)
    if options == {"frozen": True}:
        made = [cls(1, tags=()) for cls in (own, own, model)]
        assert len({hash(m) for m in made}) == 1


@pytest.mark.parametrize("slots", [False, True])
def test_a_frozen_record_stays(slots: bool) -> None:
    for cls in both(frozen=True, slots=slots):
        made = cls(1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.x = 3
        with pytest.raises(dataclasses.FrozenInstanceError):
            del made.x
        assert made.x == 1


def test_slots_leave_no_dict() -> None:
    own, _ = both(slots=True)
    with pytest.raises(AttributeError):
        own(1).unknown = 2


def test_replace_changes_some_fields() -> None:
    own, _ = both(frozen=True)
    made = own(1, extra=5)
    changed = records.replace(made, y=7)
    assert (changed.x, changed.y, changed.extra) == (1, 7, 5)
    assert [f.name for f in records.fields(own)] == [
        "x",
        "y",
        "tags",
        "hidden",
        "note",
        "extra",
    ]


@records.record(frozen=True)
class Base:
    a: int
    b: int = 1


@records.record(frozen=True, slots=True)
class Slotted:
    a: int
    b: tuple[int, ...] = ()


@records.record(frozen=True)
class Child(Base):
    b: int = 2
    c: int = 3


def test_a_child_has_the_fields_of_its_parent_first() -> None:
    assert repr(Child(1)) == "Child(a=1, b=2, c=3)"
    assert repr(Base(1)) == "Base(a=1, b=1)"
    assert Child(1, 1) != Base(1, 1)


@pytest.mark.parametrize("made", [Base(4), Slotted(4, (5,)), Child(6)])
def test_records_are_copied_and_pickled(made: Any) -> None:
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert again == made
        assert again is not made


def test_threads_may_make_the_first_at_once() -> None:
    for _ in range(20):
        own, _ = both(frozen=True)
        start, made = threading.Barrier(4), []

        def make(start: Any = start, made: Any = made, own: Any = own) -> None:
            start.wait()
            made.append(own(1, y=3).total())

        threads = [threading.Thread(target=make) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert made == [4] * 4
