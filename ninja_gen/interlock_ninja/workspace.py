"""A workspace: its configuration, its projects, and everything that was read to know them."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.documents import parse_toml
from interlock.errors import MetadataError
from interlock_ninja import pep508
from interlock_ninja.config import load_configuration
from interlock_ninja.discovery import Discovery, Skipped, find_members, walk
from interlock_ninja.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.durable import Disk
    from interlock_ninja.config import Configuration
    from interlock_ninja.dynamic import Ask
    from interlock_ninja.project import Project

__all__ = ["Workspace", "read_workspace"]

METADATA_DIRECTORY = "interlock/metadata"


@dataclass(frozen=True, slots=True)
class Workspace:
    """What was found.

    `projects` are in the order of their directories; two may share a normalized name (an error only within one environment).
    `files_read` and `directories` are paths relative to the root, "/" separated, whose change can change this value; each
    of them exists.
    """

    configuration: Configuration
    projects: tuple[Project, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    files_read: tuple[str, ...]
    directories: tuple[str, ...]


def read_workspace(
    root: str | None = None,
    *,
    start: str = "",
    strict: bool = False,
    disk: Disk | None = None,
    progress: Callable[[str], None] | None = None,
    ask: Ask | None = None,
    configuration: Configuration | None = None,
) -> Workspace:
    """Read the workspace at `root`, or the one found by walking up from `start`, or that of a `configuration`.

    With `strict`, a project whose metadata cannot be read is an error instead of a warning. `progress` hears of the projects
    whose build backend has to be asked; `disk` keeps what it answered in the out directory. `ask` is how to ask it.

    Raises:
        ConfigurationError: of the configuration.
        MetadataError: with `strict`, all projects whose metadata is invalid.
    """
    configuration = configuration or load_configuration(root, start=start)
    found = Discovery(configuration.root, configuration.exclude, _avoided(configuration))
    warnings = _discover(configuration, found)
    _complete(configuration, found, disk, progress, ask)
    projects = _installable(found)
    found.skipped.sort(key=lambda skipped: skipped.path)
    broken = [skipped for skipped in found.skipped if skipped.warn]
    if strict and broken:
        raise MetadataError(
            f"{_count(len(broken))} metadata that cannot be read:\n" + "\n".join(f"  {each.reason}" for each in broken),
            advice=f"Mend them, or exclude them: exclude = [{', '.join(_quoted(each.path) for each in broken)}]",
        )
    warnings += [f"{each.line}; skipped (for good: exclude = [{_quoted(each.path)}])" for each in broken]
    return Workspace(
        configuration=configuration,
        projects=projects,
        skipped=tuple(found.skipped),
        warnings=tuple(warnings),
        files_read=tuple(sorted({*found.files_read, *_configuration_files(configuration)})),
        directories=found.directories(),
    )


def _avoided(configuration: Configuration) -> dict[str, str]:
    """Return the directories that interlock itself fills."""
    root = configuration.root
    avoided = {os.path.normpath(os.path.join(root, configuration.out)): "the out directory"}
    for environment in configuration.environments:
        avoided[os.path.normpath(os.path.join(root, environment.path))] = f"environment {environment.name!r}"
    return avoided


def _discover(configuration: Configuration, found: Discovery) -> list[str]:
    """Find the projects by `members`, by the workspace of uv, or by walking; return warnings."""
    if configuration.members is not None:
        return find_members(found, configuration.members, explicit=True, where=configuration.file or found.root)
    shared = os.path.join(configuration.root, "pyproject.toml")
    theirs = _uv_workspace(shared)
    if theirs is None:
        walk(found)
        return []
    found.exclude = (*found.exclude, *theirs.texts("exclude"))
    # The root is a member of uv's workspace whatever the globs say.
    return find_members(found, (".", *theirs.texts("members")), explicit=False, where=f"{shared}: tool.uv.workspace")


def _uv_workspace(path: str) -> Table | None:
    try:
        with open(path, "rb") as reader:
            document = parse_toml(reader.read())
    except (OSError, ValueError):
        return None  # no file, or one that the walk will say is broken
    workspace = pep508.table(document, "tool", "uv", "workspace")
    return Table(path, "tool.uv.workspace.", workspace) if "members" in workspace else None


def _complete(
    configuration: Configuration,
    found: Discovery,
    disk: Disk | None,
    progress: Callable[[str], None] | None,
    ask: Ask | None,
) -> None:
    """Ask the backends of the projects whose metadata is not static."""
    if not found.pending:
        return
    from interlock.durable import Disk
    from interlock.interpreter import find_interpreter
    from interlock_ninja.dynamic import Answers, ask_backends, backend_asker

    environment = configuration.environments[0]
    interpreter = find_interpreter(environment.python, root=configuration.root, disk=disk)
    settings = {
        key: value if isinstance(value, str) else list(value)
        for key, value in environment.config_settings.get("*", {}).items()
    }
    context = [interpreter.implementation, interpreter.version, *map(str, sorted(settings.items()))]
    directory = os.path.join(configuration.root, configuration.out, METADATA_DIRECTORY)
    answers = Answers(directory, configuration.root, context, disk)
    used = disk or Disk(configuration.durability)
    named = [*found.projects, *(pending.known for pending in found.pending)]
    completed = ask_backends(
        found.pending,
        root=configuration.root,
        answers=answers,
        ask=lambda: ask or backend_asker(configuration, interpreter, settings, named, used),
        progress=progress,
    )
    for pending, project in zip(found.pending, completed, strict=True):
        if isinstance(project, MetadataError):
            found.skip(pending.known.directory, project.message, warn=True)
        else:
            found.projects.append(project)


def _installable(found: Discovery) -> tuple[Project, ...]:
    """Return the projects in order, without those that have a placeholder where a third party's address should be."""
    inside = {project.normalized for project in found.projects}
    kept = []
    for project in sorted(found.projects, key=lambda project: project.directory):
        if broken := _placeholder(project, inside):
            reason = f"{project.metadata_file} requires {broken!r}, in which nothing fills the placeholder"
            found.skip(project.directory, reason, warn=True)
        else:
            kept.append(project)
    return tuple(kept)


def _placeholder(project: Project, inside: set[str]) -> str:
    for line in (*project.dependencies, *(line for lines in project.optional_dependencies.values() for line in lines)):
        if "@" not in line:
            continue
        requirement = pep508.requirement(line)
        url = (requirement.url or "").replace("{root:uri}", "")
        if ("${" in url or "{" in url) and pep508.normalize(requirement.name) not in inside:
            return line
    return ""


def _configuration_files(configuration: Configuration) -> Iterable[str]:
    paths = [configuration.file] if configuration.file else []
    paths.append(os.path.join(configuration.root, "pyproject.toml"))
    for path in paths:
        if os.path.isfile(path):
            yield os.path.relpath(path, configuration.root).replace(os.sep, "/")


def _quoted(path: str) -> str:
    return '"' + glob.escape(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _count(number: int) -> str:
    return "1 project has" if number == 1 else f"{number} projects have"
