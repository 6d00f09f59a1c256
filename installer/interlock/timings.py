"""Where an edge's time goes: one JSON line for each span, appended to the file that INTERLOCK_TIMINGS names.

    {"span": "lock held", "subject": "core", "seconds": 0.0031, "start_ns": 81231, "pid": 4711, "edge": "a/install.stamp"}

`start_ns` is of the monotonic clock, which all processes of a machine share; `edge` is the stamp that the process was asked
for, as Ninja names it. Nothing is measured unless the variable is set. Many processes append to one file, each with one
write(2): writes to a file that is opened with O_APPEND do not interleave. Spans inside of another one are written with it:
nobody waits for that file, which all of them write to, while a lock is held.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.platforms import Platform

__all__ = ["VARIABLE", "record", "span", "timed"]

VARIABLE = "INTERLOCK_TIMINGS"


class _Inside(threading.local):
    """The spans that have ended inside of one that has not."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.depth = 0
        self.ended: list[dict[str, object]] = []


_inside = _Inside()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_inside.forget)


@contextlib.contextmanager
def span(name: str, subject: str = "") -> Iterator[None]:
    """Measure the `with` block; `name` is what the time went to ("lock wait", "commit"), `subject` which project."""
    if not os.environ.get(VARIABLE):
        yield
        return
    started_ns = time.monotonic_ns()
    _inside.depth += 1
    try:
        yield
    finally:
        _inside.depth -= 1
        record(name, started_ns, subject)


def record(name: str, started_ns: int, subject: str = "") -> None:
    """Write down a span that ends now, and began at a moment of the monotonic clock, perhaps in another process."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    ended_ns = time.monotonic_ns()
    line = {
        "span": name,
        "subject": subject,
        "seconds": (ended_ns - started_ns) / 1e9,
        "start_ns": started_ns,
        "pid": os.getpid(),
        "edge": _edge(),
    }
    _inside.ended.append(line)
    if _inside.depth == 0:
        import json

        lines, _inside.ended = _inside.ended, []
        with open(path, "ab", buffering=0) as writer:
            writer.write(b"".join(json.dumps(one).encode() + b"\n" for one in lines))


def timed(platform: Platform) -> Platform:
    """Return a platform whose syncs are spans, if anything is measured; else the platform itself."""
    return _Timed(platform) if os.environ.get(VARIABLE) else platform


class _Timed:
    """A platform each of whose syncs is a span."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def sync_file(self, descriptor: int) -> None:
        with span("fsync"):
            self._platform.sync_file(descriptor)

    def sync_directory(self, path: str) -> None:
        with span("fsync", "directory"):
            self._platform.sync_directory(path)

    def sync_file_system(self, path: str) -> bool:
        with span("fsync", "file system"):
            return self._platform.sync_file_system(path)

    def exchange(self, one: str, other: str) -> bool:
        return self._platform.exchange(one, other)

    def retry(self, operation: Callable[[], None]) -> None:
        self._platform.retry(operation)


def _edge() -> str:
    """Return the stamp that this process was asked for, "" where it was asked for none."""
    return next((word for before, word in zip(sys.argv, sys.argv[1:], strict=False) if before == "--stamp"), "")
