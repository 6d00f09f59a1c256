"""JSON and TOML that others write: what cannot be read is a ValueError, whatever the parser makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parse_json", "parse_toml"]


def parse_json(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is none, or is nested too deep.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_toml(data: bytes | str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is none, or is no UTF-8, or is nested too deep, or has a NUL in a text.
    """
    import tomllib

    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        found = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    # It can only be written as an escape. No name of a file has one, no argument, no version.
    if "\\u0000" in text.lower() and any("\0" in one for one in _texts(found)):
        raise ValueError("a text in it has a NUL character")
    return found


def _texts(document: object) -> Iterator[str]:
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
