"""A stand-in for the module `os` in `interlock.durable` and `interlock.platforms`, that sees and can fail every mutation.

Operations pass to the real `os`; each is an `Event` at the level of system calls. `installed` puts it in place:

    recorder = Recorder()
    with installed(recorder):
        commit(...)
    recorder.events

A `Fault` comes at the n-th mutation of a process instead: an errno, or SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from interlock import durable, owners, platforms, together

# What changes a file system and has no method below: to be added before the product may use it.
UNKNOWN = frozenset(
    (
        *("copy_file_range", "fdopen", "ftruncate", "lchmod", "link", "makedirs", "mkfifo", "mknod", "posix_fallocate"),
        *("pwrite", "pwritev", "removedirs", "removexattr", "renames", "sendfile", "setxattr", "splice", "sync"),
        *("truncate", "writev"),
    )
)


@dataclass(frozen=True, slots=True)
class Event:
    """One system call that succeeded.

    `kind` is one of open, create, write, sync, rename, exchange, unlink, mkdir, rmdir, symlink, attributes and sync-all; paths
    are absolute, symbolic links in their parents resolved. `handle` numbers the opened file that a write or a sync is about.
    """

    kind: str
    path: str = ""
    other: str = ""
    data: bytes = b""
    mode: int = 0
    handle: int = 0


@dataclass(slots=True)
class Recorder:
    """Keeps the events."""

    events: list[Event] = field(default_factory=list)

    def before(self, kind: str, path: str) -> int:
        """Be told of a mutation that is about to happen; return 0 to let it pass."""
        return 0

    def after(self, event: Event) -> None:
        self.events.append(event)


@dataclass(slots=True)
class Fault(Recorder):
    """Counts mutations and fails the one with the number `at` (from 1) with an errno; 0 is SIGKILL before it happens."""

    at: int = 0
    errno: int = 0
    count: int = 0
    hit: str = ""

    def before(self, kind: str, path: str) -> int:
        self.count += 1
        if self.count != self.at:
            return 0
        self.hit = f"{kind} {path}"
        if self.errno == 0 and kind != "write":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.errno or -1

    def after(self, event: Event) -> None:
        """Keep nothing."""


class RecordedOs:
    """The module `os`, with the mutations passed through a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._opened: dict[int, tuple[str, int]] = {}
        self._handles = 0

    def __getattr__(self, name: str) -> Any:
        assert name not in UNKNOWN, f"os.{name} mutates, and the recorder does not know it"
        return getattr(os, name)

    def _do(
        self, kind: str, path: str, call: Callable[[], Any], other: str = "", data: bytes = b"", handle: int = 0
    ) -> Any:
        path, other = _place(path), _place(other)
        number = self._recorder.before(kind, other or path)
        if number:
            raise OSError(number, os.strerror(number), other or path)
        result = call()
        mode = stat.S_IMODE(os.lstat(path).st_mode) if kind in {"mkdir", "attributes"} else 0
        self._recorder.after(Event(kind, path, other, data, mode, handle))
        return result

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        place, new = _place(path), bool(flags & os.O_CREAT) and not os.path.lexists(path)
        writes = bool(flags & (os.O_CREAT | os.O_TRUNC))
        number = self._recorder.before("create", place) if writes else 0
        if number:
            raise OSError(number, os.strerror(number), place)
        descriptor = os.open(path, flags, mode)
        self._handles += 1
        self._opened[descriptor] = (place, self._handles)
        actual = os.fstat(descriptor).st_mode & 0o777
        self._recorder.after(Event("create" if new else "open", place, mode=actual, handle=self._handles))
        if flags & os.O_TRUNC and not new:
            self._recorder.after(Event("truncate", place, handle=self._handles))
        return descriptor

    def dup(self, descriptor: int) -> int:
        other = os.dup(descriptor)
        self._opened[other] = self._opened[descriptor]
        return other

    def close(self, descriptor: int) -> None:
        self._opened.pop(descriptor, None)
        os.close(descriptor)

    def write(self, descriptor: int, data: bytes) -> int:
        path, handle = self._opened[descriptor]
        number = self._recorder.before("write", path)
        if number:
            os.write(descriptor, bytes(data)[: len(data) // 2])  # what a disk that is full, or a death, leaves
            if number < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(number, os.strerror(number), path)
        written = os.write(descriptor, data)
        self._recorder.after(Event("write", path, data=bytes(data)[:written], handle=handle))
        return written

    def fsync(self, descriptor: int) -> None:
        path, handle = self._opened[descriptor]
        self._do("sync", path, lambda: os.fsync(descriptor), handle=handle)

    def replace(self, source: str, destination: str) -> None:
        self._do("rename", source, lambda: os.replace(source, destination), destination)

    rename = replace

    def unlink(self, path: str) -> None:
        self._do("unlink", path, lambda: os.unlink(path))

    remove = unlink

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._do("mkdir", path, lambda: os.mkdir(path, mode))

    def rmdir(self, path: str) -> None:
        self._do("rmdir", path, lambda: os.rmdir(path))

    def symlink(self, target: str, path: str) -> None:
        self._do("symlink", path, lambda: os.symlink(target, path), data=os.fsencode(target))

    def chmod(self, path: str | int, mode: int) -> None:
        self._attributes(path, lambda: os.chmod(path, mode))

    def fchmod(self, descriptor: int, mode: int) -> None:
        self._attributes(descriptor, lambda: os.fchmod(descriptor, mode))

    def utime(self, path: str | int, *, ns: tuple[int, int] | None = None) -> None:
        self._attributes(path, (lambda: os.utime(path, ns=ns)) if ns else (lambda: os.utime(path)))

    def chown(self, path: str | int, user: int, group: int) -> None:
        self._attributes(path, lambda: os.chown(path, user, group))

    def fchown(self, descriptor: int, user: int, group: int) -> None:
        self._attributes(descriptor, lambda: os.fchown(descriptor, user, group))

    def lchown(self, path: str, user: int, group: int) -> None:
        self._attributes(path, lambda: os.lchown(path, user, group))

    def _attributes(self, path: str | int, call: Callable[[], None]) -> None:
        self._do("attributes", self._opened[path][0] if isinstance(path, int) else path, call)


@contextlib.contextmanager
def installed(recorder: Recorder) -> Iterator[Recorder]:
    """Put a recorder between `interlock` and the operating system, in this process."""
    stand_in = RecordedOs(recorder)
    exchange, sync_all = platforms.Posix.exchange, platforms.Posix.sync_file_system

    def recorded_exchange(self: platforms.Posix, one: str, other: str) -> bool:
        number = recorder.before("exchange", other)
        if number:
            raise OSError(number, os.strerror(number), other)
        if done := exchange(self, one, other):
            recorder.after(Event("exchange", _place(one), _place(other)))
        return done

    def recorded_sync_all(self: platforms.Posix, path: str) -> bool:
        number = recorder.before("sync-all", path)
        if number:
            raise OSError(number, os.strerror(number), path)
        if done := sync_all(self, path):
            recorder.after(Event("sync-all", path))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "os", stand_in)
        patch.setattr(owners, "os", stand_in)
        patch.setattr(platforms, "os", stand_in)
        patch.setattr(together, "os", stand_in)
        patch.setattr(platforms.Posix, "exchange", recorded_exchange)
        patch.setattr(platforms.Posix, "sync_file_system", recorded_sync_all)
        yield recorder


def _place(path: str) -> str:
    """Return a path whose parents are no symbolic links."""
    if not path:
        return ""
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(parent), name)
