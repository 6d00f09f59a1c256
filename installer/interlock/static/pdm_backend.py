"""What pdm-backend writes: a path to the directory of the packages."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from interlock.static.answer import (
    Answer,
    Question,
    default_licenses,
    emails,
    extra_requirement,
    header,
    named_licenses,
    names,
    path_line,
)
from interlock.static.project import only, table
from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from interlock.static.project import Person, StaticProject
    from interlock.static.tree import Tree

__all__ = ["answer"]

LICENSES = ("LICEN[CS]E*", "COPYING*", "NOTICE*")
_ROOT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def answer(question: Question) -> Answer:
    """Return the editable wheel."""
    project, tree = question.project, question.tree
    if any(name.startswith("PDM_BUILD_") for name in os.environ):
        raise NotStatic("a variable PDM_BUILD_... is set")
    tree.refuse(("pdm_build.py",), "which pdm-backend runs")
    pdm = table(project.tool, "pdm", "tool.pdm")
    for key in ("version", "packages"):
        if key in pdm:
            raise NotStatic(f"it has [tool.pdm.{key}]")
    build = table(pdm, "build", "tool.pdm.build")
    only(build, {"package-dir"}, "tool.pdm.build")
    if not project.plain_extras:
        raise NotStatic("its `optional-dependencies` has an extra that pdm-backend may write in another spelling")
    for person in (*project.authors, *project.maintainers):
        if not person.name or (question.version < (2, 5) and not person.name.isascii()):
            raise NotStatic("pdm-backend may write its authors in another form")
    stem = f"{project.distribution}-{project.version}"
    dist_info = f"{stem}.dist-info"
    licenses = default_licenses(tree, LICENSES) if project.license_files is None else named_licenses(project, tree)
    groups = {"console_scripts": {}, "gui_scripts": {}, **project.groups()}
    text = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(groups[group].items())) + "\n"
        for group in sorted(groups)
    )
    files = {
        f"{'_editable_impl_' if question.version >= (2, 5) else ''}{project.distribution}.pth": path_line(
            tree, _root(build, tree)
        ).encode(),
        ".gitignore": b"*\n",
        f"{dist_info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: pdm-backend ({question.text})\nRoot-Is-Purelib: true\n"
        f"Tag: {_tag(project)}-none-any\n".encode(),
        f"{dist_info}/METADATA": _metadata(project, tree).encode(),
        f"{dist_info}/entry_points.txt": text.encode(),
        **{f"{dist_info}/licenses/{path}": tree.read(path, "a license file") for path in licenses},
    }
    return Answer(project.name, project.version, dist_info, files)


def _root(build: dict[str, object], tree: Tree) -> str:
    """Return the directory of the packages; one of these must be a regular package, which pdm-backend finds by itself."""
    root = build.get("package-dir", "src" if tree.is_directory("src") else "")
    if not isinstance(root, str) or (root and not _ROOT.fullmatch(root)):
        raise NotStatic("its `tool.pdm.build.package-dir` is not plain")
    base, found = f"{root}/" if root else "", False
    if root and tree.has(f"{base}tests"):
        raise NotStatic(f"it has {base}tests")
    for name in tree.names(root):
        if name.endswith("-stubs") and tree.is_directory(base + name):
            raise NotStatic(f"it has {base}{name}")
        if "." in name or name in {"tests", "__pycache__"} or not tree.is_directory(base + name):
            continue
        if "__init__.py" in tree.names(base + name):
            found = True
            if not name.isidentifier():
                raise NotStatic(f"{base}{name} has no name for a package")
    if not found:
        raise NotStatic(f"there is no regular package in {root or 'its directory'}")
    return root


def _tag(project: StaticProject) -> str:
    if not project.requires_python:
        return "py2.py3"
    if any(one.startswith((">=3", "==3", "~=3", ">3")) for one in project.requires_python):
        return "py3"
    raise NotStatic("which tag its wheel has is not plain from `requires-python`")


def _metadata(project: StaticProject, tree: Tree) -> str:
    lines, add = header(
        f"Metadata-Version: {'2.4' if project.expression or project.license_files is not None else '2.1'}"
    )

    add("Name", project.name)
    add("Version", project.version)
    add("Summary", project.description)
    add("Keywords", ",".join(project.keywords))
    add("Author", names(project.authors))
    add("Author-Email", emails(project.authors, _address))
    add("Maintainer", names(project.maintainers))
    add("Maintainer-Email", emails(project.maintainers, _address))
    add("License", project.license)
    add("License-Expression", project.expression)
    for path in sorted(named_licenses(project, tree), key=lambda path: path.split("/")):
        add("License-File", path)
    for classifier in project.classifiers:
        add("Classifier", classifier)
    for label, url in project.urls.items():
        add("Project-URL", f"{label}, {url}")
    add("Requires-Python", ",".join(sorted(project.requires_python)))
    for requirement in project.dependencies:
        marker = requirement.marker_text()
        add("Requires-Dist", requirement.packaging() + (f"; {marker}" if marker else ""))
    for extra, requirements in project.extras.items():
        add("Provides-Extra", extra)
        for requirement in requirements:
            add("Requires-Dist", extra_requirement(requirement, extra))
    if project.readme:
        add("Description-Content-Type", project.readme.content_type)
    return "\n".join(lines) + "\n\n" + (project.readme.text if project.readme else "")


def _address(person: Person) -> str:
    name = f'"{person.name}"' if re.search(r'[][\\()<>@,:;".]', person.name) else person.name
    return f"{name} <{person.email}>"
