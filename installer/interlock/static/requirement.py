"""Requirements in the plain form that every backend reads alike: a name, extras, versions, a marker without parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from interlock.static.tree import NotStatic

__all__ = ["VERSION", "Requirement", "parse_requirement", "parse_specifiers"]

_NUMBER = "(?:0|[1-9][0-9]{0,8})"
VERSION = rf"{_NUMBER}(?:\.{_NUMBER})*(?:(?:a|b|rc){_NUMBER})?(?:\.post{_NUMBER})?(?:\.dev{_NUMBER})?"
"""A version in its normal form (PEP 440), without an epoch and a local part."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_EXTRA = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_SPECIFIER = re.compile(rf" *(~=|==|!=|<=|>=|<|>) *({VERSION})(\.\*)? *")
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME}) ?(?:\[(?P<extras>{_EXTRA}(?:, ?{_EXTRA})*)\])? ?(?P<specifiers>[~=!<>][^;]*)?(?:;(?P<marker>.*))?",
)
_VERSIONS = r"(?P<number>python_version|python_full_version) *(?P<comparison>==|!=|<=|>=|<|>)"
_TEXTS = (
    r"(?P<text>sys_platform|platform_system|os_name|platform_machine|implementation_name|platform_python_implementation)"
    r" *(?P<equality>==|!=)"
)
_ATOM = re.compile(
    rf" *(?:{_VERSIONS} *(?P<q>['\"])(?P<version>3\.[0-9]{{1,3}})(?P=q)|{_TEXTS} *(?P<r>['\"])(?P<value>[A-Za-z0-9_]+)(?P=r)) *"
)
_JOIN = re.compile(r"(?<=[ '\"])(and|or)(?=[ ])")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement; `text` is it as written, `specifiers` are in the order of the text.

    `marker` has comparisons (variable, operator, value) and between them "and" or "or".
    """

    text: str
    name: str
    extras: tuple[str, ...]
    specifiers: tuple[str, ...]
    marker: tuple[tuple[str, str, str] | str, ...]

    def marker_text(self, quote: str = '"') -> str:
        """Return the marker as `packaging` writes it, "" where there is none."""
        return " ".join(
            part if isinstance(part, str) else f"{part[0]} {part[1]} {quote}{part[2]}{quote}" for part in self.marker
        )

    def packaging(self, *, name: str = "", extras: tuple[str, ...] | None = None) -> str:
        """Return all but the marker as `packaging` writes it."""
        extra = ",".join(sorted(set(self.extras if extras is None else extras)))
        return f"{name or self.name}{f'[{extra}]' if extra else ''}{','.join(sorted(self.specifiers))}"


def parse_requirement(text: str, where: str) -> Requirement:
    """Parse a requirement.

    Raises:
        NotStatic: it is none, or has a form that backends may write differently.
    """
    match = _REQUIREMENT.fullmatch(text)
    if match is None:
        raise NotStatic(f"{where} has {text!r}, which is no plain requirement")
    extras = tuple(extra.strip() for extra in (match["extras"] or "").split(",") if extra.strip())
    specifiers = parse_specifiers(match["specifiers"], where) if match["specifiers"] else ()
    marker = _parse_marker(match["marker"], text, where) if match["marker"] is not None else ()
    if len(set(extras)) != len(extras):
        raise NotStatic(f"{where} has {text!r}, with an extra twice")
    return Requirement(text, match["name"], extras, specifiers, marker)


def parse_specifiers(text: str, where: str) -> tuple[str, ...]:
    """Parse comma-separated version specifiers; without any space, in their order.

    Raises:
        NotStatic: a form that backends may write differently, or one twice.
    """
    found = []
    for part in text.split(","):
        match = _SPECIFIER.fullmatch(part)
        if match is None:
            raise NotStatic(f"{where} has {text.strip()!r}, which is no plain version specifier")
        operator, version, wildcard = match.groups()
        released = re.fullmatch(r"[0-9.]+", version) is not None
        if (wildcard and (operator not in {"==", "!="} or not released)) or (operator == "~=" and "." not in version):
            raise NotStatic(f"{where} has {text.strip()!r}, which is no plain version specifier")
        found.append(f"{operator}{version}{wildcard or ''}")
    if len(set(found)) != len(found):
        raise NotStatic(f"{where} has {text.strip()!r}, with one specifier twice")
    return tuple(found)


def _parse_marker(text: str, whole: str, where: str) -> tuple[tuple[str, str, str] | str, ...]:
    parts: list[tuple[str, str, str] | str] = []
    for number, part in enumerate(_JOIN.split(text)):
        if number % 2:
            parts.append(part)
            continue
        match = _ATOM.fullmatch(part)
        if match is None:
            raise NotStatic(f"{where} has {whole!r}, whose marker is not plain")
        if match["number"]:
            parts.append((match["number"], match["comparison"], match["version"]))
        else:
            parts.append((match["text"], match["equality"], match["value"]))
    return tuple(parts)
