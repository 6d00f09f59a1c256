"""Ninja's log: for each output the command that made it, as a hash, and when that began. Read and continued as Ninja does.

A text file, `.ninja_log`: a line for each run, the last one of an output counts (ninja, src/build_log.cc). Versions 5 (Ninja
1.8 to 1.11), 6 (1.12) and 7 (1.13) differ in the hash. Ninja has no lock on it, so lines are added, each in one write.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import DiskError
from interlock_ninja.command_hash import hash_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.durable import Disk

__all__ = ["LogEntry", "NinjaLog", "add_to", "version_of_ninja"]

KNOWN_VERSIONS = (5, 6, 7)
# Ninja's own measures for writing the log anew.
MANY_ENTRIES = 100
TOO_MANY_TIMES = 3
_SIGNATURE = re.compile(rb"# ninja log v(\d+)\n")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the log says of an output: the times are those of its edge in its build (ms) and of the file system (ns)."""

    start_ms: int
    end_ms: int
    mtime_ns: int
    command_hash: int

    @property
    def seconds(self) -> float:
        """Return how long the edge took."""
        return max(0, self.end_ms - self.start_ms) / 1000


class NinjaLog:
    """The `.ninja_log` of an out directory.

    A log of an unknown version is one that says nothing, as it is for Ninja; the first entry starts a new one.
    """

    def __init__(self, out: str, disk: Disk, *, version: Callable[[], int]) -> None:
        self.path = os.path.join(out, ".ninja_log")
        self.entries: dict[bytes, LogEntry] = {}
        self._disk = disk
        self._unfinished_line = self._replace = False
        found = self._load()
        self.version = found or version()
        self.hash_command = hash_function(self.version)

    def _load(self) -> int | None:
        try:
            with open(self.path, "rb") as reader:
                data = reader.read()
        except FileNotFoundError:
            return None
        match = _SIGNATURE.match(data)
        if match is None or int(match[1]) not in KNOWN_VERSIONS:
            self._replace = bool(data)
            return None
        lines = data[match.end() :].split(b"\n")
        self._unfinished_line = bool(lines.pop())
        for line in lines:
            fields = line.split(b"\t")
            if len(fields) == 5:
                try:
                    entry = LogEntry(int(fields[0]), int(fields[1]), int(fields[2]), int(fields[4], 16))
                except ValueError:
                    continue
                self.entries[fields[3]] = entry
        if len(lines) > MANY_ENTRIES and len(lines) > TOO_MANY_TIMES * len(self.entries):
            self._replace = True
        return int(match[1])

    def record(self, output: bytes, entry: LogEntry) -> None:
        """Add what is known of an output now.

        Raises:
            DiskError: the entry was not written, or not whole.
        """
        self.entries[output] = entry
        line = _line(output, entry)
        if self._replace:
            everything = b"".join(_line(name, each) for name, each in self.entries.items())
            self._disk.publish(self.path, self._signature() + everything)
            self._replace = self._unfinished_line = False
            return
        if self._unfinished_line:
            line = b"\n" + line
            self._unfinished_line = False
        add_to(self.path, line, new=self._signature())

    def _signature(self) -> bytes:
        return b"# ninja log v%d\n" % self.version


def _line(output: bytes, entry: LogEntry) -> bytes:
    return b"%d\t%d\t%d\t%b\t%x\n" % (entry.start_ms, entry.end_ms, entry.mtime_ns, output, entry.command_hash)


def add_to(path: str, data: bytes, *, new: bytes) -> None:
    """Add to a file in one write, as Ninja adds to its logs; `new` is what an empty or missing one begins with.

    Without a sync, as Ninja: what a loss of power takes away runs again.

    Raises:
        DiskError: not all of it could be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o664)
        try:
            if os.fstat(descriptor).st_size == 0:
                data = new + data
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error
    if written != len(data):
        raise _cannot_write(path, "no space left")


def _cannot_write(path: str, reason: str) -> DiskError:
    return DiskError(f"cannot write {path}: {reason}", advice="What is not in that file runs again the next time.")


def version_of_ninja(text: str) -> int:
    """Return the version of the log that a version of Ninja writes: "1.13.2" has 7."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    release = (int(numbers[1]), int(numbers[2])) if numbers else (1, 13)
    return 7 if release >= (1, 13) else 6 if release == (1, 12) else 5
