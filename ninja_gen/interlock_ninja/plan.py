"""The plan: the edges of a workspace's environments as plain data, shared by every writer.

Paths of files that a build tool looks at are relative to the out directory, with "/" between the parts, because that is
where Ninja and GN run commands. Environments and project directories are named absolutely in the commands.

The stamp of a project's edge is the file of the edge's name, in the out directory itself: a name that stood for a stamp
elsewhere would be one more edge for Ninja to read, and a longer path one for it to look up, each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from interlock.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from interlock_ninja.config import Configuration, EnvironmentConfig
    from interlock_ninja.graph import EnvironmentGraph, Node
    from interlock_ninja.project import Project

__all__ = ["Alias", "Edge", "Kind", "Plan", "make_plan", "third_party_file"]

Kind = Literal["venv", "build-env", "requirements", "prepare", "install"]


@dataclass(frozen=True, slots=True)
class Edge:
    """One step: a command of interlock, what it needs, and the stamp that it leaves.

    `target` is the name that people ask for ("" where nobody does); `inputs` make the edge run again when they change,
    `order_only` must merely be there before it runs. `arguments` exclude --stamp and --depfile, which every edge has.
    `environment` is the name of the edge's environment, of the first one for a build environment; `project` the normalized
    name of its project, "" where it has none.
    """

    kind: Kind
    target: str
    subject: str
    arguments: tuple[str, ...]
    stamp: str
    inputs: tuple[str, ...]
    order_only: tuple[str, ...] = ()
    environment: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for several stamps."""

    name: str
    stamps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All edges, in an order in which they could run one after the other."""

    edges: tuple[Edge, ...]
    aliases: tuple[Alias, ...]


def make_plan(configuration: Configuration, graphs: Sequence[EnvironmentGraph]) -> Plan:
    """Lay out the edges of some environments of one workspace.

    Raises:
        GraphError: an environment and a project make a name together that another project has, or that differs in its capitals.
    """
    occurrences = Counter(node.project.normalized for graph in graphs for node in graph.nodes)
    # "full" is the default of every edge, which INTERLOCK_DURABILITY may change for one run.
    durability = ("--durability", "fast") if configuration.durability == "fast" else ()
    edges: dict[str, Edge] = {}
    aliases: list[Alias] = []
    shared: dict[str, list[str]] = {}
    for graph in graphs:
        layout = _Layout(configuration, graph, occurrences)
        for edge in layout.edges():
            arguments = (*edge.arguments, *durability)
            planned = replace(edge, arguments=arguments, environment=graph.environment.name)
            # Stamps are files, and some file systems do not tell "core" from "Core".
            known = edges.setdefault(edge.stamp.lower(), planned)
            # Environments share build environments, and nothing else.
            if known is not planned and edge.kind != "build-env":
                raise _one_name(known, planned)
        aliases += layout.aliases()
        for node in graph.nodes:
            if occurrences[node.project.normalized] > 1:
                name = f"{node.project.name}__editable_install"
                shared.setdefault(name, []).extend(layout.complete(node.project.normalized))
    aliases += [Alias(name, tuple(stamps)) for name, stamps in shared.items()]
    _check_aliases(aliases, edges.values())
    return Plan(tuple(edges.values()), tuple(aliases))


def third_party_file(environment: EnvironmentConfig) -> str:
    """Return the path, relative to the out directory, of an environment's collected third-party requirements."""
    return f"interlock/{environment.name}/requirements.txt"


PRIVATE_NAMES_FILE = "interlock/workspace-names.txt"


