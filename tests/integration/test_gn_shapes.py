"""Shapes of real monorepos through `interlock gn gen`, real GN and `ninja -j128`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gn_trees import Tree, make_tree
from interlock_ninja.commands.build import ninja_program
from interlock_runner import interlock, script_of, succeed, verify
from monorepos import SHAPES, materialise

if TYPE_CHECKING:
    from conftest import RequireTool
    from monorepos import ProjectFacts

IN_CI = ("opentelemetry-python-contrib",)
# The Airflow of this data needs a Python between two versions; all others take any.
OTHERS = [shape for shape in SHAPES if shape not in IN_CI]


@pytest.fixture(params=[*IN_CI, *(pytest.param(shape, marks=pytest.mark.shapes) for shape in OTHERS)])
def shape(request: pytest.FixtureRequest, tmp_path: Path, require_tool: RequireTool) -> tuple[Tree, list[ProjectFacts]]:
    tree = make_tree(tmp_path / "tree", require_tool("gn", platforms=("linux", "darwin")), ninja_program())
    facts = [project for project in materialise(request.param, tree.root) if "<" not in project.name]
    python = "" if request.param in {*IN_CI, "girder", "certbot"} else 'python = ">=3.12,<3.14"\n'
    members = f"members = {json.dumps([one.path for one in facts])}\n" if request.param == "charmlibs" else ""
    tree.write({"interlock.toml": f"{members}[environments.venv]\n{python}"})
    return tree, facts


def test_a_shape_builds_whole_and_then_has_no_work(shape: tuple[Tree, list[ProjectFacts]]) -> None:
    tree, facts = shape
    written = json.loads(succeed("gn", "gen", "--format", "json", cwd=tree.root))
    assert written["projects"] == len(facts)
    assert interlock("gn", "gen", "--check", cwd=tree.root).returncode == 0
    for path in written["written"]:
        tree.run_gn("format", "--dry-run", path)
    if "BUILD.gn" not in written["written"]:
        tree.write({"BUILD.gn": 'group("all") {\n  deps = [ "//build/venv" ]\n}\n'})
    tree.gen()
    tree.build("-j128")
    environment = tree.root / ".venv"
    verify(environment, [project.module for project in facts])
    for project in facts:
        done = subprocess.run([script_of(environment, project.script)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, f"{project.name} {project.version}"), done.stderr
    succeed("check", "--venv", environment, "--stamps", tree.root / "out" / "interlock")
    succeed("gn", "check", "out", cwd=tree.root)
    tree.build()  # the environment appeared beside the projects, a directory that was read: the files are looked at again
    explained = tree.build("-d", "explain")
    assert "no work to do" in explained
    assert "is dirty" not in explained
