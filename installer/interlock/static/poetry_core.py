"""What poetry-core writes: a path to the directory of the packages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from interlock.static.answer import Answer, Question, default_licenses, first_module, header, named_licenses, path_line
from interlock.static.project import only, table
from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.static.project import Person, StaticProject
    from interlock.static.requirement import Requirement
    from interlock.static.tree import Tree

__all__ = ["answer"]

LICENSES = ("COPYING*", "LICEN[SC]E*", "AUTHORS*", "NOTICE*")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*")
_ROOT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_NAME = re.compile(r"[A-Za-z0-9]+(?:[ .][A-Za-z0-9]+|\.)*")
_ONE = re.compile(r"(?:>=|<=|==|!=|>|<)[0-9]+(?:\.[0-9]+)*|==[0-9]+(?:\.[0-9]+)*\.\*")
_LOWER = re.compile(r">=?[0-9]+(?:\.[0-9]+)*")
_UPPER = re.compile(r"<=?[0-9]+(?:\.[0-9]+)*")
NEWEST_PYTHON = ((2, 5), 15), ((2, 2), 14), ((2, 0), 13)
"""By the version of poetry-core: the minor version of the newest Python that it has a classifier for."""


def answer(question: Question) -> Answer:
    """Return the editable wheel."""
    project, tree = question.project, question.tree
    if project.license:
        raise NotStatic("poetry-core makes a classifier of its license")
    if project.readme and project.readme.inline and question.version < (2, 4):
        raise NotStatic("poetry-core writes a path before a readme that is in pyproject.toml")
    settings = table(project.tool, "poetry", "tool.poetry")
    only(settings, {"packages"}, "tool.poetry")
    if project.license_files is None:
        licenses = default_licenses(tree, LICENSES)
        if tree.has("LICENSES"):
            raise NotStatic("it has LICENSES")
    else:
        licenses = named_licenses(project, tree)
    dist_info = f"{project.distribution}-{project.version}.dist-info"
    files = {
        f"{project.distribution}.pth": f"{path_line(tree, _root(settings, project, tree))}\n".encode(),
        f"{dist_info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: poetry-core {question.text}\nRoot-Is-Purelib: true\n"
        f"Tag: {_tag(project)}-none-any\n".encode(),
        f"{dist_info}/METADATA": _metadata(question, licenses).encode(),
        **{f"{dist_info}/licenses/{path}": tree.read(path, "a license file") for path in licenses},
    }
    if groups := project.groups():
        text = "".join(
            f"[{group}]\n"
            + "".join(f"{line}\n" for line in sorted(f"{n}={v}" for n, v in groups[group].items()))
            + "\n"
            for group in sorted(groups)
        )
        files[f"{dist_info}/entry_points.txt"] = text.encode()
    return Answer(project.name, project.version, dist_info, files)


def _root(settings: dict[str, object], project: StaticProject, tree: Tree) -> str:
    """Return the directory of the packages."""
    packages = settings.get("packages")
    if packages is None:
        return _found(project.distribution, tree)
    if not isinstance(packages, list) or not packages:
        raise NotStatic("its `tool.poetry.packages` is no list")
    roots = set()
    for package in packages:
        if not isinstance(package, dict):
            raise NotStatic("its `tool.poetry.packages` is no list of tables")
        only(package, {"include", "from"}, "tool.poetry.packages")
        include, root = package.get("include"), package.get("from", "")
        if not isinstance(include, str) or not _MODULE.fullmatch(include):
            raise NotStatic("its `tool.poetry.packages` includes what is no plain path")
        if not isinstance(root, str) or (root and not _ROOT.fullmatch(root)):
            raise NotStatic("its `tool.poetry.packages` are from what is no plain path")
        _check_package(f"{root}/{include}" if root else include, tree)
        roots.add(root)
    if len(roots) != 1:
        raise NotStatic("its packages are in more than one directory")
    return str(roots.pop())


def _found(name: str, tree: Tree) -> str:
    """Return where the package is that has the project's name."""
    for root in ("", "src/"):
        if tree.has(f"{root}{name}.py"):
            raise NotStatic(f"it has {root}{name}.py")
        if tree.is_directory(f"{root}{name}"):
            _check_package(f"{root}{name}", tree)
            return root.rstrip("/")
    raise NotStatic(f"there is neither {name} nor src/{name}")


def _check_package(path: str, tree: Tree) -> None:
    if not tree.is_directory(path) or not first_module(tree, path, bool):
        raise NotStatic(f"{path} is no package with a module")


