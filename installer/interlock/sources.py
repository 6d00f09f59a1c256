"""The source tree of a project whose wheel is built: what can go into the wheel, and what the build itself leaves there.

Every file counts, and every directory: a new file is seen by the time of the directory that it is in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from interlock.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from interlock.durable import Disk

__all__ = ["Entry", "Settled", "look", "settle"]

Result = TypeVar("Result")

# What tools leave in a tree, wherever they do.
NOT_SOURCE = frozenset(
    {
        "__pycache__",
        "node_modules",
        *(".bzr", ".eggs", ".git", ".hg", ".hypothesis", ".interlock", ".ipynb_checkpoints", ".jj", ".mypy_cache"),
        *(".ninja_deps", ".ninja_lock", ".ninja_log", ".nox", ".pytest_cache", ".ruff_cache", ".svn", ".tox", ".venv"),
    }
)
# These are tools' at the top; below they are packages (`pip._internal.operations.build`).
NOT_SOURCE_AT_TOP = frozenset({"build", "dist"})
NOT_SOURCE_ENDINGS = (".egg-info", ".pyc", ".pyo", ".swp", "~")
# A directory that has one of these is an environment, a cache or an out directory.
MARKS = ("pyvenv.cfg", "CACHEDIR.TAG", ".ninja_log", ".ninja_deps")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory at one moment: its time (nanoseconds), size and number, and what stands for its content."""

    mtime_ns: int
    size: int
    number: int
    content: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What a tree's builds read and made (absolute paths), and when the last build of several started (0 for one)."""

    inputs: tuple[str, ...]
    made: frozenset[str]
    started_ns: int


def settle(
    build: Callable[[], Result], before: dict[str, Entry], directory: str, apart: frozenset[str], disk: Disk, clock: str
) -> tuple[Result, Settled]:
    """Build a tree, and once more if the build has made sources itself; tell what the result was made from.

    What a build makes is an input of the next one. So that it does not run again for that: what the last build wrote with
    the content that it had gets back its time, and what both builds changed is no input. An edit that is made meanwhile
    is in the result, or newer than `started_ns`. `before` is how the tree looked before the first of the backend's hooks, and
    `clock` a directory on the file system whose time counts.
    """
    result = build()
    started_ns = disk.clock_ns(clock)
    after = look(directory, apart, before)
    made = _changed(before, after)
    if not made:
        started_ns = 0
    else:
        before, result = after, build()
        after = look(directory, apart, before)
        made &= _changed(before, after)
    for path in before.keys() & after.keys():
        if before[path].content == after[path].content and before[path].mtime_ns != after[path].mtime_ns:
            _put_back(path, before[path], directory, apart, disk)
    inputs = sorted(path for path in after.keys() - made if os.path.realpath(path) not in apart)
    return result, Settled(tuple(inputs), frozenset(made), started_ns)


def look(
    directory: str, apart: frozenset[str] = frozenset(), known: Mapping[str, Entry] | None = None
) -> dict[str, Entry]:
    """Return the files and directories of a tree that can matter for a wheel of it, by path.

    `apart` are the real paths of what builds write and of the directories in which they do: nothing that is below one of
    these counts. `known` saves reading what has not changed since.
    """
    found: dict[str, Entry | None] = {}
    for top, directories, files in _walk(directory, apart):
        found[top] = _directory_entry(top, directories, files)
        for name in files:
            path = os.path.join(top, name)
            found[path] = _file_entry(path, (known or {}).get(path))
    return {path: entry for path, entry in found.items() if entry is not None}


def _walk(directory: str, apart: frozenset[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each directory with the names of directories and files in it that count; through links, each one once."""
    pending, seen = [directory], set[str]()
    while pending:
        top = pending.pop()
        real = os.path.realpath(top)
        if real in seen:
            continue
        seen.add(real)
        directories, files = [], []
        for name in sorted(filter(_counts, _names(top))):
            path = os.path.join(top, name)
            if not os.path.isdir(path):
                files += [name] if os.path.join(real, name) not in apart else []
            elif not (os.path.realpath(path) in apart or _is_marked(path) or (top == directory and _is_tool(name))):
                directories.append(name)
        pending += [os.path.join(top, name) for name in reversed(directories)]
        yield top, directories, files


def _counts(name: str) -> bool:
    return name not in NOT_SOURCE and not name.endswith(NOT_SOURCE_ENDINGS) and not name.startswith(".interlock-")


def _is_tool(name: str) -> bool:
    """Tell whether a directory at the top of a tree is none of its source."""
    return name in NOT_SOURCE_AT_TOP or name.startswith((".", "bazel-"))


def _is_marked(path: str) -> bool:
    return any(os.path.lexists(os.path.join(path, mark)) for mark in MARKS)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _directory_entry(path: str, directories: list[str], files: list[str]) -> Entry | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return Entry(status.st_mtime_ns, 0, status.st_ino, "\0".join(sorted([*directories, *files])))


def _file_entry(path: str, known: Entry | None) -> Entry | None:
    """Return what a file is now; None where it is gone, or no regular file."""
    if not os.path.isfile(path):
        return None
    try:
        status = os.stat(path)
        same = known is not None and (known.mtime_ns, known.size, known.number) == (
            status.st_mtime_ns,
            status.st_size,
            status.st_ino,
        )
        content = known.content if known is not None and same else _digest(path)
    except (FileNotFoundError, PermissionError):
        return None
    return Entry(status.st_mtime_ns, status.st_size, status.st_ino, content)


def _digest(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _changed(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> set[str]:
    gone = before.keys() - after.keys()
    return {path for path in after if path not in before or before[path].content != after[path].content} | gone


def _put_back(path: str, was: Entry, directory: str, apart: frozenset[str], disk: Disk) -> None:
    """Give a file or directory the time that it had, unless somebody has changed it since we looked."""
    # Another one's file: then it runs once more.
    with contextlib.suppress(DiskError, FileNotFoundError):
        disk.set_mtime(path, was.mtime_ns)
        now = look(directory, apart).get(path) if os.path.isdir(path) else _file_entry(path, None)
        if now is None or now.content != was.content:
            disk.set_mtime(path, time.time_ns())
