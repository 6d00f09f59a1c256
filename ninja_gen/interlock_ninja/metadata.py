"""What a directory's own files say of the project in it, without running anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interlock.distribution import normalize
from interlock.documents import parse_toml
from interlock.errors import MetadataError
from interlock_ninja import pep508
from interlock_ninja.dependency_groups import read_dependency_groups
from interlock_ninja.import_names import code_for_setuptools, import_names
from interlock_ninja.pep508 import table
from interlock_ninja.poetry import Unclear, read_groups, read_poetry
from interlock_ninja.project import Project
from interlock_ninja.setup_files import has_setup_script, read_setup_cfg
from interlock_ninja.versions import static_version

if TYPE_CHECKING:
    from interlock_ninja.source import Source

__all__ = ["NotAProject", "Pending", "read_metadata"]

LEGACY = "setuptools.build_meta:__legacy__"
LEGACY_REQUIRES = ("setuptools>=40.8.0",)  # PEP 518; what pip and build use
POETRY = ("poetry.core.masonry.api", "poetry.masonry.api")
_DECIDES = frozenset({"version", "requires-python", "dependencies", "optional-dependencies"})


@dataclass(frozen=True, slots=True)
class NotAProject:
    """A directory that cannot be installed, and why.

    With `listed`, what lies directly in it decided that; with `closed`, nothing below it belongs to the workspace either.
    """

    reason: str
    listed: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """A project whose metadata only its build backend knows; `known` has what is certain, the rest is empty."""

    known: Project
    why: str


def read_metadata(source: Source, *, explicit: bool = False) -> Project | Pending | NotAProject:
    """Read the project in a directory; `explicit` says that the configuration's `members` ask for this directory.

    Raises:
        MetadataError: there should be a project, and its metadata is invalid.
    """
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in"):
        source.note(name)
    document: dict[str, Any] = {}
    if "pyproject.toml" in source.files:
        try:
            document = parse_toml(source.text("pyproject.toml"))
        except ValueError as error:
            raise MetadataError(f"{source.path('pyproject.toml')} is not valid TOML: {error}") from None
    found = _read(source, document, explicit=explicit)
    if isinstance(found, NotAProject):
        return found
    known = found.known if isinstance(found, Pending) else found
    complete = replace(known, build_files=tuple(source.inputs), import_names=import_names(source, document))
    return Pending(complete, found.why) if isinstance(found, Pending) else complete


def _read(source: Source, document: dict[str, Any], *, explicit: bool) -> Project | Pending | NotAProject:
    tool = table(document, "tool")
    poetry = table(tool, "poetry")
    if "interlock" in tool and source.directory != "." and not explicit:
        return NotAProject("a workspace of its own: it has [tool.interlock]", closed=True)
    if table(tool, "uv").get("package") is False:
        return NotAProject("virtual: tool.uv.package = false")
    if poetry.get("package-mode") is False:
        return NotAProject("virtual: tool.poetry.package-mode = false")
    build = _build_system(source, document)
    if "project" in document:
        if not isinstance(document["project"], dict):
            raise MetadataError(f"{source.path('pyproject.toml')}: `project` must be a table")
        if build is None and not explicit and (virtual := _virtual(source, document)):
            return virtual
        return _from_project(source, document, build or (LEGACY_REQUIRES, LEGACY))
    if build[1] in POETRY if build else "poetry" in tool and not has_setup_script(source):
        return _from_poetry(source, document, build)
    return _from_setup_files(source, document, build)


def _build_system(source: Source, document: dict[str, Any]) -> tuple[tuple[str, ...], str] | None:
    where = f"{source.path('pyproject.toml')}: `build-system.requires`"
    system = document.get("build-system")
    if system is None:
        return None
    if not isinstance(system, dict) or "requires" not in system:
        raise MetadataError(f"{where} is missing (PEP 518)")
    backend = system.get("build-backend", LEGACY)
    if not isinstance(backend, str):
        raise MetadataError(f"{source.path('pyproject.toml')}: `build-system.build-backend` must be a string")
    return pep508.checked_requirements(system["requires"], where), backend


def _virtual(source: Source, document: dict[str, Any]) -> NotAProject | None:
    """Decide on [project] without [build-system], on which pip and uv disagree (docs/decisions/0010-no-build-system.md)."""
    if table(document, "tool", "uv").get("package") is True:
        return None
    if has_setup_script(source) or code_for_setuptools(source, document):
        return None
    return NotAProject("[project] without [build-system], and no code that setuptools would find", listed=True)


def _from_project(source: Source, document: dict[str, Any], build: tuple[tuple[str, ...], str]) -> Project | Pending:
    file = source.path("pyproject.toml")
    project = document["project"]
    name = pep508.checked_name(project.get("name"), f"{file}: `project.name`")
    dynamic = set(pep508.texts(project.get("dynamic", []), f"{file}: `project.dynamic`"))
    if "version" not in project and "version" not in dynamic:
        raise MetadataError(f"{file}: `project` has no version, and does not call it dynamic")
    version: str | None = ""
    if "version" in project:
        version = pep508.checked_version(project["version"], f"{file}: `project.version`")
    else:
        version = static_version(source, document, build[1])
    extras = project.get("optional-dependencies", {})
    if not isinstance(extras, dict):
        raise MetadataError(f"{file}: `project.optional-dependencies` must be a table")
    requires_python = project.get("requires-python", "")
    known = Project(
        name=name,
        normalized=normalize(name),
        version=version or "",
        directory=source.directory,
        requires_python=pep508.checked_specifier(requires_python, f"{file}: `project.requires-python`"),
        dependencies=pep508.checked_requirements(project.get("dependencies", []), f"{file}: `project.dependencies`"),
        optional_dependencies={
            normalize(extra): pep508.checked_requirements(lines, f"{file}: `project.optional-dependencies.{extra}`")
            for extra, lines in extras.items()
        },
        groups=read_dependency_groups(document),
        build_requires=build[0],
        build_backend=build[1],
        origin="project",
        metadata_file=file,
        build_files=(),
        import_names=(),
    )
    unknown = sorted(dynamic & _DECIDES - ({"version"} if version else set()))
    if not unknown:
        _note_readme(source, project)
        return known
    _note_dynamic_files(source, document)
    return Pending(known, f"dynamic {', '.join(unknown)}")


def _note_readme(source: Source, project: dict[str, Any]) -> None:
    readme = project.get("readme")
    file = readme.get("file") if isinstance(readme, dict) else readme
    if isinstance(file, str):
        source.note(file)


def _note_dynamic_files(source: Source, document: dict[str, Any]) -> None:
    """Remember the files that a backend's own tables name for what is dynamic."""
    _note_readme(source, document["project"])
    for directive in table(document, "tool", "setuptools", "dynamic").values():
        directives = directive.values() if isinstance(directive, dict) and "file" not in directive else [directive]
        for each in directives:
            files = each.get("file") if isinstance(each, dict) else None
            for file in [files] if isinstance(files, str) else files if isinstance(files, list) else []:
                source.note(str(file))
    for path in (
        table(document, "tool", "hatch", "version").get("path"),
        table(document, "tool", "pdm", "version").get("path"),
        table(document, "tool", "setuptools_scm").get("write_to"),
        "hatch.toml",
    ):
        if isinstance(path, str):
            source.note(path)
    _note_version_files(source)


