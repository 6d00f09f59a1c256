"""Which directories of a workspace are projects, which were passed over, and why."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.errors import ConfigurationError, MetadataError
from interlock_ninja.globs import Listing, expand, is_match, list_directory
from interlock_ninja.metadata import NotAProject, Pending, read_metadata
from interlock_ninja.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock_ninja.project import Project

__all__ = ["Discovery", "Skipped", "find_members", "walk"]

PROJECT_FILES = frozenset({"pyproject.toml", "setup.cfg", "setup.py"})
# Nobody keeps projects in these, and tools write to them all the time.
NEVER = frozenset(
    str.split(
        ".git .hg .svn .bzr .jj _darcs CVS .tox .nox .eggs .interlock .idea .vscode .cache .mypy_cache .ruff_cache "
        ".pytest_cache .hypothesis .pytype node_modules __pycache__ _skbuild"
    )
)
_MADE = re.compile(r".*\.(egg-info|dist-info|egg)")
# Below a project these hold what its tests, or the people who use it, make projects of.
FIXTURES = frozenset(
    str.split(
        "test tests testdata test_data test-data fixture fixtures template templates _template _templates "
        "cookiecutter cookiecutters"
    )
)
_PLACEHOLDER = re.compile(r"\{\{|\{%|<%|^\{.*\}$")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A directory that is no project of the workspace; `path` is relative to the root with "/" between the parts.

    `warn` tells a directory whose metadata is broken from one that is passed over by rule.
    """

    path: str
    reason: str
    warn: bool = False

    @property
    def line(self) -> str:
        """The reason in one line: of what a build backend said at length, the last one, which is the error's."""
        first, *rest = self.reason.splitlines()
        return f"{first.rstrip(':')}: {rest[-1].strip()}" if rest else first


@dataclass(slots=True)
class Discovery:
    """What was found below one root; filled by `walk` or `find_members`.

    `avoid` maps absolute directories to the reason why no project is looked for there; `exclude` are globs.
    """

    root: str
    exclude: Sequence[str]
    avoid: Mapping[str, str]
    projects: list[Project] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files_read: list[str] = field(default_factory=list)
    _listed: dict[str, Listing | None] = field(default_factory=dict)
    _owners: set[str] = field(default_factory=set)
    _tracked: set[str] = field(default_factory=set)

    def directories(self) -> tuple[str, ...]:
        """Return the directories in which a new entry can mean a new project.

        Those outside of projects, and those on the way from one project to another inside it. Not the rest of a project: what
        its build and its tests create there is no reason to generate again.
        """
        above: set[str] = set()
        for owner in self._owners:
            parent = owner
            while parent != "." and (parent := os.path.dirname(parent) or ".") not in above:
                above.add(parent)
        outside = {path for path in self._listed if not self._inside(path)}
        return tuple(sorted(outside | (above & self._listed.keys()) | self._tracked))

    def look(self, directory: str) -> Listing | None:
        """List a directory once."""
        if directory not in self._listed:
            self._listed[directory] = list_directory(os.path.join(self.root, directory))
            if self._listed[directory] is None:
                del self._listed[directory]
                return None
        return self._listed[directory]

    def avoided(self, path: str) -> str:
        """Return why nobody looks into a directory, "" where one does."""
        name = os.path.basename(path)
        if name in NEVER or _MADE.fullmatch(name):
            return "a directory of tools"
        return self.avoid.get(os.path.join(self.root, path), "")

    def excluded(self, path: str) -> bool:
        """Tell whether the configuration excludes a directory, or one above it."""
        return any(is_match(path, pattern) for pattern in self.exclude)

    def skip(self, path: str, reason: str, *, warn: bool = False) -> None:
        """Note that a directory is passed over."""
        self.skipped.append(Skipped(path, reason, warn))

    def read(self, directory: str, listing: Listing, *, explicit: bool) -> bool:
        """Read what may be a project, and note what became of it; False where nothing below it belongs to the workspace."""
        found: Project | Pending | NotAProject | None = None
        source = Source(self.root, directory, listing.files, listing.folders)
        try:
            found = read_metadata(source, explicit=explicit)
        except MetadataError as error:
            self._owners.add(directory)
            self.skip(directory, error.message, warn=True)
        else:
            self._keep(directory, found)
        # What only the backend knows depends on all of its inputs, whoever reads them.
        self.files_read += source.read
        if isinstance(found, Pending):
            self.files_read += source.inputs
        return not (isinstance(found, NotAProject) and found.closed)

    def forget(self, directory: str) -> None:
        """Don't track a directory that was listed."""
        self._listed.pop(directory, None)

    def owned(self, directory: str) -> bool:
        """Tell whether a directory is a project, readable or not."""
        return directory in self._owners

    def _keep(self, directory: str, found: Project | Pending | NotAProject) -> None:
        if isinstance(found, NotAProject):
            self.skip(directory, found.reason)
            if found.listed:
                self._tracked.add(directory)
            return
        self._owners.add(directory)
        if isinstance(found, Pending):
            self.pending.append(found)
        else:
            self.projects.append(found)

    def _inside(self, path: str) -> bool:
        while path not in self._owners:
            if path == ".":
                return False
            path = os.path.dirname(path) or "."
        return True


