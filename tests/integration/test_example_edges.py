"""examples/edges: the same three projects through Ninja, make and CMake, into one environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import RequireTool

SCRIPTS = "Scripts" if os.name == "nt" else "bin"

BUILDS = {
    "ninja": [["ninja", "-j128"]],
    "make": [["make", "-j128"]],
    "cmake": [["cmake", "-G", "Ninja", "-S", ".", "-B", "out/cmake"], ["cmake", "--build", "out/cmake", "-j128"]],
}
NOTHING_TO_DO = {"ninja": "no work to do", "make": "Nothing to be done", "cmake": "no work to do"}


@pytest.fixture
def edges(tmp_path: Path, repository: Path) -> Path:
    ignore = shutil.ignore_patterns("out", ".venv*", "*.egg-info", "__pycache__")
    shutil.copytree(repository / "examples", tmp_path / "examples", ignore=ignore)
    return tmp_path / "examples" / "edges"


def run(command: list[str], directory: Path) -> str:
    # The interlock of the interpreter that runs the tests comes first.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(tool: str, directory: Path) -> str:
    return "".join(run(command, directory) for command in BUILDS[tool])


def leaf(directory: Path) -> list[str]:
    return run([str(directory / ".venv" / SCRIPTS / "leaf")], directory).splitlines()


@pytest.mark.network
@pytest.mark.parametrize("tool", BUILDS)
def test_a_build_file_drives_the_edges(tool: str, edges: Path, require_tool: RequireTool) -> None:
    require_tool("ninja")
    require_tool(tool, platforms=("linux", "darwin", "win32") if tool == "ninja" else ("linux", "darwin"))
    build(tool, edges)
    assert leaf(edges) == ["hello, leaf", "HELLO, LEAF"]
    assert NOTHING_TO_DO[tool] in build(tool, edges)

    core = edges.parent / "monorepo" / "my.core-package" / "pyproject.toml"
    core.write_text(core.read_text(encoding="utf-8").replace('"1.4.0"', '"1.4.1"'), encoding="utf-8")
    build(tool, edges)
    listed = run(["interlock", "list", "--venv", ".venv"], edges)
    assert "1.4.1" in next(line for line in listed.splitlines() if "core" in line)
    assert NOTHING_TO_DO[tool] in build(tool, edges)

    shutil.rmtree(edges / ".venv")
    build(tool, edges)
    assert leaf(edges) == ["hello, leaf", "HELLO, LEAF"]


@pytest.mark.network
def test_all_of_them_at_once(edges: Path, require_tool: RequireTool) -> None:
    for tool in BUILDS:
        require_tool(tool, platforms=("linux", "darwin"))
    run(BUILDS["cmake"][0], edges)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    commands = [["ninja", "-j128"], ["make", "-j128"], BUILDS["cmake"][1]]
    started = [
        subprocess.Popen(
            command,
            cwd=edges,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        for command in commands
    ]
    results = [(process.communicate()[0], process.returncode) for process in started]
    assert [code for _, code in results] == [0, 0, 0], results
    assert leaf(edges) == ["hello, leaf", "HELLO, LEAF"]
    run(["interlock", "check", "--venv", ".venv"], edges)
