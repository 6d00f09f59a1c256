"""Working trees with the shape of seven real monorepos.

tests/data/monorepos/*.json hold facts only (paths, names, versions, backends, dependencies), read from public
repositories at the commit that each file names. A tree has the same projects at the same paths; each ships one package,
whose `main()` imports the packages of its internal dependencies and prints the project's name and version.

Left out of the data: a second project of one name, projects at the repository's root, and the specifiers of internal
requirements that the repository's own versions do not satisfy.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["SHAPES", "ProjectFacts", "materialise"]

DATA = Path(__file__).parent / "data" / "monorepos"
SHAPES = tuple(sorted(file.stem for file in DATA.glob("*.json")))

BUILD_SYSTEMS = {
    "flit_core": ("flit_core.buildapi", "flit_core>=3.11"),
    "hatchling": ("hatchling.build", "hatchling"),
    "poetry-core": ("poetry.core.masonry.api", "poetry-core>=2"),
    "setuptools": ("setuptools.build_meta", "setuptools>=77"),
    "uv_build": ("uv_build", "uv_build>=0.8"),
}


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What a test may expect of one project of a tree."""

    path: str  # relative to the tree, "/" separated
    name: str  # as written
    version: str
    backend: str  # a key of BUILD_SYSTEMS, or "setup.py" for a project without pyproject.toml
    package: str  # its import package as a directory, relative to `path`: "src/opentelemetry/sdk"
    requires_python: str
    dynamic_version: bool
    dependencies: tuple[str, ...]  # PEP 508, as written in the tree
    extras: dict[str, tuple[str, ...]]
    imports: tuple[str, ...]  # modules of internal dependencies that `main()` imports

    @property
    def source_root(self) -> str:
        return "src" if self.package.startswith("src/") else ""

    @property
    def module(self) -> str:
        return dotted(self.package)

    @property
    def script(self) -> str:
        return re.sub(r"[^A-Za-z0-9_.-]", "-", self.name).lower()


def materialise(
    shape: str, directory: Path, *, third_party: bool = False, limit: int | None = None
) -> list[ProjectFacts]:
    """Write the tree of `shape` into `directory` and return its projects in the order of the data.

    Dependencies on other people's packages are written with `third_party` only. `limit` takes the first so many
    projects; requirements on projects beyond them are left out.
    """
    entries = json.loads((DATA / f"{shape}.json").read_text(encoding="utf-8"))["projects"]
    everyone = {canonicalize_name(entry["name"]) for entry in entries}
    packages = import_packages(entries)
    chosen = {canonicalize_name(entry["name"]): dotted(packages[entry["name"]]) for entry in entries[:limit]}

    def kept(requirement: str) -> bool:
        name = canonicalize_name(Requirement(requirement).name)
        return name in chosen or (third_party and name not in everyone)

    projects = []
    for entry in entries[:limit]:
        dependencies = tuple(filter(kept, entry.get("dependencies", ())))
        parsed = [Requirement(dependency) for dependency in dependencies]
        unconditional = [canonicalize_name(each.name) for each in parsed if each.marker is None]
        project = ProjectFacts(
            path=entry["path"],
            name=entry["name"],
            version=entry["version"],
            backend=entry["backend"],
            package=packages[entry["name"]],
            requires_python=entry.get("requires-python", ""),
            dynamic_version=entry.get("dynamic", False),
            dependencies=dependencies,
            extras={extra: tuple(filter(kept, lines)) for extra, lines in entry.get("extras", {}).items()},
            imports=tuple(chosen[name] for name in unconditional if name in chosen),
        )
        write_project(directory / project.path, project)
        projects.append(project)
    return projects


def import_packages(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return the directory of each project's package.

    The data has the first directory with code. Where projects share that, or one has it inside another's, it is a namespace
    in the real repository (`airflow`, `charmlibs`), and each gets a package of its own in it.
    """
    modules = [dotted(entry["package"]) for entry in entries]
    packages = {}
    for entry, module in zip(entries, modules, strict=True):
        shared = modules.count(module) > 1 or any(other.startswith(f"{module}.") for other in modules)
        own = re.sub(r"\W", "_", entry["name"]).lower()
        packages[entry["name"]] = f"{entry['package']}/{own}" if shared else entry["package"]
    return packages


def dotted(package: str) -> str:
    return package.removeprefix("src/").replace("/", ".")


def write_project(directory: Path, project: ProjectFacts) -> None:
    package = directory / project.package
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(module_text(project), encoding="utf-8")
    if project.backend == "setup.py":
        (directory / "setup.py").write_text(setup_text(project), encoding="utf-8")
    else:
        (directory / "pyproject.toml").write_text(pyproject_text(project), encoding="utf-8")


def module_text(project: ProjectFacts) -> str:
    body = [f"import {module}" for module in project.imports] + [f'print("{project.name} {project.version}")']
    head = f'"""{project.name}"""\n__version__ = "{project.version}"\n\n\ndef main():\n'
    return head + "".join(f"    {line}\n" for line in body)


def setup_text(project: ProjectFacts) -> str:
    keywords: dict[str, Any] = {
        "name": project.name,
        "version": project.version,
        "packages": [project.module],
        "package_dir": {"": project.source_root or "."},
        "install_requires": list(project.dependencies),
        "extras_require": {extra: list(lines) for extra, lines in project.extras.items()},
        "entry_points": {"console_scripts": [f"{project.script}={project.module}:main"]},
    }
    return f"from setuptools import setup\n\nsetup(**{keywords!r})\n"


def pyproject_text(project: ProjectFacts) -> str:
    backend, requirement = BUILD_SYSTEMS[project.backend]
    tables: dict[str, dict[str, Any]] = {
        "build-system": {"requires": [requirement], "build-backend": backend},
        "project": {
            "name": project.name,
            **({"dynamic": ["version"]} if project.dynamic_version else {"version": project.version}),
            "description": "made from the shape of a real project",
            **({"requires-python": project.requires_python} if project.requires_python else {}),
            "dependencies": project.dependencies,
        },
        "project.optional-dependencies": project.extras,
        "project.scripts": {project.script: f"{project.module}:main"},
        **backend_tables(project),
    }
    return "\n".join(
        f"[{header}]\n" + "".join(f"{toml(key)} = {toml(value)}\n" for key, value in table.items())
        for header, table in tables.items()
        if table
    )


def backend_tables(project: ProjectFacts) -> dict[str, dict[str, Any]]:
    """Tell the backend where the package is, and where its version is when that is dynamic."""
    root, module, top = project.source_root, project.module, project.module.partition(".")[0]
    tables: dict[str, dict[str, Any]]
    version: dict[str, dict[str, Any]]
    match project.backend:
        case "hatchling":
            tables = {"tool.hatch.build.targets.wheel": {"packages": [f"{root}/{top}" if root else top]}}
            version = {"tool.hatch.version": {"path": f"{project.package}/__init__.py"}}
        case "setuptools":
            tables = {"tool.setuptools": {"packages": [module], "package-dir": {"": root or "."}}}
            version = {"tool.setuptools.dynamic": {"version": {"attr": f"{module}.__version__"}}}
        case "flit_core":
            return {"tool.flit.module": {"name": module}}
        case "poetry-core":
            return {"tool.poetry": {"packages": [{"include": top} | ({"from": root} if root else {})]}}
        case _:
            return {"tool.uv.build-backend": {"module-name": module, "module-root": root}}
    return tables | version if project.dynamic_version else tables


def toml(value: object) -> str:
    """Write a value, or a key, in TOML; JSON's strings are TOML's basic strings."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
