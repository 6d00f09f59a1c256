"""Prepared trees made by hand, so that a commit can be tested without a build backend."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from interlock.distribution import RecordEntry, format_record, parse_record
from interlock.environment import Environment
from interlock.prepared import File, Prepared, Requirement, load_prepared, manifest_text, seal


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


def make_prepared(
    directory: Path,
    environment: Environment,
    name: str,
    version: str = "1.0",
    files: dict[str, str] | None = None,
    requires: tuple[str, ...] = (),
    scripts: dict[str, str] | None = None,
) -> Prepared:
    """Write a prepared tree: `files` are relative to site-packages, `scripts` to the scripts directory."""
    purelib, scripts_directory = environment.layout.purelib, environment.layout.scripts
    dist_info = f"{purelib}/{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    contents = {
        f"{purelib}/{path}": text for path, text in (files or {f"__editable__.{name}.pth": f"/src/{name}\n"}).items()
    }
    contents |= {f"{scripts_directory}/{path}": text for path, text in (scripts or {}).items()}
    contents |= {f"{dist_info}/METADATA": metadata, f"{dist_info}/INSTALLER": "interlock\n"}
    depth = purelib.count("/") + 1
    entries = [_entry(path, text, purelib, depth) for path, text in contents.items()]
    record = format_record([*entries, RecordEntry(f"{dist_info.removeprefix(purelib + '/')}/RECORD")])
    contents[f"{dist_info}/RECORD"] = record
    for path, text in contents.items():
        target = directory / "tree" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())
    listed = tuple(
        File(
            path,
            hashlib.sha256(text.encode()).hexdigest(),
            len(text.encode()),
            path.startswith(scripts_directory + "/"),
        )
        for path, text in contents.items()
    )
    interpreter = environment.interpreter
    prepared = seal(
        Prepared(
            str(directory),
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
    (directory / "manifest.json").write_bytes(manifest_text(prepared))
    return load_prepared(str(directory))


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
