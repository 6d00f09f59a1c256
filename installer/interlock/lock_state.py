"""Whether a lock is free, shared or held alone at this moment: by trying, since the file alone says nothing."""

from __future__ import annotations

import os
import sys
from typing import Literal

from interlock.errors import LockUnavailable
from interlock.locks import NOT_WRITABLE

__all__ = ["State", "state"]

State = Literal["free", "shared", "exclusive"]


def state(path: str) -> State:
    """Tell whether a lock can be had at this moment; it is had for an instant, if it can.

    Raises:
        LockUnavailable: this user may not ask, or the file system has no locks.
    """
    if not os.path.exists(path):
        return "free"
    attempt = _windows_attempt if sys.platform == "win32" else _attempt
    try:
        if attempt(path, False):
            return "free"
        return "shared" if attempt(path, True) else "exclusive"
    except OSError as error:
        raise LockUnavailable(
            f"cannot see the state of the lock {path}: {error.strerror or error}",
            advice=f"`ls -l {path}` shows who may read it; `interlock doctor {os.path.dirname(path)}` tries out locks there.",
        ) from error


def _attempt(path: str, shared: bool) -> bool:
    import fcntl

    descriptor = _open(path, os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _open(path: str, flags: int) -> int:
    """Open a lock file for writing where this user may: NFS gives an exclusive lock on nothing else (flock(2))."""
    try:
        return os.open(path, os.O_RDWR | flags)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
    return os.open(path, os.O_RDONLY | flags)


def _windows_attempt(path: str, shared: bool) -> bool:
    from interlock.windows_locks import acquire

    release = acquire(path, 0.0, shared)
    if release is not None:
        release()
    return release is not None
