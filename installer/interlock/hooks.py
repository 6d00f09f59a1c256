"""The hooks of a project's build backend (PEP 517, PEP 660), called through `build`, in an environment of ours.

A hook is one process in the project's directory. What it prints is kept and shown only when it fails.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

from interlock.engine import scrubbed_environment
from interlock.errors import BackendError, BackendUnavailable, MetadataError
from interlock.programs import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import build

    from interlock.build_environment import BuildEnvironment
    from interlock.environment import Environment

__all__ = ["ConfigSettings", "HookEnvironment", "Kind", "Project", "open_project"]

ConfigSettings = dict[str, str | list[str]]
Kind = Literal["editable", "wheel"]

# What would change which Python packages a hook finds. The rest of the shell is the backend's to read (CC, CONDA_PREFIX).
SCRUBBED = frozenset(
    {"PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
)

OLD_SETUPTOOLS = (
    "setuptools can make editable installs since version 64: let [build-system] requires ask for setuptools>=64"
)


@dataclass(frozen=True, slots=True)
class HookEnvironment:
    """Where hooks run: a python and the directory of its scripts; an `IsolatedEnv` in the terms of `build`."""

    python_executable: str
    scripts: str
    receipt: str = ""
    """The file that goes away with a build environment, which never changes; "" for any other environment."""

    @classmethod
    def of(cls, environment: BuildEnvironment) -> HookEnvironment:
        """Return a build environment's."""
        return cls(environment.python, environment.scripts, environment.receipt)

    @classmethod
    def without_isolation(cls, environment: Environment) -> HookEnvironment:
        """Return that of the environment which is to receive the project."""
        return cls(environment.python, environment.absolute(environment.layout.scripts))

    def make_extra_environ(self) -> Mapping[str, str]:
        """Return what hooks find in their surroundings: programs that backends bring along are on PATH (uv_build)."""
        return {"PATH": os.pathsep.join([self.scripts, os.environ.get("PATH", os.defpath)])}


@dataclass(frozen=True, slots=True)
class Project:
    """A source tree with a build backend; `reproduce` is the command that shows a failure again.

    `variables` is asked before each hook, when the tree's lock is held, for what the hook is to find in its environment.
    """

    directory: str
    requires: tuple[str, ...]
    reproduce: str
    variables: Callable[[], Mapping[str, str]] = field(default=dict, compare=False)

    def get_requires(
        self, environment: HookEnvironment, settings: ConfigSettings, kind: Kind = "editable"
    ) -> list[str]:
        """Return what the backend needs besides `requires` for a wheel of that kind.

        Raises:
            BackendError: what it returned is no list of requirements (PEP 508).
        """
        hook = f"get_requires_for_build_{kind}"
        with self._called(environment, hook) as builder:
            found = builder.get_requires_for_build(kind, settings)
        for requirement in found:
            self._check_requirement(requirement, hook)
        return sorted(found)

    def build_editable(self, environment: HookEnvironment, settings: ConfigSettings, output: str) -> str:
        """Build an editable wheel in the directory `output` and return its path."""
        return self._build("editable", environment, settings, output)

    def build_wheel(self, environment: HookEnvironment, settings: ConfigSettings, output: str) -> str:
        """Build a wheel in the directory `output` and return its path."""
        return self._build("wheel", environment, settings, output)

    def prepare_metadata(self, environment: HookEnvironment, settings: ConfigSettings, output: str) -> str | None:
        """Write a .dist-info directory in `output` and return its path; None where the backend cannot do only that."""
        hook = "prepare_metadata_for_build_editable"
        with self._called(environment, hook) as builder:
            path = builder.prepare("editable", output, settings)
        return None if path is None else self._made(path, output, ".dist-info", stat.S_ISDIR, hook)

    def _build(self, kind: Kind, environment: HookEnvironment, settings: ConfigSettings, output: str) -> str:
        hook = f"build_{kind}"
        with self._called(environment, hook) as builder:
            path = builder.build(kind, output, settings)
        return self._made(path, output, ".whl", stat.S_ISREG, hook)

    def _made(self, path: str, output: str, ending: str, is_one: Callable[[int], bool], hook: str) -> str:
        """Return a path that a backend has returned, if what it says to have made is there: no link, and no pipe to wait for.

        Raises:
            BackendError: it is not, or is elsewhere.
        """
        mode = 0
        with contextlib.suppress(OSError, ValueError):
            mode = os.lstat(path).st_mode
        if os.path.dirname(path) != os.path.abspath(output) or not path.endswith(ending) or not is_one(mode):
            returned = path.removeprefix(os.path.join(os.path.abspath(output), ""))
            raise BackendError(
                f"the build backend of {self.directory} returned {returned!r} from {hook}, and made no {ending} of that name",
                advice=f"A hook returns the name of what it made in the directory that it was given. To see it again: "
                f"{self.reproduce}",
            )
        return path

    @contextlib.contextmanager
    def _called(self, environment: HookEnvironment, hook: str) -> Iterator[build.ProjectBuilder]:
        """Give a builder to call one hook with, and turn what goes wrong into our errors.

        Raises:
            BackendUnavailable: the backend cannot be imported or has no such hook.
            BackendError: the hook failed.
        """
        import build

        _silence_warnings()
        with Output() as output:
            builder = build.ProjectBuilder.from_isolated_env(
                environment, self.directory, runner=_Runner(output, self.variables(), environment.receipt)
            )
            try:
                yield builder
            except build.BuildBackendException as error:
                self._fail(hook, error, output.last_lines())
            except (build.BuildException, TypeError) as error:
                # The directory for the result is gone, or the result is no text that could be joined to it.
                raise BackendError(
                    f"the build backend of {self.directory} returned nothing of use from {hook}: {error}",
                    advice=f"To see it again: {self.reproduce}",
                ) from error

    def _check_requirement(self, requirement: object, hook: str) -> None:
        from packaging.requirements import Requirement

        try:
            Requirement(requirement if isinstance(requirement, str) else "")
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise BackendError(
                f"the build backend of {self.directory} returned {requirement!r} from {hook}, which is no requirement: "
                f"{reason}",
                advice=f"Requirements are written as in PEP 508; correct the backend. To see it again: {self.reproduce}",
            ) from error

    def _fail(self, hook: str, error: build.BuildBackendException, output: str) -> NoReturn:
        import subprocess

        import pyproject_hooks

        cause = error.exception
        again = f"To see it again: {self.reproduce}"
        if isinstance(cause, pyproject_hooks.BackendUnavailable):
            raise BackendUnavailable(
                f"the build backend {cause.backend_name} of {self.directory} cannot be imported: "
                f"{(cause.traceback or str(cause)).strip().splitlines()[-1]}",
                advice="[build-system] requires must name the distribution that has the backend (with --no-build-isolation: "
                f"the environment's requirements). {again}",
            ) from error
        if isinstance(cause, pyproject_hooks.HookMissing):
            what, which = ("editable installs", "PEP 660") if hook.endswith("editable") else ("wheels", "PEP 517")
            newer = f"Ask for a newer version of the backend{f'; {OLD_SETUPTOOLS}' * hook.endswith('editable')}."
            raise BackendUnavailable(
                f"the build backend of {self.directory} cannot make {what}: it has no {hook} ({which})",
                advice=f"{newer} {again}",
            ) from error
        reason = f": {cause}"
        if isinstance(cause, subprocess.CalledProcessError):
            reason = f" (its exit code: {cause.returncode})"
            if cause.returncode < 0:
                reason = f" (killed by {_signal(-cause.returncode)})"
        raise BackendError(
            f"the build backend of {self.directory} failed in {hook}{reason}{output}", advice=again
        ) from error


