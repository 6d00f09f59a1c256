"""Show the projects of the workspace, and what was skipped and why.

Nothing is built or written but the cache of what build backends say about projects whose metadata is not static.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from interlock.durable import Disk
from interlock_ninja.workspace import read_workspace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from interlock_ninja.project import Project
    from interlock_ninja.workspace import Workspace

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock projects`."""
    parser.add_argument("--root", help="the workspace's directory (default: found by walking up from here)")
    parser.add_argument("--strict", action="store_true", help="projects that cannot be read are errors, not warnings")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found, what was skipped, and the warnings."""
    workspace = read_workspace(
        arguments.root, start=os.getcwd(), strict=arguments.strict, disk=Disk(arguments.durability), progress=_tell
    )
    if arguments.format == "json":
        print(json.dumps(_as_json(workspace), indent=1))
        return 0
    for line in workspace.warnings:
        print(f"interlock: warning: {line}", file=sys.stderr)
    print("\n".join(_as_text(workspace)))
    return 0


def _tell(line: str) -> None:
    print(f"interlock: {line}", file=sys.stderr, flush=True)


def _as_text(workspace: Workspace) -> Iterable[str]:
    yield f"workspace {workspace.configuration.root}: {_number(len(workspace.projects), 'project')}"
    rows = [(project.name, project.version, project.directory, project.build_backend) for project in workspace.projects]
    yield from _columns(rows)
    if workspace.skipped:
        yield f"skipped: {_number(len(workspace.skipped), 'directory', 'directories')}"
        yield from _columns([(skipped.path, skipped.line) for skipped in workspace.skipped])


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield ("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))).rstrip()


def _number(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _as_json(workspace: Workspace) -> dict[str, Any]:
    return {
        "root": workspace.configuration.root,
        "configuration": workspace.configuration.file,
        "projects": [_project(project) for project in workspace.projects],
        "skipped": [
            {"path": skipped.path, "reason": skipped.reason, "invalid": skipped.warn} for skipped in workspace.skipped
        ],
        "warnings": list(workspace.warnings),
    }


def _project(project: Project) -> dict[str, Any]:
    return {
        "name": project.name,
        "normalized": project.normalized,
        "version": project.version,
        "directory": project.directory,
        "requires-python": project.requires_python,
        "dependencies": list(project.dependencies),
        "extras": {extra: list(lines) for extra, lines in project.optional_dependencies.items()},
        "groups": {group: list(lines) for group, lines in project.groups.items()},
        "build-requires": list(project.build_requires),
        "build-backend": project.build_backend,
        "metadata": project.origin,
        "metadata-file": project.metadata_file,
        "import-names": list(project.import_names),
    }
