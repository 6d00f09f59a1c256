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

__all__ = ["locks"]

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


def locks(path: str) -> Finding:
    """Try a lock in every way in which it is used; `path` is that of a lock file, made here.

    Exclusive within this process and between two, shared, and left behind by a process that was killed.
    """
    try:
        wrong = _exclusion(path) or _sharing(path) or _release(path)
    except LockUnavailable as error:
        why = error.__cause__
        said = why.strerror if isinstance(why, OSError) and why.strerror else error.message
        return Finding("locks", "problem", f"cannot be had: {said}", ADVICE)
    if wrong:
        return Finding("locks", "problem", wrong, ADVICE)
    return Finding("locks", "ok", "exclusive and shared, between processes too; free again when the holder is killed")


def _exclusion(path: str) -> str:
    """Return what is wrong with an exclusive lock, "" where it keeps others out, within this process and between two."""
    with hold(path, Rank.ENVIRONMENT, what=WHAT, timeout=0):
        if _free(path):
            return "two who open the file in one process both get it"
    with _other(path, "exclusive"):
        if _free(path) or _free(path, shared=True):
            return "another process holds it, and it can be had all the same"
    return ""


def _sharing(path: str) -> str:
    """Return what is wrong with a shared lock, "" where it lets other readers in and keeps writers out."""
    with _other(path, "shared"):
        if not _free(path, shared=True):
            return "two readers cannot share it"
        if _free(path):
            return "a reader holds it, and a writer gets it all the same"
    return ""


def _release(path: str) -> str:
    """Return what is wrong where the lock of a process that was killed cannot be had."""
    with _other(path, "exclusive") as process:
        process.kill()
        process.wait()
        try:
            with hold(path, Rank.ENVIRONMENT, what=WHAT, timeout=RELEASE_LIMIT):
                return ""
        except LockTimeout:
            return "that of a killed process stays: it would keep out all later builds"


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
