"""Access to an environment, exclusive or shared: its lock, uv's lock, and the recovery of what a dead process left."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from interlock.environment import is_environment, open_environment, record_identity
from interlock.errors import LockUnavailable
from interlock.journal import journal_path, recover, staging_directory
from interlock.locks import Rank, environment_lock_path, gate_path, hold, uv_lock_path
from interlock.staging import collect
from interlock.timings import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk
    from interlock.environment import Environment

__all__ = ["changing", "reading"]


@contextlib.contextmanager
def changing(
    path: str, *, disk: Disk, timeout: float | None = None, subject: str = "", uv_lock: bool = True
) -> Iterator[Environment]:
    """Hold an environment for a change: locked against interlock and uv, recovered, with an identity.

    `uv_lock` is False where a uv is about to work in the environment: it takes its lock itself.

    The environment is opened again under the lock, because it may have been deleted or replaced during the wait.

    Raises:
        NotAnEnvironment: it is gone.
        LockTimeout, LockUnavailable: nothing was changed.
    """
    with contextlib.ExitStack() as stack:
        what = f"environment {path}"
        with span("lock wait", subject):
            stack.enter_context(_locked(path, what, timeout, shared=False))
            if uv_lock and is_environment(path):
                stack.enter_context(hold(uv_lock_path(path), Rank.UV, what=f"{what} (uv's lock)", timeout=timeout))
        with span("lock held", subject):
            environment = open_environment(path)
            recover(environment.path, disk=disk)
            collect(staging_directory(environment.path), disk=disk)
            yield environment if environment.identity else record_identity(path, new=True, disk=disk)


@contextlib.contextmanager
def reading(path: str, *, timeout: float | None = None, unfinished: bool = False) -> Iterator[Environment]:
    """Hold an environment still: other readers go on, whoever wants to change it waits; interlock and uv alike.

    A commit that a dead process left is finished before anything is read, unless the caller wants to see it `unfinished`.

    Raises:
        NotAnEnvironment: nothing there, or it went away during the wait.
        LockTimeout, LockUnavailable: it was not read.
    """
    open_environment(path)
    what = f"environment {os.path.realpath(path)}"
    while True:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(path, what, timeout, shared=True))
            environment = open_environment(path)
            uv = uv_lock_path(environment.path)
            stack.enter_context(hold(uv, Rank.UV, what=f"{what} (uv's lock)", shared=True, timeout=timeout))
            # Whoever writes a journal holds the lock alone: one that is there now is of a process that died.
            if unfinished or not os.path.lexists(journal_path(environment.path)):
                yield environment
                return
        _finish(path, timeout)


def _finish(path: str, timeout: float | None) -> None:
    from interlock.durable import Disk

    try:
        with changing(path, disk=Disk(), timeout=timeout):
            pass
    except LockUnavailable as error:
        raise LockUnavailable(
            f"a change of {path} was interrupted, and cannot be finished: {error.message}",
            advice="It is half done until then: let somebody who may write there run `interlock list` with this --venv.",
        ) from error.__cause__


def _locked(path: str, what: str, timeout: float | None, *, shared: bool) -> contextlib.AbstractContextManager[None]:
    lock, gate = environment_lock_path(path), gate_path(os.path.realpath(path))
    return hold(lock, Rank.ENVIRONMENT, what=what, shared=shared, timeout=timeout, gate=gate)
