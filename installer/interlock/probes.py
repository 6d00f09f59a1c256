"""What a file system can do, found out by doing it: in a private directory, which is removed again.

Everything that the promises rest on is tried: locks, renames, exchanges, syncs, links, names, times.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import stat
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from interlock import lock_probes
from interlock.durable import Disk
from interlock.errors import InterlockError
from interlock.findings import Finding
from interlock.mounts import find_mount, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.mounts import Mount

__all__ = ["probe_directory", "tried", "umask"]

PREFIX = ".interlock-doctor-"
ROUNDS = 5
SLOW_SYNC = 0.05  # seconds
BLOCK = bytes(4096)
LONGEST_NAME = 255
SHORTEST_NAME = 128  # names of files and dist-info directories, and what is put around them while they are written
MIB = 1 << 20
LITTLE_SPACE, NO_SPACE = 1024 * MIB, 64 * MIB
FEW_FILES = 1000
SECOND = 1_000_000_000  # nanoseconds
SKEW_NOTED, SKEW_WRONG = SECOND // 5, SECOND
# 2001-02-03 04:05:07.123456789, odd in its seconds: whatever a file system rounds shows.
FINE_TIME = 981_173_107_123_456_789
ELSEWHERE = "Name a directory on another file system for environment and out directory."


def probe_directory(
    path: str,
    *,
    disk: Disk | None = None,
    exists: Callable[[str], bool] = os.path.lexists,
    mount: Callable[[str], Mount] = find_mount,
    platform: str = sys.platform,
) -> list[Finding]:
    """Try in a directory what a build does there; what is found wrong is returned, never raised.

    A directory of mode 0700 is made in it and removed again; nothing else changes. The last three are seams of tests.
    """
    path = os.path.realpath(path)
    disk = disk or Disk()
    try:
        status = os.stat(path)
    except OSError as error:
        return [Finding("directory", "problem", f"{path}: {error.strerror}", "Create it, or name another one.")]
    if not stat.S_ISDIR(status.st_mode):
        return [Finding("directory", "problem", f"{path} is not a directory", "Name the directory that it is in.")]
    findings = [
        tried("file system", lambda: judge(mount(path))),
        tried("space", lambda: space(path)),
        ownership(status, platform=platform),
    ]
    probe = os.path.join(path, PREFIX + secrets.token_hex(6))
    try:
        disk.make_directory(probe, 0o700, below=path)
    except (InterlockError, OSError) as error:
        return [*findings, _refused("writing", error)]
    try:
        for topic, look in _looks(exists, platform):
            findings.append(tried(topic, functools.partial(look, probe, disk), within=probe))
    finally:
        cleaned = tried("cleaning up", functools.partial(_clean, probe, disk))
    return findings if cleaned.verdict == "ok" else [*findings, cleaned]


def tried(topic: str, look: Callable[[], Finding], *, within: str = "") -> Finding:
    """Return what a look finds; a refusal is a finding too. `within` is a directory that is gone afterwards, so not named."""
    try:
        return look()
    except (InterlockError, OSError) as error:
        refused = _refused(topic, error)
        if not within:
            return refused
        text = refused.text.replace(within + os.sep, "").replace(within, os.path.dirname(within))
        return replace(refused, text=text)


def _refused(topic: str, error: InterlockError | OSError) -> Finding:
    if isinstance(error, InterlockError):
        return Finding(topic, "problem", error.message, error.advice or ELSEWHERE)
    where = f"{error.filename}: " if error.filename else ""
    return Finding(topic, "problem", f"{where}{error.strerror or error}", ELSEWHERE)


def _looks(exists: Callable[[str], bool], platform: str) -> list[tuple[str, Callable[[str, Disk], Finding]]]:
    """Return what is tried, in the order in which it is told."""
    looks: list[tuple[str, Callable[[str, Disk], Finding]]] = [
        ("locks", lambda probe, _: lock_probes.locks(os.path.join(probe, "lock"))),
        ("rename", _rename),
        ("exchange", _exchange),
        ("sync", _sync),
        ("hard link", _hard_link),
        ("symbolic link", functools.partial(_symbolic_link, platform)),
        ("case of names", functools.partial(_case, exists)),
        ("longest name", _longest_name),
        ("clock", _clock),
        ("times of files", _times),
    ]
    return looks if platform == "win32" else [*looks, ("programs", _programs)]


def space(path: str, usage: Callable[[str], tuple[int, int, int]] = shutil.disk_usage) -> Finding:
    """Say how much room is left for this user, in bytes and in files."""
    free = usage(path)[2]
    files = getattr(os.statvfs(path), "f_favail", 0) if hasattr(os, "statvfs") else 0
    total = getattr(os.statvfs(path), "f_files", 0) if hasattr(os, "statvfs") else 0
    text = f"{free / MIB / 1024:.1f} GiB free" if free >= LITTLE_SPACE else f"{free // MIB} MiB free"
    if free < NO_SPACE:
        return Finding("space", "problem", text, "Free some space: an environment alone takes tens of MiB.")
    if total and files < FEW_FILES:
        return Finding(
            "space", "problem", f"{text}, but only {files} more files", "Remove files: the inodes are used up."
        )
    verdict, advice = ("note", "Third-party requirements may need more.") if free < LITTLE_SPACE else ("ok", "")
    return Finding("space", "note" if verdict == "note" else "ok", text, advice)


def umask(platform: str = sys.platform) -> Finding:
    """Say what this process's umask keeps from others; it can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    if platform == "win32" or mask & stat.S_IWOTH:
        return Finding("umask", "ok", f"{mask:03o}")
    advice = "Set `umask 022`: interlock makes nothing that everybody can write, but uv, pip and build backends do as it says."
    return Finding("umask", "note", f"{mask:03o}: programs make files that every user can change", advice)


