"""What every test may ask for, and the surroundings that none may inherit."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings

from interlock.workers import stop_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]

# A developer's shell may have any of these, and each changes what a child process does.
INHERITED = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "NINJA_STATUS", "NINJAFLAGS", "MAKEFLAGS", "UV_PYTHON")

# No example fails for the time that it takes, nor another one each time; INTERLOCK_TEST_ROUNDS looks further.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize="INTERLOCK_TEST_ROUNDS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


# The path of a socket has 107 bytes, and ours has 40 after this.
LONGEST_RUNTIME_DIRECTORY = 60


class RequireTool(Protocol):
    def __call__(self, name: str, *, platforms: tuple[str, ...] = ...) -> str: ...


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the run a cache of its own, shared by the workers of pytest-xdist, and none of the shell's settings."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        for name in [*INHERITED, *(name for name in os.environ if name.startswith("INTERLOCK_"))]:
            if not name.startswith("INTERLOCK_TEST_"):
                patch.delenv(name, raising=False)
        patch.setenv("INTERLOCK_CACHE_DIR", str(run / "interlock-cache"))
        patch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        # Python takes a module of the same size that is written in the same second for the one that it has compiled: no
        # person is that quick, tests are.
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        patch.setenv("XDG_RUNTIME_DIR", private_directory(run))
        patch.setenv("INTERLOCK_WORKER_IDLE", "3")
        # The suite runs with workers, and a part of it without them too: the plain path is the reference.
        patch.setenv("INTERLOCK_WORKER", os.environ.get("INTERLOCK_TEST_WORKER", "1"))
        heed_signals()
        yield
        stop_workers()


def private_directory(run: Path) -> str:
    """Return a directory for the sockets of this run's workers; what another run has started serves none of its tests."""
    path = run / "run"
    if len(str(path)) > LONGEST_RUNTIME_DIRECTORY:
        path = Path(tempfile.gettempdir(), f"interlock-test-{os.getpid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    return str(path)


def heed_signals() -> None:
    """Let children be interrupted: what a shell runs in the background ignores that, and so does all that it starts."""
    for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of this repository."""
    return ROOT


@pytest.fixture(scope="session")
def require_tool() -> RequireTool:
    """Return a function that finds a program, `require_tool("strace", platforms=("linux",))`, and returns its path.

    A program that is not there skips the test on a developer's machine and fails it where CI is set, so that CI never
    passes by testing less. On other platforms than those named the test is skipped everywhere.
    """

    def require(name: str, *, platforms: tuple[str, ...] = ("linux", "darwin", "win32")) -> str:
        if sys.platform not in platforms:
            pytest.skip(f"{name} is not used on {sys.platform}")
        found = shutil.which(name)
        if found is None:
            missing = f"{name} is not on PATH; .ci/run installs it on Debian"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
        return found

    return require


@pytest.fixture(params=["bundled", "debian"])
def ninja(request: pytest.FixtureRequest) -> str:
    """Return a real Ninja: the one that interlock depends on (1.13), and on Linux Debian's too (1.11)."""
    if request.param == "bundled":
        from interlock_ninja.commands.build import ninja_program

        return ninja_program()
    if sys.platform != "linux":
        pytest.skip("Debian's Ninja is on Linux")
    if not Path("/usr/bin/ninja").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "/usr/bin/ninja is missing; .ci/run installs it on Debian"
        )
    return "/usr/bin/ninja"


# A second GN to test with: a developer's, since Debian has but one.
OTHER_GN = os.environ.get("INTERLOCK_TEST_GN", "")


@pytest.fixture(scope="session", params=["debian", "other"] if OTHER_GN else ["debian"])
def gn(request: pytest.FixtureRequest, require_tool: RequireTool) -> str:
    """Return a real GN: the one on PATH (Debian's of 2022 in CI), and the one that INTERLOCK_TEST_GN names, if it is set."""
    return OTHER_GN if request.param == "other" else require_tool("gn", platforms=("linux", "darwin"))
