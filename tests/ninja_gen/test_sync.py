"""Builds without Ninja, next to real Ninjas on the same files."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.durable import Disk
from interlock.errors import DiskError, InterlockError, LockTimeout, UsageError
from interlock_ninja.commands.build import ninja_program
from interlock_ninja.sync import alone, default_jobs
from small_builds import (
    Listener,
    SmallEdge,
    attempts,
    build,
    copy,
    ninja_would_run,
    sync,
    sync_would_run,
    touch,
    write_build,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the edges are shell scripts")

DIAMOND = (
    SmallEdge("core", ("core.txt",), reads=("read.txt",)),
    SmallEdge("left", ("core", "left.txt")),
    SmallEdge("right", ("core", "right.txt"), pool="narrow"),
    SmallEdge("top", ("left", "right", "top.txt"), pool="narrow"),
    SmallEdge("aside", ("aside.txt",), order_only=("core",)),
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[SmallEdge, ...]:
    """Draw edges of which each needs sources and earlier ones."""
    sources = [f"s{number}.txt" for number in range(4)]
    edges: list[SmallEdge] = []
    for number in range(draw(st.integers(2, 6))):
        stamps = [edge.name for edge in edges]
        inputs = draw(st.lists(st.sampled_from(sources), min_size=1, max_size=2, unique=True))
        inputs += draw(st.lists(st.sampled_from(stamps), max_size=2, unique=True)) if stamps else []
        after = draw(st.lists(st.sampled_from(stamps), max_size=1)) if stamps else []
        reads = draw(st.lists(st.sampled_from([*sources, "r1.txt", "r2.txt"]), max_size=2, unique=True))
        pool = draw(st.sampled_from(["", "narrow"]))
        edges.append(SmallEdge(f"e{number}", tuple(inputs), tuple(after), tuple(reads), pool))
    return tuple(edges)


def disturb(out: Path, edges: tuple[SmallEdge, ...], dice: random.Random) -> None:
    """Change something of a tree: as people do, as a crash does, as another tool does."""
    edge = dice.choice(edges)
    stamp = out / edge.name
    sources = [path for path in (*edge.inputs, *edge.reads) if path.endswith(".txt")]
    source = out / dice.choice(sources)
    what = dice.randrange(11)
    if what == 0 and source.exists():
        os.utime(source)
    elif what == 1:
        source.write_text(f"{dice.random()}\ntwo\n", encoding="utf-8")
    elif what == 2:
        source.write_text(f"one\n{dice.random()}\n", encoding="utf-8")
    elif what == 3:
        stamp.unlink(missing_ok=True)
    elif what == 4 and stamp.exists():
        os.utime(stamp)
    elif what == 5:
        source.unlink(missing_ok=True)
    elif what == 6:
        lose_a_line(out / ".ninja_log", dice)
    elif what == 7:
        lose_the_end(out / ".ninja_deps", dice)
    elif what == 8:
        (out / f"{edge.name}.fail").touch()
    elif what == 9:
        write_build(out, edges, word="read.txt")
        (out / "read.txt").touch()
    elif source.exists():
        os.utime(source, (2e9, 2e9))


def lose_a_line(path: Path, dice: random.Random) -> None:
    if path.exists() and len(lines := path.read_bytes().splitlines(keepends=True)) > 1:
        del lines[dice.randrange(1, len(lines))]
        path.write_bytes(b"".join(lines))


def lose_the_end(path: Path, dice: random.Random) -> None:
    if path.exists():
        data = path.read_bytes()
        path.write_bytes(data[: dice.randrange(len(data) + 1)])


def sync_says(out: Path) -> list[str] | str:
    try:
        return sync_would_run(out)
    except InterlockError as error:
        return f"{str(error).partition(', which')[0]} is missing"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=graphs(), seed=st.integers(0, 2**32), first=st.booleans())
def test_sync_and_ninja_run_the_same_edges(
    edges: tuple[SmallEdge, ...], seed: int, first: bool, ninja: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two copies of one tree, disturbed alike: one is built by Ninja, one by sync; then each looks at the other's."""
    dice = random.Random(seed)
    base = tmp_path_factory.mktemp("tree")
    ours = write_build(base / "ours", edges)
    with_first_build = build(ninja, ours).returncode if first else None
    assert with_first_build in {None, 0}
    if not first:
        build(ninja, ours, [edges[0].name])  # the log is of this Ninja's version
    for _ in range(dice.randint(0, 3)):
        disturb(ours, edges, dice)
    attempts(ours)
    theirs = copy(ours, base / "theirs")
    predicted = ninja_would_run(ninja, copy(ours, base / "asked"))
    assert sync_says(ours) == predicted
    if isinstance(predicted, str):
        return
    build(ninja, theirs)
    outcome = sync(ours, jobs=dice.randint(1, 3))
    ran = attempts(ours)
    assert ran == attempts(theirs)
    assert len(outcome.ran) == len(ran)
    left = ninja_would_run(ninja, copy(ours, base / "after"))
    assert sync_says(ours) == left
    # Not the same as what is left after a sync: a log that ends in half a number is not mended by Ninja, which adds to it.
    assert sync_says(theirs) == ninja_would_run(ninja, theirs)


