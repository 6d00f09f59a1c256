"""uv or pip: the program that resolves, downloads and installs distributions that are not of the workspace.

Its output is shown only when it fails. What it installs is a function of what its caller names: settings of the user's
shell that point at another target or add requirements are taken out of its surroundings, settings that say where
distributions come from (indexes, proxies, certificates, credentials, caches) stay.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interlock.errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.interpreter import Interpreter

__all__ = ["Engine", "EngineChoice", "find_engine", "go_offline", "scrubbed_environment"]

EngineChoice = Literal["auto", "uv", "pip"]

OLDEST_PIP = (22, 3)  # the first with `pip --python`

# Each points a Python, pip or uv at another target than the one on the command line, or changes what is asked for.
SCRUBBED = frozenset(
    {
        "CONDA_PREFIX",
        "PIP_CONSTRAINT",
        "PIP_DRY_RUN",
        "PIP_EDITABLE",
        "PIP_IGNORE_INSTALLED",
        "PIP_NO_DEPS",
        "PIP_PREFIX",
        "PIP_PYTHON",
        "PIP_REPORT",
        "PIP_REQUIREMENT",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_ROOT",
        "PIP_TARGET",
        "PIP_USER",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_PREFIX",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_TARGET",
        "UV_WORKING_DIR",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
    }
)


# Directories that hold wheels (PIP_FIND_LINKS, UV_FIND_LINKS) and caches are still looked at. pip has no setting that keeps it
# from the URLs of requirements and of --find-links: it gets a proxy that is not there. git clones for both.
OFFLINE = {
    "UV_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "PIP_PROXY": "http://127.0.0.1:9",
    "PIP_RETRIES": "0",
    "GIT_ALLOW_PROTOCOL": "file",
}


def go_offline() -> None:
    """Let this process and its children fetch nothing: what an engine needs must be installed, or in its cache.

    By variables, which reach the engines that a build backend starts too.
    """
    os.environ.update(OFFLINE)


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that installs distributions; `command` is how it is started, without a sub-command."""

    name: Literal["uv", "pip"]
    command: tuple[str, ...]

    def version(self) -> str:
        """Return the engine's version: one short process.

        Raises:
            EngineUnavailable: it does not run.
        """
        words = _output([*self.command, "--version"]).split()
        return words[1] if len(words) > 1 else ""

    def install(
        self,
        python: str,
        arguments: Iterable[str],
        *,
        what: str,
        environ: Mapping[str, str] = os.environ,
        compile_bytecode: bool = False,
        directory: str | None = None,
    ) -> str:
        """Run `install` for the environment of a python, with arguments that uv and pip share; return the output.

        `what` says for people what is installed. `directory` is where relative paths in the arguments start. The engine
        inherits the locks that this thread holds, which so outlive a caller that is killed.

        Raises:
            EngineError: it failed; the message has its exit code, its last lines and the command.
            EngineUnavailable: it does not run.
        """
        command = [*self._install_command(python, compile_bytecode), *arguments]
        from interlock.programs import Output

        with Output() as output:
            try:
                code = output.run(command, cwd=directory, env=scrubbed_environment(environ))
            except OSError as error:
                raise _unavailable(f"{self.name} does not run: {command[0]}: {error.strerror}") from error
            if code:
                raise _failed(self.name, what, code, output.last_lines(), command)
            return output.text()

    def _install_command(self, python: str, compile_bytecode: bool) -> list[str]:
        if self.name == "uv":
            words = ["pip", "install", "--no-progress", "--color", "never", "--python", python]
            return [*self.command, *words, *(["--compile-bytecode"] if compile_bytecode else [])]
        # --python belongs to pip itself, in front of its sub-command; bytecode is what pip does by default.
        words = ["--python", python, "--disable-pip-version-check", "--no-input", "--no-color", "install"]
        return [*self.command, *words, "--progress-bar", "off", "--no-warn-script-location"]


def find_engine(name: str = "auto", *, interpreter: Interpreter | None = None) -> Engine:
    """Find uv, or pip: with "auto", pip only where there is no uv.

    uv is the one installed with interlock (`interlock[uv]`), else the one on PATH. pip is the one beside interlock, else
    that of `interpreter`, the base interpreter of the environment in question.

    Raises:
        EngineUnavailable: there is none, or a pip that is older than 22.3.
    """
    if name in {"auto", "uv"} and (uv := _find_uv()):
        return Engine("uv", (uv,))
    if name == "uv":
        raise _unavailable("uv is not installed, neither beside interlock nor on PATH")
    python, version = _find_pip(interpreter)
    if not python:
        missing = "neither uv nor pip is" if name == "auto" else "pip is not"
        raise _unavailable(f"{missing} installed with interlock, nor with the environment's interpreter")
    if _numbers(version) < OLDEST_PIP:
        raise _unavailable(
            f"pip {version} of {python} cannot install into another environment (22.3 is the first that can)"
        )
    return Engine("pip", (python, "-I", "-m", "pip"))


def scrubbed_environment(
    environ: Mapping[str, str] = os.environ, *, names: frozenset[str] = SCRUBBED
) -> dict[str, str]:
    """Return the surroundings for a child process, without what would point it at another Python environment."""
    kept = {name: value for name, value in environ.items() if name.upper() not in names}
    # Children whose output we read must agree with us on its encoding.
    return {**kept, "PYTHONIOENCODING": "utf-8"}


# uv asks sysconfig, whose first call in a process gives half an answer to other threads.
_FINDING = threading.Lock()


def _find_uv() -> str:
    try:
        with _FINDING:
            if not os.path.isfile(_installed_uv()):
                _installed_uv.cache_clear()
            return _installed_uv()
    except (ImportError, FileNotFoundError):
        import shutil

        return shutil.which("uv") or ""


@functools.lru_cache(maxsize=1)
def _installed_uv() -> str:
    """Return the path of the uv that is installed with interlock; a worker looks for it once, while it is there."""
    import uv

    return os.fspath(uv.find_uv_bin())


def _find_pip(interpreter: Interpreter | None) -> tuple[str, str]:
    """Return the python that has pip, and pip's version; two empty strings where none has."""
    from importlib import metadata

    try:
        return sys.executable, metadata.version("pip")
    except metadata.PackageNotFoundError:
        pass
    if interpreter is not None:
        try:
            words = _output([interpreter.executable, "-I", "-m", "pip", "--version"]).split()
        except EngineUnavailable:
            return "", ""
        return interpreter.executable, words[1] if len(words) > 1 else "0"
    return "", ""


def _output(command: list[str]) -> str:
    import subprocess

    try:
        return subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=scrubbed_environment(),
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise _unavailable(f"{' '.join(command)} failed: {error}") from error


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else OLDEST_PIP


def _unavailable(message: str) -> EngineUnavailable:
    return EngineUnavailable(
        message,
        advice="Install uv with `pip install 'interlock[uv]'`, or pip (22.3 or later) with `python -m ensurepip --upgrade`.",
    )


def _failed(name: str, what: str, code: int, output: str, command: list[str]) -> EngineError:
    import shlex

    offline = all(os.environ.get(variable) == value for variable, value in OFFLINE.items())
    again = [f"{variable}={value}" for variable, value in OFFLINE.items()] if offline else []
    return EngineError(
        f"{name} could not install {what}{' offline' if offline else ''} (its exit code: {code}); its last lines:{output}",
        advice=f"To see it again: {' '.join([*again, shlex.join(command)])}",
    )
