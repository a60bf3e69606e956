"""Records of summaries: strings, without derivatives."""

from __future__ import annotations

from oprecord import Arg, Record

from dagrad.ops import summaries

RECORDS = [
    Record(("ScalarSummary",), lambda x: summaries.scalar("s", x), (Arg(()),), order=0),
    Record(
        ("HistogramSummary",),
        lambda x: summaries.histogram("h", x),
        (Arg((3, 4)),),
        order=0,
    ),
    Record(
        ("ImageSummary",),
        lambda x: summaries.image("i", x),
        (Arg((2, 3, 4, 1)),),
        order=0,
    ),
    Record(
        ("AudioSummary",),
        lambda x: summaries.audio("a", x, 8000.0),
        (Arg((2, 5)),),
        order=0,
        dtypes=("float32",),
    ),
    Record(
        ("TextSummary",),
        lambda x: summaries.text("t", summaries.scalar("s", x)),
        (Arg(()),),
        order=0,
    ),
    Record(
        ("MergeSummary",),
        lambda x, y: summaries.merge(
            [summaries.scalar("a", x), summaries.histogram("b", y)]
        ),
        (Arg(()), Arg((5,))),
        order=0,
    ),
]
