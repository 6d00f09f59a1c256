"""What uv_build writes (crates/uv-build-backend of uv)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.static.answer import Answer, Question, emails, header, named_licenses, path_line
from interlock.static.project import only, table
from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from interlock.static.project import Person, StaticProject
    from interlock.static.requirement import Requirement
    from interlock.static.tree import Tree

__all__ = ["answer"]

# Without effect on an editable wheel that has no data: `data` is not among these.
SETTINGS = frozenset(
    {
        *("module-root", "module-name", "namespace", "source-include", "source-exclude", "default-excludes"),
        "wheel-exclude",
    }
)
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_ROOT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_COMPARED = {"<": "<", "<=": "<", ">": ">=", ">=": ">=", "==": "==", "!=": "!="}


def answer(question: Question) -> Answer:
    """Return the editable wheel."""
    project, tree = question.project, question.tree
    root = _root(project, tree)
    dist_info = f"{project.distribution}-{project.version}.dist-info"
    files = {
        # For its own directory it is that with a slash.
        f"{project.distribution}.pth": (path_line(tree, root) + ("" if root else "/")).encode(),
        f"{dist_info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: uv {question.text}\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n".encode(),
        f"{dist_info}/METADATA": _metadata(project, tree).encode(),
    }
    if groups := project.groups():
        scripts = [group for group in ("console_scripts", "gui_scripts") if group in groups]
        order = [*scripts, *sorted(set(groups) - set(scripts))]
        text = "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(groups[group].items())) + "\n"
            for group in order
        )
        files[f"{dist_info}/entry_points.txt"] = text.encode()
    return Answer(project.name, project.version, dist_info, files)


def _root(project: StaticProject, tree: Tree) -> str:
    """Return the directory that goes on the path, if the module is there that uv_build looks for."""
    uv = table(project.tool, "uv", "tool.uv")
    settings = table(uv, "build-backend", "tool.uv.build-backend")
    only(settings, SETTINGS, "tool.uv.build-backend")
    if settings.get("namespace", False) is not False:
        raise NotStatic("it has `tool.uv.build-backend.namespace`")
    for key in ("source-include", "source-exclude", "wheel-exclude", "default-excludes"):
        if key in settings:
            raise NotStatic(f"it has `tool.uv.build-backend.{key}`")
    root, module = settings.get("module-root", "src"), settings.get("module-name", project.distribution)
    if not isinstance(root, str) or (root and not _ROOT.fullmatch(root)):
        raise NotStatic("its `tool.uv.build-backend.module-root` is no plain path")
    if not isinstance(module, str) or not _MODULE.fullmatch(module) or project.distribution.endswith("_stubs"):
        raise NotStatic("its module's name is not plain")
    base = f"{root}/" if root else ""
    parts = module.split(".")
    if not tree.is_file(f"{base}{'/'.join(parts)}/__init__.py"):
        raise NotStatic(f"there is no {base}{'/'.join(parts)}/__init__.py")
    for number in range(1, len(parts)):
        if {"__init__.py", "__init__.pyi"} & tree.names(f"{base}{'/'.join(parts[:number])}"):
            raise NotStatic(f"{module} is not in a namespace package")
    if len(parts) > 1 and {"__init__.py", "__init__.pyi"} & tree.names(root):
        raise NotStatic(f"{root or 'its directory'} has an __init__.py")
    return root


def _metadata(project: StaticProject, tree: Tree) -> str:
    lines, add = header(
        f"Metadata-Version: {'2.4' if project.expression or project.license_files is not None else '2.3'}"
    )

    add("Name", project.name)
    add("Version", project.version)
    add("Summary", project.description)
    add("Keywords", ",".join(project.keywords))
    add("Author", _everybody(project, "authors"))
    add("Author-email", emails(project.authors, _address))
    add("License", project.license)
    add("License-Expression", project.expression)
    for file in sorted(named_licenses(project, tree)):
        _check_utf8(tree, file)
        add("License-File", file)
    for classifier in project.classifiers:
        add("Classifier", classifier)
    for requirement in project.dependencies:
        add("Requires-Dist", _requirement(requirement))
    for extra in sorted(project.extras):
        for requirement in project.extras[extra]:
            add("Requires-Dist", _requirement(requirement, extra))
    add("Maintainer", _everybody(project, "maintainers"))
    add("Maintainer-email", emails(project.maintainers, _address))
    add("Requires-Python", ", ".join(_sorted(project.requires_python)))
    for label, url in project.urls.items():
        add("Project-URL", f"{label}, {url}")
    for extra in sorted(project.extras):
        add("Provides-Extra", extra)
    if project.readme:
        add("Description-Content-Type", project.readme.content_type)
    return "\n".join(lines) + "\n" + (f"\n{project.readme.text}" if project.readme else "")


def _everybody(project: StaticProject, kind: str) -> str:
    people = project.authors if kind == "authors" else project.maintainers
    return ", ".join(person.name for person in people if person.name)


def _address(person: Person) -> str:
    return f"{person.name} <{person.email}>" if person.name else person.email


def _check_utf8(tree: Tree, file: str) -> None:
    try:
        tree.read(file, "a license file").decode()
    except UnicodeDecodeError:
        raise NotStatic(f"{file} is not UTF-8") from None


def _requirement(requirement: Requirement, extra: str = "") -> str:
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    text = f"{normalize(requirement.name)}{extras}{','.join(_sorted(requirement.specifiers))}"
    markers = [_marker(requirement)] if requirement.marker else []
    markers += [f"extra == '{extra}'"] if extra else []
    return f"{text} ; {' and '.join(markers)}" if markers else text


def _marker(requirement: Requirement) -> str:
    """Return a marker of one comparison as uv writes it: of versions, in terms of the full version."""
    if len(requirement.marker) != 1 or isinstance(requirement.marker[0], str):
        raise NotStatic(f"uv_build writes the marker of {requirement.text!r} in another form")
    variable, operator, value = requirement.marker[0]
    if variable == "python_version":
        major, _, minor = value.partition(".")
        variable = "python_full_version"
        if operator in {">", "<="}:
            value = f"{major}.{int(minor) + 1}"
        elif operator in {"==", "!="}:
            value = f"{value}.*"
        operator = _COMPARED[operator]
    elif variable == "python_full_version" or variable not in {"sys_platform", "os_name", "platform_system"}:
        raise NotStatic(f"uv_build writes the marker of {requirement.text!r} in another form")
    return f"{variable} {operator} '{value}'"


def _sorted(specifiers: tuple[str, ...]) -> list[str]:
    """Return specifiers in the order of their versions."""
    if len(specifiers) == 1:
        return list(specifiers)
    found = []
    for specifier in specifiers:
        version = specifier.lstrip("~=!<>")
        if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)*", version):
            raise NotStatic(f"uv_build may write {','.join(specifiers)} in another order")
        numbers = [int(part) for part in version.split(".")]
        while numbers and not numbers[-1]:
            numbers.pop()
        found.append((numbers, specifier))
    if len({tuple(numbers) for numbers, _ in found}) != len(found):
        raise NotStatic(f"uv_build may write {','.join(specifiers)} in another order")
    return [specifier for _, specifier in sorted(found)]
