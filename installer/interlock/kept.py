"""Editable wheels that backends have built, kept for the next build of the same.

    <cache>/editable-wheels/<name>      a line of JSON, and the wheel

<name> stands for a source tree, a build environment and the config settings; the line has a digest of everything that the
wheel was built from. An entry is taken only if that is still the same, down to the content of each file, and if the wheel is
the one that was written. The source tree's lock guards it. docs/explanation/kept.md has the why.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import os
from typing import TYPE_CHECKING

from interlock.build_requirements import tree_name
from interlock.cache import cache_directory
from interlock.documents import parse_json
from interlock.errors import DiskError
from interlock.predictable import EGG_INFO, NOT_SOURCE, is_predictable, outer_files, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.build_environment import BuildEnvironment
    from interlock.durable import Disk
    from interlock.hooks import ConfigSettings

__all__ = ["Kept", "kept_wheels"]

SCHEMA = 2
LARGEST_WHEEL = 4 << 20
"""The most bytes of a wheel that is kept; one without compiled parts has a few thousand."""

MOST_FILES = 2_000
MOST_BYTES = 32 << 20
"""A project that has more is built: to read it all would take as long."""

# Nobody knows what a build finds in these, and they have thousands of files.
LARGE = "node_modules"


class Kept:
    """The place of one project's wheel; `path` is "" where none can be kept."""

    def __init__(
        self, directory: str, environment: BuildEnvironment | None, settings: ConfigSettings, disk: Disk
    ) -> None:
        self._directory, self._environment, self._settings, self._disk = directory, environment, settings, disk
        self._digest = self._current()
        self.path = ""
        if environment is not None and self._digest:
            parts = [os.path.abspath(directory), environment.key, settings]
            key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
            self.path = os.path.join(kept_wheels(), f"{tree_name(directory)}-{key[:32]}")

    def wheel(self) -> tuple[str, io.BytesIO] | None:
        """Return the file name and the content of the wheel that is there, if its project has not changed."""
        try:
            with open(self.path, "rb") as reader:
                header = parse_json(reader.readline())
                content = reader.read()
        except (OSError, ValueError):
            return None
        if not isinstance(header, dict) or (header.get("schema"), header.get("digest")) != (SCHEMA, self._digest):
            return None
        if header.get("sha256") != hashlib.sha256(content).hexdigest():
            return None
        return str(header.get("name")), io.BytesIO(content)

    def keep(self, wheel: str) -> None:
        """Keep the wheel that was built just now, unless the project was changed meanwhile or the cache cannot be written."""
        if not self.path or os.path.getsize(wheel) > LARGEST_WHEEL or self._current() != self._digest:
            return
        with open(wheel, "rb") as reader:
            content = reader.read()
        header = {
            "schema": SCHEMA,
            "digest": self._digest,
            "name": os.path.basename(wheel),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        # The build has all that it needs: the next one will ask the backend.
        with contextlib.suppress(DiskError):
            self._disk.make_directory(kept_wheels())
            self._disk.publish(self.path, json.dumps(header).encode() + b"\n" + content)

    def _current(self) -> str:
        """Return the SHA-256 (hex) of all that a build depends on; "" where that is not known."""
        environment = self._environment
        installed = environment.installed() if environment is not None else {}
        if environment is None or not is_predictable(self._directory, installed, self._settings):
            return ""
        # The receipt says which versions are installed there and which local projects that was made from, and each RECORD
        # what is in them: another index, or a constraint with a URL, has something else of the same version.
        roots = map(glob.escape, environment.site_packages)
        records = sorted(path for root in roots for path in glob.glob(os.path.join(root, "*.dist-info", "RECORD")))
        try:
            outer = [
                [path, _digest_of(path)] for path in [environment.receipt, *records, *outer_files(self._directory)]
            ]
            # The number and the size of all of them are known before the first is read.
            found = list(_tree(self._directory, egg_info="setuptools" not in installed))
            files = [[path, kind, _digest_of(full) if full else ""] for path, kind, full in found]
        except (OSError, _NotKept):
            return ""
        parts = [SCHEMA, os.path.realpath(self._directory), outer, files, variables(os.environ)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def kept_wheels() -> str:
    """Return the directory of the wheels that were kept."""
    return os.path.join(cache_directory(), "editable-wheels")


class _NotKept(Exception):
    """A project whose files are too many, or lead out of it."""


def _tree(directory: str, *, egg_info: bool) -> Iterator[tuple[str, int | str, str]]:
    """Yield each file of a project: its path in there, its permission to run or where a link leads, and its full path.

    In a stable order; the full path of a directory is "". Without `egg_info`, such directories are left out.

    Raises:
        _NotKept: too many, or a directory that is a link.
    """
    files, size, pending = 0, 0, [""]
    while pending:
        above = pending.pop()
        with os.scandir(os.path.join(directory, above)) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{above}/{entry.name}" if above else entry.name
            if _is_left_out(entry.name, above):
                continue
            if entry.is_file():
                status = entry.stat()
                files, size = files + 1, size + status.st_size
                if files > MOST_FILES or size > MOST_BYTES:
                    raise _NotKept
                # Backends copy the permissions of data and scripts, and flit_core refuses licenses that lead out.
                yield path, os.path.realpath(entry.path) if entry.is_symlink() else status.st_mode & 0o111, entry.path
            else:
                if not egg_info and entry.name.endswith(EGG_INFO) and not entry.is_symlink():
                    continue
                if entry.is_symlink() or entry.name == LARGE:
                    raise _NotKept
                if entry.name != "__pycache__":
                    yield path, 0, ""
                pending.append(path)


def _is_left_out(name: str, above: str) -> bool:
    if not above:
        return name in NOT_SOURCE
    return name.endswith(".pyc") and above.endswith("__pycache__")


def _digest_of(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
