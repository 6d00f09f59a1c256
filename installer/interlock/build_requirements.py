"""What goes into a build environment: third-party requirements in one run of the engine, local directories one by one.

A local build requirement is a directory: the backend of a workspace that lives in the workspace, or `name @ file:///...`.
It is built by its own backend in a build environment of its own, and what it depends on is looked for in the workspace
first. The engine gets the wheels, and third-party requirements of which the workspace's names are withheld: no name of a
project of the workspace is ever asked of an index.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.cache import cache_directory
from interlock.distribution import read_metadata_header, scan
from interlock.errors import MetadataError
from interlock.file_urls import local_path
from interlock.locks import Rank, hold
from interlock.workspace_names import directory_of, withhold

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable, Iterator

    from interlock.build_environment import BuildEnvironment
    from interlock.build_recipe import Recipe
    from interlock.durable import Disk
    from interlock.local_wheels import LocalWheel
    from interlock.prepared import Requirement

__all__ = ["Gathered", "gather", "install_build_requirements", "source_tree", "tree_digest", "tree_files", "tree_name"]

# What is none of a project's source; and what building it leaves at the top of its tree: a package may have that name.
NOT_SOURCE = frozenset({"__pycache__", "node_modules"})
LEFT_AT_TOP = frozenset({"build", "dist"})


def source_tree(directory: str, *, disk: Disk, timeout: float | None = None) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of a source tree: setuptools writes egg-info there, and two hooks at once would race."""
    real = os.path.realpath(directory)
    locks = os.path.join(cache_directory(), "locks")
    disk.make_directory(locks)
    lock = os.path.join(locks, f"{tree_name(directory)}.lock")
    return hold(lock, Rank.SOURCE_TREE, what=f"source tree {real}", timeout=timeout)


def tree_name(directory: str) -> str:
    """Return the name of a source tree in the cache: one for all paths to it."""
    real = os.path.normcase(os.path.realpath(directory))
    return f"tree-{hashlib.sha256(os.fsencode(real)).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is to be installed for a recipe, with wheels of all that is local.

    `names` are the workspace's projects among it; `trees` has the directory and the digest of each local project by its
    name, of those too that were only needed to build others.
    """

    third_party: tuple[str, ...]
    wheels: tuple[LocalWheel, ...]
    names: frozenset[str]
    trees: dict[str, tuple[str, str]]


def gather(recipe: Recipe, *, disk: Disk, timeout: float | None = None, inside: tuple[str, ...] = ()) -> Gathered:
    """Build wheels of a recipe's local requirements, and of what these need, and tell them from the third-party ones.

    No lock may be held. `inside` are the directories of those whose building needs this, outermost first.

    Raises:
        MetadataError: a build requirement is none (PEP 508), is not what its directory builds, or needs itself.
        ConfigurationError: a name of the workspace has no directory.
        BackendError, WheelError, EngineError: a local one could not be built.
    """
    from interlock.local_wheels import local_wheel

    pending = _parse([*recipe.requires, *(each for each in recipe.left_out if _is_local(each, recipe))], recipe)
    third_party: set[str] = set()
    wheels: dict[str, LocalWheel] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while pending:
        requirement = pending.pop()
        directory = _directory_for(requirement, recipe)
        if not directory:
            third_party.add(requirement.requirement)
        elif (requirement.name, requirement.extras) not in seen:
            seen.add((requirement.name, requirement.extras))
            if requirement.name not in wheels:
                wheels[requirement.name] = local_wheel(
                    requirement.name, directory, recipe, disk=disk, timeout=timeout, inside=inside
                )
            pending += _parse(wheels[requirement.name].requires, recipe, requirement.extras)
    trees = {name: tree for wheel in wheels.values() for name, tree in wheel.trees.items()}
    names = frozenset(name for name in wheels if name in recipe.local)
    return Gathered(tuple(sorted(third_party)), tuple(wheels.values()), names, trees)


def install_build_requirements(
    recipe: Recipe,
    environment: BuildEnvironment,
    gathered: Gathered,
    *,
    disk: Disk,
    timeout: float | None = None,
) -> list[str]:
    """Install what was gathered for a recipe into its new environment.

    Return the requirements on projects of the workspace that third-party distributions have and that were not gathered: no
    index was asked for these.

    Raises:
        EngineError: the engine could not install it.
    """
    for wheel in gathered.wheels:
        with source_tree(wheel.directory, disk=disk, timeout=timeout):
            recipe.engine.install(
                environment.python,
                ["--no-deps", wheel.path],
                what=f"the local build requirement {wheel.name} ({wheel.directory}){_of(recipe)}",
                compile_bytecode=True,
            )
    if gathered.third_party:
        directory = os.path.dirname(environment.receipt)
        engine, withheld = withhold(recipe.engine, environment.python, recipe.local, directory, disk=disk)
        constraints = [word for path in recipe.constraints for word in ("-c", path)]
        engine.install(
            environment.python,
            [*constraints, *withheld, *gathered.third_party],
            what=f"the build requirements {', '.join(recipe.requires)}{_of(recipe)}",
            compile_bytecode=True,
        )
    return _left_out(recipe, environment) if recipe.local else []


def tree_digest(directory: str) -> str:
    """Return a digest of the names, sizes and times of a tree's source files; it changes when one of them does."""
    digest = hashlib.sha256()
    for path in tree_files(directory):
        status = os.stat(path)
        entry = f"{os.path.relpath(path, directory)}\0{status.st_size}\0{status.st_mtime_ns}\0"
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def tree_files(directory: str) -> Iterator[str]:
    """Yield the source files of a tree in a stable order, without what builds leave there; nothing if it is gone."""
    for top, directories, names in os.walk(directory):
        directories[:] = sorted(
            name
            for name in directories
            if name not in NOT_SOURCE
            and (top != directory or name not in LEFT_AT_TOP)
            and not name.startswith(".")
            and not name.endswith(".egg-info")
            and not os.path.exists(os.path.join(top, name, "pyvenv.cfg"))
        )
        yield from (os.path.join(top, name) for name in sorted(names) if os.path.isfile(os.path.join(top, name)))


