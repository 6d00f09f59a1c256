"""JSON and TOML that others write: what cannot be read is a ValueError, whatever the parser makes of it."""

from __future__ import annotations

import json
from typing import Any

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
        ValueError: it is none, or is no UTF-8, or is nested too deep.
    """
    import tomllib

    try:
        return tomllib.loads(data if isinstance(data, str) else data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
