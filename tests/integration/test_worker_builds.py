"""Whole builds with workers: the same bytes as without, and Ninja, Ctrl-C, kill -9 and rm -rf find what they find without."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("workers are on Linux", allow_module_level=True)

from interlock_ninja.commands.build import ninja_program
from interlock_runner import verify
from monorepos import materialise
from trees import pyproject, write_tree
from worker_runtime import EDGE, PATIENCE, Runtime, children, is_alive, main_workers, runtime_in_tmp, wait_for

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
INTERLOCK = [sys.executable, "-P", "-m", "interlock"]
SETUPTOOLS = '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with runtime_in_tmp(INTERLOCK_CACHE_DIR=str(tmp_path / "w" / "cache")) as runtime:
        yield runtime


def write_projects(root: Path, count: int, build: str = SETUPTOOLS) -> list[str]:
    """Write a workspace of projects in a few layers; return their modules."""
    modules = [f"many_{index}" for index in range(count)]
    (root).mkdir(exist_ok=True)
    (root / "interlock.toml").write_text("", encoding="utf-8")
    for index, module in enumerate(modules):
        needs = [modules[index // 4]] * (index > 3)
        files = {"pyproject.toml": pyproject(module, *needs, build=build), f"src/{module}/__init__.py": ""}
        write_tree(root / "libs" / module, files)
    return modules


def gen(root: Path, runtime: Runtime) -> Path:
    """Generate a build, with a cache that is in the tree."""
    runtime.interlock("gen", "--root", root)
    (build,) = root.rglob("build.ninja")
    return build.parent


def ninja(
    out: Path, runtime: Runtime, *words: str, program: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    command = [program or ninja_program(), "-C", str(out), *words]
    return subprocess.run(command, env=runtime.environ(**environ), capture_output=True, text=True, check=False)


def whole(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_first_build_has_the_edges_worker_get_ready_and_later_ones_start_none(
    runtime: Runtime, tmp_path: Path
) -> None:
    write_projects(tmp_path / "w", 3)
    runtime.interlock("build", "--root", tmp_path / "w", "venv__venv")  # which asks no worker
    ready = runtime.worker("interlock")
    assert ready["served"] == 0
    runtime.interlock("build", "--root", tmp_path / "w")
    assert runtime.worker("interlock")["pid"] == ready["pid"]
    assert runtime.served()["interlock"] == 6
    runtime.interlock("build", "--root", tmp_path / "w")  # generates once more: projects have an egg-info now
    runtime.interlock("worker", "stop")
    runtime.interlock("build", "--root", tmp_path / "w")
    assert runtime.workers() == []


# The same bytes


Tree = dict[str, tuple[str, bytes]]


def snapshot(root: Path) -> Tree:
    """Return all that is in a tree: kinds, modes, contents."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory, name)
            mode = path.lstat().st_mode
            content = b""
            if stat.S_ISLNK(mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            found[str(path.relative_to(root))] = (oct(mode), content)
    return found


# What two builds never have in common: Ninja's logs have times and orders, a compiled module the time of its source. A process
# that is killed leaves files that have no name yet. The cache is restored with the tree: both know the same answers.
VARIES = re.compile(r"(^|/)(\.ninja_(log|deps|lock)|__pycache__(/.*)?|\..*\.tmp(/.*)?|staging/.*)$|^cache(/|$)")


def compare(one: Tree, other: Tree) -> None:
    one, other = ({path: value for path, value in each.items() if not VARIES.search(path)} for each in (one, other))
    assert sorted(one) == sorted(other)
    different = {path: (one[path], other[path]) for path in one if one[path] != other[path]}
    assert different == {}


def built_both_ways(root: Path, runtime: Runtime) -> None:
    """Build a workspace at one path with and without workers, from the same environment, and compare all that is there."""
    out = gen(root, runtime)
    whole(ninja(out, runtime, "venv__requirements", INTERLOCK_WORKER="0"))  # what has random identities in it
    apart = root.with_name("apart")
    shutil.copytree(root, apart, symlinks=True)
    before = runtime.served()  # the generator has asked some backends
    whole(ninja(out, runtime, "-j8", INTERLOCK_WORKER="0"))
    assert {**before, **runtime.served()} == before
    plain = snapshot(root)
    shutil.rmtree(root)
    shutil.copytree(apart, root, symlinks=True)
    whole(ninja(out, runtime, "-j8"))
    assert runtime.served()["interlock"] > 0
    compare(plain, snapshot(root))


@pytest.mark.network
def test_six_backends_build_the_same_bytes(runtime: Runtime, tmp_path: Path, repository: Path) -> None:
    root = tmp_path / "w"
    backends = repository / "tests" / "data" / "backends"
    for name in (
        "flit_core",
        "hatchling",
        "pdm-backend",
        "poetry-core",
        "setup-py",
        "setuptools",
        "setuptools-flat",
        "uv_build",
    ):
        shutil.copytree(
            backends / name, root / name, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
        )
    (root / "interlock.toml").write_text("", encoding="utf-8")
    built_both_ways(root, runtime)
    known = {
        "flit_core.buildapi",
        "hatchling.build",
        "pdm.backend",
        "poetry.core.masonry.api",
        "setuptools.build_meta",
        "uv_build",
    }
    assert known <= {worker["runs"] for worker in runtime.workers()}


@pytest.mark.network
@pytest.mark.parametrize("shape", ["opentelemetry-python", "airflow"])
def test_real_shapes_build_the_same_bytes(shape: str, runtime: Runtime, tmp_path: Path) -> None:
    materialise(shape, tmp_path / "w", limit=16)
    (tmp_path / "w" / "interlock.toml").write_text("", encoding="utf-8")
    built_both_ways(tmp_path / "w", runtime)


# Ninja


@pytest.mark.network
def test_ninja_ends_although_a_worker_stays(runtime: Runtime, tmp_path: Path, ninja: str) -> None:
    modules = write_projects(tmp_path / "w", 4)
    out = gen(tmp_path / "w", runtime)
    process = subprocess.Popen(
        [ninja, "-C", out, "-j8"], env=runtime.environ(INTERLOCK_WORKER_IDLE="300"), stdout=subprocess.PIPE, text=True
    )
    output, _ = process.communicate(timeout=300)  # to the end of its pipe, too
    assert process.returncode == 0, output
    assert {worker["runs"] for worker in runtime.workers()} == {"interlock", "setuptools.build_meta"}
    verify(tmp_path / "w" / ".venv", modules)
    again = subprocess.run([ninja, "-C", out], env=runtime.environ(), capture_output=True, text=True, check=True)
    assert "no work to do" in again.stdout


WAITS = """\
import os, subprocess, sys, time
from setuptools import setup
if "editable_wheel" in sys.argv:
    child = subprocess.Popen(["sleep", "300"])
    with open("pids.tmp", "w") as writer:
        writer.write(f"{os.getpid()} {child.pid}")
    os.rename("pids.tmp", "pids")
    time.sleep(300)
setup()
"""


def waiting(root: Path) -> list[int]:
    """Wait until a hook waits, and return its process and its child's."""
    note = root / "libs" / "many_0" / "pids"
    wait_for(note.exists)
    pids = [int(word) for word in note.read_text(encoding="utf-8").split()]
    note.unlink()
    return pids


@pytest.mark.network
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_ninja_ends_hooks_and_what_they_started(
    number: int, runtime: Runtime, tmp_path: Path, ninja: str
) -> None:
    root = tmp_path / "w"
    write_projects(root, 1)
    out = gen(root, runtime)
    setup = root / "libs" / "many_0" / "setup.py"
    setup.write_text(WAITS, encoding="utf-8")
    endings = []
    for worker in "01":
        process = subprocess.Popen(
            [ninja, "-C", out, "-j8"],
            env=runtime.environ(INTERLOCK_WORKER=worker),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        pids = waiting(root)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        endings.append(process.returncode)
        wait_for(lambda pids=pids: not is_alive(pids[0]))  # type: ignore[misc]
        if worker == "1":
            wait_for(lambda pids=pids: not is_alive(pids[1]))  # type: ignore[misc]
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[1], signal.SIGKILL)  # without a worker nobody knows it
    assert endings[0] == endings[1] != 0
    setup.write_text("from setuptools import setup\nsetup()\n", encoding="utf-8")
    whole(subprocess.run([ninja, "-C", out], env=runtime.environ(), capture_output=True, text=True, check=False))


@pytest.mark.network
def test_an_edge_ends_as_it_ends_without_a_worker(runtime: Runtime, tmp_path: Path) -> None:
    root = tmp_path / "w"
    write_projects(root, 1)
    runtime.interlock("venv", tmp_path / "env")
    project = root / "libs" / "many_0"
    (project / "setup.py").write_text(WAITS, encoding="utf-8")
    words = ["prepare", str(project), "--venv", str(tmp_path / "env"), "--output", str(tmp_path / "out" / "p")]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        endings = []
        for worker in "01":
            environ = runtime.environ(INTERLOCK_WORKER=worker)
            with (tmp_path / "error").open("w+") as error:
                edge = subprocess.Popen([*EDGE, *words], env=environ, stderr=error, process_group=0)
                pids = waiting(root)
                edge.send_signal(number)
                endings.append((edge.wait(PATIENCE), (tmp_path / "error").read_text(encoding="utf-8")))
            if worker == "1":
                wait_for(lambda pids=pids: not any(map(is_alive, pids)))  # type: ignore[misc]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda pids=pids: not any(map(is_alive, pids)))  # type: ignore[misc]  # or the next would wait
        assert endings[0] == endings[1], number
    broken = [*words[:1], str(tmp_path / "nowhere"), *words[2:]]
    one, other = (runtime.edge(*broken, INTERLOCK_WORKER=worker) for worker in "01")
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert one.returncode != 0


# kill -9


@pytest.mark.network
@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_workers_are_killed_all_the_time_and_the_build_is_the_same(runtime: Runtime, tmp_path: Path) -> None:
    root = tmp_path / "w"
    modules = write_projects(root, 64)
    out = gen(root, runtime)
    whole(ninja(out, runtime, "venv__requirements", INTERLOCK_WORKER="0"))
    apart = tmp_path / "apart"
    shutil.copytree(root, apart, symlinks=True)
    whole(ninja(out, runtime, "-j128"))
    expected = snapshot(root)
    for _ in range(ROUNDS):
        shutil.rmtree(root)
        shutil.copytree(apart, root, symlinks=True)
        over = threading.Event()
        killed: list[int] = []

        def kill(over: threading.Event = over, killed: list[int] = killed) -> None:
            while not over.wait(0.3):
                for pid in main_workers(runtime.directory):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            whole(ninja(out, runtime, "-j128"))
        finally:
            over.set()
            killer.join()
        assert killed
        compare(expected, snapshot(root))
    verify(root / ".venv", modules)


# rm -rf


@pytest.mark.network
def test_a_build_environment_can_be_removed_and_its_worker_goes(runtime: Runtime, tmp_path: Path) -> None:
    root = tmp_path / "w"
    write_projects(root, 2)
    out = gen(root, runtime)
    whole(ninja(out, runtime, INTERLOCK_WORKER_IDLE="300"))
    pid = runtime.worker("setuptools.build_meta")["pid"]
    places = [os.readlink(f"/proc/{pid}/cwd")]
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # of the one who has just asked for its number
            places.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    assert len(places) > 3
    assert not [place for place in places if place.startswith(str(tmp_path))]
    shutil.rmtree(root / "cache")
    wait_for(lambda: not is_alive(pid))
    write_tree(root / "libs" / "many_0", {"pyproject.toml": pyproject("many_0", version="2.0", build=SETUPTOOLS)})
    whole(ninja(out, runtime))


# One after the other


STAINS = """\
import builtins, os, sys, tempfile
import setuptools, setuptools.command.egg_info, setuptools.dist
os.environ["STAINED"] = os.environ["SOURCE_DATE_EPOCH"] = "0"
os.environ["PATH"] = "/nowhere"
sys.path.insert(0, "/nowhere")
tempfile.tempdir = os.getcwd()
setuptools.setup()
setuptools.setup = lambda *a, **k: (_ for _ in ()).throw(SystemExit("stained"))
setuptools.dist.Distribution.parse_config_files = None
setuptools.command.egg_info.egg_info.run = None
sys.modules["setuptools.build_meta"].__dict__.clear
sys.argv.append("stained")
os.umask(0o777)
os.chdir("/")
"""


@pytest.mark.network
def test_a_project_that_changes_all_it_finds_changes_nothing_for_the_next(runtime: Runtime, tmp_path: Path) -> None:
    root = tmp_path / "w"
    modules = write_projects(root, 6)
    for module in modules[::2]:
        (root / "libs" / module / "setup.py").write_text(STAINS, encoding="utf-8")
    built_both_ways(root, runtime)


@pytest.mark.network
def test_an_edge_that_failed_leaves_no_process_for_the_next(runtime: Runtime, tmp_path: Path) -> None:
    runtime.interlock("venv", tmp_path / "env")
    runtime.succeed("install", "--help")
    worker = runtime.worker("interlock")["pid"]
    before = children(worker)
    assert len(before) == 1
    runtime.succeed("install", "--help")
    assert children(worker) == before  # one that went well is used again
    assert runtime.edge("install", tmp_path / "nowhere", "--venv", tmp_path / "env").returncode != 0
    wait_for(lambda: children(worker) == [])
    runtime.succeed("install", "--help", cwd=tmp_path, TMPDIR=str(tmp_path))
    (pid,) = children(worker)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}


