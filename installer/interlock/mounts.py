"""Which file system a path is on, and what is known of it that trying it out cannot show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Mount", "find_mount", "judge"]

MOUNTINFO = "/proc/self/mountinfo"
DRIVE_REMOTE = 4  # GetDriveTypeW
# Mount options that decide whether locks, links and times work; the rest (relatime, rsize=...) says nothing here.
TELLING = re.compile(
    r"ro|sync|noexec|nosuid|nolock|lock|local_lock=.*|vers=.*|soft|hard|nobrl|mfsymlinks|localflock|flock|noflock"
    r"|aname=.*|cache=.*|noac|casefold|remote"
)
FAT = frozenset({"vfat", "msdos", "exfat", "fat32", "fat"})

_MACHINE_ONLY = (
    "locks are kept on this machine; whoever uses these files from another one, or from the host, is not kept out"
)
_VM_SHARE = (
    f"a folder of the host: {_MACHINE_ONLY}",
    "Build in a directory of the guest's own file system, or let nobody else build here meanwhile.",
)
_NETWORK = (
    "a network file system: locks and the clock are the server's, and each sync waits for it",
    "Put environment and out directory on a local disk if you can; lock files need a server that all its users ask.",
)
_WINDOWS_DRIVE = (
    f"a drive of Windows, seen from Linux: slow, and {_MACHINE_ONLY}",
    "Keep the workspace in the Linux file system (below your home directory).",
)
_FUSE = ("served by a program (FUSE): what that does with locks is what the lines below say", "")
_KNOWN: dict[str, tuple[str, str]] = {
    "nfs": _NETWORK,
    "nfs4": _NETWORK,
    "cifs": _NETWORK,
    "smb3": _NETWORK,
    "smbfs": _NETWORK,
    "afpfs": _NETWORK,
    "webdav": _NETWORK,
    "lustre": _NETWORK,
    "ceph": _NETWORK,
    "9p": _VM_SHARE,
    "virtiofs": _VM_SHARE,
    "vboxsf": _VM_SHARE,
    "prl_fs": _VM_SHARE,
    "fuse.vmhgfs-fuse": _VM_SHARE,
    "fuse.sshfs": (f"another machine's directory: {_MACHINE_ONLY}", "Build on a local disk."),
    "fuse.grpcfuse": _VM_SHARE,
    "fakeowner": _VM_SHARE,
    "drvfs": _WINDOWS_DRIVE,
    "overlay": (
        "a layer of a container, which goes away with it; uv copies from its cache rather than link",
        "Mount a volume for environment, out directory and cache if they are to stay.",
    ),
    "tmpfs": (
        "in memory, and gone when the machine ends",
        "Fine for a machine that is thrown away; `--durability fast` loses nothing here.",
    ),
    "ecryptfs": ("encrypted names are shorter: 143 bytes at most", ""),
}
_KNOWN["ramfs"] = _KNOWN["tmpfs"]
_FAT = (
    "FAT knows no links, no permissions and no times finer than two seconds",
    "Put the workspace on a file system of the operating system's own kind.",
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system; `kind` is its type as the system names it, "" where it does not say."""

    point: str
    kind: str
    source: str = ""
    options: tuple[str, ...] = ()


def find_mount(path: str, platform: str = sys.platform) -> Mount:
    """Return the mount that an existing path is on; one without a kind where that cannot be known."""
    real = os.path.realpath(path)
    if platform == "win32":
        return volume(real)
    if platform == "darwin":
        return on_device(parse_mount_list(_mount_list()), real)
    try:
        with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as reader:
            return innermost(parse_mountinfo(reader), real)
    except OSError:
        return Mount("", "")


def parse_mountinfo(lines: Iterable[str]) -> list[Mount]:
    """Read Linux's list of mounts (proc_pid_mountinfo(5)), in its order."""
    found = []
    for line in lines:
        words, _, tail = line.rstrip("\n").partition(" - ")
        fields, rest = words.split(" "), tail.split(" ")
        if len(fields) < 6 or len(rest) < 2:
            continue
        # The options of the mount come first, then those of the file system.
        options = dict.fromkeys([*fields[5].split(","), *(rest[2] if len(rest) > 2 else "").split(",")])
        options.pop("", None)
        # A file system that is writable may be mounted read-only, and the other way round: what is stricter holds.
        if "ro" in options:
            options.pop("rw", None)
        found.append(Mount(_unescaped(fields[4]), rest[0], _unescaped(rest[1]), tuple(map(_unescaped, options))))
    return found


