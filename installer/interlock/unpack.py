"""A wheel becomes the final files of an installed distribution: what pip would leave in site-packages and scripts.

Specification: packaging.python.org "Binary distribution format", "Recording installed projects", "Direct URL".
"""

from __future__ import annotations

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
from interlock.errors import UnsafePath, WheelError
from interlock.links import SEARCH_TEXT, links_directory, notes, search_file
from interlock.prepared import File
from interlock.scripts import make_script, parse_scripts, rewrite_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.environment import Environment
    from interlock.prepared import Link
    from interlock.scripts import EntryPoint
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
    files: list[File],
    *,
    source: str,
    links: tuple[Link, ...] = (),
    replaced: str = "",
    platform: str = sys.platform,
) -> Iterator[bytes]:
    """Yield the files of an editable wheel as an environment is to have them, in parts, one file after the other.

    Each is added to `files` when its last part was taken; RECORD is the last. `links` take the place of the wheel's file
    `replaced`: RECORD lists them, and what is yielded for them are their notes and the .pth of all links.

    Raises:
        RecordMismatch: a file is not what the wheel's RECORD says.
        UnsafePath: a file would take the place of the environment's own.
        WheelError: two files for one path, or below one; a script that cannot be made.
    """
    places = _Places(files, environment, wheel.path, platform)
    dist_info = f"{wheel.library(environment.layout)}/{wheel.dist_info}"
    own = {*(f"{wheel.dist_info}/{name}" for name in INSTALLERS_OWN), replaced}
    scripts = _scripts(wheel)
    generated = {entry.name for entry in scripts}
    for member in wheel.members(environment.layout):
        if member.name in own or (member.script and _wrapped(member.path) in generated):
            continue
        chunks = wheel.chunks(member.name)
        yield from places.take(
            member.path,
            rewrite_script(chunks, environment, platform) if member.script else chunks,
            executable=member.executable,
        )
    for entry in scripts:
        name, data = make_script(entry, environment, platform)
        yield from places.take(f"{environment.layout.scripts}/{name}", [data], executable=True)
    yield from places.take(f"{dist_info}/INSTALLER", [INSTALLER])
    yield from places.take(f"{dist_info}/REQUESTED", [])
    yield from places.take(f"{dist_info}/direct_url.json", [_direct_url(source)])
    for path, text in notes(links, normalize(wheel.name)).items():
        yield from places.take(path, [text], ours=True)
    record = _record(files, [link.path for link in links], dist_info)
    if links:  # the .pth of all of them is not listed
        yield from places.take(search_file(environment.layout), [SEARCH_TEXT], ours=True)
    yield from places.take(f"{dist_info}/RECORD", [record])


def _scripts(wheel: Wheel | StaticWheel) -> list[EntryPoint]:
    """Return the entry points that become scripts."""
    entry_points = f"{wheel.dist_info}/entry_points.txt"
    if entry_points not in wheel.record:
        return []
    return parse_scripts(wheel.read(entry_points).decode("utf-8", "replace"), os.path.basename(wheel.path))


class _Places:
    """The paths of an environment that a wheel's files take, each once."""

    def __init__(self, files: list[File], environment: Environment, wheel: str, platform: str) -> None:
        self._files = files
        self._environment = environment
        self._wheel = os.path.basename(wheel)
        self._platform = platform
        self._taken: set[str] = set()
        self._directories: set[str] = set()

    def take(
        self, path: str, chunks: Iterable[bytes], *, executable: bool = False, ours: bool = False
    ) -> Iterator[bytes]:
        """Yield the content of one file, of the wheel or `ours`, and remember the file."""
        check_path(path, self._wheel, self._platform)
        if not self._is_free(file_key(path, self._platform)):
            raise WheelError(
                f"{self._wheel} has two files for {path}",
                advice="Rename a script or a data file of the project; nothing was installed.",
            )
        if not ours and _belongs_to_environment(path, self._environment, self._platform):
            raise UnsafePath(
                f"{self._wheel} would replace {path}, which is a part of the environment itself",
                advice="Rename the script or the data file of the project; nothing was installed.",
            )
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        self._files.append(File(path, digest.hexdigest(), size, executable))

    def _is_free(self, key: str) -> bool:
        """Tell whether no file has the path, or one above or below it; from then on one has."""
        free = key not in self._taken and key not in self._directories
        self._taken.add(key)
        while (key := posixpath.dirname(key)) and key not in self._directories:
            free = free and key not in self._taken
            self._directories.add(key)
        return free


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