def ownership(status: os.stat_result, user: int | None = None, platform: str = sys.platform) -> Finding:
    """Say who else may change what will be in a directory; on Windows access lists say more than a mode could."""
    if platform == "win32":
        return Finding("directory", "ok", "there")
    user = os.geteuid() if user is None else user
    mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        advice = "`chmod o-w` it: whoever may rename in it may put an environment of his own in the place of yours."
        return Finding("directory", "problem", f"{mode}: every user of this machine can change what is in it", advice)
    if status.st_mode & stat.S_IWOTH:
        advice = (
            "Build in a directory of your own: others cannot touch your files here, but can be first to take a name."
        )
        return Finding("directory", "note", f"{mode}: every user of this machine can create files in it", advice)
    if status.st_uid not in {user, 0}:
        theirs = "; what root makes here will be theirs" if user == 0 else ""
        return Finding("directory", "note", f"{mode}, of another user (id {status.st_uid}){theirs}")
    return Finding("directory", "ok", f"{mode}, yours" if status.st_uid == user else f"{mode}, root's")


def _rename(probe: str, disk: Disk) -> Finding:
    one, other = os.path.join(probe, "rename-1"), os.path.join(probe, "rename-2")
    disk.write(one, b"new")
    disk.write(other, b"old")
    disk.replace(one, other)
    if _read(other) != b"new" or os.path.lexists(one):
        return Finding("rename", "problem", "a file that is renamed over another does not take its place", ELSEWHERE)
    directory, target = os.path.join(probe, "rename-3"), os.path.join(probe, "rename-4")
    disk.make_directory(directory)
    disk.write(os.path.join(directory, "file"), b"new")
    disk.replace(directory, target)
    if not os.path.isfile(os.path.join(target, "file")):
        return Finding("rename", "problem", "a directory does not keep its content when it is renamed", ELSEWHERE)
    return Finding("rename", "ok", "over a file in one step; of a directory too")


def _exchange(probe: str, disk: Disk) -> Finding:
    paths = [os.path.join(probe, f"exchange-{number}") for number in (1, 2)]
    for path in paths:
        disk.make_directory(path)
        disk.write(os.path.join(path, os.path.basename(path)), b"")
    if not disk.exchange(*paths):
        text = "not here: a reinstall of one version replaces the files of its dist-info one by one, RECORD last"
        return Finding("exchange", "note", text)
    if [os.listdir(path) for path in paths] != [["exchange-2"], ["exchange-1"]]:
        return Finding("exchange", "problem", "it was said to be done, and was not", ELSEWHERE)
    return Finding("exchange", "ok", "two directories change places in one step")


def _sync(probe: str, disk: Disk) -> Finding:
    files, directories = [], []
    for number in range(ROUNDS):
        path = os.path.join(probe, f"sync-{number}")
        files.append(_seconds(functools.partial(disk.write, path, BLOCK)))
        directories.append(_seconds(functools.partial(disk.sync_directory, probe)))
    file, directory = statistics.median(files), statistics.median(directories)
    text = f"a file of 4 KiB written and synced in {file * 1000:.1f} ms, a directory in {directory * 1000:.1f} ms"
    if file < SLOW_SYNC:
        return Finding("sync", "ok", text)
    advice = "A commit syncs about ten of each: a faster disk, or `--durability fast` on a machine that is thrown away."
    return Finding("sync", "note", text, advice)


