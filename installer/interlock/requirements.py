"""Install third-party requirements into an environment with uv or pip, without a word to an index about private names.

The environment's lock is held while the engine runs. uv takes its own lock, `<environment>/.lock`, so it is not held here
then; pip takes none, so it is. Private names never reach an index: lines that name one are left out of what the engine
reads, and what third-party distributions require of them is left out of the resolution (uv: overrides; pip, which has
none: _pip_script).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.access import changing
from interlock.distribution import scan
from interlock.engine import find_engine
from interlock.environment import open_environment, state_directory
from interlock.errors import EngineError
from interlock.inventory import editable_location
from interlock.journal import sync_removal
from interlock.locks import Rank, hold, uv_lock_path
from interlock.requirement_files import read_requirement_files
from interlock.workspace_names import read_workspace_names, withhold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interlock.durable import Disk
    from interlock.engine import Engine
    from interlock.environment import Environment
    from interlock.requirement_files import RequirementSet

__all__ = ["Installation", "engine_at_work", "install_requirements"]

# uv goes on unlocked when it has waited that long for its lock (seconds; 300 unless told).
UV_PATIENCE = "86400"


@dataclass(frozen=True, slots=True)
class Installation:
    """What an installation of requirements left.

    `engine` is "uv", "pip", or "none" where there was nothing to install; `files` are the contents of what was read (path
    as given, SHA-256 in hex); `installed` is the SHA-256 (hex) of the third-party distributions that are there now;
    `inputs` are all files whose change makes it necessary again.
    """

    environment: Environment
    engine: str
    files: dict[str, str]
    installed: str
    inputs: tuple[str, ...]

    def as_stamp(self) -> dict[str, Any]:
        """Return what the requirements edge's stamp says: nothing that changes while the meaning stays."""
        return {
            "edge": "requirements",
            "environment": self.environment.identity,
            "engine": self.engine,
            "files": self.files,
            "installed": self.installed,
        }


def install_requirements(
    path: str,
    files: Sequence[str],
    constraints: Sequence[str] = (),
    *,
    engine: str = "auto",
    private: str | None = None,
    directory: str = "",
    disk: Disk,
    lock_timeout: float | None = None,
) -> Installation:
    """Install what requirements files ask for into the environment at a path.

    `files` and `constraints` are paths, absolute or relative to the current directory; `private` is a file of the names that
    no index may hear of (workspace_names). Relative paths in the files start from `directory` ("": the current one), where
    the engine runs. Requirements that are already met stay as they are.

    Raises:
        ConfigurationError: a file is missing.
        NotAnEnvironment: there is none, or it went away while the engine ran.
        LockTimeout, LockUnavailable: nothing was changed.
        EngineError, EngineUnavailable: uv or pip failed, or there is none.
    """
    names = frozenset(read_workspace_names(private) if private else ())
    wanted = read_requirement_files(files, constraints, private=names, directory=directory)
    # Not the names: a project that comes or goes changes nothing of what was installed here.
    digests = {name: _sha256(name) for name in wanted.files}
    read = [*wanted.files, *([private] if private else [])]
    environment = open_environment(path)
    chosen = find_engine(engine, interpreter=environment.interpreter) if wanted.requirements else None
    with engine_at_work(path, chosen, disk, lock_timeout) as environment:
        if chosen is not None:
            try:
                _run(chosen, environment, wanted, (files, constraints), names, directory, disk)
            except EngineError:
                open_environment(path)  # says it, if that is what went away
                raise
            finally:
                disk.adopt_tree(environment.path, environment.path)
            _sync(environment, disk)
        installed = _installed_digest(environment, names)
    inputs = (*read, *wanted.local, os.path.join(environment.path, "pyvenv.cfg"))
    return Installation(environment, chosen.name if chosen else "none", digests, installed, inputs)


@contextlib.contextmanager
def engine_at_work(path: str, engine: Engine | None, disk: Disk, timeout: float | None) -> Iterator[Environment]:
    """Hold the environment for the engine: uv's own lock too, unless it is uv that will take it."""
    uv = engine is not None and engine.name == "uv"
    with changing(path, disk=disk, timeout=timeout, subject="requirements", uv_lock=not uv) as environment:
        if uv:
            # Waited for here, because uv itself would in the end go on without it; ours to give up in time.
            what = f"environment {environment.path} (uv's lock)"
            with hold(uv_lock_path(environment.path), Rank.UV, what=what, timeout=timeout):
                pass
        if engine is not None:
            # An engine writes no journal that would take the place of one that comes back after a power loss.
            sync_removal(environment.path, disk=disk)
        yield environment


def _run(
    engine: Engine,
    environment: Environment,
    wanted: RequirementSet,
    given: tuple[Sequence[str], Sequence[str]],
    private: frozenset[str],
    cwd: str,
    disk: Disk,
) -> None:
    files, constraints = ([os.path.abspath(path) for path in paths] for paths in given)
    # They stay there: the command that a failure advises to repeat reads them.
    directory = os.path.join(state_directory(environment.path), "requirements")
    if wanted.private:
        files = [_write(directory, "requirements.txt", wanted.requirements_text(), disk)]
        left = wanted.constraints_text()
        constraints = [_write(directory, "constraints.txt", left, disk)] if left else []
    arguments = [word for name in files for word in ("-r", name)] + [
        word for name in constraints for word in ("-c", name)
    ]
    engine, withheld = withhold(engine, environment.python, private, directory, disk=disk)
    arguments += withheld
    environ = {"UV_LOCK_TIMEOUT": UV_PATIENCE, **os.environ}
    engine.install(
        environment.python,
        arguments,
        what=f"the requirements of {environment.path}",
        environ=environ,
        directory=cwd or None,
    )


def _write(directory: str, name: str, text: str, disk: Disk) -> str:
    path = os.path.join(directory, name)
    disk.publish_if_changed(path, text.encode())
    return path


def _installed_digest(environment: Environment, private: frozenset[str]) -> str:
    pinned = [
        f"{name}=={one.version}"
        for name, found in scan(environment.site_packages).items()
        if name not in private
        for one in found
        if not editable_location(one)
    ]
    return hashlib.sha256(json.dumps(sorted(pinned)).encode()).hexdigest()


def _sha256(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _sync(environment: Environment, disk: Disk) -> None:
    """Bring to the disk what has changed in an environment since this was last done: the stamp will vouch for it.

    Whatever put it there: an engine that was killed, a person. The engines sync nothing themselves.
    """
    if disk.durability != "full":
        return
    state = state_directory(environment.path)
    mark = os.path.join(state, "synced")
    now = disk.clock_ns(state)
    try:
        since = os.stat(mark).st_mtime_ns
    except FileNotFoundError:
        since = 0
    with os.scandir(environment.path) as found:
        parts = [entry.path for entry in found if entry.is_dir(follow_symlinks=False) and entry.path != state]
    for part in parts:
        disk.sync_tree(part, since_ns=since)
    disk.sync_directory(environment.path)
    # Not the same file again: in a shared environment it is another user's, who alone may set its time.
    disk.publish(mark, b"", mtime_ns=now)
