"""What hatchling writes for a project with one directory on the path."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from interlock.distribution import normalize
from interlock.static.answer import (
    Answer,
    Question,
    address,
    default_licenses,
    emails,
    first_module,
    header,
    named_licenses,
    names,
    path_line,
)
from interlock.static.project import only, table
from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.static.project import StaticProject
    from interlock.static.requirement import Requirement
    from interlock.static.tree import Tree

__all__ = ["answer"]

LICENSES = ("LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*")
WHEEL = frozenset({"packages", "dev-mode-dirs"})
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:/[A-Za-z0-9_][A-Za-z0-9_-]*)*")


def answer(question: Question) -> Answer:
    """Return the editable wheel."""
    project, tree = question.project, question.tree
    if any(name.startswith("HATCH_") for name in os.environ):
        raise NotStatic("a variable HATCH_... is set")
    tree.refuse(("hatch.toml", "hatch_build.py"), "which hatchling reads")
    dist_info = f"{project.distribution}-{project.version}.dist-info"
    licenses = default_licenses(tree, LICENSES) if project.license_files is None else named_licenses(project, tree)
    path_file, root = _path_file(question)
    files = {
        path_file: path_line(tree, root).encode(),
        f"{dist_info}/METADATA": _metadata(question, sorted(licenses)).encode(),
        f"{dist_info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hatchling {question.text}\nRoot-Is-Purelib: true\n"
        f"{_tags(project)}".encode(),
        **{f"{dist_info}/licenses/{path}": tree.read(path, "a license file") for path in licenses},
    }
    if groups := project.groups():
        scripts = [group for group in ("console_scripts", "gui_scripts") if group in groups]
        text = "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(groups[group].items()))
            for group in [*scripts, *sorted(set(groups) - set(scripts))]
        )
        files[f"{dist_info}/entry_points.txt"] = text.encode()
    return Answer(project.name, project.version, dist_info, files)


def _component(name: str) -> str:
    return re.sub(r"[^\w.]+", "_", name)


def _path_file(question: Question) -> tuple[str, str]:
    """Return the name of the .pth file, and the directory in it."""
    project, tree = question.project, question.tree
    hatch = table(project.tool, "hatch", "tool.hatch")
    for key in ("version", "metadata"):
        if key in hatch:
            raise NotStatic(f"it has [tool.hatch.{key}]")
    build = table(hatch, "build", "tool.hatch.build")
    only(build, {"targets"}, "tool.hatch.build")
    wheel = table(table(build, "targets", "tool.hatch.build.targets"), "wheel", "tool.hatch.build.targets.wheel")
    only(wheel, WHEEL, "tool.hatch.build.targets.wheel")
    if "dev-mode-dirs" in wheel:
        root = _one_path(wheel, "dev-mode-dirs", dot=True)
        return f"_{project.distribution}.pth", "" if root == "." else root
    package = _package(wheel, project, tree)
    if not first_module(tree, package, partial(_is_kept, _ignored(tree))):
        raise NotStatic(f"{package} has no module that no .gitignore could match")
    names_of_path = {"0.6": "_editable_impl_", "0.5": "_"}
    editables = question.installed.get("editables", "none")
    if editables not in names_of_path:
        raise NotStatic(f"its build environment has editables {editables}, and known are {' and '.join(names_of_path)}")
    return f"{names_of_path[editables]}{project.distribution}.pth", package.rpartition("/")[0]


def _package(wheel: dict[str, Any], project: StaticProject, tree: Tree) -> str:
    if "packages" in wheel:
        return _one_path(wheel, "packages")
    name = project.distribution
    if _component(project.name) != name:
        raise NotStatic("hatchling looks for a package by two names")
    for package in (name, f"src/{name}"):
        if tree.is_file(f"{package}/__init__.py"):
            return package
    raise NotStatic(f"there is neither {name}/__init__.py nor src/{name}/__init__.py")


def _one_path(wheel: dict[str, Any], key: str, *, dot: bool = False) -> str:
    given = wheel[key]
    one = given[0] if isinstance(given, list) and len(given) == 1 else None
    if isinstance(one, str) and (_PATH.fullmatch(one) or (dot and one == ".")):
        return one
    raise NotStatic(f"its `tool.hatch.build.targets.wheel.{key}` is not one plain path")


def _ignored(tree: Tree) -> list[list[str]]:
    """Return the parts of each pattern in the .gitignore that hatchling reads, in the project or above it."""
    directory, found = tree.root, ""
    tree.names()
    above = [directory]
    while (parent := os.path.dirname(directory)) != directory:
        directory = parent
        above.append(directory)
    if any(os.path.exists(os.path.join(each, ".hgignore")) for each in above):
        raise NotStatic("there is a .hgignore")
    for each in above:
        if os.path.isfile(path := os.path.join(each, ".gitignore")):
            found = path
            break
        if os.path.exists(os.path.join(each, ".git")):
            break
    if not found:
        return []
    tree.note(found)
    try:
        with open(found, encoding="utf-8") as reader:
            lines = [line.strip() for line in reader]
    except (OSError, UnicodeDecodeError):
        raise NotStatic(f"{found} cannot be read") from None
    return [line.strip("/").split("/") for line in lines if line and not line.startswith(("#", "!"))]


def _is_kept(patterns: list[list[str]], path: str) -> bool:
    """Tell whether a path is certainly not ignored: of each pattern, a part is like no part of the path."""
    parts = path.split("/")
    return parts[0] != "dist" and all(any(_is_unlike(part, parts) for part in pattern) for pattern in patterns)


def _is_unlike(pattern: str, parts: list[str]) -> bool:
    if pattern == "**" or "\\" in pattern or "[:" in pattern or "[^" in pattern:
        return False
    return not any(fnmatchcase(part, pattern) for part in parts)


def _tags(project: StaticProject) -> str:
    """Return the lines of WHEEL for the versions of Python that the project supports."""
    specifiers = project.requires_python
    if not specifiers:
        return "Tag: py2-none-any\nTag: py3-none-any\n"
    if any(re.fullmatch(r"(>=|~=)3(\.[0-9]+)*", one) for one in specifiers) and all(
        re.fullmatch(r"(>=3(\.[0-9]+)*|~=3\.[0-9]+|<4(\.0)?|<3\.[0-9]{2}|!=3\.[0-9]+(\.[0-9]+)?)", one)
        for one in specifiers
    ):
        return "Tag: py3-none-any\n"
    raise NotStatic("which tags its wheel has is not plain from `requires-python`")


def _metadata(question: Question, licenses: Iterable[str]) -> str:
    project = question.project
    lines, add = header(f"Metadata-Version: {'2.5' if question.version >= (1, 32) else '2.4'}")

    add("Name", project.name)
    add("Version", project.version)
    add("Summary", project.description)
    for label, url in project.urls.items():
        add("Project-URL", f"{label}, {url}")
    add("Author", names(project.authors))
    add("Author-email", emails(project.authors, address))
    add("Maintainer", names(project.maintainers))
    add("Maintainer-email", emails(project.maintainers, address))
    add("License", project.license)
    add("License-Expression", project.expression)
    for path in licenses:
        add("License-File", path)
    add("Keywords", ",".join(sorted(project.keywords)))
    for classifier in _classifiers(question):
        add("Classifier", classifier)
    add("Requires-Python", ",".join(sorted(project.requires_python)))
    for text in sorted({_requirement(one, project) for one in project.dependencies}):
        add("Requires-Dist", text)
    for extra in sorted(project.extras):
        add("Provides-Extra", extra)
        for text in sorted({_requirement(one, project) for one in project.extras[extra]}):
            name, semicolon, marker = text.partition(";")
            condition = f"({marker.strip()}) and " if semicolon else ""
            add("Requires-Dist", f"{name}; {condition}extra == '{extra}'")
    if project.readme:
        add("Description-Content-Type", project.readme.content_type)
    return "\n".join(lines) + "\n" + (f"\n{project.readme.text}" if project.readme else "")


def _requirement(requirement: Requirement, project: StaticProject) -> str:
    name = normalize(requirement.name)
    if name == project.normalized:
        raise NotStatic("it requires itself")
    marker = requirement.marker_text("'")
    return requirement.packaging(name=name) + (f"; {marker}" if marker else "")


def _classifiers(question: Question) -> list[str]:
    """Return the classifiers in the order of the list that hatchling has; one that is not on it is refused."""
    given = question.project.classifiers
    if not given:
        return []
    known = ""
    for directory in question.site_packages:
        path = os.path.join(directory, "trove_classifiers", "__init__.py")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as reader:
                known = reader.read().partition("sorted_classifiers")[2]
    places = {one: known.find(f'\n    "{one}",\n') for one in given}
    if unknown := [one for one, place in places.items() if place < 0]:
        raise NotStatic(f"hatchling may not know the classifier {unknown[0]!r}")
    return sorted(given, key=lambda one: places[one])
