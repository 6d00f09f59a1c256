"""Metadata that only a build backend knows: asked in parallel, and remembered by what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from interlock.distribution import normalize, parse_metadata_header
from interlock.documents import parse_json
from interlock.errors import BackendError, MetadataError, WheelError
from interlock_ninja import pep508

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.durable import Disk
    from interlock.interpreter import Interpreter
    from interlock_ninja.config import Configuration
    from interlock_ninja.metadata import Pending
    from interlock_ninja.project import Project

__all__ = ["Answers", "Ask", "ask_backends", "backend_asker"]

SCHEMA = 1


class Ask(Protocol):
    """Ask the build backend of a project, given its absolute directory, for the text of its METADATA."""

    def __call__(self, source: str) -> str: ...


class Answers:
    """What backends said before, by digest, in one directory; without a `disk` nothing is kept.

    `context` is whatever else an answer depends on: the interpreter's version, settings for the backend.
    """

    def __init__(self, directory: str, root: str, context: Sequence[str], disk: Disk | None) -> None:
        self._directory = directory
        self._root = root
        self._context = list(context)
        self._disk = disk

    def digest(self, pending: Pending) -> str:
        """Return the digest of everything that decides a project's metadata; equal for equal projects anywhere."""
        project = pending.known
        contents = []
        for path in project.build_files:
            with open(os.path.join(self._root, path), "rb") as reader:
                inside = os.path.relpath(path, project.directory).replace(os.sep, "/")
                contents.append((inside, hashlib.sha256(reader.read()).hexdigest()))
        key = [SCHEMA, self._context, sorted(project.build_requires), project.build_backend, sorted(contents)]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

    def recall(self, digest: str) -> str | None:
        """Return the remembered METADATA text, None where there is none that can be read."""
        try:
            with open(self._path(digest), "rb") as reader:
                metadata = parse_json(reader.read())["metadata"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return metadata if isinstance(metadata, str) else None

    def remember(self, digest: str, metadata: str) -> None:
        """Keep an answer."""
        if self._disk is not None:
            self._disk.make_directory(self._directory)
            self._disk.publish(self._path(digest), json.dumps({"metadata": metadata}, indent=1).encode())

    def _path(self, digest: str) -> str:
        return os.path.join(self._directory, f"{digest}.json")


def ask_backends(
    pending: Sequence[Pending],
    *,
    root: str,
    answers: Answers,
    ask: Callable[[], Ask],
    progress: Callable[[str], None] | None = None,
) -> list[Project | MetadataError]:
    """Complete projects with what their backends say, in the order of `pending`; a MetadataError where one fails.

    `ask` is called, once, only if an answer is missing.

    Raises:
        InterlockError: what is wrong with the machine, not with one project: no engine, a full disk, no interpreter.
    """
    digests = [answers.digest(each) for each in pending]
    texts: list[str | MetadataError | None] = [answers.recall(digest) for digest in digests]
    missing = [index for index, text in enumerate(texts) if text is None]
    if missing:
        from interlock.programs import end_running, go_on, told_to_end

        if progress is not None:
            progress(_announcement([pending[index] for index in missing]))
        one = ask()
        try:
            with told_to_end(), ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                try:
                    said = pool.map(lambda index: _say(one, root, pending[index]), missing)
                    for index, text in zip(missing, said, strict=True):
                        texts[index] = text
                        if isinstance(text, str):
                            answers.remember(digests[index], text)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    end_running()
                    raise
        except Exception:
            go_on()  # for who catches this; an interrupt is the end of the process
            raise
    return [_completed(each, text) for each, text in zip(pending, texts, strict=True)]


def backend_asker(
    configuration: Configuration,
    interpreter: Interpreter,
    settings: dict[str, str | list[str]],
    projects: Sequence[Project],
    disk: Disk,
) -> Ask:
    """Return what asks build backends for real, each in its build environment.

    `projects` are those of the workspace whose name is known: where one is needed for a build, no index hears of it.
    """
    from interlock.prepare import project_metadata

    environment = configuration.environments[0]
    workspace = {
        project.normalized: os.path.normpath(os.path.join(configuration.root, project.directory))
        for project in projects
        if project.normalized
    }
    constraints = [os.path.join(configuration.root, path) for path in environment.build_constraints]

    def ask(source: str) -> str:
        return project_metadata(
            source,
            interpreter=interpreter,
            config_settings=settings,
            build_constraints=constraints,
            workspace=workspace,
            engine=configuration.engine,
            disk=disk,
        )

    return ask


def _announcement(pending: Sequence[Pending]) -> str:
    if len(pending) == 1:
        return f"asking the build backend of {pending[0].known.directory} for its metadata ({pending[0].why})"
    return f"asking the build backends of {len(pending)} projects for their metadata"


def _say(ask: Ask, root: str, pending: Pending) -> str | MetadataError:
    known = pending.known
    try:
        return ask(os.path.normpath(os.path.join(root, known.directory)))
    except (BackendError, WheelError, MetadataError) as error:
        return MetadataError(f"{known.metadata_file}: {error.message}", advice=error.advice)


def _completed(pending: Pending, text: str | MetadataError | None) -> Project | MetadataError:
    if not isinstance(text, str):
        return text or MetadataError(f"{pending.known.metadata_file}: the backend said nothing")
    try:
        return from_metadata(pending.known, text)
    except MetadataError as error:
        return error


def from_metadata(known: Project, text: str) -> Project:
    """Complete a project with the text of its METADATA (packaging.python.org "Core metadata").

    Raises:
        MetadataError: the backend left out the name or the version, or wrote something invalid.
    """
    header = parse_metadata_header(text.splitlines())
    where = f"{known.metadata_file}: what the backend says"
    name = pep508.checked_name(_one(header, "name"), f"{where}, Name,")
    if name.upper() == "UNKNOWN":
        raise MetadataError(f"{known.metadata_file} gives the project no name")
    dependencies: list[str] = []
    extras: dict[str, list[str]] = {normalize(extra): [] for extra in header.get("provides-extra", ())}
    for line in header.get("requires-dist", ()):
        requirement = pep508.checked_requirement(line, f"{where}, Requires-Dist,")
        wanted = _extras_of(requirement)
        for extra in wanted:
            # The marker stays: with the extra in its environment it is true just where the rest of it is.
            extras.setdefault(extra, []).append(requirement)
        if not wanted:
            dependencies.append(requirement)
    return replace(
        known,
        name=name,
        normalized=normalize(name),
        version=pep508.checked_version(_one(header, "version"), f"{where}, Version,"),
        requires_python=pep508.checked_specifier(_one(header, "requires-python"), f"{where}, Requires-Python,"),
        dependencies=tuple(dependencies),
        optional_dependencies={extra: tuple(lines) for extra, lines in extras.items()},
        origin="backend",
    )


def _one(header: dict[str, list[str]], key: str) -> str:
    return header[key][0] if header.get(key) else ""


def _extras_of(line: str) -> list[str]:
    """Return the extras that a requirement's marker asks for."""
    marker = pep508.requirement(line).marker
    if marker is None or "extra" not in str(marker):
        return []
    import re

    return list(
        dict.fromkeys(normalize(extra) for extra in re.findall(r"""\bextra\s*==\s*["']([^"']+)["']""", str(marker)))
    )
