"""What a set of projects pulls in: other projects of the workspace, and requirements on the rest of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from interlock_ninja.pep508 import requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.requirements import Requirement

    from interlock.interpreter import Interpreter
    from interlock_ninja.project import Project

__all__ = ["Closure"]


class Closure:
    """The projects of an environment, grown project by project from those that were chosen.

    `members` maps normalized names to projects, `needs` each of them to the projects that must be installed before it (never
    itself). What `core[x]` adds counts as a need of the project that asks for it, not of core: that is where it is checked,
    and it keeps hubs and their plugins from being cycles. Dependency groups pull in, and order nothing.
    """

    def __init__(self, workspace: Mapping[str, Project], interpreter: Interpreter) -> None:
        self._workspace = workspace
        self._markers = dict(interpreter.markers)
        self._holds: dict[tuple[str, str], bool] = {}
        self.members: dict[str, Project] = {}
        self.needs: dict[str, set[str]] = {}
        self.third_party: set[str] = set()
        self.mismatches: list[tuple[Project, str, Project]] = []
        self.any_version: dict[str, set[str]] = {}
        self.warnings: list[str] = []

    def add(
        self, names: Iterable[str], extras: Mapping[str, tuple[str, ...]], groups: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Take in projects and all that they need, each with the extras and groups chosen for it."""
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.members:
                continue
            project = self.members[name] = self._workspace[name]
            self.needs[name] = set()
            for extra in ("", *extras.get(name, ())):
                self._visit(project, extra, name, {})
            pulled: set[str] = set()
            for group in groups.get(name, ()):
                lines = next(lines for key, lines in project.groups.items() if canonicalize_name(key) == group)
                for one in self._lines(lines, ""):
                    self._take(project, one, name, {}, pulled)
            waiting += sorted((self.needs[name] | pulled) - self.members.keys(), reverse=True)

    def _visit(self, project: Project, extra: str, asker: str, seen: dict[tuple[str, str], None]) -> None:
        """Attribute what a project, or one of its extras, requires to the project that asks for it."""
        if (project.normalized, extra) in seen:
            return
        seen[project.normalized, extra] = None
        for one in self._lines(_lines_of(project, extra), extra):
            self._take(project, one, asker, seen, self.needs[asker])

    def _take(
        self, owner: Project, one: Requirement, asker: str, seen: dict[tuple[str, str], None], into: set[str]
    ) -> None:
        name = canonicalize_name(one.name)
        found = self._workspace.get(name)
        if found is None:
            extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
            self.third_party.add(f"{one.name}{extras} @ {one.url}" if one.url else f"{one.name}{extras}{one.specifier}")
            return
        if not one.url and one.specifier and not one.specifier.contains(found.version, prereleases=True):
            entry = (owner, f"{one.name}{one.specifier}", found)
            if entry not in self.mismatches:
                self.mismatches.append(entry)
            self.any_version.setdefault(asker, set()).add(name)
        if name != asker:
            into.add(name)
        for extra in sorted(map(canonicalize_name, one.extras)):
            if extra not in map(canonicalize_name, found.optional_dependencies):
                line = f"{owner.name} ({owner.metadata_file}) asks for {found.name}[{extra}], which {found.name} does not have"
                if line not in self.warnings:
                    self.warnings.append(line)
            self._visit(found, extra, asker, seen)

    def _lines(self, lines: Iterable[str], extra: str) -> Iterator[Requirement]:
        """Parse requirements and leave out those whose marker does not hold."""
        for line in lines:
            one = requirement(line)
            if one.marker is None:
                yield one
                continue
            key = (str(one.marker), extra)
            if key not in self._holds:
                self._holds[key] = one.marker.evaluate({**self._markers, "extra": extra})
            if self._holds[key]:
                yield one


def _lines_of(project: Project, extra: str) -> tuple[str, ...]:
    if not extra:
        return project.dependencies
    for name, lines in project.optional_dependencies.items():
        if canonicalize_name(name) == extra:
            return lines
    return ()
