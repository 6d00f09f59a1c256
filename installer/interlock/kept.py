"""Editable wheels that backends have built, kept for the next build of the same.

    <cache>/editable-wheels/<name>      a line of JSON, and the wheel

<name> stands for a source tree, a build environment and the config settings; the line has a digest of everything that the
wheel was built from. An entry is taken only if that is still the same, down to the content of each file, and if the wheel is
the one that was written. The source tree's lock guards it. docs/explanation/kept.md has the why.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from typing import TYPE_CHECKING

from interlock.build_requirements import tree_name
from interlock.cache import cache_directory
from interlock.documents import parse_json
from interlock.predictable import is_predictable, outer_files, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.build_environment import BuildEnvironment
    from interlock.durable import Disk
    from interlock.hooks import ConfigSettings

__all__ = ["Kept", "kept_wheels"]

SCHEMA = 1
LARGEST_WHEEL = 4 << 20
"""The most bytes of a wheel that is kept; one without compiled parts has a few thousand."""

MOST_FILES = 2_000
MOST_BYTES = 32 << 20
"""A project that has more is built: to read it all would take as long."""

# What is none of a project's source, wherever it is; and what builds leave in its own directory, of which the name counts.
NOT_SOURCE = frozenset(
    {
        *(".git", ".hg", ".mypy_cache", ".nox", ".pdm-build", ".pytest_cache", ".ruff_cache", ".svn", ".tox"),
        "__pycache__",
        "node_modules",
    }
)
MADE = frozenset({"build", "dist"})


class Kept:
    """The place of one project's wheel; `path` is "" where none can be kept.

    Raises (all methods):
        DiskError: the cache cannot be written.
    """

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
        """Keep the wheel that was built just now, unless the project was changed meanwhile."""
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
        self._disk.make_directory(kept_wheels())
        self._disk.publish(self.path, json.dumps(header).encode() + b"\n" + content)

    def _current(self) -> str:
        """Return the SHA-256 (hex) of all that a build depends on; "" where that is not known."""
        environment = self._environment
        if environment is None or not is_predictable(self._directory, environment.installed(), self._settings):
            return ""
        # The receipt says what is installed there, and which local projects that was made from.
        try:
            outer = [[path, _digest_of(path)] for path in [environment.receipt, *outer_files(self._directory)]]
            files = list(_tree(self._directory))
        except (OSError, _NotKept):
            return ""
        parts = [SCHEMA, os.path.realpath(self._directory), outer, files, variables(os.environ)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def kept_wheels() -> str:
    """Return the directory of the wheels that were kept."""
    return os.path.join(cache_directory(), "editable-wheels")


class _NotKept(Exception):
    """A project whose files are too many, or lead out of it."""


def _tree(directory: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the digest of each file of a project, and the path of each directory, in a stable order.

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
            if entry.is_file():
                files, size = files + 1, size + entry.stat().st_size
                if files > MOST_FILES or size > MOST_BYTES:
                    raise _NotKept
                yield path, _digest_of(entry.path)
            elif _is_source(entry, above):
                if entry.is_symlink():
                    raise _NotKept
                yield path, ""
                pending.append(path)
            elif entry.name in MADE:
                yield path, ""


def _is_source(entry: os.DirEntry[str], above: str) -> bool:
    if entry.name in NOT_SOURCE or entry.name.endswith(".egg-info") or (not above and entry.name in MADE):
        return False
    return not os.path.lexists(os.path.join(entry.path, "pyvenv.cfg"))


def _digest_of(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
