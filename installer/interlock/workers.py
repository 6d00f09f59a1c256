"""The workers of this user: which there are, what they do, and how they are told to end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from interlock.client import connect, directory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WorkerStatus", "stop_workers", "workers"]

ANSWERS_WITHIN = 5.0
"""The seconds after which a worker that says nothing is taken for none: it starts, or somebody has stopped its process."""

ENDS_WITHIN = 5.0
"""The seconds in which a worker without jobs ends."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker at one moment; `seconds` since its start, `memory` in bytes of all its processes, what they share once."""

    pid: int
    runs: str
    python: str
    running: int
    waiting: int
    processes: int
    served: int
    seconds: float
    memory: int
    refuses: str
    socket: str

    def __str__(self) -> str:
        doing = f"{self.running} running, {self.waiting} waiting, {self.served} done"
        size = f"{self.processes} process{'es' * (self.processes > 1)}, {self.memory / 1e6:.0f} MB"
        lines = [f"{self.runs:<26}pid {self.pid}: {doing}; {size}; {self.seconds:.0f} s", f"{'':<26}{self.python}"]
        if self.refuses:
            lines.append(f"{'':<26}runs nothing: {self.refuses}")
        return "\n".join(lines)


def workers() -> list[WorkerStatus]:
    """Return the workers that answer, by what they run. Sockets that nobody listens at any more are passed over."""
    return sorted(_asked(b"status"), key=lambda one: (one.runs, one.pid))


def stop_workers() -> list[WorkerStatus]:
    """Tell all workers to end, and wait for those that have nothing to do; return them, as they were.

    Nobody finds them any more. What they run is finished first.
    """
    stopped = sorted(_asked(b"stop"), key=lambda one: (one.runs, one.pid))
    for worker in stopped:
        if not worker.running and not worker.waiting:
            _wait_for(worker.pid)
    return stopped


def _asked(request: bytes) -> Iterator[WorkerStatus]:
    if sys.platform != "linux":
        return
    where = directory(os.environb)
    if where is None:
        return
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(where)):
            if name.endswith(b".sock"):
                status = _ask(where + b"/" + name, request)
                if status is not None:
                    yield status


def _ask(path: bytes, request: bytes) -> WorkerStatus | None:
    connection = connect(path)
    if connection is None:
        return None
    received = b""
    try:
        connection.settimeout(ANSWERS_WITHIN)
        data = request + b"\0"
        connection.sendall(b"%08x" % len(data) + data)
        while not received.endswith(b"\n"):
            part = connection.recv(1 << 16)
            if not part:
                return None
            received += part
        answer = json.loads(received)
    except (OSError, ValueError):
        return None
    finally:
        connection.close()
    known = {field.name: answer.get(field.name) for field in fields(WorkerStatus)}
    return WorkerStatus(**{**known, "socket": os.fsdecode(path)})


def _wait_for(pid: int) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()  # select(2) takes no large descriptors
            poll.register(descriptor, select.POLLIN)
            poll.poll(ENDS_WITHIN * 1000)
        finally:
            os.close(descriptor)