def test_after_a_sync_ninja_has_no_work(tmp_path: Path, ninja: str) -> None:
    """From nothing: the log is of the version that Ninja expects, or of the one that is there."""
    out = write_build(tmp_path / "out", DIAMOND)
    if "usr/bin" in ninja:
        (out / ".ninja_log").write_bytes(b"# ninja log v5\n")
    assert sync(out).status == "done"
    assert sorted(attempts(out)) == ["aside", "core", "left", "right", "top"]
    assert "no work to do" in build(ninja, out).stdout
    assert attempts(out) == []
    assert sync(out).status == "up-to-date"
    recorded = subprocess.run([ninja, "-C", out, "-t", "deps", "core"], capture_output=True, text=True, check=True)
    assert recorded.stdout.splitlines()[0].startswith("core: #deps 1, deps mtime")
    assert "(VALID)" in recorded.stdout
    assert recorded.stdout.split()[-1] == "read.txt"


def test_an_unchanged_stamp_stops_the_wave(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    sync(out)
    attempts(out)
    touch(out / "core.txt")
    outcome = sync(out)
    assert attempts(out) == ["core"]
    assert outcome.total == 1
    assert [ran.changed for ran in outcome.ran] == [False]
    touch(out / "core.txt", "other\n")
    sync(out)
    assert attempts(out) == ["core", "left", "right", "top"]


def test_what_was_only_read_counts(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    sync(out)
    attempts(out)
    touch(out / "read.txt")
    sync(out)
    assert attempts(out) == ["core"]
    (out / "read.txt").unlink()
    assert sync_would_run(out) == ["step core", "step left", "step right", "step top"]


def test_an_edit_while_an_edge_runs_is_not_lost(tmp_path: Path, ninja: str) -> None:
    out = write_build(tmp_path / "out", (SmallEdge("core", ("core.txt",)),))
    sync(out)
    text = (out / "edge.sh").read_text(encoding="utf-8")
    (out / "edge.sh").write_text(f"{text}sleep 0.05; echo edited > core.txt\n", encoding="utf-8")
    touch(out / "core.txt")
    sync(out)
    assert sync_would_run(out) == ninja_would_run(ninja, out) == ["step core"]


def test_nothing_begins_after_a_failure(tmp_path: Path) -> None:
    edges = tuple(SmallEdge(f"e{number}", ("s.txt",)) for number in range(4))
    out = write_build(tmp_path / "out", edges)
    (out / "e0.fail").touch()
    outcome = sync(out, jobs=1, failures=1)
    assert attempts(out) == ["e0"]
    assert outcome.status == "failed"
    assert outcome.code == 3
    assert outcome.failed[0].printed == "cannot make e0\n"
    assert outcome.total - len(outcome.ran) == 3
    assert outcome.held_back
    assert not (out / "e0").exists()


def test_nothing_is_held_back_where_all_that_is_left_needs_what_failed(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", (SmallEdge("e0", ("s.txt",)), SmallEdge("e1", ("e0",))))
    (out / "e0.fail").touch()
    outcome = sync(out, jobs=1, failures=1)
    assert outcome.total - len(outcome.ran) == 1
    assert not outcome.held_back


def test_what_runs_is_finished_after_a_failure(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", (SmallEdge("e0", ("s.txt",)), SmallEdge("e1", ("s.txt",))))
    (out / "e0.fail").touch()
    script = (out / "edge.sh").read_text(encoding="utf-8")
    (out / "edge.sh").write_text(script.replace("new=", "[ $stamp = e1 ] && sleep 0.3\nnew="), encoding="utf-8")
    outcome = sync(out, jobs=2, failures=1)
    assert {os.fsdecode(ran.edge.output): ran.code for ran in outcome.ran} == {"e0": 3, "e1": 0}
    assert sync_would_run(out) == ["step e0"]


def test_it_goes_on_with_what_does_not_depend_on_a_failure(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    (out / "left.fail").touch()
    outcome = sync(out, failures=0)
    assert attempts(out) == ["aside", "core", "left", "right"]
    assert outcome.code == 3
    (out / "left.fail").unlink()
    assert sync(out).status == "done"
    assert attempts(out) == ["left", "top"]


def test_targets_are_those_of_ninja(tmp_path: Path, ninja: str) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    for targets in (["left"], ["aside", "right"], ["all"], ["top.txt"], ["core.txt^"], ["./left"]):
        assert sync_would_run(out, targets) == ninja_would_run(ninja, out, targets)
    sync(out, ["left"])
    assert attempts(out) == ["core", "left"]
    with pytest.raises(UsageError, match=r"no target 'lefft', did you mean 'left'\?"):
        sync(out, ["lefft"])


def test_a_pool_and_jobs_are_limits(tmp_path: Path) -> None:
    edges = [SmallEdge(f"e{number}", ("s.txt",), pool="narrow") for number in range(3)]
    out = write_build(tmp_path / "out", edges)
    listener = Listener()
    sync(out, jobs=3, listener=listener)
    assert listener.at == 1
    wide = write_build(tmp_path / "wide", [SmallEdge(f"e{number}", ("s.txt",)) for number in range(6)])
    listener = Listener()
    sync(wide, jobs=3, listener=listener)
    assert listener.at == 3


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    (out / "left.txt").unlink()
    with pytest.raises(InterlockError, match=r"left\.txt, which step left needs, is missing") as caught:
        sync(out)
    assert attempts(out) == []
    assert "Put the file back" in caught.value.advice


def test_a_stamp_that_is_newer_than_what_was_recorded(tmp_path: Path, ninja: str) -> None:
    """Somebody else has written it, with other inputs perhaps."""
    out = write_build(tmp_path / "out", DIAMOND)
    assert build(ninja, out).returncode == 0
    touch(out / "aside")
    assert sync_would_run(out) == ninja_would_run(ninja, out) == ["step aside"]


def test_a_missing_source_that_was_recorded_too(tmp_path: Path, ninja: str) -> None:
    """Ninja 1.11 runs the edge, which says what is wrong; 1.13 says so itself."""
    out = write_build(tmp_path / "out", (SmallEdge("core", ("core.txt",), reads=("core.txt",)),))
    assert build(ninja, out).returncode == 0
    (out / "core.txt").unlink()
    expected = ["step core"] if "usr/bin" in ninja else "core.txt is missing"
    assert ninja_would_run(ninja, out) == expected
    assert sync_says(out) == expected


def test_a_log_that_cannot_be_written_ends_the_build(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    (out / ".ninja_log").symlink_to("elsewhere")
    with pytest.raises(DiskError, match=r"cannot write .*\.ninja_log"):
        sync(out)
    assert not (out / "elsewhere").exists()


def test_a_depfile_that_is_none_fails_its_edge(tmp_path: Path, ninja: str) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    script = (out / "edge.sh").read_text(encoding="utf-8")
    (out / "edge.sh").write_text(f"{script}[ $stamp = core ] && echo nonsense > $depfile\n:\n", encoding="utf-8")
    theirs = copy(out, tmp_path / "theirs")
    outcome = sync(out)
    assert "expected ':' in depfile" in outcome.failed[0].printed
    build(ninja, theirs)
    assert attempts(out) == attempts(theirs)
    assert sync_would_run(out) == sync_would_run(theirs)


def test_one_build_at_a_time(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out", DIAMOND)
    disk = Disk("fast")
    with alone(str(out), disk):
        failures: list[LockTimeout] = []

        def other() -> None:
            try:
                with alone(str(out), disk, timeout=0.1):
                    pass
            except LockTimeout as error:
                failures.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(failures) == 1


@pytest.mark.parametrize("deaf", [False, True])
def test_an_interrupt_ends_the_edges(tmp_path: Path, deaf: bool) -> None:
    """A real process, in which SIGINT comes while edges run: those that are done are done, the others run again.

    An edge that does not end is killed, at once where a second signal comes.
    """
    out = write_build(tmp_path / "out", (SmallEdge("quick", ("s.txt",)), SmallEdge("slow", ("quick",))))
    (out / "slow.slow").touch()
    (out / "slow").write_text("of an earlier build\n", encoding="utf-8")
    if deaf:
        script = (out / "edge.sh").read_text(encoding="utf-8")
        (out / "edge.sh").write_text(script.replace("#!/bin/sh\n", "trap '' INT\n"), encoding="utf-8")
    process = driver(out)
    pid = until(out / "slow.pid")
    process.send_signal(signal.SIGINT)
    if deaf:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(output) == {"status": "interrupted", "code": 130, "ran": ["quick"]}
    assert not alive(pid)
    assert (out / "slow").read_text(encoding="utf-8") == "of an earlier build\n"
    assert sync_would_run(out) == ["step slow"]


def test_an_edge_that_is_interrupted_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Ninja 1.13; 1.11 takes it for a failure."""
    monkeypatch.setattr("interlock_ninja.sync.GRACE", LONGER_THAN_ANY_TEST)
    out = write_build(tmp_path / "out", (SmallEdge("e0", ("s.txt",)), SmallEdge("slow", ("s.txt",))))
    script = (out / "edge.sh").read_text(encoding="utf-8")
    (out / "edge.sh").write_text(
        script.replace("new=", "[ $stamp = e0 ] && sleep 0.1 && exit 130\nnew="), encoding="utf-8"
    )
    (out / "slow.slow").touch()
    outcome = sync(out, jobs=2)
    assert (outcome.status, outcome.code, outcome.ran) == ("interrupted", 130, [])
    (out / "slow.slow").unlink()
    assert "interrupted by user" in build(ninja_program(), out).stdout


def test_an_interrupt_at_any_moment(tmp_path: Path) -> None:
    """Thirty builds of twelve edges, each interrupted a little later: all end, and the last one has only the rest to do."""
    edges = [SmallEdge(f"e{number}", ("s.txt",)) for number in range(12)]
    out = write_build(tmp_path / "out", edges)
    for moment in range(30):
        attempts(out)
        process = driver(out, begin=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        time.sleep(moment / 1000)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
        outcome = json.loads(output)
        assert outcome["status"] in {"interrupted", "done", "up-to-date"}
        left = sync_would_run(out)
        assert {f"step {name}" for name in outcome["ran"]}.isdisjoint(left)
        if not left:
            for edge in edges:
                (out / edge.name).unlink()


def test_after_sigkill_the_rest_is_built(tmp_path: Path, ninja: str) -> None:
    chain = (SmallEdge("core", ("core.txt",)), SmallEdge("left", ("core",)), SmallEdge("top", ("left",)))
    out = write_build(tmp_path / "out", chain)
    if "usr/bin" in ninja:
        (out / ".ninja_log").write_bytes(b"# ninja log v5\n")
    (out / "left.slow").touch()
    process = driver(out)
    pid = until(out / "left.pid")
    process.kill()
    process.communicate()
    os.killpg(pid, signal.SIGKILL)  # a group of its own, which nobody ends now
    (out / "left.slow").unlink()
    attempts(out)
    assert sync_would_run(out) == ["step left", "step top"]
    again = copy(out, tmp_path / "again")
    assert build(ninja, again).returncode == 0
    assert sync(out).status == "done"
    assert attempts(out) == attempts(again)
    assert "no work to do" in build(ninja, out).stdout


def test_ninja_at_the_same_time_harms_no_log(tmp_path: Path, ninja: str) -> None:
    """What each wrote may be lost to the other, which then runs it again; nothing is taken for what it is not."""
    edges = [SmallEdge(f"e{number}", ("s.txt",), reads=(f"r{number}.txt",)) for number in range(12)]
    out = write_build(tmp_path / "out", edges)
    if "usr/bin" in ninja:
        (out / ".ninja_log").write_bytes(b"# ninja log v5\n")
    with subprocess.Popen([ninja, "-C", out, "-j2"], stdout=subprocess.DEVNULL) as other:
        sync(out, jobs=2)
        assert other.wait() == 0
    for number in range(12):
        touch(out / f"r{number}.txt")
    attempts(out)
    assert set(sync_would_run(out)) == {f"step e{number}" for number in range(12)}
    assert build(ninja, out).returncode == 0
    assert sync(out).status in {"up-to-date", "done"}
    assert "no work to do" in build(ninja, out).stdout
    assert sync(out).status == "up-to-date"


def test_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
        assert default_jobs() == 3
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert default_jobs() == 5


PATIENCE = 120.0
# The seconds that edges have to end by themselves: none is killed where nobody is told twice, however slow the machine is.
LONGER_THAN_ANY_TEST = 3600.0

DRIVER = """
import json, os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
import interlock_ninja.sync
from small_builds import Listener, sync

interlock_ninja.sync.GRACE = {grace!r}

class Begin(Listener):
    def started(self, *facts):
        if not self.order:
            print("begin", flush=True)
        super().started(*facts)

try:
    outcome = sync(Path({out!r}), jobs=2, listener=Begin() if {begin!r} else None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ran = [os.fsdecode(each.edge.output) for each in outcome.ran]
    ended = {{"status": outcome.status, "code": outcome.code, "ran": ran}}
except KeyboardInterrupt:  # behind the last edge, where the build no longer heeds it; the command line says the same
    ended = {{"status": "interrupted", "code": 130, "ran": []}}
print(json.dumps(ended))
"""


def driver(out: Path, *, begin: bool = False) -> subprocess.Popen[str]:
    """Start a build in a process of its own, which prints how it ended; with `begin` also that its first edge began."""
    path = [str(Path(__file__).parents[1])]
    code = DRIVER.format(path=path, out=str(out), begin=begin, grace=LONGER_THAN_ANY_TEST)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def until(path: Path) -> int:
    """Wait for the file with the number of a process."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text(encoding="utf-8")).endswith("\n"):
            return int(text)
        time.sleep(0.01)
    pytest.fail(f"{path} never came")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
