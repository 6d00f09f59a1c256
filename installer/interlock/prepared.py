"""A prepared distribution: a directory with the final bytes of everything that a commit will put into an environment.

    <directory>/manifest.json       what is there, for which environment, and what it requires
    <directory>/tree/<path>         the files; paths are relative to the environment

Symbolic links are in the manifest alone: nothing that walks or copies the tree meets one.

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
from interlock.errors import InterlockError, UnsafePath

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["File", "Link", "Prepared", "Requirement", "load_prepared", "manifest_text", "seal"]

SCHEMA = 2
KINDS = {"str": str, "int": int, "bool": bool}
MANIFEST = "manifest.json"
TREE = "tree"


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

    `directory`, `source` and `environment` are absolute; `dist_info` is relative to the environment; RECORD is the last of
    `files`. `digest` is the SHA-256 (hex) of all of it but `directory`: equal content, equal digest, wherever and whenever.
    """

    directory: str
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

    def path_of(self, file: File) -> str:
        """Return the absolute path of a file's final bytes."""
        return os.path.join(self.directory, TREE, *file.path.split("/"))


Made = TypeVar("Made", File, Link, Requirement, Prepared)


def seal(prepared: Prepared) -> Prepared:
    """Return the same with the digest of its content."""
    return replace(prepared, digest=_digest(_content(prepared)))


def manifest_text(prepared: Prepared) -> bytes:
    """Return the content of manifest.json."""
    return json.dumps({**_content(prepared), "digest": prepared.digest}, indent=1, sort_keys=True).encode() + b"\n"


def load_prepared(directory: str) -> Prepared:
    """Read what `interlock prepare` left in a directory.

    Raises:
        InterlockError: nothing prepared there, or written by another version of interlock, or edited since.
        UnsafePath: a file would land outside of the environment.
    """
    directory = os.path.abspath(directory)
    path = os.path.join(directory, MANIFEST)
    try:
        with open(path, "rb") as reader:
            data = parse_json(reader.read())
        digest = data.pop("digest")
        prepared = _from_json(directory, data, digest)
    except (FileNotFoundError, NotADirectoryError):
        raise InterlockError(
            f"nothing is prepared in {directory}",
            advice="`interlock prepare DIR --output` makes it; in a build, the <project>__editable_prepare edge comes first.",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InterlockError(
            f"{path} is not a manifest that this version of interlock reads",
            advice=f"Remove {directory}, prepare it again.",
        ) from error
    if _digest(data) != digest:
        raise InterlockError(f"{path} was edited since it was written", advice=f"Remove {directory}, prepare it again.")
    paths = [*(file.path for file in prepared.files), *(link.path for link in prepared.links)]
    for name in (*paths, prepared.dist_info):
        parts = name.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\\" in name or ":" in parts[0]:
            raise UnsafePath(
                f"{path} names a file outside of the environment: {name}",
                advice=f"Remove {directory}, prepare it again.",
            )
    return prepared


def _content(prepared: Prepared) -> dict[str, Any]:
    data = asdict(prepared)
    del data["directory"], data["digest"]
    return {"schema": SCHEMA, **data}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _from_json(directory: str, data: Mapping[str, Any], digest: str) -> Prepared:
    values = dict(data)
    if values.pop("schema") != SCHEMA:
        raise ValueError("another schema")
    values["files"] = tuple(_checked(File(**file)) for file in values["files"])
    values["links"] = tuple(_checked(Link(**link)) for link in values["links"])
    values["requires"] = tuple(
        _checked(Requirement(**{**one, "extras": tuple(one["extras"])})) for one in values["requires"]
    )
    return _checked(Prepared(directory=directory, digest=digest, **values))


def _checked(value: Made) -> Made:
    """Return a value whose fields have the types that it declares; JSON promises none."""
    for one in fields(value):
        content, kind = getattr(value, one.name), KINDS.get(str(one.type))
        if kind is not None and (type(content) is not kind or "\0" in str(content)):
            raise TypeError(f"{one.name} is no {one.type}")
        if one.name == "extras" and not all(isinstance(extra, str) for extra in content):
            raise TypeError("an extra is no text")
    return value
