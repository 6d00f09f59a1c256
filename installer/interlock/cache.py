"""Where interlock keeps what can be made again: build environments, interpreter facts, source-tree locks."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from interlock.durable import make_directories
from interlock.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.durable import Disk

__all__ = ["cache_directory", "cache_path", "forget_files"]


def cache_directory(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Return the absolute cache directory, made with mode 0700 where it is missing.

    Raises:
        DiskError: the directory cannot be made, or others than this user could have put something there (POSIX).
    """
    path = cache_path(environ, platform)
    try:
        make_directories(path, 0o700)
        status = os.stat(path)
    except OSError as error:
        raise DiskError(
            f"cannot make the cache directory {path}: {error.strerror}",
            advice="Set INTERLOCK_CACHE_DIR to a directory that this user may write to.",
        ) from error
    if os.name == "posix":
        _check_private(path, status)
    return path


def cache_path(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Return where the cache directory is, or will be.

    INTERLOCK_CACHE_DIR; else XDG_CACHE_HOME/interlock, ~/Library/Caches/interlock or %LOCALAPPDATA%/interlock/Cache.
    """
    return os.path.abspath(environ.get("INTERLOCK_CACHE_DIR") or _default(environ, platform))


def forget_files(directory: str, older_than_days: float | None, disk: Disk, *, ending: str = "") -> None:
    """Delete the files in a directory of the cache, all of them or those written some days ago: each can be made again."""
    with contextlib.suppress(FileNotFoundError):
        for name in (name for name in os.listdir(directory) if name.endswith(ending)):
            path = os.path.join(directory, name)
            with contextlib.suppress(FileNotFoundError):
                if older_than_days is None or os.stat(path).st_mtime < time.time() - older_than_days * 86400:
                    disk.remove(path)


def _check_private(path: str, status: os.stat_result) -> None:
    """Refuse a directory that another user could have filled: the interpreters in it are run."""
    if status.st_uid != os.geteuid():
        raise DiskError(
            f"the cache directory {path} belongs to another user (id {status.st_uid}), whose programs would be run from it",
            advice="Set INTERLOCK_CACHE_DIR to a directory of this user.",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DiskError(
            f"the cache directory {path} can be written by others (mode {status.st_mode & 0o777:o}), whose programs would "
            "be run from it",
            advice=f"Delete what is in it, then `chmod go-w {path}`; or set INTERLOCK_CACHE_DIR to another directory.",
        )


def _default(environ: Mapping[str, str], platform: str) -> str:
    if platform == "win32":
        return os.path.join(environ.get("LOCALAPPDATA") or os.path.expanduser("~"), "interlock", "Cache")
    if platform == "darwin":
        return os.path.expanduser("~/Library/Caches/interlock")
    return os.path.join(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "interlock")
