"""Versions that a pyproject.toml calls dynamic and that can still be read without building.

Only where the backend's own rule is simple and its answer certain; everything else is asked of the backend. Each function
returns None where it is not certain.
"""

from __future__ import annotations

import ast
import posixpath
import re
from typing import TYPE_CHECKING, Any

from interlock.errors import MetadataError
from interlock_ninja.pep508 import checked_version, table

if TYPE_CHECKING:
    from interlock_ninja.source import Source

__all__ = ["static_version"]

# hatchling/version/core.py, DEFAULT_PATTERN; later ones allow an annotation too, which is left to them.
_HATCH = re.compile(r"""(?i)^(__version__|VERSION) *= *(['"])v?(?P<version>.+?)\2""", re.MULTILINE)
_POETRY = ("poetry.core.masonry.api", "poetry.masonry.api")


def static_version(source: Source, document: dict[str, Any], backend: str) -> str | None:
    """Return the version that the backend would find, None where only the backend can say."""
    tool = table(document, "tool")
    found: str | None = None
    try:
        if backend == "hatchling.build":
            found = _hatch(source, tool)
        elif backend.startswith("setuptools.build_meta"):
            found = _setuptools(source, tool)
        elif backend == "flit_core.buildapi":
            found = _flit(source, document)
        elif backend in _POETRY:
            version = table(tool, "poetry").get("version")
            found = version if isinstance(version, str) and "poetry-dynamic-versioning" not in tool else None
        return checked_version(found, source.path()) if found else None
    except MetadataError:
        return None  # what is odd enough to fail here is the backend's to judge


def _hatch(source: Source, tool: dict[str, Any]) -> str | None:
    settings = table(tool, "hatch", "version")
    path = settings.get("path")
    if not isinstance(path, str) or set(settings) - {"path", "source"} or settings.get("source", "regex") != "regex":
        return None
    if source.holds("hatch.toml") or not source.holds(path):  # hatch.toml has the last word
        return None
    match = _HATCH.search(source.text(path))
    return match["version"] if match else None


def _setuptools(source: Source, tool: dict[str, Any]) -> str | None:
    directive = table(tool, "setuptools", "dynamic", "version")
    file, attribute = directive.get("file"), directive.get("attr")
    if isinstance(file, list) and len(file) == 1:
        file = file[0]
    if isinstance(file, str) and attribute is None:
        return source.text(file).strip() if source.holds(file) else None
    if not isinstance(attribute, str) or "." not in attribute or file is not None:
        return None
    module, _, name = attribute.strip().rpartition(".")
    roots = table(tool, "setuptools", "package-dir").values()
    return _in_one_module(source, module, name, {"", "src", *(root for root in roots if isinstance(root, str))})


def _flit(source: Source, document: dict[str, Any]) -> str | None:
    name = table(document, "tool", "flit", "module").get("name") or table(document, "project").get("name")
    if not isinstance(name, str):
        return None
    return _in_one_module(source, name.replace("-", "_"), "__version__", {"", "src"})


def _in_one_module(source: Source, module: str, name: str, roots: set[str]) -> str | None:
    """Return a literal of a module, if just one file can be that module and it assigns the name just once."""
    stem = module.replace(".", "/")
    places = {posixpath.normpath(posixpath.join(root, stem)) for root in roots}
    found = [path for place in sorted(places) for path in (f"{place}/__init__.py", f"{place}.py") if source.holds(path)]
    return _literal(source.bytes(found[0]), name) if len(found) == 1 else None


def _literal(code: bytes, name: str) -> str | None:
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return None
    values: list[ast.expr | None] = []
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign | ast.AugAssign):
            targets = [statement.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            values.append(getattr(statement, "value", None))
    if len(values) == 1 and isinstance(values[0], ast.Constant) and isinstance(values[0].value, str):
        return values[0].value
    return None
