"""Which file system a path is on, as Linux and macOS list their mounts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interlock.mounts import Mount, find_mount, innermost, judge, on_device, parse_mount_list, parse_mountinfo

MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:40 / /home/two\040words rw,nosuid - nfs4 server:/export\040x rw,vers=4.2,local_lock=none
41 27 0:41 / /data ro,relatime master:2 propagate_from:3 - tmpfs none rw
42 27 0:42 / /data rw,relatime - xfs /dev/vdb rw
43 27 0:43 / /mnt/c rw,noatime - 9p C:\134 rw,aname=drvfs;path=C:\;uid=1000,cache=5
a line that is none
"""
MACOS = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)
//me@server/share (1) on /Volumes/share (smbfs, nodev, nosuid, mounted by me)
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/usr/lib", "ext4"),
        ("/database", "ext4"),
        ("/data", "xfs"),
        ("/data/deep/down", "xfs"),
        ("/proc/self", "proc"),
        ("/home/two words/x", "nfs4"),
        ("/home/two", "ext4"),
        ("/mnt/c/Users", "9p"),
    ],
)
def test_the_nearest_mount_above_counts_and_of_two_at_one_point_the_later(path: str, kind: str) -> None:
    assert innermost(parse_mountinfo(MOUNTINFO.splitlines(keepends=True)), path).kind == kind


def test_options_of_mount_and_file_system_are_one_list_in_which_the_stricter_holds() -> None:
    found = {mount.kind: mount for mount in parse_mountinfo(MOUNTINFO.splitlines())}
    assert found["tmpfs"].options == ("ro", "relatime")
    assert found["nfs4"] == Mount(
        "/home/two words", "nfs4", "server:/export x", ("rw", "nosuid", "vers=4.2", "local_lock=none")
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_the_real_list_knows_a_real_path(tmp_path: Path) -> None:
    mount = find_mount(str(tmp_path))
    assert mount.kind
    assert os.path.ismount(mount.point)
    assert find_mount("/proc").kind == "proc"


def test_on_macos_the_device_decides_where_a_firm_link_leads() -> None:
    devices = {"/": 1, "/System/Volumes/Data": 5, "/Users/me": 5, "/Volumes/share": 9, "/usr": 1}
    mounts = parse_mount_list(MACOS)
    assert on_device(mounts, "/Users/me", devices.__getitem__).point == "/System/Volumes/Data"
    assert on_device(mounts, "/usr", devices.__getitem__) == Mount(
        "/", "apfs", "/dev/disk3s1s1", ("sealed", "local", "ro", "journaled")
    )
    assert on_device(mounts, "/Volumes/share", devices.__getitem__).kind == "smbfs"


def test_on_macos_no_network_mount_is_asked_that_the_path_is_not_on() -> None:
    asked = []

    def device(path: str) -> int:
        asked.append(path)
        return {"/": 1, "/Users/me": 7}.get(path, 2)

    assert on_device(parse_mount_list(MACOS), "/Users/me", device).point == "/"
    assert "/Volumes/share" not in asked


@pytest.mark.parametrize(
    ("kind", "options", "verdict", "says"),
    [
        ("ext4", ("rw", "relatime"), "ok", "ext4 at /m"),
        ("apfs", ("local",), "ok", "apfs"),
        ("NTFS", (), "ok", "NTFS"),
        ("", (), "ok", "unknown"),
        ("nfs", ("rw", "vers=3"), "note", "network"),
        ("nfs", ("rw", "nolock"), "problem", "without `nolock`"),
        ("nfs4", ("local_lock=flock",), "problem", "without `local_lock=flock`"),
        ("nfs4", ("local_lock=none",), "note", "(local_lock=none)"),
        ("cifs", ("nobrl",), "problem", "without `nobrl`"),
        ("NTFS", ("remote",), "note", "network"),
        ("smbfs", (), "note", "network"),
        ("9p", ("trans=virtio",), "note", "folder of the host"),
        ("9p", ("aname=drvfs;path=C:",), "note", "drive of Windows"),
        ("drvfs", (), "note", "drive of Windows"),
        ("virtiofs", (), "note", "folder of the host"),
        ("overlay", (), "note", "container"),
        ("tmpfs", (), "note", "in memory"),
        ("fuse.sshfs", (), "note", "another machine's"),
        ("fuse.something", (), "note", "FUSE"),
        ("exFAT", (), "note", "FAT knows no links"),
    ],
)
def test_what_is_known_of_a_kind_is_told(kind: str, options: tuple[str, ...], verdict: str, says: str) -> None:
    finding = judge(Mount("/m", kind, "", options))
    assert finding.verdict == verdict
    assert says in f"{finding.text} {finding.advice}"
    assert finding.advice or finding.verdict != "problem"
