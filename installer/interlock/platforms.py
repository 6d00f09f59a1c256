"""What differs between Linux, macOS and Windows when bytes have to reach the disk.

One small interface, three implementations; `durable` asks `current()` and tests inject any of them.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING, Protocol

from interlock.timings import timed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Macos", "Platform", "Posix", "Windows", "current"]

# Access denied, sharing violation, lock violation: what an antivirus, an indexer or a reader causes for an instant.
TRANSIENT_WINERRORS = frozenset({5, 32, 33})
RETRY_DELAYS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
F_FULLFSYNC = 51
AT_FDCWD = -100
RENAME_EXCHANGE = 2  # <linux/fs.h>
RENAME_SWAP = 2  # <sys/stdio.h> of Darwin


class Platform(Protocol):
    """The operations that differ by operating system."""

    def sync_file(self, descriptor: int) -> None:
        """Bring the file's content to stable storage."""

    def sync_directory(self, path: str) -> None:
        """Bring the directory's entries to stable storage."""

    def sync_file_system(self, path: str) -> bool:
        """Bring all of the path's file system to stable storage in one call; False where there is no such call."""

    def exchange(self, one: str, other: str) -> bool:
        """Let two paths change places in one step; False where the platform or the file system cannot."""

    def retry(self, operation: Callable[[], None]) -> None:
        """Run a rename or a removal, again where the platform refuses it for an instant."""


class Posix:
    """Linux and the BSDs: fsync on files and on directories."""

    def sync_file(self, descriptor: int) -> None:
        """Bring the file's content to stable storage with fsync(2)."""
        os.fsync(descriptor)

    def sync_directory(self, path: str) -> None:
        """Bring the directory's entries to stable storage with fsync(2)."""
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            self.sync_file(descriptor)
        except OSError as error:
            # Some network file systems know no directory sync and say so with EINVAL.
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise
        finally:
            os.close(descriptor)

    def sync_file_system(self, path: str) -> bool:
        """Bring the path's file system to stable storage with syncfs(2) of Linux, which waits and tells of errors."""
        if sys.platform != "linux":
            return False
        import ctypes

        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(descriptor)
        return True

    def exchange(self, one: str, other: str) -> bool:
        """Let two paths change places with renameat2(2) and RENAME_EXCHANGE, which Linux has and the BSDs have not."""
        if sys.platform != "linux":
            return False
        return _swap("renameat2", (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE))

    def retry(self, operation: Callable[[], None]) -> None:
        """Run the operation once: POSIX renames over open files."""
        operation()


class Macos(Posix):
    """macOS: fsync leaves data in the drive's cache, F_FULLFSYNC does not (fsync(2) of Darwin)."""

    def __init__(self, full_sync: Callable[[int, int], int] | None = None) -> None:
        self._full_sync = full_sync

    def sync_file(self, descriptor: int) -> None:
        """Bring the file's content through the drive's cache; plain fsync where the file system cannot."""
        full_sync = self._full_sync
        if full_sync is None:
            import fcntl

            full_sync = fcntl.fcntl
        try:
            full_sync(descriptor, F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)

    def exchange(self, one: str, other: str) -> bool:
        """Let two paths change places with renamex_np(2) and RENAME_SWAP (APFS)."""
        return _swap("renamex_np", (os.fsencode(one), os.fsencode(other), RENAME_SWAP))


class Windows:
    """Windows: no directory sync, and open files make renames and removals fail for an instant."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def sync_file(self, descriptor: int) -> None:
        """Bring the file's content to stable storage (FlushFileBuffers)."""
        os.fsync(descriptor)

    def sync_directory(self, path: str) -> None:
        """Do nothing: Windows has no way to sync a directory, NTFS journals its metadata."""

    def sync_file_system(self, path: str) -> bool:
        """Say no: a volume can be flushed by administrators only."""
        del path
        return False

    def exchange(self, one: str, other: str) -> bool:
        """Say no: Windows has no such call."""
        del one, other
        return False

    def retry(self, operation: Callable[[], None]) -> None:
        """Run the operation, at most nine times in about 2.6 s, on winerror 5, 32 and 33."""
        for delay in RETRY_DELAYS:
            try:
                return operation()
            except OSError as error:
                if getattr(error, "winerror", None) not in TRANSIENT_WINERRORS:
                    raise
                self._sleep(delay)
        return operation()


def _swap(function: str, arguments: tuple[int | bytes, ...]) -> bool:
    """Call a function of the C library that exchanges two paths; False where there is none, or it is refused.

    Kernels, file systems, overlays and sandboxes refuse it in many ways; who has another way finds out there what is wrong.
    """
    try:
        import ctypes

        call = getattr(ctypes.CDLL(None, use_errno=True), function)
    except (ImportError, OSError, AttributeError):
        return False
    if call(*arguments) == 0:
        return True
    if (number := ctypes.get_errno()) == errno.ENOENT:
        raise FileNotFoundError(
            number, os.strerror(number), next(os.fsdecode(one) for one in arguments if isinstance(one, bytes))
        )
    return False


def current(name: str = sys.platform) -> Platform:
    """Return the platform that this process runs on."""
    if name == "win32":
        return timed(Windows())
    return timed(Macos() if name == "darwin" else Posix())
