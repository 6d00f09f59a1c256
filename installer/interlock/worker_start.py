"""Start a worker: one, however many ask at once, and none of what they hold open goes to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from interlock.client import connect

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from interlock.client import Worker

__all__ = ["start"]

BACKLOG = 4096
"""The connections that may wait while a worker gets ready; the kernel has a limit of its own (net.core.somaxconn)."""


def start(worker: Worker, path: bytes) -> _socket.socket | None:
    """Start a worker that listens at a path and connect to it; None where that does not work.

    The socket listens before the worker is there, which inherits it: nobody waits for anything but its own answer.
    """
    try:
        with _locked(path.removesuffix(b".sock") + b".lock"):
            found = connect(path)
            if found is None:
                _launch(worker, path)
                found = connect(path)
            return found
    except (OSError, subprocess.SubprocessError):
        return None


@contextlib.contextmanager
def _locked(path: bytes) -> Iterator[None]:
    """Hold a lock file that a worker removes when it ends."""
    import fcntl

    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_same(lock, path):
                continue
            yield
            return
        finally:
            os.close(lock)


def _is_same(descriptor: int, path: bytes) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _launch(worker: Worker, path: bytes) -> None:
    import socket

    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a worker that was killed
    _sweep(os.path.dirname(path), path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)  # nobody else comes into its directory
        listener.listen(BACKLOG)
        command = [*worker.command, str(listener.fileno()), os.fsdecode(path)]
        # The worker detaches itself at once; its first process ends, and is waited for.
        subprocess.run(
            command,
            cwd="/",
            env=worker.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            check=True,
        )


def _sweep(directory: bytes, new: bytes) -> None:
    """Remove what killed workers have left: their keys are those of a shell, or a checkout, that may never come back."""
    import fcntl

    for name in os.listdir(directory):
        lock = os.path.join(directory, name)
        path = lock.removesuffix(b".lock") + b".sock"
        if not name.endswith(b".lock") or path == new:
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                # Under its lock: the socket of a worker that starts is there before it listens.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (found := connect(path)) is not None:
                    found.close()
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                os.unlink(lock)
            finally:
                os.close(descriptor)
