"""Wheels made by hand: right ones, and wrong in one way at a time."""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
from pathlib import Path

from interlock.durable import Disk
from interlock.environment import Environment
from interlock.prepared import File
from interlock.unpack import unpack
from interlock.wheel import open_wheel

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(
    directory: Path,
    files: dict[str, bytes] | None = None,
    *,
    name: str = "core",
    version: str = "1.0",
    metadata: str = "",
    wheel: str = WHEEL,
    record: str | None = None,
    modes: dict[str, int] | None = None,
    extra: list[tuple[zipfile.ZipInfo, bytes]] | None = None,
) -> str:
    """Write a wheel; `record` replaces its RECORD, `extra` members are in the archive and not in RECORD."""
    dist_info = f"{name.replace('-', '_')}-{version}.dist-info"
    contents = dict(files if files is not None else {"core.pth": b"/src\n"})
    contents.setdefault(f"{dist_info}/METADATA", (METADATA.format(name=name, version=version) + metadata).encode())
    contents.setdefault(f"{dist_info}/WHEEL", wheel.encode())
    if record is None:
        record = "".join(record_line(path, data) for path, data in contents.items()) + f"{dist_info}/RECORD,,\n"
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in contents.items():
            info = zipfile.ZipInfo(file)
            info.external_attr = (stat.S_IFREG | (modes or {}).get(file, 0o644)) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
        if record:
            archive.writestr(f"{dist_info}/RECORD", record)
        for info, data in extra or []:
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return str(path)


def record_line(path: str, data: bytes, algorithm: str = "sha256") -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
    return f"{path},{algorithm}={digest},{len(data)}\n"


def unpack_below(
    tree: Path, wheel_path: str, environment: Environment, *, source: str = "/src/core", platform: str = "linux"
) -> tuple[File, ...]:
    """Write what a wheel unpacks to below a directory, each file by its path in the environment."""
    files: list[File] = []
    with open_wheel(wheel_path, platform=platform) as wheel:
        content = b"".join(unpack(wheel, environment, files, source=source, platform=platform))
    disk, start = Disk("fast"), 0
    for file in files:
        disk.make_directory(str((tree / file.path).parent))
        disk.write(str(tree / file.path), content[start : start + file.size], executable=file.executable)
        start += file.size
    assert start == len(content)
    return tuple(files)
