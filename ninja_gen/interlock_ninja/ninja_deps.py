"""Ninja's second log: for each output the inputs that its edge named in a depfile. Read and continued as Ninja does.

A binary file, `.ninja_deps`, of numbered paths and, for an output, the time of its stamp and the numbers of its inputs (ninja,
src/deps_log.h). The numbers are the order in the file: two writers at once would give one twice, at which a reader stops and
forgets the rest. So what another process has added is read before anything is.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from interlock_ninja.ninja_log import MANY_ENTRIES, TOO_MANY_TIMES, add_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.durable import Disk

__all__ = ["DepsLog"]

VERSION = 4
SIGNATURE = b"# ninjadeps\n" + struct.pack("=i", VERSION)
# Larger ones are no records for Ninja.
MAX_RECORD = (1 << 19) - 1
_IS_DEPS = 0x80000000
# Ninja's own measure, for writing the file anew, is ten times that of its other log.
MANY_RECORDS = 10 * MANY_ENTRIES


class DepsLog:
    """The `.ninja_deps` of an out directory; `deps` maps an output to the time of its stamp (ns) and its inputs."""

    def __init__(self, out: str, disk: Disk) -> None:
        self.path = os.path.join(out, ".ninja_deps")
        self.deps: dict[bytes, tuple[int, tuple[bytes, ...]]] = {}
        self._disk = disk
        self._paths: list[bytes] = []
        self._ids: dict[bytes, int] = {}
        self._records = 0
        self._state: tuple[int, ...] = ()
        self._broken = False
        self._load()

    def _load(self) -> None:
        self.deps, self._paths, self._ids, self._records = {}, [], {}, 0
        try:
            with open(self.path, "rb") as reader:
                self._state = _identity(os.fstat(reader.fileno()))
                data = reader.read()
        except FileNotFoundError:
            self._state, self._broken = (), False
            return
        whole = self._read(data) if data.startswith(SIGNATURE) else 0
        self._broken = whole != len(data)

    def _read(self, data: bytes) -> int:
        """Take in the records; return where the last good one ends."""
        at, end = len(SIGNATURE), len(data)
        while at + 4 <= end:
            (size,) = struct.unpack_from("=I", data, at)
            is_deps, size = size & _IS_DEPS, size & ~_IS_DEPS
            record = data[at + 4 : at + 4 + size]
            if size > MAX_RECORD or len(record) != size or size < 4 or size % 4:
                break
            if not (self._take_deps(record) if is_deps else self._take_path(record)):
                break
            at += 4 + size
        return at

    def _take_path(self, record: bytes) -> bool:
        path, (check,) = record[:-4], struct.unpack_from("=I", record, len(record) - 4)
        path = path[:-3] + path[-3:].rstrip(b"\0")
        if not path or check ^ 0xFFFFFFFF != len(self._paths) or path in self._ids:
            return False
        self._ids[path] = len(self._paths)
        self._paths.append(path)
        return True

    def _take_deps(self, record: bytes) -> bool:
        if len(record) < 12:
            return False
        output, low, high, *inputs = struct.unpack(f"={len(record) // 4}I", record)
        known = len(self._paths)
        if output >= known or any(number >= known for number in inputs):
            return False
        paths = self._paths
        self.deps[paths[output]] = (high << 32 | low, tuple([paths[number] for number in inputs]))
        self._records += 1
        return True

    def record(self, output: bytes, mtime_ns: int, inputs: Sequence[bytes], *, alive: Iterable[bytes]) -> None:
        """Add what an edge has read; nothing where that is known already.

        `alive` are the outputs that edges still make, for when the file is written anew.

        Raises:
            DiskError: the record was not written, or not whole.
        """
        if self._changed_meanwhile():
            self._load()
        known, entry = self.deps.get(output), (mtime_ns, tuple(inputs))
        if known == entry and not self._broken:
            return
        self.deps[output] = entry
        if self._broken or (self._records > MANY_RECORDS and self._records > TOO_MANY_TIMES * len(self.deps)):
            self._write_anew(set(alive))
        else:
            add_to(self.path, self._records_of(output), new=SIGNATURE)
            self._records += 1
        self._state = _identity(os.stat(self.path))

    def _changed_meanwhile(self) -> bool:
        try:
            return _identity(os.stat(self.path)) != self._state
        except FileNotFoundError:
            return bool(self._state)

    def _write_anew(self, alive: set[bytes]) -> None:
        self.deps = {output: entry for output, entry in self.deps.items() if output in alive}
        self._paths, self._ids = [], {}
        records = [self._records_of(output) for output in self.deps]
        self._disk.publish(self.path, SIGNATURE + b"".join(records))
        self._records, self._broken = len(records), False

    def _records_of(self, output: bytes) -> bytes:
        """Return the records of an output's inputs, and those of the paths that have no number yet."""
        mtime_ns, inputs = self.deps[output]
        records = [self._number(path) for path in (output, *inputs) if path not in self._ids]
        numbers = [self._ids[path] for path in inputs]
        body = struct.pack(
            f"={3 + len(numbers)}I", self._ids[output], mtime_ns & 0xFFFFFFFF, mtime_ns >> 32 & 0xFFFFFFFF, *numbers
        )
        if len(body) > MAX_RECORD:
            return b"".join(records)  # Ninja has no room for so many either: the edge runs each time
        return b"".join([*records, struct.pack("=I", len(body) | _IS_DEPS), body])

    def _number(self, path: bytes) -> bytes:
        number = len(self._paths)
        self._ids[path] = number
        self._paths.append(path)
        padded = path + b"\0" * (-len(path) % 4)
        return struct.pack("=I", len(padded) + 4) + padded + struct.pack("=I", number ^ 0xFFFFFFFF)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size
