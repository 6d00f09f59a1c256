"""The log of inputs: what real Ninjas write is read, what is written is read by them, what is broken is mended."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.durable import Disk
from interlock_ninja import ninja_deps
from interlock_ninja.ninja_deps import SIGNATURE, DepsLog
from small_builds import SmallEdge, build, write_build

FAST = Disk("fast")


def log(out: Path) -> DepsLog:
    return DepsLog(os.fspath(out), FAST)


def record(out: Path, **inputs: list[str]) -> None:
    deps = log(out)
    for output, names in inputs.items():
        deps.record(output.encode(), 1 << 60, [name.encode() for name in names], alive=[b"one", b"two"])


def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    assert log(tmp_path).deps == {}


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    record(tmp_path, one=["a", "bcd", "ä/ö"], two=["a", "one"], empty=[])
    record(tmp_path, two=["e"])
    assert log(tmp_path).deps == {
        b"one": (1 << 60, (b"a", b"bcd", "ä/ö".encode())),
        b"two": (1 << 60, (b"e",)),
        b"empty": (1 << 60, ()),
    }


def test_what_is_known_is_not_added_again(tmp_path: Path) -> None:
    record(tmp_path, one=["a"])
    before = (tmp_path / ".ninja_deps").read_bytes()
    record(tmp_path, one=["a"])
    assert (tmp_path / ".ninja_deps").read_bytes() == before
    record(tmp_path, one=["a", "b"])
    assert (tmp_path / ".ninja_deps").read_bytes().startswith(before), "records are added, never changed"


@pytest.mark.skipif(sys.platform == "win32", reason="the edges are shell scripts")
def test_ninja_writes_what_we_read(tmp_path: Path, ninja: str) -> None:
    out = write_build(tmp_path, [SmallEdge("one", ("a.txt",), reads=("b.txt", "c.txt")), SmallEdge("two", ("a.txt",))])
    assert build(ninja, out).returncode == 0
    deps = log(out).deps
    assert {output: inputs for output, (_, inputs) in deps.items()} == {b"one": (b"b.txt", b"c.txt"), b"two": ()}
    assert deps[b"one"][0] == (out / "one").stat().st_mtime_ns


@pytest.mark.skipif(sys.platform == "win32", reason="the edges are shell scripts")
def test_ninja_reads_what_we_write(tmp_path: Path, ninja: str) -> None:
    """Paths of every length, so that each padding is used."""
    out = write_build(tmp_path, [SmallEdge("one", ("a.txt",)), SmallEdge("two", ("a.txt",))])
    names = ["x" * length for length in range(1, 10)]
    record(out, one=names, two=names[:1])
    listed = subprocess.run([ninja, "-C", out, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    assert listed.split("\n\n")[0].split()[1:5] == ["#deps", "9,", "deps", "mtime"]
    assert [line.strip() for line in listed.split("\n\n")[0].splitlines()[1:]] == names
    assert "recovering" not in listed


def test_a_broken_end_is_cut_off_before_anything_is_added(tmp_path: Path) -> None:
    record(tmp_path, one=["a"], two=["b"])
    path = tmp_path / ".ninja_deps"
    path.write_bytes(path.read_bytes()[:-5])
    assert set(log(tmp_path).deps) == {b"one"}
    record(tmp_path, one=["a"])  # known: but the file must be whole again
    record(tmp_path, two=["c"])
    assert log(tmp_path).deps == {b"one": (1 << 60, (b"a",)), b"two": (1 << 60, (b"c",))}


@settings(deadline=None)
@given(end=st.integers(0, 200), rubbish=st.binary(max_size=24))
def test_any_file_is_read_and_then_written_whole(
    end: int, rubbish: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("deps")
    record(out, one=["a", "b", "c"], two=["b", "ddddd"])
    path = out / ".ninja_deps"
    path.write_bytes(path.read_bytes()[:end] + rubbish)
    record(out, two=["e"], one=["f"])
    assert log(out).deps[b"one"] == (1 << 60, (b"f",))
    assert log(out).deps[b"two"] == (1 << 60, (b"e",))


@pytest.mark.parametrize(
    "record_bytes",
    [
        struct.pack("=I", 0x80000010) + struct.pack("=4I", 0, 0, 0, 7),  # an input that has no path
        struct.pack("=I", 0x8000000C) + struct.pack("=3I", 9, 0, 0),  # an output that has no path
        struct.pack("=I", 0x80000008) + struct.pack("=2I", 0, 0),  # no time
        struct.pack("=I", 8) + b"abcd" + struct.pack("=I", 0xFFFFFFFF ^ 5),  # a number that another writer gave
        struct.pack("=I", 8) + b"one\0" + struct.pack("=I", 0xFFFFFFFF ^ 2),  # a path that has a number
        struct.pack("=I", 4) + struct.pack("=I", 0xFFFFFFFF ^ 2),  # no path
        struct.pack("=I", 1 << 20) + b"x" * (1 << 20),
    ],
)
def test_a_record_that_cannot_be_ends_the_log(tmp_path: Path, record_bytes: bytes) -> None:
    record(tmp_path, one=["a"])
    with (tmp_path / ".ninja_deps").open("ab") as writer:
        writer.write(record_bytes)
    record(tmp_path, two=["a"])
    assert log(tmp_path).deps == {b"one": (1 << 60, (b"a",)), b"two": (1 << 60, (b"a",))}


def test_another_version_is_started_over(tmp_path: Path) -> None:
    (tmp_path / ".ninja_deps").write_bytes(b"# ninjadeps\n" + struct.pack("=i", 3) + b"1234")
    assert log(tmp_path).deps == {}
    record(tmp_path, one=["a"])
    assert (tmp_path / ".ninja_deps").read_bytes().startswith(SIGNATURE)
    assert set(log(tmp_path).deps) == {b"one"}


def test_what_another_process_adds_is_taken_in_first(tmp_path: Path) -> None:
    """Two writers who take turns, each with the numbers that it knows: none is given twice."""
    ours, theirs = log(tmp_path), log(tmp_path)
    for number in range(4):
        ours.record(b"one", number, [b"a%d" % number], alive=[])
        theirs.record(b"two", number, [b"b%d" % number], alive=[])
    assert log(tmp_path).deps == {b"one": (3, (b"a3",)), b"two": (3, (b"b3",))}


def test_it_is_written_anew_when_most_of_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ninja_deps, "MANY_RECORDS", 20)
    deps = log(tmp_path)
    deps.record(b"gone", 1, [b"z"], alive=[])
    for number in range(30):
        deps.record(b"one", number, [b"a", b"b%d" % number], alive=[b"one"])
    assert (tmp_path / ".ninja_deps").stat().st_size < 700
    assert log(tmp_path).deps == {b"one": (29, (b"a", b"b29"))}


def test_too_many_inputs_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ninja_deps, "MAX_RECORD", 40)
    record(tmp_path, one=[f"{number}" for number in range(30)], two=["a"])
    assert set(log(tmp_path).deps) == {b"two"}