def _note_version_files(source: Source) -> None:
    for name in sorted(source.files):
        if name.lower() in {"version", "version.txt", "version.py", "_version.py", "__version__.py"}:
            source.note(name)


def _from_poetry(
    source: Source, document: dict[str, Any], build: tuple[tuple[str, ...], str] | None
) -> Project | Pending | NotAProject:
    file = source.path("pyproject.toml")
    tool = table(document, "tool")
    poetry = table(tool, "poetry")
    if "name" not in poetry and "version" not in poetry:
        return NotAProject("virtual: [tool.poetry] has neither name nor version")
    if build is None:
        return NotAProject("[tool.poetry] without [build-system]: nothing would build it with poetry")
    name = pep508.checked_name(poetry.get("name"), f"{file}: `tool.poetry.name`")
    version = pep508.checked_version(poetry.get("version"), f"{file}: `tool.poetry.version`")
    known = replace(
        _blank(source, build, file), name=name, normalized=normalize(name), version=version, origin="poetry"
    )
    groups = {**read_groups(poetry, source.absolute()), **read_dependency_groups(document)}
    known = replace(known, groups=groups)
    if any(plugin in tool for plugin in ("poetry-dynamic-versioning", "poetry-monoranger-plugin")):
        return Pending(replace(known, version=""), "a plugin of poetry decides")
    try:
        read = read_poetry(poetry, source.absolute())
    except Unclear as error:
        return Pending(known, f"poetry's {str(error)!r} has no plain translation")
    where = f"{file}: `tool.poetry.dependencies`"
    return replace(
        known,
        requires_python=pep508.checked_specifier(read.requires_python, f"{where}.python"),
        dependencies=tuple(pep508.checked_requirement(line, where) for line in read.dependencies),
        optional_dependencies={
            extra: tuple(pep508.checked_requirement(line, where) for line in lines)
            for extra, lines in read.optional_dependencies.items()
        },
    )


