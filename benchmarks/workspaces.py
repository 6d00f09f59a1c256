"""Workspaces to build: the same generated projects for every side."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BACKENDS = {
    "setuptools": (
        '["setuptools>=77"]',
        "setuptools.build_meta",
        '[tool.setuptools]\npackages = ["{module}"]\npackage-dir = {{"" = "src"}}\n',
    ),
    "hatchling": (
        '["hatchling"]',
        "hatchling.build",
        '[tool.hatch.build.targets.wheel]\npackages = ["src/{module}"]\n',
    ),
    "flit_core": ('["flit_core>=3.11"]', "flit_core.buildapi", ""),
    "uv_build": ('["uv_build>=0.13,<0.14"]', "uv_build", ""),
}


@dataclass(frozen=True)
class Workspace:
    """A directory with projects; `graph` has each one's dependencies."""

    root: Path
    backend: str
    graph: dict[str, list[str]]

    @property
    def requires(self) -> list[str]:
        """Return what has to be there to build without isolation; hatchling asks for `editables` besides (PEP 660)."""
        wanted: list[str] = json.loads(BACKENDS[self.backend][0])
        return [*wanted, *(["editables"] if self.backend == "hatchling" else [])]

    @property
    def settings(self) -> list[str]:
        """Return the config settings that every side gives."""
        return ["editable_mode=compat"] if self.backend == "setuptools" else []

    def clear(self) -> None:
        """Take away environments, stamps and what backends left in the sources: a round is cold."""
        made = [path for path in self.root.iterdir() if path.name.startswith(("out", "env", ".venv", ".env"))]
        self.set_aside([*made, *self.root.glob("*/src/*.egg-info")])

    def set_aside(self, paths: Iterable[Path]) -> None:
        """Move what no side is to find to a directory beside this one; it is deleted when the table is done.

        A file system that has deleted thousands of files within the last minute is slow at making new ones (ext4 without a
        journal passes over each), and who is measured next would pay for it.
        """
        aside = Path(tempfile.mkdtemp(prefix="cleared-", dir=self.root.parent))
        for number, path in enumerate(paths):
            path.rename(aside / str(number))

    def edit(self, name: str, version: str) -> None:
        """Give a project another version."""
        write_project(self.root, name, self.graph[name], self.backend, version)


def layered(root: Path, projects: int, backend: str, layers: int = 6) -> Workspace:
    """Write projects in layers, each of which depends on two of the layer above, as in uv #15335."""
    per_layer = -(-projects // layers)
    graph: dict[str, list[str]] = {}
    for number in range(projects):
        start = (number // per_layer - 1) * per_layer
        above = [named("project", index) for index in range(start, start + per_layer)] if start >= 0 else []
        graph[named("project", number)] = [above[(number + one) % len(above)] for one in range(min(2, len(above)))]
    return write(root, graph, backend)


def hub(root: Path, spokes: int, backend: str) -> Workspace:
    """Write one project that all others depend on: the common shape of real monorepos."""
    graph: dict[str, list[str]] = {"bench-hub": []}
    graph |= {named("spoke", number): ["bench-hub"] for number in range(spokes)}
    return write(root, graph, backend)


def named(kind: str, number: int) -> str:
    """Return a project's name."""
    return f"bench-{kind}-{number:05}"


def write(root: Path, graph: dict[str, list[str]], backend: str, extra: str = "") -> Workspace:
    """Write a workspace: a directory a project, and interlock's configuration with some more lines."""
    root.mkdir(parents=True, exist_ok=True)
    for name, dependencies in graph.items():
        write_project(root, name, dependencies, backend, "1.0")
    workspace = Workspace(root, backend, graph)
    settings = "".join(
        f"config-settings = {{ {key} = {json.dumps(value)} }}\n"
        for key, value in (one.split("=") for one in workspace.settings)
    )
    (root / "interlock.toml").write_text(f'members = ["bench-*"]\n{extra}[environments.venv]\n{settings}', "utf-8")
    return workspace


def write_project(root: Path, name: str, dependencies: list[str], backend: str, version: str) -> None:
    """Write one project."""
    requires, module_name, tool = BACKENDS[backend]
    module = name.replace("-", "_")
    source = root / name / "src" / module
    source.mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").write_text(f'"""{name}"""\n', encoding="utf-8")
    (root / name / "pyproject.toml").write_text(
        f'[build-system]\nrequires = {requires}\nbuild-backend = "{module_name}"\n\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        f'description = "one of many"\ndependencies = {json.dumps(dependencies)}\n\n' + tool.format(module=module),
        encoding="utf-8",
    )
