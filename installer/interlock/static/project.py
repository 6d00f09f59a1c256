"""A project's metadata in the plain form that every backend reads alike; everything else is refused with the reason.

Specification: packaging.python.org "Writing your pyproject.toml", "Core metadata".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.distribution import normalize
from interlock.documents import parse_toml
from interlock.static.requirement import VERSION, Requirement, parse_requirement, parse_specifiers
from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.static.tree import Tree

__all__ = ["Person", "Readme", "StaticProject", "only", "read_project", "table"]

KNOWN = frozenset(
    {
        *("name", "version", "description", "readme", "requires-python", "license", "license-files", "authors"),
        *("maintainers", "keywords", "classifiers", "urls", "scripts", "gui-scripts", "entry-points", "dependencies"),
        *("optional-dependencies", "dynamic"),
    }
)
CONTENT_TYPES = {".md": "text/markdown", ".rst": "text/x-rst", ".txt": "text/plain"}
# Canonical in SPDX's list, and since its version 3.0: every backend's copy has these.
LICENSES = frozenset(
    {
        *("0BSD", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause"),
        *("BSL-1.0", "CC-BY-4.0", "CC0-1.0", "EPL-1.0", "EPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only"),
        *("GPL-3.0-or-later", "ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
        *("MIT", "MPL-2.0", "NCSA", "PostgreSQL", "Python-2.0", "Unlicense", "WTFPL", "Zlib"),
    }
)

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")
_EXTRA = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_EMAIL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_PERSON = re.compile(r"[^\W_](?:[\w.,'()/&-]| (?=\S))*")
_KEYWORD = re.compile(r"[\w.+/-]+(?: [\w.+/-]+)*")
_CLASSIFIER = re.compile(
    r"[\w.()+/#'&,;>-]+(?: [\w.()+/#'&,;>-]+)*(?: :: [\w.()+/#'&,;>-]+(?: [\w.()+/#'&,;>-]+)*)+", re.ASCII
)
_LABEL = re.compile(r"[\w.-]+(?: [\w.-]+)*")
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~%/?#=&+@-]*)?")
_ENTRY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_DOTTED = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_REFERENCE = re.compile(rf"{_DOTTED}:{_DOTTED}")
_MODULE = re.compile(rf"{_DOTTED}(?::{_DOTTED})?")
_GROUP = re.compile(_DOTTED)
_PATTERN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*(?:[A-Za-z0-9_-]|\[[A-Z]+\])(?:[A-Za-z0-9._*-]|\[[A-Z]+\])*")
# Only "\n" ends a line for everybody; some libraries know eleven more characters that do.
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


@dataclass(frozen=True, slots=True)
class Person:
    """An author or a maintainer; one of the two may be ""."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Readme:
    """The long description, its lines ended by "\\n"; `inline` if it is in pyproject.toml itself."""

    text: str
    content_type: str
    inline: bool


@dataclass(frozen=True, slots=True)
class StaticProject:
    """What [project] says.

    What it does not have is "" or empty, and None for `license_files` (patterns). Extras have their normalised names, and with
    `plain_extras` they are written so. `license` is a table's text, `expression` a SPDX expression. Order is that of the file.
    `tool` is [tool].
    """

    name: str
    normalized: str
    version: str
    description: str
    readme: Readme | None
    requires_python: tuple[str, ...]
    requires_python_text: str
    license: str
    expression: str
    license_files: tuple[str, ...] | None
    authors: tuple[Person, ...]
    maintainers: tuple[Person, ...]
    keywords: tuple[str, ...]
    classifiers: tuple[str, ...]
    urls: Mapping[str, str]
    scripts: Mapping[str, str]
    gui_scripts: Mapping[str, str]
    entry_points: Mapping[str, Mapping[str, str]]
    dependencies: tuple[Requirement, ...]
    extras: Mapping[str, tuple[Requirement, ...]]
    plain_extras: bool
    backend: str
    requires: tuple[str, ...]
    tool: Mapping[str, Any]

    @property
    def distribution(self) -> str:
        """The name as it is in names of files."""
        return self.normalized.replace("-", "_")

    def groups(self) -> dict[str, Mapping[str, str]]:
        """Return all entry points by group."""
        return {
            **({"console_scripts": self.scripts} if self.scripts else {}),
            **({"gui_scripts": self.gui_scripts} if self.gui_scripts else {}),
            **self.entry_points,
        }


