"""A wheel becomes the final files of an installed distribution: what pip would leave in site-packages and scripts.

Specification: packaging.python.org "Binary distribution format", "Recording installed projects", "Direct URL".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import re
import sys
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from interlock.archive import check_path, file_key
from interlock.distribution import RecordEntry, format_record, normalize
from interlock.errors import DiskError, UnsafePath, WheelError
from interlock.links import SEARCH_TEXT, links_directory, notes, search_file
from interlock.prepared import File
from interlock.scripts import make_script, parse_scripts, rewrite_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.durable import Disk
    from interlock.environment import Environment
    from interlock.prepared import Link
    from interlock.static.wheel import StaticWheel
    from interlock.wheel import Wheel

__all__ = ["unpack"]

INSTALLER = b"interlock\n"
# Written by whoever installs, whatever the wheel has under these names.
INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "direct_url.json")
# What setuptools generates beside a script of that name (pip: is_entrypoint_wrapper).
WRAPPER_ENDINGS = (".exe", "-script.py", ".pya")

# The interpreter under all its names, and what activates (activate-global-python-argcomplete is a project's own).
_OWN_SCRIPT = re.compile(r"(python|pythonw|pypy|pypyw|graalpy)[0-9.]*t?(\.exe)?|(de)?activate(\..*)?|activate_this\.py")


def unpack(
    wheel: Wheel | StaticWheel,
    environment: Environment,
    tree: str,
    *,
    source: str,
    disk: Disk,
    links: tuple[Link, ...] = (),
    replaced: str = "",
    platform: str = sys.platform,
) -> tuple[File, ...]:
    """Write the files of an editable wheel below the directory `tree`, at their paths in the environment; RECORD last.

    Every file is synced, and so is every directory. `links` take the place of the wheel's file `replaced`: RECORD lists them,
    and what is written for them are their notes and the .pth of all links.

    Raises:
        RecordMismatch: a file is not what the wheel's RECORD says.
        UnsafePath: a file would take the place of the environment's own.
        WheelError: two files for one path, a script that cannot be made.
    """
    writer = _Writer(tree, environment, wheel.path, disk, platform)
    dist_info = f"{wheel.library(environment.layout)}/{wheel.dist_info}"
    own = {*(f"{wheel.dist_info}/{name}" for name in INSTALLERS_OWN), replaced}
    entry_points = f"{wheel.dist_info}/entry_points.txt"
    scripts = (
        parse_scripts(wheel.read(entry_points).decode("utf-8", "replace"), os.path.basename(wheel.path))
        if entry_points in wheel.record
        else []
    )
    generated = {entry.name for entry in scripts}
    for member in wheel.members(environment.layout):
        if member.name in own or (member.script and _wrapped(member.path) in generated):
            continue
        chunks = wheel.chunks(member.name)
        writer.add(
            member.path,
            rewrite_script(chunks, environment, platform) if member.script else chunks,
            executable=member.executable,
        )
    for entry in scripts:
        name, data = make_script(entry, environment, platform)
        writer.add(f"{environment.layout.scripts}/{name}", [data], executable=True)
    writer.add(f"{dist_info}/INSTALLER", [INSTALLER])
    writer.add(f"{dist_info}/REQUESTED", [])
    writer.add(f"{dist_info}/direct_url.json", [_direct_url(source)])
    _add_record(writer, dist_info, links, normalize(wheel.name), environment)
    writer.finish()
    return tuple(writer.files)


def _add_record(
    writer: _Writer, dist_info: str, links: tuple[Link, ...], normalized: str, environment: Environment
) -> None:
    """Add RECORD, and what comes with links; the .pth of all of them is not listed."""
    for path, text in notes(links, normalized).items():
        writer.add(path, [text], ours=True)
    record = _record(writer.files, [link.path for link in links], dist_info)
    if links:
        writer.add(search_file(environment.layout), [SEARCH_TEXT], ours=True)
    writer.add(f"{dist_info}/RECORD", [record])


class _Writer:
    """Write files below a directory, each path once, and remember them."""

    def __init__(self, tree: str, environment: Environment, wheel: str, disk: Disk, platform: str) -> None:
        self.files: list[File] = []
        self._tree = tree
        self._environment = environment
        self._wheel = os.path.basename(wheel)
        self._disk = disk
        self._platform = platform
        self._paths: set[str] = set()
        self._directories = {tree}

    def add(self, path: str, chunks: Iterable[bytes], *, executable: bool = False, ours: bool = False) -> None:
        """Write one file, of the wheel or `ours`; what fails on the way leaves none of it."""
        check_path(path, self._wheel, self._platform)
        key = file_key(path, self._platform)
        if key in self._paths:
            raise WheelError(
                f"{self._wheel} has two files for {path}",
                advice="Rename a script or a data file of the project; nothing was installed.",
            )
        if not ours and _belongs_to_environment(path, self._environment, self._platform):
            raise UnsafePath(
                f"{self._wheel} would replace {path}, which is a part of the environment itself",
                advice="Rename the script or the data file of the project; nothing was installed.",
            )
        self._paths.add(key)
        destination = os.path.join(self._tree, *path.split("/"))
        self._make_parents(os.path.dirname(destination))
        measured = _Measured(chunks)
        try:
            self._disk.write_chunks(destination, measured, executable=executable)
        except BaseException:
            with contextlib.suppress(DiskError, OSError):
                self._disk.remove(destination)
            raise
        self.files.append(File(path, measured.digest.hexdigest(), measured.size, executable))

    def finish(self) -> None:
        for directory in sorted(self._directories, reverse=True):
            self._disk.sync_directory(directory)

    def _make_parents(self, directory: str) -> None:
        if directory not in self._directories:
            self._disk.make_directory(directory)
            while directory not in self._directories:
                self._directories.add(directory)
                directory = os.path.dirname(directory)


class _Measured:
    """Parts of a file, whose SHA-256 and size are known once they were gone through."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.digest.update(chunk)
            self.size += len(chunk)
            yield chunk


