"""What a static answer is made of, and the forms that several backends share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interlock.static.project import Person, StaticProject
    from interlock.static.requirement import Requirement
    from interlock.static.tree import Tree

__all__ = [
    "Answer",
    "Question",
    "address",
    "default_licenses",
    "emails",
    "extra_requirement",
    "first_module",
    "header",
    "named_licenses",
    "names",
    "path_line",
    "release",
]


@dataclass(frozen=True, slots=True)
class Question:
    """A project, the backend's version, and what is in its build environment.

    `version` are the numbers of the backend's version, `text` is it as written; `installed` has the versions of all that is
    there by normalised name. `compat` asks setuptools for a path even where it would write a finder.
    """

    project: StaticProject
    tree: Tree
    text: str
    version: tuple[int, ...]
    installed: Mapping[str, str]
    site_packages: tuple[str, ...]
    compat: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The files of an editable wheel but for RECORD, by their names in the archive; none is executable."""

    name: str
    version: str
    dist_info: str
    files: Mapping[str, bytes]


def release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version that has nothing else, () for another one."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() and part.isascii() for part in parts) else ()


def path_line(tree: Tree, directory: str) -> str:
    """Return the absolute path of a project's directory for a .pth file."""
    path = os.path.join(tree.root, directory) if directory else tree.root
    if not path.isascii() or not path.isprintable() or path.startswith("import"):
        raise NotStatic(f"the path {path!r} is not plain text")
    if directory and not tree.leads_to_directory(directory):
        raise NotStatic(f"there is no directory {directory}")
    return path


def named_licenses(project: StaticProject, tree: Tree) -> list[str]:
    """Return the files that `license-files` names, those of each pattern sorted; a pattern without any is refused."""
    found: dict[str, None] = {}
    for pattern in project.license_files or ():
        matches = tree.matches(pattern)
        if not matches:
            raise NotStatic(f"its `license-files` has {pattern!r}, and there is no such file")
        found.update(dict.fromkeys(matches))
    return list(found)


def default_licenses(tree: Tree, patterns: Iterable[str]) -> list[str]:
    """Return the files that a backend takes for licenses where none are named, those of each pattern sorted."""
    return list(dict.fromkeys(path for pattern in patterns for path in tree.matches(pattern)))


def names(people: Iterable[Person]) -> str:
    """Return the people who have no address, as every backend lists them."""
    return ", ".join(person.name for person in people if not person.email)


def emails(people: Iterable[Person], write: Callable[[Person], str]) -> str:
    """Return the people who have an address, each written by a function."""
    return ", ".join(write(person) for person in people if person.email)


def address(person: Person) -> str:
    """Return a person's address as the standard library writes it (RFC 5322)."""
    if not person.name:
        return person.email
    name = person.name
    if any(character in '()<>@,:;."[]' for character in name):
        name = f'"{name}"'
    return f"{name} <{person.email}>"


def extra_requirement(requirement: Requirement, extra: str, *, name: str = "") -> str:
    """Return a requirement of an extra as `packaging` writes it."""
    marker = requirement.marker_text()
    if "or" in requirement.marker:
        marker = f"({marker})"
    return f'{requirement.packaging(name=name)}; {marker}{" and " if marker else ""}extra == "{extra}"'


def first_module(tree: Tree, directory: str, kept: Callable[[str], bool]) -> str:
    """Return the path of a module in or below a directory that a function keeps, "" where there is none."""
    found = tree.names(directory)
    for name in sorted(found, key=lambda name: (name != "__init__.py", name)):
        path = f"{directory}/{name}"
        if name.endswith(".py") and kept(path) and tree.is_file(path):
            return path
    for name in sorted(found):
        path = f"{directory}/{name}"
        if name.isidentifier() and name != "__pycache__" and tree.is_directory(path):
            module = first_module(tree, path, kept)
            if module:
                return module
    return ""


def header(first: str) -> tuple[list[str], Callable[[str, str], None]]:
    """Return the lines of a METADATA, which begin with one, and what adds a field to them, if it has a value."""
    lines = [first]

    def add(field: str, value: str) -> None:
        if value:
            lines.append(f"{field}: {value}")

    return lines, add
