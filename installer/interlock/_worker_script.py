"""A worker: has a program's code loaded, and forks a child for each request, which runs it as a new process would.

    python _worker_script.py own FD SOCKET
    python _worker_script.py backend HOOKS BACKEND WATCHED FD SOCKET

`own` runs commands of interlock. `backend` runs HOOKS (the script of pyproject_hooks) in a build environment, whose
receipt is WATCHED. FD is a socket that listens already, at SOCKET. `interlock.client` speaks to it.

It runs in any Python since 3.8 and never runs a project's code itself. docs/explanation/workers.md says why it is as it is.
"""

# ruff: noqa: F401
from __future__ import annotations

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # the directory of this file is nobody's to import from

# All that comes with Python and is needed below, before another directory is looked into.
import abc
import atexit
import builtins
import contextlib
import fcntl
import gc
import importlib.machinery
import json
import os
import resource
import select
import shutil
import signal
import socket
import tempfile
import time
import types

IDLE = 10.0
"""The seconds that a worker stays after its last client; INTERLOCK_WORKER_IDLE is another number."""


def main(words: list[str]) -> None:
    """Detach from who has started this, load the code, serve."""
    kind, *rest = words
    path, listener = rest.pop(), socket.socket(fileno=int(rest.pop()))
    if os.fork():
        os._exit(0)
    # First, for these two imports, which load nothing else that is not loaded yet; then where no module of Python's is hidden.
    inside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, inside)
    sys.dont_write_bytecode, before = kind == "backend" or sys.dont_write_bytecode, sys.dont_write_bytecode
    from interlock._worker_programs import Backend, Own
    from interlock._worker_server import Server

    sys.dont_write_bytecode = before
    del sys.path[0]
    if kind == "own" and inside not in sys.path:
        sys.path.append(inside)
    elif kind == "backend":
        # A build environment may have an interlock of its own.
        for name in [name for name in sys.modules if name.split(".")[0] == "interlock"]:
            del sys.modules[name]
    program = Own() if kind == "own" else Backend(*rest)
    program.load()
    gc.collect()
    gc.freeze()  # what is loaded is shared with every child, until one of them writes to it
    Server(program, listener, path, _idle()).serve()


def _idle() -> float:
    try:
        return float(os.environ["INTERLOCK_WORKER_IDLE"])
    except (KeyError, ValueError):
        return IDLE


if __name__ == "__main__":
    main(sys.argv[1:])
