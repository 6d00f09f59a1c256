"""Prepared files made by hand, so that a commit can be tested without a build backend."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from interlock.distribution import RecordEntry, format_record, parse_record
from interlock.environment import Environment
from interlock.prepared import File, Prepared, Requirement, load_prepared, packed, seal


def listing(environment: Environment) -> dict[str, bytes]:
    """Return all files of an environment but interlock's own state and the locks."""
    root = Path(environment.path)
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if ".interlock" not in path.relative_to(root).parts and path.name != ".lock"
    }


def visible(environment: Environment) -> list[str]:
    """Return the versions of core that a reader finds; each must be there whole."""
    versions = []
    for directory in Path(environment.site_packages[0]).glob("core-*.dist-info"):
        assert {path.name for path in directory.iterdir()} == {"METADATA", "INSTALLER", "RECORD"}
        for entry in parse_record((directory / "RECORD").read_text(encoding="utf-8")):
            assert (directory.parent / entry.path).exists(), f"{directory.name} is there, {entry.path} is not"
        versions.append(directory.name.removeprefix("core-").removesuffix(".dist-info"))
    return sorted(versions)


def store(prepared: Prepared, contents: Iterable[bytes]) -> Prepared:
    """Write a prepared file with this manifest, right or wrong."""
    Path(prepared.path).parent.mkdir(parents=True, exist_ok=True)
    Path(prepared.path).write_bytes(b"".join(packed(contents, lambda: prepared)))
    return prepared


def contents_of(prepared: Prepared) -> dict[str, bytes]:
    """Return the content of each file by its path in the environment."""
    return {file.path: b"".join(chunks) for file, chunks in prepared.contents()}


def damage(prepared: Prepared, content: bytes) -> None:
    """Change the last byte of a content in a prepared file."""
    data = Path(prepared.path).read_bytes()
    assert data.count(content) == 1
    Path(prepared.path).write_bytes(data.replace(content, content[:-1] + b"\0"))


def make_prepared(
    path: Path,
    environment: Environment,
    name: str,
    version: str = "1.0",
    files: dict[str, str] | None = None,
    requires: tuple[str, ...] = (),
    scripts: dict[str, str] | None = None,
) -> Prepared:
    """Write a prepared file: `files` are relative to site-packages, `scripts` to the scripts directory."""
    purelib, scripts_directory = environment.layout.purelib, environment.layout.scripts
    dist_info = f"{purelib}/{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    contents = {
        f"{purelib}/{place}": text for place, text in (files or {f"__editable__.{name}.pth": f"/src/{name}\n"}).items()
    }
    contents |= {f"{scripts_directory}/{place}": text for place, text in (scripts or {}).items()}
    contents |= {f"{dist_info}/METADATA": metadata, f"{dist_info}/INSTALLER": "interlock\n"}
    depth = purelib.count("/") + 1
    entries = [_entry(place, text, purelib, depth) for place, text in contents.items()]
    record = format_record([*entries, RecordEntry(f"{dist_info.removeprefix(purelib + '/')}/RECORD")])
    contents[f"{dist_info}/RECORD"] = record
    listed = tuple(
        File(
            place,
            hashlib.sha256(text.encode()).hexdigest(),
            len(text.encode()),
            place.startswith(scripts_directory + "/"),
        )
        for place, text in contents.items()
    )
    interpreter = environment.interpreter
    prepared = seal(
        Prepared(
            str(path),
            name,
            name.lower().replace("_", "-").replace(".", "-"),
            version,
            f"/src/{name}",
            dist_info,
            environment.path,
            interpreter.short,
            interpreter.implementation,
            listed,
            tuple(_requirement(line) for line in requires),
            "",
        )
    )
    store(prepared, (text.encode() for text in contents.values()))
    return load_prepared(str(path))


def _entry(path: str, text: str, purelib: str, depth: int) -> RecordEntry:
    inside = path.startswith(purelib + "/")
    relative = path.removeprefix(purelib + "/") if inside else "../" * depth + path
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return RecordEntry(relative, f"sha256={digest}", len(text.encode()))


def _requirement(line: str) -> Requirement:
    name = line.split(">")[0].split("=")[0].split("[")[0].strip()
    extras = tuple(line.split("[")[1].split("]")[0].split(",")) if "[" in line else ()
    specifier = line.split("]")[-1].removeprefix(name) if "[" in line else line.removeprefix(name)
    return Requirement(line, name.replace(".", "-"), specifier, extras, "")