# A build within a build

HOOK = """\
import os, subprocess, sys
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        with open("running", "w"):
            pass
        surroundings = {environ!r}  # those of the outer one: the same workers are asked
        subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL, env=surroundings)
"""


@pytest.mark.network
@pytest.mark.stress
def test_builds_within_builds_do_not_wait_for_each_other(runtime: Runtime, tmp_path: Path) -> None:
    """Each takes a place of the worker while it waits for another that needs one; there are more of them than places."""
    count = 4 * len(os.sched_getaffinity(0)) + 1
    runtime.interlock("venv", tmp_path / "env")
    commands = []
    for number in range(count):
        outer, inner = tmp_path / f"outer_{number}", tmp_path / f"inner_{number}"
        command = [
            *EDGE,
            "prepare",
            str(inner),
            "--venv",
            str(tmp_path / "env"),
            "--output",
            str(tmp_path / f"out/{inner.name}"),
        ]
        write_tree(
            inner, {"pyproject.toml": pyproject(inner.name, build=HATCHLING), f"src/{inner.name}/__init__.py": ""}
        )
        more = "[tool.hatch.build.hooks.custom]\n"
        text = pyproject(outer.name, build=HATCHLING, more=more)
        write_tree(
            outer,
            {
                "pyproject.toml": text,
                f"src/{outer.name}/__init__.py": "",
                "hatch_build.py": HOOK.format(command=command, environ=runtime.environ()),
            },
        )
        commands.append(
            [
                *EDGE,
                "prepare",
                str(outer),
                "--venv",
                str(tmp_path / "env"),
                "--output",
                str(tmp_path / f"out/{outer.name}"),
            ]
        )
    started = [
        subprocess.Popen(command, env=runtime.environ(), stderr=subprocess.PIPE, text=True) for command in commands
    ]
    for process in started:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    assert runtime.served()["interlock"] >= 2 * count
    assert len([worker for worker in runtime.workers() if worker["runs"] == "interlock"]) == 1


