"""What an `install` edge may load: its start is paid once for every project of every build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import make_prepared

from interlock.durable import Disk
from interlock.environment import record_identity

# Libraries that cost tens of milliseconds, and what only other commands need.
FORBIDDEN = {
    "asyncio", "build", "compileall", "concurrent", "email", "filelock", "http", "importlib.metadata", "inspect", "jinja2",
    "logging", "ninja", "packaging", "pyproject_hooks", "shutil", "socket", "subprocess", "tempfile", "tomlkit", "tomllib",
    "urllib", "uuid", "venv", "zipfile",
    "interlock.build_environment", "interlock.create", "interlock.engine", "interlock.hooks", "interlock.prepare",
    "interlock.requirements", "interlock.wheel", "interlock_gn", "interlock_ninja",
}  # fmt: skip
OWN = {
    "interlock", "interlock.access", "interlock.changes", "interlock.cli", "interlock.commands",
    "interlock.commands.install", "interlock.commands.receipts",
    "interlock.distribution", "interlock.documents", "interlock.durable", "interlock.environment", "interlock.errors",
    "interlock.holders",
    "interlock.interpreter",
    "interlock.journal", "interlock.locks", "interlock.owners", "interlock.platforms", "interlock.prepared",
    "interlock.satisfy", "interlock.staging", "interlock.stamp",
    "interlock.timings", "interlock.together", "interlock.transaction",
}  # fmt: skip
BUDGET = 77  # modules beyond those of an interpreter that has only started


LABELS = ["--labels", "names", "--label", "//core:core"]  # as GN starts it


@pytest.mark.parametrize(("words", "more"), [([], set()), (LABELS, {"interlock.declared"})], ids=["plain", "gn"])
def test_an_install_edge_loads_only_what_it_needs(tmp_path: Path, words: list[str], more: set[str]) -> None:
    (tmp_path / "names").write_text("core\t.\t//core:core\t\n", encoding="utf-8")
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    environment = record_identity(str(tmp_path / "env"), new=True, disk=Disk("fast"))  # as `interlock venv` does
    make_prepared(tmp_path / "p", environment, "core")
    code = (
        "import json, sys\nbefore = set(sys.modules)\nfrom interlock.cli import main\n"
        f"code = main(['install', {str(tmp_path / 'p')!r}, '--venv', {environment.path!r}, '--stamp', 'stamp', *{words!r}])\n"
        "print(json.dumps([code, sorted(set(sys.modules) - before)]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    code_, loaded = json.loads(result.stdout)
    assert code_ == 0
    assert (tmp_path / "stamp").exists()
    roots = set(loaded) | {name.split(".")[0] for name in loaded}
    allowed_because_of = {"inspect"}  # of dataclasses
    assert sorted((roots & FORBIDDEN) - allowed_because_of) == []
    assert {name for name in loaded if name.split(".")[0].startswith("interlock")} == OWN | more
    assert len(loaded) <= BUDGET, loaded
