"""What is installed in an environment, for people and programs that ask; taken under a shared lock."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.access import reading
from interlock.distribution import scan
from interlock.documents import parse_json
from interlock.file_urls import local_path

if TYPE_CHECKING:
    from interlock.distribution import Installed

__all__ = ["Entry", "direct_url", "editable_location", "inventory"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed distribution; `editable` is its project's directory, "" where it is no editable install."""

    name: str
    version: str
    editable: str


def inventory(path: str, *, timeout: float | None = None) -> list[Entry]:
    """List what is installed in the environment at a path, by name.

    Raises:
        NotAnEnvironment, LockTimeout, LockUnavailable: as `reading` does.
    """
    with reading(path, timeout=timeout) as environment:
        found = scan(environment.site_packages)
        return [Entry(one.name, one.version, editable_location(one)) for name in sorted(found) for one in found[name]]


def direct_url(distribution: Installed) -> dict[str, object]:
    """Read a distribution's direct_url.json (PEP 610); {} where it has none, or one that is no JSON object."""
    try:
        with open(os.path.join(distribution.directory, "direct_url.json"), encoding="utf-8") as reader:
            data = parse_json(reader.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def editable_location(distribution: Installed) -> str:
    """Return the directory of the project that an editable install points to; "" where it is none."""
    data = direct_url(distribution)
    info, url = data.get("dir_info"), data.get("url")
    if not isinstance(info, dict) or not info.get("editable") or not isinstance(url, str):
        return ""
    return local_path(url) or url
