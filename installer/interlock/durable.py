"""The only module that writes, renames, syncs or deletes.

Everything that changes an environment, a stamp, a prepared tree or a cache goes through one `Disk`, so that a test can
put another one in its place and see, delay, fail or count each operation. docs/explanation/commit.md has the protocol.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import stat
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interlock import platforms
from interlock.errors import DiskError
from interlock.owners import give, inherit, make_directories, says

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Disk", "Durability", "explained", "make_directories"]

Durability = Literal["full", "fast"]

# Group-writable where the umask allows it (a shared environment), world-writable never.
FILE_MODE = 0o664
EXECUTABLE_MODE = 0o775
# From so many files on, one sync of the file system costs less than one of each: 21,000 take 0.1 s rather than 2-16 s.
MANY = 200
TICK = 100_000_000
"""More nanoseconds than pass between two ticks of a file system's clock, where its times are finer than a second."""

# A time that is set after the sync is lost with the power; Windows can set it only by path, when the file is closed.
TIMES_BY_DESCRIPTOR = os.utime in os.supports_fd

_ADVICE = {
    errno.ENOSPC: "Free some space on that file system and run the build again; nothing was half-written.",
    errno.EDQUOT: "The quota is used up; free some space and run the build again; nothing was half-written.",
    errno.EROFS: "The file system is read-only; put the environment and the out directory on a writable one.",
    errno.EACCES: "Check who owns the path (`ls -ld`) and that this user may write there.",
    errno.EPERM: "Check who owns the path (`ls -ld`) and that this user may write there.",
    errno.EIO: "The device reported an error; what it says it wrote cannot be trusted.",
}
_OTHER_ADVICE = "Look at the path (`ls -ld`) and at what is mounted there (`df`), and run the build again."


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn the refusals of a file system into a DiskError that names the path; what is missing stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, _OTHER_ADVICE)
        raise DiskError(f"cannot write {path}: {error.strerror or error}", advice=advice) from error


@dataclass(slots=True)
class _Created:
    """A file that is being written; `mtime_ns` is the modification time that it is to have in the end."""

    descriptor: int
    mtime_ns: int | None = None


