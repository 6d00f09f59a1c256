"""The graph of one environment: which projects go in, in which order, and what they need from others."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.errors import ConfigurationError, GraphError
from interlock.interpreter import find_interpreter
from interlock_ninja.closure import Closure
from interlock_ninja.cycles import components, cycle_through
from interlock_ninja.pep508 import specifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.durable import Disk
    from interlock.interpreter import Interpreter
    from interlock_ninja.config import EnvironmentConfig
    from interlock_ninja.project import Project
    from interlock_ninja.workspace import Workspace

__all__ = ["EnvironmentGraph", "Node", "environment_graph"]

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Node:
    """A project in an environment.

    `dependencies` are the normalized names of the projects whose install comes first, never of the same cycle; `deferred`
    are those of its own cycle, verified after the cycle's last member. `any_version` names the internal dependencies whose
    specifier the workspace does not meet and internal-specifiers = "warn" lets pass.
    """

    project: Project
    extras: tuple[str, ...]
    dependencies: tuple[str, ...]
    deferred: tuple[str, ...]
    any_version: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvironmentGraph:
    """The projects of an environment in a stable install order.

    `cycles` hold normalized names in install order. `third_party` are the requirements of the chosen projects, extras and
    groups with markers evaluated away and internal names removed, sorted and unique.
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
    root = workspace.configuration.root
    interpreter = interpreter or find_interpreter(environment.python, root=root, disk=disk)
    by_name: dict[str, list[Project]] = {}
    for project in workspace.projects:
        by_name.setdefault(project.normalized, []).append(project)
    chosen = _chosen(environment, by_name)
    extras, groups = _choices(environment, by_name, "extras"), _choices(environment, by_name, "groups")
    closure = Closure({name: projects[0] for name, projects in by_name.items()}, interpreter)
    closure.add(chosen, extras, groups)
    _check_names(environment, closure.members, by_name)
    _check_interpreter(environment, closure.members.values(), interpreter)
    warnings = [*closure.warnings, *_specifier_warnings(closure, workspace.configuration.internal_specifiers)]
    ordered = components(closure.needs)
    cycles = tuple(members for members in ordered if len(members) > 1)
    warnings += [_cycle_warning(cycle, closure) for cycle in cycles]
    warnings += _import_warnings(closure.members.values())
    cycle_of = {name: set(cycle) for cycle in cycles for name in cycle}
    nodes = [
        Node(
            closure.members[name],
            extras.get(name, ()),
            tuple(sorted(one for one in closure.needs[name] if one not in cycle_of.get(name, ()))),
            tuple(sorted(one for one in closure.needs[name] if one in cycle_of.get(name, ()))),
            tuple(sorted(closure.any_version.get(name, ()))),
        )
        for members in ordered
        for name in members
    ]
    third_party = tuple(sorted(closure.third_party))
    return EnvironmentGraph(environment, interpreter, tuple(nodes), cycles, third_party, tuple(warnings))


def _chosen(environment: EnvironmentConfig, by_name: Mapping[str, Sequence[Project]]) -> list[str]:
    if environment.projects is None:
        return sorted(by_name)
    return [_known(name, by_name, f"environments.{environment.name}.projects") for name in environment.projects]


def _known(name: str, names: Iterable[str], key: str) -> str:
    known = list(names)
    if (normalized := normalize(name)) in known:
        return normalized
    near = difflib.get_close_matches(normalized, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ConfigurationError(
        f"{key} names {name!r}, which no project of the workspace is called",
        advice=f"{hint}`interlock projects` lists the names.",
    )


def _choices(
    environment: EnvironmentConfig, by_name: Mapping[str, Sequence[Project]], kind: str
) -> dict[str, tuple[str, ...]]:
    """Return the extras or groups that each project gets."""
    wanted = environment.extras if kind == "extras" else environment.groups
    key = f"environments.{environment.name}.{kind}"
    chosen: dict[str, dict[str, None]] = {}
    for scope, names in wanted.items():
        projects = list(by_name) if scope == "*" else [_known(scope, by_name, key)]
        for name in map(normalize, names):
            having = [project for project in projects if name in map(normalize, _declared(by_name[project][0], kind))]
            if not having:
                where = "no project of the workspace" if scope == "*" else f"{scope}, which does not,"
                raise ConfigurationError(
                    f"{key} asks for {name!r}, and {where} declares it",
                    advice="`interlock projects --format json` shows what each project declares.",
                )
            for project in having:
                chosen.setdefault(project, {})[name] = None
    return {project: tuple(sorted(names)) for project, names in chosen.items()}


def _declared(project: Project, kind: str) -> Mapping[str, tuple[str, ...]]:
    return project.optional_dependencies if kind == "extras" else project.groups


def _check_names(
    environment: EnvironmentConfig, members: Iterable[str], by_name: Mapping[str, Sequence[Project]]
) -> None:
    lines = [
        f"\n  {name}: {', '.join(project.metadata_file for project in by_name[name])}"
        for name in sorted(members)
        if len(by_name[name]) > 1
    ]
    if lines:
        raise GraphError(
            f"environment {environment.name} has more than one project of a name:{''.join(lines)}",
            advice='Leave all but one out with `exclude = ["path"]`.',
        )


def _check_interpreter(environment: EnvironmentConfig, projects: Iterable[Project], interpreter: Interpreter) -> None:
    version = interpreter.markers["python_full_version"]
    lines = [
        f"\n  {project.name} wants {project.requires_python} ({project.metadata_file})"
        for project in sorted(projects, key=lambda project: project.normalized)
        if project.requires_python and not specifier(project.requires_python).contains(version, prereleases=True)
    ]
    if lines:
        raise GraphError(
            f"environment {environment.name} has Python {version} ({interpreter.executable}), which requires-python of "
            f"these projects excludes:{''.join(lines)}",
            advice=f"Set environments.{environment.name}.python to another version, or leave them out with `projects` or "
            "`exclude`.",
        )


def _specifier_warnings(closure: Closure, policy: str) -> list[str]:
    lines = [
        f"{owner.name} ({owner.metadata_file}) wants {line}, but {found.name} is {found.version} ({found.metadata_file})"
        for owner, line, found in sorted(closure.mismatches, key=lambda entry: (entry[0].normalized, entry[1]))
    ]
    if lines and policy == "error":
        listing = "".join(f"\n  {line}" for line in lines)
        raise GraphError(
            f"{len(lines)} internal requirements exclude the workspace's own version:{listing}",
            advice='Correct the specifiers, or let them pass with `internal-specifiers = "warn"`.',
        )
    return lines


def _cycle_warning(cycle: Sequence[str], closure: Closure) -> str:
    path = " -> ".join(closure.members[name].name for name in cycle_through(cycle[0], closure.needs, cycle))
    return f"dependency cycle of {len(cycle)} projects, {path}: installed in the order of their names, verified after the last"


def _import_warnings(projects: Iterable[Project]) -> list[str]:
    shipped: dict[str, list[str]] = {}
    for project in sorted(projects, key=lambda project: project.normalized):
        for name in project.import_names:
            shipped.setdefault(name, []).append(project.name)
    warnings = []
    for name, owners in sorted(shipped.items()):
        if len(owners) > 1:
            more = f" and {len(owners) - EXAMPLES} more" if len(owners) > EXAMPLES else ""
            warnings.append(
                f"`import {name}` is shipped by {', '.join(owners[:EXAMPLES])}{more}: which one wins is chance"
            )
    return warnings