def _left_out(recipe: Recipe, environment: BuildEnvironment) -> list[str]:
    """Return what is needed of the workspace, by whatever is installed, and is not there."""
    installed = scan(environment.site_packages)
    pending = _parse([*recipe.requires, *recipe.left_out], recipe)
    seen: set[tuple[str, tuple[str, ...]]] = set()
    found = set()
    while pending:
        requirement = pending.pop()
        if (requirement.name, requirement.extras) in seen:
            continue
        seen.add((requirement.name, requirement.extras))
        if requirement.name in installed:
            header = read_metadata_header(os.path.join(installed[requirement.name][0].directory, "METADATA"))
            pending += _parse(header.get("requires-dist", ()), recipe, requirement.extras)
        elif requirement.name in recipe.local:
            extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
            found.add(f"{requirement.name}{extras}")
    return sorted(found)


def _directory_for(requirement: Requirement, recipe: Recipe) -> str:
    if requirement.name in recipe.local:
        return directory_of(requirement.name, recipe.local)
    return _directory_of(requirement.url)


def _is_local(line: str, recipe: Recipe) -> bool:
    return all(one.name in recipe.local for one in _parse([line], recipe))


def _parse(lines: Iterable[str], recipe: Recipe, extras: Iterable[str] = ()) -> list[Requirement]:
    from interlock.satisfy import parse_requirements

    try:
        return parse_requirements(lines, recipe.interpreter, extras)
    except ValueError as error:
        raise MetadataError(
            f"a build requirement cannot be read: {error}",
            advice="Correct [build-system] requires (PEP 508) of the project that names it.",
        ) from error


def _of(recipe: Recipe) -> str:
    return f" of {recipe.wanted_by}" if recipe.wanted_by else ""


def _directory_of(url: str) -> str:
    """Return the directory that a file: URL names, "" where it is an archive or another kind of URL."""
    path = local_path(url)
    return path if os.path.isdir(path) else ""
