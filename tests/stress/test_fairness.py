"""128 readers and 128 writers of one environment at once: nobody waits for ever, since all wait at one gate.

What is asserted is an order, never a time: who got in before whom. `pytest -s` prints how long the waits were.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock_runner import succeed

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
MANY = 128
# A stream that nobody stops ends after so many turns of each: without a gate, only then does the first writer get in.
# So many that one that is not scheduled for seconds comes long before that.
TURNS = 400

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name != "posix", reason="forks, and Windows has no gate: its locks are polled for"),
]

# Forked from one process that has imported all: a start of their own would cost 256 processes more than the whole test.
CROWD = """
import os, sys, time
from interlock.access import changing, reading
from interlock.durable import Disk

environment, log, stop, readers, writers, turns, pause, late = sys.argv[1:]
disk, pause = Disk("fast"), float(pause)
out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def say(who, event):
    os.write(out, f"{time.monotonic_ns()} {who} {event}\\n".encode())

def work(who, turns):
    for _ in range(turns):
        say(who, "comes")
        with reading(environment) if who[0] == "r" else changing(environment, disk=disk):
            say(who, "in")
            time.sleep(pause)
        if os.path.exists(stop):
            return
    say(who, "ends")

def come_late(who):
    # The stream runs when each of the others has had its turn.
    while len({line.split()[1] for line in open(log, "rb") if line.endswith(b" in\\n")}) < int(readers) + int(writers):
        time.sleep(0.01)
    work(who, 1)
    open(stop, "w").close()

ready, go = os.pipe()
started = [(f"r{n}", work) for n in range(int(readers))] + [(f"w{n}", work) for n in range(int(writers))]
started += [(late, come_late)] if late else []
children = []
for who, job in started:
    if child := os.fork():
        children.append(child)
        continue
    os.close(go)
    os.read(ready, 1)  # until the parent closes its end: all begin at once
    code = 1
    try:
        job(who) if job is come_late else job(who, int(turns))
        code = 0
    finally:
        os._exit(code)
os.close(go)
sys.exit(max([os.waitpid(child, 0)[1] for child in children]) != 0)
"""


@dataclass(frozen=True, slots=True)
class Event:
    at: int
    who: str
    what: str


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fair") / "env"
    succeed("venv", path)
    return path


def crowd(
    environment: Path, directory: Path, *, readers: int, writers: int, turns: int, pause: float, late: str = ""
) -> list[Event]:
    """Let them all at one environment; return what they did, in the order in which it happened."""
    # A file, since a command line is what those who wait are told of those who hold the lock.
    script, log = directory / "crowd.py", directory / "log"
    script.write_text(CROWD, encoding="utf-8")
    words = [environment, log, directory / "stop", readers, writers, turns, pause, late]
    done = subprocess.run([sys.executable, str(script), *map(str, words)], capture_output=True, text=True)
    # Who waits for more than a second says so.
    said = [line for line in done.stderr.splitlines() if "interlock: waiting for environment" not in line]
    assert (done.returncode, said) == (0, [])
    found = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    return [Event(int(at), who, what) for at, who, what in found]


def position(events: list[Event], who: str, what: str) -> int:
    """Return where somebody first did something; behind the last event where that never happened."""
    return next((at for at, event in enumerate(events) if event.who == who and event.what == what), len(events))


def gone(events: list[Event]) -> int:
    """Return how many left because they had had all their turns, and so were no stream any more."""
    return sum(event.what == "ends" for event in events)


def test_a_stream_of_readers_does_not_keep_a_writer_out(environment: Path, tmp_path: Path) -> None:
    """Each of 128 holds the lock for 20 ms and comes again: there is no instant at which none of them has it."""
    for number in range(ROUNDS):
        (directory := tmp_path / str(number)).mkdir()
        events = crowd(environment, directory, readers=MANY, writers=0, turns=TURNS, pause=0.02, late="w")
        before = events[: position(events, "w", "in")]
        assert gone(before) < MANY // 2, "the writer got in when there were no readers any more"
        print(f"\na writer among {MANY} readers: {overtaking(before, 'w')} came first", end="")


def test_a_stream_of_writers_does_not_keep_a_reader_out(environment: Path, tmp_path: Path) -> None:
    for number in range(ROUNDS):
        (directory := tmp_path / str(number)).mkdir()
        events = crowd(environment, directory, readers=0, writers=MANY, turns=TURNS, pause=0.0, late="r")
        before = events[: position(events, "r", "in")]
        assert gone(before) < MANY // 2, "the reader got in when there were no writers any more"
        print(f"\na reader among {MANY} writers: {overtaking(before, 'r')} came first", end="")


def overtaking(events: list[Event], who: str) -> int:
    """Return how many got in after somebody came."""
    return sum(event.what == "in" for event in events[position(events, who, "comes") :])


def test_128_readers_and_128_writers_all_have_their_turns(environment: Path, tmp_path: Path) -> None:
    turns = 4 * ROUNDS
    events = crowd(environment, tmp_path, readers=MANY, writers=MANY, turns=turns, pause=0.001)
    counts = Counter(event.what for event in events)
    assert counts == {"comes": 2 * MANY * turns, "in": 2 * MANY * turns, "ends": 2 * MANY}
    for kind, name in (("r", "readers"), ("w", "writers")):
        waits = sorted(waits_of(events, kind))
        p99 = waits[len(waits) * 99 // 100]
        print(
            f"\n{MANY} {name}: p50 {statistics.median(waits):.0f} ms, p99 {p99:.0f} ms, max {waits[-1]:.0f} ms", end=""
        )


def waits_of(events: list[Event], kind: str) -> list[float]:
    """Return the waits of the readers or of the writers, in milliseconds."""
    came: dict[str, int] = {}
    found = []
    for event in events:
        if event.what == "comes":
            came[event.who] = event.at
        elif event.what == "in" and event.who.startswith(kind):
            found.append((event.at - came[event.who]) / 1e6)
    return found
