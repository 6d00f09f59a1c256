"""Build a wheel of a project to give away: not editable, by its own backend, in a cached build environment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from interlock.build_environment import environment_inputs
from interlock.build_requirements import source_tree, tree_name
from interlock.distribution import normalize
from interlock.errors import LockTimeout
from interlock.hooks import HookEnvironment, open_project
from interlock.inputs import project_inputs
from interlock.local_wheels import surroundings
from interlock.prepare import recipe_for
from interlock.sources import look, settle
from interlock.timings import span
from interlock.wheel import open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.durable import Disk
    from interlock.hooks import ConfigSettings, Project
    from interlock.interpreter import Interpreter
    from interlock.prepare import BuildOptions
    from interlock.sources import Entry

__all__ = ["BuiltWheel", "build_wheel"]

# The default of hatchling and flit: without a date of its own, a wheel has the same bytes whenever it is built.
EPOCH = "1580601600"
LARGEST = 1 << 40
"""The most bytes that a wheel may have, uncompressed: it is not unpacked here."""


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel: its path, its name and version, its SHA-256 (hex), and what it depends on (absolute paths that exist).

    `started_ns` is when the build that made it started, if an earlier one made sources that it needed; 0 otherwise.
    """

    path: str
    name: str
    version: str
    sha256: str
    inputs: tuple[str, ...]
    started_ns: int


def build_wheel(
    source: str,
    output: str,
    interpreter: Interpreter,
    *,
    options: BuildOptions,
    apart: Iterable[str] = (),
    disk: Disk,
    timeout: float | None = None,
) -> BuiltWheel:
    """Build a wheel of the project in `source` and put it into the directory `output`, in the place of older ones of it.

    Holds the build environment's lock (shared) and the source tree's. setuptools writes nothing into the source tree: its
    `build` directory keeps modules that are gone. A wheel that is there with the same bytes stays. `apart` are
    outputs of builds and directories with such, none of them source.

    Raises:
        BackendUnavailable, BackendError: no backend, or it failed.
        WheelError: what it built breaks the specification.
        EngineError: build requirements could not be installed.

    Specification: PEP 517; https://reproducible-builds.org/docs/source-date-epoch/.
    """
    source, output = os.path.abspath(source), os.path.abspath(output)
    work, settings = os.path.join(output, f".{tree_name(source)}.tmp"), options.config_settings
    not_source = frozenset(map(os.path.realpath, (output, *apart)))
    before: dict[str, Entry] = {}

    def first() -> dict[str, str]:
        before.update({} if before else look(source, not_source))
        return _surroundings(source, work, disk)

    project = open_project(source, reproduce=shlex.join([sys.executable, "-m", "build", "--wheel", source]))
    project = replace(project, variables=first)
    recipe = recipe_for(project, options, interpreter)
    disk.make_directory(output)
    with (
        _cleared(work, source, disk),
        surroundings(project, recipe, settings, "wheel", disk=disk, timeout=timeout) as (environment, used),
    ):
        build = partial(_build, project, HookEnvironment.of(environment), settings, work, disk)
        path, settled = settle(build, before, source, not_source, disk, output)
        name, version = _identity(path)
        final, sha256 = _publish(path, output, name, disk)
        disk.remove_tree(work)
        found = {*environment_inputs(environment, used), *settled.inputs, *project_inputs(source)} - settled.made
    # It is an input too, for a build that has to notice that it is gone: so it cannot be newer than these.
    disk.set_mtime(final, max(os.stat(path).st_mtime_ns for path in found))
    return BuiltWheel(final, name, version, sha256, (*sorted(found), final), settled.started_ns)


def _build(project: Project, environment: HookEnvironment, settings: ConfigSettings, work: str, disk: Disk) -> str:
    # setuptools would take what an earlier build has left for modules of the project.
    disk.remove_tree(work)
    output = os.path.join(work, "wheel")
    disk.make_directory(output)
    with span("build", project.directory):
        return project.build_wheel(environment, settings, output)


def _surroundings(source: str, work: str, disk: Disk) -> dict[str, str]:
    """Return what the hooks of this project find: setuptools writes below `work`, and every backend knows the date.

    One hook at a time has the tree, so one such directory for each tree is enough.

    Not what else a build starts: build requirements may be built by setuptools too, and their modules have no place here.
    Variables that are set already stay. DIST_EXTRA_CONFIG: setuptools' "Build System Support".
    """
    wanted = {"SOURCE_DATE_EPOCH": EPOCH, "DIST_EXTRA_CONFIG": os.path.join(work, "setup.cfg")}
    base, info = os.path.join(work, "build"), os.path.join(work, "info")
    text = f"[build]\nbuild_base = {base}\n"
    # The list of files in an unpacked sdist says which data its packages have.
    if not os.path.exists(os.path.join(source, "PKG-INFO")):
        text += f"[egg_info]\negg_base = {info}\n"
    disk.make_directory(info)
    disk.write(wanted["DIST_EXTRA_CONFIG"], text.replace("%", "%%").encode("utf-8", "surrogateescape"))
    return {name: value for name, value in wanted.items() if name not in os.environ}


@contextlib.contextmanager
def _cleared(work: str, source: str, disk: Disk) -> Iterator[None]:
    """Remove what a failure has left, unless another process has the tree now and works there."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(LockTimeout), source_tree(source, disk=disk, timeout=0):
            disk.remove_tree(work)
        raise


def _identity(path: str) -> tuple[str, str]:
    with open_wheel(path, largest=LARGEST) as wheel:
        wheel.verify()
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