def read_project(tree: Tree) -> StaticProject:
    """Read a project's pyproject.toml.

    Raises:
        NotStatic: something in it is dynamic, or has a form that backends may not read alike.
    """
    try:
        document = parse_toml(tree.read("pyproject.toml", "its metadata"))
    except ValueError as error:
        raise NotStatic(f"its pyproject.toml is no TOML: {error}") from None
    system = table(document, "build-system", "build-system")
    only(system, {"requires", "build-backend"}, "build-system")
    if "project" not in document:
        raise NotStatic("it has no [project]")
    project = table(document, "project", "project")
    only(project, KNOWN, "project")
    if dynamic := _texts(project, "dynamic"):
        raise NotStatic(f"its {' and its '.join(dynamic)} {'is' if len(dynamic) == 1 else 'are'} dynamic")
    name = _matching(_text(project, "name"), _NAME, "name")
    text, expression = _license(project)
    extras = table(project, "optional-dependencies", "project.optional-dependencies")
    return StaticProject(
        name=name,
        normalized=normalize(name),
        version=_matching(_text(project, "version"), re.compile(VERSION), "version"),
        description=_line(_text(project, "description", ""), "description"),
        readme=_readme(tree, project),
        requires_python=_requires_python(project),
        requires_python_text=_text(project, "requires-python", ""),
        license=text,
        expression=expression,
        license_files=tuple(_matching(one, _PATTERN, "license-files") for one in _texts(project, "license-files"))
        if "license-files" in project
        else None,
        authors=_people(project, "authors"),
        maintainers=_people(project, "maintainers"),
        keywords=tuple(_matching(one, _KEYWORD, "keywords") for one in _texts(project, "keywords")),
        classifiers=_classifiers(project),
        urls=_pairs(project, "urls", _LABEL, _URL),
        scripts=_pairs(project, "scripts", _ENTRY, _REFERENCE),
        gui_scripts=_pairs(project, "gui-scripts", _ENTRY, _REFERENCE),
        entry_points=_entry_points(project),
        dependencies=_requirements(_texts(project, "dependencies"), "dependencies"),
        extras=_extras(extras),
        plain_extras=all(extra == normalize(extra) for extra in extras),
        backend=_text(system, "build-backend", ""),
        requires=tuple(_texts(system, "requires")),
        tool=table(document, "tool", "tool"),
    )


