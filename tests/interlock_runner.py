"""Running the real command in a real process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VERIFIER = ROOT / "tests" / "verifier.py"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
SUFFIX = ".exe" if os.name == "nt" else ""


def interlock(*words: str | Path, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `interlock` and return what it did, whatever that was."""
    command = [sys.executable, "-P", "-m", "interlock", *map(str, words)]
    merged = {**os.environ, **environ}
    return subprocess.run(command, cwd=cwd, env=merged, capture_output=True, text=True, encoding="utf-8", check=False)


def succeed(*words: str | Path, cwd: Path | None = None, **environ: str) -> str:
    """Run `interlock`, insist on exit code 0, and return its standard output."""
    result = interlock(*words, cwd=cwd, **environ)
    assert result.returncode == 0, f"interlock {' '.join(map(str, words))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def python_of(environment: Path) -> str:
    """Return the python of an environment."""
    return str(environment / SCRIPTS / f"python{SUFFIX}")


def script_of(environment: Path, name: str) -> str:
    """Return a console script of an environment."""
    return str(environment / SCRIPTS / f"{name}{SUFFIX}")


def verify(environment: Path, modules: list[str]) -> None:
    """Have the independent verifier look at an environment, with these modules imported."""
    command = [python_of(environment), "-I", str(VERIFIER), *modules]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@contextlib.contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a program that does not outlive its test: one that fails leaves nothing that another test would be blamed for."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_session(leader: int) -> None:
    """Kill all processes of a session (POSIX): Ninja gives every edge a process group of its own.

    Until there are none: those that are still to be killed start others meanwhile.
    """
    command = ["ps", "-o", "pid=,stat=", "-s", str(leader)]
    pids = [leader]
    while pids:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        pids = [int(pid) for pid, state in map(str.split, listed) if state[0] not in "ZX"]
