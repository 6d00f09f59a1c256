"""[tool.poetry] read as standard metadata: constraints as PEP 440, dependencies as PEP 508.

https://python-poetry.org/docs/dependency-specification. What has no certain translation (unions of ranges, unknown keys) raises
Unclear, and the backend is asked.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from interlock.distribution import normalize
from interlock_ninja.pep508 import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PoetryMetadata", "Unclear", "read_poetry", "to_specifier"]


class Unclear(Exception):
    """Only the backend can say."""


@dataclass(frozen=True, slots=True)
class PoetryMetadata:
    """What the tables say, in standard terms."""

    requires_python: str
    dependencies: tuple[str, ...]
    optional_dependencies: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]


_TERM = re.compile(r"(\^|~=|~|===|==|>=|<=|!=|>|<|=|)\s*v?([0-9][0-9A-Za-z.!+*_-]*|\*)")
_KEYS = frozenset(
    str.split(
        "version extras optional python markers platform path git url branch tag rev subdirectory develop source "
        "allow-prereleases"
    )
)


def read_poetry(tables: Mapping[str, Any], directory: str) -> PoetryMetadata:
    """Read [tool.poetry]; `directory` is the project's, absolute, for the paths in it.

    Raises:
        Unclear: something has no certain translation.
    """
    dependencies = dict(table(tables, "dependencies"))
    python = dependencies.pop("python", "*")
    if not isinstance(python, str):
        raise Unclear("python")
    required: list[str] = []
    optional: dict[str, tuple[str, ...]] = {}
    for name, value in dependencies.items():
        lines = _requirements(name, value, directory)
        if isinstance(value, dict) and value.get("optional") is True:
            optional[normalize(name)] = lines
        else:
            required += lines
    extras = {}
    for extra, names in table(tables, "extras").items():
        if not isinstance(names, list):
            raise Unclear(extra)
        # An extra may name a dependency that is not optional: it is there in any case.
        extras[normalize(extra)] = tuple(line for name in names for line in optional.get(normalize(str(name)), ()))
    return PoetryMetadata(to_specifier(python), tuple(required), extras, read_groups(tables, directory))


def read_groups(tables: Mapping[str, Any], directory: str) -> dict[str, tuple[str, ...]]:
    """Read the dependency groups, the old dev-dependencies as group "dev"; what is unclear in a group is left out."""
    found = {"dev": table(tables, "dev-dependencies")} if "dev-dependencies" in tables else {}
    for name, group in table(tables, "group").items():
        found[name] = {**found.get(name, {}), **table(group if isinstance(group, dict) else {}, "dependencies")}
    groups = {}
    for name, dependencies in found.items():
        lines: list[str] = []
        for dependency, value in dependencies.items():
            try:
                lines += _requirements(dependency, value, directory)
            except Unclear:
                continue
        groups[normalize(name)] = tuple(lines)
    return groups


def to_specifier(constraint: str) -> str:
    """Translate a version constraint of poetry to a specifier of PEP 440.

    Raises:
        Unclear: a union, or something else that is not a comma-separated list of terms.
    """
    if "|" in constraint:
        raise Unclear(constraint)
    text = constraint.strip()
    if text in {"", "*"}:
        return ""
    terms = []
    for part in text.split(","):
        rest = part.strip()
        if not rest:
            raise Unclear(constraint)
        while rest:
            match = _TERM.match(rest)
            if match is None:
                raise Unclear(constraint)
            terms.append(_term(match[1], match[2]))
            rest = rest[match.end() :].strip()
    return ",".join(dict.fromkeys(term for term in terms if term))


def _term(operator: str, version: str) -> str:
    if version == "*":
        if operator in {"", "=", "=="}:
            return ""
        raise Unclear(version)
    wildcard = version.endswith(".*")
    try:
        parsed = Version(version.removesuffix(".*"))
    except ValueError:
        raise Unclear(version) from None
    if wildcard or operator not in {"^", "~"}:
        if wildcard and operator not in {"", "=", "==", "!="}:
            raise Unclear(version)
        equal = "==" if operator in {"", "="} else operator
        return f"{equal}{parsed}{'.*' if wildcard else ''}"
    release = parsed.release
    if operator == "^":
        fixed = next((index for index, number in enumerate(release) if number), len(release) - 1)
    else:
        fixed = min(1, len(release) - 1)
    upper = [*release[:fixed], release[fixed] + 1, *[0] * (len(release) - fixed - 1)]
    epoch = f"{parsed.epoch}!" if parsed.epoch else ""
    return f">={parsed},<{epoch}{'.'.join(map(str, upper))}"


def _requirements(name: str, value: object, directory: str) -> tuple[str, ...]:
    """Translate one dependency: a constraint, a table, or a list of tables that markers tell apart."""
    if isinstance(value, str):
        return (f"{name}{to_specifier(value)}",)
    if isinstance(value, list):
        return tuple(line for item in value for line in _requirements(name, item, directory))
    if not isinstance(value, dict) or set(value) - _KEYS:
        raise Unclear(name)
    if not isinstance(extras := value.get("extras", []), list):
        raise Unclear(name)
    head = f"{name}[{','.join(map(str, extras))}]" if extras else name
    url = _url(value, directory)
    line = f"{head} @ {url}" if url else f"{head}{to_specifier(str(value.get('version', '*')))}"
    marker = _marker(value)
    return (f"{line} ; {marker}" if marker else line,)


def _url(value: Mapping[str, Any], directory: str) -> str:
    below = f"#subdirectory={value['subdirectory']}" if value.get("subdirectory") else ""
    if "path" in value:
        return Path(os.path.normpath(os.path.join(directory, str(value["path"])))).as_uri() + below
    if "url" in value:
        return str(value["url"]) + below
    if "git" in value:
        revision = next((str(value[key]) for key in ("rev", "tag", "branch") if key in value), "")
        address = str(value["git"])
        if "://" not in address:
            raise Unclear(address)
        return f"git+{address}{'@' if revision else ''}{revision}{below}"
    return ""


def _marker(value: Mapping[str, Any]) -> str:
    parts = []
    if "python" in value:
        parts += list(_python_markers(to_specifier(str(value["python"]))))
    if "platform" in value:
        parts.append(f'sys_platform == "{value["platform"]}"')
    if "markers" in value:
        parts.append(f"({value['markers']})" if parts else str(value["markers"]))
    return " and ".join(parts)


def _python_markers(specifier: str) -> Iterable[str]:
    for term in filter(None, specifier.split(",")):
        match = re.match(r"(\D+)(.*)", term)
        if match is None:
            raise Unclear(term)
        operator, version = match[1], match[2]
        variable = "python_full_version" if version.removesuffix(".*").count(".") > 1 else "python_version"
        yield f'{variable} {operator} "{version}"'
