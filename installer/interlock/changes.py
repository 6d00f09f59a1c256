"""What a commit changes: worked out under the lock, from what is on disk at that moment, before anything is touched."""

from __future__ import annotations

import csv
import glob
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.distribution import parse_record
from interlock.errors import FileConflict, InterlockError, UnsafePath
from interlock.journal import directory_digest, listing_digest
from interlock.staging import digest_of, staged_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from interlock.distribution import Installed
    from interlock.environment import Environment
    from interlock.journal import Operation
    from interlock.link_changes import LinkChanges
    from interlock.prepared import File, Prepared

__all__ = ["Change", "changes_to_install", "changes_to_remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """The steps of one commit; every path is relative to the environment.

    `arrives` are files to put in place, in order; `dist_info` is a whole directory to put into place, "" where there is
    none; `replaces` are its files, where one of that name is there already (RECORD last), and `digests` those of the new
    directory and of the one that is there (`listing_digest`); `retires` are the dist-info directories that leave, each in
    one step; `leaves` are other files to remove and `emptied` the directories that may be empty after that, deepest first.
    `clears` and then `clears_directories` go before all that: where a link comes, or a directory in the place of one.
    """

    new_directories: tuple[str, ...]
    arrives: tuple[str, ...]
    dist_info: str
    replaces: tuple[str, ...]
    digests: tuple[str, str]
    retires: tuple[str, ...]
    leaves: tuple[str, ...]
    emptied: tuple[str, ...]
    clears: tuple[str, ...] = ()
    clears_directories: tuple[str, ...] = ()

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories in which entries come and go: to sync once all is done."""
        entries = (*self.arrives, *self.replaces, self.dist_info, *self.retires, *self.leaves)
        entries += (*self.new_directories, *self.emptied, *self.clears, *self.clears_directories)
        found = {posixpath.dirname(path) for path in entries if path} | set(self.new_directories)
        # Where a link comes, there is no directory of the environment any more.
        gone = set(self.clears_directories).intersection(self.arrives)
        return tuple(sorted(path for path in found if not any(f"{path}/".startswith(f"{one}/") for one in gone)))

    def operations(self, staging: str) -> tuple[Operation, ...]:
        """Return the journal's operations: payload, the new dist-info (RECORD last), the old one, then what is stale."""
        library = posixpath.dirname(self.dist_info)

        def staged(path: str) -> str:
            return f"{staging}/{staged_name(path, library)}"

        steps: list[Operation] = [("clear", path) for path in self.clears]
        steps += [("clear-directory", path) for path in self.clears_directories]
        steps += [("directory", path) for path in self.new_directories]
        steps += [("replace", staged(path), path) for path in self.arrives]
        if self.replaces:
            steps.append(("exchange", staged(self.dist_info), self.dist_info, *self.digests))
            steps += [("replace", staged(path), path) for path in self.replaces]
        elif self.dist_info:
            steps.append(("replace", staged(self.dist_info), self.dist_info))
        steps += [("retire", path) for path in self.retires]
        steps += [("remove", path) for path in self.leaves]
        steps += [("remove-directory", path) for path in self.emptied]
        return tuple(steps)


def changes_to_install(
    prepared: Prepared, installed: Mapping[str, Sequence[Installed]], environment: Environment
) -> Change:
    """Work out how a prepared distribution takes the place of what is installed under its name.

    Raises:
        FileConflict: a path belongs to another distribution with other content, or a directory is in the way.
        UnsafePath: a symbolic link in the environment leads a path out of it.
        InterlockError: the RECORD of what is installed under the name cannot be read.
    """
    tree = _Tree(environment)
    previous, others = _split(installed, prepared.normalized)
    old = {path for distribution in previous for path in _owned(distribution, tree)}
    links = _link_changes(prepared, old, others, tree)
    clears = links.clears if links else ()
    new = _places(prepared, clears, tree)
    _check_conflicts([file for file in prepared.files if new[file.path] not in old], prepared, others, tree)
    within = f"{prepared.dist_info}/"
    inside = {file.path: file.sha256 for file in prepared.files if file.path.startswith(within)}
    there = {link.path for link in prepared.links}.difference(links.arrives if links else ())
    arrives = [path for path in new if path not in inside and path not in there]
    # RECORD is the last of the files.
    replaces = tuple(inside) if os.path.lexists(environment.absolute(prepared.dist_info)) else ()
    directories = dict.fromkeys(
        path for name in (*arrives, *replaces) for path in _missing_parents(name, environment, clears)
    )
    dist_info = tree.relative(environment.absolute(prepared.dist_info))
    stale = [path for path in _dist_infos(previous, tree) if path != dist_info]
    retires = [path for path in stale if not _is_same(environment.absolute(path), environment.absolute(dist_info))]
    stays = {parent for path in new.values() for parent in (path, *_parents(path))}
    # What is listed below a new link has left already: behind the link are the sources.
    arriving = links.arrives if links else ()
    gone = {path for path in old if _gives_way(path, arriving)} if arriving else set()
    leaves = _leaving(old - stays - set(clears) - gone, stale, others, tree)
    return Change(
        tuple(sorted(directories)),
        tuple(arrives),
        prepared.dist_info,
        replaces,
        (
            listing_digest((path.removeprefix(within), digest) for path, digest in inside.items()),
            directory_digest(environment.absolute(prepared.dist_info)) if replaces else "",
        ),
        tuple(retires),
        leaves,
        _emptied(leaves, new.values(), environment),
        clears,
        links.clears_directories if links else (),
    )


def changes_to_remove(name: str, installed: Mapping[str, Sequence[Installed]], environment: Environment) -> Change:
    """Work out how all distributions of one normalised name leave; what others list too, stays.

    Raises:
        InterlockError: a RECORD of theirs cannot be read.
    """
    tree = _Tree(environment)
    previous, others = _split(installed, name)
    own = {path for distribution in previous for path in _owned(distribution, tree)}
    retires = _dist_infos(previous, tree)
    leaves = _leaving(own, retires, others, tree)
    return Change((), (), "", (), ("", ""), tuple(retires), leaves, _emptied(leaves, (), environment))


class _Tree:
    """Paths relative to an environment, by where they really are: through the symbolic links of their parents."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._inside = os.path.realpath(environment.path) + os.sep
        self._parents: dict[str, str] = {}

    def relative(self, path: str) -> str:
        """Return a path relative to the environment; "" for one that is not in it."""
        parent, name = os.path.split(path)
        if name in {"", ".", ".."}:
            return ""
        if parent not in self._parents:
            self._parents[parent] = os.path.realpath(parent)
        real = os.path.join(self._parents[parent], name)
        return real.removeprefix(self._inside).replace(os.sep, "/") if real.startswith(self._inside) else ""


@dataclass(frozen=True, slots=True)
class _Others:
    """All distributions but those of one name; hundreds, of which a commit seldom has to know anything."""

    installed: Mapping[str, Sequence[Installed]]
    name: str

    def __iter__(self) -> Iterator[Installed]:
        return (one for other, group in self.installed.items() if other != self.name for one in group)


def _split(installed: Mapping[str, Sequence[Installed]], name: str) -> tuple[Sequence[Installed], _Others]:
    return installed.get(name, ()), _Others(installed, name)


def _dist_infos(distributions: Iterable[Installed], tree: _Tree) -> list[str]:
    found = []
    for one in distributions:
        if not (path := tree.relative(one.directory)):
            raise UnsafePath(
                f"{one.directory} is not in {tree.environment.path}: a symbolic link leads out of it",
                advice="Remove that link: an environment owns what is below it, and nothing else. Nothing was changed.",
            )
        found.append(path)
    return found


def _owned(distribution: Installed, tree: _Tree) -> set[str]:
    """Return the paths that a distribution owns; those outside of the environment are left out.

    A dist-info directory without RECORD (a half-written install of another tool) owns what is in it.
    """
    base, record = os.path.dirname(distribution.directory), os.path.join(distribution.directory, "RECORD")
    try:
        with open(record, encoding="utf-8", newline="") as reader:
            listed = [os.path.join(base, entry.path) for entry in parse_record(reader.read())]
    except FileNotFoundError:
        listed = []
    except ValueError as error:
        raise InterlockError(
            f"{record} cannot be read: {error}",
            advice=f"What {distribution.normalized} {distribution.version} installed is not known without it. Nothing was "
            f"changed. Remove {distribution.directory} by hand, and what else there is of it, then run this again.",
        ) from error
    listed += [os.path.join(top, name) for top, _, names in os.walk(distribution.directory) for name in names]
    return {relative for path in listed if (relative := tree.relative(path)) and not _is_behind_a_link(path, tree)}


def _is_behind_a_link(path: str, tree: _Tree) -> bool:
    """Tell whether a path among the links of projects leads on into sources: these may lie in the environment, too."""
    if "/editable-packages/" not in path:
        return False
    from interlock.links import links_directory

    base = tree.environment.absolute(links_directory(tree.environment.layout))
    below = os.path.relpath(os.path.dirname(os.path.normpath(path)), base)
    if below.split(os.sep)[0] in {"..", "."}:
        return False
    return os.path.realpath(os.path.join(base, below)) != os.path.join(os.path.realpath(base), below)


class _Wanted:
    """Paths to look for in the RECORDs of other distributions, whatever else there may be in those.

    Looked up as every tool writes them, relative to where the dist-info lies: hundreds of RECORDs are read under the lock.
    """

    def __init__(self, paths: Iterable[str], tree: _Tree) -> None:
        self._paths = tuple(paths)
        self._tree = tree
        self._spelled: dict[str, dict[str, str]] = {}

    def listed_by(self, distribution: Installed) -> set[str]:
        base = posixpath.dirname(self._tree.relative(distribution.directory)) or "."
        if base not in self._spelled:
            self._spelled[base] = {posixpath.relpath(path, base): path for path in self._paths}
        spelled = self._spelled[base]
        return {spelled[path] for path in _listed_by(distribution) if path in spelled}


def _listed_by(distribution: Installed) -> Iterator[str]:
    try:
        with open(os.path.join(distribution.directory, "RECORD"), encoding="utf-8", errors="replace") as reader:
            lines = reader.read().splitlines()
    except OSError:
        return iter(())
    return map(_listed_path, lines)


def _listed_path(line: str) -> str:
    if line[:1] != '"':
        return line.partition(",")[0]
    try:
        return next(csv.reader([line]))[0]
    except csv.Error:
        return ""


def _check_conflicts(files: Iterable[File], prepared: Prepared, others: Iterable[Installed], tree: _Tree) -> None:
    environment = tree.environment
    for file in files:
        path = environment.absolute(file.path)
        if not os.path.lexists(path) or file.path.startswith(prepared.dist_info + "/"):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            raise FileConflict(
                f"{prepared.name} {prepared.version} ships {file.path}, which is a directory in {environment.path}",
                advice=f"Remove {path} by hand if nothing needs it. Nothing was changed.",
            )
        if digest_of(path) == file.sha256:
            continue
        if (owner := _owner_of(tree.relative(path), others, tree)) is not None:
            raise _both(file.path, prepared, owner, environment)


def _places(prepared: Prepared, clears: Sequence[str], tree: _Tree) -> dict[str, str]:
    """Return where the files and links really come to lie, by their paths."""
    environment = tree.environment
    paths = [*(file.path for file in prepared.files), *(link.path for link in prepared.links)]
    new = {path: path if _gives_way(path, clears) else tree.relative(environment.absolute(path)) for path in paths}
    if outside := [path for path, real in new.items() if not real]:
        raise UnsafePath(
            f"{prepared.name} {prepared.version} ships {outside[0]}, which a symbolic link leads out of {environment.path}",
            advice="Remove that link: an environment owns what is below it, and nothing else. Nothing was changed.",
        )
    return new


def _link_changes(prepared: Prepared, old: set[str], others: Iterable[Installed], tree: _Tree) -> LinkChanges | None:
    """Return what changes about links; None where there are none, and nothing has to be loaded for them."""
    if not prepared.links:
        return None
    from interlock.link_changes import link_changes

    environment = tree.environment
    found = link_changes(prepared, old, lambda path: _owner_of(path, others, tree), environment)
    for path in set(found.arrives) - old:
        if os.path.lexists(environment.absolute(path)) and (owner := _owner_of(path, others, tree)) is not None:
            raise _both(path, prepared, owner, environment, ", or leave `links` off")
    for path in found.arrives:
        # What a directory had of others may be missing, and listed still: to remove it would remove sources behind the link.
        was_directory = any(one.startswith(f"{path}/") for one in old)
        if was_directory and (owner := _owner_below(path, others, tree)) is not None:
            raise _both(path, prepared, owner, environment, ", or leave `links` off")
    return found


def _owner_below(path: str, others: Iterable[Installed], tree: _Tree) -> Installed | None:
    """Return the other distribution that lists something below a path (relative to the environment)."""
    for other in others:
        below = f"{posixpath.relpath(path, posixpath.dirname(tree.relative(other.directory)) or '.')}/"
        if any(listed.startswith(below) for listed in _listed_by(other)):
            return other
    return None


def _both(path: str, prepared: Prepared, owner: Installed, environment: Environment, more: str = "") -> FileConflict:
    import shlex

    return FileConflict(
        f"{prepared.name} {prepared.version} and {owner.name} {owner.version} both ship {path}, "
        f"with different content, in {environment.path}",
        advice=f"Rename one of them, or put the two projects into different environments{more}. If {owner.name} is what a "
        f"project was called before, remove it: interlock uninstall --venv {shlex.quote(environment.path)} {owner.name}. "
        "Nothing was changed.",
    )


def _owner_of(path: str, others: Iterable[Installed], tree: _Tree) -> Installed | None:
    """Return the other distribution that lists a path (relative to the environment); None where none does."""
    wanted = _Wanted([path], tree)
    return next((other for other in others if wanted.listed_by(other)), None)


def _is_same(one: str, other: str) -> bool:
    """Tell whether two names are one directory: a file system that does not tell "Core" from "core"."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False


def _leaving(owned: set[str], dist_infos: Iterable[str], others: Iterable[Installed], tree: _Tree) -> tuple[str, ...]:
    """Return the files to remove: what is owned, but for what is in a dist-info that leaves and what another one lists."""
    within = tuple(f"{path}/" for path in dist_infos)
    leaves = {path for path in owned if not path.startswith(within)}
    wanted = _Wanted(leaves, tree)
    for other in others if leaves else ():
        leaves -= wanted.listed_by(other)
    return _with_bytecode(sorted(leaves), tree)


def _missing_parents(path: str, environment: Environment, clears: Sequence[str]) -> list[str]:
    missing = []
    while path := posixpath.dirname(path):
        if os.path.isdir(environment.absolute(path)) and not _gives_way(path, clears):
            break
        missing.append(path)
    return missing


def _gives_way(path: str, clears: Sequence[str]) -> bool:
    """Tell whether a path lies where something is cleared: what is there now, behind a link even, says nothing."""
    return any(path == cleared or path.startswith(f"{cleared}/") for cleared in clears)


def _with_bytecode(leaves: Iterable[str], tree: _Tree) -> tuple[str, ...]:
    """Add the bytecode of modules that leave: interpreters wrote it, and no RECORD has to list it."""
    found: dict[str, None] = {}
    for path in leaves:
        found[path] = None
        if path.endswith(".py"):
            directory, name = posixpath.split(path)
            stem = glob.escape(tree.environment.absolute(posixpath.join(directory, "__pycache__", name[:-3])))
            found |= dict.fromkeys(filter(None, map(tree.relative, sorted(glob.glob(stem + ".*.pyc")))))
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
