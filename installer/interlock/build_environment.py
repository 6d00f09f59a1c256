"""Build environments: cached virtual environments that hold a set of build requirements, shared by whoever asks for it.

    <cache>/build-environments/<key>/env              the environment
    <cache>/build-environments/<key>/receipt.json     published last: an environment without it is not complete
    <cache>/build-environments/<key>.used             its time says when the environment was last used
    <cache>/build-environments/<key>.lock             exclusive to create and delete, shared while hooks run

A complete environment never changes: more requirements make another key, so that no hook finds its environment altered,
and no project is built with packages that only another one asked for. docs/explanation/prepare.md says more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interlock.cache import cache_directory
from interlock.distribution import normalize, scan
from interlock.engine import find_engine
from interlock.environment import python_path
from interlock.errors import ConfigurationError, LockTimeout
from interlock.locks import Rank, hold
from interlock.timings import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from interlock.durable import Disk
    from interlock.engine import Engine
    from interlock.interpreter import Interpreter

__all__ = [
    "BuildEnvironment",
    "Recipe",
    "ensure",
    "environment_inputs",
    "held",
    "make_recipe",
    "missing",
    "remove_unused",
]

SCHEMA = 1
USED_EVERY = 3600  # seconds; closer looks at the time of last use are not worth a write

_SPECIFIER_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a build environment is made from: equal recipes have equal keys.

    `requires` are sorted and in one spelling, the names in `local` (normalised name: directory) are never asked of an index.
    `wanted_by` is the project that asks first, for messages.
    """

    requires: tuple[str, ...]
    interpreter: Interpreter
    constraints: tuple[str, ...]
    local: Mapping[str, str]
    engine: Engine
    wanted_by: str = ""

    @property
    def key(self) -> str:
        """SHA-256 (hex) of everything that decides what gets installed, indexes aside."""
        base = self.interpreter
        try:
            status = os.stat(base.executable)
            built = [status.st_mtime_ns, status.st_size]
        except OSError:
            built = []
        named = {name: self.local[name] for name in map(_name, self.requires) if name in self.local}
        parts = [
            SCHEMA,
            [os.path.realpath(base.executable), base.version, base.implementation, base.soabi, built],
            self.requires,
            [_digest_of_file(path) for path in self.constraints],
            named,
            self.engine.name,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def extended(self, requires: Iterable[str]) -> Recipe:
        """Return the recipe for more requirements."""
        return replace(self, requires=_spelled([*self.requires, *requires]))


@dataclass(frozen=True, slots=True)
class BuildEnvironment:
    """One complete build environment; `receipt` is the file that goes away with it."""

    path: str
    python: str
    scripts: str
    key: str
    receipt: str
    interpreter: Interpreter

    @property
    def site_packages(self) -> list[str]:
        """The absolute directories that hold what is installed."""
        layout = self.interpreter.layout
        return [os.path.join(self.path, *name.split("/")) for name in dict.fromkeys([layout.purelib, layout.platlib])]

    def installed(self) -> dict[str, str]:
        """Return the version of each installed distribution by its normalised name."""
        return {name: found[0].version for name, found in sorted(scan(self.site_packages).items())}


def make_recipe(
    requires: Iterable[str],
    *,
    interpreter: Interpreter,
    constraints: Iterable[str] = (),
    local: Mapping[str, str] | None = None,
    engine: str = "auto",
    wanted_by: str = "",
) -> Recipe:
    """Make a recipe from build requirements, constraint files and directories of local build requirements.

    Raises:
        ConfigurationError: a constraint file or a directory does not exist.
        EngineUnavailable: neither uv nor pip.
    """
    files = tuple(os.path.abspath(path) for path in constraints)
    directories = {normalize(name): os.path.abspath(path) for name, path in (local or {}).items()}
    for path in [*files, *directories.values()]:
        if not os.path.exists(path):
            raise ConfigurationError(f"{path}, named for builds, does not exist", advice="Correct its path.")
    return Recipe(
        _spelled(requires), interpreter, files, directories, find_engine(engine, interpreter=interpreter), wanted_by
    )


def ensure(recipe: Recipe, *, disk: Disk, timeout: float | None = None) -> BuildEnvironment:
    """Find the build environment of a recipe, or make it; made once however many processes ask at once.

    Raises:
        EngineError: a requirement could not be installed; the next call starts over.
        LockTimeout, LockUnavailable, InterpreterNotFound, DiskError: as they say.
    """
    environment = _environment(recipe)
    if not _is_complete(environment):
        disk.make_directory(os.path.dirname(_directory(environment)))
        with span("build environment", environment.key[:12]), _for_making(environment, timeout) as mine:
            if mine and not _is_complete(environment):
                _make(recipe, environment, disk, timeout)
    _note_use(environment, disk)
    return environment


@contextlib.contextmanager
def held(recipe: Recipe, *, disk: Disk, timeout: float | None = None) -> Iterator[BuildEnvironment]:
    """Ensure a build environment and keep it from being deleted for the length of a `with` block."""
    while True:
        environment = ensure(recipe, disk=disk, timeout=timeout)
        with hold(_lock(environment), Rank.BUILD_ENVIRONMENT, what=_what(environment), shared=True, timeout=timeout):
            # `interlock cache` may have deleted it before the lock was had.
            if _is_complete(environment):
                yield environment
                return


def missing(environment: BuildEnvironment, recipe: Recipe, requires: Iterable[str]) -> list[str]:
    """Return those requirements that a build environment does not satisfy, in the terms of its interpreter."""
    asked = [one for one in _spelled(requires) if one not in recipe.requires]
    if not asked:
        return []
    from interlock.satisfy import parse_requirements, unsatisfied

    installed = scan(environment.site_packages)
    return [
        one
        for one in asked
        if any(wanted.url for wanted in parse_requirements([one], recipe.interpreter))
        or unsatisfied(parse_requirements([one], recipe.interpreter), installed, recipe.interpreter)
    ]


def environment_inputs(environment: BuildEnvironment, recipe: Recipe) -> list[str]:
    """Return the files whose change or absence means that a build environment is no longer what it was."""
    from interlock.build_requirements import tree_files

    receipt = _receipt(environment)
    local = sorted(receipt["local"]) if receipt is not None else []
    return [environment.receipt, *recipe.constraints, *(path for directory in local for path in tree_files(directory))]


def remove_unused(older_than_days: float | None, *, disk: Disk, timeout: float | None = None) -> list[str]:
    """Delete build environments, all or those not used for some days; return the keys of those that went.

    With an age, environments in use are left alone; without one, their users are waited for.
    """
    root = _root()
    try:
        keys = sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)))
    except FileNotFoundError:
        return []
    removed = []
    for key in keys:
        directory = os.path.join(root, key)
        if older_than_days is not None and _last_use(directory) > time.time() - older_than_days * 86400:
            continue
        limit = timeout if older_than_days is None else 0
        try:
            with hold(
                f"{directory}.lock", Rank.BUILD_ENVIRONMENT, what=f"build environment {directory}", timeout=limit
            ):
                _delete(directory, disk)
                disk.remove(f"{directory}.used")
        except LockTimeout:
            if older_than_days is None:
                raise
            continue
        removed.append(key)
    return removed


