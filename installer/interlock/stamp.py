"""Stamps: the small file that an edge leaves, and the depfile that says what it read.

A stamp's content is a receipt. An edge that changed nothing of meaning leaves its stamp alone, and `restat = 1` lets
Ninja stop there (Ninja manual, "Rule variables").
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from interlock.documents import parse_json
from interlock.together import publish_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.durable import Disk

__all__ = [
    "escape_make",
    "is_expressible",
    "read_stamp",
    "relative_path",
    "write_both",
    "write_depfile",
    "write_stamp",
]

_AFTER_BACKSLASHES = re.compile(r"(\\*)([ #:$])")
# Plain characters, those that can be escaped, and whatever a backslash precedes.
_EXPRESSIBLE = re.compile(r"""(?:\\+[^\n\r\0\\]|[A-Za-z0-9+?"'&,/_.~()}{%=@\[\]! #:$\u0080-\U0010ffff-])+\\*|\\+""")


def write_stamp(path: str, receipt: Mapping[str, Any], *, started_ns: int, disk: Disk) -> bool:
    """Publish a receipt, unless the stamp says the same already; tell whether it was written.

    `started_ns` is a moment sampled before the edge read its inputs (`Disk.clock_ns`): an input that is edited while
    the edge runs is then newer than the stamp, and the edge runs again.
    """
    return disk.publish_if_changed(path, _stamp_text(receipt), mtime_ns=started_ns)


def write_both(
    stamp: str, receipt: Mapping[str, Any], depfile: str, inputs: Iterable[str], *, started_ns: int, disk: Disk
) -> None:
    """Do what `write_depfile`, with the stamp as its target, and then `write_stamp` do, with one sync of their directory."""
    files: list[tuple[str, bytes, int | None]] = [(depfile, _depfile_text(stamp, inputs), None)]
    data = _stamp_text(receipt)
    if not _has_content(stamp, data):
        files.append((stamp, data, started_ns))
    for path in (depfile, stamp):
        disk.make_directory(os.path.dirname(path) or ".")
    publish_all(files, disk=disk)


def _stamp_text(receipt: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(receipt), indent=1, sort_keys=True).encode() + b"\n"


def _has_content(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as reader:
            return reader.read() == data
    except FileNotFoundError:
        return False


def read_stamp(path: str) -> dict[str, Any] | None:
    """Return a stamp's receipt, None where there is no stamp or no receipt in it."""
    try:
        with open(path, "rb") as reader:
            receipt = parse_json(reader.read())
    except (FileNotFoundError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def escape_make(path: str) -> str:
    """Escape a path for a depfile, in the dialect that Ninja's depfile parser reads.

    Backslashes count only in front of a space (2n+1 of them are n and the space), `#` or `:` (one is taken away); any other
    character after them is read as it is. A colon or backslash cannot end a name: `/.` follows it, which Ninja takes away
    again when it makes paths canonical.
    """
    escaped = _AFTER_BACKSLASHES.sub(_escaped, path)
    return f"{escaped}/." if path.endswith((":", "\\")) else escaped


def is_expressible(path: str) -> bool:
    """Tell whether a depfile can name a path: Ninja has no escape for line breaks, tabs and any of ``;<>|*^` ``.

    Ninja before 1.12 cannot read ``?"'&`` either; with one of these in a name it runs the edge each time.
    """
    return _EXPRESSIBLE.fullmatch(path) is not None


def _escaped(match: re.Match[str]) -> str:
    backslashes, character = match.groups()
    if character == " ":
        return backslashes * 2 + "\\ "
    if character == "#" or (character == ":" and backslashes):
        return f"{backslashes}\\{character}"
    if character == "$" and not backslashes:
        return "$$"
    return backslashes + character


def relative_path(path: str) -> str:
    """Spell a path as Ninja files do: relative to the current directory where that is possible, "/" between the parts."""
    try:
        return os.path.relpath(path).replace(os.sep, "/")
    except ValueError:  # another drive, on Windows
        return path.replace(os.sep, "/")


def write_depfile(path: str, target: str, inputs: Iterable[str], *, disk: Disk) -> None:
    """Publish a depfile in Make's syntax: one target, the files that its edge read, each once, sorted.

    Paths that no depfile can name are left out: a name that Ninja reads as another would keep the edge dirty for ever.
    """
    disk.make_directory(os.path.dirname(path) or ".")
    disk.publish(path, _depfile_text(target, inputs))


def _depfile_text(target: str, inputs: Iterable[str]) -> bytes:
    lines = [f"{escape_make(target)}:"]
    lines += [f"  {escape_make(name)}" for name in sorted(set(inputs)) if is_expressible(name)]
    return (" \\\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