def walk(found: Discovery) -> None:
    """Look for projects everywhere below the root, but where their fixtures, templates and tools' directories are."""
    # (directory, the project around it or "", why projects in it don't count or "")
    stack = [(".", "", "")]
    while stack:
        directory, owner, apart = stack.pop()
        # Below fixtures nothing is tracked: what lies there is only listed for people to see.
        listing = list_directory(os.path.join(found.root, directory)) if apart else found.look(directory)
        if listing is None:
            found.skip(directory, "cannot be read")
            continue
        if directory != "." and (reason := _closed(found, directory, listing)):
            found.skip(directory, reason)
            found.forget(directory)
            continue
        candidate = PROJECT_FILES & listing.files
        if apart and candidate - {"setup.cfg"}:
            found.skip(directory, apart)
        elif directory == "." and found.excluded(directory):
            found.skip(directory, "excluded by the configuration")
        elif candidate and not apart:
            if (original := _linked(found, directory, listing)) is not None:
                found.skip(directory, f"its pyproject.toml is a symbolic link to that of {original}")
                continue
            if not found.read(directory, listing, explicit=False):
                found.forget(directory)
                continue
            owner = directory if found.owned(directory) else owner
        stack += _below(found, directory, listing, owner, apart)


def _below(
    found: Discovery, directory: str, listing: Listing, owner: str, apart: str
) -> Iterable[tuple[str, str, str]]:
    """Yield the directories to look at next, in reverse order, for a stack."""
    for name in sorted(listing.folders, reverse=True):
        path = name if directory == "." else f"{directory}/{name}"
        if found.avoided(path):
            continue
        if found.excluded(path):
            found.skip(path, "excluded by the configuration")
        elif name in listing.links:
            if any(os.path.isfile(os.path.join(found.root, path, file)) for file in ("pyproject.toml", "setup.py")):
                target = os.path.relpath(os.path.realpath(os.path.join(found.root, path)), os.path.realpath(found.root))
                found.skip(path, f"a symbolic link to {target.replace(os.sep, '/')}")
        else:
            yield path, owner, apart or _fixtures(name, owner)


def _fixtures(name: str, owner: str) -> str:
    if _PLACEHOLDER.search(name):
        return f"below a template's directory, {name}"
    if owner and name in FIXTURES:
        return f"below the {name} of {'the root project' if owner == '.' else owner}"
    return ""


def _closed(found: Discovery, directory: str, listing: Listing) -> str:
    """Return why nothing below a directory belongs to the workspace, "" where it does."""
    if "pyvenv.cfg" in listing.files or "conda-meta" in listing.folders:
        return "an environment"
    if {"args.gn", "build.ninja"} <= listing.files:
        return "an out directory of GN"
    if "interlock.toml" in listing.files:
        return "a workspace of its own: it has an interlock.toml"
    if ".git" in listing.files:
        try:
            with open(os.path.join(found.root, directory, ".git"), encoding="utf-8", errors="replace") as reader:
                text = reader.read(4096).replace("\\", "/")
        except OSError:
            return ""
        return "another working tree of a repository" if "/worktrees/" in text else ""
    if os.path.basename(directory) == "build" and any(
        re.match(r"lib|bdist\.|temp\.", name) for name in listing.folders
    ):
        parent = found.look(os.path.dirname(directory) or ".")
        return "what setuptools has built" if parent and PROJECT_FILES & parent.files else ""
    return ""


def _linked(found: Discovery, directory: str, listing: Listing) -> str | None:
    """Return the directory of the workspace whose pyproject.toml a symbolic link leads to, None where there is none."""
    if "pyproject.toml" not in listing.links:
        return None
    target = os.path.dirname(os.path.realpath(os.path.join(found.root, directory, "pyproject.toml")))
    relative = os.path.relpath(target, os.path.realpath(found.root)).replace(os.sep, "/")
    return None if relative.startswith("../") or relative == directory else relative


def find_members(found: Discovery, patterns: Sequence[str], *, explicit: bool, where: str) -> list[str]:
    """Look for projects in the directories that globs name; return a warning for each glob without any.

    `explicit` says that the globs are interlock's own `members`, of which each must match a project.

    Raises:
        ConfigurationError: an explicit glob matches nothing; `where` names the file.
    """
    warnings: list[str] = []
    candidates: dict[str, Listing] = {}
    for pattern in patterns:
        matched, _ = expand(found.root, pattern, look=found.look, avoid=lambda path: bool(found.avoided(path)))
        hits = 0
        for directory in matched:
            listing = candidates.get(directory) or list_directory(os.path.join(found.root, directory))
            if listing is None or not PROJECT_FILES & listing.files:
                continue
            hits += 1
            candidates[directory] = listing
        if not hits and explicit:
            raise ConfigurationError(
                f"{where}: `members` has {pattern!r}, which matches no project",
                advice="A member is a directory with a pyproject.toml, setup.cfg or setup.py; take the glob out if it is old.",
            )
        if not hits and pattern != ".":
            warnings.append(f"{where}: {pattern!r} matches no project")
    _read_members(found, candidates, explicit=explicit)
    return warnings


def _read_members(found: Discovery, candidates: Mapping[str, Listing], *, explicit: bool) -> None:
    """Read members, each real directory once: under its own path rather than under a symbolic link to it."""
    base = os.path.realpath(found.root)
    real = {
        path: os.path.relpath(os.path.realpath(os.path.join(found.root, path)), base).replace(os.sep, "/")
        for path in candidates
    }
    taken: dict[str, str] = {}
    for directory in sorted(candidates, key=lambda path: (path != real[path], path)):
        if found.excluded(directory):
            found.skip(directory, "excluded by the configuration")
        elif real[directory] in taken:
            found.skip(directory, f"a symbolic link to {taken[real[directory]]}")
        else:
            taken[real[directory]] = directory
            found.read(directory, candidates[directory], explicit=explicit)
