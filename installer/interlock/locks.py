"""Kernel-held file locks, taken in one order, waited for without polling, refused rather than skipped.

The order, outermost first: build environment, source tree, environment, uv's own `<environment>/.lock`. A lock file is
never deleted, and that it exists says nothing: the kernel releases the lock when its holder ends, however it ends.
Seeds: uv #11259 (where a lock lives), #13883 (what it covers), #14404 (why failing open is a trap).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from interlock.errors import LockOrderError, LockTimeout, LockUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Rank", "environment_lock_path", "hold", "holder", "inherited", "uv_lock_path"]

WAIT_ANNOUNCED_AFTER = 1.0  # seconds
# The note starts behind byte 0, which is what Windows locks: the rest of the file stays readable for those who wait.
NOTE_OFFSET = 1
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Rank(IntEnum):
    """The place of a lock in the one order in which locks are taken."""

    BUILD_ENVIRONMENT = 1
    SOURCE_TREE = 2
    ENVIRONMENT = 3
    UV = 4


class _Held(threading.local):
    def __init__(self) -> None:
        self.locks: list[tuple[Rank, str]] = []
        self.descriptors: list[int] = []


_held = _Held()


def environment_lock_path(environment: str) -> str:
    """Return the path of an environment's lock: beside it, because it must outlive the environment."""
    parent, name = os.path.split(os.path.realpath(environment))
    return os.path.join(parent, f"{name}.interlock.lock")


def uv_lock_path(environment: str) -> str:
    """Return the path of the lock that uv takes around every change of an environment."""
    return os.path.join(environment, ".lock")


@contextlib.contextmanager
def hold(path: str, rank: Rank, *, what: str, shared: bool = False, timeout: float | None = None) -> Iterator[None]:
    """Hold a lock for the length of a `with` block.

    `what` names the locked thing for people. `timeout` is in seconds; None means INTERLOCK_LOCK_TIMEOUT, and without that
    to wait as long as it takes. On POSIX the wait is a blocking flock(2); after a second it is announced once on stderr.

    Raises:
        LockTimeout: the holder, as far as it is known, is in the message.
        LockUnavailable: no permission, read-only, or a file system without locks. The caller never goes on unlocked.
        LockOrderError: this thread holds a lock that comes later in the order.
    """
    _check_order(rank, path)
    limit = _limit(timeout)
    acquire = _windows_acquire if sys.platform == "win32" else _acquire
    release = acquire(path, what, limit, shared)
    _held.locks.append((rank, path))
    try:
        if not shared and rank is not Rank.UV:
            _write_note(path)
        yield
    finally:
        _held.locks.remove((rank, path))
        if not shared and rank is not Rank.UV:
            _clear_note(path)
        release()


def inherited() -> tuple[int, ...]:
    """Return the descriptors of the locks that this thread holds, for the `pass_fds` of a child that changes what they guard.

    The kernel lock lives as long as one process has its file open: when this process is killed, the child goes on, and so
    does the lock. `hold` unlocks in the end, whoever still has the file open. Empty on Windows, where locks are not inherited.
    """
    return tuple(_held.descriptors)


