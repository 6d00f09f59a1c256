"""The graph of one environment: which projects go in, in which order, and what they need from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.durable import Disk
    from interlock.interpreter import Interpreter
    from interlock_ninja.config import EnvironmentConfig
    from interlock_ninja.project import Project
    from interlock_ninja.workspace import Workspace

__all__ = ["EnvironmentGraph", "Node", "environment_graph"]


@dataclass(frozen=True, slots=True)
class Node:
    """A project in an environment.

    `dependencies` are the normalized names of the projects whose install comes first, never of the same cycle; `deferred` are those
    of its own cycle, verified after the cycle's last member. `any_version` names the internal dependencies whose specifier the
    workspace does not meet and internal-specifiers = "warn" lets pass.
    """

    project: Project
    extras: tuple[str, ...]
    dependencies: tuple[str, ...]
    deferred: tuple[str, ...]
    any_version: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvironmentGraph:
    """The projects of an environment in a stable install order.

    `cycles` hold normalized names in install order. `third_party` are the requirements of the chosen projects, extras and groups with
    markers evaluated away and internal names removed, sorted and unique.
    """

    environment: EnvironmentConfig
    interpreter: Interpreter
    nodes: tuple[Node, ...]
    cycles: tuple[tuple[str, ...], ...]
    third_party: tuple[str, ...]
    warnings: tuple[str, ...]


def environment_graph(
    workspace: Workspace,
    environment: EnvironmentConfig,
    *,
    interpreter: Interpreter | None = None,
    disk: Disk | None = None,
) -> EnvironmentGraph:
    """Work out what one environment of a workspace holds.

    `interpreter` defaults to the one that the environment's `python` asks for; with a `disk`, what it said of itself is cached.

    Raises:
        ConfigurationError: a name in the environment's tables that no project, extra or group has.
        GraphError: two projects of one name, versions or interpreters that exclude each other: all of them at once.
        InterpreterNotFound: nothing answers to the environment's `python`.
    """
    raise NotImplementedError
