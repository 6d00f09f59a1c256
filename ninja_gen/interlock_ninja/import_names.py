"""The top-level import names that a project ships, by what its files and its backend's settings say; best effort.

Regular packages only: of a namespace package (no __init__.py, or one in the style of pkgutil or pkg_resources) the packages
inside count, by their dotted name.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from interlock_ninja.pep508 import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock_ninja.source import Source

__all__ = ["code_for_setuptools", "import_names"]

# setuptools/discovery.py, FlatLayoutPackageFinder and FlatLayoutModuleFinder: never taken for a distribution's code.
_NOT_PACKAGES = frozenset(
    str.split(
        "ci bin debian doc docs documentation manpages news newsfragments changelog test tests unit_test unit_tests example "
        "examples scripts tools util utils python build benchmark benchmarks exercise exercises htmlcov tasks fabfile "
        "site_scons"
    )
)
_NOT_MODULES = frozenset(
    str.split("setup conftest test tests example examples build toxfile noxfile pavement dodo tasks fabfile")
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NAMESPACE = re.compile(rb"extend_path|declare_namespace")
_DEEPEST = 5


def import_names(source: Source, document: dict[str, Any]) -> tuple[str, ...]:
    """Return the dotted names of the regular packages at the top, or right below namespace packages, sorted."""
    found: set[str] = set()
    for directory, names in _roots(source, document):
        for name in names:
            found.update(_regular(os.path.join(directory, name), name.replace("/", "."), _DEEPEST))
    return tuple(sorted(found))


def code_for_setuptools(source: Source, document: dict[str, Any]) -> bool:
    """Tell whether setuptools' automatic discovery would find one distribution's code in a directory.

    Source: setuptools.pypa.io/en/latest/userguide/package_discovery.html. Several packages side by side are none: it refuses.
    """
    if "setuptools" in table(document, "tool"):
        return True
    if "src" in source.folders and any(_packages(source.absolute("src"))):
        return True
    packages = [
        name
        for name in source.folders
        if _IDENTIFIER.fullmatch(name)
        and not name.startswith("_")
        and name not in _NOT_PACKAGES
        and os.path.isfile(source.absolute(f"{name}/__init__.py"))
    ]
    modules = [name for name in source.files if name.endswith(".py") and name[:-3] not in _NOT_MODULES]
    return len(packages) == 1 or (not packages and len(modules) == 1)


def _roots(source: Source, document: dict[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield (directory that will be on sys.path, names in it)."""
    tool = table(document, "tool")
    explicit = list(_explicit(tool))
    if explicit:
        for place in explicit:
            root, _, name = place.rpartition("/")
            yield source.absolute(root), (name,)
    elif "src" in source.folders:
        yield source.absolute("src"), _packages(source.absolute("src"))
    else:
        flat = [name for name in source.folders if _IDENTIFIER.fullmatch(name)]
        yield source.absolute(), [name for name in flat if name not in _NOT_PACKAGES]
    if "src" not in source.folders and _on_the_path(document):
        # The project's own directory will be on sys.path: `import tests` finds what lies there.
        yield source.absolute(), [name for name in source.folders if name in {"test", "tests"}]


def _explicit(tool: dict[str, Any]) -> Iterator[str]:
    """Yield the packages that a backend's settings name, as paths relative to the project."""
    for place in _listed(table(tool, "hatch", "build", "targets", "wheel")):
        if isinstance(place, str):
            yield place.strip("/")
    for package in _listed(table(tool, "poetry")):
        if isinstance(package, dict) and isinstance(package.get("include"), str) and "*" not in package["include"]:
            yield f"{package.get('from', '')}/{package['include']}".strip("/")
    setuptools = table(tool, "setuptools")
    root = table(setuptools, "package-dir").get("", "")
    for package in _listed(setuptools):
        yield f"{root}/{str(package).partition('.')[0]}".strip("/")


def _listed(settings: dict[str, Any]) -> list[Any]:
    packages = settings.get("packages")
    return packages if isinstance(packages, list) else []


def _on_the_path(document: dict[str, Any]) -> bool:
    """Tell whether a flat layout's directory goes on sys.path as a whole; setuptools maps single packages instead."""
    backend = str(table(document, "build-system").get("build-backend", "setuptools"))
    return not backend.startswith("setuptools")


def _packages(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if _IDENTIFIER.fullmatch(entry.name) and entry.is_dir()]
    except OSError:
        return []


def _regular(directory: str, dotted: str, depth: int) -> Iterator[str]:
    try:
        with open(os.path.join(directory, "__init__.py"), "rb") as reader:
            namespace = _NAMESPACE.search(reader.read(8192)) is not None
    except OSError:
        namespace = True
    if not namespace:
        yield dotted
    elif depth:
        for name in _packages(directory):
            if name != "__pycache__":
                yield from _regular(os.path.join(directory, name), f"{dotted}.{name}", depth - 1)