def parse_mount_list(text: str) -> list[Mount]:
    """Read what mount(8) of macOS prints: "/dev/disk3s5 on /Volumes/data (apfs, local, journaled)"."""
    found = []
    for line in text.splitlines():
        if match := re.fullmatch(r"(.*?) on (/.*) \(([^()]*)\)", line):
            kind, *options = (word.strip() for word in match[3].split(","))
            found.append(
                Mount(match[2], kind, match[1], tuple("ro" if each == "read-only" else each for each in options))
            )
    return found


def innermost(mounts: Iterable[Mount], path: str) -> Mount:
    """Return the mount nearest above a path; of several at one point the last, which hides the others."""
    best = Mount("", "")
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and len(mount.point) >= len(best.point):
            best = mount
    return best


def on_device(
    mounts: Iterable[Mount], path: str, device: Callable[[str], int] = lambda path: os.stat(path).st_dev
) -> Mount:
    """Return the mount whose device a path is on: on macOS /Users is on a volume that is mounted elsewhere (firmlinks)."""
    candidates = list(mounts)
    wanted = device(path)
    # The innermost above the path first, which answers nearly always: to ask a dead network mount takes for ever.
    nearest = innermost(candidates, path)
    for mount in [nearest, *(each for each in candidates if each.source.startswith("/dev/") and each != nearest)]:
        try:
            if mount.point and device(mount.point) == wanted:
                return mount
        except OSError:
            continue
    return nearest


def judge(mount: Mount) -> Finding:
    """Say what a file system is, and what is known of its kind and its options."""
    kind = mount.kind.lower()
    # An option may have a colon or more in it (WSL: aname=drvfs;path=C:\\), but it never spans a comma.
    telling = [each for each in mount.options if TELLING.fullmatch(each)]
    where = f"{mount.kind or 'unknown'}{f' at {mount.point}' if mount.point else ''}"
    where += f" ({', '.join(telling)})" if telling else ""
    if trouble := _locks_stay_here(kind, mount.options):
        return Finding("file system", "problem", f"{where}: {_MACHINE_ONLY}", f"Mount it without `{trouble}`.")
    known = _known(kind, mount)
    if known is None:
        return Finding("file system", "ok", where)
    return Finding("file system", "note", f"{where}: {known[0]}", known[1])


def _known(kind: str, mount: Mount) -> tuple[str, str] | None:
    if kind in FAT:
        return _FAT
    if kind == "9p" and any(option.startswith("aname=drvfs") for option in mount.options):
        return _WINDOWS_DRIVE
    if kind not in _KNOWN and "remote" in mount.options:
        return _NETWORK
    return _KNOWN.get(kind) or (_FUSE if kind.startswith(("fuse", "macfuse", "osxfuse")) else None)


def _locks_stay_here(kind: str, options: tuple[str, ...]) -> str:
    """Return the option that keeps the locks of a network file system on this machine (nfs(5), mount.cifs(8)), "" if none."""
    by_kind = {
        "nfs": {"nolock", "local_lock=all", "local_lock=flock"},
        "nfs4": {"local_lock=all", "local_lock=flock"},
        "cifs": {"nobrl"},
        "smb3": {"nobrl"},
        "lustre": {"localflock"},
    }
    return next((option for option in options if option in by_kind.get(kind, ())), "")


def _unescaped(text: str) -> str:
    """Undo the octal escapes of blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _mount_list() -> str:
    try:
        return subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


if sys.platform == "win32":

    def volume(path: str) -> Mount:
        """Return the volume of a path, as Windows names its file system: NTFS, ReFS, FAT32."""
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        root = ctypes.create_unicode_buffer(1024)
        kind = ctypes.create_unicode_buffer(64)
        if not kernel32.GetVolumePathNameW(path, root, len(root)):
            return Mount("", "")
        known = kernel32.GetVolumeInformationW(root, None, 0, None, None, None, kind, len(kind))
        remote = kernel32.GetDriveTypeW(root) == DRIVE_REMOTE
        return Mount(root.value, kind.value if known else "", "", ("remote",) if remote else ())

else:

    def volume(path: str) -> Mount:
        """Say nothing: volumes are a thing of Windows."""
        del path
        return Mount("", "")
