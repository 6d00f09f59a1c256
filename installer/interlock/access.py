"""Exclusive access to an environment: its lock, uv's lock, and the recovery of what a dead process left."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from interlock.environment import is_environment, open_environment, record_identity
from interlock.journal import recover, staging_directory
from interlock.locks import Rank, environment_lock_path, hold, uv_lock_path
from interlock.staging import collect
from interlock.timings import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk
    from interlock.environment import Environment

__all__ = ["changing"]


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
            stack.enter_context(hold(environment_lock_path(path), Rank.ENVIRONMENT, what=what, timeout=timeout))
            if uv_lock and is_environment(path):
                stack.enter_context(hold(uv_lock_path(path), Rank.UV, what=f"{what} (uv's lock)", timeout=timeout))
        with span("lock held", subject):
            environment = open_environment(path)
            recover(environment.path, disk=disk)
            collect(staging_directory(environment.path), disk=disk)
            yield environment if environment.identity else record_identity(path, new=True, disk=disk)
