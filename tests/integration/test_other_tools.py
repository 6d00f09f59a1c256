"""Other tools at work in an environment during a build: a conflict is named, and the next build leaves it whole."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from holding import held_elsewhere, release
from index_server import wheel
from interlock_runner import SCRIPTS, python_of, script_of, succeed, verify
from trees import pyproject, write_tree

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
NAMES = ["tools-core", "tools-mid", "tools-leaf", "tools-other"]
MODULES = [name.replace("-", "_") for name in NAMES]
DEPENDENCIES = {"tools-mid": ["tools-core"], "tools-leaf": ["tools-mid", "tools-core"]}
INTERLOCK = [sys.executable, "-P", "-m", "interlock"]

NOT_AN_ENVIRONMENT, MISMATCH, DEPENDENCY_MISSING, CHANGED, ENGINE, DISK = 21, 22, 60, 63, 70, 74

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name == "nt", reason="the tools are started as on POSIX"),
]


_versions = itertools.count(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace in a uv project, which each test leaves whole; pip and the backend are among its requirements."""
    tmp_path = tmp_path_factory.mktemp("workspace")
    (tmp_path / "interlock.toml").write_text(
        'members = ["libs/*"]\n[environments.venv]\npath = ".venv"\nrequirements = ["requirements.txt"]\n',
        encoding="utf-8",
    )
    (tmp_path / "requirements.txt").write_text("flit_core>=3.11\npip\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "everything"\nversion = "1"\nrequires-python = ">=3.11"\n[tool.uv]\npackage = false\n',
        encoding="utf-8",
    )
    write_version(tmp_path)
    succeed("build", "--root", tmp_path)
    return tmp_path


def write_version(root: Path) -> int:
    """Give each project a new version, which is returned: each is prepared and committed again."""
    number = next(_versions)
    for name, module in zip(NAMES, MODULES, strict=True):
        imports = "".join(f"    import {one.replace('-', '_')}\n" for one in DEPENDENCIES.get(name, ()))
        files = {
            "pyproject.toml": pyproject(
                name,
                *DEPENDENCIES.get(name, ()),
                version=f"{number}.0",
                more=f'description = "one of four"\n[project.scripts]\n{name} = "{module}:main"',
            ),
            f"{module}.py": f'"""{name}"""\n\n\ndef main():\n{imports}    print("{name}")\n',
        }
        write_tree(root / "libs" / name, files)
    return number


@pytest.fixture(scope="session")
def uv() -> str:
    """Return the real uv."""
    import uv

    return os.fspath(uv.find_uv_bin())


def build(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*INTERLOCK, "build", "--root", str(root), "-j128", "-k0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fight(root: Path, tool: list[str], *, moment: float | None) -> list[int]:
    """Let a build and a tool at the environment; return the exit codes of the edges that failed.

    The tool runs again and again, or once, so many seconds after the start of the build. One build alone then has to leave
    the environment whole.
    """
    number = write_version(root)
    building = build(root)
    time.sleep(moment or 0)
    refused = False
    while building.poll() is None:
        refused = subprocess.run(tool, cwd=root, capture_output=True, env=surroundings()).returncode != 0
        if moment is not None:
            break
        time.sleep(0.02)
    output = building.communicate()[0]
    assert "Traceback" not in output, output
    failed = [int(code) for code in re.findall(r"^FAILED: \[code=(\d+)\]", output, re.MULTILINE)]
    assert bool(failed) == bool(building.returncode), output
    assert output.count("interlock: error: ") == len(failed), output
    print(*re.findall(r"^interlock: error: .*", output, re.MULTILINE), sep="\n")
    if moment is not None and refused:
        # "Directory not empty": a commit has put something into what the tool was deleting, which it says, and is told again.
        subprocess.run(tool, cwd=root, capture_output=True, env=surroundings(), check=True)
    whole_after_a_build(root, number)
    return failed


def whole_after_a_build(root: Path, number: int) -> None:
    succeed("build", "--root", root, "-j128")
    verify(root / ".venv", MODULES)
    succeed("check", "--venv", root / ".venv", "--stamps", root / "out")
    listed = succeed("list", "--venv", root / ".venv")
    for name in NAMES:
        assert re.search(rf"^{name} +{number}\.0\b", listed, re.MULTILINE), listed
        ran = subprocess.run([script_of(root / ".venv", name)], capture_output=True, text=True)
        assert (ran.returncode, ran.stdout) == (0, f"{name}\n"), ran.stderr
    assert "no work to do" in succeed("build", "--root", root)


def surroundings() -> dict[str, str]:
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}


