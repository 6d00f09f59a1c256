"""Symbolic links in the place of paths on sys.path: where they lie in an environment, and what is noted of them.

    lib/python3.X/site-packages/interlock-editable-packages.pth    one line for all projects: ../editable-packages
    lib/python3.X/editable-packages/core -> /home/you/repo/libs/core/src/core
    lib/python3.X/editable-packages/.core.links                    which links are core's, and where they lead

Not in site-packages: what another installer writes to `site-packages/core` must never land in the sources behind a link. Each
directory that has a link of a project has its note too: pip takes a whole directory away when it sees no file of others in
it, and does not count links to directories. docs/explanation/links.md.
"""

from __future__ import annotations

import json
import os
import posixpath
from typing import TYPE_CHECKING

from interlock.documents import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.interpreter import Layout
    from interlock.prepared import Link

__all__ = ["SEARCH_TEXT", "is_in_place", "is_note", "links_directory", "note_path", "notes", "read_note", "search_file"]

DIRECTORY = "editable-packages"
SEARCH_TEXT = f"../{DIRECTORY}\n".encode()
NOTE = ".links"


def links_directory(layout: Layout) -> str:
    """Return the directory of all links, relative to the environment."""
    return f"{posixpath.dirname(layout.purelib)}/{DIRECTORY}"


def search_file(layout: Layout) -> str:
    """Return the path, relative to the environment, of the .pth that puts the links on sys.path.

    It is in no RECORD, as virtualenv's own: whoever removes one project must not take it away from all others.
    """
    return f"{layout.purelib}/interlock-{DIRECTORY}.pth"


def note_path(directory: str, normalized: str) -> str:
    """Return the path of a distribution's note in a directory; no two distributions have one note."""
    return f"{directory}/.{normalized}{NOTE}"


def is_note(path: str) -> bool:
    """Tell whether a path of a RECORD is that of a note."""
    return path.endswith(NOTE) and DIRECTORY in path.split("/") and posixpath.basename(path).startswith(".")


def notes(links: Iterable[Link], normalized: str) -> dict[str, bytes]:
    """Return the notes of a distribution's links, their content by their path relative to the environment."""
    found: dict[str, dict[str, str]] = {}
    for link in links:
        directory, name = posixpath.split(link.path)
        found.setdefault(note_path(directory, normalized), {})[name] = link.target
    return {path: json.dumps(names, indent=1, sort_keys=True).encode() + b"\n" for path, names in found.items()}


def read_note(path: str) -> Mapping[str, str]:
    """Return where the links beside a note lead, by their names; {} where that cannot be read."""
    try:
        with open(path, "rb") as reader:
            names = parse_json(reader.read())
    except (OSError, ValueError):
        return {}
    if not isinstance(names, dict):
        return {}
    return {name: target for name, target in names.items() if isinstance(target, str) and "/" not in name}


def is_in_place(path: str, target: str) -> bool:
    """Tell whether a link is there and leads where it should."""
    try:
        return os.readlink(path) == target
    except OSError:
        return False