def _from_setup_files(
    source: Source, document: dict[str, Any], build: tuple[tuple[str, ...], str] | None
) -> Project | Pending | NotAProject:
    script = has_setup_script(source)
    if build is None and not script:
        return NotAProject(_why_none(source, document), listed=True)
    build = build or (LEGACY_REQUIRES, LEGACY)
    known = replace(_blank(source, build, _main_file(source)), groups=read_dependency_groups(document))
    if not build[1].startswith("setuptools.build_meta"):
        _note_version_files(source)
        return Pending(known, f"only {build[1]} knows its metadata")
    read = read_setup_cfg(source)
    if read is None:
        if not script and not _names_itself(source):
            return NotAProject("[build-system] alone: no file says what it is called", listed=True)
        for name in sorted(source.files):
            if name.endswith(".py"):  # setup scripts read versions and requirements out of their neighbours
                source.note(name)
        _note_version_files(source)
        return Pending(known, "setup.py decides" if script else "setup.cfg refers to other files")
    file = source.path("setup.cfg")
    return replace(
        known,
        name=pep508.checked_name(read.name, f"{file}: `name`"),
        normalized=normalize(read.name),
        version=pep508.checked_version(read.version, f"{file}: `version`"),
        requires_python=pep508.checked_specifier(read.requires_python, f"{file}: `python_requires`"),
        dependencies=pep508.checked_requirements(list(read.dependencies), f"{file}: `install_requires`"),
        optional_dependencies={
            normalize(extra): pep508.checked_requirements(list(lines), f"{file}: `extras_require` {extra}")
            for extra, lines in read.optional_dependencies.items()
        },
        origin="setup.cfg",
        metadata_file=file,
    )


def _names_itself(source: Source) -> bool:
    return "setup.cfg" in source.files and b"[metadata]" in source.bytes("setup.cfg")


def _main_file(source: Source) -> str:
    return source.path(next(name for name in ("setup.py", "setup.cfg", "pyproject.toml") if name in source.files))


def _why_none(source: Source, document: dict[str, Any]) -> str:
    if "pyproject.toml" not in source.files:
        if "setup.py" in source.files:
            return "its setup.py is no setup script"
        if _names_itself(source):
            return "setup.cfg without setup.py or pyproject.toml: pip does not install it"
        return "only the configuration of tools"
    if not document:
        return "an empty pyproject.toml"
    if set(document) <= {"dependency-groups"}:
        return "only dependency groups"
    return "only the configuration of tools"


def _blank(source: Source, build: tuple[tuple[str, ...], str], file: str) -> Project:
    return Project(
        name="",
        normalized="",
        version="",
        directory=source.directory,
        requires_python="",
        dependencies=(),
        optional_dependencies={},
        groups={},
        build_requires=build[0],
        build_backend=build[1],
        origin="backend",
        metadata_file=file,
        build_files=(),
        import_names=(),
    )