def _root() -> str:
    return os.path.join(cache_directory(), "build-environments")


def _environment(recipe: Recipe) -> BuildEnvironment:
    key = recipe.key
    directory = os.path.join(_root(), key)
    path = os.path.join(directory, "env")
    scripts = os.path.join(path, *recipe.interpreter.layout.scripts.split("/"))
    receipt = os.path.join(directory, "receipt.json")
    return BuildEnvironment(path, python_path(path), scripts, key, receipt, recipe.interpreter)


def _directory(environment: BuildEnvironment) -> str:
    return os.path.dirname(environment.path)


def _what(environment: BuildEnvironment) -> str:
    return f"build environment {_directory(environment)}"


def _lock(environment: BuildEnvironment) -> str:
    return f"{_directory(environment)}.lock"


@contextlib.contextmanager
def _for_making(environment: BuildEnvironment, timeout: float | None) -> Iterator[bool]:
    """Hold the lock exclusively, unless another process makes the environment meanwhile: then wait for that, and say False.

    A process that waited for the exclusive lock would get it only after the hooks of those that came first, who use what
    they have made at once. The shared lock is had by all who wait at the moment in which it is made.
    """
    path, what = _lock(environment), _what(environment)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(path, Rank.BUILD_ENVIRONMENT, what=what, timeout=0))
        except LockTimeout:
            with hold(path, Rank.BUILD_ENVIRONMENT, what=what, shared=True, timeout=timeout):
                made = _is_complete(environment)
            if made:
                yield False
                return
            stack.enter_context(hold(path, Rank.BUILD_ENVIRONMENT, what=what, timeout=timeout))
        yield True


