"""The archive of a wheel: a zip file whose structure is checked before any of it is unpacked, and read a part at a time.

Nothing here trusts what the archive says of itself: names that lead elsewhere, sizes that are not true and parts that
overlap are errors, and no file is ever in memory whole. Specification: PKWARE's APPNOTE.TXT, "Binary distribution format".
"""

from __future__ import annotations

import contextlib
import copy
import os
import posixpath
import re
import stat
import struct
import unicodedata
import zlib
from typing import TYPE_CHECKING, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from interlock.errors import RecordMismatch, UnsafePath, UsageError, WheelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zipfile import ZipInfo

__all__ = [
    "ADVICE",
    "CHUNK",
    "LARGEST_TEXT",
    "check_path",
    "check_small",
    "chunks",
    "file_key",
    "open_archive",
    "read_small",
    "unpacked_limit",
]

LARGEST = 4 << 30
"""The most bytes that a wheel may have, uncompressed, unless INTERLOCK_UNPACKED_LIMIT says another number."""

LARGEST_TEXT = 16 << 20
"""The most bytes of a file that is read whole: METADATA, WHEEL, RECORD (that of 100,000 files has 10 MB), entry_points.txt."""

LONGEST_NAME = 4096  # PATH_MAX of Linux; other systems have less
CHUNK = 1 << 18
ADVICE = "This is a bug in the project's build backend, or in how the project configures it; nothing was installed."

