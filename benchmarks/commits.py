"""How long the environment's lock is held, while few and while many projects are installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from measuring import progress, quantile
from report import Row, Table
from small_changes import built

if TYPE_CHECKING:
    from bench import Bench
    from workspaces import Workspace

CHANGED = 50


def lock_held(bench: Bench) -> Table:
    """Measure commits of new versions into environments with 50 and with 500 projects."""
    table = Table("lock", f"the environment's lock, held for a commit (new versions of {CHANGED} projects at once)")
    few, many = bench.size(50), bench.size(500)
    held = {count: _held(bench, built(bench, count)) for count in (few, many)}
    for count, values in held.items():
        at_most = (5.0, 20.0) if count == many else (None, None)
        for part, target in zip((0.5, 0.99), at_most, strict=True):
            label = f"{count} installed, p{part * 100:.0f} of {len(values)}"
            table.rows.append(Row(label, [quantile(values, part)], unit="ms", target=target))
    flat = [[quantile(held[count], 0.5)] for count in (many, few)]
    table.rows.append(Row(f"p50 at {many} over p50 at {few}", *flat, unit="ms", compare="cost", target=1.5))
    table.notes.append("Spans `lock held` of INTERLOCK_TIMINGS; recovery, checks, renames and syncs are inside.")
    return table


def _held(bench: Bench, workspace: Workspace) -> list[float]:
    spans = workspace.root / "spans.jsonl"
    chosen = list(workspace.graph)[1 : CHANGED + 1]
    for number in range(bench.rounds):
        for name in chosen:
            workspace.edit(name, f"{number + 2}.0")
        bench.product.more = {"INTERLOCK_TIMINGS": str(spans)}
        try:
            bench.product.build(workspace)
        finally:
            bench.product.more = {}
    lines = [json.loads(line) for line in spans.read_text(encoding="utf-8").splitlines()]
    found = [line["seconds"] * 1000 for line in lines if line["span"] == "lock held" and line["subject"] in chosen]
    progress(f"{len(workspace.graph)} installed: {len(found)} commits, p50 {quantile(found, 0.5):.2f} ms")
    return found
