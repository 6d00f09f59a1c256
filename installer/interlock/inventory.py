"""What is installed in an environment, for people and programs that ask; taken under a shared lock."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.distribution import scan
from interlock.environment import open_environment
from interlock.file_urls import local_path
from interlock.locks import Rank, environment_lock_path, hold, uv_lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.distribution import Installed
    from interlock.environment import Environment

__all__ = ["Entry", "direct_url", "editable_location", "inventory", "reading"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed distribution; `editable` is its project's directory, "" where it is no editable install."""

    name: str
    version: str
    editable: str


@contextlib.contextmanager
def reading(path: str, *, timeout: float | None = None) -> Iterator[Environment]:
    """Hold an environment still: other readers go on, whoever wants to change it waits; interlock and uv alike.

    Raises:
        NotAnEnvironment: nothing there, or it went away during the wait.
        LockTimeout, LockUnavailable: it was not read.
    """
    open_environment(path)
    what = f"environment {os.path.realpath(path)}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            hold(environment_lock_path(path), Rank.ENVIRONMENT, what=what, shared=True, timeout=timeout)
        )
        environment = open_environment(path)
        uv = uv_lock_path(environment.path)
        stack.enter_context(hold(uv, Rank.UV, what=f"{what} (uv's lock)", shared=True, timeout=timeout))
        yield environment


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
            data = json.load(reader)
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