LOCKED = {
    "uv pip install": "{uv} pip install -q --no-deps --no-build-isolation --reinstall -p {python} -e {core} -e {leaf}",
    "uv pip uninstall": "{uv} pip uninstall -q -p {python} tools-core tools-other",
    "uv pip sync": "{uv} pip sync -q -p {python} {root}/requirements.txt",
    "uv sync": "{uv} sync -q",
}
UNLOCKED = {
    "pip install": "{python} -m pip install -q --no-deps --no-build-isolation --force-reinstall -e {core} -e {leaf}",
    "pip uninstall": "{python} -m pip uninstall -q -y tools-core tools-other",
}
DESTROYERS = {
    "uv venv --clear": "{uv} venv -q --clear {root}/.venv",
    "python -m venv --clear": "{base} -m venv --clear --without-pip {root}/.venv",
    "rm -rf": "rm -rf {root}/.venv",
}


def words_of(command: str, root: Path, uv: str) -> list[str]:
    words = {"uv": uv, "python": python_of(root / ".venv"), "base": sys.executable, "root": str(root)}
    words |= {short: str(root / "libs" / f"tools-{short}") for short in ("core", "leaf")}
    return [word.format(**words) for word in command.split()]


@pytest.mark.parametrize("name", LOCKED)
def test_a_tool_that_takes_the_lock(root: Path, uv: str, name: str) -> None:
    """Neither finds the other's work half done; what one removes the other misses, and says so."""
    for _ in range(ROUNDS):
        codes = fight(root, words_of(LOCKED[name], root, uv), moment=None)
        assert set(codes) <= {DEPENDENCY_MISSING}


@pytest.mark.parametrize("name", UNLOCKED)
def test_a_tool_that_takes_no_lock(root: Path, uv: str, name: str) -> None:
    for _ in range(ROUNDS):
        codes = fight(root, words_of(UNLOCKED[name], root, uv), moment=None)
        assert set(codes) <= {DEPENDENCY_MISSING, CHANGED}


@pytest.mark.parametrize("name", DESTROYERS)
def test_an_environment_that_is_deleted_under_the_build(root: Path, uv: str, name: str) -> None:
    write_version(root)
    started = time.monotonic()
    succeed("build", "--root", root, "-j128")
    lasts = time.monotonic() - started
    chance = random.Random(name)
    for _ in range(2 * ROUNDS):
        codes = fight(root, words_of(DESTROYERS[name], root, uv), moment=chance.uniform(0, lasts))
        assert set(codes) <= {NOT_AN_ENVIRONMENT, MISMATCH, DEPENDENCY_MISSING, CHANGED, ENGINE, DISK}
        left = {path.name for path in root.iterdir()} - {"libs", "out", "uv.lock"}
        assert left == {".venv", ".venv.interlock.lock", "interlock.toml", "pyproject.toml", "requirements.txt"}


# Who waits for whom


def lock_status(root: Path, name: str) -> dict[str, Any]:
    found = json.loads(succeed("lock", "status", "--venv", root / ".venv", "--format", "json"))
    return next(lock for lock in found if lock["lock"] == name)


