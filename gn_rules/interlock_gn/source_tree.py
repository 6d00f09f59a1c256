"""A GN source tree: where it starts, and how its directories are named in labels."""

from __future__ import annotations

import os

from interlock.declared import short_label
from interlock.errors import ConfigurationError

__all__ = ["find_source_root", "label", "short_label", "source_path", "system_path"]

DOTFILE = ".gn"


def find_source_root(start: str) -> str:
    """Return the absolute path of the directory with the .gn, at `start` or above it.

    Raises:
        ConfigurationError: there is none.
    """
    directory = begin = os.path.abspath(start)
    while not os.path.isfile(os.path.join(directory, DOTFILE)):
        parent = os.path.dirname(directory)
        if parent == directory:
            raise ConfigurationError(
                f"no GN source tree here: neither {begin} nor a directory above it has a .gn",
                advice="Create a .gn at the root of the tree (`gn help dotfile`), or run this inside of the tree.",
            )
        directory = parent
    return directory


def source_path(source_root: str, path: str) -> str:
    """Return a path as GN names it: "//libs/text" inside of the tree, else absolute.

    `path` is absolute, or relative to the root of the tree.
    """
    absolute = os.path.normpath(os.path.join(source_root, path))
    if absolute == source_root:
        return "//"
    inside = os.path.join(source_root, "")
    if absolute.startswith(inside):
        return "//" + absolute[len(inside) :].replace(os.sep, "/")
    # GN writes an absolute path of Windows as /C:/directory.
    plain = absolute.replace(os.sep, "/")
    return plain if plain.startswith("/") else f"/{plain}"


def system_path(source_root: str, path: str) -> str:
    """Return the absolute path of what GN names "//libs/text" or "/absolute"."""
    if path.startswith("//"):
        return os.path.normpath(os.path.join(source_root, path[2:]))
    return os.path.normpath(path)


def label(directory: str, name: str) -> str:
    """Return a label from a directory ("//libs/text") and a name."""
    return f"{directory}:{name}"
