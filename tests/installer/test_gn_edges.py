"""What the templates for GN ask of the edges: a name, an environment's interpreter, a check with a stamp, nothing fetched."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from index_server import Index, serve, wheel
from interlock_runner import interlock, succeed


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    succeed("venv", tmp_path / "env", "--seed")
    return tmp_path / "env"


def test_a_project_of_another_name_is_refused(environment: Path, tmp_path: Path) -> None:
    make_project(tmp_path / "p", "My.Core")
    words = ["prepare", tmp_path / "p", "--venv", environment, "--output", tmp_path / "o", "--stamp", tmp_path / "s"]
    done = interlock(*words, "--project", "my.cor")
    assert done.returncode == 11
    assert "is called My.Core, and the build file calls it my.cor" in done.stderr
    assert not (tmp_path / "s").exists()
    succeed(*words, "--project", "my-core")


def test_a_build_environment_for_an_environment_is_that_of_its_interpreter(environment: Path, tmp_path: Path) -> None:
    stamps = [tmp_path / "a.stamp", tmp_path / "b.stamp"]
    python = json.loads((environment / ".interlock" / "environment.json").read_text())["interpreter"]["executable"]
    for stamp, which in zip(stamps, (["--venv", environment], ["--python", python]), strict=True):
        succeed("build-env", *which, "--stamp", stamp)
    assert stamps[0].read_bytes() == stamps[1].read_bytes()
    assert interlock("build-env").returncode == 2


def test_a_check_leaves_a_stamp_where_there_is_no_problem(environment: Path, tmp_path: Path) -> None:
    stamp, depfile = tmp_path / "check.stamp", tmp_path / "check.stamp.d"
    words = ["check", "--venv", environment, "--stamp", stamp, "--depfile", depfile]
    assert succeed(*words) == ""
    assert json.loads(stamp.read_bytes())["edge"] == "check"
    assert "environment.json" in depfile.read_text()
    stamp.unlink()
    next(environment.rglob("pip/__init__.py")).write_text("changed")
    done = interlock(*words)
    assert (done.returncode, "pip/__init__.py" in done.stdout) == (1, True)
    assert not stamp.exists()


def check_in_ninja(ninja: str, out: Path) -> Callable[[], list[str]]:
    """Write a build file with a check edge and one after it; return what builds and says which of the two ran."""
    out.mkdir(exist_ok=True)
    program = shlex.join([sys.executable, "-P", "-m", "interlock"])
    (out / "build.ninja").write_text(
        f"rule check\n  command = {program} check --venv ../env --stamp $out --depfile $out.d\n"
        "  description = check\n  depfile = $out.d\n  deps = gcc\n  restat = 1\n"
        "rule after\n  command = touch $out\n  description = after\n"
        "build check.stamp: check\nbuild done: after check.stamp\n",
        encoding="utf-8",
    )

    def build() -> list[str]:
        done = subprocess.run([ninja, "-C", out], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("] ")[1] for line in done.stdout.splitlines() if line.startswith("[")]

    return build


@pytest.mark.skipif(os.name == "nt", reason="the build file needs touch")
def test_a_check_runs_again_when_something_is_installed_anew(ninja: str, environment: Path, tmp_path: Path) -> None:
    build = check_in_ninja(ninja, tmp_path / "out")
    assert (build(), build()) == (["check", "after"], [])
    record = next(environment.rglob("pip-*.dist-info/RECORD"))
    record.write_bytes(record.read_bytes())
    assert (build(), build()) == (["check"], []), "what is installed is what it was"
    # Another version of as many files.
    renamed = record.parent.with_name("pip-999.dist-info")
    record.parent.rename(renamed)
    text = (renamed / "RECORD").read_text(encoding="utf-8")
    (renamed / "RECORD").write_text(text.replace(f"{record.parent.name}/", "pip-999.dist-info/"), encoding="utf-8")
    assert (build(), build()) == (["check", "after"], [])


def test_a_check_for_people_can_leave_a_depfile(environment: Path, tmp_path: Path) -> None:
    said = succeed("check", "--venv", environment, "--depfile", tmp_path / "check.d")
    assert said.endswith("no problems\n")
    assert "RECORD" in (tmp_path / "check.d").read_text(encoding="utf-8")


def offline(index: Index, engine: str, environment: Path, file: Path, **environ: str) -> tuple[int, str]:
    words = ["requirements", "--venv", environment, "-r", file, "--engine", engine, "--offline"]
    done = interlock(*words, **{**index.environ, **environ})
    return done.returncode, done.stderr


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_offline_asks_no_index(engine: str, environment: Path, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("distant\n")
    with serve() as index:
        index.add("distant", "1.0")
        code, error = offline(index, engine, environment, tmp_path / "r.txt")
        assert (code, index.asked) == (70, [])
        assert f"{engine} could not install" in error
        assert "offline (its exit code" in error
        assert index.url not in error, "it does not even try"
        # What lies in a directory is no index.
        (tmp_path / "wheels").mkdir()
        (tmp_path / "wheels" / "distant-1.0-py3-none-any.whl").write_bytes(wheel("distant", "1.0", ()))
        places = dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(tmp_path / "wheels"))
        assert offline(index, engine, environment, tmp_path / "r.txt", **places) == (0, "")
        assert index.asked == []


@pytest.mark.parametrize("engine", ["uv", "pip"])
@pytest.mark.parametrize(
    "lines",
    [
        "distant @ {url}/files/distant/distant-1.0-py3-none-any.whl",
        "--find-links {url}/simple/distant\ndistant",
        "--index-url {url}/simple\ndistant",
        "-r {url}/simple/distant",
    ],
    ids=["url", "find-links", "index", "file"],
)
def test_offline_holds_for_what_a_file_says(engine: str, lines: str, environment: Path, tmp_path: Path) -> None:
    with serve() as index:
        index.add("distant", "1.0")
        (tmp_path / "r.txt").write_text(lines.format(url=index.url) + "\n", encoding="utf-8")
        assert offline(index, engine, environment, tmp_path / "r.txt")[0] == 70
        assert index.asked == []


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_offline_holds_for_git(engine: str, environment: Path, tmp_path: Path) -> None:
    with serve() as index:
        (tmp_path / "r.txt").write_text(f"distant @ git+{index.url}/distant\n", encoding="utf-8")
        code, error = offline(index, engine, environment, tmp_path / "r.txt", LC_ALL="C")
    assert (code, "not allowed" in error) == (70, True)


def test_offline_takes_what_is_cached(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("distant\n", encoding="utf-8")
    words = ["requirements", "-r", tmp_path / "r.txt", "--engine", "uv"]
    succeed("venv", tmp_path / "other")
    with serve() as index:
        index.add("distant", "1.0")
        environ = {**index.environ, "UV_NO_CACHE": "0", "UV_CACHE_DIR": str(tmp_path / "cache")}
        succeed(*words, "--venv", tmp_path / "other", **environ)
        asked = list(index.asked)
        succeed(*words, "--venv", environment, "--offline", **environ)
        assert index.asked == asked
    assert "distant" in succeed("list", "--venv", environment)


@pytest.mark.parametrize("command", ["prepare", "editable", "build-env"])
def test_offline_builds_fetch_no_build_requirement(command: str, environment: Path, tmp_path: Path) -> None:
    make_project(tmp_path / "p", requires=["distant-builder"])
    words = {
        "prepare": ["prepare", tmp_path / "p", "--venv", environment, "--output", tmp_path / "o"],
        "editable": ["editable", tmp_path / "p", "--venv", environment],
        "build-env": ["build-env", "-r", "distant-builder", "--venv", environment],
    }[command]
    with serve() as index:
        index.add("distant-builder", "1.0")
        environ = {**index.environ, "INTERLOCK_CACHE_DIR": str(tmp_path / "cache")}
        assert interlock(*words, "--offline", **environ).returncode == 70
        assert index.asked == []
        succeed(*words, **environ)
        assert set(index.asked) == {"distant-builder"}
        shutil.rmtree(tmp_path / "o", ignore_errors=True)
        succeed(*words, "--offline", **environ)  # the build environment is there now
