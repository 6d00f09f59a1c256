"""A build as a trace for Perfetto or chrome://tracing: each edge on a lane, and inside it where its time went.

Ninja's log says when an edge began and ended, interlock's spans (INTERLOCK_TIMINGS) what it did between. Edges that failed
or were interrupted are in no log: their spans are what is known of them.

Specification: "Trace Event Format" of Chromium, the JSON object form; ui.perfetto.dev reads it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.documents import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["EdgeRun", "Span", "edge_runs", "log_entries", "read_spans", "trace_text"]

MS = 1_000_000  # nanoseconds
EDGES, LOCKS = 1, 2  # the "processes" of the trace
UNFINISHED = "failed or interrupted"


@dataclass(frozen=True, slots=True)
class Span:
    """What one process did for a while; nanoseconds of the monotonic clock. `edge` is the stamp, "" for none."""

    name: str
    subject: str
    start_ns: int
    end_ns: int
    pid: int
    edge: str


@dataclass(frozen=True, slots=True)
class EdgeRun:
    """One edge from Ninja's start of it to its end; `done` is False where Ninja has not logged that it succeeded."""

    output: str
    start_ns: int
    end_ns: int
    done: bool
    spans: tuple[Span, ...]

    @property
    def label(self) -> str:
        """Say what the edge does, from the stamp that it leaves: "install core"."""
        name, found, step = self.output.rpartition("__editable_")
        if found:
            return f"{step} {name}"
        folders = self.output.removesuffix(".stamp").split("/")
        if not self.output.endswith(".stamp") or len(folders) < 3:
            return self.output
        return f"{folders[-2]} {folders[-1]}" if folders[-2] == "build-env" else f"{folders[-1]} {folders[-2]}"


def log_entries(before: bytes, after: bytes) -> list[tuple[int, int, str]]:
    """Return what a build added to Ninja's log: start and end in milliseconds, and the output of each edge.

    Ninja appends, or writes the log anew without what it has twice.
    """
    known = before.splitlines()
    lines = after.splitlines()
    if lines[: len(known)] == known:
        lines = lines[len(known) :]
    else:
        old = set(known)
        lines = [line for line in lines if line not in old]
    entries = []
    for line in lines:
        fields = line.split(b"\t")
        if len(fields) == 5 and fields[0].isdigit() and fields[1].isdigit():
            entries.append((int(fields[0]), int(fields[1]), os.fsdecode(fields[3])))
    return entries


def read_spans(path: str, offset: int = 0) -> list[Span]:
    """Read the spans that were appended to a file after an offset; a line that a killed process left half is passed over."""
    spans = []
    try:
        with open(path, "rb") as reader:
            reader.seek(offset)
            lines = reader.read().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            found = parse_json(line)
            start = int(found["start_ns"])
            end = start + round(found["seconds"] * 1e9)
            spans.append(Span(found["span"], found["subject"], start, end, int(found["pid"]), found["edge"]))
        except (ValueError, KeyError, TypeError):
            continue
    return spans


def edge_runs(entries: Iterable[tuple[int, int, str]], spans: Iterable[Span], started_ns: int) -> list[EdgeRun]:
    """Bring Ninja's log and the spans together, in the order of the starts; `started_ns` is when Ninja was started."""
    by_edge: dict[str, list[Span]] = {}
    for one in spans:
        by_edge.setdefault(one.edge, []).append(one)
    entries = list(entries)
    zero = _zero(entries, by_edge, started_ns)
    runs = []
    for start, end, output in entries:
        inside = by_edge.pop(output, [])
        first, last = _extent(inside, zero + start * MS, zero + end * MS)
        runs.append(EdgeRun(output, first, last, True, tuple(inside)))
    for output, inside in by_edge.items():
        if output:
            first, last = _extent(inside, inside[0].start_ns, inside[0].end_ns)
            runs.append(EdgeRun(output, first, last, False, tuple(inside)))
    return sorted(runs, key=lambda run: (run.start_ns, run.output))


def _zero(entries: Sequence[tuple[int, int, str]], by_edge: dict[str, list[Span]], started_ns: int) -> int:
    """Return the moment that Ninja's log counts from: after its start, and such that each edge's spans lie inside of it."""
    latest, zero = None, started_ns
    for start, end, output in entries:
        if inside := by_edge.get(output):
            bound = min(one.start_ns for one in inside) - start * MS
            latest = bound if latest is None else min(latest, bound)
            zero = max(zero, max(one.end_ns for one in inside) - (end + 1) * MS)
    return zero if latest is None else min(zero, latest)


def _extent(spans: Iterable[Span], start: int, end: int) -> tuple[int, int]:
    spans = list(spans)
    return min([start, *(one.start_ns for one in spans)]), max([end, *(one.end_ns for one in spans)])


