"""The edges `venv` and `requirements` under real Ninjas: they run when something they read has changed, and else not."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from index_server import serve
from interlock_runner import interlock, succeed

INTERLOCK = shlex.join([sys.executable, "-P", "-m", "interlock"])
NO_WORK = "ninja: no work to do."


class Build:
    """A build directory with one edge, beside its environment."""

    def __init__(self, ninja: str, root: Path, kind: str, command: str, inputs: str = "", **environ: str) -> None:
        self.ninja, self.out, self.environ = ninja, root / "out", {**os.environ, **environ}
        self.out.mkdir()
        (self.out / "build.ninja").write_text(
            f"rule {kind}\n"
            f"  command = {INTERLOCK} {command} --stamp $out --depfile $out.d\n"
            "  depfile = $out.d\n  deps = gcc\n  restat = 1\n"
            f"build {kind}.stamp: {kind} | fixed {inputs}\n",
            encoding="utf-8",
        )
        (self.out / "fixed").write_text("", encoding="utf-8")
        self.stamp = self.out / f"{kind}.stamp"

    def run(self) -> str:
        """Build, and return the last line that Ninja printed."""
        done = subprocess.run(
            [self.ninja, "-C", self.out], env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[-1]

    def ran(self) -> bool:
        return self.run() != NO_WORK

    def receipt(self) -> dict[str, object]:
        data = json.loads(self.stamp.read_bytes())
        assert isinstance(data, dict)
        return data


@pytest.fixture
def venv(ninja: str, tmp_path: Path) -> Build:
    return Build(ninja, tmp_path, "venv", "venv ../env")


def test_a_second_build_has_no_work(venv: Build) -> None:
    assert venv.ran()
    assert venv.run() == NO_WORK


def test_a_second_build_has_no_work_in_an_environment_of_another_tool(venv: Build, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")]
    subprocess.run(command, check=True)
    assert venv.ran()
    assert (tmp_path / "env" / ".interlock" / "environment.json").exists()
    assert venv.run() == NO_WORK


def test_a_deleted_environment_is_made_again_as_another(venv: Build, tmp_path: Path) -> None:
    venv.run()
    before = venv.receipt()
    shutil.rmtree(tmp_path / "env")
    assert venv.ran()
    assert venv.run() == NO_WORK
    assert venv.receipt()["environment"] != before["environment"]
    assert {**venv.receipt(), "environment": ""} == {**before, "environment": ""}


def test_one_that_was_made_again_by_hand_is_noticed(venv: Build, tmp_path: Path) -> None:
    venv.run()
    before = venv.receipt()
    shutil.rmtree(tmp_path / "env")
    succeed("venv", tmp_path / "env")
    assert venv.ran()
    assert venv.run() == NO_WORK
    assert venv.receipt()["environment"] != before["environment"]


def test_a_tree_that_was_moved_gets_an_environment_of_its_place(ninja: str, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    build = Build(ninja, tmp_path / "before", "venv", "venv ../env")
    assert build.ran()
    before = build.receipt()
    (tmp_path / "before").rename(tmp_path / "after")
    build.out, build.stamp = tmp_path / "after" / "out", tmp_path / "after" / "out" / "venv.stamp"
    assert build.ran()
    assert build.run() == NO_WORK
    assert build.receipt()["environment"] != before["environment"]


def test_a_touch_runs_the_edge_and_leaves_the_stamp(venv: Build, tmp_path: Path) -> None:
    venv.run()
    before = venv.stamp.stat().st_mtime_ns
    os.utime(tmp_path / "env" / "pyvenv.cfg")
    assert venv.ran()
    assert venv.run() == NO_WORK
    assert venv.stamp.stat().st_mtime_ns == before


def test_a_lost_stamp_tells_of_the_environment_that_is_there(venv: Build, tmp_path: Path) -> None:
    venv.run()
    before = venv.stamp.read_bytes()
    venv.stamp.unlink()
    assert venv.ran()
    assert venv.run() == NO_WORK
    assert venv.stamp.read_bytes() == before


def test_paths_that_ninja_must_be_told_of_with_care(ninja: str, tmp_path: Path) -> None:
    root = tmp_path / "a b$c#d" / "ü"
    root.mkdir(parents=True)
    build = Build(ninja, root, "venv", "venv '../e n:v'")
    assert build.ran()
    assert build.run() == NO_WORK
    shutil.rmtree(root / "e n:v")
    assert build.ran()
    assert build.run() == NO_WORK


def test_the_receipt(venv: Build, tmp_path: Path) -> None:
    venv.run()
    noted = json.loads((tmp_path / "env" / ".interlock" / "environment.json").read_bytes())
    assert venv.receipt() == {
        "edge": "venv",
        "environment": noted["identity"],
        "python": noted["interpreter"]["markers"]["python_full_version"],
        "executable": os.path.realpath(noted["interpreter"]["executable"]),
    }


def test_requirements_run_again_when_any_of_their_files_changes(ninja: str, tmp_path: Path) -> None:
    succeed("venv", tmp_path / "env")
    (tmp_path / "sub").mkdir()
    (tmp_path / "r.txt").write_text("-r sub/n.txt\n", encoding="utf-8")
    (tmp_path / "sub" / "n.txt").write_text("third\n", encoding="utf-8")
    (tmp_path / "c.txt").write_text("third>=1\n", encoding="utf-8")
    (tmp_path / "names").write_text("private-core\n", encoding="utf-8")
    with serve() as index:
        index.add("third", "1.5", ("private-core",))
        index.add("fourth", "2.0")
        command = "requirements --venv ../env -r ../r.txt -c ../c.txt --private ../names"
        build = Build(ninja, tmp_path, "requirements", command, **index.environ)
        assert build.ran()
        assert build.run() == NO_WORK
        before = build.receipt()["installed"]
        for name in ("r.txt", "sub/n.txt", "c.txt", "names"):
            os.utime(tmp_path / name)
            assert build.ran(), name
            assert build.run() == NO_WORK
        (tmp_path / "sub" / "n.txt").write_text("third\nfourth\n", encoding="utf-8")
        assert build.ran()
        assert build.run() == NO_WORK
        assert build.receipt()["installed"] != before
        # A deleted environment: made again by whoever makes it, and these are installed again.
        shutil.rmtree(tmp_path / "env")
        succeed("venv", tmp_path / "env")
        assert build.ran()
        assert build.run() == NO_WORK
        assert succeed("list", "--venv", tmp_path / "env") == "fourth  2.0\nthird   1.5\n"
        assert set(index.asked) == {"third", "fourth"}


def test_without_a_stamp_one_line_says_what_was_done(tmp_path: Path) -> None:
    version = "{}.{}.{}".format(*sys.version_info)
    made = succeed("venv", "env", cwd=tmp_path)
    assert made == f"created env with {sys.implementation.name} {version}\n"
    assert succeed("venv", "env", cwd=tmp_path).startswith("kept env with ")
    (tmp_path / "r.txt").write_text("", encoding="utf-8")
    assert succeed("requirements", "--venv", "env", "-r", "r.txt", cwd=tmp_path) == "no requirements to install\n"
    assert sorted(os.listdir(tmp_path)) == ["env", "env.interlock.lock", "r.txt"]


def test_with_a_stamp_nothing_is_said(tmp_path: Path) -> None:
    assert succeed("venv", "env", "--stamp", "o/s", "--depfile", "o/d", cwd=tmp_path) == ""
    assert (tmp_path / "o" / "d").read_text(encoding="utf-8").startswith("o/s: \\\n")
    assert succeed("requirements", "--venv", "env", "--stamp", "o/r", "--depfile", "o/r.d", cwd=tmp_path) == ""


def test_errors_of_the_venv_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = interlock("venv", "file", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (21, "")
    assert refused.stderr.splitlines() == [
        f"interlock: error: cannot create an environment at {tmp_path / 'file'}: it is a file",
        "  Nothing was changed. Choose another path, or move what is there away.",
    ]
    unknown = interlock("venv", "env", "--python", "2.6", "--stamp", "s", cwd=tmp_path)
    assert unknown.returncode == 20
    assert not (tmp_path / "s").exists()
    missing = interlock("requirements", "--venv", "none", "-r", "gone.txt", cwd=tmp_path)
    assert missing.returncode == 10
    missing = interlock("requirements", "--venv", "none", cwd=tmp_path)
    assert missing.returncode == 21
    assert sorted(os.listdir(tmp_path)) == ["env.interlock.lock", "file"]