# Who may run how many

NOTES = """\
import contextlib, os, time
from setuptools import setup
place = {place!r}
mine = os.path.join(place, str(os.getpid()))
open(mine, "w").close()
end = time.monotonic() + 120
while len(os.listdir(place)) < 2 and os.path.exists({alone!r}) and time.monotonic() < end:
    time.sleep(0.01)
if os.path.exists({alone!r}):
    end = time.monotonic() + 3
    while len(os.listdir(place)) < 3 and time.monotonic() < end:
        time.sleep(0.01)
running = len(os.listdir(place))
if running > 1:
    with contextlib.suppress(FileNotFoundError):
        os.remove({alone!r})
with open({log!r}, "a") as log:
    log.write("%d\\n" % running)
time.sleep(0.2)
os.remove(mine)
setup()
"""


@pytest.mark.network
def test_a_jobserver_bounds_ninja_and_so_the_workers(runtime: Runtime, tmp_path: Path) -> None:
    """Ninja 1.13 takes a token for each edge but one, from whoever has started it: make 4.4 hands on the name of a pipe."""
    root = tmp_path / "w"
    modules = write_projects(root, 12)
    place, log, pipe, alone = (tmp_path / name for name in ("running", "log", "tokens", "alone"))
    place.mkdir()
    notes = NOTES.format(place=str(place), log=str(log), alone=str(alone))
    for module in modules:
        (root / "libs" / module / "setup.py").write_text(notes, encoding="utf-8")
    out = gen(root, runtime)
    whole(ninja(out, runtime, "venv__requirements"))
    log.unlink(missing_ok=True)  # the generator asks, too
    os.mkfifo(pipe)
    tokens = os.open(pipe, os.O_RDWR)
    os.write(tokens, b"+")
    alone.touch()  # the first waits for a second, and both for a third, who must not come
    whole(ninja(out, runtime, MAKEFLAGS=f" -j2 --jobserver-auth=fifo:{pipe}"))
    assert max(map(int, log.read_text(encoding="utf-8").split())) == 2
    assert os.read(tokens, 9) == b"+"
    os.close(tokens)
