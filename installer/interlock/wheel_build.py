"""Build a wheel of a project to give away: not editable, by its own backend, in a cached build environment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.build_environment import environment_inputs
from interlock.build_requirements import tree_files, tree_name
from interlock.distribution import normalize
from interlock.hooks import HookEnvironment, open_project
from interlock.inputs import project_inputs
from interlock.local_wheels import surroundings
from interlock.prepare import recipe_for
from interlock.timings import span
from interlock.wheel import open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk
    from interlock.interpreter import Interpreter
    from interlock.prepare import BuildOptions

__all__ = ["BuiltWheel", "build_wheel"]

# The default of hatchling and flit: without a date of its own, a wheel has the same bytes whenever it is built.
EPOCH = "1580601600"


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel: its path, its name and version, its SHA-256 (hex), and what it depends on (absolute paths that exist)."""

    path: str
    name: str
    version: str
    sha256: str
    inputs: tuple[str, ...]


def build_wheel(
    source: str,
    output: str,
    interpreter: Interpreter,
    *,
    options: BuildOptions,
    disk: Disk,
    timeout: float | None = None,
) -> BuiltWheel:
    """Build a wheel of the project in `source` and put it into the directory `output`, in the place of older ones of it.

    Holds the build environment's lock (shared) and the source tree's. setuptools writes nothing into the source tree: its
    `build` directory keeps modules that are gone. A wheel that is there with the same bytes stays.

    Raises:
        BackendUnavailable, BackendError: no backend, or it failed.
        WheelError: what it built breaks the specification.
        EngineError: build requirements could not be installed.

    Specification: PEP 517; https://reproducible-builds.org/docs/source-date-epoch/.
    """
    source, output = os.path.abspath(source), os.path.abspath(output)
    project = open_project(source, reproduce=shlex.join([sys.executable, "-m", "build", "--wheel", source]))
    recipe = recipe_for(project, options, interpreter)
    disk.make_directory(output)
    # One hook at a time has the tree, so one directory for each tree is enough.
    work = os.path.join(output, f".{tree_name(source)}.tmp")
    with (
        _apart(work, disk),
        surroundings(project, recipe, options.config_settings, "wheel", disk=disk, timeout=timeout) as (
            environment,
            used,
        ),
    ):
        built = os.path.join(work, "wheel")
        disk.make_directory(built)
        with span("build", source):
            path = project.build_wheel(HookEnvironment.of(environment), options.config_settings, built)
        name, version = _identity(path)
        final, sha256 = _publish(path, output, name, disk)
        found = {*environment_inputs(environment, used), *project_inputs(source), *_sources(source, output)}
    inputs = tuple(sorted(map(os.path.abspath, found)))
    # An input too, for a build that has to notice that it is gone: so it cannot be newer than what it was made of.
    disk.set_mtime(final, max(os.stat(path).st_mtime_ns for path in inputs))
    return BuiltWheel(final, name, version, sha256, (*inputs, final))


@contextlib.contextmanager
def _apart(work: str, disk: Disk) -> Iterator[None]:
    """Have setuptools write below `work`, and let every backend know the date; variables that are set already stay.

    DIST_EXTRA_CONFIG: setuptools' "Build System Support".
    """
    disk.make_directory(work)
    config = os.path.join(work, "setup.cfg")
    directories = {name: os.path.join(work, name) for name in ("build", "info")}
    for directory in directories.values():
        disk.make_directory(directory)
    text = "[build]\nbuild_base = {build}\n[egg_info]\negg_base = {info}\n".format_map(directories)
    disk.write(config, text.replace("%", "%%").encode("utf-8", "surrogateescape"))
    wanted = {"DIST_EXTRA_CONFIG": config, "SOURCE_DATE_EPOCH": EPOCH}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
        disk.remove_tree(work)


def _identity(path: str) -> tuple[str, str]:
    with open_wheel(path) as wheel:
        for name in wheel.record:
            if not name.endswith(("/RECORD", "/RECORD.jws", "/RECORD.p7s")):
                wheel.read(name)
        return wheel.name, wheel.version


def _publish(path: str, output: str, name: str, disk: Disk) -> tuple[str, str]:
    """Move a wheel to its place, and remove those of other versions of the same project."""
    final = os.path.join(output, os.path.basename(path))
    sha256 = _digest(path)
    try:
        there = _digest(final)
    except FileNotFoundError:
        there = ""
    if there != sha256:
        disk.sync_tree(os.path.dirname(path))
        disk.replace(path, final)
    for other in os.listdir(output):
        stem, _, rest = other.partition("-")
        if other.endswith(".whl") and rest and normalize(stem) == normalize(name) and other != os.path.basename(final):
            disk.remove(os.path.join(output, other))
    disk.sync_directory(output)
    return final, sha256


def _digest(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _sources(source: str, output: str) -> Iterator[str]:
    """Yield the files that can be in a wheel, and their directories: a new file is one too."""
    for path in tree_files(source):
        if not path.startswith(os.path.join(output, "")):
            yield path
            yield os.path.dirname(path)
