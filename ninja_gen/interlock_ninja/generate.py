"""From a workspace to its build.ninja: read, plan, write what has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import interlock
from interlock.errors import ConfigurationError
from interlock.stamp import write_depfile
from interlock_ninja.config import load_configuration
from interlock_ninja.graph import environment_graph
from interlock_ninja.ninja_file import ninja_text
from interlock_ninja.plan import PRIVATE_NAMES_FILE, make_plan, third_party_file
from interlock_ninja.workspace import read_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.durable import Disk
    from interlock_ninja.graph import EnvironmentGraph
    from interlock_ninja.plan import Plan
    from interlock_ninja.workspace import Workspace

__all__ = ["Generated", "current_out", "generate", "settle"]

# The same list as in build.ninja.d, for `interlock build`, which must not start Ninja to know that nothing changed.
INPUTS_FILE = "interlock/inputs.json"


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generation wrote, or would write: `changed` are paths relative to the root."""

    workspace: Workspace
    graphs: tuple[EnvironmentGraph, ...]
    plan: Plan
    build_file: str
    started_ns: int
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
    text = ninja_text(plan, command=_command(), regenerate=_again(configuration.root, out, strict=strict))
    # Requirements first: build.ninja must never name a file that is not there.
    files = {path: content.encode() for path, content in _side_files(workspace, graphs).items()}
    files["build.ninja"] = text.encode()
    changed = [path for path, content in files.items() if _differs(os.path.join(out, path), content)]
    if not check:
        for path, content in files.items():
            disk.publish_if_changed(os.path.join(out, path), content)
        _write_depfile(workspace, graphs, out, disk)
    warnings = (*workspace.warnings, *dict.fromkeys(line for graph in graphs for line in graph.warnings))
    names = tuple(f"{configuration.out}/{path}" for path in changed)
    return Generated(workspace, graphs, plan, os.path.join(out, "build.ninja"), started_ns, names, warnings)


def _start(root: str | None, disk: Disk) -> int:
    """Make the out directory, which changes the directory that it is in, and sample the clock before anything is read."""
    configuration = load_configuration(root, start=os.getcwd())
    out = os.path.join(configuration.root, configuration.out)
    _check_out(out, configuration.out)
    return disk.clock_ns(out)


def current_out(root: str | None) -> str | None:
    """Return the out directory if nothing that its build.ninja was made from has changed since, else None."""
    configuration = load_configuration(root, start=os.getcwd())
    out = os.path.join(configuration.root, configuration.out)
    try:
        written = os.stat(os.path.join(out, "build.ninja")).st_mtime_ns
        with open(os.path.join(out, INPUTS_FILE), "rb") as reader:
            inputs = json.loads(reader.read())
        current = all(os.stat(os.path.join(out, path)).st_mtime_ns <= written for path in inputs)
    except (OSError, ValueError):
        return None
    return out if current else None


def settle(generated: Generated, ninja: str, *, disk: Disk) -> None:
    """Tell Ninja that build.ninja is as new as the moment before its inputs were read.

    Otherwise a directory that changed without a change of meaning (the environment was created in it) would make Ninja
    generate once more. `ninja` is the program that will build; `-t restat` makes its log agree (Ninja manual).
    """
    disk.set_mtime(generated.build_file, generated.started_ns)
    out = os.path.dirname(generated.build_file)
    if os.path.exists(os.path.join(out, ".ninja_log")):
        subprocess.run([ninja, "-C", out, "-t", "restat", "build.ninja"], check=False, capture_output=True)


def _command() -> list[str]:
    """Return how an edge starts interlock: this very installation, and nothing from the directory it runs in."""
    return [sys.executable, "-P", "-m", "interlock"]


def _again(root: str, out: str, *, strict: bool) -> list[str]:
    try:
        relative = os.path.relpath(root, out).replace(os.sep, "/")
    except ValueError:  # another drive, on Windows
        relative = root
    return ["--root", relative, *(["--strict"] if strict else [])]


def _side_files(workspace: Workspace, graphs: Iterable[EnvironmentGraph]) -> dict[str, str]:
    """Return the generated inputs of the requirements edges: third-party requirements, names that stay private."""
    files = {}
    for graph in graphs:
        files[third_party_file(graph.environment)] = "".join(f"{line}\n" for line in graph.third_party)
    names = sorted({project.normalized for project in workspace.projects})
    files[PRIVATE_NAMES_FILE] = "".join(f"{name}\n" for name in names)
    return files


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


def _write_depfile(workspace: Workspace, graphs: Iterable[EnvironmentGraph], out: str, disk: Disk) -> None:
    """Say what generation read: when any of it changes, Ninja generates again."""
    root = workspace.configuration.root
    read = {os.path.join(root, path) for path in (*workspace.files_read, *workspace.directories)}
    read |= {os.path.realpath(graph.interpreter.executable) for graph in graphs}
    read.add(os.path.abspath(interlock.__file__))
    inputs = []
    for path in read:
        try:
            inputs.append(os.path.relpath(path, out).replace(os.sep, "/"))
        except ValueError:  # another drive, on Windows
            inputs.append(path.replace(os.sep, "/"))
    disk.publish_if_changed(os.path.join(out, INPUTS_FILE), json.dumps(sorted(inputs), indent=0).encode())
    write_depfile(os.path.join(out, "build.ninja.d"), "build.ninja", inputs, disk=disk)
