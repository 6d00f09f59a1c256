"""Edges as Ninja starts them, with workers of their own: real processes in a runtime directory that nobody else uses."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interlock_ninja.generate import edge_command

__all__ = [
    "EDGE",
    "PATIENCE",
    "Runtime",
    "children",
    "is_alive",
    "main_workers",
    "runtime_in_tmp",
    "wait_for",
    "workers_of",
]

EDGE = tuple(edge_command())
PATIENCE = 120.0

# The command line, with patience for a worker that is not scheduled for seconds: a busy machine is no worker that is missing.
PATIENT = f"""\
import sys
from interlock import cli, workers
workers.ANSWERS_WITHIN = workers.ENDS_WITHIN = {PATIENCE}
sys.exit(cli.main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A directory of sockets, and the environment variables of who uses it."""

    directory: Path
    more: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """What starts each edge: `nice`, a shell."""

    def environ(self, **more: str) -> dict[str, str]:
        # Longer than any test: one that ends, with what it has counted, is a test's own wish.
        own = {"XDG_RUNTIME_DIR": str(self.directory), "INTERLOCK_WORKER": "1", "INTERLOCK_WORKER_IDLE": "600"}
        environ = {**os.environ, **own, **self.more, **more}
        for name in {"PYTEST_CURRENT_TEST", "PYTHONUNBUFFERED"} - set(more):
            environ.pop(name, None)
        return environ

    def edge(self, *words: str | Path, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run an edge to its end."""
        return subprocess.run(
            [*self.prefix, *EDGE, *map(str, words)],
            cwd=cwd,
            env=self.environ(**environ),
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *words: str | Path, cwd: Path | None = None, **environ: str) -> str:
        result = self.edge(*words, cwd=cwd, **environ)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def interlock(self, *words: str | Path, **environ: str) -> str:
        """Run the command `interlock`, which must succeed."""
        module = ("-c", PATIENT) if words[0] == "worker" else ("-m", "interlock")
        command = [sys.executable, "-P", *module, *map(str, words)]
        return subprocess.check_output(command, env=self.environ(**environ), text=True)

    def workers(self) -> list[dict[str, Any]]:
        """Return what `interlock worker status` says."""
        found: list[dict[str, Any]] = json.loads(self.interlock("worker", "status", "--format", "json"))
        return found

    def worker(self, runs: str) -> dict[str, Any]:
        """Return the only worker that runs something."""
        (found,) = [worker for worker in self.workers() if worker["runs"] == runs]
        return found

    def served(self) -> dict[str, int]:
        """Return how many jobs have been done, by what runs them."""
        found: dict[str, int] = {}
        for worker in self.workers():
            found[worker["runs"]] = found.get(worker["runs"], 0) + worker["served"]
        return found


@contextlib.contextmanager
def runtime_in_tmp(**more: str) -> Iterator[Runtime]:
    """Give a runtime directory, with a short path as sockets need it, and leave no worker behind."""
    directory = Path(tempfile.mkdtemp(prefix="il-", dir="/tmp"))
    runtime = Runtime(directory, more)
    try:
        yield runtime
        runtime.interlock("worker", "stop")
    finally:
        for pid in workers_of(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: is_removed(directory))


def is_removed(directory: Path) -> bool:
    """Remove a directory; what is killed may still be about to remove a file of it, or to make one."""
    with contextlib.suppress(OSError):
        shutil.rmtree(directory)
    return not directory.exists()


def workers_of(directory: Path) -> list[int]:
    """Return the processes that were started to listen in a directory, and those that they forked."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path("/proc", name, "cmdline").read_bytes()
            if os.fsencode(directory) + b"/" in command and b"_worker_script.py" in command:
                found.append(int(name))
    return found


def main_workers(directory: Path) -> list[int]:
    """Return the workers of a directory without what they have forked.

    Each process is asked for its parent: the kernel's list of children may leave out some while others end (proc(5)).
    """
    parents = {pid: parent_of(pid) for pid in workers_of(directory)}
    return [pid for pid, parent in parents.items() if parent and parent not in parents]


def parent_of(pid: int) -> int:
    """Return the parent of a process, 0 where it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is so; fail when it does not come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)
