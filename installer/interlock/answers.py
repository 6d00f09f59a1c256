"""What backends answer: which requirements a build has besides those in [build-system] (PEP 517, PEP 660).

Of most projects that is known without asking: only data of their own could make it another one. What others have answered
is noted:

    <cache>/build-requires/<digest>.json      a list of requirements

The digest covers all that the answer depends on, so it is never wrong, only unknown: a hook of 20 to 500 ms that need not run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from interlock.cache import cache_directory
from interlock.client import settled
from interlock.documents import parse_json
from interlock.errors import DiskError
from interlock.inputs import project_inputs, read_pyproject
from interlock.predictable import CODE, is_predictable
from interlock.static.backends import BACKENDS, is_known

if TYPE_CHECKING:
    from interlock.build_environment import BuildEnvironment
    from interlock.durable import Disk
    from interlock.hooks import ConfigSettings, Kind, Project

__all__ = ["build_requires", "known_answers"]

SCHEMA = 1

# Their answers depend on the project's configuration; those of others on programs that are there, or not (cmake).
PREDICTABLE = frozenset(BACKENDS)
ASKING = frozenset({"dependencies", "require-runtime-dependencies", "require-runtime-features"})
"""What hatchling's table has to say where a build requires more."""

HARMLESS_HOOKS = frozenset({"vcs", "version"})
"""Hooks of hatchling that ask for nothing."""


def build_requires(
    project: Project, environment: BuildEnvironment, settings: ConfigSettings, kind: Kind, disk: Disk
) -> list[str]:
    """Return what a project's backend needs besides `requires`: as is known, as it has answered before, or by asking it.

    Raises:
        BackendError, BackendUnavailable: it was asked, and failed.
    """
    from interlock.hooks import HookEnvironment

    certain = _known(project.directory, environment, settings) if kind == "editable" else None
    if certain is not None:
        return certain
    digest = _digest(project.directory, environment, settings, kind)
    path = os.path.join(known_answers(), f"{digest}.json")
    known = _read(path) if digest else None
    if known is not None:
        return known
    answer = project.get_requires(HookEnvironment.of(environment), settings, kind)
    if digest and digest == _digest(project.directory, environment, settings, kind):
        # Of a cache that cannot be written there is nothing to say: the build has all that it needs.
        with contextlib.suppress(DiskError):
            disk.make_directory(known_answers())
            disk.publish(path, json.dumps(answer).encode())
    return answer


def known_answers() -> str:
    """Return the directory of the answers that were noted."""
    return os.path.join(cache_directory(), "build-requires")


def _known(directory: str, environment: BuildEnvironment, settings: ConfigSettings) -> list[str] | None:
    """Return the answer of a backend that says the same of each project; None where it may say more of this one.

    Setuptools asks for what is in `setup_requires`, flit_core for what a module needs that it has to import, pdm-backend for
    setuptools where it runs that: no predictable project has any of these. And what it refuses here it refuses when it builds
    too, but for flit_core 3, which parses a module here alone.
    """
    installed = environment.installed()
    if not is_predictable(directory, installed, settings):
        return None
    pyproject = read_pyproject(directory)
    # It may have been changed since it was looked at.
    backend = BACKENDS.get(str(_table(pyproject, "build-system").get("build-backend")))
    if backend is None or (backend.module == "flit_core" and installed["flit-core"].startswith("3.")):
        return None
    build = _table(pyproject, "tool", "hatch", "build")
    asks = any(ASKING & table.keys() for table in (build, *map(_as_table, _table(build, "targets").values())))
    return None if asks or not is_known(backend, installed) else list(backend.hooks_require)


def _read(path: str) -> list[str] | None:
    try:
        with open(path, "rb") as reader:
            answer = parse_json(reader.read())
    except (OSError, ValueError):
        return None
    whole = isinstance(answer, list) and all(isinstance(one, str) for one in answer)
    return answer if whole else None


def _digest(directory: str, environment: BuildEnvironment, settings: ConfigSettings, kind: Kind) -> str:
    """Return the SHA-256 (hex) of what an answer depends on; "" where that is not known."""
    pyproject = read_pyproject(directory)
    table = pyproject.get("build-system")
    backend = table.get("build-backend") if isinstance(table, dict) and "backend-path" not in table else None
    if str(backend) not in PREDICTABLE or any(os.path.lexists(os.path.join(directory, name)) for name in CODE):
        return ""
    if backend == "hatchling.build" and _has_hooks(pyproject):
        return ""
    files = []
    # The receipt says what is installed: the same key is that of another plugin, once a project of the workspace has changed.
    for path in [environment.receipt, *project_inputs(directory)]:
        try:
            with open(path, "rb") as reader:
                files.append([path, hashlib.file_digest(reader, "sha256").hexdigest()])
        except OSError:
            return ""
    parts = [SCHEMA, directory, environment.key, kind, settings, files, settled(os.environ)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _has_hooks(pyproject: dict[str, Any]) -> bool:
    """Tell whether hatchling runs code besides its own that says what a build requires: a plugin's, or a file's."""
    build = _table(pyproject, "tool", "hatch", "build")
    targets = _table(build, "targets")
    hooks = {
        name for table in (build, *(_table(targets, target) for target in targets)) for name in _table(table, "hooks")
    }
    text = json.dumps(_table(pyproject, "tool", "hatch"), default=str)
    return bool(hooks - HARMLESS_HOOKS) or any(f'"{word}' in text for word in ('custom": ', "require-runtime-"))


def _table(data: object, *names: str) -> dict[str, Any]:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return _as_table(data)


def _as_table(data: object) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}