def holder(path: str) -> str:
    """Describe who holds a lock, from the note that an exclusive holder leaves in the lock file."""
    try:
        with open(path, "rb") as reader:
            reader.seek(NOTE_OFFSET)
            note = json.loads(reader.read())
        pid, command, since = int(note["pid"]), str(note["command"]), float(note["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that left no note (a reader, uv, or another tool)"
    if not _alive(pid):
        return "a process that left no note (the last one that did, has ended)"
    clock = time.strftime("%H:%M:%S", time.localtime(since))
    return f"process {pid} ({command}), since {clock}"


def _check_order(rank: Rank, path: str) -> None:
    for held_rank, held_path in _held.locks:
        if held_rank >= rank:
            raise LockOrderError(
                f"lock {path} ({rank.name.lower()}) was asked for while {held_path} ({held_rank.name.lower()}) is held",
                advice="This is a bug in interlock; please report it with the command that you ran.",
            )


def _limit(timeout: float | None) -> float | None:
    if timeout is not None:
        return timeout
    text = os.environ.get("INTERLOCK_LOCK_TIMEOUT", "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"INTERLOCK_LOCK_TIMEOUT is {text!r}", advice="Give a number of seconds, or unset it to wait for ever."
        ) from None


def _timed_out(path: str, what: str, limit: float) -> LockTimeout:
    return LockTimeout(
        f"{what} was locked for {limit:g} s by {holder(path)}\n  lock file: {path}",
        advice="Let it finish or end it, or allow a longer wait with --lock-timeout. Nothing was changed.",
    )


def _unavailable(path: str, what: str, error: OSError, shared: bool = False) -> LockUnavailable:
    advice = (
        "The lock file's directory must be writable and on a file system with working locks (flock); "
        "nothing is ever changed without the lock."
    )
    if shared and error.errno in NOT_WRITABLE:
        advice = (
            "To read what others may change, a lock file is needed that this user can read: let somebody who may write "
            "there run the same command once, which makes it (and check its mode: `ls -l`)."
        )
    return LockUnavailable(f"cannot lock {what}: {path}: {error.strerror or error}", advice=advice)


def _announce(path: str, what: str) -> None:
    sys.stderr.write(f"interlock: waiting for {what}: held by {holder(path)}\n")
    sys.stderr.flush()


# POSIX


def _acquire(path: str, what: str, limit: float | None, shared: bool) -> Callable[[], None]:
    import fcntl

    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = None if limit is None else time.monotonic() + limit
    while True:
        try:
            descriptor = _open(path, shared)
            if not _try(fcntl.flock, descriptor, operation | fcntl.LOCK_NB):
                _wait(functools.partial(fcntl.flock, descriptor, operation), descriptor, path, what, deadline, limit)
        except OSError as error:
            raise _unavailable(path, what, error, shared) from error
        # Another tool may have deleted the file while we waited (`uv venv --clear`): then this is a lock on nothing.
        if _same_file(descriptor, path):
            _held.descriptors.append(descriptor)
            return functools.partial(_release, descriptor)
        os.close(descriptor)


def _release(descriptor: int) -> None:
    """Unlock, and not merely close: a daemon that a child left behind may have the file open for long."""
    import fcntl

    _held.descriptors.remove(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _open(path: str, shared: bool) -> int:
    """Open a lock file, made where it is missing; a reader who may not write it has the same lock through a read-only one.

    Where there is none and a reader cannot make it, nothing would keep the writers out who can: that is refused too.
    """
    try:
        # As readable as the environment: who may not open the file cannot keep anybody from changing what he reads.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    except OSError as error:
        if not shared or error.errno not in NOT_WRITABLE:
            raise
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        raise


def _try(flock: Callable[[int, int], None], descriptor: int, operation: int) -> bool:
    """Take a lock if it is free; a descriptor that cannot be locked is closed."""
    try:
        flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError:
        os.close(descriptor)
        raise
    return True


def _wait(
    block: Callable[[], None], descriptor: int, path: str, what: str, deadline: float | None, limit: float | None
) -> None:
    """Block in the kernel, in a thread, so that this thread can announce, time out and be interrupted.

    Whatever is raised, the descriptor is closed, and with it goes the lock: here, or by the thread once its wait ends.
    """
    if limit is not None and limit <= 0:
        os.close(descriptor)
        raise _timed_out(path, what, limit)
    ended, guard = threading.Event(), threading.Lock()
    failures: list[OSError] = []
    abandoned = False

    def run() -> None:
        try:
            block()
        except OSError as error:
            failures.append(error)
        with guard:
            if abandoned:
                os.close(descriptor)
            ended.set()

    threading.Thread(target=run, daemon=True, name=f"lock {path}").start()
    try:
        _await(ended, path, what, deadline, limit)
    except BaseException:
        with guard:
            abandoned = not ended.is_set()
            if not abandoned:
                os.close(descriptor)
        raise
    if failures:
        os.close(descriptor)
        raise failures[0]


def _await(ended: threading.Event, path: str, what: str, deadline: float | None, limit: float | None) -> None:
    remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
    if not ended.wait(WAIT_ANNOUNCED_AFTER if remaining is None else min(WAIT_ANNOUNCED_AFTER, remaining)):
        if remaining is None or remaining > WAIT_ANNOUNCED_AFTER:
            _announce(path, what)
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            ended.wait(remaining)
        if not ended.is_set() and limit is not None:
            raise _timed_out(path, what, limit)


def _same_file(descriptor: int, path: str) -> bool:
    ours = os.fstat(descriptor)
    try:
        theirs = os.stat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


# Windows


def _windows_acquire(path: str, what: str, limit: float | None, shared: bool) -> Callable[[], None]:
    """Take filelock's lock, LockFileEx on byte 0, which is inside the range that uv locks; or share that byte."""
    first = WAIT_ANNOUNCED_AFTER if limit is None else min(WAIT_ANNOUNCED_AFTER, limit)
    attempt = _windows_shared if shared else _windows_exclusive
    try:
        release = attempt(path, first)
        if release is None and (limit is None or limit > first):
            _announce(path, what)
            release = attempt(path, None if limit is None else limit - first)
    except OSError as error:
        raise _unavailable(path, what, error) from error
    if release is None:
        raise _timed_out(path, what, limit or 0.0)
    return release


def _windows_exclusive(path: str, limit: float | None) -> Callable[[], None] | None:
    import filelock

    lock = filelock.FileLock(
        path, thread_local=False, is_singleton=False, fallback_to_soft=False, preserve_lock_file=True
    )
    try:
        lock.acquire(timeout=-1 if limit is None else limit)
    except filelock.Timeout:
        return None
    return lock.release


def _windows_shared(path: str, limit: float | None) -> Callable[[], None] | None:
    from interlock.windows_locks import acquire_shared

    descriptor = acquire_shared(path, limit)
    return None if descriptor is None else functools.partial(os.close, descriptor)


# The holder's note


def _write_note(path: str) -> None:
    # `python -m interlock` calls itself __main__.py
    command = " ".join(["interlock", *sys.argv[1:]])[:200]
    note = json.dumps({"pid": os.getpid(), "command": command, "since": time.time()}).encode()
    # A note is a courtesy to those who wait: a disk that is full must not cost anybody the lock.
    with contextlib.suppress(OSError), open(path, "r+b", buffering=0) as writer:
        writer.seek(NOTE_OFFSET)
        writer.write(note)
        writer.truncate(NOTE_OFFSET + len(note))


def _clear_note(path: str) -> None:
    with contextlib.suppress(OSError), open(path, "r+b", buffering=0) as writer:
        writer.truncate(0)


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
