"""What compare.py found, as Markdown and as a chart.

``run`` is what compare.py keeps as JSON: when and where, the libraries, and for each
row a cell per library: lists ``wall`` and ``cpu`` (seconds of a call, by rounds),
``ready`` (seconds until the first call had returned), ``base`` and ``peak`` (bytes
of the process at most, before the row and in all), or ``why`` there is nothing.
"""

from __future__ import annotations

import math
import statistics
from typing import Any
from xml.sax.saxutils import escape

MIB = 2**20
MEMORY_ROW = "deep"  # its memory has a line of its own in the chart


def median(cell: dict[str, Any], clock: str = "wall") -> float | None:
    """Seconds of a call, or None where there is no measurement."""
    return statistics.median(cell[clock]) if cell.get(clock) else None


def grown(cell: dict[str, Any]) -> float | None:
    """Bytes that the row added to the process at most."""
    return cell["peak"] - cell["base"] if cell.get("wall") and "base" in cell else None


def seconds(value: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1 or unit == "us":
            break
    number = value * scale
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


def times(ratio: float) -> str:
    """A ratio: two digits after the point, or two digits that count."""
    if 0.1 <= ratio < 10:
        return f"{ratio:.2f}"
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


# -- Markdown ------------------------------------------------------------------------


class Notes:
    """Footnotes: the same reason has the same number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def dash(self, why: str) -> str:
        if why not in self.texts:
            self.texts.append(why)
        return f"– <sup>{self.texts.index(why) + 1}</sup>"

    def lines(self) -> list[str]:
        return [f"<sup>{i}</sup> {t}  " for i, t in enumerate(self.texts, 1)]


def table(head: list[str], body: list[list[str]]) -> list[str]:
    """A table of Markdown; the first column is text, the others are numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return [f"| {' | '.join(line)} |" for line in lines]


def time_table(run: dict[str, Any], notes: Notes, clock: str = "wall") -> list[str]:
    """Medians and ratios to the base; the least of a row is bold."""
    body = []
    for row in run["rows"]:
        cells = row["cells"]
        found = {k: median(cells[k], clock) for k in run["libraries"]}
        values = [v for v in found.values() if v is not None]
        base, line = found.get(run["base"]), [row["label"]]
        for library, value in found.items():
            if value is None:
                line.append(notes.dash(f"{library}: {cells[library]['why']}"))
                continue
            text = seconds(value)
            if base:
                text += f" (x{times(value / base)})"
            line.append(f"**{text}**" if value == min(values) else text)
        body.append(line)
    return table(["", *run["libraries"]], body)


def memory_table(run: dict[str, Any]) -> list[str]:
    """MiB of the process, and what the row added to it."""
    body = []
    for row in run["rows"]:
        if row["kind"] == "fresh":
            continue
        line = [row["label"]]
        for library in run["libraries"]:
            cell, more = row["cells"][library], grown(row["cells"][library])
            text = "–" if more is None else f"{cell['peak'] / MIB:.0f}"
            line.append(text if more is None else f"{text} (+{more / MIB:.0f})")
        body.append(line)
    return table(["", *run["libraries"]], body)


def ready_table(run: dict[str, Any]) -> list[str]:
    """Seconds to build, compile and run once."""
    body = []
    for row in run["rows"]:
        if row["kind"] != "steady":
            continue
        cells = [row["cells"][k] for k in run["libraries"]]
        ready = (c.get("ready") if c.get("wall") else None for c in cells)
        body.append([row["label"], *("–" if r is None else seconds(r) for r in ready)])
    return table(["", *run["libraries"]], body)


def verdict(run: dict[str, Any]) -> list[str]:
    """Row by row, who is faster than the base; then how many rows it leads."""
    base, lost, led = run["base"], [], 0
    for row in run["rows"]:
        own = median(row["cells"].get(base, {}))
        if own is None:
            continue
        # The other dagrad is no peer.
        others = {
            k: median(row["cells"][k])
            for k in run["libraries"]
            if not k.startswith("dagrad")
        }
        faster = {k: v / own for k, v in others.items() if v is not None and v < own}
        if not faster:
            led += any(v is not None for v in others.values())
            continue
        by = (f"{k} x{times(r)}" for k, r in sorted(faster.items(), key=lambda i: i[1]))
        lost.append(f"- {row['label']}: {', '.join(by)}")
    lines = [f"{base} has the least time in {led} rows. It is behind in {len(lost)}"]
    lines[0] += ", with the others' times over its own:" if lost else "."
    return [*lines, "", *lost] if lost else lines


def markdown(run: dict[str, Any], chart: str) -> str:
    """The whole page."""
    notes = Notes()
    base = run["base"]
    lines = ["# dagrad beside its peers", ""]
    lines += [f"{run['date']}; {run['machine']}; load {run['load']} at the start.", ""]
    lines += ["Written by `python benchmarks/compare.py`.", ""]
    versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items())
    lines += [f"{versions}; {run['threads']} thread(s) each.", ""]
    if run["missing"]:
        gone = ", ".join(f"{k} ({why})" for k, why in run["missing"].items())
        lines += [f"Left out: {gone}.", ""]
    if run["quick"]:
        lines += ["A quick run: the figures show that all works, and no more.", ""]
    lines += [f"![Times over those of {base}, by rows]({chart})", ""]
    lines += [
        f"Median time of a call, and its ratio to {base}'s: above 1 is slower than "
        f"{base}. Each library has a process of its own for each row, held on as many "
        f"cores as it has threads; the processes take turns, {run['rounds']} rounds at "
        "most. Their results were compared. "
        "dagrad is without native code, dagrad-jit with it, compiled before the first "
        "run but in the row of the new process, where nothing waits. Where only dagrad "
        "and TensorFlow have sessions, the others' time is that of a plain call. "
        "The while loop of JAX and PyTensor is scan. PyTorch and autograd compute "
        "while they build.",
        "",
        *time_table(run, notes),
        "",
        *notes.lines(),
        "",
        *verdict(run),
        "",
        "## Processor time",
        "",
        "The same, median of the time on the processor, all threads together.",
        "",
        *time_table(run, Notes(), "cpu"),
        "",
        "## Peak memory",
        "",
        "MiB of the process at most (resident), and how much of that came after the "
        "import of the library: data, building, compiling, running. Compilers in "
        "processes of their own are not in it.",
        "",
        *memory_table(run),
        "",
        "## Time until ready",
        "",
        "Building, compiling and the first call, after the import; with what the "
        "libraries had kept on disk from earlier runs.",
        "",
        *ready_table(run),
    ]
    return "\n".join(lines) + "\n"