def _wrapped(path: str) -> str:
    """Return the name of the entry point that a script would be setuptools' wrapper of."""
    name = posixpath.basename(path)
    for ending in WRAPPER_ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _belongs_to_environment(path: str, environment: Environment, platform: str) -> bool:
    """Tell whether a path is what makes the environment one, or interlock's or uv's own, or a second name of another path."""
    top = file_key(path, platform).partition("/")[0]
    if top in {".interlock", ".lock", "pyvenv.cfg"}:
        return True
    library = {environment.layout.purelib.partition("/")[0], environment.layout.platlib.partition("/")[0]}
    if top == "lib64" and top not in library:
        return True  # a link to lib, so that lib64/x is lib/x, which may be another distribution's
    directory, name = posixpath.split(file_key(path, platform))
    if f"{directory}/{name}/".startswith(file_key(f"{links_directory(environment.layout)}/", platform)):
        return True  # what is there leads to the sources of others
    if file_key(path, platform) == file_key(search_file(environment.layout), platform):
        return True
    return directory == file_key(environment.layout.scripts, platform) and bool(_OWN_SCRIPT.fullmatch(name.lower()))


def _direct_url(source: str) -> bytes:
    from pathlib import Path

    return json.dumps({"dir_info": {"editable": True}, "url": Path(source).as_uri()}, sort_keys=True).encode()


def _record(files: list[File], links: list[str], dist_info: str) -> bytes:
    library = posixpath.dirname(dist_info)
    entries = [
        RecordEntry(
            posixpath.relpath(file.path, library),
            "sha256=" + urlsafe_b64encode(bytes.fromhex(file.sha256)).rstrip(b"=").decode(),
            file.size,
        )
        for file in files
    ]
    # What a link leads to changes; the notes, which have digests, say where that is.
    entries += [RecordEntry(posixpath.relpath(path, library)) for path in (*links, f"{dist_info}/RECORD")]
    return format_record(sorted(entries, key=lambda entry: entry.path)).encode("utf-8", "surrogateescape")
