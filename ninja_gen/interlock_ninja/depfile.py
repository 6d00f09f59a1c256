"""Read depfiles as Ninja reads them: what an edge names as its inputs is then the same for both.

The dialect is that of Ninja 1.13 (ninja, src/depfile_parser.in.cc); `interlock.stamp.write_depfile` writes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from interlock_ninja.build_file import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parse_depfile"]

# Ninja takes the longest match and, of two, the first. Names: what becomes of it.
_TOKEN = re.compile(
    rb"""
    (?P<space>(?:\\\\)*\\[ ])
  | (?P<spaced>(?:\\\\)+[ ])
  | (?P<hash>\\+\#)
  | (?P<ended>\\+:[\0 \r\n\t])
  | (?P<colon>\\+:)
  | (?P<dollar>\$\$)
  | (?P<plain>\\+[^\0\r\n]|[a-zA-Z0-9+?"'&,/_:.~()}{%=@\[\]!\x80-\xff-]+)
  | (?P<continued>\\\r?\n)
  | (?P<line>\r?\n)
  | (?P<other>[\0-\xff])
    """,
    re.VERBOSE,
)


def parse_depfile(text: bytes) -> tuple[bytes, ...]:
    """Return the inputs of a depfile, canonical, each spelling once.

    Raises:
        ValueError: it names no target.
    """
    inputs: dict[bytes, None] = {}
    targets, found, has_target = True, False, False
    for name, ends_line in _names(text):
        is_target, piece = targets, name
        if piece.endswith(b":"):
            piece, targets, has_target = piece[:-1], False, True
        if piece:
            found = True
            if not is_target:
                inputs[piece] = None
        if ends_line:
            targets = True
    if found and not has_target:
        raise ValueError("expected ':' in depfile")
    return tuple(map(canonical, inputs))


def _names(text: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield each name, which may be empty, and whether a line ends after it."""
    name = b""
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup, match.group()
        if kind == "space":
            name += b"\\" * (len(found) // 2 - 1) + b" "
        elif kind in {"hash", "colon"}:
            name += found[:-2] + found[-1:]
        elif kind == "dollar":
            name += b"$"
        elif kind == "plain":
            name += found
        else:
            name += found[:-1] if kind in {"spaced", "ended"} else b""
            yield name, kind == "line" or (kind == "ended" and found.endswith(b"\n"))
            name = b""
    yield name, True