class _Layout:
    """The edges of one environment."""

    def __init__(
        self,
        configuration: Configuration,
        graph: EnvironmentGraph,
        occurrences: Mapping[str, int],
    ) -> None:
        self._configuration = configuration
        self._graph = graph
        self._environment = graph.environment
        self._occurrences = occurrences
        self._out = os.path.join(configuration.root, configuration.out)
        self._base = f"interlock/{graph.environment.name}"
        # Environments and editable installs hold absolute paths: in a workspace that was moved, these commands differ.
        self._root = os.path.realpath(configuration.root)
        self._path = self._absolute(graph.environment.path)
        self._nodes = {node.project.normalized: node for node in graph.nodes}
        self._cycle_of = {name: cycle for cycle in graph.cycles for name in cycle}

    def edges(self) -> Iterator[Edge]:
        yield self._venv()
        yield self._requirements()
        for node in self._graph.nodes:
            build_environment = self._build_environment(node.project)
            yield build_environment
            yield self._prepare(node, build_environment)
            yield self._install(node)

    def aliases(self) -> Iterator[Alias]:
        for cycle in self._graph.cycles:
            for name in cycle:
                yield Alias(self._target(self._nodes[name].project, "editable_install"), self.complete(name))
        installs = [self._stamp(node.project.normalized, "install") for node in self._graph.nodes]
        yield Alias(f"{self._environment.name}__all", (*installs, f"{self._base}/requirements.stamp"))

    def complete(self, name: str) -> tuple[str, ...]:
        """Return the stamps that say that a project is installed and that all of its cycle, if any, is there too."""
        cycle = self._cycle_of.get(name, (name,))
        return tuple(dict.fromkeys((self._stamp(name, "install"), self._stamp(cycle[-1], "install"))))

    def _venv(self) -> Edge:
        arguments = (self._path, "--python", self._graph.interpreter.executable)
        name = f"{self._environment.name}__venv"
        interpreter = os.path.realpath(self._graph.interpreter.executable)
        return Edge(
            "venv", name, self._relative(self._environment.path), arguments, f"{self._base}/venv.stamp", (interpreter,)
        )

    def _requirements(self) -> Edge:
        environment = self._environment
        files = [self._relative(path) for path in environment.requirements]
        constraints = [self._relative(path) for path in environment.constraints]
        collected = third_party_file(environment)
        arguments = ["--venv", self._path, "-r", collected]
        arguments += [word for path in files for word in ("-r", path)]
        arguments += [word for path in constraints for word in ("-c", path)]
        # People run pip in the root of the workspace: there the relative paths of their files start.
        arguments += ["--directory", self._relative("."), "--private", PRIVATE_NAMES_FILE, *self._engine()]
        return Edge(
            "requirements",
            f"{environment.name}__requirements",
            self._relative(environment.path),
            tuple(arguments),
            f"{self._base}/requirements.stamp",
            (f"{self._base}/venv.stamp", collected, PRIVATE_NAMES_FILE, *files, *constraints),
        )

    def _build_environment(self, project: Project) -> Edge:
        arguments = [word for requirement in project.build_requires for word in ("-r", requirement)]
        arguments += ["--workspace", PRIVATE_NAMES_FILE]
        arguments += [
            word for path in self._environment.build_constraints for word in ("--constraint", self._relative(path))
        ]
        arguments += ["--python", self._graph.interpreter.executable, *self._engine()]
        key = hashlib.sha256(json.dumps(arguments).encode()).hexdigest()[:16]
        constraints = tuple(self._relative(path) for path in self._environment.build_constraints)
        return Edge(
            "build-env",
            "",
            ", ".join(project.build_requires) or "no requirements",
            tuple(arguments),
            f"interlock/build-env/{key}.stamp",
            # These few edges read it again; a prepare runs again only where that made its build environment another one.
            (os.path.realpath(self._graph.interpreter.executable), PRIVATE_NAMES_FILE, *constraints),
        )

    def _prepare(self, node: Node, build_environment: Edge) -> Edge:
        project, environment = node.project, self._environment
        # What differs between projects comes first: the rest is said once in a build.ninja.
        arguments = [self._absolute(project.directory), "--output", self._prepared(project)]
        arguments += [word for extra in node.extras for word in ("--extra", extra)]
        arguments += _editable(environment, project.normalized)
        for key, values in sorted(_settings(environment, project.normalized).items()):
            arguments += [word for value in values for word in ("-C", f"{key}={value}")]
        arguments += ["--venv", self._path]
        for path in environment.build_constraints:
            arguments += ["--build-constraint", self._relative(path)]
        arguments += ["--workspace", PRIVATE_NAMES_FILE]
        arguments += ["--links"] if environment.links else []
        return Edge(
            "prepare",
            self._target(project, "editable_prepare"),
            project.name,
            (*arguments, *self._engine()),
            self._stamp(project.normalized, "prepare"),
            (build_environment.stamp, *(self._relative(path) for path in project.build_files)),
            # The environment's layout is read, nothing that is installed in it.
            (f"{self._base}/venv.stamp",),
            project=project.normalized,
        )

    def _install(self, node: Node) -> Edge:
        project = node.project
        arguments = [self._prepared(project)]
        arguments += [word for name in node.deferred for word in ("--defer", name)]
        any_version = set(node.any_version)
        before = [stamp for name in node.dependencies for stamp in self.complete(name)]
        cycle = self._cycle_of.get(project.normalized, ())
        if cycle:
            position = cycle.index(project.normalized)
            before += [self._stamp(cycle[position - 1], "install")] if position else []
            if position == len(cycle) - 1:
                members = [self._nodes[name] for name in cycle]
                arguments += [word for one in members for word in ("--verify", _with_extras(one))]
                any_version |= {name for one in members for name in one.any_version}
        arguments += [word for name in sorted(any_version) for word in ("--any-version", name)]
        arguments += ["--venv", self._path]
        return Edge(
            "install",
            "" if cycle else self._target(project, "editable_install"),
            project.name,
            tuple(arguments),
            self._stamp(project.normalized, "install"),
            tuple(
                dict.fromkeys((self._stamp(project.normalized, "prepare"), f"{self._base}/requirements.stamp", *before))
            ),
            project=project.normalized,
        )

    def _engine(self) -> tuple[str, ...]:
        return () if self._configuration.engine == "auto" else ("--engine", self._configuration.engine)

    def _target(self, project: Project, step: str) -> str:
        if self._occurrences[project.normalized] > 1:
            return f"{self._environment.name}__{project.name}__{step}"
        return f"{project.name}__{step}"

    def _stamp(self, name: str, step: str) -> str:
        if step == "install" and name in self._cycle_of:  # its name stands for all of the cycle
            return f"{self._base}/projects/{name}/install.stamp"
        return self._target(self._nodes[name].project, f"editable_{step}")

    def _prepared(self, project: Project) -> str:
        return f"{self._base}/projects/{project.normalized}/prepared"

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._root, path)).replace(os.sep, "/")

    def _relative(self, path: str) -> str:
        """Return a path of the workspace as it is seen from the out directory."""
        absolute = os.path.join(self._configuration.root, path)
        try:
            return os.path.relpath(absolute, self._out).replace(os.sep, "/")
        except ValueError:  # another drive, on Windows
            return absolute.replace(os.sep, "/")


