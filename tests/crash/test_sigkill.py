"""SIGKILL of a whole build at random moments: what is there afterwards is whole, and the next build finishes.

The recovery itself is swept operation by operation in tests/installer/test_transaction.py; here the processes are real.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interlock.access import changing
from interlock.durable import Disk
from interlock_runner import SCRIPTS, kill_session, succeed, verify
from monorepos import materialise

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "6"))


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="process groups and SIGKILL are POSIX")
def test_a_killed_build_leaves_nothing_half_done(tmp_path: Path) -> None:
    facts = materialise("opentelemetry-python", tmp_path, limit=16)
    modules = [project.module for project in facts]
    chance = random.Random(15335)
    started = time.monotonic()
    succeed("build", "--root", tmp_path, "-j128")
    whole = time.monotonic() - started
    for number in range(ROUNDS):
        if number % 2:
            shutil.rmtree(tmp_path / ".venv")
        else:
            shutil.rmtree(tmp_path / "out")
        kill_within(tmp_path, chance.uniform(0.05, whole))
        if (tmp_path / ".venv" / SCRIPTS / "python").exists():
            with changing(str(tmp_path / ".venv"), disk=Disk("fast")):
                verify(tmp_path / ".venv", [])  # whatever is there by now, is there whole
        succeed("build", "--root", tmp_path, "-j128")
        verify(tmp_path / ".venv", modules)
        succeed("check", "--venv", tmp_path / ".venv")


def kill_within(root: Path, seconds: float) -> None:
    """Start a build in a session of its own and kill all of it after some time."""
    command = [sys.executable, "-P", "-m", "interlock", "build", "--root", str(root), "-j128"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as build:
        time.sleep(seconds)
        kill_session(build.pid)
