"""The redo journal: what a commit is about to do, durable before the first rename, so that whoever comes next can finish.

Each operation can be done again: a crash at any point, in a recovery too, leaves a journal that still leads to the new
state. Paths are relative to the environment; those of a journal that lead out of it are refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.environment import state_directory
from interlock.errors import UnsafePath

if TYPE_CHECKING:
    from interlock.durable import Disk

__all__ = ["Journal", "Operation", "apply", "journal_path", "recover", "staging_directory", "write"]

Operation = tuple[str, ...]
"""("directory", path), ("replace", staged, path), ("remove", path) or ("remove-directory", path)."""

ARITY = {"directory": 2, "replace": 3, "remove": 2, "remove-directory": 2}
STAGING = ".interlock/staging"


@dataclass(frozen=True, slots=True)
class Journal:
    """One commit: its staging directory, its operations in order, the directories to sync at the end."""

    staging: str
    operations: tuple[Operation, ...]
    directories: tuple[str, ...]


def journal_path(environment: str) -> str:
    """Return the path of an environment's journal; it exists only while a commit is under way, or after a crash."""
    return os.path.join(state_directory(environment), "journal.json")


def staging_directory(environment: str) -> str:
    """Return the directory that holds staged files, on the environment's own file system."""
    return os.path.join(environment, *STAGING.split("/"))


def write(environment: str, journal: Journal, *, disk: Disk) -> None:
    """Make a journal durable; from here on the commit will be finished, by this process or the next."""
    data = {
        "schema": 1,
        "staging": journal.staging,
        "operations": journal.operations,
        "directories": journal.directories,
    }
    disk.publish(journal_path(environment), json.dumps(data).encode())


def apply(environment: str, journal: Journal, *, disk: Disk) -> None:
    """Do what a journal says, in its order, sync the touched directories and remove the journal."""
    for operation in journal.operations:
        _do(environment, operation, disk)
    for directory in journal.directories:
        if os.path.isdir(path := _inside(environment, directory)):
            disk.sync_directory(path)
    disk.remove(journal_path(environment))
    disk.sync_directory(state_directory(environment))
    disk.remove_tree(_inside(environment, journal.staging))


def recover(environment: str, *, disk: Disk) -> bool:
    """Finish the commit of a process that died in it; tell whether there was one. The caller holds the environment lock.

    A journal that cannot be read, or whose staged files are gone (a crash without fsync), is set aside as
    `journal.damaged.json`: the edge that wrote it left no stamp, runs again and repairs what it touched.
    """
    path = journal_path(environment)
    try:
        with open(path, "rb") as reader:
            journal = _parse(json.loads(reader.read()))
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        disk.replace(path, os.path.join(state_directory(environment), "journal.damaged.json"))
        return False
    try:
        apply(environment, journal, disk=disk)
    except FileNotFoundError:
        disk.replace(path, os.path.join(state_directory(environment), "journal.damaged.json"))
        return False
    return True


def _parse(data: dict[str, Any]) -> Journal:
    operations = tuple(tuple(str(word) for word in operation) for operation in data["operations"])
    if any(len(operation) != ARITY[operation[0]] for operation in operations):
        raise ValueError("an operation has too few words, or too many")
    return Journal(str(data["staging"]), operations, tuple(str(name) for name in data["directories"]))


def _do(environment: str, operation: Operation, disk: Disk) -> None:
    verb, *names = operation
    paths = [_inside(environment, name) for name in names]
    if verb == "directory":
        disk.make_directory(paths[0])
    elif verb == "replace":
        _replace(paths[0], paths[1], disk)
    elif verb == "remove":
        disk.remove(paths[0])
    else:
        disk.remove_directory(paths[0])


def _replace(staged: str, destination: str, disk: Disk) -> None:
    try:
        disk.replace(staged, destination)
    except FileNotFoundError:
        # Done before the crash: the staged file has moved to its place.
        if os.path.lexists(staged) or not os.path.lexists(destination):
            raise


def _inside(environment: str, relative: str) -> str:
    path = os.path.normpath(os.path.join(environment, *relative.split("/")))
    root = os.path.normpath(environment)
    if path != root and not path.startswith(root + os.sep):
        raise UnsafePath(
            f"the journal of {environment} names a path outside of it: {relative}",
            advice=f"Remove {journal_path(environment)} and run the build again.",
        )
    return path