def _check_aliases(aliases: Sequence[Alias], edges: Iterable[Edge]) -> None:
    """Raise a GraphError if what stands for several stamps is called as an edge is."""
    named = {edge.target: edge for edge in edges if edge.target}
    for alias in aliases:
        if (edge := named.get(alias.name)) is not None:
            raise _two(alias.name, f"{_where(edge)} and a project that is in several environments, or in a cycle")


def _one_name(one: Edge, other: Edge) -> GraphError:
    return _two(other.target, f"{_where(one)} and {_where(other)}")


def _where(edge: Edge) -> str:
    return f"{edge.project} in environment {edge.environment!r}"


def _two(name: str, who: str) -> GraphError:
    return GraphError(
        f"two edges of the graph would have one name, {name}: {who}", advice="Rename the environment or the project."
    )


def _with_extras(node: Node) -> str:
    extras = f"[{','.join(node.extras)}]" if node.extras else ""
    return node.project.normalized + extras


def _editable(environment: EnvironmentConfig, name: str) -> list[str]:
    """Return the words that say how a project's editable install is made; "static" for all is only for those that can be."""
    mode = environment.editable.get(name, "")
    if not mode:
        mode = environment.editable.get("*", "backend")
        mode = "static-if-possible" if mode == "static" else mode
    return [] if mode == "backend" else ["--editable", mode]


def _settings(environment: EnvironmentConfig, name: str) -> Mapping[str, Sequence[str]]:
    merged: dict[str, Sequence[str]] = {}
    for scope in ("*", name):
        for key, value in environment.config_settings.get(scope, {}).items():
            merged[key] = (value,) if isinstance(value, str) else value
    return merged
