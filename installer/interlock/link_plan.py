"""Which symbolic links can take the place of an editable wheel's .pth, so that the same can be imported.

A regular package is one link. What several projects may share, a namespace package of any style, is a directory in the
environment, with links to what is in it. What cannot be had that way stays as the backend made it, and `why_not` says why.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.links import links_directory
from interlock.prepared import Link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.interpreter import Layout
    from interlock.static.wheel import StaticWheel
    from interlock.wheel import Wheel

__all__ = ["LinkPlan", "plan_links"]

MOST = 500
"""The most links of one project: a tree without any __init__.py would need one for each of its files."""

MODULE_SUFFIXES = (".py", ".pyi", ".pyc", ".so")
INIT = ("__init__.py", "__init__.pyi", "__init__.pyc")
LONGEST_INIT = 1 << 16
PROJECT = frozenset({"pyproject.toml", "setup.py", "setup.cfg"})
# How far below the top of a flat layout a namespace is taken for one.
DEEPEST = 4
_NAMESPACE = re.compile(rb"extend_path|declare_namespace")

# At the top of a project's own directory: never a part of what it ships (setuptools/discovery.py has them all).
NOT_SHIPPED = frozenset(
    str.split("test tests doc docs conftest setup noxfile toxfile htmlcov hatch_build node_modules venv env")
)
# These are, now and then, and no .pth says whether.
PERHAPS_SHIPPED = frozenset(
    str.split(
        "bin build ci benchmark benchmarks changelog debian dist documentation dodo example examples exercise exercises "
        "fabfile manpages news newsfragments pavement python scripts site_scons tasks tools unit_test unit_tests util utils"
    )
)


class _Unsuited(Exception):
    """Links cannot take the place of a .pth; the message says why."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """The links that take the place of the wheel's file `replaces`; none, and "", where `why_not` says why.

    `inputs` are the directories that were listed and the files that were read for it (absolute).
    """

    links: tuple[Link, ...] = ()
    replaces: str = ""
    inputs: tuple[str, ...] = ()
    why_not: str = ""


def plan_links(wheel: Wheel | StaticWheel, layout: Layout, source: str, *, platform: str = sys.platform) -> LinkPlan:
    """Work out the links for an editable wheel of the project in the directory `source` (absolute).

    Raises:
        RecordMismatch, WheelError: the .pth of the wheel is not what its RECORD says, or too large.
    """
    if platform == "win32":
        return LinkPlan(why_not="on Windows symbolic links need a privilege")
    found = _Found(os.path.realpath(source))
    try:
        name, root = _search_path(wheel, source)
        flat = os.path.samefile(root, source)
        found.top(root, flat=flat)
    except (_Unsuited, OSError, RecursionError) as error:
        return LinkPlan(inputs=tuple(found.inputs), why_not=str(error))
    if not found.links:
        return LinkPlan(inputs=tuple(found.inputs), why_not=f"nothing to import is in {root}")
    base = links_directory(layout)
    links = tuple(Link(f"{base}/{path}", found.links[path]) for path in sorted(found.links))
    return LinkPlan(links, name, tuple(dict.fromkeys(found.inputs)))


def _search_path(wheel: Wheel | StaticWheel, source: str) -> tuple[str, str]:
    """Return the name of the wheel's .pth, and the one directory of the project that it puts on sys.path."""
    names = [name for name in wheel.record if name.endswith(".pth")]
    if len(names) != 1 or "/" in names[0]:
        raise _Unsuited(f"{os.path.basename(wheel.path)} has {len(names) or 'no'} .pth, not one at its top")
    try:
        text = wheel.read(names[0]).decode()
    except UnicodeDecodeError:
        raise _Unsuited(f"{names[0]} is not UTF-8") from None
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or lines[0].startswith(("import ", "import\t")) or not os.path.isabs(lines[0]):
        raise _Unsuited(f"{names[0]} is more than one absolute path")
    root = os.path.normpath(lines[0])
    if not os.path.isdir(root) or not _is_below(os.path.realpath(root), os.path.realpath(source)):
        raise _Unsuited(f"{names[0]} names {root}, which is no directory of the project")
    return names[0], root


