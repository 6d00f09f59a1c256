"""prepare, build-env and cache as a build file or a person runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock import cli
from interlock.commands.backends import config_settings
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import UsageError
from interlock.prepared import load_prepared

if TYPE_CHECKING:
    from conftest import RequireTool

BUILD_FILE = """\
rule interlock
  command = {python} -m interlock $arguments --stamp $out --depfile $out.d --durability fast
  restat = 1
  depfile = $out.d
  deps = gcc
build env.stamp: interlock {pyproject}
  arguments = build-env -r core-tool --workspace {names} --python {interpreter}
build prepare.stamp: interlock {pyproject} | env.stamp
  arguments = prepare {source} --venv {venv} --output prepared
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return create_environment(str(tmp_path_factory.mktemp("commands") / "env"), python=None, disk=Disk("fast"))[0]


def test_a_key_that_comes_again_has_a_list() -> None:
    assert config_settings(["a=1", "b=x=y", "a=2", "c=", "a=3"]) == {"a": ["1", "2", "3"], "b": "x=y", "c": ""}
    for wrong in ("a", "=1", ""):
        with pytest.raises(UsageError, match=r"-C .* is not KEY=VALUE"):
            config_settings([wrong])


def test_one_line_for_people(
    tmp_path: Path, environment: Environment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["prepare", "p", "--venv", environment.path, "--output", "out/core"]) == 0
    assert capsys.readouterr() == ("prepared core 1.0: 7 files\n", "")
    assert cli.main(["prepare", "gone", "--venv", environment.path, "--output", "out/core"]) == 41
    assert "gone has no build backend" in capsys.readouterr().err
    assert cli.main(["prepare", "p", "--venv", environment.path, "--output", "p"]) == 2
    assert cli.main(["prepare", "p", "--venv", "p", "--output", "out/core"]) == 21


def test_a_receipt_and_a_depfile_for_builds(
    tmp_path: Path, environment: Environment, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "p")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    command = [
        "prepare",
        "../p",
        "--venv",
        environment.path,
        "--output",
        "core",
        "--stamp",
        "core.stamp",
        "--depfile",
        "core.d",
    ]
    assert cli.main(command) == 0
    assert capfd.readouterr() == ("", "")
    receipt = json.loads(Path("core.stamp").read_text(encoding="utf-8"))
    assert {key: receipt[key] for key in ("edge", "project", "version")} == {
        "edge": "prepare",
        "project": "core",
        "version": "1.0",
    }
    assert receipt["digest"] == load_prepared("core").digest
    target, *inputs = Path("core.d").read_text(encoding="utf-8").replace("\\\n", "").split()
    assert target == "core.stamp:"
    assert {"../p/pyproject.toml", "../p/backend.py"} < set(inputs)
    assert all(Path(path).exists() for path in inputs)


def test_build_env(tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: Environment) -> None:
    python = environment.interpreter.executable
    assert cli.main(["build-env", "--python", python]) == 0
    path = capsys.readouterr().out.strip().removeprefix("build environment ")
    assert os.path.exists(os.path.join(path, "pyvenv.cfg"))
    stamp = tmp_path / "stamp"
    assert cli.main(["build-env", "--python", python, "--stamp", str(stamp), "--depfile", str(tmp_path / "d")]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(stamp.read_text(encoding="utf-8"))["edge"] == "build-env"
    assert "receipt.json" in (tmp_path / "d").read_text(encoding="utf-8")
    assert cli.main(["build-env", "--python", "2.6"]) == 20
    assert cli.main(["build-env", "--python", python, "--constraint", str(tmp_path / "no")]) == 10


def test_the_environment_of_an_edge_is_the_one_that_prepare_uses(tmp_path: Path, environment: Environment) -> None:
    make_project(tmp_path / "tool", "tool")
    (tmp_path / "names").write_text("Tool\ttool\n", encoding="utf-8")
    local = ["--workspace", str(tmp_path / "names")]
    source = make_project(tmp_path / "p", requires=["Tool >= 1"])
    stamp, depfile = tmp_path / "stamp", tmp_path / "d"
    edge = ["build-env", "-r", "tool>=1", *local, "--python", environment.interpreter.executable, "--stamp", str(stamp)]
    assert cli.main(edge) == 0
    key = json.loads(stamp.read_text(encoding="utf-8"))["key"]
    prepare = ["prepare", str(source), "--venv", environment.path, "--output", str(tmp_path / "out"), *local]
    assert cli.main([*prepare, "--depfile", str(depfile)]) == 0
    assert f"{key}/receipt.json" in depfile.read_text(encoding="utf-8")


def test_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: Environment
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(cache))
    assert cli.main(["cache", "dir"]) == 0
    assert capsys.readouterr().out == f"{cache}\n"
    python = environment.interpreter.executable
    assert cli.main(["build-env", "--python", python]) == 0
    assert cli.main(["cache", "prune"]) == 0
    assert capsys.readouterr().out.endswith("deleted 0 build environments\n")
    assert cli.main(["cache", "prune", "--older-than", "0"]) == 0
    assert capsys.readouterr().out == "deleted 1 build environment\n"
    assert cli.main(["build-env", "--python", python]) == 0
    assert cli.main(["cache", "clean"]) == 0
    assert capsys.readouterr().out.endswith("deleted 1 build environment\n")
    left = [path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


@pytest.mark.parametrize("version", ["path", "bundled"])
def test_ninja_finds_nothing_to_do_until_something_changes(
    version: str, tmp_path: Path, environment: Environment, require_tool: RequireTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ninja

    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))
    program = require_tool("ninja") if version == "path" else os.path.join(ninja.BIN_DIR, "ninja")
    source = make_project(tmp_path / "a project", backend="SCRIPTS['core'] = 'core:main'\n")
    tool = make_project(tmp_path / "tool", "core-tool")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "names").write_text("core-tool\t../tool\n", encoding="utf-8")
    values = {
        "python": sys.executable,
        "source": "'../a project'",
        "pyproject": "../a$ project/pyproject.toml",
        "names": "names",
        "interpreter": environment.interpreter.executable,
        "venv": environment.path,
    }
    (tmp_path / "out" / "build.ninja").write_text(BUILD_FILE.format(**values), encoding="utf-8")

    def build() -> list[str]:
        done = subprocess.run(
            [program, "-d", "explain"], cwd=tmp_path / "out", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("interlock ")[1].split()[0] for line in done.stdout.splitlines() if "-m interlock" in line]

    assert build() == ["build-env", "prepare"]
    assert build() == []
    backend = source / "backend.py"
    os.utime(backend)
    assert build() == ["prepare"], "named by the depfile alone"
    assert build() == []
    backend.write_text(backend.read_text(encoding="utf-8").replace("core:main", "core:other"), encoding="utf-8")
    assert build() == ["prepare"]
    assert build() == []
    shutil.rmtree(tmp_path / "cache")
    assert set(build()) == {"build-env", "prepare"}
    assert build() == []
    os.utime(tool / "pyproject.toml")
    assert build() == ["build-env"], "made again, with what it was: the edges after it need not run"
    assert build() == []
