"""Whom what is new belongs to: directories are made, and new files given, as the directory says that they are in.

A part of `durable`: nobody else changes what is on a disk.
"""

from __future__ import annotations

import contextlib
import os
import stat

__all__ = ["give", "inherit", "make_directories", "says"]

# What a directory says of itself that a group shares: new entries get its group, and the group may write (mkdir(1), 2775).
SHARED = stat.S_ISGID | stat.S_IWGRP


def make_directories(path: str, mode: int, below: str = "") -> None:
    """Create a directory and those above it, each with the mode (less the umask), which os.makedirs gives the last alone.

    `below` is an ancestor of the path that must be there: FileNotFoundError where it is not.
    """
    missing = [] if os.path.isdir(path) else [path]
    above = os.path.dirname(path)
    while missing and above not in {"", missing[-1], below} and not os.path.exists(above):
        missing.append(above)
        above = os.path.dirname(above)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, mode)
        except FileExistsError:
            if not os.path.isdir(directory):
                raise
        else:
            _inherit_directory(directory)


def _inherit_directory(path: str) -> None:
    if os.name == "posix" and says(above := os.stat(os.path.dirname(path) or ".")):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            give(descriptor, above)
        finally:
            os.close(descriptor)


def inherit(descriptor: int, directory: str) -> None:
    """Give a new file or directory what the directory it is in says that it belongs to.

    Its group may write where that directory is shared by one. What root creates is its owner's: nobody who ran `sudo` once
    wants files in an environment of his that he cannot replace. Where that cannot be, it stays as it is.
    """
    if os.name == "posix" and says(above := os.stat(directory)):
        give(descriptor, above)


def give(descriptor: int, above: os.stat_result) -> None:
    """Do what `inherit` says, by descriptor: a path may lead elsewhere by now, to what is root's."""
    status, user = os.fstat(descriptor), os.geteuid()
    root, shared = user == 0 and above.st_uid != 0, above.st_mode & SHARED == SHARED
    # Not files with more than one name: uv's are those of its cache, and what a cache holds is not another user's to change.
    if status.st_uid != user or (status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)):
        return
    # Namespaces of users and some file systems refuse that in ways of their own.
    with contextlib.suppress(OSError):
        if root or status.st_gid != above.st_gid:
            os.chown(descriptor, above.st_uid if root else -1, above.st_gid)
        if shared and (mode := _shared_mode(status.st_mode)) != stat.S_IMODE(status.st_mode):
            os.chmod(descriptor, mode)


def says(above: os.stat_result) -> bool:
    """Tell whether what is new in a directory is to be another's than this process would make it."""
    return (os.geteuid() == 0 and above.st_uid != 0) or above.st_mode & SHARED == SHARED


def _shared_mode(mode: int) -> int:
    """Return a mode with the owner's rights for the group too; a directory's entries get its group."""
    return stat.S_IMODE(mode) | (mode & stat.S_IRWXU) >> 3 | (stat.S_ISGID if stat.S_ISDIR(mode) else 0)
