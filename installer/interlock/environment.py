"""What an environment is: its path, its identity, its interpreter and where things go in it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.documents import parse_json
from interlock.errors import NotAnEnvironment
from interlock.interpreter import Interpreter, Layout, query

if TYPE_CHECKING:
    import contextlib

    from interlock.durable import Disk

__all__ = [
    "Environment",
    "is_elsewhere",
    "is_environment",
    "open_environment",
    "python_path",
    "record_identity",
    "record_identity_of_new",
    "state_directory",
]


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment (PEP 405).

    `identity` is a random id that is written in the environment when interlock first sees it ("" before that): a deleted
    and recreated environment at the same path has another.
    """

    path: str
    identity: str
    interpreter: Interpreter

    @property
    def layout(self) -> Layout:
        """Where things go, relative to the environment."""
        return self.interpreter.layout

    @property
    def python(self) -> str:
        """The absolute path of the environment's own python."""
        return python_path(self.path)

    @property
    def site_packages(self) -> list[str]:
        """The absolute directories that hold distributions, each once."""
        return [self.absolute(relative) for relative in dict.fromkeys([self.layout.purelib, self.layout.platlib])]

    def absolute(self, relative: str) -> str:
        """Return the absolute path of something in the environment."""
        return os.path.join(self.path, *relative.split("/"))

    def shared(self, *, timeout: float | None = None) -> contextlib.AbstractContextManager[Environment]:
        """Hold the environment still for the length of a `with` block: a snapshot for who reads more than one file of it.

        Other readers go on; interlock and uv wait with their changes. The block is given the environment as it is then.
        `timeout` is in seconds (None: INTERLOCK_LOCK_TIMEOUT, else as long as it takes).

        Raises:
            NotAnEnvironment: it went away.
            LockTimeout, LockUnavailable: it was not held.
        """
        from interlock.access import reading

        return reading(self.path, timeout=timeout)


def python_path(environment: str, platform: str = sys.platform) -> str:
    """Return the path of an environment's python."""
    return os.path.join(environment, *(("Scripts", "python.exe") if platform == "win32" else ("bin", "python")))


def state_directory(environment: str) -> str:
    """Return the directory in an environment that is interlock's: identity, journal, staged files."""
    return os.path.join(environment, ".interlock")


def is_environment(path: str) -> bool:
    """Tell whether a path is a virtual environment: it has a pyvenv.cfg and a python."""
    return os.path.isfile(os.path.join(path, "pyvenv.cfg")) and os.path.exists(python_path(path))


def open_environment(path: str) -> Environment:
    """Open the environment at a path, made by whatever tool.

    Reads what interlock noted in it while that is still true, otherwise asks the environment's python (one process).

    Raises:
        NotAnEnvironment: nothing there, no pyvenv.cfg, or a python that is missing or does not run.
    """
    path = os.path.realpath(path)
    if not is_environment(path):
        raise NotAnEnvironment(
            f"{path} is not a virtual environment: {_why_not(path)}",
            advice=f"Create it with `interlock venv {path}`; in a build, the <environment>__venv edge comes first.",
        )
    noted = _noted(path)
    if noted is not None and noted.witness == _witness(path):
        return Environment(path, noted.identity, noted.interpreter)
    return Environment(path, noted.identity if noted else "", query(python_path(path)))


def record_identity(path: str, *, new: bool, disk: Disk, mtime_ns: int | None = None) -> Environment:
    """Note an environment's identity and facts in it; a fresh identity where `new`, or where it has none.

    The caller holds the environment lock, exclusively. An edge that has the note among its inputs gives the time at which
    it started: a later one would make the edge older than its own input.
    """
    environment = open_environment(path)
    identity = secrets.token_hex(16) if new or not environment.identity else environment.identity
    environment = Environment(environment.path, identity, environment.interpreter)
    note = _note(environment, environment.path)
    if not os.path.isdir(state := state_directory(environment.path)):
        # What is in a directory is found again after a power loss only if the directory itself is.
        disk.make_directory(state, below=environment.path)
        disk.sync_directory(environment.path)
    disk.publish_if_changed(identity_file(environment.path), note, mtime_ns=mtime_ns)
    return environment


def record_identity_of_new(
    built: str, final: str, interpreter: Interpreter, *, disk: Disk, mtime_ns: int | None = None
) -> Environment:
    """Note a fresh identity in an environment that is still to be renamed from `built` to `final`."""
    environment = Environment(final, secrets.token_hex(16), interpreter)
    disk.publish_if_changed(identity_file(built), _note(environment, built), mtime_ns=mtime_ns)
    return environment


def identity_file(environment: str) -> str:
    """Return the path of the file that holds an environment's identity."""
    return os.path.join(state_directory(environment), "environment.json")


@dataclass(frozen=True, slots=True)
class _Note:
    identity: str
    interpreter: Interpreter
    witness: list[Any]


def _note(environment: Environment, directory: str) -> bytes:
    note = {
        "schema": 1,
        "identity": environment.identity,
        "path": environment.path,
        "interpreter": environment.interpreter.as_json(),
        "witness": _witness(environment.path, directory),
    }
    return json.dumps(note, indent=1, sort_keys=True).encode() + b"\n"


def _noted(path: str) -> _Note | None:
    """Read the note in an environment; None where there is none, or that of another path: a copy is another environment."""
    try:
        with open(identity_file(path), "rb") as reader:
            noted = parse_json(reader.read())
        if noted["schema"] != 1 or noted["path"] != path:
            return None
        return _Note(str(noted["identity"]), Interpreter.from_json(noted["interpreter"]), list(noted["witness"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_elsewhere(path: str) -> bool:
    """Tell whether an environment says of itself that it is at another path: it was moved or copied here.

    What is installed in it names that path: scripts in their first line, editable installs beside it in their sources.
    """
    try:
        with open(identity_file(path), "rb") as reader:
            return bool(parse_json(reader.read())["path"] != path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _witness(path: str, directory: str = "") -> list[Any]:
    """Return what changes when the environment at a path is made anew or its base interpreter is another.

    `directory` is where it is at present, if that is not its path yet.
    """
    directory = directory or path
    witness: list[Any] = []
    for name in (os.path.join(directory, "pyvenv.cfg"), os.path.realpath(python_path(directory))):
        final = os.path.join(path, os.path.relpath(name, directory)) if name.startswith(directory + os.sep) else name
        try:
            status = os.stat(name)
        except OSError:
            witness.append([final, None])
        else:
            witness.append([final, status.st_mtime_ns, status.st_size])
    return witness


def _why_not(path: str) -> str:
    if not os.path.lexists(path):
        return "nothing is there"
    if not os.path.isdir(path):
        return "it is not a directory"
    if not os.path.isfile(os.path.join(path, "pyvenv.cfg")):
        return "it has no pyvenv.cfg"
    return f"its python ({python_path(path)}) is missing; was the interpreter that made it removed?"
