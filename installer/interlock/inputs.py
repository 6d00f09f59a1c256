"""The files of a project that an editable build reads, as far as its configuration says: the inputs of a prepare edge.

A file that does not exist is no input: Ninja would run the edge again and again. What a setup.py reads on its own, and
what a version control system knows (setuptools-scm), cannot be told from outside.
"""

from __future__ import annotations

import functools
import glob
import os
from typing import TYPE_CHECKING, Any

from interlock.documents import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["module_files", "package_directories", "project_inputs", "read_pyproject", "unchanged_since"]

ALWAYS = (
    *("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "meson.build", "CMakeLists.txt"),
    *("hatch.toml", "hatch_build.py"),
)


def project_inputs(directory: str) -> list[str]:
    """Return the absolute paths of existing files whose change can change what an editable build makes, sorted."""
    named = [*ALWAYS, *_from_pyproject(read_pyproject(directory)), *_from_setup_cfg(directory)]
    found: set[str] = set()
    for name in named:
        found.update(os.path.normpath(os.path.join(directory, match)) for match in _matches(directory, name))
    return sorted(filter(os.path.isfile, found))


def unchanged_since(moment_ns: int, files: Iterable[str]) -> bool:
    """Tell whether no file has changed since a moment of the file system's clock."""
    try:
        return all(os.stat(file).st_mtime_ns < moment_ns for file in files)
    except FileNotFoundError:
        return False


def _matches(directory: str, name: str) -> list[str]:
    if os.path.isfile(os.path.join(directory, name)):
        return [name]
    # Patterns stay in the project (PEP 639): another one could walk through all of the disk.
    if not glob.has_magic(name) or os.path.isabs(name) or ".." in name.split("/"):
        return []
    try:
        return glob.glob(name, root_dir=directory, recursive=True)
    except RecursionError:  # thousands of parts
        return []


def read_pyproject(directory: str) -> dict[str, Any]:
    """Return a project's pyproject.toml, {} where there is none that can be read: its backend will say why."""
    try:
        with open(os.path.join(directory, "pyproject.toml"), "rb") as reader:
            return _parsed(reader.read())
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=4)
def _parsed(content: bytes) -> dict[str, Any]:
    """Parse what one edge reads several times; nobody changes what it returns."""
    return parse_toml(content)


def _from_pyproject(data: dict[str, Any]) -> Iterator[str]:
    project, tool = _table(data, "project"), _table(data, "tool")
    for value in (project.get("readme"), project.get("license")):
        yield from _strings(value.get("file") if isinstance(value, dict) else value)
    yield from _strings(project.get("license-files"))
    yield from _from_setuptools(_table(tool, "setuptools"))
    hatch = _table(tool, "hatch")
    yield from _strings(_table(hatch, "version").get("path"))
    for hooks in (_table(hatch, "build", "hooks"), _table(hatch, "metadata", "hooks")):
        yield from _strings(_table(hooks, "custom").get("path"))
    yield from _strings(_table(tool, "pdm", "version").get("path"))
    yield from _strings(_table(tool, "poetry").get("readme"))
    if "flit" in tool or "flit_core" in str(_table(data, "build-system").get("build-backend")):
        yield from _from_flit(project, _table(tool, "flit"))
    yield from _from_backend_path(_table(data, "build-system"))


def _from_setuptools(table: dict[str, Any]) -> Iterator[str]:
    for rule in _table(table, "dynamic").values():
        if isinstance(rule, dict):
            yield from _strings(rule.get("file"))
            for attribute in _strings(rule.get("attr")):
                yield from module_files(attribute.rpartition(".")[0], package_directories(table.get("package-dir")))
    if isinstance(found := _table(table, "packages").get("find"), dict):
        for where in _strings(found.get("where")):
            for rule in _table(table, "dynamic").values():
                for attribute in _strings(rule.get("attr") if isinstance(rule, dict) else None):
                    yield from module_files(attribute.rpartition(".")[0], [where])


def _from_flit(project: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    """Yield the files that flit_core looks into for a version and a description that pyproject.toml does not say."""
    old = _table(table, "metadata")
    yield from _strings(old.get("description-file"))
    if {"version", "description"} <= project.keys():
        return  # it looks for what is dynamic alone (flit_core.common.get_info_from_module)
    named = _table(table, "module").get("name") or old.get("module")
    module = str(named or str(project.get("name")).replace("-", "_"))
    for name in (module, *(f"{module}.{file}" for file in ("version", "_version", "__version__"))):
        yield from module_files(name, ["", "src"])


def _from_setup_cfg(directory: str) -> Iterator[str]:
    """Yield what `file:` and `attr:` in a setup.cfg name."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(os.path.join(directory, "setup.cfg"), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return
    roots = ["", "src"]
    for _, value in parser.items("metadata") if parser.has_section("metadata") else []:
        kind, _, rest = value.strip().partition(":")
        if kind == "file":
            yield from (name.strip() for name in rest.replace("\n", ",").split(",") if name.strip())
        elif kind == "attr":
            yield from module_files(rest.strip().rpartition(".")[0], roots)
    if parser.has_section("metadata"):
        for key in ("license_file", "license_files"):
            yield from (
                name.strip() for name in parser.get("metadata", key, fallback="").replace(",", "\n").split("\n") if name
            )


def _from_backend_path(build_system: dict[str, Any]) -> Iterator[str]:
    """Yield the files of a backend that is in the project itself."""
    module = str(build_system.get("build-backend", "")).partition(":")[0]
    for path in _strings(build_system.get("backend-path")):
        base = module.split(".")[0]
        if base:
            yield from (f"{path}/{base}.py", f"{path}/{base}/**/*.py")


def package_directories(value: object) -> list[str]:
    """Return the directories of packages, relative to the project, that setuptools' `package-dir` names or that are usual."""
    roots = [root for root in value.values() if isinstance(root, str)] if isinstance(value, dict) else []
    return list(dict.fromkeys([*roots, "", "src"]))


def module_files(module: str, roots: list[str]) -> Iterator[str]:
    """Yield the paths that a module can have below some directories."""
    relative = module.replace(".", "/")
    for root in roots:
        base = f"{root}/{relative}" if root else relative
        yield from (f"{base}.py", f"{base}/__init__.py")


def _table(data: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