def table(parent: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """Return the table at a key, an empty one where there is none."""
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise NotStatic(f"[{where}] is no table")
    return found


def only(given: Mapping[str, Any], known: set[str] | frozenset[str], where: str) -> None:
    """Refuse keys that nothing is known of."""
    for key in given:
        if key not in known:
            raise NotStatic(f"it has `{where}.{key}`")


def _text(project: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = project.get(key, default)
    if not isinstance(value, str) or (key in project and not value):
        raise NotStatic(f"its `{key}` is {'missing' if value is None else 'no text'}")
    return value


def _texts(project: Mapping[str, Any], key: str) -> list[str]:
    value = project.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise NotStatic(f"its `{key}` is no list of texts")
    if len(set(value)) != len(value):
        raise NotStatic(f"its `{key}` has a text twice")
    return value


def _matching(text: str, pattern: re.Pattern[str], key: str) -> str:
    if not pattern.fullmatch(text) or not text.isprintable():
        raise NotStatic(f"its `{key}` has {text!r}, which backends may not write alike")
    return text


def _line(text: str, key: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise NotStatic(f"its `{key}` is no plain line of text")
    return text


def _readme(tree: Tree, project: Mapping[str, Any]) -> Readme | None:
    given = project.get("readme")
    if given is None:
        return None
    if isinstance(given, str):
        content_type = next((kind for ending, kind in CONTENT_TYPES.items() if given.endswith(ending)), "")
        file: str | None = given
    else:
        readme = table(project, "readme", "project.readme")
        only(readme, {"file", "text", "content-type"}, "project.readme")
        if ("file" in readme) == ("text" in readme):
            raise NotStatic("its `readme` has not one of `file` and `text`")
        content_type, file = _text(readme, "content-type", ""), readme.get("file")
        if file is None:
            return Readme(_prose(_text(readme, "text"), "readme"), _content_type(content_type), inline=True)
    if not isinstance(file, str):
        raise NotStatic("its `readme` names no file")
    try:
        text = tree.read(file, "its readme").decode()
    except UnicodeDecodeError:
        raise NotStatic(f"{file} is not UTF-8") from None
    return Readme(_prose(text, file), _content_type(content_type), inline=False)


def _content_type(text: str) -> str:
    if text not in CONTENT_TYPES.values():
        raise NotStatic("its readme is neither Markdown (.md), nor reStructuredText (.rst), nor plain text (.txt)")
    return text


def _prose(text: str, what: str) -> str:
    if not text.strip() or (odd := _ODD.search(text)):
        raise NotStatic(f"{what} {'is empty' if not text.strip() else f'has a {odd[0]!r}' if odd else ''}")
    return text


def _requires_python(project: Mapping[str, Any]) -> tuple[str, ...]:
    text = _text(project, "requires-python", "")
    return parse_specifiers(text, "requires-python") if text else ()


def _license(project: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text and the expression, one of them or both ""."""
    given = project.get("license", "")
    if not isinstance(given, str):
        license_table = table(project, "license", "project.license")
        only(license_table, {"text"}, "project.license")
        return _line(_text(license_table, "text"), "license"), ""
    words = given.split(" ") if given else []
    operators = set(words[1::2])
    if (
        not set(words[::2]) <= LICENSES
        or not operators <= {"OR", "AND"}
        or len(operators) > 1
        or len(words) % 2 != bool(words)
    ):
        raise NotStatic(f"its `license` is {given!r}, which backends may not write alike")
    return "", given


def _people(project: Mapping[str, Any], key: str) -> tuple[Person, ...]:
    given = project.get(key, [])
    if not isinstance(given, list) or not all(isinstance(one, dict) and one for one in given):
        raise NotStatic(f"its `{key}` is no list of tables")
    people = []
    for one in given:
        only(one, {"name", "email"}, f"project.{key}")
        name, email = _text(one, "name", ""), _text(one, "email", "")
        people.append(
            Person(_matching(name, _PERSON, key) if name else "", _matching(email, _EMAIL, key) if email else "")
        )
    return tuple(people)


def _classifiers(project: Mapping[str, Any]) -> tuple[str, ...]:
    found = tuple(_matching(one, _CLASSIFIER, "classifiers") for one in _texts(project, "classifiers"))
    if isinstance(project.get("license"), str) and any(one.startswith("License ::") for one in found):
        raise NotStatic("it has a license expression and a license classifier")
    return found


def _pairs(
    project: Mapping[str, Any], key: str, name: re.Pattern[str], value: re.Pattern[str], where: str = ""
) -> dict[str, str]:
    found = table(project, key, f"project.{where or key}")
    if key in project and not found:
        raise NotStatic(f"its `{key}` is empty")
    for one in found:
        _matching(one, name, where or key)
        _matching(_text(found, one), value, where or key)
        if len(one) > 32 and value is _URL:
            raise NotStatic(f"its `urls` has {one!r}, which is longer than 32 characters")
    return dict(found)


def _entry_points(project: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    groups = table(project, "entry-points", "project.entry-points")
    if "entry-points" in project and not groups:
        raise NotStatic("its `entry-points` is empty")
    for group in groups:
        _matching(group, _GROUP, "entry-points")
        if group in {"console_scripts", "gui_scripts"}:
            raise NotStatic(f"it has `project.entry-points.{group}`")
    return {group: _pairs(groups, group, _ENTRY, _MODULE, f"entry-points.{group}") for group in groups}


def _extras(given: dict[str, Any]) -> dict[str, tuple[Requirement, ...]]:
    found = {
        normalize(_matching(extra, _EXTRA, "optional-dependencies")): _requirements(
            _texts(given, extra), f"optional-dependencies.{extra}"
        )
        for extra in given
    }
    if len(found) != len(given):
        raise NotStatic("its `optional-dependencies` has an extra in two spellings")
    return found


def _requirements(texts: list[str], where: str) -> tuple[Requirement, ...]:
    return tuple(parse_requirement(text, where) for text in texts)
