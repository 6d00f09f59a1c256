"""What setuptools writes where an editable install is a path: for a src layout, or asked for with `editable_mode=compat`."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from interlock.static.answer import (
    Answer,
    Question,
    address,
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
    from collections.abc import Iterable

    from interlock.static.project import StaticProject
    from interlock.static.tree import Tree

__all__ = ["answer"]

SETTINGS = frozenset({"packages", "package-dir", "package-data", "include-package-data", "zip-safe"})
LICENSES = ("LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*")
# FlatLayoutPackageFinder.DEFAULT_EXCLUDE
NO_PACKAGES = frozenset(
    {
        *("ci", "bin", "debian", "doc", "docs", "documentation", "manpages", "news", "newsfragments", "changelog"),
        *("test", "tests", "unit_test", "unit_tests", "example", "examples", "scripts", "tools", "util", "utils"),
        *("python", "build", "dist", "venv", "env", "requirements", "tasks", "fabfile", "site_scons", "benchmark"),
        *("benchmarks", "exercise", "exercises", "htmlcov"),
    }
)
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?|\*")
_ROOT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def answer(question: Question) -> Answer:
    """Return the editable wheel."""
    project, tree = question.project, question.tree
    if "distutils" in project.tool:
        raise NotStatic("it has [tool.distutils]")
    if "DIST_EXTRA_CONFIG" in os.environ or os.path.exists(os.path.expanduser("~/.pydistutils.cfg")):
        raise NotStatic("distutils is configured outside of it (DIST_EXTRA_CONFIG, ~/.pydistutils.cfg)")
    if not project.plain_extras:
        raise NotStatic("its `optional-dependencies` has an extra that setuptools may write in another spelling")
    tree.refuse(("setup.py", "setup.cfg"), "which setuptools reads")
    root, top = _layout(question)
    if not top:
        raise NotStatic("it has no package")
    stem = f"{project.distribution}-{project.version}"
    dist_info = f"{stem}.dist-info"
    licenses = default_licenses(tree, LICENSES) if project.license_files is None else named_licenses(project, tree)
    licenses = [path for path in licenses if not path.endswith("~")]
    files = {
        f"__editable__.{stem}.pth": f"{path_line(tree, root)}\n".encode(),
        f"{dist_info}/METADATA": _metadata(project, licenses).encode(),
        f"{dist_info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: setuptools ({question.text})\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n\n".encode(),
        f"{dist_info}/top_level.txt": "".join(f"{name}\n" for name in sorted(top)).encode(),
        **{f"{dist_info}/licenses/{path}": tree.read(path, "a license file") for path in licenses},
    }
    if groups := project.groups():
        text = "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in sorted(groups[group].items())) + "\n"
            for group in sorted(groups)
        )
        files[f"{dist_info}/entry_points.txt"] = text.encode()
    return Answer(project.name, project.version, dist_info, files)


def _layout(question: Question) -> tuple[str, set[str]]:
    """Return the directory that goes on the path, "" for the project's own, and the top-level names that it has."""
    project, tree = question.project, question.tree
    settings = table(project.tool, "setuptools", "tool.setuptools")
    only(settings, SETTINGS, "tool.setuptools")
    _check_data(settings)
    root = _package_dir(settings)
    packages = settings.get("packages")
    if isinstance(packages, list):
        top = _listed(tree, packages, root or "")
        if not question.compat and not _is_simple(packages):
            raise NotStatic("setuptools writes a finder for its packages (with editable_mode=compat: a path)")
    elif packages is not None:
        only(table(settings, "packages", "tool.setuptools.packages"), {"find"}, "tool.setuptools.packages")
        root, top = _found(tree, table(packages, "find", "tool.setuptools.packages.find"), root)
    elif root is None and not tree.is_directory("src"):
        top = _flat(tree)
    elif root in {None, "src"}:
        root, top = "src", _packages(tree, "src") | _modules(tree, "src")
    else:
        raise NotStatic("setuptools looks for its packages")
    if root is None:
        if not question.compat:
            raise NotStatic("setuptools writes a finder for a flat layout (with editable_mode=compat: a path)")
        root = ""
    return root, top


def _check_data(settings: dict[str, Any]) -> None:
    data = table(settings, "package-data", "tool.setuptools.package-data")
    for patterns in data.values():
        if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
            raise NotStatic("its `tool.setuptools.package-data` is no table of lists")
    for package in data:
        if package != "*" and not _MODULE.fullmatch(package):
            raise NotStatic(f"its `tool.setuptools.package-data` has {package!r}")
    for key in ("include-package-data", "zip-safe"):
        if not isinstance(settings.get(key, True), bool):
            raise NotStatic(f"its `tool.setuptools.{key}` is neither true nor false")


def _package_dir(settings: dict[str, Any]) -> str | None:
    if "package-dir" not in settings:
        return None
    given = table(settings, "package-dir", "tool.setuptools.package-dir")
    root = given.get("")
    if set(given) != {""} or not isinstance(root, str) or not (root == "." or _ROOT.fullmatch(root)):
        raise NotStatic("its `tool.setuptools.package-dir` is not plain")
    return "" if root == "." else root