def wait_until_it_waits(root: Path, name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the state of a lock at a moment when a process, or one that it became, waits for it."""
    while process.poll() is None:
        status = lock_status(root, name)
        if process.pid in status["waiting"]:
            return status
    pytest.fail(f"it did not wait: {process.communicate()}")


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="who waits for a lock is known on Linux")


@needs_proc
def test_uv_waits_for_one_who_holds_it_still(root: Path, uv: str) -> None:
    number = write_version(root)
    succeed("build", "--root", root)
    holding = "import sys; print('held', flush=True); sys.stdin.read()"
    command = [*INTERLOCK, "run", "--locked", "--venv", str(root / ".venv"), "--", "python", "-c", holding]
    with contextlib.ExitStack() as stack:
        pipe = subprocess.PIPE
        holder = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        words = words_of(LOCKED["uv pip uninstall"], root, uv)
        removing = stack.enter_context(subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True))
        assert wait_until_it_waits(root, "uv", removing)["state"] == "shared"
        verify(root / ".venv", MODULES)
        holder.stdin.close()
        assert (holder.wait(), removing.wait()) == (0, 0)
    listed = succeed("list", "--venv", root / ".venv")
    assert "tools-core" not in listed
    assert "tools-leaf" in listed
    whole_after_a_build(root, number)


@needs_proc
def test_an_edge_waits_for_uv(root: Path, uv: str, tmp_path: Path) -> None:
    """uv holds its lock while it builds; an edge that waits for it names it, and then commits."""
    wheel_name = "slow-1.0-py3-none-any.whl"
    (tmp_path / wheel_name).write_bytes(wheel("slow", "1.0", ()))
    backend = (
        "import shutil\n"
        "def build_wheel(directory, *arguments):\n"
        f"    open({str(tmp_path / 'started')!r}, 'w').close()\n"
        f"    open({str(tmp_path / 'go')!r}).read()\n"
        f"    shutil.copy({str(tmp_path / wheel_name)!r}, directory)\n"
        f"    return {wheel_name!r}\n"
    )
    build_system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    write_tree(tmp_path / "slow", {"backend.py": backend, "pyproject.toml": build_system})
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "started")
    number = write_version(root)
    succeed("build", "--root", root, *(f"{name}__editable_prepare" for name in NAMES))
    words = [uv, "pip", "install", "--offline", "--no-cache", "-p", python_of(root / ".venv"), str(tmp_path / "slow")]
    prepared = root / "out" / "interlock" / "venv" / "projects" / "tools-core" / "prepared"
    command = [*INTERLOCK, "install", str(prepared), "--venv", str(root / ".venv")]
    with contextlib.ExitStack() as stack:
        pipe = subprocess.PIPE
        building = stack.enter_context(subprocess.Popen(words, stderr=pipe, text=True))
        (tmp_path / "started").read_bytes()  # returns when the backend has opened it
        edge = stack.enter_context(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        status = wait_until_it_waits(root, "uv", edge)
        assert status["state"] == "exclusive"
        assert [holder["pid"] for holder in status["holders"]] == [building.pid]
        assert edge.stderr is not None
        assert re.search(rf"waiting for .* held by process {building.pid} ", edge.stderr.readline())
        (tmp_path / "go").write_bytes(b"")
        assert building.wait() == 0, building.communicate()
        assert edge.communicate()[0].strip() == f"installed tools-core {number}.0"
    assert "slow" in succeed("list", "--venv", root / ".venv")
    succeed("uninstall", "slow", "--venv", root / ".venv")
    whole_after_a_build(root, number)


@needs_proc
def test_uv_clears_an_environment_for_which_we_wait(root: Path, uv: str) -> None:
    """`uv venv --clear` deletes the very file of the lock: who waited for it must not go on with a lock on nothing."""
    number = write_version(root)
    succeed("build", "--root", root, *(f"{name}__editable_prepare" for name in NAMES))
    prepared = root / "out" / "interlock" / "venv" / "projects" / "tools-core" / "prepared"
    command = [*INTERLOCK, "install", str(prepared), "--venv", str(root / ".venv")]
    lock = root / ".venv" / ".lock"
    with held_elsewhere(lock, "UV") as first:
        edge = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until_it_waits(root, "uv", edge)
        subprocess.run([uv, "venv", "-q", "--clear", str(root / ".venv")], check=True)
        with held_elsewhere(lock, "UV"):
            release(first)
            assert wait_until_it_waits(root, "uv", edge)["state"] == "exclusive"
            assert "tools-core" not in os.listdir(root / ".venv" / SCRIPTS)
    out, err = edge.communicate()
    # The environment is another one by now, and core needs nothing: it is committed to that, whole.
    assert (edge.returncode, out) == (0, f"installed tools-core {number}.0\n"), err
    verify(root / ".venv", ["tools_core"])
    whole_after_a_build(root, number)
