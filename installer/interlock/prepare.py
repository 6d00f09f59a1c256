"""Prepare an editable install: everything of it that needs no lock on the environment.

Run the project's build backend, verify and unpack what it built, write what an installer adds, bring it to the disk and
put it in the place of what was prepared before. docs/explanation/prepare.md has the why.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from interlock.archive import ADVICE, LARGEST_TEXT, unpacked_limit
from interlock.build_environment import environment_inputs
from interlock.build_recipe import make_recipe
from interlock.build_requirements import source_tree
from interlock.errors import WheelError
from interlock.hooks import HookEnvironment, open_project
from interlock.inputs import project_inputs, unchanged_since
from interlock.kept import Kept
from interlock.link_plan import LinkPlan, plan_links
from interlock.local_wheels import surroundings
from interlock.pack import check_output, write_prepared
from interlock.python_support import check_static_python
from interlock.timings import span
from interlock.wheel import open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from interlock.build_environment import BuildEnvironment
    from interlock.build_recipe import Recipe
    from interlock.durable import Disk
    from interlock.environment import Environment
    from interlock.hooks import ConfigSettings, Project
    from interlock.interpreter import Interpreter
    from interlock.prepared import Prepared
    from interlock.static.wheel import StaticWheel
    from interlock.wheel import Wheel

__all__ = ["BuildOptions", "PrepareResult", "prepare", "project_metadata", "recipe_for"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a project is built.

    `constraints` are files for build requirements; `workspace` has the directory of each project of the workspace by its
    name (workspace_names), of which none is asked of an index, and `names_file` is where it was read; without `isolation`
    hooks run with the python of the environment that gets the project. `editable` "static" and "static-if-possible" answer in
    the place of the backend (docs/explanation/static.md), "proof" compares such an answer with the backend's.
    """

    config_settings: ConfigSettings = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    workspace: Mapping[str, str] = field(default_factory=dict)
    names_file: str = ""
    isolation: bool = True
    engine: str = "auto"
    editable: Literal["backend", "static", "static-if-possible", "proof"] = "backend"


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """What was prepared, the existing files that it depends on (absolute), and whether anything was written.

    `settled_ns` is a later moment than the start, by the disk's clock, up to which all of that was seen as it is now; 0 for
    none. `why_not` says why there are no links, where some were asked for, and `not_static` why the backend was.
    """

    prepared: Prepared
    inputs: tuple[str, ...]
    changed: bool
    settled_ns: int = 0
    why_not: str = ""
    not_static: str = ""


def prepare(
    source: str,
    output: str,
    environment: Environment,
    *,
    options: BuildOptions | None = None,
    extras: Iterable[str] = (),
    links: bool = False,
    disk: Disk,
    timeout: float | None = None,
) -> PrepareResult:
    """Prepare the editable install of a project for an environment, as the file `output`.

    Holds the build environment's lock (shared) and the source tree's, never the environment's. What is there is replaced, in
    one step, only if the new content differs. `extras` decide which requirements the commit will check. With `links`, symbolic
    links take the place of a .pth where they can (docs/explanation/links.md).

    Raises:
        BackendUnavailable, BackendError: no backend, or it failed.
        WheelError: what it built breaks the specification.
        EnvironmentMismatch: the project does not support the environment's Python.
        EngineError: build requirements could not be installed.
        ConfigurationError: no static answer, where one must be, or not what the backend says.
        UsageError: `output` is something that interlock did not put there; INTERLOCK_UNPACKED_LIMIT is no number.

    Specification: PEP 517, PEP 660; docs/explanation/prepare.md.
    """
    options = options or BuildOptions()
    source, output = os.path.abspath(source), os.path.abspath(output)
    check_output(output)
    limit = unpacked_limit()  # before the build: a variable that is wrong is said at once
    again = _command(source, output, environment, options, extras, links)
    work = os.path.join(os.path.dirname(output), f".{os.path.basename(output)}.tmp")
    begun_ns = disk.clock_ns(os.path.dirname(output)) if links else 0
    with (
        _built(source, work, environment, options, again, limit, disk, timeout) as (wheel, used, not_static),
        span("unpack", source),
    ):
        listed_ns = disk.clock_ns(os.path.dirname(output)) if links else 0
        plan = plan_links(wheel, environment.layout, source) if links else LinkPlan()
        prepared, changed = write_prepared(wheel, plan, output, source, environment, extras, disk)
    inputs = tuple(dict.fromkeys(map(os.path.abspath, [*used, *plan.inputs])))
    # Backends make files in the directories that are listed: as they were after the build, they were seen.
    settled_ns = listed_ns if links and unchanged_since(begun_ns, filter(os.path.isfile, inputs)) else 0
    return PrepareResult(prepared, inputs, changed, settled_ns, plan.why_not, not_static)


@contextlib.contextmanager
def _built(
    source: str,
    work: str,
    environment: Environment,
    options: BuildOptions,
    again: str,
    limit: int,
    disk: Disk,
    timeout: float | None,
) -> Iterator[tuple[Wheel | StaticWheel, list[str], str]]:
    """Give what the backend builds, or would have built, what that depends on, and why it was asked if it need not have been.

    Holds the source tree; the directory `work` may be made, and goes at the end.
    """
    static, reason = None, ""
    if options.editable != "backend":
        from interlock.static.wheel import check_equal, refuse, static_wheel

        with static_wheel(source, options, environment.interpreter, disk=disk, timeout=timeout) as (
            static,
            used,
            reason,
        ):
            if static is not None and options.editable != "proof":
                with _cleared(work, disk):
                    yield static, used, ""
                return
        if options.editable == "static":
            refuse(source, reason)
    project = open_project(source, reproduce=again)
    check_static_python(source, environment)
    with (
        _ready(project, options, environment.interpreter, environment, disk, timeout) as (hooks, used, build),
        _cleared(work, disk),
    ):
        with span("kept", source):
            kept = Kept(source, build if options.editable != "proof" else None, options.config_settings, disk)
            known = kept.wheel()
        if known is not None:
            name, content = known
            with open_wheel(name, content=content, largest=limit) as wheel:
                yield wheel, [*project_inputs(source), *used], reason
            return
        wheel_path = _build(project, hooks, options, work, disk)
        with open_wheel(wheel_path, largest=limit) as wheel:
            if static is not None:
                check_equal(static, wheel, environment.layout)
            yield wheel, [*project_inputs(source), *used], reason
        kept.keep(wheel_path)


