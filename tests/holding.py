"""Holding a lock in another process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HOLDER = """
import sys
from interlock.locks import Rank, hold
sys.argv[0] = "/somewhere/holder"
path, rank, shared = sys.argv[1], Rank[sys.argv[2]], sys.argv[3] == "shared"
with hold(path, rank, what="the thing", shared=shared):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held_elsewhere(path: Path, rank: str = "ENVIRONMENT", mode: str = "exclusive") -> Iterator[subprocess.Popen[str]]:
    """Hold a lock in another process for the length of the block, or until that process is ended."""
    command = [sys.executable, "-c", HOLDER, str(path), rank, mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            release(process)


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
