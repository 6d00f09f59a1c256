"""A plan as calls of the GN templates: the same edges as in build.ninja, as plain data for a writer."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.errors import ConfigurationError, GraphError
from interlock_gn.rule_names import refused, rule_name
from interlock_gn.source_tree import label, short_label, source_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from interlock_ninja.graph import EnvironmentGraph
    from interlock_ninja.plan import Edge, Plan
    from interlock_ninja.workspace import Workspace

__all__ = ["BuildEnvironmentCall", "Calls", "EnvironmentCall", "GroupCall", "Place", "ProjectCall", "make_calls"]

# `interlock_default_venv` of interlock_args.gni.
DEFAULT_VENV = "//build/venv"
# GN reads a backslash as "/"; a tab separates the columns of files that it writes for us.
UNNAMEABLE = ("\\", "\t")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the calls go: the root of the GN tree (absolute), the directory of the environments' BUILD.gn, one file or many."""

    source_root: str
    venv_dir: str
    single_file: bool


@dataclass(frozen=True, slots=True)
class EnvironmentCall:
    """A call of interlock_venv; the fields are its arguments, "" and () those that are left out."""

    target: str
    path: str
    python: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    dependencies: tuple[str, ...]
    build_constraints: tuple[str, ...]
    config_settings: tuple[str, ...]
    directory: str
    projects: tuple[str, ...]
    links: bool = False
    editable: str = ""


@dataclass(frozen=True, slots=True)
class BuildEnvironmentCall:
    """A call of interlock_build_env."""

    target: str
    venv: str
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupCall:
    """A call of interlock_group."""

    target: str
    python_deps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProjectCall:
    """A call of interlock_project; `directory` is the one whose BUILD.gn has it ("//libs/text")."""

    directory: str
    target: str
    project_name: str
    pyproject: str
    venv: str
    python_deps: tuple[str, ...]
    build_files: tuple[str, ...]
    build_env: str
    config_settings: tuple[str, ...]
    extras: tuple[str, ...]
    deferred: tuple[str, ...]
    verify: tuple[str, ...]
    any_version: tuple[str, ...]
    editable: str = ""


@dataclass(frozen=True, slots=True)
class Calls:
    """All calls: environments, build environments and groups are in the BUILD.gn of `Place.venv_dir`."""

    environments: tuple[EnvironmentCall, ...]
    build_environments: tuple[BuildEnvironmentCall, ...]
    groups: tuple[GroupCall, ...]
    projects: tuple[ProjectCall, ...]


def make_calls(workspace: Workspace, graphs: Sequence[EnvironmentGraph], plan: Plan, place: Place) -> Calls:
    """Turn the edges of a plan into calls of the templates.

    Raises:
        GraphError: two labels that make one Ninja rule, or a name that Ninja allows in no rule; all of them at once.
    """
    made = [_Environment(workspace, graph, plan, place) for graph in graphs]
    projects = tuple(call for each in made for call in each.projects())
    calls = Calls(
        environments=tuple(each.environment() for each in made),
        build_environments=tuple(dict.fromkeys(call for each in made for call in each.build_environments())),
        groups=tuple(_shared(made)),
        projects=projects,
    )
    _check_rule_names(calls, place)
    return calls


