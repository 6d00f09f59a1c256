"""Wheels of local build requirements: built by their own backends, in build environments of their own, and kept.

    <cache>/local-wheels/<tree>/<key>/wheel.json      what the wheel was made from; published last
    <cache>/local-wheels/<tree>/<key>/<digest>/*.whl  the wheel

<tree> stands for the directory, <key> for the build environment, <digest> for the source files. All of it is guarded by the
lock of the source tree.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.answers import build_requires
from interlock.build_environment import held, local_trees, missing
from interlock.build_requirements import source_tree, tree_digest, tree_name
from interlock.cache import cache_directory
from interlock.distribution import normalize
from interlock.documents import parse_json
from interlock.errors import InterlockError, LockTimeout, MetadataError
from interlock.hooks import HookEnvironment, open_project
from interlock.locks import Rank, hold
from interlock.timings import span
from interlock.wheel import open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.build_environment import BuildEnvironment
    from interlock.build_recipe import Recipe
    from interlock.durable import Disk
    from interlock.hooks import ConfigSettings, Kind, Project

__all__ = ["LocalWheel", "local_wheel", "remove_wheels", "surroundings"]

SCHEMA = 1
RECEIPT = "wheel.json"


@dataclass(frozen=True, slots=True)
class LocalWheel:
    """A wheel of a local build requirement.

    `requires` are its requirements as its METADATA has them; `trees` has the directory and the digest of its own source tree
    and of each local project that was needed to build it, by name.
    """

    name: str
    directory: str
    path: str
    requires: tuple[str, ...]
    trees: dict[str, tuple[str, str]]


def local_wheel(
    name: str,
    directory: str,
    recipe: Recipe,
    *,
    disk: Disk,
    timeout: float | None = None,
    inside: tuple[str, ...] = (),
) -> LocalWheel:
    """Return the wheel of the project `name` in a directory, built if there is none of what the directory now holds.

    `recipe` is what it is needed for: its interpreter, constraints, engine and local names hold here too. `inside` are the
    directories of the local build requirements that are being built, outermost first.

    Raises:
        MetadataError: it needs itself to be built, or the directory builds a project of another name.
        BackendError, WheelError, EngineError: it could not be built.
    """
    directory = os.path.abspath(directory)
    if directory in inside:
        circle = " -> ".join([*inside[inside.index(directory) :], directory])
        raise MetadataError(
            f"{name} is needed to build itself: {circle}",
            advice="Take the name of one out of [build-system] requires of another; a project that builds itself has "
            "`backend-path` for that (PEP 517).",
        )
    try:
        import shlex
        import sys

        project = open_project(directory, reproduce=shlex.join([sys.executable, "-m", "build", "--wheel", directory]))
        inner = recipe.renewed(project.requires, directory)
        entry = os.path.join(_root(), tree_name(directory), inner.key)
        with source_tree(directory, disk=disk, timeout=timeout):
            found = _kept(entry, name, directory, inner)
        if found is None:
            build = surroundings(project, inner, {}, "wheel", disk=disk, timeout=timeout, inside=(*inside, directory))
            with build as (environment, _):
                # Another process may have built it meanwhile.
                found = _kept(entry, name, directory, inner) or _build(project, name, environment, entry, disk)
    except InterlockError as error:
        error.message = f"the local build requirement {name}{_of(recipe)}: {error.message}"
        raise
    return found


@contextlib.contextmanager
def surroundings(
    project: Project,
    recipe: Recipe,
    settings: ConfigSettings,
    kind: Kind,
    *,
    disk: Disk,
    timeout: float | None = None,
    inside: tuple[str, ...] = (),
) -> Iterator[tuple[BuildEnvironment, Recipe]]:
    """Give the build environment that has all a project's hooks need, and its recipe; hold it and the source tree."""
    with (
        held(recipe, disk=disk, timeout=timeout, inside=inside) as build,
        source_tree(project.directory, disk=disk, timeout=timeout),
    ):
        with span("get requires", project.directory):
            more = missing(build, recipe, build_requires(project, build, settings, kind, disk))
        if not more:
            yield build, recipe
            return
    recipe = recipe.extended(more)
    with (
        held(recipe, disk=disk, timeout=timeout, inside=inside) as build,
        source_tree(project.directory, disk=disk, timeout=timeout),
    ):
        yield build, recipe


def remove_wheels(older_than_days: float | None, *, disk: Disk, timeout: float | None = None) -> None:
    """Delete the wheels of local build requirements, all or those built some days ago; one in use is waited for or left."""
    root = _root()
    for tree in _names(root):
        directory = os.path.join(root, tree)
        limit = timeout if older_than_days is None else 0
        lock = os.path.join(cache_directory(), "locks", f"{tree}.lock")
        try:
            with hold(lock, Rank.SOURCE_TREE, what=f"wheels in {directory}", timeout=limit):
                for key in _names(directory):
                    entry = os.path.join(directory, key)
                    if older_than_days is None or os.stat(entry).st_mtime < time.time() - older_than_days * 86400:
                        disk.remove(os.path.join(entry, RECEIPT))
                        disk.remove_tree(entry)
                disk.remove_directory(directory)
        except LockTimeout:
            if older_than_days is None:
                raise
    disk.remove_directory(root)


def _build(project: Project, name: str, environment: BuildEnvironment, entry: str, disk: Disk) -> LocalWheel:
    """Build a wheel in the place of an older one."""
    directory = project.directory
    # Before the build: an edit that is made meanwhile makes it out of date.
    digest = tree_digest(directory)
    disk.remove(os.path.join(entry, RECEIPT))
    disk.remove_tree(entry)
    # The digest is in the path because uv takes one path for one wheel.
    output = os.path.join(entry, digest)
    disk.make_directory(output)
    with span("build", directory):
        path = project.build_wheel(HookEnvironment.of(environment), {}, output)
    with open_wheel(path) as wheel:
        built = normalize(wheel.name)
        metadata = wheel.metadata
    if built != name:
        raise MetadataError(
            f"the build requirement {name} is not what its directory builds: {directory} is {built}",
            advice="Name the directory of the project that has this name.",
        )
    trees = {**local_trees(environment), name: (directory, digest)}
    requires = tuple(metadata.get("requires-dist", ()))
    receipt = {"schema": SCHEMA, "path": os.path.relpath(path, entry), "requires": requires, "trees": trees}
    disk.sync_tree(entry)
    disk.publish(os.path.join(entry, RECEIPT), json.dumps(receipt, indent=1, sort_keys=True).encode())
    return LocalWheel(name, directory, path, requires, trees)


def _kept(entry: str, name: str, directory: str, recipe: Recipe) -> LocalWheel | None:
    """Return the wheel that is there, if all that it was made from is where and as it was."""
    try:
        with open(os.path.join(entry, RECEIPT), "rb") as reader:
            receipt: dict[str, Any] = parse_json(reader.read())
    except (FileNotFoundError, ValueError):
        return None
    if receipt.get("schema") != SCHEMA:
        return None
    trees = {each: (str(place), str(digest)) for each, (place, digest) in receipt["trees"].items()}
    path = os.path.join(entry, receipt["path"])
    if name not in trees or not os.path.exists(path):
        return None
    for each, (place, digest) in trees.items():
        if (each != name and recipe.local.get(each, place) != place) or tree_digest(place) != digest:
            return None
    return LocalWheel(name, directory, path, tuple(receipt["requires"]), trees)


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _root() -> str:
    return os.path.join(cache_directory(), "local-wheels")


def _of(recipe: Recipe) -> str:
    return f" of {recipe.wanted_by}" if recipe.wanted_by else ""
