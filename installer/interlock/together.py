"""Files that are brought to the disk together: their syncs come after all of them are written.

A journaling file system commits all that is pending with the first sync, and has little left for the others; one at a time,
each waits for a commit of its own.
"""

from __future__ import annotations

import contextlib
import copy
import os
from typing import TYPE_CHECKING

from interlock.durable import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from interlock.durable import Disk
    from interlock.platforms import Platform

__all__ = ["publish_all", "together"]

MOST = 64
"""The files that are kept open until they are synced."""


@contextlib.contextmanager
def together(disk: Disk, directory: str) -> Iterator[Disk]:
    """Give a disk whose files, below a directory, are synced by the end of the block, or before a directory is.

    Raises:
        DiskError: a file could not be brought to the disk; what has been written is not to be relied upon.
    """
    later = _Later(disk.platform)
    try:
        batch = copy.copy(disk)
        batch.platform = later
        yield batch
        with explained(directory):
            later.sync_files()
    finally:
        later.close()


def publish_all(files: Iterable[tuple[str, bytes, int | None]], *, disk: Disk) -> None:
    """Replace each file in one step, in this order: pairs of path and content, and the modification time (ns) or None.

    All of them are synced before the first is replaced, and each directory once after the last.

    Raises:
        DiskError: full, read-only, not permitted; of what was not replaced nothing is left.
    """
    files = list(files)
    if not files:
        return
    directories = dict.fromkeys(os.path.dirname(path) or "." for path, _, _ in files)
    with contextlib.ExitStack() as stack:
        with together(disk, next(iter(directories))) as batch:
            new = [stack.enter_context(batch.written_beside(path, data, mtime_ns=time)) for path, data, time in files]
        for temporary, (path, _, _) in zip(new, files, strict=True):
            disk.replace(temporary, path)
    for directory in directories:
        disk.sync_directory(directory)


class _Later:
    """A platform that puts off the syncs of files."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._descriptors: list[int] = []

    def sync_file(self, descriptor: int) -> None:
        """Keep the file open for a sync later on."""
        if len(self._descriptors) == MOST:
            self.sync_files()
        self._descriptors.append(os.dup(descriptor))

    def sync_files(self) -> None:
        """Bring the files to stable storage that have been put off."""
        for descriptor in self._descriptors:
            self._platform.sync_file(descriptor)
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def sync_directory(self, path: str) -> None:
        """Bring the files and then a directory's entries to stable storage."""
        self.sync_files()
        self._platform.sync_directory(path)

    def sync_file_system(self, path: str) -> bool:
        """Bring all of the path's file system to stable storage, if the platform can."""
        return self._platform.sync_file_system(path)

    def exchange(self, one: str, other: str) -> bool:
        """Let two paths change places."""
        return self._platform.exchange(one, other)

    def retry(self, operation: Callable[[], None]) -> None:
        """Run a rename or a removal."""
        self._platform.retry(operation)