class _Found:
    """The links that were found, by their path relative to the directory of all links."""

    def __init__(self, project: str) -> None:
        self.links: dict[str, str] = {}
        self.inputs: list[str] = []
        self._project = project

    def top(self, root: str, *, flat: bool) -> None:
        """Add what can be imported from a directory on sys.path; `flat` where that is the project's own."""
        for entry in self._entries(root):
            if entry.is_dir():
                package = entry.name.removesuffix("-stubs")
                if package.isidentifier() and not (flat and self._is_passed_over(entry)):
                    self._directory(entry, entry.name)
                continue
            stem = entry.name.partition(".")[0]
            is_module = entry.name.endswith(MODULE_SUFFIXES) and stem.isidentifier()
            if is_module and not (flat and _not_shipped(stem, root)):
                self._link(entry.name, entry.path)

    def _is_passed_over(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether a directory of a flat layout is none of its packages."""
        if entry.name in NOT_SHIPPED:
            return True
        # Without __init__.py at its top it is most often no package at all; with one somewhere below, a namespace.
        is_package = _init_of(entry.path) or any(_init_of(top) for top in _below(entry.path))
        return not is_package or _not_shipped(entry.name, os.path.dirname(entry.path))

    def _directory(self, entry: os.DirEntry[str], path: str) -> None:
        """Add a directory: whole where it is one project's, otherwise with its content."""
        init = _init_of(entry.path)
        if init:
            self.inputs.append(init)
        shared = not init or _is_namespace(init)
        if shared and not init:
            self.inputs.append(entry.path)
        # A link to a directory is not walked: it may lead to one above.
        if not shared or entry.is_symlink() or not _has_code(entry.path):
            self._link(path, entry.path)
            return
        for inner in self._entries(entry.path):
            if inner.is_dir():
                self._directory(inner, f"{path}/{inner.name}")
            elif inner.path != init or not _only_declares(init):
                self._link(f"{path}/{inner.name}", inner.path)

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str]]:
        self.inputs.append(directory)
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        return (entry for entry in entries if not entry.name.startswith(".") and entry.name != "__pycache__")

    def _link(self, path: str, target: str) -> None:
        if not _is_below(os.path.realpath(target), self._project):
            raise _Unsuited(f"{target} is a symbolic link that leads out of the project")
        if "\\" in path or not path.isprintable():
            raise _Unsuited(f"{target!r} has a name that no link can have here")
        self.links[path] = target
        if len(self.links) > MOST:
            raise _Unsuited(
                f"more than {MOST} links would be needed: packages without __init__.py are linked file by file"
            )


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(os.path.join(directory, ""))


def _not_shipped(name: str, directory: str) -> bool:
    if name in PERHAPS_SHIPPED:
        raise _Unsuited(f"whether {name!r} in {directory} is a part of the project cannot be told")
    return name in NOT_SHIPPED


def _init_of(directory: str) -> str:
    """Return the file that makes a directory a regular package; "" where it is none."""
    return next((path for name in INIT if os.path.isfile(path := os.path.join(directory, name))), "")


def _below(directory: str) -> Iterator[str]:
    """Yield the directories below one that could be packages; those of other projects are not looked into."""
    for top, names, files in os.walk(directory):
        deep = top.removeprefix(directory).count(os.sep) >= DEEPEST or not PROJECT.isdisjoint(files)
        names[:] = [name for name in names if name.isidentifier() and name != "__pycache__" and not deep]
        yield from (os.path.join(top, name) for name in names)


def _has_code(directory: str) -> bool:
    return any(name.endswith(MODULE_SUFFIXES) for _, _, names in os.walk(directory) for name in names)


def _is_namespace(init: str) -> bool:
    """Tell whether a package lets others add to it, in the style of pkgutil or pkg_resources."""
    with open(init, "rb") as reader:
        return _NAMESPACE.search(reader.read(LONGEST_INIT)) is not None


def _only_declares(init: str) -> bool:
    """Tell whether an __init__.py does nothing but declare a namespace: a directory without it is one, too (PEP 420)."""
    try:
        with open(init, "rb") as reader:
            body = ast.parse(reader.read(LONGEST_INIT + 1)).body
    except (SyntaxError, ValueError):
        return False
    return all(map(_declares, body))


def _declares(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Try):
        return all(map(_declares, [*statement.body, *(one for each in statement.handlers for one in each.body)]))
    if isinstance(statement, ast.Import):
        return {alias.name for alias in statement.names} <= {"pkgutil", "pkg_resources"}
    if isinstance(statement, ast.ImportFrom):
        return statement.module in {"pkgutil", "pkg_resources", "__future__"}
    if isinstance(statement, ast.Assign):
        targets = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        return targets == ["__path__"] and len(statement.targets) == 1
    if isinstance(statement, ast.Expr):
        text = ast.unparse(statement.value)
        return isinstance(statement.value, ast.Constant) or "declare_namespace" in text
    return False
