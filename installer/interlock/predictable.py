"""Projects whose editable wheel depends on their own files alone: `interlock.kept` keeps what these build.

Code that a build runs may read anything: a version control system, the clock, an index. So a project is predictable only if
its backend is known to run none for it: no setup.py, no hooks, no plugins, and in pyproject.toml only tables that are known
to be data. A key that is not known makes a project an ordinary one, which its backend builds each time.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.inputs import module_files, package_directories, read_pyproject
from interlock.static.backends import BACKENDS, INERT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["CODE", "EGG_INFO", "NOT_SOURCE", "is_predictable", "outer_files", "variables"]


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is data for a backend.

    `tool` leads to its table, `keys` are those of it that are data; `check` looks at what is in them.
    """

    tool: tuple[str, ...]
    keys: frozenset[str]
    check: Callable[[str, dict[str, Any], dict[str, Any]], bool]


CODE = ("setup.py", "hatch_build.py", "hatch.toml", "pdm_build.py")
"""Files that make what a backend says, or builds, that of a program, or may name one."""

# What is none of a project's source, at its top: what all backends pass over when they look for packages. A project that
# names one of these is not predictable, nor is one that takes all of its own directory for data.
NOT_SOURCE = frozenset(
    {".git", ".hg", ".mypy_cache", ".nox", ".pdm-build", ".pytest_cache", ".ruff_cache", ".tox", ".venv"}
)
EGG_INFO = ".egg-info"
"""What setuptools leaves in a project, and does not read there; nor is it data, as there are no `data-files`."""

EXCLUDED = frozenset({"exclude", "excludes", "source-exclude", "source-excludes", "wheel-exclude"})
# Variables that name a file, or keep what an earlier build left.
FOREIGN = frozenset({"DIST_EXTRA_CONFIG", "PDM_BUILD_NO_CLEAN"})
# The beginnings of the names of variables that change what a backend writes.
VARIABLES = (
    *("DISTUTILS_", "FLIT_", "HATCH_", "LANG", "LC_", "PDM_", "POETRY_", "PYTHON", "SETUPTOOLS_"),
    *("SOURCE_DATE_EPOCH", "UV_"),
)
SECTIONS = re.compile(
    r"metadata|options(\.(?!data_files).*)?|bdist_wheel|tool:.*|(flake8|isort|mypy|pycodestyle|pydocstyle|coverage|pylint)(\W.*)?"
)
HATCH_VERSION = frozenset({"path", "pattern", "source"})
HATCH_METADATA = frozenset({"allow-ambiguous-features", "allow-direct-references"})
HATCH_CODE = frozenset({"builder", "hooks", "plugin"})
PDM_BUILD = frozenset(
    {"editable-backend", "excludes", "includes", "is-purelib", "package-dir", "source-excludes", "source-includes"}
)


def is_predictable(directory: str, installed: Mapping[str, str], settings: Mapping[str, str | Sequence[str]]) -> bool:
    """Tell whether the editable wheel of a project is known to depend on its own files, its path and the backend alone.

    `installed` are the distributions of its build environment by normalised name, `settings` the config settings.
    """
    pyproject = read_pyproject(directory)
    system, project = _table(pyproject, "build-system"), _table(pyproject, "project")
    name = system.get("build-backend")
    if not isinstance(name, str) or name not in RULES or "backend-path" in system:
        return False
    if any(os.path.lexists(os.path.join(directory, code)) for code in CODE):
        return False
    # One version of what has a URL can be many.
    if any("@" in text for text in _texts(system)) or any(variable.upper() in FOREIGN for variable in os.environ):
        return False
    backend = BACKENDS[name]
    if not set(installed) <= {backend.distribution, *backend.companions, *INERT}:
        return False
    if any(key not in SETTINGS or value not in SETTINGS[key] for key, value in settings.items()):
        return False
    rules = RULES[name]
    own = {key: value for key, value in _table(pyproject, "tool", *rules.tool).items() if key not in NOT_READ}
    if not own.keys() <= rules.keys or any(map(_leads_out, _texts([project, _taken_in(own)]))):
        return False
    # Some backends find licenses in hidden directories too, which are not read here.
    licenses = [project.get("license-files"), own.get("license-files")]
    if any(re.search(r"[*?\[].*[/\\]", text) for text in _texts(licenses)):
        return False
    return rules.check(directory, project, own)


def variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables that change what a backend writes for a predictable project, sorted."""
    return sorted(pair for pair in environ.items() if pair[0].upper().startswith(VARIABLES))


def outer_files(directory: str) -> list[str]:
    """Return the files above a project that a backend reads: what hatchling is to ignore, up to a repository's root.

    It looks for each kind of file by itself: in a git repository for a .hgignore up to the top of the disk.
    """
    found = []
    for file, boundary in ((".gitignore", ".git"), (".hgignore", ".hg")):
        above = os.path.realpath(directory)
        while above != os.path.dirname(above) and not os.path.exists(os.path.join(above, boundary)):
            above = os.path.dirname(above)
            path = os.path.join(above, file)
            found += [path] if os.path.isfile(path) else []
    return found


def _setuptools(directory: str, project: dict[str, Any], own: dict[str, Any]) -> bool:
    if any(EGG_INFO in text for text in _texts([project, own])):
        return False
    if any(os.path.exists(os.path.expanduser(f"~/{name}")) for name in (".pydistutils.cfg", "pydistutils.cfg")):
        return False
    # A date in the version, commands of somebody's own.
    if "distutils" in _table(read_pyproject(directory), "tool"):
        return False
    packages = _table(own, "package-dir")
    found = _table(own, "packages", "find").get("where")
    named = [root for root in (found if isinstance(found, list) else []) if isinstance(root, str)]
    # What is not there is refused when it is asked what it requires, and at no other time.
    if not all(os.path.isdir(os.path.join(directory, str(root))) for root in (*packages.values(), *named)):
        return False
    roots = [*package_directories(packages), *named]
    for rule in _table(own, "dynamic").values():
        attribute = rule.get("attr") if isinstance(rule, dict) else None
        if attribute is not None and (set(packages) - {""} or not _is_written(directory, str(attribute), roots)):
            return False
    path = os.path.join(directory, "setup.cfg")
    return not os.path.lexists(path) or _is_plain_setup_cfg(directory, path)


def _is_plain_setup_cfg(directory: str, path: str) -> bool:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return False
    items = [item for section in parser.sections() for item in parser.items(section)]
    return all(SECTIONS.fullmatch(section) for section in parser.sections()) and not any(
        name.replace("-", "_") in {"cmdclass", "setup_requires"}
        or "attr:" in value
        or "%" in value  # which stands for another value
        or (name.replace("-", "_") in {"package_dir", "where"} and not _are_directories(directory, value))
        or EGG_INFO in value
        or (name.startswith("license") and re.search(r"[*?\[]\S*[/\\]", value))
        or any(map(_leads_out, re.split(r"(?:\bfile:|[\s,=])+", value)))
        for name, value in items
    )


def _are_directories(directory: str, value: str) -> bool:
    """Tell whether all are there that `where` or `package_dir` names, as `lib`, or `package = lib`."""
    paths = [text.rpartition("=")[2].strip() for text in re.split(r"[\n,]", value)]
    return all(os.path.isdir(os.path.join(directory, path)) for path in paths)


def _hatchling(_directory: str, project: dict[str, Any], own: dict[str, Any]) -> bool:
    version = _table(own, "version")
    if not version.keys() <= HATCH_VERSION or version.get("source", "regex") != "regex":
        return False
    if not _table(own, "metadata").keys() <= HATCH_METADATA or HATCH_CODE & set(_keys(_table(own, "build"))):
        return False
    listed = {key: value for key, value in _table(own, "build").items() if key != "dev-mode-dirs"}
    if any(text and not _parts(text) for text in _texts(listed)):
        return False
    # {root:uri}, {env:NAME}: fields that are filled in.
    return not any("{" in text for text in _texts([project, own]))


def _flit(directory: str, project: dict[str, Any], own: dict[str, Any]) -> bool:
    dynamic, data = project.get("dynamic"), _table(own, "external-data").get("directory")
    if data is not None and not _parts(str(data)):
        return False
    if not dynamic or not isinstance(dynamic, list):
        return bool(project) and not dynamic
    name = str(project.get("name", ""))
    if name.endswith("-stubs"):  # one part of the name stays as it is, in some versions
        return False
    module = str(_table(own, "module").get("name") or name.replace("-", "_"))
    if "description" in dynamic and not _has_docstring(directory, module):
        return False
    return _is_written(directory, f"{module}.__version__", ["", "src"])


def _pdm(_directory: str, project: dict[str, Any], own: dict[str, Any]) -> bool:
    version = _table(own, "version")
    # ${NAME}: a variable of the environment.
    return not any("$" in text for text in _texts(project)) and (
        _table(own, "build").keys() <= PDM_BUILD
        and version.keys() <= {"source", "path"}
        and version.get("source", "file") == "file"
    )


def _uv(_directory: str, _project: dict[str, Any], own: dict[str, Any]) -> bool:
    return all(_parts(text) for text in _texts(own.get("data", {})))


def _plain(_directory: str, _project: dict[str, Any], _own: dict[str, Any]) -> bool:
    return True


# Tables of other programs that share a backend's name: for an environment manager, for a resolver.
NOT_READ = frozenset({"dev-dependencies", "envs", "publish", "resolution", "source"})
RULES = {
    "flit_core.buildapi": _Rules(("flit",), frozenset({"external-data", "module", "sdist"}), _flit),
    "hatchling.build": _Rules(("hatch",), frozenset({"build", "metadata", "version"}), _hatchling),
    "pdm.backend": _Rules(("pdm",), frozenset({"build", "distribution", "version"}), _pdm),
    "poetry.core.masonry.api": _Rules(
        ("poetry",),
        frozenset(
            {
                *(
                    "authors",
                    "classifiers",
                    "dependencies",
                    "description",
                    "documentation",
                    "exclude",
                    "extras",
                    "group",
                ),
                *("homepage", "include", "keywords", "license", "maintainers", "name", "package-mode", "packages"),
                *("plugins", "readme", "repository", "requires-poetry", "scripts", "urls", "version"),
            }
        ),
        _plain,
    ),
    "setuptools.build_meta": _Rules(
        ("setuptools",),
        frozenset(
            {
                *("dynamic", "exclude-package-data", "include-package-data", "license-files"),
                *(
                    "namespace-packages",
                    "package-data",
                    "package-dir",
                    "packages",
                    "platforms",
                    "py-modules",
                    "zip-safe",
                ),
            }
        ),
        _setuptools,
    ),
    "uv_build": _Rules(
        ("uv", "build-backend"),
        frozenset(
            {
                *(
                    "data",
                    "default-excludes",
                    "module-name",
                    "module-root",
                    "namespace",
                    "source-exclude",
                    "source-include",
                ),
                "wheel-exclude",
            }
        ),
        _uv,
    ),
}


def _is_written(directory: str, attribute: str, roots: list[str]) -> bool:
    """Tell whether an attribute of a module is a text that is written there, once: then nobody imports the module."""
    module, _, name = attribute.rpartition(".")
    paths = [os.path.join(directory, path) for path in module_files(module, roots)]
    found = [path for path in paths if os.path.isfile(path)]
    return bool(found) and all(_assigns_text(path, name) for path in found)


def _has_docstring(directory: str, module: str) -> bool:
    paths = [os.path.join(directory, path) for path in module_files(module, ["", "src"])]
    try:
        return all(ast.get_docstring(_parsed(path)) for path in paths if os.path.isfile(path))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False


def _parsed(path: str) -> ast.Module:
    with open(path, "rb") as reader:
        return ast.parse(reader.read())


def _assigns_text(path: str, name: str) -> bool:
    try:
        tree = _parsed(path)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    stored = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    stored = [node for node in stored if isinstance(node.ctx, ast.Store)]
    plain = [
        statement
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and [getattr(target, "id", "") for target in statement.targets] == [name]
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
        and statement.value.value  # for flit an empty one is none
    ]
    return len(stored) == len(plain) == 1


def _leads_out(text: str) -> bool:
    """Tell whether a text could be a path out of the project, or to what is not read of it."""
    parts = _parts(text)
    # Hatchling makes a home directory of "./~/x" too; "~=1.0" is a version.
    if re.match(r"[/\\]|[A-Za-z]:[/\\]", text) or (parts and re.match(r"~(?!=)", parts[0])):
        return True
    return any(part == ".." or part.lower() in NOT_SOURCE for part in parts)


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", text) if part not in ("", ".")]


def _texts(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts([key, value])
    elif isinstance(data, list):
        for one in data:
            yield from _texts(one)


def _taken_in(data: Any) -> Any:
    """Return a backend's table without its lists of what it leaves out."""
    if isinstance(data, list):
        return [_taken_in(one) for one in data]
    if not isinstance(data, dict):
        return data
    return {key: _taken_in(value) for key, value in data.items() if key not in EXCLUDED or list(_texts(value)) != value}


def _keys(data: object) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from _keys(value)


def _table(data: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}
