"""What `edge.py` loads: as the client of a worker, as an install edge without one, in a worker (all of it, beforehand)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import make_prepared

from interlock.durable import Disk
from interlock.environment import Environment, record_identity
from trees import pyproject, write_tree
from worker_runtime import EDGE, Runtime, runtime_in_tmp

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="workers are on Linux")

# What an interpreter has when it has only started is not counted. `_socket` is what an edge asks with.
CLIENT = {"_socket", "interlock", "interlock.client", "interlock.own_worker"}
STARTS = {"interlock.worker_start", "subprocess"}
PLAIN_BUDGET = 105


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with runtime_in_tmp() as runtime:
        yield runtime


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    return record_identity(str(tmp_path / "env"), new=True, disk=Disk("fast"))


def loaded(words: list[str], environ: dict[str, str]) -> set[str]:
    """Return the modules that an edge loads."""
    python, *rest = EDGE
    command = [python, "-X", "importtime", *rest, *words]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    started = subprocess.run(
        [python, "-X", "importtime", *rest[:-1], "-c", ""], capture_output=True, text=True, check=True
    )
    return imports(result.stderr) - imports(started.stderr)


def imports(text: str) -> set[str]:
    return {match[1] for match in re.finditer(r"^import time: +\d+ \| +\d+ \| +(\S+)$", text, re.MULTILINE)}


@LINUX
def test_a_client_loads_next_to_nothing(runtime: Runtime, tmp_path: Path, environment: Environment) -> None:
    make_prepared(tmp_path / "p", environment, "core")
    words = ["install", str(tmp_path / "p"), "--venv", environment.path, "--stamp", str(tmp_path / "stamp")]
    assert loaded(words, runtime.environ()) >= CLIENT | STARTS  # the first one
    (tmp_path / "stamp").unlink()
    assert loaded(words, runtime.environ()) == CLIENT
    assert (tmp_path / "stamp").exists()
    assert runtime.served() == {"interlock": 2}


def test_an_install_edge_without_a_worker_needs_no_site_packages(tmp_path: Path, environment: Environment) -> None:
    make_prepared(tmp_path / "p", environment, "core")
    words = ["install", str(tmp_path / "p"), "--venv", environment.path, "--stamp", str(tmp_path / "stamp")]
    found = loaded(words, {**os.environ, "INTERLOCK_WORKER": "0"})
    assert (tmp_path / "stamp").exists()
    assert not {"site", "packaging", "subprocess", "socket", "interlock.worker_start", "interlock.prepare"} & found
    assert len(found) <= PLAIN_BUDGET, sorted(found)


def test_python_s_own_modules_come_first(tmp_path: Path) -> None:
    """Beside interlock there may be an `argparse` of 2011 in site-packages; nobody is to load that in the place of Python's."""
    for name in ("argparse", "json", "_socket", "zipfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    (tmp_path / "interlock").symlink_to(Path(EDGE[-1]).parent, target_is_directory=True)
    with runtime_in_tmp() as runtime:
        for worker in "01":
            command = [*EDGE[:-1], str(tmp_path / "interlock" / "edge.py"), "install", "--help"]
            environ = runtime.environ(INTERLOCK_WORKER=worker)
            result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
            assert (result.returncode, result.stderr) == (0, "")
        if sys.platform == "linux":
            assert runtime.served() == {"interlock": 1}


IN_A_WORKER = """\
import json, sys
import interlock.preload
from interlock.cli import main
new = {}
for words in json.loads(sys.argv[1]):
    before = set(sys.modules)
    code = main(words)
    new[words[0] + " " + str(code)] = sorted(set(sys.modules) - before)
print(json.dumps(new))
"""


@LINUX
@pytest.mark.network
@pytest.mark.parametrize("build", ["setuptools", "hatchling"])
def test_a_job_loads_nothing_that_its_worker_has_not(build: str, runtime: Runtime, tmp_path: Path) -> None:
    """What is loaded before the fork is loaded once; a module that is missing here costs each job."""
    backend = {"setuptools": "setuptools.build_meta", "hatchling": "hatchling.build"}[build]
    system = f'[build-system]\nrequires = ["{build}"]\nbuild-backend = "{backend}"\n'
    write_tree(tmp_path / "p", {"pyproject.toml": pyproject("core", build=system), "src/core/__init__.py": ""})
    runtime.interlock("venv", tmp_path / "env")
    output = str(tmp_path / "out" / "core")
    prepare = ["prepare", str(tmp_path / "p"), "--venv", str(tmp_path / "env"), "--output", output]
    more = ["--stamp", str(tmp_path / "p.stamp"), "--depfile", str(tmp_path / "p.d")]
    jobs = [
        [*prepare, *more],
        ["install", output, "--venv", str(tmp_path / "env"), "--stamp", str(tmp_path / "i.stamp")],
    ]
    jobs += [["editable", str(tmp_path / "p"), "--venv", str(tmp_path / "env")]]
    subprocess.run([*EDGE, *prepare], env=runtime.environ(), check=True)  # its build environment is there
    command = [sys.executable, "-I", "-c", IN_A_WORKER, json.dumps(jobs)]
    result = subprocess.run(command, env=runtime.environ(), capture_output=True, text=True, check=True)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found == {"prepare 0": [], "install 0": [], "editable 0": []}
