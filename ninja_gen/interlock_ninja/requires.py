"""What projects require in one interpreter, of the workspace and of others; each answer worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock_ninja import pep508

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock_ninja.project import Project

__all__ = ["Internal", "Requirements", "Requires"]


@dataclass(frozen=True, slots=True)
class Internal:
    """A requirement of one project of the workspace, `source`, on another, `target`, or on an extra of its own.

    `line` is the requirement without its marker, `file` the source's metadata file.
    """

    source: str
    target: str
    line: str
    specifier: str
    extras: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Requirements:
    """Requirements whose markers hold, split by who answers them."""

    internal: tuple[Internal, ...]
    third_party: tuple[str, ...]


class Requires:
    """The requirements of projects, by normalized name, in one marker environment."""

    def __init__(self, projects: Mapping[str, Project], markers: Mapping[str, str]) -> None:
        self.projects = projects
        self._markers = dict(markers)
        self._holds: dict[tuple[str, str], bool] = {}
        self._direct: dict[tuple[str, str], Requirements] = {}
        self._everything: dict[tuple[str, tuple[str, ...]], Requirements] = {}

    def direct(self, name: str, extra: str) -> Requirements:
        """Return what a project requires by itself (extra "") or what one of its extras adds."""
        key = (name, extra)
        if key not in self._direct:
            project = self.projects[name]
            lines = project.optional_dependencies.get(extra, ()) if extra else project.dependencies
            self._direct[key] = self._split(project, lines, extra)
        return self._direct[key]

    def group(self, name: str, group: str) -> Requirements:
        """Return what a dependency group of a project requires, with the extras that it asks for."""
        project = self.projects[name]
        found = self._split(project, project.groups.get(group, ()), "")
        return self._followed(found, set())

    def everything(self, name: str, extras: Iterable[str]) -> Requirements:
        """Return what a project requires with some extras ("" for itself), and what the extras it asks of others require.

        `core[x]` means: core, and what its extra x adds; the order of core itself does not depend on that.
        """
        key = (name, tuple(sorted(set(extras))))
        if key not in self._everything:
            seen = {(name, extra) for extra in key[1]}
            parts = [self._followed(self.direct(name, extra), seen) for extra in key[1]]
            self._everything[key] = Requirements(
                tuple(each for part in parts for each in part.internal),
                tuple(each for part in parts for each in part.third_party),
            )
        return self._everything[key]

    def with_own_extras(self, name: str, extras: Sequence[str]) -> tuple[str, ...]:
        """Return some extras of a project and those that they name themselves: `all = ["pkg[a,b]"]`."""
        found: set[str] = set()
        waiting = list(extras)
        while waiting:
            extra = waiting.pop()
            if extra in found:
                continue
            found.add(extra)
            waiting += [
                more for each in self.direct(name, extra).internal if each.target == name for more in each.extras
            ]
        return tuple(sorted(found))

    def _followed(self, start: Requirements, seen: set[tuple[str, str]]) -> Requirements:
        """Add what the extras require that these requirements ask for, and so on."""
        internal, third_party = list(start.internal), list(start.third_party)
        position = 0
        while position < len(internal):
            each = internal[position]
            position += 1
            for extra in each.extras:
                if (each.target, extra) not in seen:
                    seen.add((each.target, extra))
                    added = self.direct(each.target, extra)
                    internal += added.internal
                    third_party += added.third_party
        return Requirements(tuple(internal), tuple(third_party))

    def _split(self, project: Project, lines: Iterable[str], extra: str) -> Requirements:
        internal, third_party = [], []
        for line in lines:
            parsed = pep508.requirement(line)
            if parsed.marker is not None and not self._is_true(line, extra):
                continue
            target = normalize(parsed.name)
            extras = tuple(sorted(map(normalize, parsed.extras)))
            head = f"{parsed.name}[{','.join(sorted(parsed.extras))}]" if extras else parsed.name
            plain = f"{head} @ {parsed.url}" if parsed.url else f"{head}{parsed.specifier}"
            if target in self.projects:
                specifier = "" if parsed.url else str(parsed.specifier)
                internal.append(Internal(project.normalized, target, plain, specifier, extras, project.metadata_file))
            else:
                third_party.append(plain)
        return Requirements(tuple(internal), tuple(third_party))

    def _is_true(self, line: str, extra: str) -> bool:
        marker = pep508.requirement(line).marker
        key = (str(marker), extra)
        if key not in self._holds:
            self._holds[key] = marker is None or marker.evaluate({**self._markers, "extra": extra})
        return self._holds[key]
