"""The worker of a build backend, as the one who calls a hook sees it.

It starts with the very variables that the hook gets, and serves none that has others: what a backend reads when it is loaded is
then what a new process would read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock import __version__
from interlock._worker_programs import KNOWN
from interlock.client import Worker, WorkerLost, is_wanted, settled, submit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.client import Job

__all__ = ["WorkerLost", "submit_hook"]

BACKEND = "_PYPROJECT_HOOKS_BUILD_BACKEND"
BACKEND_PATH = "_PYPROJECT_HOOKS_BACKEND_PATH"

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_worker_script.py")


def submit_hook(
    command: Sequence[str], watched: str, *, cwd: str, environ: Mapping[str, str], descriptors: Sequence[int]
) -> Job | None:
    """Let a worker run a hook; None where it takes a process of its own.

    `command` is that of pyproject_hooks: python, script, hook, directory. `watched` is the receipt of the build environment
    that the python is in; "" if it is in another one, which may change at any time. A backend that is part of the project is
    no code for a worker either, nor is one that is not known to be safe to load.
    """
    python, script, *_ = command
    backend = environ.get(BACKEND, "")
    if not watched or backend not in KNOWN or environ.get(BACKEND_PATH):
        return None
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
    if not is_wanted(variables):
        return None
    try:
        receipt, program = os.stat(watched), os.stat(python)
    except OSError:
        return None  # it goes away
    key = [
        python,
        script,
        backend,
        f"{__version__} {receipt.st_ino} {receipt.st_ctime_ns} {program.st_ino} {program.st_mtime_ns}",
        *(f"{name}={value}" for name, value in settled(environ)),
    ]
    worker = Worker(
        [python, SCRIPT, "backend", script, backend, watched],
        variables,
        [b"backend", *(os.fsencode(one) for one in key)],
    )
    return submit(
        worker,
        [os.fsencode(word) for word in command[1:]],
        cwd=os.fsencode(cwd),
        environ=variables,
        descriptors=descriptors,
    )