def _build(project: Project, hooks: HookEnvironment, options: BuildOptions, work: str, disk: Disk) -> str:
    """Have the backend build the wheel, in a directory of its own, and return its path."""
    with span("build", project.directory):
        # One deeper: what a backend writes or deletes beside the directory that it was given is not what lies beside `output`.
        built = os.path.join(work, "wheel")
        disk.make_directory(built)
        return project.build_editable(hooks, options.config_settings, built)


@contextlib.contextmanager
def _cleared(work: str, disk: Disk) -> Iterator[None]:
    """Remove a directory before and after. The tree's lock is held: what lies here is what a killed process left."""
    if os.path.lexists(work):
        disk.remove_tree(work)
    try:
        yield
    finally:
        if os.path.lexists(work):
            disk.remove_tree(work)


def project_metadata(
    source: str,
    *,
    interpreter: Interpreter,
    config_settings: ConfigSettings | None = None,
    build_constraints: Iterable[str] = (),
    workspace: Mapping[str, str] | None = None,
    engine: str = "auto",
    disk: Disk,
    timeout: float | None = None,
) -> str:
    """Ask a project's backend for its METADATA, the one that an editable install would have.

    Raises:
        BackendUnavailable, BackendError, WheelError, EngineError: as `prepare`.
    """
    import hashlib
    import shlex

    from interlock.cache import cache_directory

    options = BuildOptions(config_settings or {}, tuple(build_constraints), workspace or {}, engine=engine)
    source = os.path.abspath(source)
    project = open_project(source, reproduce=shlex.join([sys.executable, "-m", "build", "--metadata", source]))
    # One hook at a time has the tree, so one directory for each tree is enough.
    name = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()
    work = os.path.join(cache_directory(), "metadata", name)
    with _ready(project, options, interpreter, None, disk, timeout) as (hooks, _, _):
        disk.remove_tree(work)
        try:
            disk.make_directory(work)
            directory = project.prepare_metadata(hooks, options.config_settings, work)
            if directory is not None:
                return _read_metadata(os.path.join(directory, "METADATA"), source)
            with open_wheel(project.build_editable(hooks, options.config_settings, work)) as wheel:
                return wheel.read(f"{wheel.dist_info}/METADATA").decode()
        finally:
            disk.remove_tree(work)


def _read_metadata(path: str, source: str) -> str:
    try:
        if os.path.getsize(path) > LARGEST_TEXT or not os.path.isfile(path):
            raise WheelError(f"{source}: its build backend wrote a METADATA that is none", advice=ADVICE)
        with open(path, encoding="utf-8") as reader:
            return reader.read()
    except (OSError, UnicodeDecodeError) as error:
        raise WheelError(
            f"{source}: its build backend wrote a METADATA that cannot be read: {error}", advice=ADVICE
        ) from error


@contextlib.contextmanager
def _ready(
    project: Project,
    options: BuildOptions,
    interpreter: Interpreter,
    environment: Environment | None,
    disk: Disk,
    timeout: float | None,
) -> Iterator[tuple[HookEnvironment, list[str], BuildEnvironment | None]]:
    """Give an environment that has all a project's hooks need, and hold it and the source tree; also its input files."""
    if not options.isolation and environment is not None:
        with source_tree(project.directory, disk=disk, timeout=timeout):
            yield HookEnvironment.without_isolation(environment), [], None
        return
    recipe = recipe_for(project, options, interpreter)
    settings = options.config_settings
    with surroundings(project, recipe, settings, "editable", disk=disk, timeout=timeout) as (build, used):
        yield HookEnvironment.of(build), environment_inputs(build, used), build


def recipe_for(project: Project, options: BuildOptions, interpreter: Interpreter) -> Recipe:
    """Return what the build environment of a project is made from."""
    return make_recipe(
        project.requires,
        interpreter=interpreter,
        constraints=options.constraints,
        local=options.workspace,
        engine=options.engine,
        wanted_by=project.directory,
    )


def _command(
    source: str, output: str, environment: Environment, options: BuildOptions, extras: Iterable[str], links: bool
) -> str:
    """Return the command line that prepares the same again, wherever somebody is: edges run in the out directory."""
    import shlex

    words = ["interlock", "prepare", source, "--venv", environment.path, "--output", output]
    for key, value in options.config_settings.items():
        values: Sequence[str] = [value] if isinstance(value, str) else value
        words += [word for one in values for word in ("-C", f"{key}={one}")]
    words += [word for extra in extras for word in ("--extra", extra)]
    words += [word for path in options.constraints for word in ("--build-constraint", os.path.abspath(path))]
    words += ["--workspace", os.path.abspath(options.names_file)] if options.names_file else []
    words += [] if options.isolation else ["--no-build-isolation"]
    words += ["--links"] if links else []
    words += [] if options.editable == "backend" else ["--editable", options.editable]
    words += [] if options.engine == "auto" else ["--engine", options.engine]
    return shlex.join(words)