# -- the chart ------------------------------------------------------------------------

LEFT, WIDTH, RIGHT, STEP = 300, 560, 24, 24
#: Colours that the colour-blind can tell apart (Okabe and Ito), and shapes besides.
MARKS = {
    "dagrad-jit": ("ink", "circle"),
    "dagrad": ("ink", "ring"),
    "numpy": ("#8b8f94", "square"),
    "tensorflow": ("#e69f00", "triangle"),
    "jax": ("#56b4e9", "diamond"),
    "torch": ("#d55e00", "wedge"),
    "pytensor": ("#009e73", "cross"),
    "autograd": ("#cc79a7", "plus"),
}
STYLE = """
text { font: 13px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.small { font-size: 12px; fill: #59636e }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d1d9e0 }
.one { stroke: #1f2328; stroke-width: 1.5 }
.ink { fill: #1f2328; stroke: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .small { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .one { stroke: #f0f6fc }
  .ink { fill: #f0f6fc; stroke: #f0f6fc }
}
"""
PATHS = {
    "square": "M-4.5,-4.5h9v9h-9z",
    "triangle": "M0,-5.5L5.5,4.5H-5.5z",
    "wedge": "M0,5.5L5.5,-4.5H-5.5z",
    "diamond": "M0,-6L6,0L0,6L-6,0z",
    "cross": "M-4.5,-4.5L4.5,4.5M-4.5,4.5L4.5,-4.5",
    "plus": "M-5.5,0H5.5M0,-5.5V5.5",
}


