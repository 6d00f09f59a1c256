"""Wheels: opened with suspicion, verified file by file, their files spread over an environment's layout.

What a backend builds is input, like anything from outside. Specification: packaging.python.org "Binary distribution
format" and "Recording installed projects".
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from interlock.archive import ADVICE, check_small, chunks, open_archive, read_small, unpacked_limit
from interlock.distribution import SUFFIX, RecordEntry, normalize, parse_metadata_header, parse_record
from interlock.errors import RecordMismatch, WheelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from zipfile import ZipFile, ZipInfo

    from interlock.interpreter import Layout

__all__ = ["Member", "Wheel", "open_wheel"]

ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# Core metadata, "Name"; the headers of a wheel go into a directory of that name.
_NAME = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a wheel and the path where it goes, relative to the environment."""

    name: str
    path: str
    executable: bool
    script: bool


@dataclass(frozen=True, slots=True)
class Wheel:
    """An open wheel whose structure is sound; contents are verified as they are read.

    `metadata` is the header of METADATA by lower-case field; `dist_info` is a directory's name in the archive.
    """

    path: str
    name: str
    version: str
    dist_info: str
    root_is_purelib: bool
    metadata: Mapping[str, list[str]]
    archive: ZipFile
    record: Mapping[str, RecordEntry]

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file in parts; whoever reads to the end has what RECORD says, or an error.

        Raises:
            RecordMismatch: it is not what RECORD says.
        """
        return _verified(self.archive, self.record[name], os.path.basename(self.path))

    def read(self, name: str) -> bytes:
        """Return the content of a file that people and tools write.

        Raises:
            WheelError: it is larger than any such file.
            RecordMismatch: it is not what RECORD says.
        """
        where = os.path.basename(self.path)
        check_small(self.archive, name, where)
        return b"".join(self.chunks(name))

    def verify(self) -> None:
        """Read all files.

        Raises:
            RecordMismatch: one is not what RECORD says.
        """
        own = {f"{self.dist_info}/{name}" for name in UNRECORDED}
        for name in self.record.keys() - own:
            for _ in self.chunks(name):
                pass

    def members(self, layout: Layout) -> list[Member]:
        """Return where each file goes, RECORD and its signatures left out, sorted by path.

        Raises:
            WheelError: a directory of `.data` that the specification does not know, or two files for one path.
        """
        own = {f"{self.dist_info}/{name}" for name in UNRECORDED}
        found: dict[str, Member] = {}
        for info in self.archive.infolist():
            if info.is_dir() or info.filename in own:
                continue
            member = self._member(info, layout)
            if (other := found.setdefault(member.path, member)) is not member:
                raise WheelError(
                    f"{os.path.basename(self.path)} has two files for {member.path}: {other.name} and {member.name}",
                    advice=ADVICE,
                )
        return [found[path] for path in sorted(found)]

    def library(self, layout: Layout) -> str:
        """Return the directory where the root of the archive goes, relative to the environment."""
        return layout.purelib if self.root_is_purelib else layout.platlib

    def _member(self, info: ZipInfo, layout: Layout) -> Member:
        mode = info.external_attr >> 16
        executable = stat.S_ISREG(mode) and bool(mode & 0o111)
        top, _, rest = info.filename.partition("/")
        if not (top.endswith(".data") and rest):
            return Member(info.filename, f"{self.library(layout)}/{info.filename}", executable, script=False)
        scheme, _, relative = rest.partition("/")
        bases = {
            "purelib": layout.purelib,
            "platlib": layout.platlib,
            "scripts": layout.scripts,
            "headers": f"{layout.include}/{self.name}",
            "data": layout.data,
        }
        if scheme not in bases or not relative:
            raise WheelError(
                f"{os.path.basename(self.path)} has a file that belongs nowhere: {info.filename}", advice=ADVICE
            )
        script = scheme == "scripts"
        path = posixpath.normpath(f"{bases[scheme]}/{relative}")
        return Member(info.filename, path, executable or script, script=script)


@contextlib.contextmanager
def open_wheel(
    path: str, *, content: BinaryIO | None = None, platform: str = sys.platform, largest: int | None = None
) -> Iterator[Wheel]:
    """Open a wheel and check its structure: names, sizes, WHEEL, METADATA and that RECORD lists exactly what is there.

    `content` is what the file would have, if there is none. On Windows and macOS names that differ only in case are refused.
    `largest` is in bytes (default: `unpacked_limit`).

    Raises:
        WheelError: not a wheel of version 1, or it unpacks to too much.
        UnsafePath: a name that leads elsewhere, or a symbolic link.
        RecordMismatch: RECORD misses a file, lists one that is not there, or has no digest for it.
        UsageError: the limit of the environment is no number.
    """
    limit = unpacked_limit() if largest is None else largest
    with open_archive(path, content=content, platform=platform, largest=limit) as archive:
        yield _open(archive, path)


def _open(archive: ZipFile, path: str) -> Wheel:
    where = os.path.basename(path)
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    directories = sorted({name.partition("/")[0] for name in names if "/" in name})
    found = [name for name in directories if name.endswith(SUFFIX)]
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise WheelError(f"{where} must have one .dist-info directory and has {listed}", advice=ADVICE)
    dist_info = found[0]
    wheel = _header(archive, f"{dist_info}/WHEEL", path)
    _check_format(wheel.get("wheel-version", [""])[0], where)
    metadata = _header(archive, f"{dist_info}/METADATA", path)
    name, version = (metadata.get(field, [""])[0] for field in ("name", "version"))
    _check_identity(dist_info, name, version, where)
    return Wheel(
        path=path,
        name=name,
        version=version,
        dist_info=dist_info,
        root_is_purelib=wheel.get("root-is-purelib", [""])[0].lower() == "true",
        metadata=metadata,
        archive=archive,
        record=_record(archive, dist_info, names, path),
    )


def _check_format(version: str, where: str) -> None:
    major = version.partition(".")[0]
    if not re.fullmatch(r"[0-9]{1,9}", major):
        raise WheelError(f"{where} does not say which version of the wheel format it has", advice=ADVICE)
    if int(major) > 1:
        raise WheelError(
            f"{where} has version {version} of the wheel format; this interlock knows version 1",
            advice="Update interlock, or constrain the build backend to an older version.",
        )


def _check_identity(dist_info: str, name: str, version: str, where: str) -> None:
    if not name or not version:
        raise WheelError(f"{where}: METADATA has no Name or no Version", advice=ADVICE)
    if not _NAME.fullmatch(name):
        raise WheelError(f"{where}: METADATA has a Name that is none: {name!r}", advice=ADVICE)
    stem, _, tail = dist_info.removesuffix(SUFFIX).rpartition("-")
    if normalize(stem) != normalize(name) or not _same_version(tail, version):
        raise WheelError(f"{where}: {dist_info} does not fit METADATA, which says {name} {version}", advice=ADVICE)


def _same_version(tail: str, version: str) -> bool:
    if tail.replace("_", "-") == version:
        return True
    from packaging.version import Version

    try:
        return Version(tail.replace("_", "-")) == Version(version)
    except ValueError:  # none, or a number too long to be one
        return False


def _header(archive: ZipFile, name: str, path: str) -> dict[str, list[str]]:
    where = os.path.basename(path)
    try:
        text = read_small(archive, name, where).decode()
    except KeyError:
        raise WheelError(f"{where} has no {name}", advice=ADVICE) from None
    except UnicodeDecodeError as error:
        raise WheelError(f"{where}: {name} is not UTF-8: {error}", advice=ADVICE) from error
    # Not `splitlines`, for which some characters in the middle of a line end it too.
    return parse_metadata_header(io.StringIO(text, newline=None))


def _record(archive: ZipFile, dist_info: str, names: Iterable[str], path: str) -> dict[str, RecordEntry]:
    where = os.path.basename(path)
    own = {f"{dist_info}/{name}" for name in UNRECORDED}
    try:
        entries = parse_record(read_small(archive, f"{dist_info}/RECORD", where).decode())
    except KeyError:
        raise WheelError(f"{where} has no {dist_info}/RECORD", advice=ADVICE) from None
    except ValueError as error:
        raise RecordMismatch(f"{where}: RECORD cannot be read: {error}", advice=ADVICE) from error
    record: dict[str, RecordEntry] = {}
    for entry in entries:
        if record.setdefault(entry.path, entry) != entry:
            raise RecordMismatch(f"{where}: RECORD has two entries for {entry.path}", advice=ADVICE)
    missing = sorted(set(names) - record.keys() - own)
    absent = sorted(record.keys() - set(names) - own)
    weak = sorted(
        name for name in record.keys() - own if record[name].digest.partition("=")[0].lower() not in ALGORITHMS
    )
    for wrong, what in (
        (missing, "does not list"),
        (absent, "lists, but the wheel has no"),
        (weak, "has no SHA-256 or better digest of"),
    ):
        if wrong:
            raise RecordMismatch(f"{where}: RECORD {what} {', '.join(wrong[:5])}", advice=ADVICE)
    return record


def _verified(archive: ZipFile, entry: RecordEntry, where: str) -> Iterator[bytes]:
    import hashlib
    from base64 import urlsafe_b64encode

    algorithm, _, expected = entry.digest.partition("=")
    digest, size = hashlib.new(algorithm.lower()), 0
    for chunk in chunks(archive, entry.path, where):
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    actual = urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    if actual != expected.rstrip("=") or (entry.size is not None and entry.size != size):
        raise RecordMismatch(f"{where}: {entry.path} is not what RECORD says it is", advice=ADVICE)
