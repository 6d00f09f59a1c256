"""The graph of one environment: which projects go in, in which order, and what they need from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import ConfigurationError, GraphError
from interlock_ninja import pep508
from interlock_ninja.conflicts import check_names, check_python, check_unreadable, shared_imports
from interlock_ninja.cycles import components, shortest_cycle
from interlock_ninja.requires import Requires
from interlock_ninja.tables import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.durable import Disk
    from interlock.interpreter import Interpreter
    from interlock_ninja.config import EnvironmentConfig
    from interlock_ninja.project import Project
    from interlock_ninja.requires import Internal
    from interlock_ninja.workspace import Workspace

__all__ = ["EnvironmentGraph", "Node", "environment_graph"]


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
    if interpreter is None:
        from interlock.interpreter import find_interpreter

        interpreter = find_interpreter(environment.python, root=workspace.configuration.root, disk=disk)
    by_name: dict[str, list[Project]] = {}
    for project in workspace.projects:
        by_name.setdefault(project.normalized, []).append(project)
    _check_scopes(workspace, environment, by_name)
    requires = Requires({name: projects[0] for name, projects in by_name.items()}, interpreter.markers)
    closure = _Closure(requires, environment)
    chosen = by_name if environment.projects is None else map(_normalize, environment.projects)
    closure.add(chosen)
    names = sorted(closure.extras)
    check_names(environment.name, {name: by_name[name] for name in names})
    projects = {name: by_name[name][0] for name in names}
    check_python(environment.name, interpreter, projects.values())
    asked = closure.third_party.union(*(project.build_requires for project in projects.values()))
    check_unreadable(workspace.configuration.root, workspace.skipped, asked)
    mismatches = _mismatches(closure, projects)
    any_version = _settle(workspace, environment, mismatches)
    edges = {name: sorted({each.target for each in closure.needs(name)} - {name}) for name in names}
    nodes, cycles = _ordered(closure, projects, edges, any_version)
    warnings = [
        *closure.unknown_extras(),
        *(line for line, _ in mismatches),
        *(_describe_cycle(cycle, edges) for cycle in cycles),
        *shared_imports(node.project for node in nodes),
    ]
    third_party = tuple(sorted(closure.third_party))
    return EnvironmentGraph(environment, interpreter, nodes, cycles, third_party, tuple(warnings))


class _Closure:
    """The projects of an environment: those chosen, and whatever of the workspace they require."""

    def __init__(self, requires: Requires, environment: EnvironmentConfig) -> None:
        self.requires = requires
        self.environment = environment
        self.extras: dict[str, tuple[str, ...]] = {}
        self.third_party: set[str] = set()
        self.grouped: list[Internal] = []  # what groups require of the workspace: no order of installation

    def add(self, names: Iterable[str]) -> None:
        """Add projects by their normalized names, with the extras and groups that the configuration chooses for them."""
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.extras:
                continue
            project = self.requires.projects[name]
            extras = _chosen(self.environment.extras, name, project.optional_dependencies)
            self.extras[name] = self.requires.with_own_extras(name, extras)
            found = self.requires.everything(name, ("", *extras))
            self.third_party.update(found.third_party)
            waiting += [each.target for each in found.internal]
            for group in _chosen(self.environment.groups, name, project.groups):
                found = self.requires.group(name, group)
                self.third_party.update(found.third_party)
                self.grouped += found.internal
                waiting += [each.target for each in found.internal]

    def needs(self, name: str) -> Sequence[Internal]:
        """Return all that must be there for one project: what it requires, and what the extras that it asks for require."""
        return self.requires.everything(name, ("", *self.extras[name])).internal

    def unknown_extras(self) -> list[str]:
        """Return a warning for each extra of a project that another one asks for and that it does not have."""
        return [
            f"{each.file} wants {each.line!r}, and {each.target} has no extra {extra!r}"
            for name in sorted(self.extras)
            for each in dict.fromkeys(self.needs(name))
            if each.source == name
            for extra in each.extras
            if extra not in self.requires.projects[each.target].optional_dependencies
        ]


def _normalize(name: str) -> str:
    return pep508.normalize(name)


def _chosen(scopes: Mapping[str, Sequence[str]], name: str, declared: Iterable[str]) -> tuple[str, ...]:
    """Return what a table of the configuration chooses for one project, of what the project declares."""
    there = set(declared)
    return tuple(sorted({each for scope in ("*", name) for each in scopes.get(scope, ()) if each in there}))


def _check_scopes(
    workspace: Workspace, environment: EnvironmentConfig, by_name: Mapping[str, Sequence[Project]]
) -> None:
    """Raise if the environment's tables name a project, an extra or a group that is not there."""
    file = workspace.configuration.file or workspace.configuration.root

    def where(key: str) -> str:
        return f"{file}: `environments.{environment.name}.{key}`"

    tables: dict[str, Iterable[str]] = {
        "projects": [_normalize(name) for name in environment.projects or ()],
        "extras": environment.extras,
        "groups": environment.groups,
        "config-settings": environment.config_settings,
        "editable": environment.editable,
    }
    for key, names in tables.items():
        for name in names:
            if name not in by_name and (name != "*" or key == "projects"):
                raise ConfigurationError(
                    f"{where(key)} names {name!r}, and no project is called that{nearest(name, by_name)}",
                    advice="`interlock projects` lists what there is, and what was skipped and why.",
                )
    for name, extras in environment.extras.items():
        projects = workspace.projects if name == "*" else by_name[name]
        _check_chosen(where("extras"), name, extras, {each for one in projects for each in one.optional_dependencies})
    for name, groups in environment.groups.items():
        projects = workspace.projects if name == "*" else by_name[name]
        _check_chosen(where("groups"), name, groups, {each for one in projects for each in one.groups})


