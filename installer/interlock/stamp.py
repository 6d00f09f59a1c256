"""Stamps: the small file that an edge leaves, and the depfile that says what it read.

A stamp's content is a receipt. An edge that changed nothing of meaning leaves its stamp alone, and `restat = 1` lets
Ninja stop there (Ninja manual, "Rule variables").
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.durable import Disk

__all__ = ["escape_make", "read_stamp", "relative_path", "write_depfile", "write_stamp"]


def write_stamp(path: str, receipt: Mapping[str, Any], *, started_ns: int, disk: Disk) -> bool:
    """Publish a receipt, unless the stamp says the same already; tell whether it was written.

    `started_ns` is a moment sampled before the edge read its inputs (`Disk.clock_ns`): an input that is edited while
    the edge runs is then newer than the stamp, and the edge runs again.
    """
    data = json.dumps(dict(receipt), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return disk.publish_if_changed(path, data, mtime_ns=started_ns)


def read_stamp(path: str) -> dict[str, Any] | None:
    """Return a stamp's receipt, None where there is no stamp or no receipt in it."""
    try:
        with open(path, "rb") as reader:
            receipt = json.loads(reader.read())
    except (FileNotFoundError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def escape_make(path: str) -> str:
    """Escape a path for a depfile, in the dialect that Ninja's depfile parser reads.

    Ninja undoes a backslash before space, `#` and `:`, and `$$`; backslashes in front of a space must be doubled.
    """
    escaped = []
    for index, character in enumerate(path):
        if character == " ":
            backslashes = len(path[:index]) - len(path[:index].rstrip("\\"))
            escaped.append("\\" * (backslashes + 1) + " ")
        elif character == "#":
            escaped.append("\\#")
        elif character == "$":
            escaped.append("$$")
        else:
            escaped.append(character)
    return "".join(escaped)


def relative_path(path: str) -> str:
    """Spell a path as Ninja files do: relative to the current directory where that is possible, "/" between the parts."""
    try:
        return os.path.relpath(path).replace(os.sep, "/")
    except ValueError:  # another drive, on Windows
        return path.replace(os.sep, "/")


def write_depfile(path: str, target: str, inputs: Iterable[str], *, disk: Disk) -> None:
    """Publish a depfile in Make's syntax: one target, the files that its edge read, each once, sorted."""
    lines = [f"{escape_make(target)}:"]
    lines += [f"  {escape_make(name)}" for name in sorted(set(inputs))]
    disk.make_directory(os.path.dirname(path) or ".")
    disk.publish(path, (" \\\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))
