"""Memory: of an edge, of the workers, as Linux counts it (smaps_rollup)."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from measuring import progress, run
from report import Row, Table
from workspaces import layered

if TYPE_CHECKING:
    from bench import Bench

INTERVAL = 0.05  # seconds between two looks


@dataclass
class Watcher:
    """Looks at the processes of a build again and again: `peak` has the most of each kind at one moment (PSS, bytes).

    Which processes are the build's is told by XDG_RUNTIME_DIR, which the benchmark has to itself. An edge descends from Ninja;
    what does not is a worker, or a child that it has forked.
    """

    runtime: str
    peak: dict[str, int] = field(default_factory=dict)
    largest_edge: int = 0
    count: dict[str, int] = field(default_factory=dict)
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._end.wait(INTERVAL):
            found = self.look()
            for kind in {kind for kind, _ in found}:
                sizes = [size for one, size in found if one == kind]
                self.peak[kind] = max(self.peak.get(kind, 0), sum(sizes))
                self.count[kind] = max(self.count.get(kind, 0), len(sizes))
                if kind == "edge":
                    self.largest_edge = max(self.largest_edge, *sizes)

    def look(self) -> list[tuple[str, int]]:
        """Return the kind and the proportional set size of each process of the build at this moment."""
        parents: dict[int, int] = {}
        names: dict[int, str] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError, ValueError):
                    stat = Path("/proc", entry, "stat").read_text("utf-8", "replace")
                    names[int(entry)] = stat[stat.index("(") + 1 : stat.rindex(")")]
                    parents[int(entry)] = int(stat[stat.rindex(")") + 2 :].split()[1])
        mine = f"XDG_RUNTIME_DIR={self.runtime}".encode()
        found = []
        for pid in parents:
            with contextlib.suppress(OSError, ValueError):
                if mine in Path("/proc", str(pid), "environ").read_bytes().split(b"\0") and names[pid] not in {
                    "ninja",
                    "sh",
                }:
                    found.append((self._kind(pid, parents, names), pss(pid)))
        return found

    def _kind(self, pid: int, parents: dict[int, int], names: dict[int, str]) -> str:
        above, lineage = pid, []
        while above > 1:
            lineage.append(above)
            above = parents.get(above, 0)
        if any(names.get(one) == "ninja" for one in lineage):
            return "edge"
        if os.getpid() in lineage:
            return "command"
        return "worker"


def pss(pid: int) -> int:
    """Return a process's proportional set size: its own memory, and its share of what it shares with others."""
    text = Path("/proc", str(pid), "smaps_rollup").read_text("utf-8")
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def memory(bench: Bench) -> Table:
    """Measure edges alone and the workers after a build and in it."""
    table = Table("memory", "memory")
    if not Path("/proc/self/smaps_rollup").exists():
        table.notes.append("Only Linux tells.")
        return table
    workspace = layered(bench.directory(), bench.size(128), "setuptools")
    environ = {**bench.tools.environ}
    with Watcher(environ["XDG_RUNTIME_DIR"]) as watcher:
        bench.product.build_cold(workspace)
    resident = [size for kind, size in watcher.look() if kind == "worker"]
    progress(
        f"workers: {len(resident)}, {sum(resident) / 2**20:.1f} MB; at most in the build {watcher.peak}, {watcher.count}"
    )
    for kind in ("prepare", "install"):
        table.rows.append(
            Row(f"{kind} edge, alone: peak resident", _alone(bench, workspace.root / "out", kind), unit="MB", target=40)
        )
    megabytes = watcher.largest_edge / 2**20
    table.rows.append(Row("edge in the build (what Ninja starts): most, PSS", [megabytes], unit="MB", target=40))
    if resident:
        label = f"workers ({len(resident)}) after the build, in all, PSS"
        table.rows.append(Row(label, [sum(resident) / 2**20], unit="MB", target=150))
        label = f"workers and their forks (at most {watcher.count['worker']}) during it, in all, PSS"
        table.rows.append(Row(label, [watcher.peak["worker"] / 2**20], unit="MB"))
    else:
        table.notes.append("No worker was there after the build.")
    table.notes.append(
        f"{len(workspace.graph)} setuptools projects, -j{bench.product.jobs}; looked at every {INTERVAL * 1000:.0f} ms."
    )
    return table


def _alone(bench: Bench, out: Path, kind: str) -> list[float]:
    """Return the peak memory of the first edges of a kind, each run alone once more, in megabytes."""
    environ = bench.tools.environ
    commands = run([bench.product.ninja, "-C", out, "-t", "commands", "all"], environ).output.splitlines()
    chosen = [shlex.split(line) for line in commands if f"__editable_{kind} " in line.split("--stamp ")[-1]]
    return [run(words, environ, cwd=out).memory / 2**20 for words in chosen[: bench.rounds]]