@dataclass(slots=True)
class _Environment:
    """One environment of a plan, and the labels of what it holds."""

    workspace: Workspace
    graph: EnvironmentGraph
    plan: Plan
    place: Place
    labels: dict[str, str] = field(default_factory=dict)
    prepares: dict[str, Edge] = field(default_factory=dict)
    installs: dict[str, Edge] = field(default_factory=dict)
    by_stamp: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for edge in self.plan.edges:
            if edge.environment == self.name and edge.kind == "prepare":
                self.prepares[edge.project] = edge
            elif edge.environment == self.name and edge.kind == "install":
                self.installs[edge.project] = edge
                self.by_stamp[edge.stamp] = edge.project
        for node in self.graph.nodes:
            self.labels[node.project.normalized] = label(
                self.home(node.project.directory), self.target(node.project.normalized)
            )

    @property
    def name(self) -> str:
        return self.graph.environment.name

    @property
    def venv(self) -> str:
        """The label of the environment, "" for the one that is meant where none is named."""
        own = short_label(label(self.place.venv_dir, self.name))
        return "" if own == DEFAULT_VENV else own

    def target(self, name: str) -> str:
        """Return the name of a project's target: as in the plan, "<env>__<project>" for one that several environments hold."""
        return self.prepares[name].target.removesuffix("__editable_prepare")

    def home(self, directory: str) -> str:
        """Return the directory whose BUILD.gn has a project: its own, unless that can be part of no label."""
        own = source_path(self.place.source_root, os.path.join(self.workspace.configuration.root, directory))
        # In a label, a colon or a parenthesis in a directory would be where the name or the toolchain starts.
        usable = own.startswith("//") and not refused(own.replace("/", ""))
        return own if usable and not self.place.single_file else self.place.venv_dir

    def file(self, path: str) -> str:
        """Return a path of the workspace as GN names it.

        Raises:
            ConfigurationError: GN has no way to name it.
        """
        named = source_path(self.place.source_root, os.path.join(self.workspace.configuration.root, path))
        if unfit := next((each for each in UNNAMEABLE if each in named), ""):
            raise ConfigurationError(
                f"GN cannot name {path!r}: {unfit!r} is in it",
                advice="Rename it, or leave its project out with `exclude`.",
            )
        return named

    def environment(self) -> EnvironmentCall:
        configured = self.graph.environment
        root = self.file(".")
        return EnvironmentCall(
            target=self.name,
            path=self.file(configured.path),
            python=configured.python or "",
            requirements=tuple(map(self.file, configured.requirements)),
            constraints=tuple(map(self.file, configured.constraints)),
            dependencies=self.graph.third_party,
            build_constraints=tuple(map(self.file, configured.build_constraints)),
            config_settings=self.common_settings(),
            directory="" if root == "//" else root,
            projects=self.spelled(self.place.venv_dir, self.labels),
            links=configured.links,
            editable=self.editable("*").replace("backend", ""),
        )

    def spelled(self, directory: str, names: Iterable[str]) -> tuple[str, ...]:
        """Return the labels of projects as a BUILD.gn in a directory names them, in the order that `gn format` wants."""
        found = {short_label(_local(directory, self.labels[name])) for name in names}
        return tuple(sorted(found, key=_order))

    def common_settings(self) -> tuple[str, ...]:
        """Return the settings that all projects have, () where one has others."""
        found = {_values(edge, "-C") for edge in self.prepares.values()}
        return found.pop() if len(found) == 1 else ()

    def editable(self, name: str) -> str:
        """Return how editable installs are made that the configuration names so, "" where it does not."""
        return self.graph.environment.editable.get(name, "")

    def build_environments(self) -> Iterator[BuildEnvironmentCall]:
        for node in self.graph.nodes:
            if node.project.build_requires:
                yield self.build_environment(node.project.build_requires)

    def build_environment(self, requires: tuple[str, ...]) -> BuildEnvironmentCall:
        """Return the build environment of some requirements: its name says the first, and a digest of all."""
        digest = hashlib.sha256(json.dumps(requires).encode()).hexdigest()[:8]
        first = next((word for each in requires for word in _words(each)), "nothing")
        return BuildEnvironmentCall(f"{self.name}__build_env_{first}_{digest}", self.venv, requires)

    def projects(self) -> Iterator[ProjectCall]:
        common = self.common_settings()
        for node in self.graph.nodes:
            name = node.project.normalized
            prepare, install = self.prepares[name], self.installs[name]
            before = [self.by_stamp[stamp] for stamp in install.inputs if stamp in self.by_stamp]
            home = self.home(node.project.directory)
            target = self.target(name)
            directory = self.file(node.project.directory)
            files = tuple(map(self.file, node.project.build_files))
            requires = node.project.build_requires
            build_env = label(self.place.venv_dir, self.build_environment(requires).target) if requires else ""
            settings = _values(prepare, "-C")
            yield ProjectCall(
                directory=home,
                target=target,
                project_name="" if target == node.project.name else node.project.name,
                pyproject="" if home == directory else directory,
                venv=self.venv,
                python_deps=self.spelled(home, before),
                build_files=()
                if files == (self.file(os.path.join(node.project.directory, "pyproject.toml")),)
                else tuple(_below(home, each) for each in files),
                build_env=_local(home, build_env),
                config_settings=() if settings == common else settings,
                extras=_values(prepare, "--extra"),
                deferred=_values(install, "--defer"),
                verify=_values(install, "--verify"),
                any_version=_values(install, "--any-version"),
                editable=self.editable(name),
            )


