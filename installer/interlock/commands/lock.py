"""Show who holds the locks of an environment, and who waits for them.

Asks the kernel, by trying each lock for an instant: a lock file that is there says nothing. Who waits is known on Linux only.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from interlock.holders import Holder, holders, waiting
from interlock.lock_state import State, state
from interlock.locks import environment_lock_path, gate_path, uv_lock_path

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class _Lock:
    """One lock of an environment as it is at this moment; `holders` may be empty where nobody is known."""

    lock: str
    path: str
    state: State
    holders: tuple[Holder, ...]
    waiting: tuple[int, ...]

    def __str__(self) -> str:
        lines = [f"{self.lock:<12}{self.state:<11}{self.path}"]
        lines += [f"{'':<12}held by {holder}" for holder in self.holders]
        if self.state != "free" and not self.holders:
            lines.append(f"{'':<12}held by a process that left no note")
        lines += [f"{'':<12}process {pid} waits" for pid in self.waiting]
        return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock lock status`."""
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print a lock a paragraph, or the JSON."""
    environment = os.path.realpath(arguments.venv)
    locks = [
        _look("environment", environment_lock_path(environment), gate_path(environment)),
        _look("uv", uv_lock_path(environment)),
    ]
    if arguments.format == "json":
        print(json.dumps([asdict(lock) for lock in locks], indent=1))
    else:
        print("\n".join(map(str, locks)))
    return 0


def _look(name: str, path: str, gate: str = "") -> _Lock:
    found = state(path)
    waits = waiting(path)
    if gate:
        # The one that holds the gate may be among those that wait for the lock itself.
        waits += [pid for pid in [*(holder.pid for holder in holders(gate)), *waiting(gate)] if pid not in waits]
    return _Lock(name, path, found, tuple(holders(path)) if found != "free" else (), tuple(waits))
