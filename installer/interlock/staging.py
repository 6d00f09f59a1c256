"""Staging: the files of a commit brought to the environment's own file system, before anything is exclusive.

One directory a commit, `<environment>/.interlock/staging/<pid>-<token>`: whoever holds the environment lock can tell which
of them a dead process left.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from typing import TYPE_CHECKING

from interlock.environment import open_environment
from interlock.errors import DiskError, RecordMismatch
from interlock.holders import is_alive
from interlock.journal import STAGING, staging_of
from interlock.timings import span
from interlock.together import together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk
    from interlock.prepared import File, Prepared

__all__ = ["collect", "digest_of", "new_staging", "staged", "staged_root"]

DAY = 24 * 3600
_ENTRY = re.compile(r"\.?(\d+)-[0-9a-f]+")


def new_staging() -> str:
    """Return the name of a staging directory of this process, relative to the environment; nothing is created."""
    return f"{STAGING}/{os.getpid()}-{secrets.token_hex(8)}"


def staged_root(environment: str, staging: str) -> str:
    """Return the absolute path of a staging directory."""
    return os.path.join(os.path.realpath(environment), *staging.split("/"))


@contextlib.contextmanager
def staged(prepared: Prepared, environment: str, disk: Disk) -> Iterator[str]:
    """Copy a prepared tree into a staging directory and sync it; yield that directory, relative to the environment.

    Raises:
        NotAnEnvironment: it is gone; its directory is never made anew.
        RecordMismatch: the prepared tree is damaged.
    """
    staging = new_staging()
    root = staged_root(environment, staging)
    try:
        with span("stage", prepared.normalized):
            try:
                _fill(root, prepared, os.path.realpath(environment), disk)
            except FileNotFoundError:
                open_environment(environment)  # says it, if that is what is missing
                raise
        yield staging
    finally:
        # After a commit nothing is left here; a journal that has to be finished needs what there is.
        if staging_of(environment) != staging:
            _discard(root, disk)


def _fill(root: str, prepared: Prepared, environment: str, disk: Disk) -> None:
    unsynced = _above(root) if not os.path.isdir(os.path.dirname(root)) else ()
    disk.make_directory(root, below=environment)
    directories = {root}
    with together(disk, root) as batch:
        for file in prepared.files:
            _copy(file, prepared, root, directories, batch)
    for link in prepared.links:
        destination = os.path.join(root, *link.path.split("/"))
        _make_parents(destination, root, directories, disk)
        disk.link(link.target, destination)
    for directory in sorted(directories, reverse=True):
        disk.sync_directory(directory)
    # A journal may not outlive what it names: the first commit makes the directories above this one too.
    for directory in (os.path.dirname(root), *unsynced):
        disk.sync_directory(directory)


def _copy(file: File, prepared: Prepared, root: str, directories: set[str], disk: Disk) -> None:
    destination = os.path.join(root, *file.path.split("/"))
    _make_parents(destination, root, directories, disk)
    disk.copy(prepared.path_of(file), destination, executable=file.executable)
    digest = digest_of(destination)
    if not digest:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), destination)
    if digest != file.sha256:
        raise RecordMismatch(
            f"{prepared.path_of(file)} is not what its manifest says",
            advice=f"Remove {prepared.directory} and run the build again. Nothing was changed.",
        )


def _make_parents(path: str, root: str, directories: set[str], disk: Disk) -> None:
    if (parent := os.path.dirname(path)) not in directories:
        # Below what was made above: an environment that was put in the place of this one gets no half of it.
        disk.make_directory(parent, below=root)
        while parent not in directories:
            directories.add(parent)
            parent = os.path.dirname(parent)


def _above(root: str) -> tuple[str, str]:
    state = os.path.dirname(os.path.dirname(root))
    return state, os.path.dirname(state)


def digest_of(path: str) -> str:
    """Return the SHA-256 (hex) of a file; "" where there is none."""
    try:
        with open(path, "rb") as reader:
            return hashlib.file_digest(reader, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def collect(directory: str, *, disk: Disk, by_process: bool = True) -> None:
    """Remove what dead processes left in a directory of `<pid>-<token>` entries.

    An entry that is older than a day is nobody's any more: its number may be another process's by now, and on Windows, or
    without `by_process` (other hosts work there too), age is all that tells. In an environment, whoever still needs one stages
    again under the lock.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(directory, name)
        match = _ENTRY.match(name)
        if match and ((by_process and not is_alive(int(match[1]))) or _is_old(path)):
            _discard(path, disk)


def _discard(path: str, disk: Disk) -> None:
    # What cannot be removed is in nobody's way, and a later lock holder tries again.
    with contextlib.suppress(OSError, DiskError):
        disk.remove_tree(path)


def _is_old(path: str) -> bool:
    try:
        return os.lstat(path).st_mtime < time.time() - DAY
    except FileNotFoundError:
        return False
