"""Whether locks work in a directory: taken for real, by this process and by another one, and the other one killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from interlock.errors import LockTimeout, LockUnavailable
from interlock.findings import Finding
from interlock.locks import Rank, hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["exclusion", "release", "sharing"]

ADVICE = (
    "Nothing can be built here: put environment, out directory and cache on a local disk, or mount this one so that flock "
    "works (NFS: without `nolock`, with a lock daemon at both ends)."
)
WHAT = "the doctor's lock"
RELEASE_LIMIT = 1.0  # seconds; a longer wait would be announced, and the doctor is the one who speaks here
_HOLDER = """
import os, sys
sys.path[:] = sys.argv[1].split(os.pathsep)
from interlock.errors import InterlockError
from interlock.locks import Rank, hold
try:
    with hold(sys.argv[2], Rank.ENVIRONMENT, what="a lock", shared=sys.argv[3] == "shared", timeout=0):
        print("held", flush=True)
        sys.stdin.read()
except InterlockError as error:
    print(error.message, flush=True)
"""


def exclusion(path: str) -> Finding:
    """Tell whether an exclusive lock keeps others out, within this process and between two."""
    topic = "exclusive lock"
    with hold(path, Rank.ENVIRONMENT, what=WHAT, timeout=0):
        if _free(path):
            return Finding(topic, "problem", "two who open the file in one process both get it", ADVICE)
    with _other(path, "exclusive"):
        if _free(path) or _free(path, shared=True):
            return Finding(topic, "problem", "another process holds it, and it can be had all the same", ADVICE)
    return Finding(topic, "ok", "keeps others out, in this process and in another one")


def sharing(path: str) -> Finding:
    """Tell whether a shared lock lets other readers in and keeps writers out."""
    topic = "shared lock"
    with _other(path, "shared"):
        if not _free(path, shared=True):
            return Finding(topic, "problem", "two readers cannot share it", ADVICE)
        if _free(path):
            return Finding(topic, "problem", "a reader holds it, and a writer gets it all the same", ADVICE)
    return Finding(topic, "ok", "lets readers in, keeps writers out")


def release(path: str) -> Finding:
    """Tell whether the lock of a process that is killed can be had afterwards."""
    topic = "killed holder"
    with _other(path, "exclusive") as process:
        process.kill()
        process.wait()
        try:
            with hold(path, Rank.ENVIRONMENT, what=WHAT, timeout=RELEASE_LIMIT):
                return Finding(topic, "ok", "its lock is free at once")
        except LockTimeout:
            return Finding(
                topic, "problem", "its lock stays; a build that is killed would block all later ones", ADVICE
            )


def _free(path: str, *, shared: bool = False) -> bool:
    """Take a lock through a descriptor of its own; the later rank, since this thread may hold the file's lock already."""
    try:
        with hold(path, Rank.UV, what=WHAT, shared=shared, timeout=0):
            return True
    except LockTimeout:
        return False


@contextlib.contextmanager
def _other(path: str, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a lock in another process for the length of the block, or until that process is ended.

    Raises:
        LockUnavailable: it could not have it, and said why.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, os.pathsep.join(sys.path), path, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            said = _line(process.stdout)
            if said != "held":
                raise LockUnavailable(f"another process: {said or _line(process.stderr)}", advice=ADVICE)
            yield process
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


def _line(stream: IO[bytes] | None) -> str:
    return stream.readline().decode("utf-8", "replace").strip() if stream else ""
