"""GN source trees for tests, with the templates of this repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parents[1] / "gn_rules" / "interlock_gn"

# Toolchains with no tools but those that GN itself needs.
TOOLCHAINS = """\
foreach(name, [ "main", "second", "third" ]) {
  toolchain(name) {
    tool("stamp") {
      command = "touch {{output}}"
    }
    tool("copy") {
      command = "cp {{source}} {{output}}"
    }
  }
}
"""


@dataclass(frozen=True)
class Tree:
    """A GN source tree in which //build/interlock has the templates, built in its directory `out`."""

    root: Path
    gn: str
    ninja: str

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run_gn(self, *words: str, code: int | None = 0) -> str:
        """Run a command of GN; return what it printed."""
        return self._run([self.gn, *words], code)

    def gen(self, *words: str, code: int | None = 0) -> str:
        return self.run_gn("gen", "out", *words, code=code)

    def build(self, *words: str, code: int | None = 0) -> str:
        """Run Ninja; return what it printed."""
        return self._run([self.ninja, "-C", "out", *words], code)

    def _run(self, command: list[str], code: int | None) -> str:
        done = subprocess.run(command, cwd=self.root, capture_output=True, encoding="utf-8")
        output = done.stdout + done.stderr
        if code is not None and done.returncode != code:
            pytest.fail(f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{output}")
        return output


def make_tree(root: Path, gn: str, ninja: str) -> Tree:
    made = Tree(root, gn, ninja)
    made.write(
        {
            ".gn": (
                'buildconfig = "//conf/BUILDCONFIG.gn"\n'
                'ninja_required_version = "1.11.0"\n'
                f'script_executable = "{sys.executable}"\n'
            ),
            "conf/BUILDCONFIG.gn": 'set_default_toolchain("//conf:main")\n',
            "conf/BUILD.gn": TOOLCHAINS,
        }
    )
    target = root / "build" / "interlock"
    target.mkdir(parents=True)
    for path in TEMPLATES.iterdir():
        if path.suffix in {".gni", ".gn"} or path.name == "run_interlock.py":
            shutil.copy2(path, target)
    return made
