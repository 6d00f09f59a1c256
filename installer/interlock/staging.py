"""Staging: the files of a commit brought to the environment's own file system, before anything is exclusive.

One directory a commit, `<environment>/.interlock/staging/<pid>-<token>`: whoever holds the environment lock can tell which
of them a dead process left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import secrets
import time
from typing import TYPE_CHECKING

from interlock.environment import open_environment
from interlock.errors import DiskError
from interlock.holders import is_alive
from interlock.journal import STAGING, staging_of
from interlock.timings import span
from interlock.together import together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk
    from interlock.prepared import Prepared

__all__ = ["collect", "digest_of", "discard", "new_staging", "staged", "staged_name", "staged_root"]

DAY = 24 * 3600
OUTSIDE = ".to-"  # begins the name of a directory that stands for another than the library
_ENTRY = re.compile(r"\.?(\d+)-[0-9a-f]+")


def new_staging() -> str:
    """Return the name of a staging directory of this process, relative to the environment; nothing is created."""
    return f"{STAGING}/{os.getpid()}-{secrets.token_hex(8)}"


def staged_root(environment: str, staging: str) -> str:
    """Return the absolute path of a staging directory."""
    return os.path.join(os.path.realpath(environment), *staging.split("/"))


@contextlib.contextmanager
def staged(prepared: Prepared, environment: str, disk: Disk) -> Iterator[str]:
    """Copy prepared files into a staging directory and sync it; yield that directory, relative to the environment.

    Raises:
        NotAnEnvironment: it is gone; its directory is never made anew.
        RecordMismatch: what was prepared is damaged.
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
        discard(environment, staging, disk)


def discard(environment: str, staging: str, disk: Disk) -> None:
    """Remove a staging directory of this process, unless a journal that has to be finished needs what is there.

    After a commit that is what left the environment. It needs no lock: nobody else looks at it as long as this process lives.
    """
    if staging_of(environment) != staging:
        _discard(staged_root(environment, staging), disk)


def staged_name(path: str, library: str) -> str:
    """Return where a file is staged, relative to the staging directory, by its path in the environment.

    What goes into the library, the directory that has the dist-info, is staged right there: each directory that is made for
    it has to be synced and removed. What goes into another one is staged in one that stands for it, and so is what could be
    taken for a file of the journal's.
    """
    within = f"{library}/" if library else ""
    inside = path.removeprefix(within)
    if path.startswith(within) and not inside.startswith("."):
        return inside
    directory, name = posixpath.split(path)
    return f"{OUTSIDE}{hashlib.sha256(directory.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}/{name}"


def _fill(root: str, prepared: Prepared, environment: str, disk: Disk) -> None:
    unsynced = _above(root) if not os.path.isdir(os.path.dirname(root)) else ()
    disk.make_directory(root, below=environment)
    directories = {root}
    library = posixpath.dirname(prepared.dist_info)
    # An input of the edge that installs it, RECORD, must not be newer than the start of that edge.
    mtime_ns = os.stat(prepared.path).st_mtime_ns
    with together(disk, root) as batch:
        for file, chunks in prepared.contents():
            destination = os.path.join(root, *staged_name(file.path, library).split("/"))
            _make_parents(destination, root, directories, batch)
            batch.write_chunks(destination, chunks, executable=file.executable, mtime_ns=mtime_ns)
    for link in prepared.links:
        destination = os.path.join(root, *staged_name(link.path, library).split("/"))
        _make_parents(destination, root, directories, disk)
        disk.link(link.target, destination)
    for directory in sorted(directories, reverse=True):
        disk.sync_directory(directory)
    # A journal may not outlive what it names: the first commit makes the directories above this one too.
    for directory in (os.path.dirname(root), *unsynced):
        disk.sync_directory(directory)


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
            _discard(_renamed(path, disk), disk)


def _renamed(path: str, disk: Disk) -> str:
    """Take away the name of a directory before what is in it, and return the new one.

    Its process may live, where numbers say nothing of it (another container): half of what it staged is not to be found.
    """
    directory, name = os.path.split(path)
    if name.startswith("."):
        return path
    hidden = os.path.join(directory, f".{name}")
    try:
        disk.replace(path, hidden)
    except (OSError, DiskError):
        return path
    return hidden


def _discard(path: str, disk: Disk) -> None:
    # What cannot be removed is in nobody's way, and a later lock holder tries again.
    with contextlib.suppress(OSError, DiskError):
        disk.remove_tree(path)


def _is_old(path: str) -> bool:
    try:
        return os.lstat(path).st_mtime < time.time() - DAY
    except FileNotFoundError:
        return False