_ENCRYPTED = 0x1
_LOCAL_HEADER = 30  # bytes, without the name and the extra field
_DRIVE = re.compile(r"[A-Za-z]:")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")  # control characters and the other separator
# Device names, what ends in a dot or a space (it is cut off), and what no name may have: ":" starts an alternate stream.
_NOT_ON_WINDOWS = re.compile(
    r"""(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\ *(?:\..*)?|.*[. ]|.*[<>:"|?*].*""",
    re.IGNORECASE | re.DOTALL,
)
# What zipfile raises for an archive that is damaged on purpose; OSError is a seek to where nothing can be.
_BROKEN = (
    BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


@contextlib.contextmanager
def open_archive(path: str, *, content: BinaryIO | None = None, platform: str, largest: int) -> Iterator[ZipFile]:
    """Open a wheel's archive and check its structure; `largest` is the limit of its content in bytes.

    `content` is what the file would have, if there is none.

    Raises:
        WheelError: no archive, a name twice, a compression that wheels do not use, parts that overlap, too much.
        UnsafePath: a name that leads elsewhere, or a symbolic link.
    """
    try:
        archive = ZipFile(path if content is None else content)
    except _BROKEN as error:
        raise WheelError(f"{path} is not a wheel: {error}", advice=ADVICE) from error
    with archive:
        infos, where = archive.infolist(), os.path.basename(path)
        for info in infos:
            _check_member(info, where, platform)
        _check_names(infos, where, platform)
        _check_overlap(infos, where)
        if (total := sum(info.file_size for info in infos)) > largest:
            raise WheelError(
                f"{where} unpacks to {total:,} bytes; the limit is {largest:,}",
                advice=f"Where the project needs that much, set INTERLOCK_UNPACKED_LIMIT={total} (bytes). "
                "Otherwise this is a bug in its build backend; nothing was installed.",
            )
        yield archive


def unpacked_limit() -> int:
    """Return the most bytes that a wheel may unpack to: INTERLOCK_UNPACKED_LIMIT, else 4 GiB.

    Raises:
        UsageError: the variable is no number of bytes.
    """
    text = os.environ.get("INTERLOCK_UNPACKED_LIMIT", "")
    if not text:
        return LARGEST
    if not re.fullmatch(r"[0-9]{1,18}", text) or not int(text):
        raise UsageError(
            f"INTERLOCK_UNPACKED_LIMIT is {text!r}, which is no number of bytes",
            advice=f"Give it a whole number above 0, or unset it: {LARGEST} is the default.",
        )
    return int(text)


def chunks(archive: ZipFile, name: str, where: str) -> Iterator[bytes]:
    """Yield the content of a file in parts of at most `CHUNK` bytes.

    Raises:
        KeyError: there is no such file.
        RecordMismatch: it is damaged, or has another size than the archive declares.
    """
    info = archive.getinfo(name)
    # zipfile stops at the size that it is told: with one byte more it shows what it would hide.
    generous = copy.copy(info)
    generous.file_size += 1
    size = 0
    try:
        with archive.open(generous) as reader:
            while chunk := reader.read(CHUNK):
                size += len(chunk)
                if size > info.file_size:
                    break
                yield chunk
    except _BROKEN as error:
        raise RecordMismatch(f"{where}: {name} cannot be unpacked: {error}", advice=ADVICE) from error
    if size != info.file_size:
        raise RecordMismatch(
            f"{where}: {name} is not as large as the archive says, {info.file_size:,} bytes", advice=ADVICE
        )


def read_small(archive: ZipFile, name: str, where: str) -> bytes:
    """Return the content of a file that people and tools write.

    Raises:
        KeyError: there is no such file.
        WheelError: it is larger than any such file.
        RecordMismatch: it is damaged.
    """
    check_small(archive, name, where)
    return b"".join(chunks(archive, name, where))


def check_small(archive: ZipFile, name: str, where: str) -> None:
    """Refuse a file that is too large to be read whole.

    Raises:
        KeyError: there is no such file.
        WheelError: it is larger than any that people and tools write.
    """
    if (size := archive.getinfo(name).file_size) > LARGEST_TEXT:
        raise WheelError(f"{where}: {name} has {size:,} bytes; the limit is {LARGEST_TEXT:,}", advice=ADVICE)


def check_path(path: str, where: str, platform: str) -> None:
    """Refuse a path that would be another file, or none, below the directory where it belongs.

    Raises:
        UnsafePath: absolute, with "..", control characters or backslashes; on Windows: a device, a stream, a name whose end
            is cut off.
    """
    parts = path.split("/")
    if (
        _UNSAFE.search(path)
        or any(part in {"", ".", ".."} for part in parts)
        or any(_DRIVE.match(part) for part in parts)
    ):
        raise UnsafePath(f"{where} has a file whose name leads elsewhere: {path!r}", advice=ADVICE)
    if platform == "win32" and any(_NOT_ON_WINDOWS.fullmatch(part) for part in parts):
        raise UnsafePath(f"{where} has a file whose name means another on Windows: {path!r}", advice=ADVICE)


def file_key(path: str, platform: str) -> str:
    """Return what two paths have in common that name one file: not all file systems tell capitals from small letters.

    Those of macOS do not tell composed from decomposed letters either.
    """
    if platform == "darwin":
        return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
    return path.casefold() if platform == "win32" else path


def _check_member(info: ZipInfo, where: str, platform: str) -> None:
    # `filename` is cut at a NUL and, on Windows, has its backslashes turned; `orig_filename` is what is written.
    name = info.orig_filename
    if len(name) > LONGEST_NAME:
        raise UnsafePath(f"{where} has a name of {len(name):,} characters: {name[:50]!r}...", advice=ADVICE)
    check_path(name.removesuffix("/"), where, platform)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UnsafePath(f"{where} has a symbolic link: {name}", advice=ADVICE)
    if info.flag_bits & _ENCRYPTED:
        raise WheelError(f"{where} has an encrypted file: {name}", advice=ADVICE)
    # zipfile unpacks the other methods without a bound: 40 bytes of bzip2 are 45 MB.
    if info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        raise WheelError(f"{where}: {name} is not compressed as wheels are (deflate, or not at all)", advice=ADVICE)


def _check_names(infos: Sequence[ZipInfo], where: str, platform: str) -> None:
    seen: dict[str, str] = {}
    files: set[str] = set()
    for info in infos:
        name = info.orig_filename
        key = file_key(name.removesuffix("/"), platform)
        if key in seen:
            raise WheelError(f"{where} has a name twice: {seen[key]} and {name}", advice=ADVICE)
        seen[key] = name
        if not name.endswith("/"):
            files.add(key)
    directories: set[str] = set()
    for key, name in seen.items():
        parent = posixpath.dirname(key)
        while parent and parent not in directories:
            if parent in files:
                raise WheelError(
                    f"{where} has {seen[parent]} for a file and for the directory of {name}", advice=ADVICE
                )
            directories.add(parent)
            parent = posixpath.dirname(parent)


def _check_overlap(infos: Sequence[ZipInfo], where: str) -> None:
    """Refuse files that share their compressed bytes: each would be small, and all of them together without a bound."""
    end, before = 0, ""
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise WheelError(f"{where} has two files in one place: {before} and {info.filename}", advice=ADVICE)
        end = info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size
        before = info.filename
