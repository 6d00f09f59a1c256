"""Where the time of one edge goes: from traces of builds that run one edge at a time."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from measuring import progress
from report import Row, Table
from workspaces import layered

if TYPE_CHECKING:
    from pathlib import Path

    from bench import Bench

PROJECTS = 16
KINDS = ("prepare", "install")
REST = "the rest of interlock"
PARTS = {  # by span; what is not here is called what its span is
    "start of the process": "process start, imports",
    "build": "backend: build_editable",
    "get requires": "backend: get_requires",
    "kept": REST,
    "commit": "commit: renames",
    "lock held": "commit: checks",
    "lock wait": "locks",
    "wait for build environment": "locks",
    "wait for source tree": "locks",
    "wait for environment": "locks",
    "wait for uv": "locks",
}
# What is added to the name of an edge, what it runs with, whether its backend is asked.
WAYS: list[tuple[str, dict[str, str], bool]] = [
    ("", {}, True),
    (", kept", {}, False),
    (", no worker", {"INTERLOCK_WORKER": "0"}, True),
]
STARTS = {"python -I -S -c pass": ["-I", "-S", "-c", "pass"], "python -c pass": ["-c", "pass"]}


def breakdown(bench: Bench) -> Table:
    """Measure the parts of prepare and install edges, by backend, with and without workers."""
    table = Table("breakdown", "where an edge's time goes, one edge at a time")
    for label, words in STARTS.items():
        table.rows.append(Row(label, _starts(bench.product.python, words, bench.rounds * 4), unit="ms"))
    for backend in ("setuptools", "hatchling"):
        workspace = layered(bench.directory(), bench.size(PROJECTS), backend)
        for way, environ, asked in WAYS:
            bench.product.more = environ
            try:
                bench.product.build_cold(workspace)  # so that there is a build environment, and a worker
                workspace.clear()
                if asked:
                    bench.product.forget(workspace)
                trace = workspace.root / "out-trace.json"
                bench.product.run("build", "--root", workspace.root, "-j1", "--trace", trace)
            finally:
                bench.product.more = {}
            for kind in KINDS if asked else KINDS[:1]:
                edge = f"{backend}, {kind}{way}"
                for part, samples in parts(trace, kind).items():
                    keys = {"edge": edge, "part": part}
                    table.rows.append(Row(f"{edge}: {part}", samples, unit="ms", keys=keys))
        progress(f"{backend}: done")
    table.notes.append(
        "Medians over the edges; a part's time is without that of the parts inside of it. `interlock build -j1 --trace`."
    )
    return table


def _starts(python: str, words: list[str], times: int) -> list[float]:
    found = []
    for _ in range(times):
        before = time.monotonic()
        subprocess.run([python, *words], check=True)
        found.append((time.monotonic() - before) * 1000)
    return found


def parts(trace: Path, kind: str) -> dict[str, list[float]]:
    """Return how long each part of each edge of a kind took, in milliseconds, the largest first, after the whole."""
    events = json.loads(trace.read_text("utf-8"))["traceEvents"]
    lanes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and event["pid"] == 1 and event["tid"]:
            lanes[event["tid"]].append(event)
    edges = [times for lane in lanes.values() for times in _exclusive(lane, kind)]
    found = {part: [edge.get(part, 0.0) for edge in edges] for part in {part for edge in edges for part in edge}}
    whole = {"the whole edge": [sum(edge.values()) for edge in edges]} if edges else {}
    return whole | dict(sorted(found.items(), key=lambda item: -statistics.median(item[1])))


def _exclusive(lane: list[dict[str, Any]], kind: str) -> list[dict[str, float]]:
    """Return, for each edge of a kind on a lane, the milliseconds of each part, without the parts inside of that."""
    edges: list[dict[str, float]] = []
    inside: list[tuple[float, str]] = []  # the end and the part of what is open
    current: dict[str, float] | None = None
    for event in sorted(lane, key=lambda event: (event["ts"], -event["dur"])):
        milliseconds, end = event["dur"] / 1000, event["ts"] + event["dur"]
        if "stamp" in event.get("args", {}):
            current = defaultdict(float) if event["cat"] == kind else None
            if current is not None:
                edges.append(current)
                current[REST] += milliseconds
            inside = [(end, REST)]
        elif current is not None:
            while len(inside) > 1 and inside[-1][0] <= event["ts"]:
                inside.pop()
            part = PARTS.get(event["name"], event["name"])
            current[inside[-1][1]] -= milliseconds
            current[part] += milliseconds
            inside.append((end, part))
    return edges


if __name__ == "__main__":
    from pathlib import Path

    for one in KINDS:
        for part, samples in parts(Path(sys.argv[1]), one).items():
            sys.stdout.write(f"{one:<10}{part:<28}{statistics.median(samples):>9.2f} ms\n")
