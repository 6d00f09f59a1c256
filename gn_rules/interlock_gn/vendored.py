"""The templates in a GN source tree: put there by `interlock gn init`, kept up to date by `interlock gn update`.

Beside the templates lies VERSION, the manifest: interlock's version, and the SHA-256 of each file. A file whose digest is not
there was edited by hand, and is never overwritten. An update that is interrupted can be run again: while it lasts, the
manifest has the digests of the old files and of the new ones.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interlock import __version__
from interlock.errors import ConfigurationError
from interlock_gn.gn_format import quoted
from interlock_gn.source_tree import find_source_root, source_path, system_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.durable import Disk

__all__ = ["DEFAULT_DIRECTORY", "Changes", "Status", "check", "initialise", "locate", "status", "update"]

DEFAULT_DIRECTORY = "//build/interlock"
MANIFEST = "VERSION"
ENTRY = "interlock.gni"  # what BUILD.gn files import
LAUNCHER = "run_interlock.py"
PACKAGE = os.path.dirname(os.path.abspath(__file__))

State = Literal["absent", "current", "older", "newer", "different"]

# GN makes the name of a Ninja pool from the directory's, unescaped; Ninja knows these characters (its lexer.in.cc).
_NINJA_NAME = re.compile(r"[A-Za-z0-9_./-]+")
_FIRST_LINE = re.compile(r"interlock (\S+) templates(, linked)?")
_DIGEST_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\\s]+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What VERSION says: each file with the digests that show it unedited (two of them during an update)."""

    version: str
    linked: bool
    digests: Mapping[str, frozenset[str]]

    def text(self) -> bytes:
        """Return the content of the file."""
        lines = [f"interlock {self.version} templates{', linked' if self.linked else ''}"]
        lines += [f"{digest}  {name}" for name in sorted(self.digests) for digest in sorted(self.digests[name])]
        return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Status:
    """How the templates in a directory ("//build/interlock") stand to those of this interlock.

    `state` compares versions: "different" is the same version with other content (or a link that leads elsewhere), "absent" no
    templates of interlock at all. `edited` and `missing` name files.
    """

    directory: str
    state: State
    version: str
    linked: bool
    edited: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        """Tell whether an update would change nothing."""
        return self.state == "current" and not self.edited and not self.missing

    @property
    def warning(self) -> str:
        """Return a line for a command that depends on the templates; "" where there is nothing to say."""
        if self.state == "newer":
            return f"the templates in {self.directory} are of interlock {self.version}; this is {__version__}, which is older"
        command = _command("update", self.directory)
        if self.state == "older":
            of = f"the templates in {self.directory} are of interlock {self.version}"
            return f"{of}; `{command}` brings those of {__version__}"
        if self.state == "different":
            return f"the templates in {self.directory} are not those of this interlock; `{command}` brings them"
        if self.missing:
            return f"{self.directory} lacks {', '.join(self.missing)}; `{command}` brings that back"
        return ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to a directory ("//build/interlock"): names of files, and the version that was there ("" for none)."""

    directory: str
    previous: str
    linked: bool
    written: tuple[str, ...]
    removed: tuple[str, ...]


def locate(source_root: str, directory: str) -> str:
    """Return the absolute path of the directory for templates that a user named: "//build/interlock", or a path.

    Raises:
        ConfigurationError: it is not below the root, or nothing that Ninja could name a pool for.
    """
    path = system_path(source_root, directory) if directory.startswith("//") else os.path.abspath(directory)
    named = source_path(source_root, path)
    if not named.startswith("//") or named == "//":
        raise ConfigurationError(
            f"{directory} is not a directory below the root of the source tree, {source_root}",
            advice=f"Name one that is, as GN does: --dir {DEFAULT_DIRECTORY}",
        )
    if not _NINJA_NAME.fullmatch(named):
        raise ConfigurationError(
            f"{named} cannot hold the templates: GN names a pool of Ninja after the directory, and Ninja allows only"
            " letters, digits and . _ - there",
            advice=f"Choose another directory: --dir {DEFAULT_DIRECTORY}",
        )
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ConfigurationError(
            f"{source_path(source_root, there)} is not a directory",
            advice=f"Move it away, or choose another directory: --dir {DEFAULT_DIRECTORY}",
        )
    return path


def status(directory: str) -> Status:
    """Compare the templates in a directory (an absolute path in a GN source tree) with those of this interlock.

    Raises:
        ConfigurationError: the directory is in no GN source tree; its VERSION is not one of ours.
    """
    return _compare(source_path(find_source_root(directory), directory), directory)


def initialise(source_root: str, directory: str, *, link: bool, disk: Disk) -> Changes:
    """Put the templates, or with `link` an import of the installed ones, into a directory (an absolute path).

    Where they are already, nothing is changed, but a copy may become a link and a link a copy.

    Raises:
        ConfigurationError: files that are not ours are in the way; what is there is edited, or of another version; the
            path of the installed package cannot be linked. Nothing was changed.
    """
    named = source_path(source_root, directory)
    contents = _shipped(source_root, link)
    if link:
        _refuse_link(source_root)
    if not _holds_manifest(directory):
        _refuse_foreign(named, directory, contents, known=())
        return _put(named, directory, None, contents, link, disk)
    found = _compare(named, directory)
    _refuse_newer(found)
    _refuse_edited(found)
    if found.linked == link and found.state in {"older", "different"}:
        raise ConfigurationError(
            f"{named} has templates already, of another interlock: {found.version}; this is {__version__}",
            advice=f"`{_command('update', named)}` brings them up to date.",
        )
    return _put(named, directory, _read(named, directory), contents, link, disk)


def check(source_root: str, directory: str) -> Status:
    """Compare as `status` does, for those who mean to update.

    Raises:
        ConfigurationError: there are no templates in the directory, or a newer interlock wrote them.
    """
    found = _compare(source_path(source_root, directory), directory)
    if found.state == "absent":
        raise ConfigurationError(
            f"{found.directory} has no templates of interlock: there is no {MANIFEST} of interlock in it",
            advice=f"`{_command('init', found.directory)}` puts them there; --dir names another directory.",
        )
    _refuse_newer(found)
    return found


def update(source_root: str, directory: str, *, disk: Disk) -> Changes:
    """Replace the templates in a directory (an absolute path) by those of this interlock.

    Raises:
        ConfigurationError: there are none, a newer interlock wrote them, they are edited, or files that are not ours are in
            the way. Nothing was changed.
    """
    found = check(source_root, directory)
    _refuse_edited(found)
    if found.linked:
        _refuse_link(source_root)
    contents = _shipped(source_root, found.linked)
    return _put(found.directory, directory, _read(found.directory, directory), contents, found.linked, disk)


def _compare(named: str, directory: str) -> Status:
    if not _holds_manifest(directory):
        return Status(named, "absent", "", linked=False, edited=(), missing=())
    manifest = _read(named, directory)
    ours = _digests(_shipped(find_source_root(directory), manifest.linked))
    edited, missing = [], []
    for name, digests in sorted(manifest.digests.items()):
        content = _content(os.path.join(directory, name))
        if content is None:
            missing.append(name)
        elif _digest(content) not in digests | ours.get(name, frozenset()):
            edited.append(name)
    return Status(named, _state(manifest, ours), manifest.version, manifest.linked, tuple(edited), tuple(missing))


def _state(manifest: Manifest, ours: Mapping[str, frozenset[str]]) -> State:
    from packaging.version import Version

    there, this = Version(manifest.version), Version(__version__)
    # What a link leads to is of this version, whichever wrote the link.
    if there != this and not manifest.linked:
        return "older" if there < this else "newer"
    return "current" if manifest.digests == ours else "different"


def _refuse_newer(found: Status) -> None:
    """Raise for templates that would be replaced by older ones."""
    if found.state == "newer":
        raise ConfigurationError(
            found.warning, advice=f"Install interlock {found.version} or newer, and run that. Nothing was written."
        )


def _refuse_edited(found: Status) -> None:
    """Raise for templates that somebody put work into."""
    if found.edited:
        raise ConfigurationError(
            f"edited by hand in {found.directory}: {', '.join(found.edited)}",
            advice="Nothing was written. To go back to ours, delete what is edited and run"
            f" `{_command('update', found.directory)}`.\n"
            f"  What the edit is for belongs into a .gni of your own, which imports {found.directory}/{ENTRY}.",
        )


def _refuse_foreign(named: str, directory: str, contents: Iterable[str], known: Iterable[str]) -> None:
    """Raise where a name that is to be written is that of a file which interlock did not write."""
    templates = _templates()
    foreign = []
    for name in sorted({*contents, MANIFEST} - set(known)):
        content = _content(os.path.join(directory, name))
        if content is not None and _digest(content) != _digest(templates.get(name, b"\0")):
            foreign.append(name)
    if foreign:
        raise ConfigurationError(
            f"{named} has files of these names that interlock did not write: {', '.join(foreign)}",
            advice="Nothing was written. Move them away, or choose another directory: --dir //third_party/interlock",
        )


def _put(
    named: str, directory: str, old: Manifest | None, contents: Mapping[str, bytes], linked: bool, disk: Disk
) -> Changes:
    """Write what differs, remove what is ours and ships no more; the manifest covers both until all is done."""
    new = Manifest(__version__, linked, _digests(contents))
    before = old or new
    _refuse_foreign(named, directory, contents, known=(*before.digests, MANIFEST) if old else ())
    names = {*before.digests, *new.digests}
    both = {name: before.digests.get(name, frozenset()) | new.digests.get(name, frozenset()) for name in names}
    manifest = os.path.join(directory, MANIFEST)
    disk.publish_if_changed(manifest, Manifest(before.version, before.linked, both).text())
    written = [
        name for name, data in sorted(contents.items()) if _publish(os.path.join(directory, name), data, disk=disk)
    ]
    removed = [name for name in sorted(names - set(contents)) if disk.remove(os.path.join(directory, name))]
    disk.publish_if_changed(manifest, new.text())
    return Changes(named, old.version if old else "", linked, tuple(written), tuple(removed))


def _publish(path: str, data: bytes, *, disk: Disk) -> bool:
    """Replace a file in one step unless it is the same; tell whether it was written. The launcher is executable."""
    if os.path.basename(path) != LAUNCHER:
        return disk.publish_if_changed(path, data)
    if _content(path) == data:
        return False
    disk.publish(path, data, mode=0o755)
    return True


def _templates() -> dict[str, bytes]:
    """Return the files that this interlock ships, by name."""
    found = {}
    for name in sorted(os.listdir(PACKAGE)):
        if name.endswith(".gni") or name in {"BUILD.gn", LAUNCHER}:
            with open(os.path.join(PACKAGE, name), "rb") as reader:
                found[name] = reader.read()
    return found


def _shipped(source_root: str, linked: bool) -> dict[str, bytes]:
    """Return what a directory is to hold: the templates, or one file that imports those of the installed package."""
    if not linked:
        return _templates()
    entry = quoted(f"{source_path(source_root, PACKAGE)}/{ENTRY}")
    text = f"# The templates of the interlock that is installed here, by `interlock gn init --link`.\nimport({entry})\n"
    return {ENTRY: text.encode()}


def _refuse_link(source_root: str) -> None:
    """Raise where the path of the installed package has characters that Ninja does not allow in the name of a pool."""
    package = source_path(source_root, PACKAGE)
    if not _NINJA_NAME.fullmatch(package):
        raise ConfigurationError(
            f"the templates of this interlock cannot be linked: GN names a pool of Ninja after their directory, {package},"
            " and Ninja allows only letters, digits and . _ - there",
            advice="Run `interlock gn init` without --link, which copies them into the source tree.",
        )


def _holds_manifest(directory: str) -> bool:
    """Tell whether there is a VERSION that starts as ours do."""
    content = _content(os.path.join(directory, MANIFEST))
    return content is not None and content.startswith(b"interlock ")


def _read(named: str, directory: str) -> Manifest:
    lines = (_content(os.path.join(directory, MANIFEST)) or b"").decode(errors="replace").splitlines()
    first = _FIRST_LINE.fullmatch(lines[0]) if lines else None
    digests: dict[str, frozenset[str]] = {}
    for number, line in enumerate(lines[1:], 2):
        entry = _DIGEST_LINE.fullmatch(line)
        if entry is None or entry[2] in {".", "..", MANIFEST}:
            raise _unreadable(named, number)
        digests[entry[2]] = digests.get(entry[2], frozenset()) | {entry[1]}
    if first is None or not _is_version(first[1]) or not digests:
        raise _unreadable(named, 1)
    return Manifest(first[1], first[2] is not None, digests)


def _is_version(text: str) -> bool:
    from packaging.version import Version

    try:
        Version(text)
    except ValueError:
        return False
    return True


def _unreadable(named: str, number: int) -> ConfigurationError:
    return ConfigurationError(
        f"{named}/{MANIFEST}, line {number}: not as interlock wrote it",
        advice=f"Restore it from version control; or delete {named} and run `{_command('init', named)}`.",
    )


def _content(path: str) -> bytes | None:
    """Return a file's content, None where there is none; that of a directory is like no file's."""
    try:
        with open(path, "rb") as reader:
            return reader.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if os.path.isdir(path):
            return b"\0 a directory"
        raise


def _digests(contents: Mapping[str, bytes]) -> dict[str, frozenset[str]]:
    return {name: frozenset({_digest(data)}) for name, data in contents.items()}


def _digest(data: bytes) -> str:
    # Version control may have checked a text out with the line endings of Windows.
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()


def _command(name: str, named: str) -> str:
    return f"interlock gn {name}" + ("" if named == DEFAULT_DIRECTORY else f" --dir {named}")
