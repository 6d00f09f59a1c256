"""Tables of figures: with ratios and targets, as text, as Markdown and as JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from measuring import ratio

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1


@dataclass
class Row:
    """A figure of interlock's, or a pair of such; `ours` and `theirs` are samples, paired round by round.

    `compare` says what the ratio is: "speed" is theirs over ours (how much faster interlock is), "cost" ours over theirs.
    `built` are samples of interlock with every backend run, where `ours` are with what it has kept of that. `target` is about
    the ratio of `ours` where there are two sides, else about our figure, and it is a least value for "speed".
    """

    label: str
    ours: list[float]
    theirs: list[float] = field(default_factory=list)
    unit: str = "s"
    compare: str = "speed"
    target: float | None = None
    note: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    built: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        return self._ratio(self.ours)

    def _ratio(self, ours: list[float]) -> float | None:
        if not self.theirs or not ours:
            return None
        return ratio(self.theirs, ours) if self.compare == "speed" else ratio(ours, self.theirs)

    @property
    def met(self) -> bool | None:
        """Tell whether the target is met; None where there is no target."""
        if self.target is None:
            return None
        value = self.ratio
        if value is None:
            return statistics.median(self.ours) <= self.target
        return value >= self.target if self.compare == "speed" else value <= self.target

    def cells(self, *, judged: bool = True) -> list[str]:
        """Return what a table shows; a target is `judged` where the figure is of the size that it is for."""
        target = ""
        if self.target is not None:
            sign = "≥" if self.compare == "speed" and self.theirs else "≤"
            unit = "x" if self.theirs else f" {self.unit}"
            verdict = (": met" if self.met else ": MISSED") if judged else ""
            target = f"{sign} {self.target:g}{unit}{verdict}"
        ratios = ["" if value is None else f"{value:.3g}x" for value in (self.ratio, self._ratio(self.built))]
        samples = [figure(found, self.unit) for found in (self.ours, self.theirs, self.built)]
        return [self.label, samples[0], samples[1], ratios[0], target, samples[2], ratios[1], self.note]


@dataclass
class Table:
    """Rows under one heading; `peer` heads the other side's column, `notes` say what has to be known to read it."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    peer: str = "the other"
    notes: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)

    def heads(self) -> list[str]:
        return ["", "interlock", self.peer, "ratio", "target", "interlock, backends run", "ratio", ""]

    def text(self) -> str:
        """Return the table for a terminal."""
        rows = self._columns()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [self.title, ""]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [
                cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
                for cell, width in zip(row[1:], widths[1:], strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *(f"  {note}" for note in [*self.notes, self.where()])]) + "\n"

    def markdown(self) -> str:
        """Return the table for the documentation."""
        rows = self._columns()
        lines = [" | ".join(rows[0]), "|".join(["---", *["---:"] * (len(rows[0]) - 1)])]
        lines += [" | ".join(row) for row in rows[1:]]
        table = "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)
        notes = "".join(f"\n{note}" for note in [*self.notes, self.where()] if note)
        return f"{table}\n{notes}\n"

    def where(self) -> str:
        """Say when and how often this was measured."""
        found = self.measured
        if not found:
            return ""
        small = f"; with at most {found['projects']} projects: targets are for more" if found["projects"] else ""
        return f"{found['rounds']} rounds, {found['when']}, load before: {found['load']}{small}"

    def _columns(self) -> list[list[str]]:
        """Return the rows without the columns that are empty; rows of edges and their parts as a matrix."""
        plain = [row for row in self.rows if "edge" not in row.keys]
        judged = not self.measured.get("projects")
        cells = [self.heads(), *(row.cells(judged=judged) for row in plain)]
        kept = [column for column in range(8) if column < 2 or any(row[column] for row in cells[1:])]
        found = [[row[column] for column in kept] for row in cells]
        edges = list(dict.fromkeys(row.keys["edge"] for row in self.rows if "edge" in row.keys))
        if not edges:
            return found
        medians = {
            (row.keys["edge"], row.keys["part"]): statistics.median(row.ours) for row in self.rows if row not in plain
        }
        largest: dict[str, float] = {}
        for (_, part), value in medians.items():
            largest[part] = max(largest.get(part, 0), value)
        parts = sorted(largest, key=lambda part: -largest[part])
        matrix = [["ms", *edges]]
        matrix += [[part, *(f"{medians.get((edge, part), 0):.1f}" for edge in edges)] for part in parts]
        return matrix + [[row[0], row[1], *[""] * (len(edges) - 1)] for row in found[1:]]

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        for row, written in zip(self.rows, found["rows"], strict=True):
            written |= {"ratio": row.ratio, "met": row.met}
        return found

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Table:
        rows = [
            Row(**{key: value for key, value in row.items() if key not in {"ratio", "met"}}) for row in found["rows"]
        ]
        return cls(**{**found, "rows": rows})


def figure(samples: list[float], unit: str) -> str:
    """Return the median with its unit, and how far the samples lie apart where there are several."""
    if not samples:
        return ""
    middle, low, high = statistics.median(samples), min(samples), max(samples)
    apart = f" ({low:.3g} to {high:.3g})" if len(samples) > 1 and f"{low:.3g}" != f"{high:.3g}" else ""
    return f"{middle:.3g} {unit}{apart}"


def save(path: Path, tables: list[Table], machine: dict[str, str], versions: dict[str, str]) -> None:
    """Write tables as JSON; those that the file has under other names stay, because long ones are measured one by one."""
    found = load(path)
    kept = {table.name: table for table in found} | {table.name: table for table in tables}
    document = {
        "schema": SCHEMA,
        "machine": machine,
        "versions": versions,
        "tables": [table.as_json() for table in kept.values()],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Table]:
    """Read the tables of a file, none if there is none."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("schema") != SCHEMA:
        raise SystemExit(f"{path} is of another version of the benchmark: give --json another file")
    return [Table.from_json(table) for table in document["tables"]]
