"""How long the environment's lock is held, while few and while many projects are installed."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from measuring import progress, quantile
from product import JOBS
from report import Row, Table
from small_changes import built

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench import Bench
    from workspaces import Workspace

CHANGED = 50


def lock_held(bench: Bench) -> Table:
    """Measure commits of new versions into environments with 50 and with 500 projects; into the larger also one by one."""
    table = Table("lock", f"the environment's lock, held for a commit (new versions of {CHANGED} projects at once)")
    few, many = bench.size(50), bench.size(500)
    versions = (f"{number}.0" for number in itertools.count(2))
    workspaces = {count: built(bench, count) for count in (few, many)}
    held = {count: _held(bench, workspace, versions) for count, workspace in workspaces.items()}
    for count, values in held.items():
        at_most = (5.0, 20.0) if count == many else (None, None)
        for part, target in zip((0.5, 0.99), at_most, strict=True):
            label = f"{count} installed, p{part * 100:.0f} of {len(values)}"
            table.rows.append(Row(label, [quantile(values, part)], unit="ms", target=target))
    alone = _held(bench, workspaces[many], versions, jobs=1)
    for part in (0.5, 0.99):
        label = f"{many} installed, one edge at a time (-j1), p{part * 100:.0f} of {len(alone)}"
        table.rows.append(Row(label, [quantile(alone, part)], unit="ms"))
    flat = [[quantile(held[count], 0.5)] for count in (many, few)]
    table.rows.append(Row(f"p50 at {many} over p50 at {few}", *flat, unit="ms", compare="cost", target=1.5))
    table.notes.append("Spans `lock held` of INTERLOCK_TIMINGS; recovery, checks, renames and syncs are inside.")
    return table


def _held(bench: Bench, workspace: Workspace, versions: Iterator[str], jobs: int = JOBS) -> list[float]:
    spans = workspace.root / f"spans-{jobs}.jsonl"
    chosen = list(workspace.graph)[1 : CHANGED + 1]
    for version in itertools.islice(versions, bench.rounds):
        for name in chosen:
            workspace.edit(name, version)
        bench.product.more, bench.product.jobs = {"INTERLOCK_TIMINGS": str(spans)}, jobs
        try:
            bench.product.build(workspace)
        finally:
            bench.product.more, bench.product.jobs = {}, JOBS
    lines = [json.loads(line) for line in spans.read_text(encoding="utf-8").splitlines()]
    found = [line["seconds"] * 1000 for line in lines if line["span"] == "lock held" and line["subject"] in chosen]
    progress(f"{len(workspace.graph)} installed: {len(found)} commits, p50 {quantile(found, 0.5):.2f} ms")
    return found