def _hard_link(probe: str, disk: Disk) -> Finding:
    path, link = os.path.join(probe, "linked"), os.path.join(probe, "hard-link")
    disk.write(path, b"linked")
    try:
        os.link(path, link)
    except OSError as error:
        text = f"none ({error.strerror}): uv copies from its cache, which takes longer and more space"
        return Finding("hard link", "note", text)
    same = os.stat(link).st_nlink == 2 and os.path.samefile(path, link)
    return Finding("hard link", "ok" if same else "note", "works" if same else "made, but as a copy")


def _symbolic_link(platform: str, probe: str, disk: Disk) -> Finding:
    link = os.path.join(probe, "symbolic-link")
    try:
        disk.link("target", link)
    except (InterlockError, OSError) as error:
        if platform == "win32":
            return Finding(
                "symbolic link", "note", "not for this user; environments are made with copies of python.exe"
            )
        return Finding("symbolic link", "problem", str(error).splitlines()[0], f"Environments need them. {ELSEWHERE}")
    if not os.path.islink(link):
        return Finding("symbolic link", "problem", "made, but it is none", f"Environments need them. {ELSEWHERE}")
    return Finding("symbolic link", "ok", "works")


def _case(exists: Callable[[str], bool], probe: str, disk: Disk) -> Finding:
    disk.write(os.path.join(probe, "CaseOfNames"), b"")
    if exists(os.path.join(probe, "caseofnames")):
        text = "upper and lower case are the same name"
        return Finding("case of names", "note", text, "Modules of one directory must differ in more than that.")
    return Finding("case of names", "ok", "upper and lower case are two names")


def _longest_name(probe: str, disk: Disk) -> Finding:
    disk.write(os.path.join(probe, "n"), b"")  # what is refused for this one is not its length
    good, bad, trial = 1, LONGEST_NAME + 1, LONGEST_NAME
    while good + 1 < bad:
        path = os.path.join(probe, "n" * trial)
        try:
            disk.write(path, b"")
            disk.remove(path)
            good = trial
        except (InterlockError, OSError):
            bad = trial
        trial = (good + bad) // 2
    if good < SHORTEST_NAME:
        return Finding("longest name", "problem", f"{good} characters", ELSEWHERE)
    return Finding("longest name", "ok" if good == LONGEST_NAME else "note", f"{good} characters")


def _clock(probe: str, disk: Disk) -> Finding:
    before = time.time_ns()
    there = disk.clock_ns(probe)
    skew = min(0, there - before) or max(0, there - time.time_ns())
    text = f"{abs(skew) / SECOND:.2f} s {'behind' if skew < 0 else 'ahead of'} this machine's"
    # What is rounded to whole seconds is behind by up to two; that is another line's matter.
    if skew < -2 * SECOND or skew > SKEW_WRONG:
        advice = (
            "Set both clocks by one source (NTP): times of files from here and from elsewhere are compared by Ninja."
        )
        return Finding("clock", "problem", text, advice)
    if skew < -SKEW_NOTED or skew > SKEW_NOTED:
        return Finding("clock", "note", text)
    return Finding("clock", "ok", "new files have this machine's time")


def _times(probe: str, disk: Disk) -> Finding:
    path = os.path.join(probe, "times")
    disk.write(path, b"", mtime_ns=FINE_TIME)
    found = os.stat(path).st_mtime_ns
    lost = abs(FINE_TIME - found)
    if lost == 0:
        return Finding("times of files", "ok", "kept to the nanosecond")
    if lost < SECOND // 100:
        return Finding("times of files", "ok", f"kept to {max(1, lost // 1000)} µs")
    advice = "An edit in the same second as a build may go unseen by Ninja. " + ELSEWHERE
    return Finding("times of files", "problem", f"kept only to about {lost / SECOND:.1f} s", advice)


def _programs(probe: str, disk: Disk) -> Finding:
    path = os.path.join(probe, "program")
    disk.write(path, b"#!/bin/sh\nexit 7\n", executable=True)
    try:
        code = subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    except PermissionError:
        advice = "It is mounted with `noexec`, or keeps no modes: the scripts of an environment could not be run."
        return Finding("programs", "problem", "cannot be run from here", advice)
    return Finding(
        "programs", "ok" if code == 7 else "problem", "can be run from here" if code == 7 else f"exit {code}"
    )


def _clean(probe: str, disk: Disk) -> Finding:
    disk.remove_tree(probe)
    return Finding("cleaning up", "ok", "")


def _read(path: str) -> bytes:
    with open(path, "rb") as reader:
        return reader.read()


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
