"""Verify an environment: what its RECORDs say against the disk, dependencies, duplicates, left-overs, stamps."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interlock.access import reading
from interlock.distribution import normalize, parse_record, read_metadata_header, scan
from interlock.errors import MetadataError
from interlock.journal import damaged_distribution, damaged_path, journal_path
from interlock.links import SEARCH_TEXT, is_in_place, is_note, read_note, search_file
from interlock.satisfy import requirements_of, unsatisfied
from interlock.stamp import read_stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from interlock.distribution import Installed, RecordEntry
    from interlock.environment import Environment

__all__ = ["Kind", "Problem", "Report", "check_environment"]

Kind = Literal["record", "missing", "changed", "outside", "duplicate", "metadata", "dependency", "journal", "stamp"]

STAMPS = (".stamp", "__editable_install")
"""How the names of stamps end that tell of an environment; a name of Ninja's graph is its stamp."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be.

    `subject` is a distribution ("core 1.0"), a stamp's path, or the environment's path; `path` is the file in question,
    absolute, or "".
    """

    kind: Kind
    subject: str
    detail: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at in an environment, and what is wrong with it.

    `digest` is the SHA-256 (hex) of the names and versions of what is installed, `records` are the RECORDs (absolute paths).
    """

    environment: str
    identity: str
    distributions: int
    files: int
    digest: str
    records: tuple[str, ...]
    problems: tuple[Problem, ...]


def check_environment(path: str, *, stamps: str | None = None, timeout: float | None = None) -> Report:
    """Verify the environment at a path, under its shared lock; with `stamps`, the stamps below that directory too.

    Raises:
        NotAnEnvironment, LockTimeout, LockUnavailable: it could not be read.
    """
    with reading(path, timeout=timeout, unfinished=True) as environment:
        installed = scan(environment.site_packages)
        found = [one for name in sorted(installed) for one in installed[name]]
        problems = [*_journals(environment), *_duplicates(installed)]
        files, linked = 0, False
        for distribution in found:
            entries, record_problems = _record(distribution)
            files += len(entries)
            linked = linked or any(is_note(entry.path) for entry in entries)
            problems += [*record_problems, *_files(distribution, entries, environment)]
            problems += _metadata(distribution, installed, environment)
        problems += _search_path(environment) if linked else ()
        problems += _stamps(stamps, installed, environment) if stamps else ()
        records = tuple(os.path.join(one.directory, "RECORD") for one in found)
        listed = "".join(f"{one.normalized}=={one.version}\n" for one in found)
        digest = hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()
        return Report(environment.path, environment.identity, len(found), files, digest, records, tuple(problems))


def _journals(environment: Environment) -> Iterator[Problem]:
    path = journal_path(environment.path)
    if os.path.lexists(path):
        detail = "a commit was interrupted; the next command that changes the environment finishes it"
        yield Problem("journal", environment.path, detail, path)
    damaged = damaged_distribution(environment.path)
    if damaged is not None:
        whose = f"the commit of {damaged}" if damaged else "a commit"
        detail = f"{whose} was interrupted and could not be finished; install it again, or build again"
        yield Problem("journal", environment.path, detail, damaged_path(environment.path))


def _duplicates(installed: Mapping[str, Sequence[Installed]]) -> Iterator[Problem]:
    for name, found in sorted(installed.items()):
        if len(found) > 1:
            versions = ", ".join(one.version for one in found)
            yield Problem("duplicate", name, f"installed {len(found)} times ({versions})", found[0].directory)


def _record(distribution: Installed) -> tuple[list[RecordEntry], list[Problem]]:
    path = os.path.join(distribution.directory, "RECORD")
    try:
        with open(path, encoding="utf-8", newline="") as reader:
            return parse_record(reader.read()), []
    except FileNotFoundError:
        return [], [Problem("record", _shown(distribution), "has no RECORD: it is half installed", path)]
    except ValueError as error:
        return [], [Problem("record", _shown(distribution), f"its RECORD cannot be read: {error}", path)]


def _files(distribution: Installed, entries: Sequence[RecordEntry], environment: Environment) -> Iterator[Problem]:
    base = os.path.dirname(distribution.directory)
    inside = environment.path + os.sep
    for entry in entries:
        path = os.path.normpath(os.path.join(base, *entry.path.split("/")) if entry.path[:1] != "/" else entry.path)
        shown = _shown(distribution)
        if not path.startswith(inside):
            yield Problem("outside", shown, f"its RECORD lists a file outside of the environment: {entry.path}", path)
        elif not os.path.lexists(path):
            # Bytecode comes and goes; nobody misses it.
            if not path.endswith(".pyc"):
                yield Problem("missing", shown, f"{entry.path} is missing", path)
        elif entry.digest and (difference := _difference(path, entry)):
            yield Problem("changed", shown, f"{entry.path} {difference}", path)
        elif is_note(entry.path):
            yield from _links(path, shown)


