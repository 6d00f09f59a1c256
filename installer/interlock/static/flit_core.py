"""What flit_core writes: a path to the directory of the one module."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.static.answer import (
    Answer,
    Question,
    address,
    default_licenses,
    emails,
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

LICENSES = ("COPYING*", "LICEN[CS]E*", "NOTICE*", "AUTHORS*")
OLD_LICENSES = ("COPYING*", "LICEN[CS]E*")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


def answer(question: Question) -> Answer:
    """Return the editable wheel."""
    project, tree = question.project, question.tree
    if "FLIT_ALLOW_INVALID" in os.environ:
        raise NotStatic("FLIT_ALLOW_INVALID is set")
    if not project.description:
        raise NotStatic("its description is in its module")
    flit = table(project.tool, "flit", "tool.flit")
    only(flit, {"module", "sdist"}, "tool.flit")
    if "sdist" in flit:
        raise NotStatic("it has [tool.flit.sdist]")
    settings = table(flit, "module", "tool.flit.module")
    only(settings, {"name"}, "tool.flit.module")
    module = settings.get("name", project.distribution)
    if "name" not in settings and project.name.replace("-", "_") != project.distribution:
        raise NotStatic("its module has a name that is not plain")
    if not isinstance(module, str) or not _MODULE.fullmatch(module):
        raise NotStatic("its module has a name that is not plain")
    dist_info = f"{project.distribution}-{project.version}.dist-info"
    patterns = LICENSES if question.version >= (4,) else OLD_LICENSES
    licenses = default_licenses(tree, patterns) if project.license_files is None else named_licenses(project, tree)
    supports_2 = _supports_2(project.requires_python_text)
    files = {
        f"{module}.pth": path_line(tree, _root(module, tree)).encode(),
        f"{dist_info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: flit {question.text}\nRoot-Is-Purelib: true\n"
        f"{'Tag: py2-none-any' + chr(10) if supports_2 else ''}Tag: py3-none-any\n".encode(),
        f"{dist_info}/METADATA": _metadata(question, module, sorted(licenses)).encode(),
        **{f"{dist_info}/licenses/{path}": tree.read(path, "a license file") for path in licenses},
    }
    if groups := project.groups():
        text = "".join(
            f"[{group}]\n" + "".join(f"{name}={value}\n" for name, value in sorted(groups[group].items())) + "\n"
            for group in sorted(groups)
        )
        files[f"{dist_info}/entry_points.txt"] = text.encode()
    return Answer(project.name, project.version, dist_info, files)


def _root(module: str, tree: Tree) -> str:
    """Return the directory in which the module is; flit_core looks in four places, and wants one."""
    path = module.replace(".", "/")
    found = [root for root in ("", "src/") if tree.is_directory(f"{root}{path}")]
    found += [root for root in ("", "src/") if tree.has(f"{root}{path}.py") and tree.is_file(f"{root}{path}.py")]
    if len(found) != 1:
        raise NotStatic(f"{module} is {'in more than one place' if found else 'nowhere'}")
    return found[0].rstrip("/")


def _supports_2(text: str) -> bool:
    return not any(re.search(r"^\s*(>=?|~=|===?)?\s*[3-9]", part) for part in text.split(","))


def _metadata(question: Question, module: str, licenses: Iterable[str]) -> str:
    project, new = question.project, question.version >= (4,)
    lines, add = header(f"Metadata-Version: {'2.5' if new else '2.4'}")

    add("Name", project.name)
    add("Version", project.version)
    add("Summary", project.description)
    add("Keywords", ",".join(project.keywords))
    add("Author", names(project.authors))
    add("Author-email", emails(project.authors, address))
    add("Maintainer", names(project.maintainers))
    add("Maintainer-email", emails(project.maintainers, address))
    add("Requires-Python", project.requires_python_text)
    if project.readme:
        add("Description-Content-Type", project.readme.content_type)
    add("License-Expression", project.expression)
    for classifier in project.classifiers:
        add("Classifier", classifier)
    for path in licenses:
        add("License-File", path)
    for text in _requirements(project):
        add("Requires-Dist", text)
    for label in sorted(project.urls):
        add("Project-URL", f"{label}, {project.urls[label]}")
    for extra in sorted(project.extras):
        add("Provides-Extra", extra)
    if new:
        add("Import-Name", module)
        lines += [f"Import-Namespace: {module[: dot.start()]}" for dot in re.finditer(r"\.", module)]
    return "\n".join(lines) + "\n" + (f"\n{project.readme.text}\n" if project.readme else "")


def _requirements(project: StaticProject) -> list[str]:
    found = [_requirement(requirement) for requirement in project.dependencies]
    return found + [_requirement(one, extra) for extra in sorted(project.extras) for one in project.extras[extra]]


def _requirement(requirement: Requirement, extra: str = "") -> str:
    """Return a requirement as it is written, but for its extras."""
    text, semicolon, marker = requirement.text.partition(";")
    if extra:
        text = f'{text} ; extra == "{extra}"' + (f" and ({marker})" if semicolon else "")
    else:
        text += f";{marker}" if semicolon else ""
    if requirement.extras:
        before, _, rest = text.partition("[")
        text = f"{before}[{', '.join(map(normalize, requirement.extras))}]{rest.partition(']')[2]}"
    return text
