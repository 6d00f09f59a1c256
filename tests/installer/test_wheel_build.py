"""Wheels to give away: the bytes that `build` makes, no trace in the source tree, and an edge that runs when it has to."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from interlock_runner import interlock, python_of, succeed
from trees import write_tree

NO_WORK = "ninja: no work to do."
INTERLOCK = shlex.join([sys.executable, "-P", "-m", "interlock"])
PROJECT = (
    '[project]\nname = "My.Pkg"\nversion = "1.5"\nrequires-python = ">=3.8"\n[project.scripts]\nit = "my_pkg:main"\n'
)
BACKENDS = {
    "setuptools": '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n',
    "hatchling": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    '[tool.hatch.build.targets.wheel]\npackages = ["src/my_pkg"]\n',
    "flit_core": '[build-system]\nrequires = ["flit_core>=3.11"]\nbuild-backend = "flit_core.buildapi"\n'
    '[tool.flit.module]\nname = "my_pkg"\n',
}


@pytest.fixture(params=BACKENDS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    text = PROJECT + BACKENDS[request.param]
    if request.param == "flit_core":
        text = text.replace('version = "1.5"', 'version = "1.5"\ndescription = "x"')
    files = {"pyproject.toml": text, "src/my_pkg/__init__.py": "def main(): print('it')\n", "src/my_pkg/more.py": ""}
    return write_tree(tmp_path / "p", files)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listing(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_it_is_what_build_builds(project: Path, tmp_path: Path) -> None:
    before = listing(project)
    printed = succeed("wheel", project, "--output", tmp_path / "ours")
    assert listing(project) == before
    (wheel,) = (tmp_path / "ours").iterdir()
    assert printed == f"built {wheel}\n"
    command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", tmp_path / "theirs", project]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1580601600"})
    (theirs,) = (tmp_path / "theirs").iterdir()
    assert wheel.name == theirs.name
    assert contents(wheel) == contents(theirs)
    succeed("venv", tmp_path / "env", "--seed")
    pip = [python_of(tmp_path / "env"), "-m", "pip", "install", "--no-index", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    assert succeed("run", "--venv", tmp_path / "env", "--", "it") == "it\n"


def test_the_same_sources_make_the_same_bytes(project: Path, tmp_path: Path) -> None:
    succeed("wheel", project, "--output", tmp_path / "a")
    for path in project.rglob("*.py"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
    succeed("wheel", project, "--output", tmp_path / "b")
    (first,), (second,) = (tmp_path / "a").iterdir(), (tmp_path / "b").iterdir()
    assert first.read_bytes() == second.read_bytes()


def test_a_date_of_ones_own_is_taken(project: Path, tmp_path: Path) -> None:
    succeed("wheel", project, "--output", tmp_path, SOURCE_DATE_EPOCH="1000000000")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {info.date_time[:3] for info in archive.infolist()} == {(2001, 9, 9)}


def test_a_wheel_of_another_version_goes_and_those_of_others_stay(project: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    write_tree(output, {"my_pkg_more-1.0-py3-none-any.whl": "x", "other-1-py3-none-any.whl": "x", "my_pkg": "x"})
    succeed("wheel", project, "--output", output)
    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("1.5", "1.6"))
    succeed("wheel", project, "--output", output)
    assert sorted(path.name for path in output.iterdir()) == [
        "my_pkg",
        "my_pkg-1.6-py3-none-any.whl",
        "my_pkg_more-1.0-py3-none-any.whl",
        "other-1-py3-none-any.whl",
    ]


def test_modules_that_are_gone_are_not_in_it(project: Path, tmp_path: Path) -> None:
    write_tree(project, {"build/lib/my_pkg/old.py": ""})
    (project / "src" / "my_pkg" / "more.py").unlink()
    succeed("wheel", project, "--output", tmp_path / "out")
    (wheel,) = (tmp_path / "out").iterdir()
    assert not [name for name in contents(wheel) if name.endswith(("old.py", "more.py"))]


def test_a_backend_that_fails_leaves_the_wheel_that_is_there(project: Path, tmp_path: Path) -> None:
    succeed("wheel", project, "--output", tmp_path / "out")
    before = listing(tmp_path / "out")
    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("1.5", "no version"))
    done = interlock("wheel", project, "--output", tmp_path / "out", "--stamp", tmp_path / "stamp")
    assert done.returncode == 40
    assert "Traceback" not in done.stderr.splitlines()[0]
    assert listing(tmp_path / "out") == before
    assert not (tmp_path / "stamp").exists()


def test_the_edge_runs_when_something_can_be_otherwise(project: Path, tmp_path: Path, ninja: str) -> None:
    out = tmp_path / "out"
    command = f"{INTERLOCK} wheel ../p --output wheels --stamp $out --depfile $out.d"
    rule = f"rule wheel\n  command = {command}\n  depfile = $out.d\n  deps = gcc\n  restat = 1\n"
    write_tree(out, {"build.ninja": f"{rule}build w.stamp: wheel | ../p/pyproject.toml\n"})

    def runs() -> bool:
        done = subprocess.run([ninja, "-C", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()[-1] != NO_WORK

    assert (runs(), runs()) == (True, False)
    receipt = json.loads((out / "w.stamp").read_bytes())
    assert (receipt["name"], receipt["file"]) == ("My.Pkg", "my_pkg-1.5-py3-none-any.whl")
    source = project / "src" / "my_pkg" / "__init__.py"
    source.write_text("def main(): print('another')\n")
    assert (runs(), runs()) == (True, False)
    assert json.loads((out / "w.stamp").read_bytes())["sha256"] != receipt["sha256"]
    (project / "src" / "my_pkg" / "new.py").write_text("")
    assert (runs(), runs()) == (True, False)
    (out / "wheels" / receipt["file"]).unlink()
    assert (runs(), runs()) == (True, False)
    assert "my_pkg/new.py" in contents(out / "wheels" / receipt["file"])