class _Runner:
    """Run a hook's process; the interface is that of pyproject_hooks."""

    def __init__(self, output: Output, variables: Mapping[str, str], receipt: str) -> None:
        self._output = output
        self._variables = variables
        # A worker has the variables of many projects; one that has some for itself gets a process for itself.
        self._receipt = "" if variables else receipt

    def __call__(
        self, cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        import subprocess

        surroundings = {**scrubbed_environment(names=SCRUBBED), **self._variables, **(extra_environ or {})}
        if code := self._output.run_hook(cmd, self._receipt, cwd=cwd or os.getcwd(), env=surroundings):
            raise subprocess.CalledProcessError(code, list(cmd))


def open_project(directory: str, *, reproduce: str) -> Project:
    """Read which build backend a source tree has; setuptools where it does not say (PEP 517, PEP 518).

    Raises:
        BackendUnavailable: there is neither a pyproject.toml nor a setup.py.
        MetadataError: pyproject.toml cannot be read, or its [build-system] makes no sense.
    """
    import build

    if not any(os.path.isfile(os.path.join(directory, name)) for name in ("pyproject.toml", "setup.py")):
        raise BackendUnavailable(
            f"{directory} has no build backend: there is neither a pyproject.toml nor a setup.py",
            advice='Add a pyproject.toml with [build-system] requires = ["setuptools>=64"], '
            'build-backend = "setuptools.build_meta"; a setup.cfg alone is not enough for any installer.'
            if os.path.isfile(os.path.join(directory, "setup.cfg"))
            else "Name the directory of a project, or exclude it from the workspace.",
        )
    _silence_warnings()
    try:
        builder = build.ProjectBuilder(directory)
    except (build.BuildException, ValueError, RecursionError) as error:
        raise MetadataError(
            f"{os.path.join(directory, 'pyproject.toml')}: {error}",
            advice="Correct its [build-system] table (packaging.python.org, pyproject.toml specification).",
        ) from error
    return Project(directory, tuple(sorted(builder.build_system_requires)), reproduce)


def _silence_warnings() -> None:
    """Ignore what backends and `build` warn of: that is for who maintains the project, not for each build of it.

    Not with `catch_warnings`, which threads cannot use at the same time (the generator asks many backends at once).
    """
    import build
    import pyproject_hooks

    for category in (build.TypoWarning, getattr(pyproject_hooks, "BuildBackendWarning", None)):
        if category is not None:
            warnings.simplefilter("ignore", category)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
