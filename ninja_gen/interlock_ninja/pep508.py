"""Requirements, versions and specifiers, each text parsed once; what does not parse is a MetadataError that says where.

A workspace of 1,000 projects repeats the same few requirements: parsing is what reading it would spend its time on.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from interlock.distribution import normalize
from interlock.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "checked_name",
    "checked_requirement",
    "checked_requirements",
    "checked_specifier",
    "checked_version",
    "normalize",
    "requirement",
    "specifier",
    "table",
    "texts",
]

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")

requirement = cache(Requirement)
specifier = cache(SpecifierSet)
_version = cache(Version)


@cache
def _evaluated(line: str) -> None:
    """Parse a requirement and evaluate its marker: some are well-formed and mean nothing."""
    if (marker := requirement(line).marker) is not None:
        marker.evaluate({"extra": ""})


def checked_name(value: object, where: str) -> str:
    """Return a project's name if it is one (packaging.python.org "Name format")."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise MetadataError(f"{where} is {value!r}, which is no valid name")
    return value


def checked_version(value: object, where: str) -> str:
    """Return a version as metadata spells it: normalised."""
    try:
        return str(_version(value if isinstance(value, str) else ""))
    except ValueError:
        raise MetadataError(f"{where} is {value!r}, which is no valid version") from None


def checked_specifier(value: object, where: str) -> str:
    """Return a version specifier as it is written, if it is one."""
    try:
        specifier(value if isinstance(value, str) else "no text")
    except ValueError:
        raise MetadataError(f"{where} is {value!r}, which is no valid version specifier") from None
    return str(value)


def checked_requirement(line: str, where: str) -> str:
    """Return a requirement as it is written, without blanks around it, if it is one."""
    stripped = line.strip()
    try:
        _evaluated(stripped)
    except (ValueError, RecursionError, KeyError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, KeyError):  # `extras` and `dependency_groups` are of lock files (PEP 751)
            reason = f"{reason} in its marker means nothing here"
        raise MetadataError(f"{where} has {stripped!r}, which is no valid requirement: {reason}") from None
    return stripped


def checked_requirements(value: object, where: str) -> tuple[str, ...]:
    """Return a list of requirements, each of them valid."""
    return tuple(checked_requirement(line, where) for line in texts(value, where))


def texts(value: object, where: str) -> tuple[str, ...]:
    """Return a list of strings from a project's own file."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MetadataError(f"{where} must be a list of strings")
    return tuple(value)


def table(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the table at a path of keys, an empty one where there is none or something else stands there."""
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
