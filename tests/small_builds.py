"""Small builds of shell edges that behave as ours do: stamps written only where their content changes, depfiles, a log of runs.

A stamp holds the first line of each input, so an edit of a second line, or a touch, changes nothing of meaning.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.durable import Disk
from interlock_ninja.sync import Outcome, alone, out_of_date, synchronise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock_ninja.build_file import BuildEdge
    from interlock_ninja.sync import Ran

__all__ = [
    "Listener",
    "SmallEdge",
    "attempts",
    "build",
    "copy",
    "ninja_would_run",
    "sync",
    "sync_would_run",
    "touch",
    "write_build",
]

EDGE = r"""#!/bin/sh
stamp=$1; depfile=$2; shift 2
echo "$stamp" >> attempts.txt
# An interrupt at the moment in which a shell starts a program is heeded when that has ended: none of them lasts.
if [ -e "$stamp.slow" ]; then echo "$$" > "$stamp.pid"; for i in $(seq 6000); do sleep 0.1; done; fi
if [ -e "$stamp.fail" ]; then echo "cannot make $stamp"; exit 3; fi
new=$(for input in "$@"; do head -n 1 "$input" || exit 4; done) || exit 4
echo "$stamp: $(cat "$stamp.reads")" > "$depfile.$$" && mv "$depfile.$$" "$depfile"
[ -e "$stamp" ] && [ "$(cat "$stamp")" = "$new" ] || { printf '%s\n' "$new" > "$stamp.$$" && mv "$stamp.$$" "$stamp"; }
"""


@dataclasses.dataclass(frozen=True, slots=True)
class SmallEdge:
    """`inputs` are sources or stamps; `reads` are named in the depfile alone."""

    name: str
    inputs: tuple[str, ...]
    order_only: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    pool: str = ""


def write_build(out: Path, edges: Iterable[SmallEdge], *, word: str = "") -> Path:
    """Write a build.ninja, and what its edges need; `word` is one more word of each command, the name
    of a file."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "edge.sh").write_text(EDGE, encoding="utf-8")
    lines = ["# Written by interlock\nbar = |\npool narrow\n  depth = 1\n\n"]
    lines.append(
        "rule step\n  command = sh edge.sh $out $out.d $arguments\n  depfile = $out.d\n  deps = gcc\n"
        "  restat = 1\n  description = step $out\n\n"
    )
    names = []
    for edge in edges:
        names.append(edge.name)
        for source in (*edge.inputs, *edge.reads):
            if source.endswith(".txt") and not (out / source).exists():
                (out / source).write_text("one\ntwo\n", encoding="utf-8")
        (out / f"{edge.name}.reads").write_text(" ".join(edge.reads), encoding="utf-8")
        after = f" || {' '.join(edge.order_only)}" if edge.order_only else ""
        lines.append(f"build {edge.name}: step | {' '.join(edge.inputs)}{after}\n")
        lines.append(f"  arguments = {' '.join((*edge.inputs, *[word] * bool(word)))}\n")
        lines += [f"  pool = {edge.pool}\n"] if edge.pool else []
    lines.append(f"\nbuild all: phony {' '.join(names)}\ndefault all\n")
    (out / "build.ninja").write_text("".join(lines), encoding="utf-8")
    return out


class Listener:
    """What a build tells; `at` has the most edges that ran at one time."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.running: set[bytes] = set()
        self.at = 0

    def started(self, edge: BuildEdge, outcome: Outcome) -> None:
        self.order.append(os.fsdecode(edge.output))
        self.running.add(edge.output)
        self.at = max(self.at, len(self.running))

    def finished(self, ran: Ran, outcome: Outcome) -> None:
        self.running.discard(ran.edge.output)


def sync(
    out: Path, targets: Sequence[str] = (), *, jobs: int = 2, failures: int = 0, listener: Listener | None = None
) -> Outcome:
    """Build without Ninja."""
    disk = Disk("fast")
    with alone(str(out), disk):
        return synchronise(
            str(out),
            targets,
            disk=disk,
            reporter=listener or Listener(),
            environ=dict(os.environ),
            jobs=jobs,
            failures=failures,
        )


def sync_would_run(out: Path, targets: Sequence[str] = ()) -> list[str]:
    """Return the descriptions of what is out of date, sorted."""
    return sorted(edge.description for edge in out_of_date(str(out), targets, Disk("fast")))


def build(ninja: str, out: Path, targets: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Build with a real Ninja, going on after failures."""
    return subprocess.run([ninja, "-C", out, "-k0", "-j2", *targets], capture_output=True, text=True, check=False)


def ninja_would_run(
    ninja: str, out: Path, targets: Sequence[str] = (), *, file: str = "build.ninja"
) -> list[str] | str:
    """Return the descriptions of what Ninja would run, sorted, or its complaint about a missing file."""
    command = [ninja, "-C", out, "-f", file, "-n", "-d", "explain", *targets]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if missing := re.search(r"'(.*?)', needed by", result.stdout + result.stderr):
        return f"{missing[1]} is missing"
    assert result.returncode == 0, result.stdout + result.stderr
    return sorted(line.split("] ", 1)[1] for line in result.stdout.splitlines() if line.startswith("["))


def attempts(out: Path) -> list[str]:
    """Return which edges were begun since the last time, sorted."""
    file = out / "attempts.txt"
    lines = file.read_text(encoding="utf-8").split() if file.exists() else []
    file.unlink(missing_ok=True)
    return sorted(lines)


def touch(path: Path, text: str | None = None) -> None:
    """Make a file newer than all that is beside it, with another text perhaps.

    For some milliseconds all that is written gets one time: an edit right after a build is no newer than the build's last file.
    """
    if text is not None:
        path.write_text(text, encoding="utf-8")
    newest = max(each.stat().st_mtime_ns for each in (path.parent, *path.parent.iterdir()))
    while path.stat().st_mtime_ns <= newest:
        time.sleep(0.001)
        os.utime(path)


def copy(source: Path, destination: Path) -> Path:
    """Copy a tree with its times, to the nanosecond."""
    shutil.copytree(source, destination, symlinks=True)
    return destination
