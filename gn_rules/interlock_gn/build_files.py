"""Calls of the GN templates as the text of BUILD.gn files, in the format that `gn format` leaves as it is."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2

from interlock_gn.gn_format import assign_list, assign_text, call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock_gn.calls import Calls, Place, ProjectCall

__all__ = [
    "MARKER",
    "Regeneration",
    "build_file_texts",
    "call_text",
    "has_call",
    "is_generated",
    "labels_in",
    "workspace_root",
]

# The first line of a file that may be written again, and removed.
MARKER = "Written by `interlock gn gen`; do not edit: it is written again when the workspace changes."


@dataclass(frozen=True, slots=True)
class Regeneration:
    """How the files are written again: a call of interlock_workspace."""

    root: str
    words: tuple[str, ...]
    target: str = "workspace"


def build_file_texts(calls: Calls, place: Place, templates: str, again: Regeneration) -> dict[str, str]:
    """Return the text of each BUILD.gn by its directory ("//libs/text").

    `templates` is the directory of interlock.gni.

    Raises:
        ConfigurationError: a line break in a value, which GN has no way to write.
    """
    by_directory: dict[str, list[ProjectCall]] = {place.venv_dir: []}
    for each in calls.projects:
        by_directory.setdefault(each.directory, []).append(each)
    texts = {}
    for directory, projects in by_directory.items():
        main = directory == place.venv_dir
        texts[directory] = _render(
            "BUILD.gn.jinja",
            marker=MARKER,
            templates=f"{templates}/interlock.gni",
            workspace=again if main else None,
            environments=calls.environments if main else (),
            build_environments=calls.build_environments if main else (),
            groups=calls.groups if main else (),
            projects=projects,
        )
    return texts


def call_text(calls: Sequence[ProjectCall], templates: str) -> str:
    """Return what a BUILD.gn that was written by hand needs for some projects."""
    return _render("adopted.jinja", templates=f"{templates}/interlock.gni", projects=calls)


def is_generated(text: str) -> bool:
    """Tell whether a BUILD.gn was written by this module."""
    return text.startswith(f"# {MARKER}")


def has_call(text: str, target: str) -> bool:
    """Tell whether the text of a BUILD.gn calls interlock_project with a name."""
    return re.search(rf'\binterlock_project\(\s*"{re.escape(target)}"\s*\)', text) is not None


def labels_in(text: str) -> set[str]:
    """Return the directories that the labels in a generated BUILD.gn name, and what else starts with `//` there."""
    return {match.partition(":")[0] for match in re.findall(r'"(//[^"]*)"', text)}


def workspace_root(text: str) -> str | None:
    """Return the root of the workspace whose environments a generated BUILD.gn has, "" for "//"; None if it has none."""
    found = re.search(r'^interlock_workspace\(.*\n(?:  root =\s+"((?:[^"\\]|\\.)*)")?', text, re.MULTILINE)
    return re.sub(r'\\(["$\\])', r"\1", found[1] or "") if found else None


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(values)


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("interlock_gn"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is GN, quoted by gn_format
    )
    environment.globals.update(assign_list=assign_list, assign_text=assign_text, call=call)
    return environment
