"""From a workspace to its BUILD.gn files: read, plan, write what has changed, and nothing that a person wrote."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import interlock
from interlock.errors import ConfigurationError
from interlock_gn.build_files import (
    Regeneration,
    build_file_texts,
    call_text,
    has_call,
    is_generated,
    labels_in,
    workspace_root,
)
from interlock_gn.calls import Place, make_calls
from interlock_gn.source_tree import find_source_root, source_path, system_path
from interlock_gn.vendored import status
from interlock_ninja.graph import environment_graph
from interlock_ninja.plan import make_plan
from interlock_ninja.workspace import read_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from interlock.durable import Disk
    from interlock_gn.calls import ProjectCall
    from interlock_ninja.graph import EnvironmentGraph
    from interlock_ninja.workspace import Workspace

__all__ = ["Generated", "Options", "generate"]

BUILD_FILE = "BUILD.gn"


@dataclass(frozen=True, slots=True)
class Options:
    """Where the templates are, which directory's BUILD.gn gets the environments, and whether it gets all projects too."""

    templates: str = "//build/interlock"
    venv_dir: str = "//build/venv"
    single_file: bool = False
    strict: bool = False

    def words(self) -> tuple[str, ...]:
        """Return them as arguments of `interlock gn gen`, where they are not what it does anyway."""
        default = Options()
        words = []
        if self.templates != default.templates:
            words += ["--dir", self.templates]
        if self.venv_dir != default.venv_dir:
            words += ["--venv-dir", self.venv_dir]
        words += ["--single-file"] if self.single_file else []
        words += ["--strict"] if self.strict else []
        return tuple(words)


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generation wrote, or would write; all paths are relative to the root of the GN tree.

    `missing` maps each BUILD.gn that was written by hand, and that lacks one of its projects, to the text to add. `inputs`
    are the absolute paths of all that was read.
    """

    source_root: str
    projects: int
    environments: tuple[str, ...]
    written: tuple[str, ...]
    removed: tuple[str, ...]
    missing: Mapping[str, str]
    warnings: tuple[str, ...]
    inputs: tuple[str, ...]


def generate(
    root: str | None,
    *,
    disk: Disk,
    options: Options,
    check: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Generated:
    """Write a BUILD.gn for each project of a workspace, each only if its text changed; with `check`, write nothing.

    `root` is the workspace's directory; None means to look for it from here upwards. Generated files of projects that are gone
    are removed. A BUILD.gn that was written by hand is left alone; `Generated.missing` says what it lacks.

    Raises:
        ConfigurationError, MetadataError, GraphError: what is wrong, where, and how to mend it.
    """
    workspace = read_workspace(root, start=os.getcwd(), strict=options.strict, disk=disk, progress=progress)
    configuration = workspace.configuration
    source_root = find_source_root(configuration.root)
    options = _located(options, source_root)
    templates = _templates_in(options, source_root)
    graphs = tuple(environment_graph(workspace, environment, disk=disk) for environment in configuration.environments)
    plan = make_plan(configuration, graphs)
    place = Place(source_root, options.venv_dir, options.single_file)
    calls = make_calls(workspace, graphs, plan, place)
    root_path = source_path(source_root, configuration.root)
    again = Regeneration("" if root_path == "//" else root_path, options.words())
    texts = build_file_texts(calls, place, options.templates, again)
    tree = _Tree(source_root, disk, check)
    gone = _gone(tree, texts.keys(), place, again.root)
    for directory, text in texts.items():
        tree.put(directory, text, [call for call in calls.projects if call.directory == directory], options.templates)
    for directory in gone:
        tree.drop(directory)
    warnings = [status(templates).warning, *workspace.warnings, *(line for graph in graphs for line in graph.warnings)]
    return Generated(
        source_root=source_root,
        projects=len({node.project.directory for graph in graphs for node in graph.nodes}),
        environments=tuple(graph.environment.path for graph in graphs),
        written=tuple(tree.written),
        removed=tuple(tree.removed),
        missing=tree.missing,
        warnings=tuple(dict.fromkeys(line for line in warnings if line)),
        inputs=tuple(_inputs(workspace, graphs, tree)),
    )


def _templates_in(options: Options, source_root: str) -> str:
    """Return the absolute path of the templates."""
    templates = system_path(source_root, options.templates)
    if not os.path.isfile(os.path.join(templates, "interlock.gni")):
        raise ConfigurationError(
            f"there is no {options.templates}/interlock.gni in {source_root}",
            advice="`interlock gn init` puts the templates there; --dir names another directory.",
        )
    return templates


def _located(options: Options, source_root: str) -> Options:
    """Return the options with their directories as GN names them: what is not absolute starts at the working directory."""

    def named(directory: str) -> str:
        path = system_path(source_root, directory) if directory.startswith("//") else os.path.abspath(directory)
        return source_path(source_root, path)

    located = replace(options, templates=named(options.templates), venv_dir=named(options.venv_dir))
    if not located.venv_dir.startswith("//"):
        raise ConfigurationError(
            f"{options.venv_dir} is not a directory of the source tree, {source_root}",
            advice=f"Name one that is, as GN does: --venv-dir {Options().venv_dir}",
        )
    return located


def _gone(tree: _Tree, directories: Collection[str], place: Place, root: str) -> list[str]:
    """Return the directories of this workspace's generated BUILD.gn files that it needs no more.

    The old file with the environments names them. It is where the new one goes, or where the old ones of the projects have
    their environments.

    Raises:
        ConfigurationError: the environments of another workspace are where those of this one are to go.
    """
    there = workspace_root(tree.generated(place.venv_dir))
    if there not in {None, root}:
        raise ConfigurationError(
            f"{place.venv_dir}/{BUILD_FILE} has the environments of another workspace, {there or '//'}",
            advice="Name another directory for these: --venv-dir //build/python. Or delete it, if that workspace is no more.",
        )
    known = {place.venv_dir}.union(*(labels_in(tree.generated(each)) for each in directories))
    old = {each: text for each in known if workspace_root(text := tree.generated(each)) == root}
    return sorted(set(old).union(*map(labels_in, old.values())) - set(directories))


class _Tree:
    """The BUILD.gn files of a GN tree."""

    def __init__(self, root: str, disk: Disk, check: bool) -> None:
        self._root = root
        self._disk = disk
        self._check = check
        self.written: list[str] = []
        self.removed: list[str] = []
        self.missing: dict[str, str] = {}
        self.files: list[str] = []

    def generated(self, directory: str) -> str:
        """Return the text of a BUILD.gn, "" where there is none, or one that was written by hand."""
        text = self._read(directory)
        return text if is_generated(text) else ""

    def put(self, directory: str, text: str, calls: Sequence[ProjectCall], templates: str) -> None:
        """Write a BUILD.gn, unless it is there as it should be, or was written by hand."""
        there = self._read(directory)
        name = self._name(directory)
        self.files.append(self._path(directory))
        if there and not is_generated(there):
            lacking = [call for call in calls if not has_call(there, call.target)]
            if not calls:
                raise ConfigurationError(
                    f"{self._path(directory)} was not written by interlock, and the environments belong there",
                    advice="Name another directory for them: --venv-dir //build/python.",
                )
            if lacking:
                self.missing[name] = call_text(lacking, templates)
        elif there != text:
            self.written.append(name)
            if not self._check:
                path = self._path(directory)
                self._disk.make_directory(os.path.dirname(path))
                self._disk.publish(path, text.encode("utf-8", "surrogateescape"))

    def drop(self, directory: str) -> None:
        """Remove the BUILD.gn of a directory that has no project any more, if it is a generated one."""
        if is_generated(self._read(directory)):
            self.removed.append(self._name(directory))
            if not self._check:
                self._disk.remove(self._path(directory))

    def _path(self, directory: str) -> str:
        return os.path.join(system_path(self._root, directory), BUILD_FILE)

    def _name(self, directory: str) -> str:
        return os.path.relpath(self._path(directory), self._root).replace(os.sep, "/")

    def _read(self, directory: str) -> str:
        path = self._path(directory)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as reader:
                return reader.read()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def _inputs(workspace: Workspace, graphs: Iterable[EnvironmentGraph], tree: _Tree) -> Iterable[str]:
    root = workspace.configuration.root
    read = {os.path.join(root, path) for path in (*workspace.files_read, *workspace.directories)}
    read |= {os.path.realpath(graph.interpreter.executable) for graph in graphs}
    # Those that were written too: one that is edited or removed is written again.
    read |= {os.path.abspath(interlock.__file__), *tree.files}
    return sorted(read)
