"""Exclusive access to an environment: against interlock, against uv, and with what a dead process left put right."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holding import held_elsewhere
from interlock import access, journal
from interlock.access import changing, reading
from interlock.durable import Disk
from interlock.environment import open_environment
from interlock.errors import LockTimeout, LockUnavailable, NotAnEnvironment
from interlock.lock_state import state
from interlock.locks import environment_lock_path, uv_lock_path

DISK = Disk("fast")


@pytest.fixture
def path(tmp_path: Path) -> str:
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    return str(tmp_path / "env")


@contextmanager
def held(lock: str) -> Iterator[None]:
    """Let another process hold a lock file for the length of a `with` block."""
    code = (
        "import sys\nfrom interlock.locks import Rank, hold\n"
        "with hold(sys.argv[1], Rank.UV, what='it'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, lock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"held"
        yield
        child.kill()


@pytest.mark.parametrize("lock", [environment_lock_path, uv_lock_path])
def test_whoever_holds_either_lock_keeps_a_change_out(path: str, lock: object) -> None:
    assert callable(lock)
    with held(lock(path)):
        with pytest.raises(LockTimeout), changing(path, disk=DISK, timeout=0.2):
            pytest.fail("two at once")
    with changing(path, disk=DISK, timeout=120):  # who gave up waiting may have it for a moment
        pass


def test_uvs_lock_is_left_to_uv_where_uv_will_work(path: str) -> None:
    with held(uv_lock_path(path)), changing(path, disk=DISK, timeout=0.2, uv_lock=False):
        pass


@pytest.mark.parametrize("lock", [environment_lock_path, uv_lock_path])
def test_a_change_keeps_both_locks(path: str, lock: object) -> None:
    assert callable(lock)
    code = (
        "import sys\nfrom interlock.errors import LockTimeout\nfrom interlock.locks import Rank, hold\n"
        "try:\n    with hold(sys.argv[1], Rank.UV, what='it', timeout=0.2):\n        print('had')\n"
        "except LockTimeout:\n    print('kept out')\n"
    )
    with changing(path, disk=DISK):
        answer = subprocess.run([sys.executable, "-c", code, lock(path)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "kept out"


def test_an_environment_without_identity_gets_one_and_keeps_it(path: str) -> None:
    with changing(path, disk=DISK) as first:
        assert first.identity
    with changing(path, disk=DISK) as second:
        assert second.identity == first.identity


def test_what_a_dead_process_began_is_finished_before_anything_else(path: str) -> None:
    staging = f"{journal.STAGING}/1-abc"
    staged = Path(path, *staging.split("/"))
    staged.mkdir(parents=True)
    (staged / "new").write_text("new", encoding="utf-8")
    journal.write(path, journal.Journal(staging, (("replace", f"{staging}/new", "new"),), ()), disk=DISK)
    with changing(path, disk=DISK):
        assert Path(path, "new").read_text(encoding="utf-8") == "new"
        assert not os.path.exists(journal.journal_path(path))


def test_an_environment_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(NotAnEnvironment, match="nothing is there"), changing(str(tmp_path / "no"), disk=DISK):
        pass


def unfinished(path: str) -> Path:
    """Leave what a commit leaves that was killed before its only rename; return the place of the file."""
    environment = open_environment(path)
    staging = Path(path, ".interlock", "staging", "1-aa")
    staging.mkdir(parents=True)
    (staging / "late.py").touch()
    place = f"{environment.layout.purelib}/late.py"
    operations = (("replace", ".interlock/staging/1-aa/late.py", place),)
    journal.write(path, journal.Journal(".interlock/staging/1-aa", operations, ()), disk=DISK)
    return Path(environment.absolute(place))


def test_a_snapshot_keeps_changes_out_and_readers_in(path: str) -> None:
    environment = open_environment(path)
    with environment.shared() as one, held_elsewhere(Path(environment_lock_path(path)), mode="shared"):
        assert one.path == environment.path
        assert state(environment_lock_path(path)) == state(uv_lock_path(path)) == "shared"
    with held_elsewhere(Path(environment_lock_path(path))), pytest.raises(LockTimeout):
        with environment.shared(timeout=0.05):
            pass


def test_a_snapshot_is_of_a_whole_environment(path: str) -> None:
    late = unfinished(path)
    with open_environment(path).shared():
        assert late.exists()
    assert not os.path.exists(journal.journal_path(path))


def test_who_asks_for_it_sees_what_is_unfinished(path: str) -> None:
    late = unfinished(path)
    with reading(path, unfinished=True):
        assert os.path.exists(journal.journal_path(path))
    assert not late.exists()


def test_an_unfinished_commit_is_not_read_by_who_cannot_finish_it(path: str) -> None:
    unfinished(path)
    with held(environment_lock_path(path)), pytest.raises(LockTimeout), reading(path, timeout=0.05):
        pass


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
@pytest.mark.parametrize("kind", ["link to nowhere", "directory"])
def test_a_journal_that_is_none_stops_no_reader(path: str, kind: str) -> None:
    with changing(path, disk=DISK):
        pass
    place = Path(journal.journal_path(path))
    place.symlink_to("/nowhere") if kind != "directory" else place.mkdir()
    with reading(path):
        assert not os.path.lexists(place)
    assert os.path.lexists(journal.damaged_path(path))


@pytest.mark.skipif(os.name == "nt", reason="modes")
def test_who_cannot_finish_a_change_is_told_what_is_to_be_done(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(path)

    def refused(*_: object, **__: object) -> None:
        raise LockUnavailable("cannot lock it: Permission denied")

    monkeypatch.setattr(access, "changing", refused)
    with pytest.raises(LockUnavailable, match="was interrupted, and cannot be finished: cannot lock it") as caught:
        with reading(path):
            pass
    assert "let somebody who may write there" in caught.value.advice