def _is_complete(environment: BuildEnvironment) -> bool:
    """Tell whether there is a receipt, a python, and local build requirements that are as they were."""
    receipt = _receipt(environment)
    if receipt is None or not os.path.exists(environment.python):
        return False
    local: dict[str, str] = receipt["local"]
    if not local:
        return True
    from interlock.build_requirements import tree_digest

    return all(tree_digest(directory) == digest for directory, digest in local.items())


def _receipt(environment: BuildEnvironment) -> dict[str, Any] | None:
    try:
        with open(environment.receipt, "rb") as reader:
            receipt = json.loads(reader.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) and receipt.get("schema") == SCHEMA else None


def _make(recipe: Recipe, environment: BuildEnvironment, disk: Disk, timeout: float | None) -> None:
    from interlock.build_requirements import install_build_requirements, tree_digest
    from interlock.create import make_environment

    directory = _directory(environment)
    _delete(directory, disk)
    make_environment(environment.path, recipe.interpreter, disk)
    local = install_build_requirements(recipe, environment, disk=disk, timeout=timeout)
    receipt = {
        "schema": SCHEMA,
        "requires": recipe.requires,
        "python": recipe.interpreter.executable,
        "engine": recipe.engine.name,
        "installed": environment.installed(),
        "local": {path: tree_digest(path) for path in local},
    }
    # A fixed, old time: the receipt is an input of the edges that use the environment, and may be made while one runs.
    disk.publish(environment.receipt, json.dumps(receipt, indent=1, sort_keys=True).encode() + b"\n", mtime_ns=10**9)


def _delete(directory: str, disk: Disk) -> None:
    # First what says that it is complete.
    disk.remove(os.path.join(directory, "receipt.json"))
    disk.remove_tree(directory)


def _note_use(environment: BuildEnvironment, disk: Disk) -> None:
    # Beside the directory, which may be deleted at this very moment: whoever needs it holds it, and looks again.
    directory = _directory(environment)
    if _last_use(directory) < time.time() - USED_EVERY:
        disk.write(f"{directory}.used", b"")


def _last_use(directory: str) -> float:
    try:
        return os.stat(f"{directory}.used").st_mtime
    except FileNotFoundError:
        return 0.0


def _spelled(requires: Iterable[str]) -> tuple[str, ...]:
    """Return requirements sorted and in one spelling, as far as that needs no parser."""
    return tuple(sorted({_respell(text) for text in requires}))


def _respell(text: str) -> str:
    text = text.strip()
    match = _NAME.match(text)
    if match is None or "@" in text or ";" in text:
        return _SPECIFIER_SPACE.sub(" ", text)
    return normalize(match[1]) + _SPECIFIER_SPACE.sub("", text[match.end() :])


def _name(requirement: str) -> str:
    match = _NAME.match(requirement)
    return normalize(match[1]) if match else ""


def _digest_of_file(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
