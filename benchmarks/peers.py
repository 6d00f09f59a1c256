"""The other ways to the same environment: uv and pip, an edge each under Ninja or one process for all.

What is generous to a peer is on purpose: tuned forms and pip find an environment that has been made, with all they need in it
and its bytecode compiled, before the clock starts. The default forms of uv make theirs, which takes it 20 ms.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from measuring import Failed, progress, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolbox import Toolbox
    from workspaces import Workspace

TUNED = ["--no-deps", "--offline", "--no-build-isolation"]
ATTEMPTS = 20


@dataclass(frozen=True)
class Peer:
    """A way to build a workspace cold; `cold` makes all ready, and returns the seconds of the rest."""

    label: str
    cold: Callable[[Workspace], float]


def uv_edges(tools: Toolbox, jobs: int, *, tuned: bool = False) -> Peer:
    """Return `uv pip install -e`, an edge a project under Ninja, as in uv #15335."""

    def cold(workspace: Workspace) -> float:
        workspace.clear()
        environment = workspace.root / "env-uv"
        create = f"{tools.uv} venv -q {environment}"
        if tuned:
            make_environment(tools, environment, workspace.requires)
            create = "true"
        flags = [*_settings(workspace), *(TUNED if tuned else [])]
        install = f"{tools.uv} pip install -q -p {environment} -e {workspace.root}/$project {' '.join(flags)}"
        out = write_ninja(workspace, create, install)
        return run([tools.ninja, "-C", out, f"-j{jobs}"], tools.environ).seconds

    return Peer(f"uv pip install -e, an edge each, {'tuned' if tuned else 'defaults'}", cold)


def uv_once(tools: Toolbox, *, tuned: bool = False) -> Peer:
    """Return one `uv pip install` with `-e` for each project."""

    def cold(workspace: Workspace) -> float:
        workspace.clear()
        environment = workspace.root / "env-uv"
        install = [str(tools.uv), "pip", "install", "-q", "-p", str(environment), *_settings(workspace)]
        install += [word for name in workspace.graph for word in ("-e", str(workspace.root / name))]
        if tuned:
            make_environment(tools, environment, workspace.requires)
            return run([*install, *TUNED], tools.environ).seconds
        create = run([tools.uv, "venv", "-q", environment], tools.environ).seconds
        return create + run(install, tools.environ).seconds

    return Peer(f"one uv pip install, {'tuned' if tuned else 'defaults'}", cold)


def uv_reused(tools: Toolbox) -> Peer:
    """Return one `uv pip install -r` of a file with a `-e` line for each project, after uv has built them once.

    From a file uv takes the editable wheels of its cache, where no pyproject.toml has changed; named on the command line, each
    is built again. So nothing is built here: it is what uv's cache is worth.
    """

    def cold(workspace: Workspace) -> float:
        workspace.clear()
        environment, file = workspace.root / "env-uv", workspace.root / "env-projects.txt"
        file.write_text("".join(f"-e {workspace.root / name}\n" for name in workspace.graph), encoding="utf-8")
        install = [tools.uv, "pip", "install", "-q", "-p", environment, *_settings(workspace), "-r", file]
        for _ in range(2):
            seconds = run([tools.uv, "venv", "-q", "--clear", environment], tools.environ).seconds
            seconds += run(install, tools.environ).seconds
            if workspace.root in built:
                break
            built.add(workspace.root)
        return seconds

    built: set[Path] = set()
    return Peer("one uv pip install -r, wheels of its cache", cold)


def pip_edges(tools: Toolbox, jobs: int) -> Peer:
    """Return `pip install -e`, an edge a project under Ninja.

    pip takes no lock: an edge that meets half of what another writes fails, and is run again, on the clock.
    """

    def cold(workspace: Workspace) -> float:
        workspace.clear()
        environment = workspace.root / "env-pip"
        make_environment(tools, environment, [tools.pip])
        words = [f"{environment}/bin/python", "-m", "pip", "install", "-q", *_settings(workspace)]
        out = write_ninja(workspace, "true", f"{' '.join(words)} -e {workspace.root}/$project")
        seconds = 0.0
        for attempt in range(ATTEMPTS):
            command = [tools.ninja, "-C", out, f"-j{jobs}", "-k0"]
            try:
                return seconds + run(command, tools.environ).seconds
            except Failed as error:
                if attempt == ATTEMPTS - 1:
                    raise
                progress(f"pip: some edges failed, attempt {attempt + 2} follows:{str(error)[-300:]}")
        return seconds

    return Peer("pip install -e, an edge each", cold)


def make_environment(tools: Toolbox, environment: Path, requires: list[str]) -> None:
    """Make an environment with some distributions in it, their bytecode compiled; nobody measures that."""
    quiet = partial(subprocess.run, env=tools.environ, check=True)
    quiet([tools.uv, "venv", "-q", "-p", sys.executable, environment])
    quiet([tools.uv, "pip", "install", "-q", "--compile-bytecode", "-p", environment, *requires])


def write_ninja(workspace: Workspace, create: str, install: str) -> Path:
    """Write a build.ninja with an edge for the environment and one for each project, after those of its dependencies."""
    out = workspace.root / "out-peer"
    out.mkdir(exist_ok=True)
    lines = [
        "rule venv",
        f"  command = {create} && touch $out",
        "rule editable",
        f"  command = {install} && touch $out",
    ]
    lines.append("build venv.stamp: venv")
    for name, dependencies in workspace.graph.items():
        before = " ".join(["venv.stamp", *(f"{one}.stamp" for one in dependencies)])
        lines += [f"build {name}.stamp: editable | {before}", f"  project = {name}"]
    (out / "build.ninja").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def _settings(workspace: Workspace) -> list[str]:
    return [word for setting in workspace.settings for word in ("--config-settings", setting)]
