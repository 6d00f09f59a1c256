"""Reasons why projects cannot share an environment, or had better not."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.errors import GraphError
from interlock_ninja import pep508
from interlock_ninja.discovery import PROJECT_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.interpreter import Interpreter
    from interlock_ninja.discovery import Skipped
    from interlock_ninja.project import Project

__all__ = ["check_names", "check_python", "check_unreadable", "shared_imports"]

SHOWN = 3
_NAME = re.compile(r"""^\s*(?:setup\()?\s*name\s*=\s*["']?([A-Za-z0-9][A-Za-z0-9._-]*)""", re.MULTILINE)


def check_names(environment: str, by_name: Mapping[str, Sequence[Project]]) -> None:
    """Raise a GraphError if two projects of an environment have one normalized name."""
    lines = []
    for name, projects in by_name.items():
        if len(projects) > 1:
            places = " and ".join(f"{project.metadata_file} ({project.name})" for project in projects)
            lines.append(f"  {name}: {places}")
    if lines:
        raise GraphError(
            f"environment {environment!r} cannot hold two projects of one name:\n" + "\n".join(lines),
            advice="Rename one of them, or exclude its directory with `exclude`.",
        )


def check_python(environment: str, interpreter: Interpreter, projects: Iterable[Project]) -> None:
    """Raise a GraphError if the requires-python of projects excludes the environment's interpreter."""
    version = interpreter.markers["python_full_version"]
    lines = [
        f"  {project.metadata_file} ({project.name}): requires-python {project.requires_python}"
        for project in projects
        if project.requires_python and not pep508.specifier(project.requires_python).contains(version, prereleases=True)
    ]
    if lines:
        raise GraphError(
            f"environment {environment!r} has Python {version} ({interpreter.executable}), which these projects exclude:\n"
            + "\n".join(sorted(lines)),
            advice="Choose another interpreter with `python`, leave them out with `projects`, or exclude them with `exclude`.",
        )


def check_unreadable(root: str, skipped: Iterable[Skipped], requirements: Iterable[str]) -> None:
    """Raise a GraphError if a requirement seems to be a project of the workspace whose metadata cannot be read.

    Taken for somebody else's, its name would be asked of an index, where anybody may have registered it.
    """
    named = {name: each for each in skipped if each.warn for name in _likely_names(os.path.join(root, each.path))}
    parsed = {line: pep508.requirement(line) for line in requirements} if named else {}
    broken = {
        line: named[normalize(each.name)]
        for line, each in parsed.items()
        if not each.url and normalize(each.name) in named
    }
    if broken:
        paths = sorted({each.path for each in broken.values()})
        raise GraphError(
            "projects are required whose metadata cannot be read:\n"
            + "\n".join(f"  {line}: {each.line}" for line, each in sorted(broken.items())),
            advice="Mend it. If the requirement is not this project but somebody else's of the same name, exclude this one:"
            f" exclude = {json.dumps(paths, ensure_ascii=False)}. No index was asked.",
        )


def _likely_names(directory: str) -> set[str]:
    """Return what the files of a project that cannot be read seem to call it, else the name of its directory."""
    names: set[str] = set()
    for file in PROJECT_FILES:
        try:
            with open(os.path.join(directory, file), encoding="utf-8", errors="replace") as reader:
                names.update(map(normalize, _NAME.findall(reader.read())))
        except OSError:
            continue
    return names or {normalize(os.path.basename(os.path.normpath(directory)))}


def shared_imports(projects: Iterable[Project]) -> list[str]:
    """Return a warning for each top-level import name that several projects ship: which one is imported is left to chance."""
    owners: dict[str, list[str]] = {}
    for project in projects:
        for name in project.import_names:
            owners.setdefault(name, []).append(project.directory)
    return [
        f"import name {name!r} is shipped by {len(places)} projects ({_some(sorted(places))}); only one of them is imported"
        for name, places in sorted(owners.items())
        if len(places) > 1
    ]


def _some(places: Sequence[str]) -> str:
    rest = len(places) - SHOWN
    return ", ".join(places[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
