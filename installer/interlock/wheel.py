"""Wheels: opened with suspicion, verified file by file, their files spread over an environment's layout.

What a backend builds is input, like anything from outside. Specification: packaging.python.org "Binary distribution
format" and "Recording installed projects".
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from interlock.distribution import SUFFIX, RecordEntry, normalize, parse_metadata_header, parse_record
from interlock.errors import RecordMismatch, UnsafePath, WheelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from zipfile import ZipInfo

    from interlock.interpreter import Layout

__all__ = ["Member", "Wheel", "open_wheel"]

LARGEST = 1 << 30
"""The most bytes that a wheel may have, uncompressed; an editable wheel has a few thousand."""

CHUNK = 1 << 20
ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")  # control characters and the other separator
_ADVICE = "This is a bug in the project's build backend, or in how the project configures it; nothing was installed."


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

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            RecordMismatch: it is not what RECORD says.
        """
        return _read(self.archive, name, self.record.get(name), self.path)

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
                    advice=_ADVICE,
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
                f"{os.path.basename(self.path)} has a file that belongs nowhere: {info.filename}", advice=_ADVICE
            )
        script = scheme == "scripts"
        path = posixpath.normpath(f"{bases[scheme]}/{relative}")
        return Member(info.filename, path, executable or script, script=script)


@contextlib.contextmanager
def open_wheel(path: str, *, platform: str = sys.platform, largest: int = LARGEST) -> Iterator[Wheel]:
    """Open a wheel and check its structure: names, sizes, WHEEL, METADATA and that RECORD lists exactly what is there.

    On Windows and macOS names that differ only in case are refused. `largest` is in bytes.

    Raises:
        WheelError: not a wheel of version 1.
        UnsafePath: a name that leads elsewhere, or a symbolic link.
        RecordMismatch: RECORD misses a file, lists one that is not there, or has no digest for it.
    """
    try:
        archive = ZipFile(path)
    except (BadZipFile, OSError) as error:
        raise WheelError(f"{path} is not a wheel: {error}", advice=_ADVICE) from error
    with archive:
        _check_members(archive.infolist(), path, fold=platform in {"win32", "darwin"}, largest=largest)
        yield _open(archive, path)


def _open(archive: ZipFile, path: str) -> Wheel:
    where = os.path.basename(path)
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    directories = sorted({name.partition("/")[0] for name in names if "/" in name})
    found = [name for name in directories if name.endswith(SUFFIX)]
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise WheelError(f"{where} must have one .dist-info directory and has {listed}", advice=_ADVICE)
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


def _check_members(infos: Iterable[ZipInfo], path: str, *, fold: bool, largest: int) -> None:
    where = os.path.basename(path)
    seen: dict[str, str] = {}
    files: set[str] = set()
    total = 0
    for info in infos:
        # `filename` is cut at a NUL and, on Windows, has its backslashes turned; `orig_filename` is what is written.
        name = info.orig_filename
        _check_name(name, where)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnsafePath(f"{where} has a symbolic link: {name}", advice=_ADVICE)
        if info.flag_bits & ENCRYPTED:
            raise WheelError(f"{where} has an encrypted file: {name}", advice=_ADVICE)
        key = name.rstrip("/").casefold() if fold else name.rstrip("/")
        if key in seen:
            raise WheelError(f"{where} has a name twice: {seen[key]} and {name}", advice=_ADVICE)
        seen[key] = name
        if not name.endswith("/"):
            files.add(key)
        total += info.file_size
    for key, name in seen.items():
        parent = key
        while parent := posixpath.dirname(parent):
            if parent in files:
                raise WheelError(
                    f"{where} has {seen[parent]} for a file and for the directory of {name}", advice=_ADVICE
                )
    if total > largest:
        raise WheelError(f"{where} unpacks to {total:,} bytes; the limit is {largest:,}", advice=_ADVICE)


def _check_name(name: str, where: str) -> None:
    parts = name.removesuffix("/").split("/")
    if (
        _UNSAFE.search(name)
        or any(part in {"", ".", ".."} for part in parts)
        or any(_DRIVE.match(part) for part in parts)
    ):
        raise UnsafePath(f"{where} has a file whose name leads elsewhere: {name!r}", advice=_ADVICE)


def _check_format(version: str, where: str) -> None:
    major = version.partition(".")[0]
    if not major.isdigit():
        raise WheelError(f"{where} does not say which version of the wheel format it has", advice=_ADVICE)
    if int(major) > 1:
        raise WheelError(
            f"{where} has version {version} of the wheel format; this interlock knows version 1",
            advice="Update interlock, or constrain the build backend to an older version.",
        )


def _check_identity(dist_info: str, name: str, version: str, where: str) -> None:
    if not name or not version:
        raise WheelError(f"{where}: METADATA has no Name or no Version", advice=_ADVICE)
    stem, _, tail = dist_info.removesuffix(SUFFIX).rpartition("-")
    if normalize(stem) != normalize(name) or not _same_version(tail, version):
        raise WheelError(f"{where}: {dist_info} does not fit METADATA, which says {name} {version}", advice=_ADVICE)


def _same_version(tail: str, version: str) -> bool:
    if tail.replace("_", "-") == version:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(tail.replace("_", "-")) == Version(version)
    except InvalidVersion:
        return False


def _header(archive: ZipFile, name: str, path: str) -> dict[str, list[str]]:
    try:
        text = _read(archive, name, None, path).decode()
    except KeyError:
        raise WheelError(f"{os.path.basename(path)} has no {name}", advice=_ADVICE) from None
    except UnicodeDecodeError as error:
        raise WheelError(f"{os.path.basename(path)}: {name} is not UTF-8: {error}", advice=_ADVICE) from error
    return parse_metadata_header(text.splitlines())


def _record(archive: ZipFile, dist_info: str, names: Iterable[str], path: str) -> dict[str, RecordEntry]:
    where = os.path.basename(path)
    own = {f"{dist_info}/{name}" for name in UNRECORDED}
    try:
        entries = parse_record(_read(archive, f"{dist_info}/RECORD", None, path).decode())
    except KeyError:
        raise WheelError(f"{where} has no {dist_info}/RECORD", advice=_ADVICE) from None
    except ValueError as error:
        raise RecordMismatch(f"{where}: RECORD cannot be read: {error}", advice=_ADVICE) from error
    record: dict[str, RecordEntry] = {}
    for entry in entries:
        if record.setdefault(entry.path, entry) != entry:
            raise RecordMismatch(f"{where}: RECORD has two entries for {entry.path}", advice=_ADVICE)
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
            raise RecordMismatch(f"{where}: RECORD {what} {', '.join(wrong[:5])}", advice=_ADVICE)
    return record


def _read(archive: ZipFile, name: str, entry: RecordEntry | None, path: str) -> bytes:
    import hashlib
    import zlib
    from base64 import urlsafe_b64encode

    algorithm, _, expected = (entry.digest if entry else "sha256=").partition("=")
    digest = hashlib.new(algorithm.lower())
    chunks = []
    where = os.path.basename(path)
    try:
        # zipfile stops at the size that the archive's directory declares, which is within the limit.
        with archive.open(name) as reader:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                chunks.append(chunk)
    except (BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise RecordMismatch(f"{where}: {name} cannot be unpacked: {error}", advice=_ADVICE) from error
    data = b"".join(chunks)
    if entry is None:
        return data
    actual = urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    if actual != expected.rstrip("=") or (entry.size is not None and entry.size != len(data)):
        raise RecordMismatch(f"{where}: {name} is not what RECORD says it is", advice=_ADVICE)
    return data
