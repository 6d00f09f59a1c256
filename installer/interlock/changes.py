"""What a commit changes: worked out under the lock, from what is on disk at that moment, before anything is touched."""

from __future__ import annotations

import glob
import hashlib
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.distribution import parse_record, scan
from interlock.errors import FileConflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.distribution import Installed
    from interlock.environment import Environment
    from interlock.journal import Operation
    from interlock.prepared import File, Prepared

__all__ = ["Change", "changes_to_install", "changes_to_remove", "owned_paths"]


@dataclass(frozen=True, slots=True)
class Change:
    """The steps of one commit; every path is relative to the environment.

    `arrives` are files to put in place, in order; `dist_info` is a whole directory to rename into place, "" where there is
    none; `leaves` are files to remove and `emptied` the directories that may be empty after that, deepest first.
    """

    new_directories: tuple[str, ...]
    arrives: tuple[str, ...]
    dist_info: str
    leaves: tuple[str, ...]
    emptied: tuple[str, ...]

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories to sync once all is done."""
        touched = {posixpath.dirname(path) for path in (*self.arrives, *self.leaves, self.dist_info) if path}
        touched |= {posixpath.dirname(path) for path in (*self.new_directories, *self.emptied)}
        return tuple(sorted(touched | set(self.new_directories)))

    def operations(self, staged: str) -> tuple[Operation, ...]:
        """Return the journal's operations: payload, then dist-info (RECORD last), then what is stale."""
        steps: list[Operation] = [("directory", path) for path in self.new_directories]
        steps += [("replace", f"{staged}/{path}", path) for path in self.arrives]
        if self.dist_info:
            steps.append(("replace", f"{staged}/{self.dist_info}", self.dist_info))
        steps += [("remove", path) for path in self.leaves]
        steps += [("remove-directory", path) for path in self.emptied]
        return tuple(steps)


def changes_to_install(
    prepared: Prepared, installed: Mapping[str, Sequence[Installed]], environment: Environment
) -> Change:
    """Work out how a prepared distribution takes the place of what is installed under its name.

    Raises:
        FileConflict: a path belongs to another distribution with other content, or a directory is in the way.
    """
    previous = installed.get(prepared.normalized, ())
    old = owned_paths(previous, environment)
    new = [file.path for file in prepared.files]
    _check_conflicts([file for file in prepared.files if file.path not in old], prepared, environment)
    whole = not os.path.lexists(environment.absolute(prepared.dist_info))
    inside = tuple(path for path in new if path.startswith(prepared.dist_info + "/"))
    arrives = [path for path in new if path not in inside]
    arrives += [] if whole else inside  # RECORD is the last of the files
    directories = dict.fromkeys(path for name in arrives for path in _missing_parents(name, environment))
    leaves = _with_bytecode(sorted(old - set(new)), environment)
    return Change(
        tuple(sorted(directories)),
        tuple(arrives),
        prepared.dist_info if whole else "",
        leaves,
        _emptied(leaves, new, environment),
    )


def changes_to_remove(previous: Sequence[Installed], environment: Environment) -> Change:
    """Work out how all distributions of one name leave: what RECORD lists, RECORD itself last."""
    own = owned_paths(previous, environment)
    ordered = sorted(own, key=lambda path: (".dist-info/" in path, path.endswith("/RECORD"), path))
    leaves = _with_bytecode(ordered, environment)
    return Change((), (), "", leaves, _emptied(leaves, (), environment))


def owned_paths(distributions: Iterable[Installed], environment: Environment) -> set[str]:
    """Return the paths that distributions own, relative to the environment; those outside of it are left out.

    A dist-info directory without RECORD (a half-written install of another tool) owns what is in it.
    """
    owned: set[str] = set()
    for distribution in distributions:
        base = os.path.dirname(distribution.directory)
        try:
            with open(os.path.join(distribution.directory, "RECORD"), encoding="utf-8", newline="") as reader:
                listed = [os.path.join(base, *entry.path.split("/")) for entry in parse_record(reader.read())]
        except FileNotFoundError:
            listed = []
        listed += [os.path.join(top, name) for top, _, names in os.walk(distribution.directory) for name in names]
        owned |= {relative for path in listed if (relative := _relative(path, environment))}
    return owned


def _relative(path: str, environment: Environment) -> str:
    normal = os.path.normpath(path)
    if not normal.startswith(environment.path + os.sep):
        return ""
    return os.path.relpath(normal, environment.path).replace(os.sep, "/")


def _check_conflicts(files: Iterable[File], prepared: Prepared, environment: Environment) -> None:
    for file in files:
        path = environment.absolute(file.path)
        if not os.path.lexists(path) or file.path.startswith(prepared.dist_info + "/"):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            raise FileConflict(
                f"{prepared.name} {prepared.version} ships {file.path}, which is a directory in {environment.path}",
                advice=f"Remove {path} by hand if nothing needs it. Nothing was changed.",
            )
        with open(path, "rb") as reader:
            same = hashlib.file_digest(reader, "sha256").hexdigest() == file.sha256
        owner = None if same else _owner(file.path, prepared.normalized, environment)
        if owner is not None:
            raise FileConflict(
                f"{prepared.name} {prepared.version} and {owner.name} {owner.version} both ship {file.path}, "
                f"with different content, in {environment.path}",
                advice="Rename one of them, or put the two projects into different environments. Nothing was changed.",
            )


def _owner(path: str, but: str, environment: Environment) -> Installed | None:
    for name, distributions in scan(environment.site_packages).items():
        for distribution in distributions:
            if name != but and path in owned_paths([distribution], environment):
                return distribution
    return None


def _missing_parents(path: str, environment: Environment) -> list[str]:
    missing = []
    while (path := posixpath.dirname(path)) and not os.path.isdir(environment.absolute(path)):
        missing.append(path)
    return missing


def _with_bytecode(leaves: Iterable[str], environment: Environment) -> tuple[str, ...]:
    """Add the bytecode of modules that leave: interpreters wrote it, and no RECORD has to list it."""
    found: dict[str, None] = {}
    for path in leaves:
        found[path] = None
        if path.endswith(".py"):
            directory, name = posixpath.split(path)
            stem = glob.escape(environment.absolute(posixpath.join(directory, "__pycache__", name[:-3])))
            found |= dict.fromkeys(_relative(match, environment) for match in sorted(glob.glob(stem + ".*.pyc")))
    return tuple(found)


def _emptied(leaves: Iterable[str], stays: Iterable[str], environment: Environment) -> tuple[str, ...]:
    """Return the directories below which something leaves, deepest first, but never the environment's own."""
    layout = environment.layout
    own = {layout.purelib, layout.platlib, layout.scripts, "bin", "lib", "include", "share", ""}
    kept = own | {parent for path in (*own, *stays) for parent in _parents(path)}
    candidates = {parent for path in leaves for parent in _parents(path)} - kept
    return tuple(sorted(candidates, key=lambda path: (-path.count("/"), path)))


def _parents(path: str) -> list[str]:
    parents = []
    while path := posixpath.dirname(path):
        parents.append(path)
    return parents
