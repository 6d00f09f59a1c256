"""The redo journal: what a commit is about to do, durable before the first rename, so that whoever comes next can finish.

Each operation can be done again: a crash at any point, in a recovery too, leaves a journal that still leads to the new
state. Paths are relative to the environment; those that lead out of it, through a symbolic link too, are refused.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.documents import parse_json
from interlock.environment import state_directory
from interlock.errors import DiskError, InterlockError, UnsafePath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.durable import Disk

__all__ = [
    "Journal",
    "Operation",
    "apply",
    "damaged_distribution",
    "damaged_path",
    "directory_digest",
    "journal_path",
    "listing_digest",
    "perform",
    "recover",
    "settle",
    "staging_directory",
    "staging_of",
    "sync_removal",
    "write",
    "write_ahead",
]

Operation = tuple[str, ...]
"""One of ("directory", path), ("replace", staged, path), ("exchange", staged, path, new, old), ("retire", path),
("remove", path), ("remove-directory", path), ("clear", path) and ("clear-directory", path).

"exchange" lets a staged directory and the one in its place change places in one step, where the file system can; by the
digests of their files (`listing_digest`) a recovery knows which of the two is the new one. A "replace" of each file follows,
for where it cannot. "retire" moves a directory out of the way in one step, into the staging directory. "clear" removes a
file or a link, and "clear-directory" an empty directory, where something of another kind comes later. What lies behind a link
they never touch: done again, they may find a link on their way that is already the new one."""

ARITY = {"directory": 2, "replace": 3, "exchange": 5, "retire": 2, "remove": 2, "remove-directory": 2}
CLEARING = ("clear", "clear-directory")
ARITY |= dict.fromkeys(CLEARING, 2)
PATHS = 3  # an operation's words up to here are its name and paths
STAGING = ".interlock/staging"
PROBE = ".interlock-probe"
_STAGING_ENTRY = re.compile(re.escape(STAGING) + r"/(?!\.\.?$)[^/\0]+")
AHEAD = ".journal"  # in the staging directory: the journal that is to be expected
ASIDE = ".aside"  # in the staging directory: what was retired, and what stood in the way


@dataclass(frozen=True, slots=True)
class Journal:
    """One commit: its staging directory, its operations in order, the directories to sync at the end, and whose it is."""

    staging: str
    operations: tuple[Operation, ...]
    directories: tuple[str, ...]
    distribution: str = ""


def journal_path(environment: str) -> str:
    """Return the path of an environment's journal; it exists only while a commit is under way, or after a crash."""
    return os.path.join(state_directory(environment), "journal.json")


def damaged_path(environment: str) -> str:
    """Return the path of a journal that could not be finished; it is there until its distribution is committed again."""
    return os.path.join(state_directory(environment), "journal.damaged.json")


def staging_directory(environment: str) -> str:
    """Return the directory that holds staged files, on the environment's own file system."""
    return os.path.join(environment, *STAGING.split("/"))


def write_ahead(environment: str, journal: Journal, *, disk: Disk) -> None:
    """Bring a journal to the disk in its staging directory, where it says nothing yet; the lock is not needed for that."""
    disk.write(_ahead(environment, journal), _text(journal))


def write(environment: str, journal: Journal, *, disk: Disk) -> None:
    """Make a journal durable; from here on the commit will be finished, by this process or the next."""
    text, ahead = _text(journal), _ahead(environment, journal)
    if _content(ahead) != text:
        disk.publish(journal_path(environment), text)
        return
    disk.replace(ahead, journal_path(environment))
    disk.sync_directory(state_directory(environment))


def _text(journal: Journal) -> bytes:
    data = {
        "schema": 1,
        "distribution": journal.distribution,
        "staging": journal.staging,
        "operations": journal.operations,
        "directories": journal.directories,
    }
    return json.dumps(data).encode()


def _ahead(environment: str, journal: Journal) -> str:
    return os.path.join(_inside(environment, journal.staging), AHEAD)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as reader:
            return reader.read()
    except OSError:
        return b""


def perform(environment: str, journal: Journal, *, disk: Disk) -> None:
    """Write a journal and do what it says. What is refused before anything could be seen leaves no journal and no change.

    What needs no lock is left to the caller: `sync_removal` before anybody is told that it is done, and then the staging
    directory, which has what left the environment.

    Raises:
        DiskError: refused. Was something renamed already, then the journal stays, for the next lock holder to finish.
    """
    disk.make_directory(staging_directory(environment), below=os.path.realpath(environment))
    write(environment, journal, disk=disk)
    done: list[Operation] = []
    try:
        _do_all(environment, journal, done, disk)
    except (InterlockError, OSError):
        if all(operation[0] == "directory" for operation in done) and not os.path.lexists(_aside(environment, journal)):
            # The one that failed may have made its directory, and not been able to sync it.
            for operation in reversed(journal.operations[: len(done) + 1]):
                if operation[0] == "directory":
                    disk.remove_directory(_inside(environment, operation[1]))
            _forget(environment, disk)
        raise
    disk.remove(journal_path(environment))