def _tag(project: StaticProject) -> str:
    if not project.requires_python:
        return "py2.py3"
    if any(re.fullmatch(r">=3(\.[0-9]+)*", one) for one in project.requires_python):
        return "py3"
    raise NotStatic("which tag its wheel has is not plain from `requires-python`")


def _metadata(question: Question, licenses: Iterable[str]) -> str:
    project = question.project
    newest = next(minor for since, minor in NEWEST_PYTHON if question.version >= since)
    lines, add = header("Metadata-Version: 2.4")

    add("Name", project.name)
    add("Version", project.version)
    lines.append(f"Summary: {project.description}")
    add("License-Expression", project.expression)
    for path in sorted(licenses):
        add("License-File", path)
    add("Keywords", ",".join(project.keywords))
    for field, people in (("Author", project.authors), ("Maintainer", project.maintainers)):
        if people:
            add(field, people[0].name)
            add(f"{field}-email", people[0].email)
            _check_person(people[0])
    add("Requires-Python", project.requires_python_text)
    for classifier in project.classifiers or _classifiers(project, newest):
        add("Classifier", classifier)
    for extra in sorted(project.extras):
        add("Provides-Extra", extra)
    texts = [_requirement(one, "") for one in project.dependencies]
    texts += [_requirement(one, extra) for extra, all_ in project.extras.items() for one in all_]
    for text in sorted(texts):
        add("Requires-Dist", text)
    for text in sorted(_urls(project), key=lambda text: text[0]):
        add("Project-URL", text)
    if project.readme:
        add("Description-Content-Type", project.readme.content_type)
    return "\n".join(lines) + "\n" + (f"\n{project.readme.text}\n" if project.readme else "")


def _check_person(person: Person) -> None:
    if not _NAME.fullmatch(person.name):
        raise NotStatic(f"poetry-core may not take {person.name!r} for a name")


def _urls(project: StaticProject) -> list[str]:
    """Return the addresses, three well-known ones first and under names of their own."""
    known = {"homepage": "Homepage", "repository": "Repository", "documentation": "Documentation"}
    lower = {label.lower(): url for label, url in project.urls.items()}
    if len(lower) != len(project.urls):
        raise NotStatic("its `urls` has two labels that differ in case alone")
    found = [f"{name}, {lower[label]}" for label, name in known.items() if label in lower]
    return found + [f"{label}, {url}" for label, url in project.urls.items() if label.lower() not in known]


def _classifiers(project: StaticProject, newest: int) -> list[str]:
    """Return the classifiers that poetry-core makes where none are given: the versions of Python."""
    prefix = "Programming Language :: Python ::"
    if not project.requires_python:
        old = [f"{prefix} {version}" for version in ("2", "2.7", "3")]
        return old + [f"{prefix} 3.{minor}" for minor in range(4, newest + 1)]
    match = re.fullmatch(r">=3\.([0-9]+)", project.requires_python[0])
    if match is None or project.requires_python[1:] not in {(), ("<4",), ("<4.0",)}:
        raise NotStatic("poetry-core makes classifiers of its `requires-python`")
    first = max(int(match[1]), 4)
    return [f"{prefix} 3", *(f"{prefix} 3.{minor}" for minor in range(first, newest + 1))]


def _requirement(requirement: Requirement, extra: str) -> str:
    name = requirement.packaging(name="-").partition("[")[2].partition("]")[0]
    text = requirement.name + (f"[{name}]" if name else "")
    if requirement.specifiers:
        text += f" ({_specifiers(requirement)})"
    markers = []
    if requirement.marker:
        if len(requirement.marker) != 1 or requirement.marker[0][0] == "python_full_version":
            raise NotStatic(f"poetry-core may write the marker of {requirement.text!r} in another form")
        markers.append(requirement.marker_text())
    if extra:
        markers.append(f'extra == "{extra}"')
    if len(markers) > 1:
        markers = [f"({marker})" for marker in markers]
    return f"{text} ; {' and '.join(markers)}" if markers else text


def _specifiers(requirement: Requirement) -> str:
    """Return a range of versions as poetry-core writes it: a lower bound before an upper one."""
    found = requirement.specifiers
    if len(found) == 1 and _ONE.fullmatch(found[0]):
        return found[0]
    if len(found) == 2:
        lower, upper = sorted(found, key=lambda one: one[0] == "<")
        if _LOWER.fullmatch(lower) and _UPPER.fullmatch(upper) and _numbers(lower) < _numbers(upper):
            return f"{lower},{upper}"
    raise NotStatic(f"poetry-core may write the versions of {requirement.text!r} in another form")


def _numbers(specifier: str) -> list[int]:
    numbers = [int(part) for part in specifier.lstrip("<>=").split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers
