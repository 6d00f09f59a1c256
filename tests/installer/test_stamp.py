"""Stamps, and depfiles as the real Ninja reads them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from interlock.durable import Disk
from interlock.stamp import is_expressible, read_stamp, relative_path, write_both, write_depfile, write_stamp

DISK = Disk("fast")

# What a file may be called, with plenty of what Ninja, make and shells treat in a special way.
SPECIAL = " $:#\\%'\"()[]{}!?*<>|;&@^`~=,+-._\t"
NAMES = st.text(
    st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/")),
    min_size=1,
    max_size=12,
).filter(lambda name: name.casefold() not in {".", "..", "out", "out.d", "prepared.d", "build.ninja"})


def test_a_receipt_is_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "a.stamp")
    receipt = {"edge": "install", "name": "Größe", "list": [1, None]}
    assert write_stamp(path, receipt, started_ns=5_000_000_000, disk=DISK)
    assert read_stamp(path) == receipt
    assert os.stat(path).st_mtime_ns == 5_000_000_000


def test_an_equal_receipt_leaves_the_stamp_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "a.stamp")
    write_stamp(path, {"a": 1, "b": 2}, started_ns=5_000_000_000, disk=DISK)
    assert not write_stamp(path, {"b": 2, "a": 1}, started_ns=9_000_000_000, disk=DISK)
    assert os.stat(path).st_mtime_ns == 5_000_000_000
    assert write_stamp(path, {"b": 2, "a": 2}, started_ns=9_000_000_000, disk=DISK)
    assert os.stat(path).st_mtime_ns == 9_000_000_000


def test_both_are_what_each_would_be(tmp_path: Path) -> None:
    receipt, inputs = {"edge": "prepare", "name": "ü"}, ["b c", "a"]
    stamp, depfile = str(tmp_path / "one" / "a.stamp"), str(tmp_path / "two" / "a.d")
    write_both(stamp, receipt, depfile, inputs, started_ns=5_000_000_000, disk=DISK)
    written = [Path(path).read_bytes() for path in (stamp, depfile)]
    write_stamp(str(tmp_path / "stamp"), receipt, started_ns=5_000_000_000, disk=DISK)
    write_depfile(str(tmp_path / "d"), stamp, inputs, disk=DISK)
    assert written == [(tmp_path / "stamp").read_bytes(), (tmp_path / "d").read_bytes()]
    assert os.stat(stamp).st_mtime_ns == 5_000_000_000
    # Ninja has taken the depfile away; the receipt is the same.
    os.unlink(depfile)
    write_both(stamp, receipt, depfile, inputs, started_ns=9_000_000_000, disk=DISK)
    assert os.stat(stamp).st_mtime_ns == 5_000_000_000
    assert Path(depfile).read_bytes() == written[1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff", None])
def test_what_is_no_receipt_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.stamp").write_bytes(content)
    assert read_stamp(str(tmp_path / "a.stamp")) is None


def test_a_depfile_is_one_rule_in_makes_syntax(tmp_path: Path) -> None:
    path = tmp_path / "new" / "d"
    write_depfile(str(path), "out/a.stamp", ["b c", "a", "b c", "x$y", "ünï"], disk=DISK)
    assert path.read_text(encoding="utf-8") == "out/a.stamp: \\\n  a \\\n  b\\ c \\\n  x$$y \\\n  ünï\n"


def test_a_depfile_without_inputs_is_a_rule_all_the_same(tmp_path: Path) -> None:
    write_depfile(str(tmp_path / "d"), "a", [], disk=DISK)
    assert (tmp_path / "d").read_text(encoding="utf-8") == "a:\n"


@pytest.mark.parametrize("name", ["a;b", "a\tb", "<", "a|", "*.py", "a^", "`a`", "a\nb", "\x7f"])
def test_what_no_depfile_can_name_is_left_out(tmp_path: Path, name: str) -> None:
    assert not is_expressible(name)
    write_depfile(str(tmp_path / "d"), "a", [name, "b"], disk=DISK)
    assert (tmp_path / "d").read_text(encoding="utf-8") == "a: \\\n  b\n"


@pytest.mark.parametrize(
    "name", ["a b", "a$b", "a:b", "a#b", "it's", '"a"', "[x]", "{x}", "100%", "a=b", "ü", "日本", "a\\b", "\\", "😀"]
)
def test_what_names_usually_have_can_be_named(name: str) -> None:
    assert is_expressible(name)


def test_paths_are_spelled_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert relative_path(str(tmp_path / "src" / "a")) == "../src/a"
    assert relative_path(str(tmp_path / "out" / "a")) == "a"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES, min_size=1, max_size=4))
@example(names={"a b", " a", "a ", "a$b", "$", "a#b", "#", "a:b", ":", "a:"})
@example(names={"\\", "a\\", "a\\ b", "a\\\\ b", "\\#", "a\\:", "\\$", "a\\b"})
@pytest.mark.skipif(os.name == "nt", reason="most of these names cannot exist there")
def test_ninja_reads_back_the_names_that_were_written(ninja: str, names: set[str]) -> None:
    version = subprocess.run([ninja, "--version"], capture_output=True, text=True, check=True).stdout.split(".")
    if (int(version[0]), int(version[1])) < (1, 12):
        names = {re.sub("[?\"'&]", "-", name) for name in names}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file in names:
            try:
                (directory / file).write_bytes(b"")
            except OSError:
                return  # too long in UTF-8
        write_depfile(str(directory / "prepared.d"), "out", sorted(names), disk=DISK)
        (directory / "build.ninja").write_text(
            "rule r\n  command = cp prepared.d out.d && touch out\n  depfile = out.d\n  deps = gcc\nbuild out: r\n",
            encoding="utf-8",
        )
        build = subprocess.run([ninja, "-C", name], capture_output=True, check=False)
        assert build.returncode == 0, build.stdout
        listing = subprocess.run([ninja, "-C", name, "-t", "deps", "out"], capture_output=True, check=True).stdout
        read = {line[4:].decode() for line in listing.split(b"\n") if line.startswith(b"    ")}
        assert read == {name for name in names if is_expressible(name)}
        again = subprocess.run([ninja, "-C", name], capture_output=True, check=True).stdout
        assert b"no work to do" in again
