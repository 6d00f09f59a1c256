"""Shapes of real monorepos, built by the real command, the real Ninja and the real backends."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from interlock_runner import interlock, script_of, succeed, verify
from monorepos import SHAPES, ProjectFacts, materialise

IN_CI = ("opentelemetry-python", "girder", "certbot")
OTHERS = [shape for shape in SHAPES if shape not in IN_CI]


@pytest.fixture(params=[*IN_CI, *(pytest.param(shape, marks=pytest.mark.shapes) for shape in OTHERS)])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[ProjectFacts]]:
    """Return a working tree of a shape, and what is in it."""
    root = tmp_path / "tree"
    # The template of opentelemetry-python-contrib is called <REPLACE ME>: skipped, with a warning, as it must be.
    facts = [project for project in materialise(request.param, root) if "<" not in project.name]
    if request.param not in IN_CI:  # agent-framework has a project for Python 3.12 and later
        # charmlibs has projects below the tests of others, which only a member glob takes in.
        members = f"members = {json.dumps([one.path for one in facts])}\n" if request.param == "charmlibs" else ""
        (root / "interlock.toml").write_text(
            f'{members}[environments.venv]\npath = ".venv"\npython = ">=3.12,<3.14"\n', encoding="utf-8"
        )
    return root, facts


def test_a_shape_builds_whole_and_then_has_no_work(tree: tuple[Path, list[ProjectFacts]]) -> None:
    root, facts = tree
    succeed("build", "--root", root, "-j128")
    environment = root / ".venv"
    verify(environment, [project.module for project in facts])
    for project in facts:
        result = subprocess.run([script_of(environment, project.script)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == f"{project.name} {project.version}"
    succeed("check", "--venv", environment, "--stamps", root / "out")
    assert "no work to do" in succeed("build", "--root", root, "-j128")
    touched = next(project for project in facts if (root / project.path / "pyproject.toml").exists() or project.backend)
    build_file = next(path for name in ("pyproject.toml", "setup.py") if (path := root / touched.path / name).exists())
    os.utime(build_file)
    output = succeed("build", "--root", root, "-j128")
    ran = [line for line in output.splitlines() if line.startswith("[")]
    assert [line for line in ran if "] install" in line] == []
    assert [line.split("] ")[1] for line in ran if "] prepare" in line] == [f"prepare {touched.name}"]
    assert "no work to do" in succeed("build", "--root", root)


@pytest.mark.parametrize("shape", ["opentelemetry-python"])
def test_a_plain_ninja_builds_it_too(shape: str, tmp_path: Path, ninja: str) -> None:
    """Debian's 1.11 and PyPI's 1.13, with the graph checked by Ninja's own tools."""
    materialise(shape, tmp_path, limit=8)
    succeed("gen", "--root", tmp_path)
    out = tmp_path / "out"
    first = run(ninja, out, "-j128", "-w", "dupbuild=err")
    assert first.returncode == 0, first.stdout + first.stderr
    run(ninja, out)  # the environment appeared beside the projects, a directory that generation read: it runs once more
    explained = run(ninja, out, "-d", "explain")
    assert "no work to do" in explained.stdout
    assert "is dirty" not in explained.stdout + explained.stderr
    missing = run(ninja, out, "-t", "missingdeps")
    assert "No missing dependencies on generated files found." in missing.stdout
    assert run(ninja, out, "-t", "query", "venv__venv").returncode == 0


def test_a_deleted_environment_is_made_again_whole(tmp_path: Path) -> None:
    import shutil

    facts = materialise("opentelemetry-python", tmp_path, limit=6)
    succeed("build", "--root", tmp_path)
    shutil.rmtree(tmp_path / ".venv")
    succeed("build", "--root", tmp_path)
    verify(tmp_path / ".venv", [project.module for project in facts])


