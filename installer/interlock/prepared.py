"""A prepared distribution: one file with the final bytes of everything that a commit will put into an environment.

    interlock prepared 3            a line, to know it by
    the files                       one after the other, in the order of the manifest, nothing between them
    the manifest (JSON)             what they are, for which environment, and what it requires
    00000000000000001234            a line: the size of the manifest in bytes

One file is made, brought to the disk and put in the place of another in a fraction of the time that a directory with ten
takes. The manifest comes after the files, so that whoever writes has none of them in memory. Symbolic links are in the
manifest alone. Versions before had a directory, with `manifest.json` and the files below `tree`: a build that is there
already goes on, so what is in one can be installed still.

`interlock.prepare` writes it, `interlock install` reads it; this module is what both need and is cheap to load.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from interlock.distribution import normalize
from interlock.documents import parse_json
from interlock.errors import InterlockError, RecordMismatch, UnsafePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import BinaryIO

__all__ = ["File", "Link", "Prepared", "Requirement", "is_prepared", "load_prepared", "packed", "seal"]

SCHEMA = 3
KINDS = {"str": str, "int": int, "bool": bool}
MAGIC = b"interlock prepared "
HEAD = MAGIC + b"%d\n" % SCHEMA
DIGITS = 20
CHUNK = 1 << 16
# Of a directory that was prepared before there was one file, and the schema of its manifest.
MANIFEST, TREE, SCHEMA_OF_DIRECTORY = "manifest.json", "tree", 2


@dataclass(frozen=True, slots=True)
class File:
    """One file: its path relative to the environment ("/" between the parts), SHA-256 (hex) and size (bytes)."""

    path: str
    sha256: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Link:
    """One symbolic link: its path relative to the environment ("/" between the parts), and where it leads, absolute."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement that holds for the environment's interpreter: no marker any more.

    `name` is normalised; `specifier` and `url` are "" where the requirement has none.
    """

    requirement: str
    name: str
    specifier: str
    extras: tuple[str, ...]
    url: str

    @classmethod
    def named(cls, name: str) -> Requirement:
        """Return the requirement for any version of a distribution."""
        return cls(name, normalize(name), "", (), "")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The manifest of a prepared distribution.

    `path`, `source` and `environment` are absolute; `dist_info` is relative to the environment; RECORD is the last of
    `files`. `digest` is the SHA-256 (hex) of all of it but `path`: equal content, equal digest, wherever and whenever.
    """

    path: str
    name: str
    normalized: str
    version: str
    source: str
    dist_info: str
    environment: str
    python: str
    implementation: str
    files: tuple[File, ...]
    requires: tuple[Requirement, ...]
    requires_python: str
    links: tuple[Link, ...] = ()
    digest: str = ""

    def contents(self) -> Iterator[tuple[File, Iterator[bytes]]]:
        """Yield each file with its content in parts, which are to be gone through before the next file is asked for.

        Raises:
            RecordMismatch: after the last part, if that is not what the manifest says.
        """
        if os.path.isdir(self.path):
            for file in self.files:
                with open(os.path.join(self.path, TREE, *file.path.split("/")), "rb", buffering=0) as reader:
                    yield file, self._verified(file, reader)
            return
        with open(self.path, "rb", buffering=CHUNK) as reader:
            reader.seek(len(HEAD))
            for file in self.files:
                yield file, self._verified(file, reader)

    def _verified(self, file: File, reader: BinaryIO) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), file.size
        while left and (chunk := reader.read(min(left, CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        if digest.hexdigest() != file.sha256:
            raise RecordMismatch(
                f"{self.path}: {file.path} is not what its manifest says",
                advice=f"Remove {self.path} and run the build again. Nothing was changed.",
            )


Made = TypeVar("Made", File, Link, Requirement, Prepared)


def seal(prepared: Prepared) -> Prepared:
    """Return the same with the digest of its content."""
    return replace(prepared, digest=_digest(_content(prepared)))


def packed(contents: Iterable[bytes], manifest: Callable[[], Prepared]) -> Iterator[bytes]:
    """Yield the parts of a prepared file.

    `contents` are those of the files, in their order; once all are gone through, `manifest` is asked for the manifest.
    """
    gathered = [HEAD]
    size = len(HEAD)
    for chunk in contents:
        gathered.append(chunk)
        size += len(chunk)
        if size >= CHUNK:  # most prepared files are smaller, and are written with one call
            yield b"".join(gathered)
            gathered.clear()
            size = 0
    prepared = manifest()
    text = json.dumps({**_content(prepared), "digest": prepared.digest}, indent=1, sort_keys=True).encode() + b"\n"
    yield b"".join([*gathered, text, b"%0*d\n" % (DIGITS, len(text))])


def is_prepared(path: str) -> bool:
    """Tell whether a file, or a directory, is one that interlock prepared, whole or not; an empty directory is as good."""
    if os.path.isdir(path):
        return {MANIFEST, TREE}.issuperset(os.listdir(path))
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as reader:
        return reader.read(len(MAGIC)) == MAGIC


def load_prepared(path: str) -> Prepared:
    """Read the manifest of what `interlock prepare` left at a path.

    Raises:
        InterlockError: nothing prepared there, or written by another version of interlock, or edited since.
        UnsafePath: a file would land outside of the environment.
    """
    path = os.path.abspath(path)
    try:
        data = parse_json(_manifest(path))
        digest = data.pop("digest")
        prepared = _from_json(path, data, digest)
    except (FileNotFoundError, NotADirectoryError):
        raise InterlockError(
            f"nothing is prepared in {path}",
            advice="`interlock prepare DIR --output` makes it; in a build, the <project>__editable_prepare edge comes first.",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InterlockError(
            f"{path} is nothing that this version of interlock prepares",
            advice=f"Remove {path}, prepare it again.",
        ) from error
    if _digest(data) != digest:
        raise InterlockError(f"{path} was edited since it was written", advice=f"Remove {path}, prepare it again.")
    paths = [*(file.path for file in prepared.files), *(link.path for link in prepared.links)]
    for name in (*paths, prepared.dist_info):
        parts = name.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\\" in name or ":" in parts[0]:
            raise UnsafePath(
                f"{path} names a file outside of the environment: {name}",
                advice=f"Remove {path}, prepare it again.",
            )
    return prepared


def _manifest(path: str) -> bytes:
    """Read the manifest alone, which is most of a small file, and at the end of a large one."""
    if os.path.isdir(path):
        with open(os.path.join(path, MANIFEST), "rb") as reader:
            return reader.read()
    with open(path, "rb", buffering=CHUNK) as reader:
        if reader.read(len(HEAD)) != HEAD:
            raise ValueError("another kind of file")
        end = os.fstat(reader.fileno()).st_size - DIGITS - 1
        reader.seek(max(end, 0))
        length = reader.read()
        if not length[:-1].isdigit() or len(length) != DIGITS + 1 or int(length) > end - len(HEAD):
            raise ValueError("its end is missing")
        reader.seek(end - int(length))
        return reader.read(int(length))


def _content(prepared: Prepared) -> dict[str, Any]:
    data = asdict(prepared)
    del data["path"], data["digest"]
    return {"schema": SCHEMA, **data}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _from_json(path: str, data: Mapping[str, Any], digest: str) -> Prepared:
    values = dict(data)
    if values.pop("schema") != (SCHEMA_OF_DIRECTORY if os.path.isdir(path) else SCHEMA):
        raise ValueError("another schema")
    values["files"] = tuple(_checked(File(**file)) for file in values["files"])
    values["links"] = tuple(_checked(Link(**link)) for link in values["links"])
    values["requires"] = tuple(
        _checked(Requirement(**{**one, "extras": tuple(one["extras"])})) for one in values["requires"]
    )
    return _checked(Prepared(path=path, digest=digest, **values))


def _checked(value: Made) -> Made:
    """Return a value whose fields have the types that it declares; JSON promises none."""
    for one in fields(value):
        content, kind = getattr(value, one.name), KINDS.get(str(one.type))
        if kind is not None and (type(content) is not kind or "\0" in str(content)):
            raise TypeError(f"{one.name} is no {one.type}")
        if kind is int and content < 0:
            raise ValueError(f"{one.name} is less than nothing")
        if one.name == "extras" and not all(isinstance(extra, str) for extra in content):
            raise TypeError("an extra is no text")
    return value
