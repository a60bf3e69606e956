"""Every op, against its record: kernels, inference, derivatives.

The records are in ``op_records/``; what is checked is in ``support/opchecks.py``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import opchecks
import pytest
from oprecord import Record

from dagrad.graphlib.opdef import registered

_FILES = sorted((Path(__file__).parent / "op_records").glob("*.py"))


def _load() -> tuple[dict[str, list[Record]], dict[str, Exception]]:
    """The records by family, and what went wrong in files that do not load."""
    records: dict[str, list[Record]] = {}
    broken: dict[str, Exception] = {}
    for path in _FILES:
        try:
            records[path.stem] = opchecks.load(path)
        except Exception as error:  # reported by test_records_load
            broken[path.stem] = error
    return records, broken


_RECORDS, _BROKEN = _load()
_CASES = [
    pytest.param(record, dtype, id=f"{family}-{record.label}-{dtype}")
    for family, records in _RECORDS.items()
    for record in records
    for dtype in record.dtypes
]


@pytest.mark.parametrize("family", [path.stem for path in _FILES])
def test_records_load(family: str) -> None:
    if family in _BROKEN:
        raise _BROKEN[family]


@pytest.mark.parametrize(("record", "dtype"), _CASES)
def test_op(record: Record, dtype: str) -> None:
    opchecks.check(record, dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(record, id=f"{family}-{record.label}")
        for family, records in _RECORDS.items()
        for record in records
        if record.order >= 2 and "float64" in record.dtypes
    ],
)
def test_third_order(record: Record) -> None:
    opchecks.check(dataclasses.replace(record, order=3), "float64")


def test_every_op_has_a_record() -> None:
    covered = {t for records in _RECORDS.values() for r in records for t in r.types}
    assert sorted(set(registered()) - covered) == []


def test_labels_are_unique() -> None:
    labels = [
        (family, record.label)
        for family, records in _RECORDS.items()
        for record in records
    ]
    assert sorted({x for x in labels if labels.count(x) > 1}) == []