def _shared(made: Sequence[_Environment]) -> Iterator[GroupCall]:
    """Yield a group for each project that several environments hold: it is installed in all of them."""
    holders: dict[str, list[_Environment]] = defaultdict(list)
    names = {}
    for each in made:
        for node in each.graph.nodes:
            holders[node.project.normalized].append(each)
            names[node.project.normalized] = node.project.name
    for name, environments in sorted(holders.items()):
        if len(environments) > 1:
            here = environments[0].place.venv_dir
            deps = {spelling for each in environments for spelling in each.spelled(here, [name])}
            yield GroupCall(names[name], tuple(sorted(deps, key=_order)))


def _check_rule_names(calls: Calls, place: Place) -> None:
    """Raise if two labels make one rule in Ninja, or if one makes none."""
    labels = [
        label(place.venv_dir, f"{each.target}__{step}")
        for each in calls.environments
        for step in ("venv", "requirements")
    ]
    labels += [label(place.venv_dir, each.target) for each in calls.build_environments]
    labels += [
        label(each.directory, f"{each.target}__{step}")
        for each in calls.projects
        for step in ("editable_prepare", "editable_install")
    ]
    rules: dict[str, str] = {}
    problems = []
    for each in labels:
        rule = rule_name(each)
        if characters := refused(rule):
            problems.append(f"{each} makes no Ninja rule: {characters!r} is in its name")
        elif (other := rules.setdefault(rule, each)) != each:
            problems.append(f"{other} and {each} make one Ninja rule, {rule}")
    if problems:
        raise GraphError(
            "labels that GN would turn into names of Ninja rules that clash:\n"
            + "\n".join(f"  {line}" for line in problems),
            advice="Move or rename one directory of each pair, or put all targets into one BUILD.gn: --single-file.",
        )


def _values(edge: Edge, option: str) -> tuple[str, ...]:
    """Return what an edge's arguments give an option."""
    words = edge.arguments
    return tuple(words[position + 1] for position, word in enumerate(words[:-1]) if word == option)


def _words(requirement: str) -> list[str]:
    """Return the name at the start of a requirement, as characters that any label may have."""
    name = "".join(" " if refused(character) else character for character in requirement).split()
    return name[:1]


def _order(spelling: str) -> tuple[bool, tuple[str, str, str]]:
    """Return what `gn format` sorts labels by: those of the same file first, then by directory, then by name."""
    return not spelling.startswith(":"), spelling.partition(":")


def _below(directory: str, path: str) -> str:
    """Return a path as a BUILD.gn in a directory names it: relative where it is inside."""
    base = "//" if directory == "//" else f"{directory}/"
    inside = path.removeprefix(base)
    return inside if path.startswith(base) and inside else path


def _local(directory: str, full: str) -> str:
    """Return a label as a BUILD.gn in a directory names it."""
    return full.removeprefix(directory) if full.startswith(f"{directory}:") else full
