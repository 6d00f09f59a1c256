"""A child that goes on after its edge was killed keeps the locks of what it changes; real engines, real backends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock.build_requirements import tree_name
from interlock.cache import cache_directory
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.errors import LockTimeout
from interlock.locks import Rank, environment_lock_path, hold, inherited

pytestmark = pytest.mark.skipif(os.name == "nt", reason="locks are not inherited there")

DISK = Disk("fast")

# A backend that says that it runs, and waits until it may end.
WAITS = """
    import time
    def wait():
        open("../running", "w").close()
        while not os.path.exists("../go"):
            time.sleep(0.01)
        open("../ended", "w").close()
    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        wait()
        return wheel(wheel_directory)
    build_editable = build_wheel
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_locked(path: str, rank: Rank) -> bool:
    try:
        with hold(path, rank, what="it", timeout=0):
            return False
    except LockTimeout:
        return True


def killed(tmp_path: Path, *command: str) -> None:
    """Start an edge, and kill it without a warning as soon as its backend runs."""
    words = [sys.executable, "-m", "interlock", *command]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "running").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_an_engine_keeps_the_lock_of_the_environment(engine: str, tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    project = make_project(tmp_path / "p", backend=WAITS)
    (tmp_path / "r.txt").write_text(f"core @ {project.as_uri()}\n", encoding="utf-8")
    killed(tmp_path, "requirements", "--venv", environment.path, "-r", str(tmp_path / "r.txt"), "--engine", engine)
    lock = environment_lock_path(environment.path)
    assert is_locked(lock, Rank.ENVIRONMENT)
    (tmp_path / "go").touch()
    with hold(lock, Rank.ENVIRONMENT, what="the environment", timeout=120):
        assert (tmp_path / "ended").exists()


def test_a_backend_keeps_the_locks_of_its_tree_and_its_build_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    project = make_project(tmp_path / "p", backend=WAITS)
    killed(tmp_path, "prepare", str(project), "--venv", environment.path, "--output", str(tmp_path / "prepared"))
    tree = os.path.join(cache_directory(), "locks", f"{tree_name(str(project))}.lock")
    (build,) = (str(path) for path in (tmp_path / "cache" / "build-environments").glob("*.lock"))
    assert is_locked(tree, Rank.SOURCE_TREE)
    assert is_locked(build, Rank.BUILD_ENVIRONMENT)
    (tmp_path / "go").touch()
    wait_for(lambda: not is_locked(tree, Rank.SOURCE_TREE) and not is_locked(build, Rank.BUILD_ENVIRONMENT))


def test_what_makes_an_environment_keeps_its_lock(tmp_path: Path) -> None:
    """The interpreter is the real one, behind a script that waits before it makes the environment."""
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *_venv_script*) touch {tmp_path}/running; '
        f'while [ ! -e {tmp_path}/go ]; do sleep 0.01; done;; esac\nexec {sys.executable} "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    code = (
        "import sys\nfrom dataclasses import replace\nfrom interlock.create import make_environment\n"
        "from interlock.durable import Disk\nfrom interlock.interpreter import find_interpreter\n"
        "from interlock.locks import Rank, hold\n"
        "with hold(sys.argv[1], Rank.ENVIRONMENT, what='it'):\n"
        "    make_environment(sys.argv[2], replace(find_interpreter(), executable=sys.argv[3]), Disk('fast'))\n"
    )
    lock = str(tmp_path / "lock")
    process = subprocess.Popen([sys.executable, "-c", code, lock, str(tmp_path / "env"), str(script)])
    wait_for((tmp_path / "running").exists)
    process.kill()
    process.wait()
    assert is_locked(lock, Rank.ENVIRONMENT)
    (tmp_path / "go").touch()
    wait_for(lambda: not is_locked(lock, Rank.ENVIRONMENT))


def test_a_daemon_that_a_child_leaves_behind_keeps_nothing_locked(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with hold(lock, Rank.ENVIRONMENT, what="it"):
        assert len(inherited()) == 1
        daemon = subprocess.Popen(["sleep", "600"], pass_fds=inherited())
    try:
        assert inherited() == ()
        assert not is_locked(lock, Rank.ENVIRONMENT)
    finally:
        daemon.kill()
        daemon.wait()