def test_what_another_tool_removes_comes_back(tmp_path: Path) -> None:
    facts = materialise("opentelemetry-python", tmp_path, limit=6)
    succeed("build", "--root", tmp_path)
    succeed("uninstall", facts[0].name, "--venv", tmp_path / ".venv")
    output = succeed("build", "--root", tmp_path)
    assert f"install {facts[0].name}" in output
    verify(tmp_path / ".venv", [project.module for project in facts])
    assert "no work to do" in succeed("build", "--root", tmp_path)


def test_a_new_version_is_installed_and_its_dependents_are_verified(tmp_path: Path) -> None:
    write(tmp_path, "core", "1.0", [])
    write(tmp_path, "leaf", "1.0", ["core>=1"])
    write(tmp_path, "other", "1.0", [])
    succeed("build", "--root", tmp_path)
    write(tmp_path, "core", "1.1", [])
    output = succeed("build", "--root", tmp_path)
    ran = {line.split("] ")[1] for line in output.splitlines() if line.startswith("[")}
    assert {"prepare core", "install core", "install leaf"} <= ran
    assert not {"prepare leaf", "prepare other", "install other"} & ran
    listed = succeed("list", "--venv", tmp_path / ".venv")
    assert "core" in listed
    assert "1.1" in listed


def test_a_new_project_directory_is_noticed_by_ninja(tmp_path: Path, ninja: str) -> None:
    write(tmp_path / "libs", "core", "1.0", [])
    succeed("gen", "--root", tmp_path)
    assert run(ninja, tmp_path / "out").returncode == 0
    write(tmp_path / "libs", "added", "1.0", ["core"])
    result = run(ninja, tmp_path / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "added" in succeed("list", "--venv", tmp_path / ".venv")


def test_an_edit_made_while_generating_is_not_lost(tmp_path: Path, ninja: str) -> None:
    """A setup.py that edits itself when it is asked for its metadata: what was generated is already old."""
    (tmp_path / "setup.py").write_text(
        "import os, pathlib, time\nfrom setuptools import setup\n"
        "setup(name='core', version='1.0', py_modules=[])\n"
        "if not os.path.exists('edited'):\n"
        "    pathlib.Path('edited').touch()\n"
        "    time.sleep(0.05)\n"
        "    path = pathlib.Path('setup.py')\n"
        "    path.write_text(path.read_text().replace('1.0', '1.1'))\n",
        encoding="utf-8",
    )
    succeed("gen", "--root", tmp_path)
    result = run(ninja, tmp_path / "out")
    assert "regenerate build.ninja" in result.stdout, result.stdout + result.stderr
    assert "1.1" in succeed("list", "--venv", tmp_path / ".venv")


@pytest.mark.parametrize("move", [True, False])
def test_a_workspace_in_another_place_is_built_anew(tmp_path: Path, move: bool) -> None:
    import shutil

    write(tmp_path / "here", "core", "1.0", [])
    succeed("build", "--root", tmp_path / "here")
    (shutil.move if move else shutil.copytree)(tmp_path / "here", tmp_path / "there")
    output = succeed("build", "--root", tmp_path / "there")
    assert "install core" in output
    located = "import core; print(core.__file__)"
    found = succeed("run", "--venv", tmp_path / "there" / ".venv", "--", "python", "-c", located)
    assert found.startswith(str(tmp_path / "there"))
    assert "no work to do" in succeed("build", "--root", tmp_path / "there")


def test_check_says_that_the_file_is_out_of_date(tmp_path: Path) -> None:
    write(tmp_path, "core", "1.0", [])
    assert interlock("gen", "--root", tmp_path, "--check").returncode == 1
    assert not (tmp_path / "out").exists()
    succeed("gen", "--root", tmp_path)
    assert interlock("gen", "--root", tmp_path, "--check").returncode == 0
    write(tmp_path, "leaf", "1.0", ["core"])
    assert interlock("gen", "--root", tmp_path, "--check").returncode == 1


def test_two_environments_share_one_file(tmp_path: Path) -> None:
    write(tmp_path, "core", "1.0", [])
    write(tmp_path, "leaf", "1.0", ["core"])
    (tmp_path / "interlock.toml").write_text(
        '[environments.dev]\npath = ".venv"\n[environments.small]\npath = "small"\nprojects = ["core"]\n',
        encoding="utf-8",
    )
    succeed("build", "--root", tmp_path, "small__all")
    assert not (tmp_path / ".venv").exists()
    verify(tmp_path / "small", ["core"])
    succeed("build", "--root", tmp_path)
    verify(tmp_path / ".venv", ["core", "leaf"])
    # core is in both, and has a name for each and one for both; leaf is in one, and needs no other name.
    for target in ("core__editable_install", "dev__core__editable_install", "leaf__editable_install"):
        assert "no work to do" in succeed("build", "--root", tmp_path, target)
    assert interlock("build", "--root", tmp_path, "dev__leaf__editable_install").returncode == 1


def test_a_cycle_is_built_and_verified(tmp_path: Path) -> None:
    write(tmp_path, "aa", "1.0", ["bb"])
    write(tmp_path, "bb", "1.0", ["cc>=1"])
    write(tmp_path, "cc", "1.0", ["aa"])
    write(tmp_path, "user", "1.0", ["bb"])
    result = interlock("build", "--root", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr.count("require each other (aa -> bb -> cc -> aa)") == 1
    verify(tmp_path / ".venv", ["aa", "bb", "cc", "user"])
    succeed("check", "--venv", tmp_path / ".venv")


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
@pytest.mark.parametrize("name", ["with space", "dollar$sign", "co:lon", "quo'te", "naïve", "ha#sh", "b|ar"])
def test_directories_with_odd_names_build(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, "core", "1.0", [])
    write(tmp_path / name / "core", "nested", "1.0", ["core"])
    succeed("build", "--root", tmp_path)
    verify(tmp_path / ".venv", ["core", "nested"])
    assert "no work to do" in succeed("build", "--root", tmp_path)


def test_an_edit_made_while_an_edge_runs_is_not_lost(tmp_path: Path, ninja: str) -> None:
    """The backend edits its own input after it was read: the next build must run that edge again, and then rest."""
    write(tmp_path, "core", "1.0", [])
    project = tmp_path / "core" / "pyproject.toml"
    text = project.read_text(encoding="utf-8").replace(
        'build-backend = "flit_core.buildapi"', 'build-backend = "backend"\nbackend-path = ["."]'
    )
    project.write_text(text, encoding="utf-8")
    (tmp_path / "core" / "backend.py").write_text(
        "import os, pathlib, time\nfrom flit_core import buildapi\nfrom flit_core.buildapi import *\n"
        "def build_editable(*words):\n"
        "    wheel = buildapi.build_editable(*words)\n"
        "    time.sleep(0.05)\n"
        "    if not os.path.exists('edited'):\n"
        "        pathlib.Path('edited').touch()\n"
        "        path = pathlib.Path('pyproject.toml')\n"
        "        path.write_text(path.read_text().replace('1.0', '1.1'))\n"
        "    return wheel\n",
        encoding="utf-8",
    )
    succeed("gen", "--root", tmp_path)
    assert run(ninja, tmp_path / "out").returncode == 0
    second = run(ninja, tmp_path / "out")
    assert "prepare core" in second.stdout, second.stdout + second.stderr
    assert "1.1" in succeed("list", "--venv", tmp_path / ".venv")
    assert "no work to do" in run(ninja, tmp_path / "out").stdout


def write(parent: Path, name: str, version: str, dependencies: list[str]) -> None:
    """Write a small project; flit_core is the quickest real backend."""
    directory = parent / name
    (directory / "src" / name).mkdir(parents=True, exist_ok=True)
    (directory / "src" / name / "__init__.py").write_text(f'"""{name}"""\n', encoding="utf-8")
    (directory / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.11"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndescription = "x"\ndependencies = {dependencies!r}\n'.replace(
            "'", '"'
        ),
        encoding="utf-8",
    )


def run(ninja: str, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a Ninja in an out directory."""
    return subprocess.run([ninja, "-C", out, *words], capture_output=True, text=True, check=False)
