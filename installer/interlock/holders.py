"""Who holds a lock: what the kernel says where it can be asked, and the note that an exclusive holder leaves in the file.

A note outlives a holder that is killed. It is believed only as long as it can be true: where the kernel lists who holds
the file (Linux, /proc/locks), only if its process is among them; elsewhere, if its process was there before the note.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass

from interlock.documents import parse_json

__all__ = ["Holder", "clear_note", "describe_holders", "holders", "is_alive", "waiting", "write_note"]

# The note starts behind byte 0, which is what Windows locks: the rest of the file stays readable for those who wait.
NOTE_OFFSET = 1
LONGEST_COMMAND = 200
KERNEL_LOCKS = "/proc/locks"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock; what is not known is "" or 0.

    `edge` is the stamp of the build's edge, `since` in seconds since the epoch. Is `alive` False, then the process has
    ended, and one that it started keeps the lock until it ends too.
    """

    pid: int
    command: str = ""
    edge: str = ""
    since: float = 0.0
    alive: bool = True

    def __str__(self) -> str:
        edge = f", edge {self.edge}" if self.edge else ""
        since = time.strftime(", since %H:%M:%S", time.localtime(self.since)) if self.since else ""
        ended = "" if self.alive else "; it has ended, and a process that it started goes on"
        # Another process's command line goes to a terminal: nothing in it may steer that.
        text = f"{self.command or 'unknown'}{edge}"
        shown = "".join(character if character.isprintable() else " " for character in text)
        return f"process {self.pid} ({shown}){since}{ended}"


def write_note(lock: int | str) -> None:
    """Say in a lock file (its descriptor, or path) that this process holds it; no error where it cannot be written."""
    # `python -m interlock` calls itself __main__.py
    command = " ".join(["interlock", *sys.argv[1:]])[:LONGEST_COMMAND]
    edge = next((value for word, value in zip(sys.argv, sys.argv[1:], strict=False) if word == "--stamp"), "")
    note = json.dumps({"pid": os.getpid(), "command": command, "edge": edge, "since": time.time()}).encode()
    _write(lock, note)


def clear_note(lock: int | str) -> None:
    """Take the note away again."""
    _write(lock, b"")


def _write(lock: int | str, note: bytes) -> None:
    # A courtesy: a disk that is full must not cost anybody the lock.
    with (
        contextlib.suppress(OSError),
        open(lock, "r+b", buffering=0, closefd=not isinstance(lock, int)) as writer,
    ):
        writer.seek(NOTE_OFFSET)
        writer.write(note)
        writer.truncate(NOTE_OFFSET + len(note) if note else 0)


def holders(path: str) -> list[Holder]:
    """Return who holds a lock file, as far as that can be known; [] says that nobody is known, not that it is free."""
    noted = _noted(path)
    pids = _listed(path)[0]
    if not pids:
        return [noted] if noted is not None and _was_there(noted) else []
    return [
        noted
        if noted is not None and noted.pid == pid and is_alive(pid)
        else Holder(pid, _command(pid), alive=is_alive(pid))
        for pid in pids
    ]


def waiting(path: str) -> list[int]:
    """Return the processes that wait for a lock file in the kernel; [] where the kernel does not tell."""
    return _listed(path)[1]


def describe_holders(path: str, gate: str = "") -> str:
    """Say who holds a lock, for people who wait for it; or who comes first, where they wait for their turn at its gate."""
    found = holders(path)
    if not found and gate and (first := holders(gate)):
        return f"{first[0]}, whose turn it is"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else "a process that left no note (a reader, uv, or another tool)"


def _noted(path: str) -> Holder | None:
    try:
        with open(path, "rb") as reader:
            reader.seek(NOTE_OFFSET)
            note = parse_json(reader.read())
        return Holder(int(note["pid"]), str(note["command"]), str(note["edge"]), float(note["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _listed(path: str) -> tuple[list[int], list[int]]:
    """Return who holds a file's flock, and who waits for it, as the kernel lists them (proc_locks(5))."""
    holding: list[int] = []
    waits: list[int] = []
    try:
        status = os.stat(path)
        with open(KERNEL_LOCKS, "rb") as reader:
            lines = reader.read().decode().splitlines()
    except (OSError, ValueError):
        return holding, waits
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        # "1: FLOCK  ADVISORY  WRITE 4711 fe:00:264310 0 EOF", and "1: -> FLOCK ..." for one who waits behind it.
        words = line.split()[1:]
        found = waits if words[:1] == ["->"] else holding
        words = words[1:] if found is waits else words
        if len(words) > 4 and words[0] == "FLOCK" and words[4] == wanted and words[3].isdigit():
            found.append(int(words[3]))
    return holding, waits


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as reader:
            words = reader.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode("utf-8", "replace")[:LONGEST_COMMAND]


def is_alive(pid: int) -> bool:
    """Tell whether there is a process of that number; True where that cannot be asked (Windows)."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _was_there(noted: Holder) -> bool:
    """Tell whether a note's process is there, and is not another one that got its number later."""
    if not is_alive(noted.pid):
        return False
    asked = time.time()  # before the age: this process may have to wait for its turn after that
    age = _age(noted.pid) if os.name == "posix" else None
    return age is None or asked - age <= noted.since + 2


def _age(pid: int) -> float | None:
    """Return for how many seconds a process has run; None where `ps` cannot tell (POSIX, ps: etime is [[dd-]hh:]mm:ss)."""
    import subprocess

    try:
        done = subprocess.run(["ps", "-o", "etime=", "-p", str(pid)], capture_output=True, text=True, check=False)
        days, _, clock = done.stdout.strip().rpartition("-")
        parts = [int(part) for part in clock.split(":")]
    except (OSError, ValueError):
        return None
    seconds = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    return float(int(days or 0) * 86400 + seconds)
