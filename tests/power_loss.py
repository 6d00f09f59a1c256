"""A file system in a file that can lose its power: a real ext4 on a loop device, shut down without its journal.

EXT4_IOC_SHUTDOWN with NOLOGFLUSH is what the kernel's own tests (xfstests, `godown -f`) use: what was not synced is gone. Needs
root, a loop device and mkfs.ext4.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NOLOGFLUSH = 2


@dataclass
class Machine:
    """A file system in a file, that can lose its power."""

    image: Path
    mount_point: Path

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount_point)], check=True)

    def unmount(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if subprocess.run(["umount", str(self.mount_point)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)  # a process that was killed may still have a file open
        pytest.fail("the file system is still in use")

    def lose_power(self) -> None:
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def machine_in(directory: Path, megabytes: int) -> Iterator[Machine]:
    """Make and mount a file system; the test is skipped where that cannot be."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not shutil.which("mount"):
        pytest.skip("needs root and mkfs.ext4 on Linux")
    image, mount_point = directory / "image", directory / "mnt"
    mount_point.mkdir()
    with open(image, "wb") as writer:
        writer.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    made = Machine(image, mount_point)
    try:
        made.mount()
    except subprocess.CalledProcessError:
        pytest.skip("this machine has no loop devices")
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", str(mount_point)], capture_output=True, check=False)
