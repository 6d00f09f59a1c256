"""From a workspace to its build.ninja: read, plan, write what has changed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import interlock
from interlock.errors import ConfigurationError
from interlock.stamp import write_depfile
from interlock.workspace_names import workspace_names_text
from interlock_ninja.config import load_configuration
from interlock_ninja.current import INPUTS_FILE
from interlock_ninja.graph import environment_graph
from interlock_ninja.ninja_file import ninja_text
from interlock_ninja.plan import PRIVATE_NAMES_FILE, make_plan, third_party_file
from interlock_ninja.workspace import read_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from interlock.durable import Disk
    from interlock_ninja.graph import EnvironmentGraph
    from interlock_ninja.plan import Plan
    from interlock_ninja.workspace import Workspace

__all__ = ["Generated", "generate", "settle"]


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generation wrote, or would write: `changed` are paths relative to the root."""

    workspace: Workspace
    graphs: tuple[EnvironmentGraph, ...]
    plan: Plan
    build_file: str
    changed: tuple[str, ...]
    warnings: tuple[str, ...]


def generate(
    root: str | None,
    *,
    disk: Disk,
    strict: bool = False,
    check: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Generated:
    """Write `<out>/build.ninja` and the files beside it, each only if its text changed; with `check`, write nothing.

    `root` is the workspace's directory; None means to look for it from here upwards. `progress` hears of work that
    takes time: asking build backends for metadata that is not static.

    Raises:
        ConfigurationError, MetadataError, GraphError: what is wrong, where, and how to mend it.
    """
    started_ns = 0 if check else _start(root, disk)
    workspace = read_workspace(root, start=os.getcwd(), strict=strict, disk=disk, progress=progress)
    configuration = workspace.configuration
    graphs = tuple(environment_graph(workspace, environment, disk=disk) for environment in configuration.environments)
    plan = make_plan(configuration, graphs)
    out = os.path.join(configuration.root, configuration.out)
    text = ninja_text(
        plan, command=_command(), edge_command=edge_command(), regenerate=_again(configuration.root, out, strict=strict)
    )
    # A name that is no UTF-8 is written back as the bytes that it was read from.
    encoded = {
        path: content.encode("utf-8", "surrogateescape") for path, content in _side_files(workspace, graphs).items()
    }
    encoded["build.ninja"] = text.encode("utf-8", "surrogateescape")
    changed = [path for path, content in encoded.items() if _differs(os.path.join(out, path), content)]
    if not check:
        _write(encoded, _inputs(workspace, graphs, out), out, started_ns, disk)
    warnings = (*workspace.warnings, *dict.fromkeys(line for graph in graphs for line in graph.warnings))
    names = tuple(f"{configuration.out}/{path}" for path in changed)
    return Generated(workspace, graphs, plan, os.path.join(out, "build.ninja"), names, warnings)


def _start(root: str | None, disk: Disk) -> int:
    """Make the out directory, which changes the directory that it is in, and sample the clock before anything is read."""
    configuration = load_configuration(root, start=os.getcwd())
    out = os.path.join(configuration.root, configuration.out)
    _check_out(out, configuration.out)
    return disk.clock_ns(out)


def settle(generated: Generated, ninja: str) -> None:
    """Make the log of the Ninja that will build agree with the time of a build.ninja that it did not make itself.

    Otherwise it would generate once more. `-t restat`: Ninja manual, "Extra tools".
    """
    out = os.path.dirname(generated.build_file)
    if os.path.exists(os.path.join(out, ".ninja_log")):
        subprocess.run([ninja, "-C", out, "-t", "restat", "build.ninja"], check=False, capture_output=True)


def _command() -> list[str]:
    """Return how interlock is started: this very installation, and nothing from the directory it runs in."""
    return [sys.executable, "-P", "-m", "interlock"]


def edge_command() -> list[str]:
    """Return how an edge is started: the same, but lean."""
    directory = os.path.dirname(os.path.abspath(interlock.__file__))
    # Where PYTHONPATH is how interlock is found, it is how its requirements are found, too.
    roots = [os.path.realpath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    isolated = "-P" if os.path.realpath(os.path.dirname(directory)) in roots else "-I"
    return [sys.executable, isolated, "-S", os.path.join(directory, "edge.py")]


def _again(root: str, out: str, *, strict: bool) -> list[str]:
    try:
        relative = os.path.relpath(root, out).replace(os.sep, "/")
    except ValueError:  # another drive, on Windows
        relative = root
    return ["--root", relative, *(["--strict"] if strict else [])]


def _side_files(workspace: Workspace, graphs: Iterable[EnvironmentGraph]) -> dict[str, str]:
    """Return the generated inputs of edges: third-party requirements, names that stay private."""
    files = {}
    for graph in graphs:
        files[third_party_file(graph.environment)] = "".join(f"{line}\n" for line in graph.third_party)
    files[PRIVATE_NAMES_FILE] = workspace_names_text(_directories(workspace))
    return files


def _directories(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield each project's name and its directory as it is seen from the file that says so."""
    root, out = workspace.configuration.root, workspace.configuration.out
    here = os.path.dirname(os.path.join(root, out, PRIVATE_NAMES_FILE))
    for project in workspace.projects:
        directory = os.path.normpath(os.path.join(root, project.directory))
        with contextlib.suppress(ValueError):  # another drive, on Windows
            directory = os.path.relpath(directory, here)
        yield project.normalized, directory.replace(os.sep, "/")


def _differs(path: str, content: bytes) -> bool:
    try:
        with open(path, "rb") as reader:
            return reader.read() != content
    except FileNotFoundError:
        return True


def _check_out(out: str, name: str) -> None:
    """Refuse to write over a build.ninja of another generator."""
    path = os.path.join(out, "build.ninja")
    try:
        with open(path, encoding="utf-8", errors="replace") as reader:
            first = reader.readline()
    except FileNotFoundError:
        return
    if "interlock" not in first:
        raise ConfigurationError(
            f"{path} was not written by interlock",
            advice=f"Set `out` (now {name!r}) to a directory that no other build system uses.",
        )


def _write(files: dict[str, bytes], inputs: list[str], out: str, started_ns: int, disk: Disk) -> None:
    """Write what has changed; build.ninja last, because what it names, and what it was made from, must be there first.

    Its time is the moment before its inputs were read: an input that was edited meanwhile is newer than that.
    """
    build_file = os.path.join(out, "build.ninja")
    for path, content in files.items():
        if path != "build.ninja":
            disk.publish_if_changed(os.path.join(out, path), content, mtime_ns=started_ns)
    known = {"out": os.path.realpath(out), "inputs": inputs}
    disk.publish_if_changed(os.path.join(out, INPUTS_FILE), json.dumps(known, indent=0).encode(), mtime_ns=started_ns)
    write_depfile(f"{build_file}.d", "build.ninja", inputs, disk=disk)
    if not disk.publish_if_changed(build_file, files["build.ninja"], mtime_ns=started_ns):
        disk.set_mtime(build_file, started_ns)


def _inputs(workspace: Workspace, graphs: Iterable[EnvironmentGraph], out: str) -> list[str]:
    """Return what generation read, as seen from the out directory: when any of it changes, it is done again."""
    root = workspace.configuration.root
    read = {os.path.join(root, path) for path in (*workspace.files_read, *workspace.directories)}
    read |= {os.path.realpath(graph.interpreter.executable) for graph in graphs}
    read.add(os.path.abspath(interlock.__file__))
    inputs = {os.path.realpath(os.path.join(out, INPUTS_FILE))}  # absolute: when the workspace was moved, it is missing
    for path in read:
        try:
            inputs.add(os.path.relpath(path, out).replace(os.sep, "/"))
        except ValueError:  # another drive, on Windows
            inputs.add(path.replace(os.sep, "/"))
    return sorted(inputs)