def sync_removal(environment: str, *, disk: Disk) -> None:
    """Make certain that a journal does not come back after a power loss: it would undo what others do from now on."""
    with contextlib.suppress(FileNotFoundError):  # the environment was removed
        disk.sync_directory(state_directory(environment))


def apply(environment: str, journal: Journal, *, disk: Disk) -> None:
    """Do what a journal says, in its order, sync the touched directories, remove the journal and what is staged."""
    _do_all(environment, journal, [], disk)
    _forget(environment, disk)
    # All is done: what cannot be removed now is removed by a later lock holder.
    with contextlib.suppress(DiskError, OSError):
        disk.remove_tree(_inside(environment, journal.staging))


def recover(environment: str, *, disk: Disk) -> bool:
    """Finish the commit of a process that died in it; tell whether there was one. The caller holds the environment lock.

    A journal that cannot be read or finished (its staged files are gone after a crash without fsync, the file system refuses)
    is set aside as `journal.damaged.json`, so that it stands in nobody's way: the edge that wrote it left no stamp, runs
    again and repairs what it touched.
    """
    path = journal_path(environment)
    if not os.path.lexists(path):
        return False
    try:
        with open(path, "rb") as reader:
            content = reader.read()
        journal = _parse(parse_json(content))
        # Its author may have been killed before this: a power loss must not take the journal and leave what is done here.
        disk.sync_directory(state_directory(environment))
        apply(environment, journal, disk=disk)
    except (ValueError, LookupError, TypeError, AttributeError, OSError, InterlockError):
        disk.replace(path, damaged_path(environment))
        disk.sync_directory(state_directory(environment))
        return False
    return True


def staging_of(environment: str) -> str:
    """Return the staging directory that the environment's journal names, relative to it; "" where there is none."""
    return str(_read(journal_path(environment)).get("staging", ""))


def damaged_distribution(environment: str) -> str | None:
    """Return whose commit could not be finished: "" where that cannot be read, None where there is no such commit."""
    path = damaged_path(environment)
    return str(_read(path).get("distribution", "")) if os.path.lexists(path) else None


def settle(environment: str, distribution: str, *, disk: Disk) -> None:
    """Forget a damaged journal, now that its distribution (or, where that is unknown, any) was committed whole."""
    if damaged_distribution(environment) in {"", distribution}:
        disk.remove(damaged_path(environment))


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as reader:
            data = parse_json(reader.read())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _parse(data: dict[str, Any]) -> Journal:
    operations = tuple(tuple(str(word) for word in operation) for operation in data["operations"])
    if any(len(operation) != ARITY[operation[0]] for operation in operations):
        raise ValueError("an operation has too few words, or too many")
    if not _STAGING_ENTRY.fullmatch(str(data["staging"])):
        raise ValueError("it names another directory than its own, which would be removed in the end")
    directories = tuple(str(name) for name in data["directories"])
    return Journal(str(data["staging"]), operations, directories, str(data.get("distribution", "")))


def _do_all(environment: str, journal: Journal, done: list[Operation], disk: Disk) -> None:
    root = os.path.realpath(environment)
    step = _Step(root, _aside(environment, journal), disk)
    for operation in journal.operations:
        if operation[0] in CLEARING and _is_behind_a_link(environment, operation[1]):
            continue
        paths = [_below(root, name) for name in operation[1:PATHS]]
        step.do(operation[0], *paths, *operation[PATHS:])
        done.append(operation)
    for directory in journal.directories:
        if os.path.isdir(path := _below(root, directory)):
            disk.sync_directory(path)


def _forget(environment: str, disk: Disk) -> None:
    disk.remove(journal_path(environment))
    sync_removal(environment, disk=disk)