def _links(note: str, shown: str) -> Iterator[Problem]:
    """Look at the links beside a note, which RECORD has no digests of."""
    for name, target in read_note(note).items():
        path = os.path.join(os.path.dirname(note), name)
        if os.path.lexists(path) and not is_in_place(path, target):
            yield Problem("changed", shown, f"{path} is not the link to {target} that it should be", path)
        elif not os.path.exists(target):
            yield Problem("missing", shown, f"{path} leads to {target}, which is missing", target)


def _search_path(environment: Environment) -> Iterator[Problem]:
    """Look at what puts the links of all projects on sys.path, which no RECORD lists."""
    path = environment.absolute(search_file(environment.layout))
    try:
        with open(path, "rb") as reader:
            found = reader.read()
    except OSError:
        detail = f"{path} is missing, so no link of a project is found; uninstall one of the projects, then build again"
        yield Problem("missing", environment.path, detail, path)
        return
    if found != SEARCH_TEXT:
        yield Problem("changed", environment.path, f"{path} is not what puts the links of projects on sys.path", path)


def _difference(path: str, entry: RecordEntry) -> str:
    algorithm, _, expected = entry.digest.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        return f"has a digest of an unknown kind, {algorithm}"
    try:
        if entry.size is not None and os.path.getsize(path) != entry.size:
            return f"has {os.path.getsize(path)} bytes, not the {entry.size} of its RECORD"
        with open(path, "rb") as reader:
            digest = hashlib.file_digest(reader, algorithm).digest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    actual = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return "" if actual == expected.rstrip("=") else "is not what its RECORD says"


def _metadata(
    distribution: Installed, installed: Mapping[str, Sequence[Installed]], environment: Environment
) -> Iterator[Problem]:
    from packaging.specifiers import SpecifierSet

    path = os.path.join(distribution.directory, "METADATA")
    header = read_metadata_header(path)
    shown = _shown(distribution)
    if not header.get("name"):
        yield Problem("metadata", shown, "has no METADATA, or one without a name: it is half installed", path)
        return
    python = environment.interpreter.markers["python_full_version"]
    try:
        for wanted in header.get("requires-python", ()):
            if not SpecifierSet(wanted).contains(python, prereleases=True):
                yield Problem("dependency", shown, f"requires Python {wanted}, but the environment has {python}", path)
        requires = requirements_of(distribution, environment.interpreter)
    except (MetadataError, ValueError) as error:
        detail = f"its METADATA has a requirement that is none: {error.__cause__ or error}"
        yield Problem("metadata", shown, detail, path)
        return
    try:
        # A distribution that requires an extra of itself has that extra's requirements, and is always there.
        lines = unsatisfied(requires, installed, environment.interpreter)
    except MetadataError as error:
        yield Problem("dependency", shown, f"requires an extra of another one: {error.message}", path)
        return
    for line in lines:
        yield Problem("dependency", shown, f"requires {line}", path)


def _stamps(
    directory: str, installed: Mapping[str, Sequence[Installed]], environment: Environment
) -> Iterator[Problem]:
    receipts = {path: receipt for path, receipt in _receipts(directory) if receipt.get("environment")}
    environments = {str(receipt["environment"]) for receipt in receipts.values() if receipt.get("edge") == "venv"}
    # One out directory has the stamps of several environments; which of them is this one, its venv edge says.
    others = environments - {environment.identity} if environment.identity in environments else set()
    own = {path: receipt for path, receipt in receipts.items() if str(receipt["environment"]) not in others}
    # A stamp may be left of a build that is no more, by a version that called it otherwise: of several the newest counts.
    newest: dict[tuple[str, str], int] = {}
    for path, receipt in own.items():
        newest[_subject(receipt)] = max(_time(path), newest.get(_subject(receipt), 0))
    for path, receipt in own.items():
        if _time(path) >= newest[_subject(receipt)]:
            yield from _stamp(path, receipt, installed, environment)


def _subject(receipt: Mapping[str, object]) -> tuple[str, str]:
    return str(receipt.get("edge")), normalize(str(receipt.get("name")))


def _time(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def _receipts(directory: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    for top, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(top, name)
            receipt = read_stamp(path) if name.endswith(STAMPS) else None
            if receipt is not None:
                yield path, receipt


def _stamp(
    path: str, receipt: Mapping[str, object], installed: Mapping[str, Sequence[Installed]], environment: Environment
) -> Iterator[Problem]:
    if receipt["environment"] != environment.identity:
        detail = (
            f"tells of an environment that is not the one at {environment.path} now; the build will run its edge again"
        )
        yield Problem("stamp", path, detail, path)
    elif receipt.get("edge") == "install":
        name, version = str(receipt.get("name")), str(receipt.get("version"))
        there = [one.version for one in installed.get(normalize(name), ())]
        if version not in there:
            now = f"{name} {', '.join(there)} is" if there else f"{name} is not"
            yield Problem("stamp", path, f"tells of {name} {version}, but {now} installed", path)


def _shown(distribution: Installed) -> str:
    return f"{distribution.name} {distribution.version}"
