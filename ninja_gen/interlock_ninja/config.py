"""The configuration of a workspace: interlock.toml, or [tool.interlock] of a pyproject.toml, with the same keys."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from interlock.distribution import normalize
from interlock.documents import parse_toml
from interlock.errors import ConfigurationError
from interlock_ninja.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Configuration", "EnvironmentConfig", "load_configuration"]

CONFIGURATION_FILE = "interlock.toml"
KEYS = ("members", "exclude", "out", "durability", "engine", "internal-specifiers", "editable", "environments")
ENVIRONMENT_KEYS = (
    *("path", "python", "projects", "extras", "groups", "requirements", "constraints"),
    *("build-constraints", "config-settings", "links", "editable"),
)
EDITABLE = ("backend", "static", "proof")
# Environment names are parts of ninja targets and of paths below the out directory.
# They share <out>/interlock with these.
_RESERVED = frozenset({"build-env", "inputs.json", "metadata", "workspace-names.txt"})
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MENTIONS_US = re.compile(r"""^\s*\[\s*tool\s*\.\s*["']?interlock\b""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """One environment, as configured.

    Paths are relative to the workspace's root, or absolute. `projects` None means all members. The keys of `extras` and
    `groups` are normalized project names, or "*" for every project that declares the extra or group; those of
    `config_settings` are normalized project names, or "*" for all. With `links`, symbolic links take the place of .pth files
    where they can. `editable` says by the same keys how editable installs are made (docs/explanation/static.md).
    """

    name: str
    path: str
    python: str | None
    projects: tuple[str, ...] | None
    extras: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    build_constraints: tuple[str, ...]
    config_settings: Mapping[str, Mapping[str, str | tuple[str, ...]]]
    links: bool = False
    editable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A workspace's configuration with every default filled in.

    `root` is absolute; `file` is the absolute path of the file that configures, None where there is none. `members` None
    means that projects are found by walking, or from [tool.uv.workspace]. `out` is relative to the root, or absolute.
    """

    root: str
    file: str | None
    members: tuple[str, ...] | None
    exclude: tuple[str, ...]
    out: str
    durability: Literal["full", "fast"]
    engine: Literal["auto", "uv", "pip"]
    internal_specifiers: Literal["error", "warn"]
    environments: tuple[EnvironmentConfig, ...]


def load_configuration(root: str | None = None, *, start: str = "") -> Configuration:
    """Read the configuration of the workspace at `root`, or of the one found by walking up from `start`.

    A `root` without any configuration is a workspace on defaults; found by walking up, a workspace has one.

    Raises:
        ConfigurationError: none found, not TOML, an unknown key, a wrong type, or a file that is not there.
    """
    if root is not None:
        directory = os.path.abspath(os.path.join(start, root))
        if not os.path.isdir(directory):
            raise ConfigurationError(
                f"there is no directory {directory}", advice="--root names the directory of the workspace."
            )
        return _configuration(directory, _find_in(directory))
    directory = begin = os.path.abspath(start or os.getcwd())
    while True:
        if (found := _find_in(directory)) is not None:
            return _configuration(directory, found)
        parent = os.path.dirname(directory)
        if parent == directory:
            raise ConfigurationError(
                f"no workspace here: neither {begin} nor a directory above it has an interlock.toml, or a pyproject.toml "
                f"with [tool.interlock]",
                advice="Create an empty interlock.toml at the root of the workspace, or pass --root DIR.",
            )
        directory = parent


def _find_in(directory: str) -> Table | None:
    """Return the table that configures a workspace in this very directory, None where there is none."""
    own = os.path.join(directory, CONFIGURATION_FILE)
    shared = os.path.join(directory, "pyproject.toml")
    here = _parse(own)
    there = _parse(shared, only_if=_MENTIONS_US)
    tool = (there or {}).get("tool", {})
    table = tool.get("interlock") if isinstance(tool, dict) else None
    if here is not None and table is not None:
        raise ConfigurationError(
            f"{directory} has two configurations: interlock.toml, and [tool.interlock] in pyproject.toml",
            advice="Keep one of them.",
        )
    if here is not None:
        return Table(own, "", here)
    if table is None:
        return None
    return Table(shared, "tool.", tool).table("interlock")


def _parse(path: str, *, only_if: re.Pattern[str] | None = None) -> dict[str, Any] | None:
    """Parse a TOML file, None where there is none.

    With `only_if`, a file without a match that is not TOML counts as none: the pyproject.toml of another tool's template,
    met on the way up, must not be an error of ours.
    """
    try:
        with open(path, "rb") as reader:
            data = reader.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    try:
        return parse_toml(data)
    except ValueError as error:  # TOMLDecodeError, which says the line, and UnicodeDecodeError
        if only_if is not None and not only_if.search(data.decode("utf-8", errors="replace")):
            return None
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None


def _configuration(root: str, found: Table | None) -> Configuration:
    table = found or Table(os.path.join(root, CONFIGURATION_FILE), "", {})
    table.only(KEYS)
    out = _directory(table, "out", root, table.text("out", "out") or "out")
    editable = _editable(table)
    environments = tuple(
        replace(environment, editable={**editable, **environment.editable})
        for environment in _environments(table, root, out)
    )
    return Configuration(
        root=root,
        file=found.file if found else None,
        members=_globs(table, "members") if "members" in table else None,
        exclude=_globs(table, "exclude"),
        out=out,
        durability=cast("Literal['full', 'fast']", table.choice("durability", ("full", "fast"))),
        engine=cast("Literal['auto', 'uv', 'pip']", table.choice("engine", ("auto", "uv", "pip"))),
        internal_specifiers=cast("Literal['error', 'warn']", table.choice("internal-specifiers", ("error", "warn"))),
        environments=environments,
    )


def _environments(table: Table, root: str, out: str) -> tuple[EnvironmentConfig, ...]:
    tables = table.table("environments")
    if not list(tables):
        return (_environment("venv", Table(table.file, "environments.venv.", {}), root),)
    environments = []
    paths: dict[str, str] = {}
    names: dict[str, str] = {}
    for name in tables:
        if not _ENVIRONMENT_NAME.fullmatch(name) or name.lower() in _RESERVED:
            tables.fail(name, "is no name for an environment", advice="Letters, digits, `_`, `-` and `.` make one.")
        if (other := names.setdefault(name.lower(), name)) != name:
            tables.fail(name, f"differs from {other!r} in case alone, which not every file system can tell apart")
        environment = _environment(name, tables.table(name), root)
        identity = os.path.realpath(os.path.join(root, environment.path))
        if identity in paths:
            tables.fail(name, f"has the path of environment {paths[identity]!r}: {environment.path}")
        if os.path.join(os.path.realpath(os.path.join(root, out)), "").startswith(os.path.join(identity, "")):
            tables.table(name).fail("path", f"is {environment.path!r}, which holds the out directory {out!r}")
        paths[identity] = name
        environments.append(environment)
    return tuple(environments)


def _environment(name: str, table: Table, root: str) -> EnvironmentConfig:
    table.only(ENVIRONMENT_KEYS)
    path = table.text("path") or (".venv" if name == "venv" else f".venv-{name}")
    return EnvironmentConfig(
        name=name,
        path=_directory(table, "path", root, path),
        python=table.text("python"),
        projects=table.texts("projects") if "projects" in table else None,
        extras=_by_project(table, "extras"),
        groups=_by_project(table, "groups"),
        requirements=_files(table, "requirements", root),
        constraints=_files(table, "constraints", root),
        build_constraints=_files(table, "build-constraints", root),
        config_settings=_config_settings(table),
        links=table.flag("links"),
        editable=_editable(table),
    )


def _by_project(table: Table, key: str) -> dict[str, tuple[str, ...]]:
    """Read `extras` or `groups`: a list is for every project that declares them, a table has a list for each project."""
    if not table.is_table(key):
        names = table.texts(key)
        return {"*": tuple(dict.fromkeys(map(normalize, names)))} if names else {}
    inner = table.table(key)
    merged: dict[str, tuple[str, ...]] = {}
    for project in inner:
        name = _scope(project)
        merged[name] = tuple(dict.fromkeys((*merged.get(name, ()), *map(normalize, inner.texts(project)))))
    return merged


def _config_settings(table: Table) -> dict[str, dict[str, str | tuple[str, ...]]]:
    """Read `config-settings`: a string or a list is a setting for all projects, a table has those of one project."""
    settings = table.table("config-settings")
    merged: dict[str, dict[str, str | tuple[str, ...]]] = {}
    for key in settings:
        if settings.is_table(key):
            inner = settings.table(key)
            merged.setdefault(_scope(key), {}).update({name: inner.text_or_texts(name) for name in inner})
        else:
            merged.setdefault("*", {})[key] = settings.text_or_texts(key)
    return merged


def _editable(table: Table) -> dict[str, str]:
    """Read `editable`: a string is for all projects, a table has one for each project."""
    if "editable" not in table:
        return {}
    if not table.is_table("editable"):
        return {"*": table.choice("editable", EDITABLE)}
    inner = table.table("editable")
    return {_scope(project): inner.choice(project, EDITABLE) for project in inner}


def _scope(project: str) -> str:
    return project if project == "*" else normalize(project)


def _globs(table: Table, key: str) -> tuple[str, ...]:
    patterns = table.texts(key)
    for pattern in patterns:
        if os.path.isabs(pattern) or ".." in pattern.replace("\\", "/").split("/"):
            table.fail(key, f"must stay below the root of the workspace: {pattern!r} does not")
    return patterns


def _directory(table: Table, key: str, root: str, path: str) -> str:
    """Return a directory that interlock will fill, relative to the root; it cannot be the root or hold it."""
    absolute = os.path.normpath(os.path.join(root, path))
    if os.path.join(root, "").startswith(os.path.join(absolute, "")):
        table.fail(key, f"is {path!r}, which holds the workspace itself", advice="Name a directory of its own for it.")
    return os.path.normpath(path).replace(os.sep, "/")


def _files(table: Table, key: str, root: str) -> tuple[str, ...]:
    paths = table.texts(key)
    for path in paths:
        if not os.path.isfile(os.path.join(root, path)):
            table.fail(
                key,
                f"names {path!r}, and there is no such file",
                advice=f"Paths are relative to {root}.",
            )
    return tuple(dict.fromkeys(os.path.normpath(path).replace(os.sep, "/") for path in paths))
