"""What goes into a build environment: third-party requirements in one run of the engine, local directories one by one.

A local build requirement is a directory: the backend of a workspace that lives in the workspace, or `name @ file:///...`.
It is built under its own source-tree lock, and what it depends on is looked for among the local ones first, so that no
name of a workspace project is asked of an index.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from interlock.cache import cache_directory
from interlock.distribution import read_metadata_header, scan
from interlock.errors import MetadataError
from interlock.locks import Rank, hold

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable, Iterator

    from interlock.build_environment import BuildEnvironment, Recipe
    from interlock.durable import Disk
    from interlock.prepared import Requirement

__all__ = ["install_build_requirements", "source_tree", "tree_digest", "tree_files"]

# What building a project leaves in its tree, or what is none of its source.
NOT_SOURCE = frozenset({"__pycache__", "build", "dist", "node_modules"})


def source_tree(directory: str, *, disk: Disk, timeout: float | None = None) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of a source tree: setuptools writes egg-info there, and two hooks at once would race."""
    real = os.path.realpath(directory)
    digest = hashlib.sha256(os.fsencode(os.path.normcase(real))).hexdigest()
    locks = os.path.join(cache_directory(), "locks")
    disk.make_directory(locks)
    return hold(
        os.path.join(locks, f"tree-{digest}.lock"), Rank.SOURCE_TREE, what=f"source tree {real}", timeout=timeout
    )


def install_build_requirements(
    recipe: Recipe, environment: BuildEnvironment, *, disk: Disk, timeout: float | None = None
) -> list[str]:
    """Install a recipe's requirements into its new environment; return the local directories that were installed.

    Raises:
        MetadataError: a build requirement is none (PEP 508).
        EngineError: the engine could not install it.
    """
    pending = _parse(recipe.requires, recipe)
    third_party: list[str] = []
    local: dict[str, str] = {}
    while pending:
        requirement = pending.pop()
        directory = recipe.local.get(requirement.name) or _directory_of(requirement.url)
        if not directory:
            third_party.append(requirement.requirement)
        elif requirement.name not in local:
            local[requirement.name] = directory
            with source_tree(directory, disk=disk, timeout=timeout):
                _install_local(requirement.name, directory, recipe, environment)
            pending += _needs(requirement, recipe, environment)
    if third_party:
        constraints = [word for path in recipe.constraints for word in ("-c", path)]
        recipe.engine.install(
            environment.python,
            [*constraints, *sorted(set(third_party))],
            what=f"the build requirements {', '.join(recipe.requires)}{_of(recipe)}",
            compile_bytecode=True,
        )
    return list(local.values())


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
            and not name.startswith(".")
            and not name.endswith(".egg-info")
            and not os.path.exists(os.path.join(top, name, "pyvenv.cfg"))
        )
        yield from (os.path.join(top, name) for name in sorted(names) if os.path.isfile(os.path.join(top, name)))


def _install_local(name: str, directory: str, recipe: Recipe, environment: BuildEnvironment) -> None:
    # uv takes a directory for unchanged as long as its pyproject.toml is.
    again = ["--reinstall-package", name] if recipe.engine.name == "uv" else []
    recipe.engine.install(
        environment.python,
        ["--no-deps", *again, directory],
        what=f"the local build requirement {name} ({directory}){_of(recipe)}",
        compile_bytecode=True,
    )


def _needs(requirement: Requirement, recipe: Recipe, environment: BuildEnvironment) -> list[Requirement]:
    found = scan(environment.site_packages).get(requirement.name)
    if not found:
        raise MetadataError(
            f"the build requirement {requirement.name} is not what its directory builds",
            advice="Name the directory of the project that has this name.",
        )
    header = read_metadata_header(os.path.join(found[0].directory, "METADATA"))
    return _parse(header.get("requires-dist", ()), recipe, requirement.extras)


def _parse(lines: Iterable[str], recipe: Recipe, extras: Iterable[str] = ()) -> list[Requirement]:
    from packaging.requirements import InvalidRequirement

    from interlock.satisfy import parse_requirements

    try:
        return parse_requirements(lines, recipe.interpreter, extras)
    except InvalidRequirement as error:
        raise MetadataError(
            f"a build requirement cannot be read: {error}",
            advice="Correct [build-system] requires (PEP 508) of the project that names it.",
        ) from error


def _of(recipe: Recipe) -> str:
    return f" of {recipe.wanted_by}" if recipe.wanted_by else ""


def _directory_of(url: str) -> str:
    """Return the directory that a file: URL names, "" where it is an archive or another kind of URL."""
    if not url.startswith("file:"):
        return ""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    path = url2pathname(urlsplit(url).path)
    return path if os.path.isdir(path) else ""