def _listed(tree: Tree, packages: list[Any], root: str) -> set[str]:
    base = f"{root}/" if root else ""
    for package in packages:
        if not isinstance(package, str) or not _MODULE.fullmatch(package):
            raise NotStatic("its `tool.setuptools.packages` has a name that is none")
        if not tree.is_directory(base + package.replace(".", "/")):
            raise NotStatic(f"there is no directory {base}{package.replace('.', '/')}")
    return {package.partition(".")[0] for package in packages}


def _is_simple(packages: list[str]) -> bool:
    """Tell whether setuptools sees that one directory has all of the packages; of `a.b` alone it does not (_simple_layout)."""
    paths = {package: f"/{package.replace('.', '/')}" for package in packages}
    parents = [path.removesuffix(package) for package, path in paths.items()]
    return bool(parents) and os.path.commonpath(parents) == "/"


def _found(tree: Tree, find: dict[str, Any], root: str | None) -> tuple[str, set[str]]:
    only(find, {"where", "include", "exclude", "namespaces"}, "tool.setuptools.packages.find")
    where = find.get("where", ["."])
    if not isinstance(where, list) or len(where) != 1 or not _ROOT.fullmatch(str(where[0])):
        raise NotStatic("its `tool.setuptools.packages.find.where` is not one directory")
    if root is not None and root != where[0]:
        raise NotStatic("its `package-dir` is not where its packages are looked for")
    namespaces = find.get("namespaces", True)
    if not isinstance(namespaces, bool):
        raise NotStatic("its `tool.setuptools.packages.find.namespaces` is neither true nor false")
    include, exclude = (_patterns(find, key) for key in ("include", "exclude"))
    top = {
        name
        for name in _packages(tree, where[0])
        if (namespaces or "__init__.py" in tree.names(f"{where[0]}/{name}"))
        and (not include or any(fnmatchcase(name, pattern) for pattern in include))
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    return where[0], top


def _patterns(find: dict[str, Any], key: str) -> list[str]:
    """Return patterns that a package matches only if its top-level package does, or does not if it does not."""
    given = find.get(key, [])
    if not isinstance(given, list) or not all(isinstance(one, str) and _PATTERN.fullmatch(one) for one in given):
        raise NotStatic(f"its `tool.setuptools.packages.find.{key}` is not plain")
    return given


def _packages(tree: Tree, root: str) -> set[str]:
    """Return the directories that setuptools takes for top-level packages, with or without an __init__.py."""
    found = {name for name in tree.names(root) if "." not in name and tree.is_directory(f"{root}/{name}")}
    return {name for name in found if name != "ez_setup" and not name.endswith("__pycache__")}


def _modules(tree: Tree, root: str) -> set[str]:
    found = {name.removesuffix(".py") for name in tree.names(root) if name.endswith(".py")}
    for name in found:
        if not _MODULE.fullmatch(name) or not tree.is_file(f"{root}/{name}.py"):
            raise NotStatic(f"{root}/{name}.py is no module")
    return found


def _flat(tree: Tree) -> set[str]:
    """Return the one top-level package of a flat layout."""
    found = set()
    for name in tree.names():
        if name.startswith((".", "_")) or name in NO_PACKAGES or "." in name or not tree.is_directory(name):
            continue
        if name.endswith("-stubs"):
            raise NotStatic(f"it has a directory {name}")
        if name.isidentifier():
            found.add(name)
    if len(found) != 1:
        raise NotStatic("its directory does not have exactly one package")
    return found


def _metadata(project: StaticProject, licenses: Iterable[str]) -> str:
    lines, add = header("Metadata-Version: 2.4")

    add("Name", project.name)
    add("Version", project.version)
    add("Summary", project.description)
    add("Author", names(project.authors))
    add("Author-email", emails(project.authors, address))
    add("Maintainer", names(project.maintainers))
    add("Maintainer-email", emails(project.maintainers, address))
    add("License-Expression" if project.expression else "License", project.expression or project.license)
    for label, url in project.urls.items():
        add("Project-URL", f"{label}, {url}")
    add("Keywords", ",".join(project.keywords))
    for classifier in project.classifiers:
        add("Classifier", classifier)
    add("Requires-Python", ",".join(sorted(project.requires_python)))
    if project.readme:
        add("Description-Content-Type", project.readme.content_type)
    for path in licenses:
        add("License-File", path)
    for requirement in project.dependencies:
        marker = requirement.marker_text()
        add("Requires-Dist", requirement.packaging() + (f"; {marker}" if marker else ""))
    for extra, requirements in project.extras.items():
        add("Provides-Extra", extra)
        for requirement in requirements:
            add("Requires-Dist", extra_requirement(requirement, extra))
    if licenses:
        add("Dynamic", "license-file")
    text = f"\n{project.readme.text}" if project.readme else ""
    return "\n".join(lines) + "\n" + text + ("\n" if text and not text.endswith("\n") else "")
