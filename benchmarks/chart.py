"""Draw what benchmarks/run.py measured: cost against the number of projects, and where an edge's time goes.

    python benchmarks/chart.py benchmarks.json docs/explanation

Writes speed-by-size.svg (table `sizes`) and edge-breakdown.svg (table `breakdown`), readable on light and dark pages.
"""

from __future__ import annotations

import math
import statistics
import sys
from html import escape
from pathlib import Path

from report import Row, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 230, 40, 52
COLOURS = {"interlock": "a", "interlock, backends run": "d", "uv, an edge each": "b", "one uv": "c"}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f } .quiet { fill: #57606a; font-size: 12px } .grid { stroke: #d0d7de }
  .line { fill: none; stroke-width: 2.5 } .dot { stroke: none }
  .dot.a { fill: #0969da } .line.a { stroke: #0969da }
  .dot.b { fill: #cf222e } .line.b { stroke: #cf222e }
  .dot.c { fill: #9a6700 } .line.c { stroke: #9a6700 }
  .dot.d { fill: #1a7f37 } .line.d { stroke: #1a7f37 }
  .dot.e { fill: #8250df } .line.e { stroke: #8250df }
  .dot.f { fill: #bf3989 } .line.f { stroke: #bf3989 }
  .dot.g { fill: #57606a } .line.g { stroke: #57606a }
  .dot.h { fill: #0e8a8a } .line.h { stroke: #0e8a8a }
  .dot.i { fill: #bc4c00 } .line.i { stroke: #bc4c00 }
  .dot.j { fill: #8c959f } .line.j { stroke: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #3d444d }
    .dot.a { fill: #58a6ff } .line.a { stroke: #58a6ff }
    .dot.b { fill: #ff7b72 } .line.b { stroke: #ff7b72 }
    .dot.c { fill: #d29922 } .line.c { stroke: #d29922 }
    .dot.d { fill: #3fb950 } .line.d { stroke: #3fb950 }
    .dot.e { fill: #bc8cff } .line.e { stroke: #bc8cff }
    .dot.f { fill: #f778ba } .line.f { stroke: #f778ba }
    .dot.g { fill: #9198a1 } .line.g { stroke: #9198a1 }
    .dot.h { fill: #39c5cf } .line.h { stroke: #39c5cf }
    .dot.i { fill: #ffa657 } .line.i { stroke: #ffa657 }
    .dot.j { fill: #6e7681 } .line.j { stroke: #6e7681 }
  }
"""


def main(words: list[str]) -> int:
    if len(words) != 2:
        sys.stderr.write(__doc__ or "")
        return 2
    tables = {table.name: table for table in load(Path(words[0]))}
    drawn = {"sizes": ("speed-by-size.svg", by_size), "breakdown": ("edge-breakdown.svg", bars)}
    for name, (file, draw) in drawn.items():
        if name in tables and tables[name].rows:
            Path(words[1], file).write_text(draw(tables[name].rows), encoding="utf-8")
            print(Path(words[1], file))
    return 0


def by_size(rows: list[Row]) -> str:
    """Draw seconds against projects, both logarithmic."""
    lines: dict[str, dict[int, list[float]]] = {name: {} for name in COLOURS}
    for row in rows:
        count = row.keys["projects"]
        lines["interlock"].setdefault(count, []).extend(row.ours)
        if row.built:
            lines["interlock, backends run"].setdefault(count, []).extend(row.built)
        if row.theirs:
            lines[row.keys["peer"]].setdefault(count, []).extend(row.theirs)
    points = {
        name: [(count, statistics.median(found)) for count, found in sorted(line.items())]
        for name, line in lines.items()
    }
    counts = sorted({count for line in points.values() for count, _ in line})
    seconds = [value for line in points.values() for _, value in line]
    low, high = 10 ** math.floor(math.log10(min(seconds))), 10 ** math.ceil(math.log10(max(seconds)))
    across = _scale(counts[0], counts[-1], LEFT, WIDTH - RIGHT)
    up = _scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = []
    tick = low
    while tick <= high * 1.001:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="quiet" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,g} s</text>')
        tick *= 10
    foot = HEIGHT - BOTTOM + 20
    parts += [
        f'<text class="quiet" x="{across(count):.1f}" y="{foot}" text-anchor="middle">{count:,}</text>'
        for count in counts
    ]
    ends = [(up(line[-1][1]), name, line) for name, line in points.items() if line]
    for y, (_, name, line) in zip(_apart([end for end, _, _ in ends]), ends, strict=True):
        shape = COLOURS[name]
        path = " ".join(f"{across(count):.1f},{up(value):.1f}" for count, value in line)
        parts.append(f'<polyline class="line {shape}" points="{path}"/>')
        parts += [
            f'<circle class="dot {shape}" cx="{across(count):.1f}" cy="{up(value):.1f}" r="3.5"/>'
            for count, value in line
        ]
        last = across(line[-1][0])
        ended = line[-1][0] == counts[-1]  # a line that stops before has its label above its end
        where = (
            f'x="{last + 10:.1f}" y="{y + 4:.1f}"' if ended else f'x="{last:.1f}" y="{y - 12:.1f}" text-anchor="middle"'
        )
        value = f"{line[-1][1]:,.0f}" if line[-1][1] >= 100 else f"{line[-1][1]:.3g}"
        parts.append(f'<text {where}><tspan class="dot {shape}">●</tspan> {name}: {value} s</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="quiet" x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">projects</text>')
    return _svg(HEIGHT, "Cold build of setuptools projects in six layers", parts)


def bars(rows: list[Row]) -> str:
    """Draw a bar for each kind of edge, of its parts."""
    edges: dict[str, dict[str, float]] = {}
    for row in rows:
        if "edge" in row.keys and row.keys["part"] != "the whole edge":
            edges.setdefault(row.keys["edge"], {})[row.keys["part"]] = statistics.median(row.ours)
    sums: dict[str, float] = {}
    for found in edges.values():
        for part, value in found.items():
            sums[part] = max(sums.get(part, 0), value)
    shapes = dict(zip(sorted(sums, key=lambda part: -sums[part]), "abcdefghij", strict=False))
    longest = max(sum(found.values()) for found in edges.values())
    left, width, parts, y = 225, WIDTH - 225 - 70, [], TOP + 10
    for edge, found in edges.items():
        x = float(left)
        parts.append(f'<text x="{left - 10}" y="{y + 16}" text-anchor="end">{escape(edge)}</text>')
        for part, shape in shapes.items():
            length = found.get(part, 0) / longest * width
            told = f"<title>{escape(part)}: {found.get(part, 0):.1f} ms</title>"
            parts.append(
                f'<rect class="dot {shape}" x="{x:.1f}" y="{y}" width="{length:.1f}" height="22">{told}</rect>'
            )
            x += length
        parts.append(f'<text class="quiet" x="{x + 8:.1f}" y="{y + 16}">{sum(found.values()):.0f} ms</text>')
        y += 32
    y += 20
    for number, (part, shape) in enumerate(shapes.items()):
        x, line = 24 + (number % 3) * 245, y + number // 3 * 22
        parts.append(f'<rect class="dot {shape}" x="{x}" y="{line - 11}" width="13" height="13"/>')
        parts.append(f'<text x="{x + 20}" y="{line}">{escape(part)}</text>')
    return _svg(y + (len(shapes) + 2) // 3 * 22, "Where the time of one edge goes, one edge at a time", parts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return a logarithmic scale."""
    span = math.log(high / low) or 1.0
    return lambda value: start + (end - start) * math.log(value / low) / span


def _apart(places: list[float], least: float = 18) -> list[float]:
    """Return places of labels, moved down where they would lie on each other."""
    found = dict.fromkeys(range(len(places)), 0.0)
    last = -math.inf
    for index in sorted(found, key=lambda index: places[index]):
        last = found[index] = max(places[index], last + least)
    return list(found.values())


def _svg(height: float, title: str, parts: list[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">', f"<title>{title}</title>"]
    lines += [f"<style>{STYLE}</style>", f'<text x="24" y="24" font-weight="600">{title}</text>', *parts, "</svg>"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
