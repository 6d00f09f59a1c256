"""Static editables by the real command: the same files as the backend's, proved, and an error where that is not so."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from interlock.prepared import load_prepared
from interlock_runner import interlock, succeed, verify
from monorepos import ProjectFacts, materialise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="static editables are not for Windows yet")

OTHERS = ["airflow", "agent-framework"]
PROJECT = """\
[build-system]
requires = ["uv_build>=0.13,<=0.13.6"]
build-backend = "uv_build"
[project]
name = "{name}"
version = "1.0"
dependencies = {dependencies}
"""


def make(root: Path, name: str, *dependencies: str) -> Path:
    package = root / name / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    text = PROJECT.format(name=name, dependencies=json.dumps(dependencies))
    (root / name / "pyproject.toml").write_text(text, encoding="utf-8")
    return root / name


def prepared(project: Path, environment: Path, output: Path, mode: str) -> dict[str, bytes]:
    """Prepare a project, and return the files of that and the digest of its manifest."""
    line = succeed("prepare", project, "--venv", environment, "--output", output, "--editable", mode)
    assert ", by its backend: " not in line
    found = load_prepared(str(output))
    return {file.path: b"".join(parts) for file, parts in found.contents()} | {"digest": found.digest.encode()}


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    succeed("venv", tmp_path / "env", "--python", sys.executable)
    return tmp_path / "env"


@pytest.mark.parametrize("shape", ["certbot", *(pytest.param(shape, marks=pytest.mark.shapes) for shape in OTHERS)])
def test_every_project_of_a_shape_is_proved(shape: str, tmp_path: Path) -> None:
    """With the newest backends that are known: each project is equal, or has a reason."""
    root = tmp_path / "tree"
    facts = [project for project in materialise(shape, root, limit=60) if "<" not in project.name]
    (root / "build-constraints.txt").write_text(
        "setuptools<=84.2.1\nhatchling<=1.33.0\nflit_core<=4.2.0\nuv_build<=0.13.6\npoetry-core<=2.5.0\n",
        encoding="utf-8",
    )
    settings = f'members = {json.dumps([one.path for one in facts])}\neditable = "proof"\n'
    settings += '[environments.venv]\npython = ">=3.11,<3.14"\nbuild-constraints = ["build-constraints.txt"]\n'
    (root / "interlock.toml").write_text(settings, encoding="utf-8")
    succeed("build", "--root", root)
    verify(root / ".venv", [project.module for project in facts])
    static = [project for project in facts if can_be(project)]
    for project in static[:5]:
        output = tmp_path / "again" / project.name
        words = ("--venv", root / ".venv", "--output", output, "--editable", "static")
        succeed("prepare", root / project.path, *words, "--build-constraint", root / "build-constraints.txt")


def can_be(project: ProjectFacts) -> bool:
    return project.backend != "setup.py" and not project.dynamic_version and project.source_root == "src"


def test_static_and_backend_leave_the_same_bytes(tmp_path: Path, environment: Path) -> None:
    project = make(tmp_path, "core")
    expected = prepared(project, environment, tmp_path / "a", "backend")
    assert prepared(project, environment, tmp_path / "b", "static") == expected
    assert prepared(project, environment, tmp_path / "c", "proof") == expected
    assert len(expected) > 5


def test_the_backend_does_not_run(tmp_path: Path, environment: Path) -> None:
    """Its program is gone from the build environment."""
    project = make(tmp_path, "core")
    cache = {"INTERLOCK_CACHE_DIR": str(tmp_path / "cache")}
    words = ("prepare", project, "--venv", environment, "--output", tmp_path / "a", "--editable")
    succeed(*words, "static", **cache)
    for program in (tmp_path / "cache").rglob("uv-build"):
        program.unlink()
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    assert interlock(*words, "backend", **cache).returncode == 40
    succeed(*words, "static", **cache)


def test_what_cannot_be_static_is_an_error_by_name_and_built_otherwise(tmp_path: Path, environment: Path) -> None:
    project = make(tmp_path, "core")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as writer:
        writer.write("[tool.uv.build-backend]\nnamespace = true\n")
    words = ("prepare", project, "--venv", environment, "--output", tmp_path / "a", "--editable")
    result = interlock(*words, "static")
    assert result.returncode == 10
    assert f"{project} cannot be static: it has `tool.uv.build-backend.namespace`" in result.stderr
    assert "editable = {" in result.stderr
    assert succeed(*words, "static-if-possible").endswith("by its backend: it has `tool.uv.build-backend.namespace`\n")
    assert succeed(*words, "proof").endswith("by its backend: it has `tool.uv.build-backend.namespace`\n")


def test_a_difference_fails_the_proof(tmp_path: Path, environment: Path) -> None:
    """A backend that is not what its version says: its METADATA has one more line."""
    project = make(tmp_path, "core")
    text = (
        (project / "pyproject.toml").read_text(encoding="utf-8").replace("uv_build>=0.13,<=0.13.6", "flit_core==4.2.0")
    )
    text = text.replace('"uv_build"', '"flit_core.buildapi"').replace('"1.0"', '"1.0"\ndescription = "x"')
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    cache = {"INTERLOCK_CACHE_DIR": str(tmp_path / "cache")}
    cache["INTERLOCK_WORKER"] = "0"  # it would have the module that is about to change
    words = ("prepare", project, "--venv", environment, "--output", tmp_path / "a", "--editable", "proof")
    succeed(*words, **cache)
    (module,) = (tmp_path / "cache").rglob("flit_core/common.py")
    code = module.read_text(encoding="utf-8")
    module.unlink()  # uv links what it installs to its cache, which is everybody's
    module.write_text(
        code.replace('fp.write(f"{field}: {value}\\n")', 'fp.write(f"{field}:  {value}\\n")'), encoding="utf-8"
    )
    result = interlock(*words, **cache)
    assert result.returncode == 10
    assert "core-1.0.dist-info/METADATA differs in line 1: the backend has 'Metadata-Version:  2.5'" in result.stderr
    assert 'editable = { core = "backend" }' in result.stderr


def test_a_build_runs_again_when_what_was_read_changes(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make(root, "core")
    leaf = make(root, "leaf", "core")
    (root / "interlock.toml").write_text('editable = "static"\n', encoding="utf-8")
    (leaf / "README.md").write_text("one\n", encoding="utf-8")
    more = 'readme = "README.md"\nlicense-files = ["LICEN*"]\nversion ='
    text = (leaf / "pyproject.toml").read_text(encoding="utf-8").replace("version =", more)
    (leaf / "pyproject.toml").write_text(text, encoding="utf-8")
    (leaf / "LICENSE").write_text("do\n", encoding="utf-8")
    succeed("build", "--root", root)
    assert "no work to do" in succeed("build", "--root", root)

    def metadata() -> str:
        (file,) = (root / ".venv").rglob("leaf-1.0.dist-info/METADATA")
        return file.read_text(encoding="utf-8")

    (leaf / "README.md").write_text("two\n", encoding="utf-8")
    assert "prepare leaf" in succeed("build", "--root", root)
    assert metadata().endswith("\n\ntwo\n")
    (leaf / "LICENSE.new").write_text("more\n", encoding="utf-8")
    assert "prepare leaf" in succeed("build", "--root", root)
    assert "License-File: LICENSE.new\n" in metadata()
    (leaf / "src" / "leaf" / "more.py").write_text("", encoding="utf-8")
    assert "no work to do" in succeed("build", "--root", root)
    (leaf / "LICENSE.new").unlink()
    succeed("build", "--root", root)
    assert "LICENSE.new" not in metadata()
    assert "no work to do" in succeed("build", "--root", root)
    os.utime(root / "core" / "src" / "core" / "__init__.py")
    ran = succeed("build", "--root", root)
    assert "install" not in ran
