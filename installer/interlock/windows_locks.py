"""Locks on Windows: filelock's, which is LockFileEx on byte 0 (inside the range that uv locks), or that byte shared.

filelock has no shared lock of that kind. Win32 API, "LockFileEx function": without LOCKFILE_EXCLUSIVE_LOCK a lock is shared,
and excludes exclusive ones.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["POLL_INTERVAL", "acquire"]

POLL_INTERVAL = 0.05  # seconds, as filelock waits
FAIL_IMMEDIATELY = 1
LOCK_VIOLATION = 33
IO_PENDING = 997


def acquire(path: str, limit: float | None, shared: bool) -> Callable[[], None] | None:
    """Lock a file and return what unlocks it; None where `limit` seconds were not enough.

    Raises:
        OSError: the file cannot be opened or locked at all.
    """
    if shared:
        descriptor = _acquire_shared(path, limit)
        return None if descriptor is None else functools.partial(os.close, descriptor)
    import filelock

    lock = filelock.FileLock(
        path, thread_local=False, is_singleton=False, fallback_to_soft=False, preserve_lock_file=True
    )
    try:
        lock.acquire(timeout=-1 if limit is None else limit)
    except filelock.Timeout:
        return None
    return lock.release


def _acquire_shared(path: str, limit: float | None) -> int | None:
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0), 0o660
    )
    deadline = None if limit is None else time.monotonic() + limit
    try:
        while not _try_shared(descriptor):
            if deadline is not None and time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(POLL_INTERVAL)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_size_t),
            ("internal_high", ctypes.c_size_t),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.LockFileEx.argtypes = (
        *(wintypes.HANDLE, wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, wintypes.DWORD),
        ctypes.POINTER(_Overlapped),
    )
    _kernel32.LockFileEx.restype = wintypes.BOOL

    def _try_shared(descriptor: int) -> bool:
        handle = msvcrt.get_osfhandle(descriptor)
        if _kernel32.LockFileEx(handle, FAIL_IMMEDIATELY, 0, 1, 0, ctypes.byref(_Overlapped())):
            return True
        code = ctypes.get_last_error()
        if code in {LOCK_VIOLATION, IO_PENDING}:
            return False
        raise ctypes.WinError(code)

else:
    # The same contract on flock, so that the loop above can be tested where there is no Windows.
    import fcntl

    def _try_shared(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