@dataclass(frozen=True, slots=True)
class _Step:
    """How one operation is done, its paths absolute: what stands in its way is moved aside."""

    root: str
    aside: str
    disk: Disk

    def do(self, verb: str, path: str, destination: str = "", new: str = "", old: str = "") -> None:
        if verb == "directory":
            self._directory(path)
        elif verb == "replace":
            self._replace(path, destination)
        elif verb == "exchange":
            self._exchange(path, destination, new, old)
        elif verb == "retire":
            if os.path.lexists(path):
                self._set_aside(path)
        elif verb == "remove-directory":
            # A power loss can bring back what `Disk.probe` made there and removed again.
            self.disk.remove(os.path.join(path, PROBE))
            self.disk.remove_directory(path)
        elif verb == "clear-directory":
            self.disk.remove_directory(path)
        elif os.path.lexists(path) and not _is_directory(path):
            self.disk.remove(path)

    def _directory(self, path: str) -> None:
        try:
            self.disk.make_directory(path, below=self.root)
        except DiskError:
            if not (obstacle := self._not_a_directory(path)):
                raise
            self._set_aside(obstacle)
            self.disk.make_directory(path, below=self.root)
        # What is renamed into a directory can be reached after a power loss only if the directory itself is there by then.
        self.disk.sync_directory(os.path.dirname(path))

    def _replace(self, staged: str, destination: str) -> None:
        try:
            self.disk.replace(staged, destination)
        except (FileNotFoundError, DiskError) as error:
            if isinstance(error, FileNotFoundError) and not os.path.lexists(staged) and os.path.lexists(destination):
                return  # done before the crash: the staged file has moved to its place
            if not os.path.lexists(staged) or not self._replace_in_the_way(staged, destination):
                raise

    def _replace_in_the_way(self, staged: str, destination: str) -> bool:
        """Rename once the way is free, with the parents that are missing; False where nothing was in the way."""
        parent = os.path.dirname(destination)
        obstacle = self._not_a_directory(parent)
        if not obstacle and os.path.lexists(destination) and (os.path.isdir(staged) or _is_directory(destination)):
            obstacle = destination
        if obstacle:
            self._set_aside(obstacle)
        elif os.path.isdir(parent):
            return False
        self.disk.make_directory(parent, below=self.root)
        self.disk.replace(staged, destination)
        return True

    def _exchange(self, staged: str, destination: str, new: str, old: str) -> None:
        there, here = directory_digest(destination), directory_digest(staged)
        if there != new and here == new and os.path.lexists(destination):
            if not self.disk.exchange(staged, destination):
                return  # one by one, then
        elif there != new and here == new:
            self.disk.replace(staged, destination)
        elif there == old and there != new and not here:
            raise FileNotFoundError(errno.ENOENT, "the staged files are gone", staged)
        elif there != new and here != old:
            return  # a crash came while they were replaced one by one
        if there == new:
            # One by one, perhaps, and a power loss could undo that: no staged file may be out of reach before it is certain.
            self.disk.sync_tree(destination)
        if os.path.lexists(staged):
            self._set_aside(staged)  # the old one: it must not be taken for what is to come

    def _not_a_directory(self, path: str) -> str:
        """Return what lies where a directory has to be, the path itself or one above it, and is none."""
        while len(path) > len(self.root):
            if os.path.lexists(path) and not os.path.isdir(path):
                return path
            path = os.path.dirname(path)
        return ""

    def _set_aside(self, path: str) -> None:
        self.disk.make_directory(self.aside, below=self.root)
        try:
            self.disk.replace(path, os.path.join(self.aside, secrets.token_hex(8)))
        except DiskError as error:
            # overlayfs renames no directory that an image brought.
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EXDEV:
                raise
            self.disk.remove_tree(path)


def listing_digest(files: Iterable[tuple[str, str]]) -> str:
    """Return one SHA-256 (hex) of the files of a directory: pairs of path relative to it ("/") and SHA-256 (hex)."""
    return hashlib.sha256("".join(f"{path}\0{digest}\n" for path, digest in sorted(files)).encode()).hexdigest()


def directory_digest(directory: str) -> str:
    """Return the `listing_digest` of what is in a directory; "" where nothing is, or nothing can be read."""
    listed = []
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            listed.append((os.path.relpath(path, directory).replace(os.sep, "/"), _file_digest(path)))
    return listing_digest(listed) if listed else ""


def _file_digest(path: str) -> str:
    """Return the SHA-256 (hex) of a file; "none of ours" for what else there can be, a link or what may not be read."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, "rb") as reader:
                return hashlib.file_digest(reader, "sha256").hexdigest()
    return "none of ours"


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_behind_a_link(environment: str, relative: str) -> bool:
    parent = os.path.join(os.path.realpath(environment), *relative.split("/")[:-1])
    return os.path.realpath(parent) != parent


def _aside(environment: str, journal: Journal) -> str:
    return os.path.join(_inside(environment, journal.staging), ASIDE)


def _inside(environment: str, relative: str) -> str:
    """Return the absolute path of something in an environment; its parent's symbolic links are followed, not its own."""
    return _below(os.path.realpath(environment), relative)


def _below(root: str, relative: str) -> str:
    parent, name = os.path.split(os.path.join(root, *relative.split("/")))
    inner = name not in {"", ".", ".."}
    path = os.path.join(os.path.realpath(parent), name) if inner else os.path.realpath(os.path.join(parent, name))
    if path != root and not path.startswith(root + os.sep):
        raise UnsafePath(
            f"a commit to {root} would lead out of it: {relative}",
            advice="Remove the symbolic link on the way there; an environment owns what is below it, and nothing else.",
        )
    return path
