"""Kernel-held file locks, taken in one order, waited for without polling, refused rather than skipped.

The order, outermost first: build environment, source tree, environment, uv's own `<environment>/.lock`. A lock file is
never deleted, and that it exists says nothing: the kernel releases the lock when its holder ends, however it ends.
Seeds: uv #11259 (where a lock lives), #13883 (what it covers), #14404 (why failing open is a trap).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from interlock.errors import LockOrderError, LockTimeout, LockUnavailable, UsageError
from interlock.holders import clear_note, describe_holders, write_note
from interlock.owners import inherit
from interlock.timings import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Rank", "environment_lock_path", "gate_path", "hold", "inherited", "uv_lock_path"]

WAIT_ANNOUNCED_AFTER = 1.0  # seconds
# So long is waited at the gate for one's turn (seconds): who comes first may have been stopped, or wait for a lock that the
# parent of this process holds.
GATE_PATIENCE = 10.0
SUFFIX = ".interlock.lock"
# The lock files that a parent of this process holds, shared, for as long as this runs; `interlock run --locked` says it.
HELD_ABOVE = "INTERLOCK_HELD"
# Never through a link: in somebody else's directory it would lead root to any file.
NEW = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
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


@dataclass(slots=True)
class _Wait:
    """A wait for one lock: for whom, and until when (time.monotonic); None is as long as it takes."""

    path: str
    what: str
    limit: float | None
    deadline: float | None
    announced: bool = False
    gate: str = ""  # while it is there that this waits

    def holders(self) -> str:
        """Say who is in the way."""
        return describe_holders(self.path, self.gate)

    def remaining(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_held = _Held()
_open_descriptors: set[int] = set()  # of all threads


def _forget_in_child() -> None:
    """Let a forked child hold nothing: its copies of the descriptors would keep, or end, the locks of its parent."""
    for descriptor in _open_descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open_descriptors.clear()
    _held.locks.clear()
    _held.descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def environment_lock_path(environment: str) -> str:
    """Return the path of an environment's lock: beside it, because it must outlive the environment."""
    parent, name = os.path.split(os.path.realpath(environment))
    return os.path.join(parent, f"{name}{SUFFIX}")


def uv_lock_path(environment: str) -> str:
    """Return the path of the lock that uv takes around every change of an environment."""
    return os.path.join(environment, ".lock")


def gate_path(environment: str) -> str:
    """Return the path of the gate of an environment's lock; in the environment, since nothing but order depends on it."""
    return os.path.join(environment, ".interlock", "gate.lock")


@contextlib.contextmanager
def hold(
    path: str, rank: Rank, *, what: str, shared: bool = False, timeout: float | None = None, gate: str = ""
) -> Iterator[None]:
    """Hold a lock for the length of a `with` block; a child that is forked meanwhile holds nothing.

    `what` names the locked thing for people. `timeout` is in seconds; None means INTERLOCK_LOCK_TIMEOUT, and without that
    to wait as long as it takes. On POSIX the wait is a blocking flock(2); after a second it is announced once on stderr.

    `gate` is the path of another lock file, held only while waiting for this one: the kernel gives a shared lock to
    whoever comes while others share it, however long somebody waits to have it alone. Who waits at the gate is let in roughly
    in the order of arrival. It protects nothing: where it cannot be had (read-only, Windows), or not in time, the wait goes on
    without it.

    Raises:
        LockTimeout: the holder, as far as it is known, is in the message.
        LockUnavailable: no permission, read-only, or a file system without locks. The caller never goes on unlocked.
        LockOrderError: this thread holds a lock that comes later in the order.
    """
    _check_order(rank, path)
    limit = _limit(timeout)
    wait = _Wait(path, what, limit, None if limit is None else time.monotonic() + limit)
    with span(f"wait for {rank.name.lower().replace('_', ' ')}", what):
        release = _windows_acquire(wait, shared) if sys.platform == "win32" else _acquire_in_turn(wait, gate, shared)
    _held.locks.append((rank, path))
    process = os.getpid()
    noted = not shared and rank is not Rank.UV
    # By the descriptor: by now the path may lead elsewhere. On Windows it is filelock's, and the path is all there is.
    target: int | str = _held.descriptors[-1] if _held.descriptors else path
    try:
        if noted:
            write_note(target)
        yield
    finally:
        if os.getpid() == process:
            try:
                _held.locks.remove((rank, path))
                if noted:
                    clear_note(target)
            finally:  # a second interrupt comes whenever it likes
                release()


def inherited() -> tuple[int, ...]:
    """Return the descriptors of the locks that this thread holds, for the `pass_fds` of a child that changes what they guard.

    The kernel lock lives as long as one process has its file open: when this process is killed, the child goes on, and so
    does the lock. `hold` unlocks in the end, whoever still has the file open. Empty on Windows, where locks are not inherited.
    """
    return tuple(_held.descriptors)


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


def _timed_out(wait: _Wait) -> LockTimeout:
    return LockTimeout(
        f"{wait.what} was locked for {wait.limit or 0:g} s by {wait.holders()}\n  lock file: {wait.path}",
        advice="Let it finish or end it, or allow a longer wait with --lock-timeout. Nothing was changed.",
    )


def _unavailable(path: str, what: str, error: OSError, shared: bool = False) -> LockUnavailable:
    advice = (
        "The lock file's directory must be writable and on a file system with working locks (flock); nothing is ever "
        f"changed without the lock. `interlock doctor {os.path.dirname(path)}` looks at the file system."
    )
    if shared and error.errno in NOT_WRITABLE:
        advice = (
            "To read what others may change, a lock file is needed that this user can read: let somebody who may write "
            "there run the same command once, which makes it (and check its mode: `ls -l`)."
        )
    return LockUnavailable(f"cannot lock {what}: {path}: {error.strerror or error}", advice=advice)


