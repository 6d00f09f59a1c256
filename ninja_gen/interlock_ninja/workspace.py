"""A workspace: its configuration, its projects, and everything that was read to know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.durable import Disk
    from interlock_ninja.config import Configuration
    from interlock_ninja.discovery import Skipped
    from interlock_ninja.project import Project

__all__ = ["Workspace", "read_workspace"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """What was found.

    `projects` are in the order of their directories; two may share a normalized name (an error only within one environment).
    `files_read` and `directories` are paths relative to the root ("/" separated) whose change can change this value; each exists.
    """

    configuration: Configuration
    projects: tuple[Project, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    files_read: tuple[str, ...]
    directories: tuple[str, ...]


def read_workspace(
    root: str | None = None,
    *,
    start: str = "",
    strict: bool = False,
    disk: Disk | None = None,
    progress: Callable[[str], None] | None = None,
) -> Workspace:
    """Read the workspace at `root`, or the one found by walking up from `start`.

    With `strict`, a project whose metadata cannot be read is an error instead of a warning. `progress` hears of the projects
    whose build backend has to be asked; `disk` keeps what it answered in the out directory.

    Raises:
        ConfigurationError: of the configuration.
        MetadataError: with `strict`, all projects whose metadata is invalid.
    """
    raise NotImplementedError
