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

from interlock.build_requirements import tree_name
from interlock_runner import interlock, python_of, succeed
from trees import write_tree

SETUPTOOLS = (
    '[build-system]\nrequires = {}\nbuild-backend = "setuptools.build_meta"\n[tool.setuptools]\npackages = {}\n'
)
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


def setuptools_project(directory: Path, packages: list[str], requires: list[str], files: dict[str, str]) -> Path:
    text = SETUPTOOLS.format(["setuptools>=77", *requires], packages)
    return write_tree(
        directory, {"pyproject.toml": f'{text}[project]\nname = "{directory.name}"\nversion = "1"\n', **files}
    )


@pytest.mark.parametrize("as_sdist", [False, True])
def test_modules_of_what_builds_it_are_not_in_it(tmp_path: Path, *, as_sdist: bool) -> None:
    tool = setuptools_project(tmp_path / "tool", ["tool"], [], {"tool/__init__.py": ""})
    source = setuptools_project(tmp_path / "p", ["p"], ["tool"], {"p/__init__.py": ""})
    (tmp_path / "names").write_text("" if as_sdist else "tool\ttool\n")
    links = {"INTERLOCK_CACHE_DIR": str(tmp_path / "cache")}
    if as_sdist:
        command = [sys.executable, "-m", "build", "--sdist", "--installer", "uv", "--outdir", tmp_path / "links", tool]
        subprocess.run(command, check=True, capture_output=True)
        links |= dict.fromkeys(("UV_FIND_LINKS", "PIP_FIND_LINKS"), str(tmp_path / "links"))
    succeed("wheel", source, "--output", tmp_path / "out", "--workspace", tmp_path / "names", **links)
    (wheel,) = (tmp_path / "out").iterdir()
    assert {name.partition("/")[0] for name in contents(wheel)} == {"p", "p-1.dist-info"}


def test_an_unpacked_sdist_keeps_its_data(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "",
        "p/data.txt": "x",
        "PKG-INFO": "Metadata-Version: 2.1\nName: p\nVersion: 1\n",
        "p.egg-info/SOURCES.txt": "pyproject.toml\np/__init__.py\np/data.txt\n",
    }
    succeed("wheel", setuptools_project(tmp_path / "p", ["p"], [], files), "--output", tmp_path / "out")
    (wheel,) = (tmp_path / "out").iterdir()
    assert "p/data.txt" in contents(wheel)


def test_what_a_killed_build_has_left_is_not_in_it(tmp_path: Path) -> None:
    source = setuptools_project(tmp_path / "p", ["p"], [], {"p/__init__.py": ""})
    write_tree(tmp_path / "out" / f".{tree_name(str(source))}.tmp", {"build/lib/p/old.py": "", "wheel/x": ""})
    succeed("wheel", source, "--output", tmp_path / "out")
    (wheel,) = (tmp_path / "out").iterdir()
    assert "p/old.py" not in contents(wheel)


def test_many_at_once(tmp_path: Path) -> None:
    source = setuptools_project(tmp_path / "p", ["p"], [], {"p/__init__.py": ""})
    succeed("wheel", source, "--output", tmp_path / "out")
    before = listing(source)
    command = [sys.executable, "-P", "-m", "interlock", "wheel", str(source), "--output", str(tmp_path / "out")]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert listing(source) == before, "setuptools wrote there: another one's directory was taken away"
    assert listing(tmp_path / "out") == ["p-1-py3-none-any.whl"]


