"""A project's directory, as a backend would look at it: every file that is read and every directory that is listed is noted."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NotStatic", "Tree"]

LARGEST = 1 << 20
"""The most bytes of a readme or a license that is copied without the backend."""


class NotStatic(Exception):
    """A backend must be asked; `reason` is half a sentence that says why: "its version is dynamic"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Tree:
    """A project's directory; `inputs` are the absolute paths of what was looked at.

    `root` is the directory as processes in it see it: no link in its path.
    """

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self.root = os.path.realpath(directory)
        self.inputs: dict[str, None] = {}
        self._listed: dict[str, frozenset[str]] = {}

    def names(self, directory: str = "") -> frozenset[str]:
        """Return the names in a directory (relative to the project), none where it is not there.

        A directory that is not there is noted by the one above it.
        """
        if directory in self._listed:
            return self._listed[directory]
        path = os.path.join(self.root, directory)
        try:
            found = frozenset(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            above, _, _ = directory.rpartition("/")
            self.names(above)
            found = frozenset()
        else:
            self.note(directory)
        self._listed[directory] = found
        return found

    def has(self, path: str) -> bool:
        """Tell whether there is something at a path, going by the names in the directory above it."""
        above, _, name = path.rpartition("/")
        return name in self.names(above)

    def is_directory(self, path: str) -> bool:
        """Tell whether a path is a directory; one that is a link, or in a link, is refused."""
        return self.has(path) and stat.S_ISDIR(self._status(path).st_mode)

    def leads_to_directory(self, path: str) -> bool:
        """Tell whether a path is a directory, without noting it: something in it is looked at too, or nothing matters."""
        return stat.S_ISDIR(self._status(path).st_mode)

    def is_file(self, path: str) -> bool:
        """Tell whether a path is a file; where it is, it is noted itself, and nothing else has to be looked at."""
        try:
            regular = stat.S_ISREG(os.stat(os.path.join(self.root, path)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            regular = False
        if not regular:
            self.has(path)
            return False
        self._status(path)
        self.note(path)
        return True

    def read(self, path: str, what: str) -> bytes:
        """Return the content of a file that is named in pyproject.toml.

        Raises:
            NotStatic: no plain file of the project.
        """
        if path.startswith("/") or ".." in path.split("/") or "\\" in path or os.path.normpath(path) != path:
            raise NotStatic(f"{what} is {path!r}, which is no plain path")
        if not self.is_file(path):
            raise NotStatic(f"{what} is {path!r}, and there is no such file")
        status = self._status(path)
        if status.st_mode & 0o111:
            raise NotStatic(f"{path} is executable")
        if status.st_size > LARGEST:
            raise NotStatic(f"{path} has {status.st_size:,} bytes")
        with open(os.path.join(self.root, path), "rb") as reader:
            return reader.read()

    def matches(self, pattern: str) -> list[str]:
        """Return the files that a plain pattern names, sorted: it may have a wildcard in its last part."""
        above, _, last = pattern.rpartition("/")
        found = [name for name in self.names(above) if fnmatchcase(name, last) and not name.startswith(".")]
        paths = [f"{above}/{name}" if above else name for name in sorted(found)]
        return [path for path in paths if self._is_plain(path)]

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Raise NotStatic if one of some files is in the project's directory."""
        for name in names:
            if name in self.names():
                raise NotStatic(f"it has a {name}, {why}")

    def _is_plain(self, path: str) -> bool:
        return not stat.S_ISDIR(self._status(path).st_mode)

    def _status(self, path: str) -> os.stat_result:
        """Return what is at a path, and refuse links: backends don't agree on what these are."""
        full = os.path.join(self.root, path)
        if os.path.realpath(full) != full:
            raise NotStatic(f"{path} is a symbolic link, or is in one")
        try:
            return os.stat(full)
        except OSError as error:
            raise NotStatic(f"{path} cannot be read: {error.strerror}") from None

    def note(self, path: str) -> None:
        """Note a file or a directory that was looked at, relative to the project or absolute."""
        self.inputs[os.path.normpath(os.path.join(self.directory, path))] = None