def trace_text(runs: Sequence[EdgeRun], *, began_ns: int, started_ns: int, ended_ns: int, what: str) -> str:
    """Return the trace as JSON; `what` is the command, which began, started Ninja and ended at these moments."""
    events: list[dict[str, Any]] = []
    events += _named(EDGES, what)
    events.append(_event(EDGES, 0, "generate", "interlock", began_ns, started_ns, began_ns))
    events.append(_event(EDGES, 0, "ninja", "ninja", started_ns, ended_ns, began_ns))
    events += _thread(EDGES, 0, "interlock build")
    lanes = _lanes([(run.start_ns, run.end_ns) for run in runs])
    for lane in sorted(set(lanes)):
        events += _thread(EDGES, lane + 1, f"lane {lane + 1}")
    for run, lane in zip(runs, lanes, strict=True):
        events += _edge_events(run, lane + 1, began_ns)
    events += _lock_events(runs, began_ns)
    events += _counted(runs, began_ns)
    document = {"displayTimeUnit": "ms", "otherData": {"command": what}, "traceEvents": events}
    return json.dumps(document, separators=(",", ":")) + "\n"


def _edge_events(run: EdgeRun, lane: int, zero: int) -> Iterator[dict[str, Any]]:
    kind = run.label.partition(" ")[0]
    sums: dict[str, float] = {}
    for one in run.spans:
        sums[f"{one.name} ms"] = round(sums.get(f"{one.name} ms", 0) + (one.end_ns - one.start_ns) / MS, 3)
    said = {"stamp": run.output, "status": "done" if run.done else UNFINISHED, **sums}
    name = run.label if run.done else f"{run.label} ({UNFINISHED})"
    yield _event(EDGES, lane, name, kind, run.start_ns, run.end_ns, zero, said)
    spans = sorted(run.spans, key=lambda one: (one.start_ns, -one.end_ns))
    if spans and run.done and spans[0].start_ns > run.start_ns:
        yield _event(EDGES, lane, "start of the process", "span", run.start_ns, spans[0].start_ns, zero)
    ends = [run.end_ns]  # of what is open around: a lane can only nest
    for one in spans:
        while len(ends) > 1 and ends[-1] <= one.start_ns:
            ends.pop()
        end = min(one.end_ns, ends[-1])
        ends.append(end)
        told = {"pid": one.pid, **({"subject": one.subject} if one.subject else {})}
        yield _event(EDGES, lane, one.name, "span", one.start_ns, end, zero, told)


def _lock_events(runs: Iterable[EdgeRun], zero: int) -> Iterator[dict[str, Any]]:
    """Yield who held the lock of an environment, on a track of its own; two only where there are two environments."""
    held = [one for run in runs for one in run.spans if one.name == "lock held"]
    held.sort(key=lambda one: one.start_ns)
    lanes = _lanes([(one.start_ns, one.end_ns) for one in held])
    yield from _named(LOCKS, "environment lock")
    for lane in sorted(set(lanes)):
        yield from _thread(LOCKS, lane + 1, "held by")
    for one, lane in zip(held, lanes, strict=True):
        yield _event(LOCKS, lane + 1, one.subject or one.edge, "lock", one.start_ns, one.end_ns, zero)


def _counted(runs: Iterable[EdgeRun], zero: int) -> Iterator[dict[str, Any]]:
    changes = sorted([(run.start_ns, 1) for run in runs] + [(run.end_ns, -1) for run in runs])
    running = 0
    for moment, change in changes:
        running += change
        yield {"ph": "C", "pid": EDGES, "tid": 0, "name": "edges at once", "ts": _us(moment - zero)} | {
            "args": {"edges": running}
        }


def _lanes(intervals: Sequence[tuple[int, int]]) -> list[int]:
    """Give each interval, in the order of the starts, the first lane that is free by then."""
    free: list[int] = []  # when each lane is
    lanes = []
    for start, end in intervals:
        lane = next((number for number, moment in enumerate(free) if moment <= start), len(free))
        if lane == len(free):
            free.append(end)
        free[lane] = end
        lanes.append(lane)
    return lanes


def _event(
    process: int,
    lane: int,
    name: str,
    category: str,
    start: int,
    end: int,
    zero: int,
    said: dict[str, Any] | None = None,
) -> dict[str, Any]:
    event = {"ph": "X", "pid": process, "tid": lane, "name": name, "cat": category}
    event |= {"ts": _us(start - zero), "dur": _us(end - start)}
    return event | ({"args": said} if said else {})


def _us(nanoseconds: int) -> float:
    return max(0, nanoseconds) / 1000


def _named(process: int, name: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": process, "tid": 0, "name": "process_name", "args": {"name": name}}


def _thread(process: int, lane: int, name: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": process, "tid": lane, "name": "thread_name", "args": {"name": name}}
    yield {"ph": "M", "pid": process, "tid": lane, "name": "thread_sort_index", "args": {"sort_index": lane}}
