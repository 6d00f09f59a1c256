"""Globs of directories: `*`, `?` and `[...]` within one name, `**` for any number of names.

As in a shell, a wildcard at the start of a name does not match a leading dot.
"""

from __future__ import annotations

import fnmatch
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Listing", "expand", "is_match", "list_directory"]

_MAGIC = re.compile(r"[*?[]")


class Listing:
    """The entries of one directory: names of files and folders; `links` are those of both that are symbolic links."""

    __slots__ = ("files", "folders", "links")

    def __init__(self, files: Iterable[str], folders: Iterable[str], links: Iterable[str]) -> None:
        self.files = frozenset(files)
        self.folders = frozenset(folders)
        self.links = frozenset(links)


def list_directory(path: str) -> Listing | None:
    """List a directory, None where it cannot be read."""
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                (folders if entry.is_dir() else files).append(entry.name)
                if entry.is_symlink():
                    links.append(entry.name)
    except OSError:
        return None
    return Listing(files, folders, links)


def is_match(path: str, pattern: str) -> bool:
    """Tell whether a relative path, "/" separated, or a directory above it matches a pattern."""
    parts = path.split("/")
    wanted = _split(pattern)
    if not wanted:
        return path == "."
    reached = {0}
    for part in parts:
        following = set()
        for index in _skipping(reached, wanted):
            if index < len(wanted) and wanted[index] == "**":
                following.add(index)
            elif index < len(wanted) and _matches(part, wanted[index]):
                following.add(index + 1)
        reached = following
        if len(wanted) in _skipping(reached, wanted):
            return True
    return False


def expand(
    root: str, pattern: str, *, look: Callable[[str], Listing | None], avoid: Callable[[str], bool]
) -> tuple[list[str], list[str]]:
    """Return the directories below `root` that match, and those that were listed to find them; relative, in stable order.

    `look` lists a relative directory. Wildcards don't lead into directories that `avoid` is true of, `**` not through symbolic
    links either; a name that is written out leads anywhere.
    """
    listed: list[str] = []

    def listing(directory: str) -> Listing | None:
        found = look(directory)
        if found is not None:
            listed.append(directory)
        return found

    matched = ["."]
    for part in _split(pattern):
        reached: list[str] = []
        for directory in matched:
            if part == "**":
                reached += _everything(directory, listing, avoid)
            elif not _MAGIC.search(part):
                path = _join(directory, part)
                reached += [path] if os.path.isdir(os.path.join(root, path)) else []
            elif (found := listing(directory)) is not None:
                paths = [_join(directory, name) for name in sorted(found.folders) if _matches(name, part)]
                reached += [path for path in paths if not avoid(path)]
        matched = list(dict.fromkeys(reached))
    return matched, list(dict.fromkeys(listed))


def _everything(directory: str, listing: Callable[[str], Listing | None], avoid: Callable[[str], bool]) -> list[str]:
    found: list[str] = []
    stack = [directory]
    while stack:
        current = stack.pop()
        entries = listing(current)
        if entries is None:
            continue
        found.append(current)
        for name in sorted(entries.folders - entries.links, reverse=True):
            path = _join(current, name)
            if not name.startswith(".") and not avoid(path):
                stack.append(path)
    return found


def _split(pattern: str) -> list[str]:
    return [part for part in pattern.replace("\\", "/").split("/") if part not in {"", "."}]


def _skipping(reached: set[int], wanted: list[str]) -> set[int]:
    """Add the states that "**" reaches by matching nothing."""
    found = set(reached)
    for index in reached:
        following = index
        while following < len(wanted) and wanted[following] == "**":
            following += 1
            found.add(following)
    return found


def _matches(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    return _compiled(part).match(name) is not None


@lru_cache
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))


def _join(directory: str, name: str) -> str:
    return name if directory == "." else f"{directory}/{name}"