def _announce(wait: _Wait) -> None:
    if not wait.announced:
        wait.announced = True
        sys.stderr.write(f"interlock: waiting for {wait.what}: held by {wait.holders()}\n")
        sys.stderr.flush()


# POSIX


def _acquire_in_turn(wait: _Wait, gate: str, shared: bool) -> Callable[[], None]:
    leave = None
    if gate and not (shared and wait.path in os.environ.get(HELD_ABOVE, "").split(os.pathsep)):
        limit = GATE_PATIENCE if wait.limit is None else min(wait.limit, GATE_PATIENCE)
        turn = _Wait(wait.path, wait.what, limit, time.monotonic() + limit, gate=gate)
        with contextlib.suppress(LockUnavailable, LockTimeout):
            leave = _acquire(gate, turn, shared=False)
        wait.announced = turn.announced
    try:
        return _acquire(wait.path, wait, shared)
    finally:
        if leave is not None:
            leave()


def _acquire(path: str, wait: _Wait, shared: bool) -> Callable[[], None]:
    import fcntl

    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            descriptor = _open(path, shared)
            _open_descriptors.add(descriptor)
            if not _try(fcntl.flock, descriptor, operation | fcntl.LOCK_NB):
                _block(functools.partial(fcntl.flock, descriptor, operation), descriptor, wait)
        except OSError as error:
            raise _unavailable(path, wait.what, error, shared) from error
        # Another tool may have deleted the file while we waited (`uv venv --clear`): then this is a lock on nothing.
        if _same_file(descriptor, path):
            _held.descriptors.append(descriptor)
            return functools.partial(_release, descriptor)
        _close(descriptor)


def _close(descriptor: int) -> None:
    _open_descriptors.discard(descriptor)
    os.close(descriptor)


def _release(descriptor: int) -> None:
    """Unlock, and not merely close: a daemon that a child left behind may have the file open for long."""
    import fcntl

    _held.descriptors.remove(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        _close(descriptor)


def _open(path: str, shared: bool) -> int:
    """Open a lock file, made where it is missing; a reader who may not write it has the same lock through a read-only one.

    Where there is none and a reader cannot make it, nothing would keep the writers out who can: that is refused too.
    """
    try:
        return _open_or_make(path)
    except OSError as error:
        if not shared or error.errno not in NOT_WRITABLE:
            raise
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | NEW)
        raise


def _open_or_make(path: str) -> int:
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | NEW)
        with contextlib.suppress(FileExistsError):
            # As readable as the environment: who may not open the file cannot keep anybody from changing what he reads.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NEW, 0o664)
            environment = path.removesuffix(SUFFIX)
            inherit(descriptor, environment if os.path.isdir(environment) else os.path.dirname(path) or ".")
            return descriptor


def _try(flock: Callable[[int, int], None], descriptor: int, operation: int) -> bool:
    """Take a lock if it is free; a descriptor that cannot be locked is closed."""
    try:
        flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError:
        _close(descriptor)
        raise
    return True


def _block(flock: Callable[[], None], descriptor: int, wait: _Wait) -> None:
    """Block in the kernel, in a thread, so that this thread can announce, time out and be interrupted.

    Whatever is raised, the descriptor is closed, and with it goes the lock: here, or by the thread once its wait ends.
    """
    if wait.limit is not None and wait.limit <= 0:
        _close(descriptor)
        raise _timed_out(wait)
    ended, guard = threading.Event(), threading.Lock()
    failures: list[OSError] = []
    abandoned = False

    def run() -> None:
        try:
            flock()
        except OSError as error:
            failures.append(error)
        with guard:
            if abandoned:
                _close(descriptor)
            ended.set()

    threading.Thread(target=run, daemon=True, name=f"lock {wait.path}").start()
    try:
        _await(ended, wait)
    except BaseException:
        with guard:
            abandoned = not ended.is_set()
            if not abandoned:
                _close(descriptor)
        raise
    if failures:
        _close(descriptor)
        raise failures[0]


def _await(ended: threading.Event, wait: _Wait) -> None:
    remaining = wait.remaining()
    if not ended.wait(WAIT_ANNOUNCED_AFTER if remaining is None else min(WAIT_ANNOUNCED_AFTER, remaining)):
        if remaining is None or remaining > WAIT_ANNOUNCED_AFTER:
            _announce(wait)
            ended.wait(wait.remaining())
        if not ended.is_set() and wait.limit is not None:
            raise _timed_out(wait)


def _same_file(descriptor: int, path: str) -> bool:
    ours = os.fstat(descriptor)
    try:
        theirs = os.stat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


# Windows


def _windows_acquire(wait: _Wait, shared: bool) -> Callable[[], None]:
    from interlock.windows_locks import acquire

    first = WAIT_ANNOUNCED_AFTER if wait.limit is None else min(WAIT_ANNOUNCED_AFTER, wait.limit)
    try:
        release = acquire(wait.path, first, shared)
        if release is None and (wait.limit is None or wait.limit > first):
            _announce(wait)
            release = acquire(wait.path, None if wait.limit is None else wait.limit - first, shared)
    except OSError as error:
        raise _unavailable(wait.path, wait.what, error) from error
    if release is None:
        raise _timed_out(wait)
    return release
