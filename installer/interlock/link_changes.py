"""What a commit changes about symbolic links: which arrive, and what has to go before something of another kind comes.

A package that was one link becomes a directory of links when another project adds to it, and the other way round. The old
kind leaves first: nothing may be written through a link, for what lies behind it are the sources of a project.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import FileConflict, UnsafePath
from interlock.links import is_in_place, links_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from interlock.distribution import Installed
    from interlock.environment import Environment
    from interlock.prepared import Prepared

__all__ = ["LinkChanges", "link_changes"]


@dataclass(frozen=True, slots=True)
class LinkChanges:
    """Paths relative to the environment: the links to put in place, and what is cleared before anything arrives.

    Of what is cleared, files and links go first, then directories, deepest first.
    """

    arrives: tuple[str, ...]
    clears: tuple[str, ...]
    clears_directories: tuple[str, ...]


def link_changes(
    prepared: Prepared,
    old: Collection[str],
    owner_of: Callable[[str], Installed | None],
    environment: Environment,
) -> LinkChanges:
    """Work out what becomes of the links; `old` are the paths of what is installed under the name, `owner_of` finds others'.

    Raises:
        FileConflict: the path of a link, or one on the way to it, is another distribution's.
        UnsafePath: a link would lie elsewhere than links do, or lead out of the project.
    """
    _check_safe(prepared, environment)
    base = links_directory(environment.layout)
    wanted = {link.path for link in prepared.links}
    wanted |= {file.path for file in prepared.files if file.path.startswith(f"{base}/")}
    clears: dict[str, None] = {}
    for path in sorted({parent for one in wanted for parent in _parents(one, base)}):
        if os.path.islink(environment.absolute(path)) and clears.keys().isdisjoint(_parents(path, base)):
            # One that nobody lists was left by another tool: it leads nowhere, most likely.
            if path not in old and (owner := owner_of(path)) is not None:
                raise _other_kind(path, prepared, owner, environment)
            clears[path] = None
    ways, arrives, directories = frozenset(clears), [], dict[str, None]()
    for link in prepared.links:
        there = environment.absolute(link.path)
        behind = not ways.isdisjoint(_parents(link.path, base))
        if not behind and is_in_place(there, link.target):
            continue
        arrives.append(link.path)
        if not behind and os.path.isdir(there) and not os.path.islink(there):
            inner, below = _within(link.path, there, old, prepared, owner_of, environment)
            clears |= dict.fromkeys(inner)
            directories |= dict.fromkeys(reversed(below))
    return LinkChanges(tuple(arrives), tuple(clears), tuple(directories))


def _check_safe(prepared: Prepared, environment: Environment) -> None:
    base, source = links_directory(environment.layout), os.path.realpath(prepared.source)
    for link in prepared.links:
        real = os.path.realpath(link.target)
        inside = real == source or real.startswith(os.path.join(source, ""))
        if not (inside and os.path.isabs(link.target) and link.path.startswith(f"{base}/")):
            raise UnsafePath(
                f"{prepared.name} {prepared.version} would link {link.path} to {link.target}, which is not in "
                f"{prepared.source}",
                advice=f"Remove {prepared.path}, prepare it again. Nothing was changed.",
            )


def _parents(path: str, base: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) and path != base:
        yield path


def _within(
    path: str,
    directory: str,
    old: Collection[str],
    prepared: Prepared,
    owner_of: Callable[[str], Installed | None],
    environment: Environment,
) -> tuple[list[str], list[str]]:
    """Return what goes from a directory where a link comes, and the directories, outermost first.

    Bytecode and links of nobody stand in the way and are moved aside later.
    """
    goes, directories = [], [path]
    for top, names, files in os.walk(directory):
        here = path + top.removeprefix(directory).replace(os.sep, "/")
        links = [name for name in (*files, *names) if os.path.islink(os.path.join(top, name))]
        directories += [f"{here}/{name}" for name in names if name not in links]
        for name in dict.fromkeys((*files, *links)):
            inner = f"{here}/{name}"
            if inner in old:
                goes.append(inner)
            elif (owner := owner_of(inner)) is not None:
                raise _other_kind(path, prepared, owner, environment)
            elif name not in links and not name.endswith(".pyc"):
                raise FileConflict(
                    f"{prepared.name} {prepared.version} has a link for {path}, which is a directory in {environment.path}",
                    advice=f"Remove {directory} by hand if nothing needs it. Nothing was changed.",
                )
    return goes, directories


def _other_kind(path: str, prepared: Prepared, owner: Installed, environment: Environment) -> FileConflict:
    return FileConflict(
        f"{prepared.name} {prepared.version} and {owner.name} {owner.version} both ship {path} in {environment.path}, and only "
        "one of them has an __init__.py there that makes it a package of its own",
        advice="Give both or none that file, rename one of the two, or leave `links` off. Nothing was changed.",
    )