class Ninja:
    """A build with one wheel; `runs` tells whether there was something to do."""

    def __init__(self, program: str, out: Path, source: str) -> None:
        self.program, self.out = program, out
        command = f"{INTERLOCK} wheel {source} --output wheels --stamp $out --depfile $out.d"
        rule = f"rule wheel\n  command = {command}\n  depfile = $out.d\n  deps = gcc\n  restat = 1\n"
        write_tree(out, {"build.ninja": f"{rule}build w.stamp: wheel | {source}/pyproject.toml\n"})

    def runs(self) -> bool:
        done = subprocess.run([self.program, "-C", self.out], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()[-1] != NO_WORK

    def contents(self) -> dict[str, bytes]:
        (wheel,) = (self.out / "wheels").iterdir()
        return contents(wheel)


WRITERS = {
    "the same each time": "open('p/made.py', 'w').write('made = 1')",
    "once": "import os; os.path.exists('p/made.py') or open('p/made.py', 'w').write('made = 1')",
    "another each time": "import time; open('p/made.py', 'w').write(f'made = {time.time()}')",
    "caches": "import os, sys; sys.dont_write_bytecode = False; sys.path.insert(0, '.'); import p; os.makedirs('build/x',"
    " exist_ok=True)",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_the_build_makes_does_not_make_it_run_again(tmp_path: Path, writer: str, ninja: str) -> None:
    files = {"p/__init__.py": "", "setup.py": f"{WRITERS[writer]}\nimport setuptools\nsetuptools.setup()\n"}
    source = setuptools_project(tmp_path / "p", ["p"], [], files)
    build = Ninja(ninja, tmp_path / "out", "../p")
    assert (build.runs(), build.runs()) == (True, False)
    assert ("p/made.py" in build.contents()) == (writer != "caches")
    (source / "p" / "__init__.py").write_text("edited = 1\n")
    assert (build.runs(), build.runs()) == (True, False)
    assert build.contents()["p/__init__.py"] == b"edited = 1\n"
    os.utime(source / "pyproject.toml")
    assert (build.runs(), build.runs()) == (True, False)


def test_an_edit_that_is_made_during_the_build_is_not_lost(tmp_path: Path, ninja: str) -> None:
    # The edit: after setuptools has copied the module, in the first build only.
    setup = (
        "import os, setuptools\nsetuptools.setup()\n"
        "if 'bdist_wheel' in __import__('sys').argv and not os.path.exists('../edited'):\n"
        "    open('../edited', 'w').close()\n    open('p/__init__.py', 'w').write('edited = 1')\n"
    )
    setuptools_project(tmp_path / "p", ["p"], [], {"p/__init__.py": "", "setup.py": setup})
    build = Ninja(ninja, tmp_path / "out", "../p")
    assert (build.runs(), build.runs()) == (True, False)
    assert build.contents()["p/__init__.py"] == b"edited = 1"


def test_a_project_that_has_the_out_directory_in_it(tmp_path: Path, ninja: str) -> None:
    source = setuptools_project(tmp_path / "p", ["p", "p.build"], [], {"p/__init__.py": "", "p/build/__init__.py": ""})
    build = Ninja(ninja, source / "out", "..")
    assert (build.runs(), build.runs()) == (True, False)
    (source / "p" / "build" / "__init__.py").write_text("edited = 1\n")
    assert (build.runs(), build.runs()) == (True, False)
    assert build.contents()["p/build/__init__.py"] == b"edited = 1\n"


def test_the_edge_runs_when_something_can_be_otherwise(project: Path, tmp_path: Path, ninja: str) -> None:
    out = tmp_path / "out"
    build = Ninja(ninja, out, "../p")
    assert (build.runs(), build.runs()) == (True, False)
    receipt = json.loads((out / "w.stamp").read_bytes())
    assert (receipt["name"], receipt["file"]) == ("My.Pkg", "my_pkg-1.5-py3-none-any.whl")
    source = project / "src" / "my_pkg" / "__init__.py"
    source.write_text("def main(): print('another')\n")
    assert (build.runs(), build.runs()) == (True, False)
    assert json.loads((out / "w.stamp").read_bytes())["sha256"] != receipt["sha256"]
    write_tree(project / "src" / "my_pkg", {"new.py": ""})
    assert (build.runs(), build.runs()) == (True, False)
    (out / "wheels" / receipt["file"]).unlink()
    assert (build.runs(), build.runs()) == (True, False)
    assert "my_pkg/new.py" in build.contents()
    # In a directory that had none.
    write_tree(project / "src" / "my_pkg", {"deep/er/new.py": ""})
    assert (build.runs(), build.runs()) == (True, False)
