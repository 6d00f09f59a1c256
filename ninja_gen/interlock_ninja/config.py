"""The configuration of a workspace: interlock.toml, or [tool.interlock] of a pyproject.toml, with the same keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Configuration", "EnvironmentConfig", "load_configuration"]


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """One environment, as configured.

    Paths are relative to the workspace's root, or absolute. `projects` None means all members. The keys of `extras` and `groups`
    are normalized project names, or "*" for every project that declares the extra or group. The keys of `config_settings` are
    normalized project names, or "*" for all.
    """

    name: str
    path: str
    python: str | None
    projects: tuple[str, ...] | None
    extras: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    build_constraints: tuple[str, ...]
    config_settings: Mapping[str, Mapping[str, str | tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A workspace's configuration with every default filled in.

    `root` is absolute; `file` is the absolute path of the file that configures, None where there is none. `members` None means that
    projects are found by walking. `out` is relative to the root, or absolute.
    """

    root: str
    file: str | None
    members: tuple[str, ...] | None
    exclude: tuple[str, ...]
    out: str
    durability: Literal["full", "fast"]
    engine: Literal["auto", "uv", "pip"]
    internal_specifiers: Literal["error", "warn"]
    environments: tuple[EnvironmentConfig, ...]


def load_configuration(root: str | None = None, *, start: str = "") -> Configuration:
    """Read the configuration of the workspace at `root`, or of the one found by walking up from `start`.

    Raises:
        ConfigurationError: none found, not TOML, an unknown key, a wrong type, or a file that is not there.
    """
    raise NotImplementedError
