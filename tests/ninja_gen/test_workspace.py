"""Whole workspaces: the shapes of real monorepos, read and put in order; the command that shows them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from interlock.cli import main
from interlock.errors import GraphError
from interlock.interpreter import query
from interlock_ninja.graph import environment_graph
from interlock_ninja.workspace import read_workspace
from monorepos import SHAPES, materialise
from trees import pyproject, write_tree


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "girder"])
def test_a_shape_is_read_whole(shape: str, tmp_path: Path) -> None:
    facts = {fact.path: fact for fact in materialise(shape, tmp_path)}
    by_backend = {path for path, fact in facts.items() if fact.backend == "setup.py"}

    def ask(source: str) -> str:
        fact = facts[os.path.relpath(source, tmp_path).replace(os.sep, "/")]
        lines = [
            f"Name: {fact.name}",
            f"Version: {fact.version}",
            *(f"Requires-Dist: {one}" for one in fact.dependencies),
        ]
        return "\n".join(lines) + "\n"

    workspace = read_workspace(str(tmp_path), ask=ask)
    expected = {path for path in facts if "/tests/" not in path and path != "_template"}
    assert {project.directory for project in workspace.projects} == expected
    assert {project.directory for project in workspace.projects if project.origin == "backend"} == by_backend & expected
    for project in workspace.projects:
        fact = facts[project.directory]
        assert (project.name, project.version, project.requires_python) == (
            fact.name,
            fact.version,
            fact.requires_python,
        )
        assert project.dependencies == fact.dependencies
    assert {skipped.path for skipped in workspace.skipped} == facts.keys() - expected


def test_the_cycles_of_airflow_are_found(tmp_path: Path) -> None:
    materialise("airflow", tmp_path)
    workspace = read_workspace(str(tmp_path))
    made = environment_graph(workspace, workspace.configuration.environments[0], interpreter=query(sys.executable))
    assert len(made.nodes) == len(workspace.projects)
    inside = {name for cycle in made.cycles for name in cycle}
    done: set[str] = set()
    for node in made.nodes:
        assert set(node.dependencies) <= done
        assert set(node.deferred) <= inside
        done.add(node.project.normalized)
    assert len([line for line in made.warnings if "require each other" in line]) == len(made.cycles) > 0


def test_a_thousand_projects_are_read(tmp_path: Path) -> None:
    files = {
        f"libs/{n % 40}/p{n}/pyproject.toml": pyproject(
            f"p{n}", *([f"p{n // 2}>=1"] if n else []), f"third{n % 9}>={n % 7}"
        )
        for n in range(1000)
    }
    workspace = read_workspace(str(write_tree(tmp_path, dict(files))))
    assert len(workspace.projects) == 1000
    made = environment_graph(workspace, workspace.configuration.environments[0], interpreter=query(sys.executable))
    assert (len(made.nodes), made.nodes[0].project.name, len(made.third_party)) == (1000, "p0", 63)


FILES: dict[str, str | bytes] = {
    "libs/core/pyproject.toml": pyproject("My.Core", "idna", more="[project.optional-dependencies]\nx = ['tomli']\n"),
    "libs/core/tests/fixture/pyproject.toml": pyproject("idna"),
    "template/pyproject.toml": pyproject("<name>"),
}


def test_the_command_shows_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["projects", "--root", str(write_tree(tmp_path, FILES))]) == 0
    output = capsys.readouterr()
    assert output.out == (
        f"workspace {tmp_path}: 1 project\n"
        "  My.Core  1.0  libs/core  flit_core.buildapi\n"
        "skipped: 2 directories\n"
        "  libs/core/tests/fixture  below the tests of libs/core\n"
        "  template                 template/pyproject.toml: `project.name` is '<name>', which is no valid name\n"
    )
    assert output.err == (
        "interlock: warning: template/pyproject.toml: `project.name` is '<name>', which is no valid name; skipped "
        '(for good: exclude = ["template"])\n'
    )


def test_the_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["projects", "--root", str(write_tree(tmp_path, FILES)), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["root"] == str(tmp_path)
    assert [each["path"] for each in document["skipped"] if each["invalid"]] == ["template"]
    assert document["projects"] == [
        {
            "name": "My.Core",
            "normalized": "my-core",
            "version": "1.0",
            "directory": "libs/core",
            "requires-python": "",
            "dependencies": ["idna"],
            "extras": {"x": ["tomli"]},
            "groups": {},
            "build-requires": ["flit_core>=3.11"],
            "build-backend": "flit_core.buildapi",
            "metadata": "project",
            "metadata-file": "libs/core/pyproject.toml",
            "import-names": [],
        }
    ]


def test_the_command_is_strict_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["projects", "--root", str(write_tree(tmp_path, FILES)), "--strict"]) == 11
    assert capsys.readouterr().err == (
        "interlock: error: 1 project has metadata that cannot be read:\n"
        "  template/pyproject.toml: `project.name` is '<name>', which is no valid name\n"
        '  Mend them, or exclude them: exclude = ["template"]\n'
    )


@pytest.mark.parametrize(
    ("where", "broken"),
    [
        ("a", '[project]\nname = "Acme.Internal"\nversion = "1"\n<<<<<<< HEAD\n'),
        ("acme-internal", "<<<<<<< HEAD\n"),
    ],
)
@pytest.mark.parametrize("table", ["dependencies", "build-system"])
def test_what_is_required_and_cannot_be_read_is_not_taken_for_somebody_else_s(
    tmp_path: Path, where: str, broken: str, table: str
) -> None:
    own = pyproject("b", "acme_internal>=1")
    if table == "build-system":
        own = pyproject("b", build='[build-system]\nrequires = ["acme_internal>=1"]\n')
    write_tree(tmp_path, {"interlock.toml": "", "b/pyproject.toml": own, f"{where}/pyproject.toml": broken})
    found = read_workspace(str(tmp_path))
    with pytest.raises(GraphError) as caught:
        environment_graph(found, found.configuration.environments[0])
    assert f"  acme_internal>=1: {where}/pyproject.toml is not valid TOML" in caught.value.message
    assert f'exclude = ["{where}"]' in caught.value.advice
    write_tree(tmp_path, {"interlock.toml": f'exclude = ["{where}"]\n'})
    found = read_workspace(str(tmp_path))
    environment_graph(found, found.configuration.environments[0])


def test_what_cannot_be_read_and_is_not_required_is_a_warning(tmp_path: Path) -> None:
    files = {"b/pyproject.toml": pyproject("b", "other"), "a/pyproject.toml": '[project]\nname = "a"\n<<<<<<< HEAD\n'}
    write_tree(tmp_path, {"interlock.toml": "", **files})
    found = read_workspace(str(tmp_path))
    assert environment_graph(found, found.configuration.environments[0]).third_party == ("other",)
    assert len(found.warnings) == 1
