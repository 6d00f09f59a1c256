"""A shared lock on Windows, which filelock does not have: LockFileEx on byte 0, the byte that filelock locks exclusively.

Win32 API, "LockFileEx function": without LOCKFILE_EXCLUSIVE_LOCK a lock is shared, and excludes exclusive ones.
"""

from __future__ import annotations

import os
import sys
import time

__all__ = ["POLL_INTERVAL", "acquire_shared"]

POLL_INTERVAL = 0.05  # seconds, as filelock waits
FAIL_IMMEDIATELY = 1
LOCK_VIOLATION = 33
IO_PENDING = 997


def acquire_shared(path: str, limit: float | None) -> int | None:
    """Return a descriptor whose file is locked, shared, until it is closed; None where `limit` seconds were not enough.

    Raises:
        OSError: the file cannot be opened or locked at all.
    """
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
