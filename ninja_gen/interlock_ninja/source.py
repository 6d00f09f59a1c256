"""A directory that may hold a project: what lies in it, and a note of each file that was read there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from interlock.errors import MetadataError

__all__ = ["Source"]


@dataclass(slots=True)
class Source:
    """One directory of the workspace, seen once.

    `root` is absolute, `directory` relative to it. `files` and `folders` are the names of its entries. `read` collects the
    files that were read to know the project, relative to the root; `inputs` those that decide its metadata, read or not.
    """

    root: str
    directory: str
    files: frozenset[str]
    folders: frozenset[str]
    read: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def path(self, name: str = "") -> str:
        """Return the path of an entry relative to the root, "/" separated."""
        if self.directory == ".":
            return name or "."
        return f"{self.directory}/{name}" if name else self.directory

    def absolute(self, name: str = "") -> str:
        """Return the absolute path of an entry."""
        return os.path.normpath(os.path.join(self.root, self.directory, name))

    def holds(self, name: str) -> bool:
        """Tell whether a file is there; `name` may have directories in it."""
        return name in self.files if "/" not in name else os.path.isfile(self.absolute(name))

    def note(self, name: str) -> None:
        """Remember that a file decides the metadata, if it is there and lies in the workspace."""
        path = os.path.normpath(self.path(name)).replace(os.sep, "/")
        if path not in self.inputs and not path.startswith("../") and os.path.isfile(os.path.join(self.root, path)):
            self.inputs.append(path)

    def bytes(self, name: str) -> bytes:
        """Read a file, and remember that it was read.

        Raises:
            MetadataError: it cannot be read.
        """
        path = self.path(name)
        try:
            with open(self.absolute(name), "rb") as reader:
                data = reader.read()
        except OSError as error:
            raise MetadataError(f"{path} cannot be read: {error.strerror}") from error
        if path not in self.read:
            self.read.append(path)
        self.note(name)
        return data

    def text(self, name: str) -> str:
        """Read a file of UTF-8 text."""
        try:
            return self.bytes(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MetadataError(f"{self.path(name)} is not UTF-8: {error}") from None
