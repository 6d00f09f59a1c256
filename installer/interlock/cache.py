"""Where interlock keeps what can be made again: build environments, interpreter facts, source-tree locks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from interlock.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["cache_directory"]


def cache_directory(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Return the absolute cache directory, made with mode 0700 where it is missing.

    INTERLOCK_CACHE_DIR; else XDG_CACHE_HOME/interlock, ~/Library/Caches/interlock or %LOCALAPPDATA%/interlock/Cache.

    Raises:
        DiskError: the directory cannot be made.
    """
    path = os.path.abspath(environ.get("INTERLOCK_CACHE_DIR") or _default(environ, platform))
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise DiskError(
            f"cannot make the cache directory {path}: {error.strerror}",
            advice="Set INTERLOCK_CACHE_DIR to a directory that this user may write to.",
        ) from error
    return path


def _default(environ: Mapping[str, str], platform: str) -> str:
    if platform == "win32":
        return os.path.join(environ.get("LOCALAPPDATA") or os.path.expanduser("~"), "interlock", "Cache")
    if platform == "darwin":
        return os.path.expanduser("~/Library/Caches/interlock")
    return os.path.join(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "interlock")