def _check_chosen(where: str, name: str, chosen: Iterable[str], declared: set[str]) -> None:
    who = "no project declares it" if name == "*" else f"{name} does not declare it"
    for each in chosen:
        if each not in declared:
            raise ConfigurationError(
                f"{where} asks for {each!r}, and {who}{nearest(each, declared)}",
                advice="`interlock projects --format json` shows what each project declares.",
            )


def _mismatches(closure: _Closure, projects: Mapping[str, Project]) -> list[tuple[str, Internal]]:
    """Return a line for each requirement inside the workspace that excludes the version that is there."""
    found: dict[Internal, None] = {}
    for name in projects:
        found.update(dict.fromkeys(each for each in closure.needs(name) if each.source == name))
    found.update(dict.fromkeys(closure.grouped))
    # An extra that nobody chose, but that another project asks for, is required by its own project's file.
    found.update(dict.fromkeys(each for name in projects for each in closure.needs(name)))
    lines = {}
    for each in found:
        target = projects[each.target]
        if each.specifier and not pep508.specifier(each.specifier).contains(target.version, prereleases=True):
            lines[f"{each.file} wants {each.line}, and {target.metadata_file} is {target.name} {target.version}"] = each
    return sorted(lines.items(), key=lambda item: item[0])


def _settle(
    workspace: Workspace, environment: EnvironmentConfig, mismatches: Sequence[tuple[str, Internal]]
) -> set[tuple[str, str]]:
    """Return the (source, target) pairs whose versions don't matter; raise where the configuration says they do."""
    if mismatches and workspace.configuration.internal_specifiers == "error":
        what = "1 requirement" if len(mismatches) == 1 else f"{len(mismatches)} requirements"
        verb = "excludes" if len(mismatches) == 1 else "exclude"
        raise GraphError(
            f"environment {environment.name!r}: {what} inside the workspace {verb} the version that is there:\n"
            + "\n".join(f"  {line}" for line, _ in mismatches),
            advice='Correct the specifiers, or set internal-specifiers = "warn" to install these projects regardless.',
        )
    return {(each.source, each.target) for _, each in mismatches}


def _ordered(
    closure: _Closure, projects: Mapping[str, Project], edges: Mapping[str, Sequence[str]], loose: set[tuple[str, str]]
) -> tuple[tuple[Node, ...], tuple[tuple[str, ...], ...]]:
    """Put the projects in an order of installation, each after what it requires, but in a cycle."""
    nodes: list[Node] = []
    found = components(edges)
    for component in found:
        inside = set(component)
        nodes += [
            Node(
                project=projects[name],
                extras=closure.extras[name],
                dependencies=tuple(each for each in edges[name] if each not in inside),
                deferred=tuple(each for each in edges[name] if each in inside),
                any_version=tuple(
                    sorted({each.target for each in closure.needs(name) if (each.source, each.target) in loose})
                ),
            )
            for name in component
        ]
    return tuple(nodes), tuple(component for component in found if len(component) > 1)


def _describe_cycle(cycle: Sequence[str], edges: Mapping[str, Sequence[str]]) -> str:
    way = shortest_cycle(cycle, edges)
    rest = len(cycle) - len(set(way))
    more = f", and {rest} more" if rest else ""
    return (
        f"{len(cycle)} projects require each other ({' -> '.join(way)}{more}): they are installed one after the other and "
        f"verified after the last"
    )
