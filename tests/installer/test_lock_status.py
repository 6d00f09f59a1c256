"""`interlock lock status`: free, shared or held alone, by whom, and who waits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from holding import held_elsewhere
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.locks import environment_lock_path, uv_lock_path
from interlock_runner import interlock, succeed


@pytest.fixture
def environment(tmp_path: Path) -> str:
    return create_environment(str(tmp_path / "env"), python=None, disk=Disk("fast"))[0].path


def status(environment: str) -> dict[str, dict[str, Any]]:
    found = json.loads(succeed("lock", "status", "--venv", environment, "--format", "json"))
    return {entry["lock"]: entry for entry in found}


def test_free_locks(environment: str) -> None:
    lines = succeed("lock", "status", "--venv", environment).splitlines()
    assert lines == [
        f"environment free       {environment_lock_path(environment)}",
        f"uv          free       {uv_lock_path(environment)}",
    ]


def test_a_holder_is_shown(environment: str) -> None:
    with held_elsewhere(Path(environment_lock_path(environment))) as process:
        shown = status(environment)
        assert shown["environment"]["state"] == "exclusive"
        [holder] = shown["environment"]["holders"]
        assert holder["pid"] == process.pid
        assert holder["since"] > time.time() - 60
        assert (shown["uv"]["state"], shown["uv"]["holders"]) == ("free", [])
        assert f"held by process {process.pid} (interlock " in succeed("lock", "status", "--venv", environment)


def test_a_reader_is_shown(environment: str) -> None:
    with held_elsewhere(Path(uv_lock_path(environment)), "UV", "shared") as process:
        shown = status(environment)
        assert shown["uv"]["state"] == "shared"
        if sys.platform == "linux":
            assert [holder["pid"] for holder in shown["uv"]["holders"]] == [process.pid]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")
def test_who_waits_is_shown(environment: str) -> None:
    command = [sys.executable, "-P", "-m", "interlock", "list", "--venv", environment]
    with held_elsewhere(Path(environment_lock_path(environment))) as process:
        with (
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one,
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other,
        ):
            while len(shown := status(environment)["environment"]["waiting"]) < 2:
                time.sleep(0.05)
            assert set(shown) == {one.pid, other.pid}, "each once, and the holder is not among them"
            assert process.stdin is not None
            process.stdin.close()
            assert (one.wait(), other.wait()) == (0, 0)


def test_an_environment_that_is_not_there_has_free_locks(tmp_path: Path) -> None:
    assert [entry["state"] for entry in status(str(tmp_path / "no")).values()] == ["free", "free"]
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def test_a_word_that_is_no_command(environment: str) -> None:
    result = interlock("lock", "stats", "--venv", environment)
    assert result.returncode == 2
    assert "did you mean lock status?" in result.stderr