class Disk:
    """Mutate a file system, durably unless told that speed matters more.

    `durability` "full" syncs each file before it is renamed and each directory after; "fast" does the same operations in the
    same order without the syncs, for machines that are thrown away after the build.
    """

    def __init__(self, durability: Durability = "full", platform: platforms.Platform | None = None) -> None:
        self.durability = durability
        self.platform = platform or platforms.current()

    def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
        """Create or overwrite a file and sync it; not atomic: for files that nobody reads yet.

        Raises:
            DiskError: full, read-only, not permitted.
        """
        with explained(path), self._created(path, executable=executable) as created:
            _write_all(created.descriptor, data)
            created.mtime_ns = mtime_ns

    def write_chunks(
        self, path: str, chunks: Iterable[bytes], *, executable: bool = False, mtime_ns: int | None = None
    ) -> None:
        """Create or overwrite a file as `write` does, from its parts, one in memory at a time."""
        with explained(path), self._created(path, executable=executable) as created:
            for chunk in chunks:
                _write_all(created.descriptor, chunk)
            created.mtime_ns = mtime_ns

    def publish(self, path: str, data: bytes, *, mtime_ns: int | None = None, mode: int | None = None) -> None:
        """Replace a file in one step: readers and crashes see the old content or the new.

        The temporary name starts with a dot and has another ending, so that `site` and globs pass it over. `mode` are the
        permissions that it gets whatever the umask says: those that somebody else's file had before, for example.
        """
        with self.written_beside(path, data, mtime_ns=mtime_ns, mode=mode) as temporary:
            self.replace(temporary, path)
        self.sync_directory(os.path.dirname(path) or ".")

    @contextlib.contextmanager
    def written_beside(
        self, path: str, data: bytes, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> Iterator[str]:
        """Give a new file, in the same directory, that the block renames to a path; it is removed where that fails."""
        directory, name = os.path.split(path)
        temporary = os.path.join(directory, f".{name}.{secrets.token_hex(4)}.tmp")
        try:
            self.write(temporary, data, mtime_ns=mtime_ns)
            if mode is not None:
                with explained(path):
                    os.chmod(temporary, mode)
            yield temporary
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def publish_if_changed(self, path: str, data: bytes, *, mtime_ns: int | None = None) -> bool:
        """Publish unless the file already has this content; tell whether it was written."""
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as reader:
            if reader.read() == data:
                return False
        self.make_directory(os.path.dirname(path) or ".")
        self.publish(path, data, mtime_ns=mtime_ns)
        return True

    def set_mtime(self, path: str, mtime_ns: int) -> None:
        """Set a file's modification time, in nanoseconds."""
        with explained(path):
            os.utime(path, ns=(mtime_ns, mtime_ns))

    def replace(self, source: str, destination: str) -> None:
        """Rename, over an existing file or an empty directory too, in one step."""
        with explained(destination):
            try:
                self.platform.retry(lambda: os.replace(source, destination))
            except FileNotFoundError as error:
                if not os.path.lexists(source):
                    raise
                # The directory of the destination is what is missing, and os.replace names the source.
                raise FileNotFoundError(error.errno, error.strerror, destination) from error

    def exchange(self, one: str, other: str) -> bool:
        """Let two files or directories change places in one step; False, and nothing done, where that cannot be had here."""
        with explained(other):
            return self.platform.exchange(one, other)

    def make_directory(self, path: str, mode: int = 0o775, *, below: str = "") -> None:
        """Create a directory and its parents; it may be there already. World-writable never.

        With `below`, an ancestor of the path, nothing but what lies below that is created: FileNotFoundError where it is gone.
        """
        with explained(path):
            make_directories(path, mode, below)

    def probe(self, directory: str, *, by_trying: bool = True) -> None:
        """Make sure that entries of a directory can be changed, by creating a file and removing it.

        The caller keeps others from doing this at that moment. Unless `by_trying`, access(2) may say yes without a change:
        it knows of permissions, read-only mounts and the immutable flag, not of Landlock, AppArmor and what servers refuse.

        Raises:
            DiskError: the file system does not let this user do that.
        """
        trusted = not by_trying and os.access in os.supports_effective_ids and os.path.isdir(directory)
        if trusted and os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            return
        path = os.path.join(directory, ".interlock-probe")
        with explained(directory):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # of a process that died in between
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
            os.unlink(path)

    def remove(self, path: str) -> bool:
        """Remove a file or a symbolic link; False where there was none."""
        try:
            with explained(path):
                self.platform.retry(lambda: os.unlink(path))
        except FileNotFoundError:
            return False
        return True

    def remove_directory(self, path: str) -> bool:
        """Remove a directory if it is empty; False where it is not, or is not there."""
        try:
            self.platform.retry(lambda: os.rmdir(path))
        except OSError:
            return False
        return True

    def remove_tree(self, path: str) -> None:
        """Remove a directory and all below it, however deep; it may be missing. Symbolic links are removed, not followed."""
        if os.path.islink(path) or os.path.isfile(path):
            self.remove(path)
            return
        left, emptied = [path], set[str]()
        while left:
            directory = left[-1]
            with contextlib.suppress(FileNotFoundError), explained(directory):
                if directory not in emptied:
                    emptied.add(directory)
                    left += self._remove_files(directory)
                    continue
                self.platform.retry(functools.partial(os.rmdir, directory))
            left.pop()

    def _remove_files(self, directory: str) -> list[str]:
        """Remove what is no directory; return the directories."""
        with os.scandir(directory) as found:
            entries = list(found)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                self.remove(entry.path)
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]

    def adopt_tree(self, path: str, like: str) -> None:
        """Give what another program made below a path to the owner and the group of a directory, as `inherit` does.

        Symbolic links stay as they are: what they lead to counts, and whoever owns the directory can replace them.
        """
        if os.name != "posix" or not os.path.isdir(like) or not says(above := os.stat(like)):
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        for _, _, names, directory in os.fwalk(path, follow_symlinks=False):
            give(directory, above)
            for name in names:
                with contextlib.suppress(OSError):
                    descriptor = os.open(name, flags, dir_fd=directory)
                    try:
                        give(descriptor, above)
                    finally:
                        os.close(descriptor)

    def link(self, target: str, path: str) -> None:
        """Create a symbolic link."""
        with explained(path):
            os.symlink(target, path)

    def sync_directory(self, path: str) -> None:
        """Bring a directory's entries to stable storage (nothing where durability is "fast")."""
        if self.durability == "full":
            with explained(path):
                self.platform.sync_directory(path)

    def sync_tree(self, path: str, *, since_ns: int = 0) -> None:
        """Bring a directory and all below it to stable storage: what another program wrote, before anything vouches for it.

        With `since_ns` only what has changed since that moment of the file system's clock. Where that is much, the whole
        file system is synced in one call, if the platform has one. What goes away meanwhile (a reader's temporary bytecode)
        needs no sync.
        """
        if self.durability != "full":
            return
        files: list[str] = []
        directories: list[str] = []
        with explained(path):
            for top, _, names in os.walk(path):
                files += [file for name in names if _changed_ns(file := os.path.join(top, name)) >= since_ns]
                directories += [top] if _changed_ns(top) >= since_ns else []
            if len(files) >= MANY and self.platform.sync_file_system(path):
                return
            for file in files:
                # A file that this user may not open is one that nobody wrote on his behalf.
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    self._sync_file(file)
            for directory in reversed(directories):
                with contextlib.suppress(FileNotFoundError):
                    self.platform.sync_directory(directory)

    def clock_ns(self, directory: str) -> int:
        """Return the file system's own present moment, in nanoseconds, or one shortly before it.

        Ninja compares file times with each other, and the kernel's coarse clock lags `time.time_ns()` by milliseconds:
        so something is touched and asked. On a disk of a Linux machine that is the directory: it gets the time that a new file
        would have (utimensat(2), UTIME_NOW). Elsewhere, and where that cannot be, a file is created and removed: on sshfs a
        directory would get the client's time, and files have the server's.
        """
        self.make_directory(directory)
        if sys.platform == "linux" and (moment := _touched(directory)):
            return moment
        path = os.path.join(directory, f".interlock-clock-{secrets.token_hex(6)}")
        with explained(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                return os.fstat(descriptor).st_mtime_ns
            finally:
                os.close(descriptor)
                os.unlink(path)

    def _sync_file(self, path: str) -> None:
        # Windows flushes only what is open for writing; elsewhere that would refuse files that are read-only.
        flags = os.O_RDWR if os.name == "nt" else os.O_RDONLY
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
        try:
            self.platform.sync_file(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _created(self, path: str, *, executable: bool) -> Iterator[_Created]:
        """Open a file that is to be written; set its time, sync it and close it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        # Where others may write too, a link with a name that is known beforehand would lead to any file of this user.
        flags |= getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, EXECUTABLE_MODE if executable else FILE_MODE)
        created = _Created(descriptor)
        try:
            inherit(descriptor, os.path.dirname(path) or ".")
            yield created
            if created.mtime_ns is not None and TIMES_BY_DESCRIPTOR:
                os.utime(descriptor, ns=(created.mtime_ns, created.mtime_ns))
            if self.durability == "full":
                self.platform.sync_file(descriptor)
        finally:
            os.close(descriptor)
        if created.mtime_ns is not None and not TIMES_BY_DESCRIPTOR:
            os.utime(path, ns=(created.mtime_ns, created.mtime_ns))


def _touched(directory: str) -> int:
    """Give a directory the present time of its file system, and return that; 0 where the file system does not do that."""
    try:
        status = os.stat(directory)
        if not os.major(status.st_dev):  # no block device: a network, FUSE, layers, memory
            return 0
        before = status.st_mtime_ns
        os.utime(directory)
        moment = os.stat(directory).st_mtime_ns
    except OSError:
        return 0
    # The same tick, perhaps: a moment that is too early costs one more run, and one that is too late an edit.
    return moment if moment != before or 0 <= time.time_ns() - moment < TICK else 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _changed_ns(path: str) -> int:
    """Return when a file or a directory last changed, in nanoseconds, -1 for a symbolic link and for what is not there.

    A new link to an old file is a change of it too. On Windows the time of creation takes the place of that of the last
    change of status.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return -1
    return -1 if stat.S_ISLNK(status.st_mode) else max(status.st_ctime_ns, status.st_mtime_ns)
