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

from interlock import journal
from interlock.access import changing
from interlock.durable import Disk
from interlock.errors import LockTimeout, NotAnEnvironment
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
    with changing(path, disk=DISK, timeout=5):
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
