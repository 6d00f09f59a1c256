"""The trees that stand for real monorepos are as large, and as readable, as their facts say."""

from __future__ import annotations

import ast
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from monorepos import SHAPES, materialise

if TYPE_CHECKING:
    from pathlib import Path

PROJECTS = {
    "agent-framework": 42,
    "airflow": 127,
    "certbot": 22,
    "charmlibs": 35,
    "girder": 24,
    "opentelemetry-python": 28,
    "opentelemetry-python-contrib": 73,
}


def test_all_shapes_are_known() -> None:
    assert set(SHAPES) == set(PROJECTS)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tree_holds_what_is_returned(shape: str, tmp_path: Path) -> None:
    projects = materialise(shape, tmp_path)
    names = {canonicalize_name(project.name) for project in projects}
    assert len(projects) == len(names) == PROJECTS[shape]
    for project in projects:
        directory = tmp_path / project.path
        ast.parse((directory / project.package / "__init__.py").read_text(encoding="utf-8"))
        assert {canonicalize_name(Requirement(line).name) for line in project.dependencies} <= names
        if project.backend == "setup.py":
            ast.parse((directory / "setup.py").read_text(encoding="utf-8"))
            assert not (directory / "pyproject.toml").exists()
        else:
            table = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert (table["name"], tuple(table["dependencies"])) == (project.name, project.dependencies)


def test_a_limit_leaves_no_requirement_on_what_is_beyond(tmp_path: Path) -> None:
    projects = materialise("opentelemetry-python", tmp_path, third_party=True, limit=5)
    first = {canonicalize_name(project.name) for project in projects}
    everyone = {canonicalize_name(project.name) for project in materialise("opentelemetry-python", tmp_path / "all")}
    required = {canonicalize_name(Requirement(line).name) for project in projects for line in project.dependencies}
    assert len(projects) == 5
    assert required & (everyone - first) == set()
    assert required - everyone, "third-party requirements stay"
