"""Installed distributions and the files that describe them: RECORD, METADATA.

Standard library only and little of it: every `install` edge loads this module.
Specification: packaging.python.org "Recording installed projects", "Core metadata", "Name normalization".
"""

from __future__ import annotations

import csv
import functools
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Found",
    "Installed",
    "RecordEntry",
    "format_record",
    "normalize",
    "parse_metadata_header",
    "parse_record",
    "read_metadata_header",
    "scan",
]

SUFFIX = ".dist-info"
MOST_NAMES = 8192
"""The names that are remembered: more than an environment has distributions."""

_SEPARATORS = re.compile(r"[-_.]+")
# What pip and uv leave while they work (`~ore-1.0.dist-info`, `.tmpXYZ`) is no distribution.
_DIST_INFO = re.compile(r"([A-Za-z0-9].*)-([^-]+)\.dist-info")


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One line of a RECORD: a path relative to the directory that holds the dist-info, "/" between the parts.

    `digest` is "sha256=<urlsafe base64 without padding>" or "" (RECORD itself, bytecode); `size` is in bytes.
    """

    path: str
    digest: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed distribution: an absolute dist-info directory and what its name says."""

    normalized: str
    version: str
    directory: str

    @property
    def name(self) -> str:
        """The name as METADATA spells it; reads that file."""
        spelled = read_metadata_header(os.path.join(self.directory, "METADATA")).get("name")
        return spelled[0] if spelled else self.normalized


@functools.lru_cache(maxsize=MOST_NAMES)
def normalize(name: str) -> str:
    """Normalise a distribution's name (PEP 503)."""
    return _SEPARATORS.sub("-", name).lower()


class Found(Mapping[str, "list[Installed]"]):
    """What is installed, by normalised name. Nothing but names is read; most of them nobody asks for."""

    __slots__ = ("_directories",)

    def __init__(self, directories: dict[str, list[str]]) -> None:
        self._directories = directories

    def __getitem__(self, name: str) -> list[Installed]:
        found = [(path, _parts(os.path.basename(path))) for path in self._directories[name]]
        return [Installed(name, parts[1], path) for path, parts in found if parts]

    def __iter__(self) -> Iterator[str]:
        return iter(self._directories)

    def __len__(self) -> int:
        return len(self._directories)

    def __contains__(self, name: object) -> bool:
        return name in self._directories


def scan(site_packages: Iterable[str], only: str = "") -> Found:
    """Find what is installed in absolute directories, by the names of dist-info directories alone; or `only` one.

    More than one entry under a name means that a tool left a distribution behind. Directories that do not exist are empty;
    one under two names (lib64 is a link to lib on some systems) is looked at once.
    """
    found: dict[str, list[str]] = {}
    looked_at: set[str] = set()
    for directory in site_packages:
        if (real := os.path.realpath(directory)) in looked_at:
            continue
        looked_at.add(real)
        try:
            names = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
        before = os.path.join(directory, "")
        for name in sorted([name for name in names if name.endswith(SUFFIX)]):
            if (parts := _parts(name)) and (not only or only == parts[0]):
                found.setdefault(parts[0], []).append(before + name)
    return Found(found)


@functools.lru_cache(maxsize=MOST_NAMES)
def _parts(name: str) -> tuple[str, str] | None:
    """Return the normalised name and the version in the name of a dist-info directory.

    A commit asks that of every distribution in the environment, three times.
    """
    match = _DIST_INFO.fullmatch(name)
    # In file names the "-" of a version is written as "_" (1.0-1 and 1.0+local-1 are versions).
    return (normalize(match[1]), match[2].replace("_", "-")) if match else None


def parse_record(text: str) -> list[RecordEntry]:
    """Read a RECORD.

    Raises:
        ValueError: a line has no path, more than three fields, or a size that is no number.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"it is no table of comma-separated values: {error}") from error
    entries = []
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        path, digest, size, *more = [*row, "", ""]
        if not path or "\0" in path or any(more):
            raise ValueError(f"line {number} is no entry of a RECORD: {row}")
        entries.append(RecordEntry(path.replace("\\", "/"), digest, int(size) if size else None))
    return entries


def format_record(entries: Iterable[RecordEntry]) -> str:
    """Write a RECORD, its lines in the order of `entries`, ended by CRLF as pip does."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows((entry.path, entry.digest, "" if entry.size is None else entry.size) for entry in entries)
    return text.getvalue()


def read_metadata_header(path: str) -> dict[str, list[str]]:
    """Read the header fields of a METADATA file, by their name in lower case; {} where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as reader:
            return parse_metadata_header(reader)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def parse_metadata_header(lines: Iterable[str]) -> dict[str, list[str]]:
    """Parse header fields up to the first empty line, the values of each in order; folded lines are joined by newlines."""
    fields: dict[str, list[str]] = {}
    values: list[str] | None = None
    for line in lines:
        text = line.rstrip("\r\n")
        if not text.strip():
            break
        if text[0] in " \t":
            if values:
                values[-1] += "\n" + text.strip()
            continue
        name, colon, value = text.partition(":")
        values = fields.setdefault(name.strip().lower(), []) if colon else None
        if values is not None:
            values.append(value.strip())
    return fields
