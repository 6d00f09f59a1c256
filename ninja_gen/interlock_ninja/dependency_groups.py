"""[dependency-groups] with their includes expanded (PEP 735)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.distribution import normalize
from interlock.errors import MetadataError
from interlock_ninja.pep508 import checked_requirement, table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_dependency_groups"]


def read_dependency_groups(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the requirements of each group under its normalised name; uv's old dev-dependencies are part of group "dev".

    PEP 735 has tools look at a group when it is used: one that cannot be expanded is left out, and asking for it is an error
    because the project has no such group.
    """
    raw: dict[str, list[Any]] = {}
    for name, lines in table(document, "dependency-groups").items():
        raw.setdefault(normalize(name), []).extend(lines if isinstance(lines, list) else [None])
    legacy = table(document, "tool", "uv").get("dev-dependencies")
    if isinstance(legacy, list):
        raw.setdefault("dev", []).extend(legacy)
    groups = {}
    for name in raw:
        try:
            groups[name] = tuple(dict.fromkeys(_expand(raw, name, ())))
        except MetadataError:
            continue
    return groups


def _expand(raw: Mapping[str, list[Any]], name: str, above: tuple[str, ...]) -> list[str]:
    if name in above or name not in raw:
        raise MetadataError(f"dependency group {name!r} includes itself, or is not there")
    lines: list[str] = []
    for item in raw[name]:
        if isinstance(item, str):
            lines.append(checked_requirement(item, f"dependency group {name!r}"))
        elif isinstance(item, dict) and set(item) == {"include-group"} and isinstance(item["include-group"], str):
            lines += _expand(raw, normalize(item["include-group"]), (*above, name))
        else:
            raise MetadataError(f"dependency group {name!r} has {item!r}")
    return lines
