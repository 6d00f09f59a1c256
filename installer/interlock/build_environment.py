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
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.build_recipe import SCHEMA, environments_root, forget, remember, remembered, spelled
from interlock.distribution import scan
from interlock.documents import parse_json
from interlock.environment import python_path
from interlock.errors import LockTimeout
from interlock.locks import Rank, hold
from interlock.timings import span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from interlock.build_recipe import Recipe
    from interlock.build_requirements import Gathered
    from interlock.durable import Disk
    from interlock.interpreter import Interpreter

__all__ = [
    "BuildEnvironment",
    "ensure",
    "environment_inputs",
    "held",
    "local_trees",
    "missing",
    "remove_unused",
]

USED_EVERY = 3600  # seconds; closer looks at the time of last use are not worth a write


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


def ensure(
    recipe: Recipe, *, disk: Disk, timeout: float | None = None, inside: tuple[str, ...] = ()
) -> BuildEnvironment:
    """Find the build environment of a recipe, or make it; made once however many processes ask at once.

    `inside` are the directories of the local build requirements for whose building it is needed, outermost first.

    Raises:
        EngineError: a requirement could not be installed; the next call starts over.
        BackendError, WheelError: a local build requirement could not be built.
        MetadataError: a requirement is none, or local ones need each other to be built.
        ConfigurationError: a local build requirement has no directory.
        LockTimeout, LockUnavailable, InterpreterNotFound, DiskError: as they say.
    """
    from interlock.build_requirements import gather

    while True:
        recipe = remembered(recipe)
        environment = _environment(recipe)
        if not _is_complete(environment, recipe):
            disk.make_directory(environments_root())
            # Before the lock is taken: local build requirements are built in environments of their own.
            gathered = gather(recipe, disk=disk, timeout=timeout, inside=inside)
            if remember(recipe, gathered.names, (), disk):
                continue
            with span("build environment", environment.key[:12]), _for_making(environment, recipe, timeout) as mine:
                left_out = _make(recipe, environment, gathered, disk, timeout) if mine else ()
            if remember(recipe, (), left_out, disk):
                continue
        _note_use(environment, disk)
        return environment


@contextlib.contextmanager
def held(
    recipe: Recipe, *, disk: Disk, timeout: float | None = None, inside: tuple[str, ...] = ()
) -> Iterator[BuildEnvironment]:
    """Ensure a build environment and keep it from being deleted for the length of a `with` block."""
    while True:
        environment = ensure(recipe, disk=disk, timeout=timeout, inside=inside)
        with hold(_lock(environment), Rank.BUILD_ENVIRONMENT, what=_what(environment), shared=True, timeout=timeout):
            # `interlock cache` may have deleted it before the lock was had.
            if _is_complete(environment, recipe):
                yield environment
                return


def missing(environment: BuildEnvironment, recipe: Recipe, requires: Iterable[str]) -> list[str]:
    """Return those requirements that a build environment does not satisfy, in the terms of its interpreter."""
    asked = [one for one in spelled(requires) if one not in recipe.requires]
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

    local = sorted({directory for directory, _ in local_trees(environment).values()})
    return [environment.receipt, *recipe.constraints, *(path for directory in local for path in tree_files(directory))]


def local_trees(environment: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Return the directory and the digest of each local project that an environment was made from, by name."""
    receipt = _receipt(environment)
    found = receipt["local"] if receipt is not None else {}
    return {name: (directory, digest) for name, (directory, digest) in found.items()}


def remove_unused(older_than_days: float | None, *, disk: Disk, timeout: float | None = None) -> list[str]:
    """Delete build environments, all or those not used for some days; return the keys of those that went.

    With an age, environments in use are left alone; without one, their users are waited for.
    """
    from interlock.answers import known_answers
    from interlock.cache import forget_files
    from interlock.kept import kept_wheels
    from interlock.local_wheels import remove_wheels

    root = environments_root()
    try:
        keys = sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)))
    except FileNotFoundError:
        return []
    removed = []
    forget(root, older_than_days, disk)
    for directory in (known_answers(), kept_wheels()):
        forget_files(directory, older_than_days, disk)
    remove_wheels(older_than_days, disk=disk, timeout=timeout)
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


def _environment(recipe: Recipe) -> BuildEnvironment:
    key = recipe.key
    directory = os.path.join(environments_root(), key)
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
def _for_making(environment: BuildEnvironment, recipe: Recipe, timeout: float | None) -> Iterator[bool]:
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
                made = _is_complete(environment, recipe)
            if made:
                yield False
                return
            stack.enter_context(hold(path, Rank.BUILD_ENVIRONMENT, what=what, timeout=timeout))
        yield not _is_complete(environment, recipe)


def _is_complete(environment: BuildEnvironment, recipe: Recipe) -> bool:
    """Tell whether there is a receipt, a python, and local build requirements that are where and as they were.

    A name of the workspace that an index was asked for, before it was one, makes the environment incomplete too.
    """
    receipt = _receipt(environment)
    if receipt is None or not os.path.exists(environment.python):
        return False
    local: dict[str, list[str]] = receipt["local"]
    if any(name in recipe.local and name not in local for name in receipt["installed"]):
        return False
    if not local:
        return True
    from interlock.build_requirements import tree_digest

    return all(
        recipe.local.get(name, directory) == directory and tree_digest(directory) == digest
        for name, (directory, digest) in local.items()
    )


def _receipt(environment: BuildEnvironment) -> dict[str, Any] | None:
    try:
        with open(environment.receipt, "rb") as reader:
            receipt = parse_json(reader.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) and receipt.get("schema") == SCHEMA else None


def _make(
    recipe: Recipe, environment: BuildEnvironment, gathered: Gathered, disk: Disk, timeout: float | None
) -> Collection[str]:
    """Make an environment, under its lock; if names of the workspace turn out to be missing, return these requirements."""
    from interlock.build_requirements import install_build_requirements
    from interlock.create import make_environment

    directory = _directory(environment)
    _delete(directory, disk)
    make_environment(environment.path, recipe.interpreter, disk)
    left_out = install_build_requirements(recipe, environment, gathered, disk=disk, timeout=timeout)
    if left_out:
        _delete(directory, disk)
        return left_out
    receipt = {
        "schema": SCHEMA,
        "requires": recipe.requires,
        "python": recipe.interpreter.executable,
        "engine": recipe.engine.name,
        "installed": environment.installed(),
        "local": gathered.trees,
    }
    disk.adopt_tree(directory, directory)
    # The receipt says that all of it is there: so it must be, when the power goes.
    disk.sync_tree(directory)
    # A fixed, old time: the receipt is an input of the edges that use the environment, and may be made while one runs.
    disk.publish(environment.receipt, json.dumps(receipt, indent=1, sort_keys=True).encode() + b"\n", mtime_ns=10**9)
    return ()


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
