"""What is staged, where, and what becomes of it when its process dies or its environment goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock import cli, journal
from interlock.access import changing
from interlock.cache import cache_directory
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.errors import NotAnEnvironment
from interlock.locks import environment_lock_path
from interlock.staging import collect, staged
from interlock.transaction import commit

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import make_prepared, visible
from projects import make_project

from holding import held_elsewhere

DISK = Disk("fast")


def test_an_environment_that_was_replaced_during_the_wait_is_staged_for_again(
    tmp_path: Path, environment: Environment
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    lock = Path(environment_lock_path(environment.path))
    with changing(environment.path, disk=DISK):
        pass
    with ThreadPoolExecutor(1) as pool, held_elsewhere(lock):
        future = pool.submit(commit, prepared, environment.path, disk=DISK)
        staging = Path(journal.staging_directory(environment.path))
        while not future.done() and not list(staging.glob("*/**/RECORD")):
            time.sleep(0.001)
        os.rename(environment.path, tmp_path / "old")
        venv.create(environment.path, symlinks=os.name != "nt")
    assert future.result().changed
    assert visible(open_environment(environment.path)) == ["1.0"]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_an_environment_that_is_gone_does_not_come_back_by_staging(
    tmp_path: Path, environment: Environment, when: str
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a/b.py": "1\n"})

    class Losing(Disk):
        def copy(self, source: str, destination: str, *, executable: bool = False) -> None:
            super().copy(source, destination, executable=executable)
            shutil.rmtree(environment.path, ignore_errors=True)

    if when == "before":
        shutil.rmtree(environment.path)
    with pytest.raises(NotAnEnvironment):
        commit(prepared, environment.path, disk=Losing("fast"))
    with pytest.raises(NotAnEnvironment), staged(prepared, environment.path, DISK):
        pass
    assert not os.path.lexists(environment.path)


def test_half_of_a_tree_is_not_staged_into_an_environment_that_came_later(
    tmp_path: Path, environment: Environment
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n", "pkg/b.py": "1\n"})
    replaced = []

    class Replacing(Disk):
        def make_directory(self, path: str, mode: int = 0o775, *, below: str = "") -> None:
            if os.path.basename(path) == "pkg" and not replaced:
                replaced.append(os.rename(environment.path, tmp_path / "old"))
                venv.create(environment.path, symlinks=os.name != "nt")
            super().make_directory(path, mode, below=below)

    assert commit(prepared, environment.path, disk=Replacing("fast")).changed
    assert (Path(environment.site_packages[0]) / "a.py").exists()
    assert visible(environment) == ["1.0"]


@pytest.mark.skipif(os.name == "nt", reason="only age tells there")
def test_what_dead_processes_staged_is_removed(tmp_path: Path, environment: Environment) -> None:
    staging = Path(journal.staging_directory(environment.path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"{dead.pid}-00ff", f"{os.getpid()}-00ff", f"{os.getppid()}-00ff", f"{os.getppid()}-11ff", "notes"):
        (staging / name / "lib").mkdir(parents=True)
    os.utime(staging / f"{os.getppid()}-11ff", (time.time() - 90_000,) * 2)
    with changing(environment.path, disk=DISK):
        pass
    assert sorted(os.listdir(staging)) == sorted([f"{os.getpid()}-00ff", f"{os.getppid()}-00ff", "notes"])
    (staging / f"{dead.pid}-00ff").mkdir()
    collect(str(staging), disk=DISK, by_process=False)
    assert (staging / f"{dead.pid}-00ff").exists()


def test_the_journal_of_another_commit_does_not_keep_what_was_staged(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    staging = Path(journal.staging_directory(environment.path))
    with staged(prepared, environment.path, DISK) as mine:
        journal.write(environment.path, journal.Journal(f"{journal.STAGING}/other", (), ()), disk=DISK)
    assert os.listdir(staging) == []
    with staged(prepared, environment.path, DISK) as mine:
        journal.write(environment.path, journal.Journal(mine, (), ()), disk=DISK)
    assert os.listdir(staging) == [os.path.basename(mine)]


@pytest.mark.skipif(os.name == "nt", reason="the backend's own python is in use there")
def test_an_environment_that_a_build_outlives_does_not_come_back(
    tmp_path: Path, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(
        tmp_path / "p", backend=f"import shutil\nshutil.rmtree({environment.path!r}, ignore_errors=True)\n"
    )
    assert cli.main(["editable", str(project), "--venv", environment.path]) == 21
    assert "is not a virtual environment: nothing is there" in capsys.readouterr().err
    assert not os.path.lexists(environment.path)
    assert os.listdir(os.path.join(cache_directory(), "prepared")) == []
