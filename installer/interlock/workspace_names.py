"""The names of a workspace's projects: no index hears of one, and each is taken from its directory.

The file that says them has a line for each: a name, and after a tab the project's directory, absolute or relative to the
file's own ("/" between the parts). A name without one is merely private. `#` starts a comment in a line without a tab.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.engine import Engine
from interlock.errors import ConfigurationError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.durable import Disk

__all__ = ["directory_of", "read_workspace_names", "withhold", "workspace_names_text"]


def read_workspace_names(path: str) -> Mapping[str, str]:
    """Read a file of names; return each name's directory by its normalised name, "" where there is none.

    A name that two directories claim has none: which of them is meant, nobody knows.

    Raises:
        ConfigurationError: there is no such file, or it is no text.
    """
    try:
        with open(path, encoding="utf-8") as reader:
            text = reader.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"cannot read the names of the workspace's projects from {path}: {reason}",
            advice="`interlock gen` writes it as interlock/workspace-names.txt in the out directory.",
        ) from None
    return _parsed(text, os.path.dirname(os.path.abspath(path)))


@functools.lru_cache(maxsize=2)
def _parsed(text: str, base: str) -> Mapping[str, str]:
    """Return the directories; a worker reads the same thousand names for each edge."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, tab, directory = line.rstrip("\r").partition("\t")
        name = normalize((name if tab else name.partition("#")[0]).strip())
        if name:
            place = os.path.normpath(os.path.join(base, directory)) if directory else ""
            found[name] = place if found.get(name, place) == place else ""
    return found


def workspace_names_text(directories: Iterable[tuple[str, str]]) -> str:
    """Return the text of such a file for pairs of a normalised name and its directory."""
    return "".join(f"{name}\t{directory}\n" for name, directory in sorted(directories))


def withhold(
    engine: Engine, python: str, names: Iterable[str], directory: str, *, disk: Disk
) -> tuple[Engine, list[str]]:
    """Return an engine and arguments with which `install` neither resolves nor looks up some names, whoever requires them.

    What they read is written to `directory` and stays there: a command that a failure advises to repeat needs it. uv has
    overrides for this; pip, which has none, runs in the environment's own `python` by _pip_script.

    Raises:
        EngineUnavailable: pip does not run.
    """
    private = sorted(names)
    if not private:
        return engine, []
    if engine.name == "uv":
        never = "".join(f"{name} ; python_version < '0'\n" for name in private)
        return engine, ["--overrides", _write(directory, "overrides.txt", never, disk)]
    listed = _write(directory, "private.txt", "".join(f"{name}\n" for name in private), disk)
    return _private_pip(engine, python, listed), []


def directory_of(name: str, names: Mapping[str, str]) -> str:
    """Return the directory of a project that is about to be built.

    Raises:
        ConfigurationError: its name has none, or there is nothing.
    """
    directory = names[name]
    if not directory:
        raise ConfigurationError(
            f"{name}, which is needed for a build, is a name of the workspace without one directory to take it from",
            advice="Give its line in the file of the workspace's names a directory; two projects cannot share the name.",
        )
    if not os.path.isdir(directory):
        raise ConfigurationError(
            f"{directory}, named for builds, does not exist", advice="Correct its path, or run `interlock gen` again."
        )
    return directory


def _private_pip(engine: Engine, python: str, names: str) -> Engine:
    """Return a pip that leaves private names out of its resolution; it runs in the environment's own python."""
    import subprocess

    question = "import os, pip; print(os.path.dirname(os.path.dirname(os.path.abspath(pip.__file__))))"
    try:
        answer = subprocess.run(
            [engine.command[0], "-I", "-c", question],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=True,
            encoding="utf-8",
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EngineUnavailable(
            f"pip of {engine.command[0]} does not run: {error}", advice="Install uv with `pip install 'interlock[uv]'`."
        ) from error
    script = os.path.join(os.path.dirname(__file__), "_pip_script.py")
    return Engine("pip", (python, "-I", script, answer.strip(), names))


def _write(directory: str, name: str, text: str, disk: Disk) -> str:
    path = os.path.join(directory, name)
    disk.publish_if_changed(path, text.encode())
    return path