def mark(library: str, x: float, y: float, text: str) -> str:
    """One marker, with what it says when the mouse is over it."""
    colour, shape = MARKS[library]
    own = 'class="ink"' if colour == "ink" else f'fill="{colour}" stroke="{colour}"'
    if shape == "circle":
        drawn = f'<circle r="5" {own}/>'
    elif shape == "ring":
        drawn = f'<circle r="4.5" {own} fill-opacity="0" stroke-width="2"/>'
    else:
        stroke = 2.5 if shape in ("cross", "plus") else 0.5
        drawn = f'<path d="{PATHS[shape]}" {own} stroke-width="{stroke}"/>'
    title = f"<title>{escape(text)}</title>"
    return f'<g transform="translate({x:.1f},{y:.1f})">{title}{drawn}</g>'


def ratios(run: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """The chart's lines: a label, and each library's ratio to the base."""
    lines = []
    for row in run["rows"]:
        kinds = [(row["label"], median)]
        if row["name"] == MEMORY_ROW:
            kinds.append((f"{row['label']}: memory", grown))
        for label, figure in kinds:
            found = {k: figure(row["cells"][k]) for k in run["libraries"]}
            base = found.get(run["base"])
            known = {k: v / base for k, v in found.items() if v and base}
            lines.append((label, known))
    return lines


def axis(values: list[float]) -> tuple[float, float, list[float]]:
    """The ends of a logarithmic axis, and its ticks: 1-2-5, on long ones by tens."""
    # As far as 10 at least: there must be room for "slower" right of the line at 1.
    low, high = min([0.5, *values]), max([10.0, *values])
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if high / low < 1e4 else (1,)
    ticks = [n * 10.0**d for d in range(first, last + 1) for n in steps]
    start = max(t for t in ticks if t <= low * 1.0001)
    end = min(t for t in ticks if t >= high * 0.9999)
    every = 1 + (last - first) // 9  # decades, so that the numbers have room
    wide = {10.0**d for d in range(first, last + 1) if d % every}
    return start, end, [t for t in ticks if start <= t <= end and t not in wide]


def chart(run: dict[str, Any]) -> str:
    """Dots on lines, one line a row; left of the line at 1 is faster than the base."""
    lines, base = ratios(run), run["base"]
    start, end, ticks = axis([v for _, known in lines for v in known.values()])

    def across(ratio: float) -> float:
        return LEFT + WIDTH * math.log(ratio / start) / math.log(end / start)

    width = LEFT + WIDTH + RIGHT
    parts = [f'<text class="title" x="12" y="24">Time over that of {base}</text>']
    note = escape(f"{run['date']}; {run['machine']}; {run['threads']} thread(s)")
    parts.append(f'<text class="small" x="12" y="44">{note}</text>')
    x, y = 18.0, 68
    for library in run["libraries"]:
        wide = 42 + 7 * len(library)
        if x + wide > width:
            x, y = 18.0, y + 22
        parts.append(mark(library, x, y - 4, library))
        parts.append(f'<text x="{x + 12:.0f}" y="{y}">{library}</text>')
        x += wide
    top = y + 44
    bottom = top + STEP * len(lines)
    for text, anchor, x in (
        (f"\u2190 faster than {base}", "end", across(1) - 8),
        (f"slower than {base} \u2192", "start", across(1) + 8),
    ):
        # Where the line at 1 is near the left end, the words lie above the labels.
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{top - 16}" text-anchor="{anchor}">'
            f"{text}</text>"
        )
    for tick in ticks:
        kind, x = ("one" if tick == 1 else "grid"), across(tick)
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top - 8}" y2="{bottom}"'
        parts.append(f'<line class="{kind}" {ends}/>')
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{tick:g}</text>"
        )
    for i, (label, known) in enumerate(lines):
        y = top + STEP * i + STEP // 2
        parts.append(f'<text x="12" y="{y + 4}">{escape(label)}</text>')
        ends = f'x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}"'
        parts.append(f'<line class="grid" stroke-dasharray="1 4" {ends}/>')
        # The base lies under the others: it is at 1 in any case.
        for library, ratio in sorted(known.items(), key=lambda item: item[0] != base):
            text = f"{label}, {library}: x{times(ratio)}"
            parts.append(mark(library, across(ratio), y, text))
    height = bottom + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>Times of {', '.join(run['libraries'])} over those of {base}</title>\n"
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
