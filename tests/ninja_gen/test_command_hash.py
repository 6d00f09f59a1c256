"""Hashes of command lines, as real Ninjas write them in their logs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from interlock_ninja.command_hash import hash_function, murmur, rapidhash


def test_every_length_hashes_as_in_the_log_of_ninja(tmp_path: Path, ninja: str) -> None:
    """All remainders of eight, and both sides of 3, 4, 16, 32, 48 and 96 bytes, where rapidhash takes another way."""
    commands = {f"o{length}": (": " + "abcdefghijklmnopqrstuvwxyz/é" * 8)[:length].rstrip() for length in range(1, 200)}
    lines = ["rule r\n  command = $c\n"]
    lines += [f"build {name}: r\n  c = {command}\n" for name, command in commands.items()]
    (tmp_path / "build.ninja").write_text("".join(lines), encoding="utf-8")
    subprocess.run([ninja, "-C", tmp_path, "-j2"], stdout=subprocess.DEVNULL, check=True)
    head, *entries = (tmp_path / ".ninja_log").read_text(encoding="utf-8").splitlines()
    hashed = hash_function(int(head.rpartition("v")[2]))
    logged = {fields[3]: int(fields[4], 16) for fields in (line.split("\t") for line in entries)}
    assert logged == {name: hashed(command.encode()) for name, command in commands.items()}


def test_each_version_has_its_hash() -> None:
    assert hash_function(5) is hash_function(6) is murmur
    assert hash_function(7) is rapidhash


def test_nothing_and_one_byte_are_hashed() -> None:
    """The same as a compiled rapidhash.h and Ninja 1.11 say."""
    assert (rapidhash(b""), rapidhash(b":")) == (0x5A6EF77074EBC84B, 0xA2DA22321247804B)
    assert (murmur(b""), murmur(b":")) == (0x87C2BC0BEAF1D91D, 0x2E49D2477C6737F0)
