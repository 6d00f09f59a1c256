"""The interlock that is measured: by default the one of the Python that runs the benchmark."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Failed, Ran, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workspaces import Workspace

JOBS = 128


@dataclass
class Product:
    """An installed interlock; `environ` is what it runs with, `jobs` its -j."""

    environ: Mapping[str, str]
    python: str = sys.executable
    jobs: int = JOBS
    more: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        return [self.python, "-P", "-m", "interlock"]

    def run(self, *words: str | Path, cwd: Path | None = None) -> Ran:
        """Run a sub-command."""
        return run([*self.command, *words], {**self.environ, **self.more}, cwd=cwd)

    def build(self, workspace: Workspace, *words: str | Path) -> float:
        """Build a workspace with Ninja and return the seconds."""
        return self.run("build", "--root", workspace.root, f"-j{self.jobs}", *words).seconds

    def build_cold(self, workspace: Workspace, *words: str | Path) -> float:
        """Build a workspace from nothing, with no worker running."""
        workspace.clear()
        self.stop_workers()
        return self.build(workspace, *words)

    def forget(self, workspace: Workspace) -> None:
        """Take away what interlock keeps of projects: wheels and answers of their backends, as before the first build."""
        kept = [Path(self.environ["INTERLOCK_CACHE_DIR"], name) for name in ("build-requires", "editable-wheels")]
        workspace.set_aside(path for path in kept if path.exists())

    def sync_cold(self, workspace: Workspace) -> float:
        """Build a workspace from nothing without Ninja."""
        workspace.clear()
        self.stop_workers()
        return self.run("sync", "--root", workspace.root).seconds

    def stop_workers(self) -> None:
        """Let no worker be there: starting one belongs to what a cold build costs."""
        if self.has("worker stop"):
            self.run("worker", "stop")

    def has(self, command: str) -> bool:
        """Tell whether this version has a sub-command."""
        return any(line.strip().startswith(f"{command} ") for line in self._help.splitlines())

    @cached_property
    def _help(self) -> str:
        return self.run("--help").output

    def accepts(self, workspace: Workspace) -> bool:
        """Tell whether this version understands a workspace's configuration."""
        try:
            self.run("gen", "--root", workspace.root)
        except Failed as error:
            if "interlock: error:" not in str(error):
                raise
            return False
        return True

    @cached_property
    def ninja(self) -> str:
        """Return the Ninja that it builds with."""
        code = "import ninja, os; print(os.path.join(ninja.BIN_DIR, 'ninja'))"
        return self._ask([self.python, "-c", code])

    def versions(self) -> dict[str, str]:
        """Return the version of interlock and of what it works with."""
        where = self._ask([self.python, "-P", "-c", "import interlock, os; print(os.path.dirname(interlock.__file__))"])
        commit = self._ask(["git", "-C", where or ".", "describe", "--always", "--dirty"])
        return {
            "interlock": self._ask([*self.command, "--version"]).partition(" ")[2] + (f" ({commit})" if commit else ""),
            "interlock's ninja": self._ask([self.ninja, "--version"]),
            "interlock's python": self._ask([self.python, "--version"]).partition(" ")[2],
        }

    def _ask(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env={**self.environ}, check=False)
        return done.stdout.strip()
