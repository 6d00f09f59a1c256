"""One worker starts, however many ask; it ends by itself; whoever comes while it starts, ends or dies is served."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("workers are on Linux", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock._worker_server import PATIENCE
from worker_runtime import EDGE, Runtime, children, is_alive, main_workers, runtime_in_tmp, wait_for, workers_of

if TYPE_CHECKING:
    from conftest import RequireTool

JOB = ("install", "--help")  # the smallest one
ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with runtime_in_tmp() as runtime:
        yield runtime


def start(runtime: Runtime, *words: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*EDGE, *(words or JOB)],
        env=runtime.environ(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def all_succeed(processes: list[subprocess.Popen[str]]) -> None:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert {output.splitlines()[0] for output in outputs} == {outputs[0].splitlines()[0]}
    assert outputs[0].startswith("usage: interlock install")


def main_processes(runtime: Runtime) -> list[int]:
    """Return the workers, without the processes that they have forked."""
    return main_workers(runtime.directory)


@pytest.mark.stress
def test_128_clients_at_once_start_one_worker(runtime: Runtime) -> None:
    all_succeed([start(runtime) for _ in range(128)])
    assert runtime.served() == {"interlock": 128}
    assert len(main_processes(runtime)) == 1
    worker = runtime.worker("interlock")
    # Two for a processor, and one more for each PATIENCE in which no job has ended: on a busy machine those are many.
    assert worker["processes"] <= 1 + 2 * len(os.sched_getaffinity(0)) + 1 + worker["seconds"] / PATIENCE
    assert (
        worker["memory"] < 60_000_000 + 8_000_000 * worker["processes"]
    )  # what it has loaded is theirs too, and counts once


def test_one_that_has_nothing_to_do_ends(runtime: Runtime) -> None:
    runtime.succeed(*JOB, INTERLOCK_WORKER_IDLE="0.2")
    wait_for(lambda: workers_of(runtime.directory) == [])
    assert os.listdir(runtime.directory / "interlock") == []


@pytest.mark.parametrize("idle", ["", "x", "-1", "nan", "inf", "1e9"])
def test_any_number_of_seconds_is_none_that_harms(idle: str, runtime: Runtime) -> None:
    for _ in range(2):
        runtime.succeed(*JOB, INTERLOCK_WORKER_IDLE=idle)


def test_who_comes_while_it_ends_is_served(runtime: Runtime) -> None:
    """Each client comes at about the moment at which the worker of the one before it goes."""
    ended = time.monotonic() + 6 * ROUNDS
    number = 0
    while time.monotonic() < ended:
        idle = str(0.001 * (number % 40))
        all_succeed([start(runtime, INTERLOCK_WORKER_IDLE="0.02")])
        time.sleep(float(idle))
        number += 1
    wait_for(lambda: workers_of(runtime.directory) == [])


@pytest.mark.stress
def test_who_comes_while_workers_are_killed_is_served(runtime: Runtime) -> None:
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not over.wait(0.15):
            for pid in main_processes(runtime)[:1]:
                with contextlib.suppress(ProcessLookupError):  # the one that has detached a worker ends by itself
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        done = 0
        while done < 4 * ROUNDS or not killed:
            all_succeed([start(runtime) for _ in range(24)])
            done += 1
    finally:
        over.set()
        killer.join()
    wait_for(lambda: len(main_processes(runtime)) <= 1)  # what they forked has gone with them


@pytest.mark.stress
def test_who_comes_while_workers_are_told_to_stop_is_served(runtime: Runtime) -> None:
    over = threading.Event()
    stopped: list[str] = []

    def stop() -> None:
        while not over.wait(0.1):
            stopped.append(runtime.interlock("worker", "stop"))

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        done = 0
        while done < 4 * ROUNDS or not any(stopped):
            all_succeed([start(runtime) for _ in range(16)])
            done += 1
    finally:
        over.set()
        stopper.join()


def test_who_comes_while_its_processes_are_killed_is_served_or_told(runtime: Runtime) -> None:
    """A process that waits for its next job is killed: that is the end of no job."""
    for _ in range(20):
        runtime.succeed(*JOB)
        for pid in children(runtime.worker("interlock")["pid"]):
            os.kill(pid, signal.SIGKILL)
        runtime.succeed(*JOB)
    assert runtime.served() == {"interlock": 40}


def test_a_job_whose_process_ends_before_it_begins_is_given_to_another(runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    (idle,) = children(runtime.worker("interlock")["pid"])
    os.kill(idle, signal.SIGSTOP)
    client = start(runtime)
    wait_for(lambda: runtime.worker("interlock")["running"] == 1)
    os.kill(idle, signal.SIGKILL)
    all_succeed([client])
    assert runtime.served() == {"interlock": 2}  # and not by the client itself


def test_a_job_that_fails_before_the_worker_has_looked_away_runs_once(
    runtime: Runtime, require_tool: RequireTool, tmp_path: Path
) -> None:
    """Its process has ended by the time that the worker comes back from handing it the request, as on a busy machine."""
    strace = require_tool("strace", platforms=("linux",))
    slowly = ("-f", "-qq", "-o", os.devnull, "-e", "trace=sendmsg", "-e", "inject=sendmsg:delay_exit=500000")
    with subprocess.Popen([strace, *slowly, *EDGE, *JOB], env=runtime.environ(), stdout=subprocess.DEVNULL):
        wait_for(lambda: runtime.served() == {"interlock": 1})
        failed = runtime.edge("install", tmp_path / "nothing", "--venv", tmp_path / "nowhere")
        assert failed.returncode == 1
        assert failed.stderr.count("interlock: error: ") == 1, failed.stderr
        assert runtime.served() == {"interlock": 2}
        runtime.interlock("worker", "stop")  # and with it what traces it


def test_a_client_that_goes_before_its_job_begins_takes_the_process_with_it(runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    (idle,) = children(runtime.worker("interlock")["pid"])
    os.kill(idle, signal.SIGSTOP)
    client = start(runtime)
    wait_for(lambda: runtime.worker("interlock")["running"] == 1)
    client.kill()
    client.communicate()
    wait_for(lambda: not is_alive(idle))
    runtime.succeed(*JOB)
    assert runtime.served() == {"interlock": 2}


def test_a_signal_before_a_job_begins_is_its_own(runtime: Runtime) -> None:
    """It waits until the process has taken the job on; the handlers of the job before would swallow it, or end by it."""
    runtime.succeed(*JOB)
    (idle,) = children(runtime.worker("interlock")["pid"])
    os.kill(idle, signal.SIGSTOP)
    client = start(runtime)
    wait_for(lambda: runtime.worker("interlock")["running"] == 1)
    client.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    os.kill(idle, signal.SIGCONT)
    client.communicate(timeout=120)
    assert client.returncode in {0, -signal.SIGTERM}  # it may have ended by then
    runtime.succeed(*JOB)


def test_a_socket_that_nobody_listens_at_is_replaced(runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    worker = runtime.worker("interlock")
    os.kill(worker["pid"], signal.SIGKILL)
    wait_for(lambda: not is_alive(worker["pid"]))
    assert Path(worker["socket"]).exists()
    assert runtime.workers() == []
    runtime.succeed(*JOB)
    assert runtime.worker("interlock")["socket"] == worker["socket"]


def test_what_killed_workers_have_left_goes_when_another_starts(runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    worker = runtime.worker("interlock")
    os.kill(worker["pid"], signal.SIGKILL)
    wait_for(lambda: not is_alive(worker["pid"]))
    socket_path = Path(worker["socket"])
    left = [socket_path, socket_path.with_suffix(".lock")]
    assert all(path.exists() for path in left)
    runtime.succeed(*JOB, TZ="Asia/Tokyo")
    assert not any(path.exists() for path in left)
    runtime.succeed(*JOB)
    assert len(runtime.workers()) == 2  # the sweep of the second leaves the first


def test_a_worker_whose_socket_is_removed_ends(runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    shutil.rmtree(runtime.directory / "interlock")
    wait_for(lambda: workers_of(runtime.directory) == [])
    runtime.succeed(*JOB)


def test_an_edge_goes_on_where_no_worker_can_start(runtime: Runtime) -> None:
    (runtime.directory / "interlock").mkdir(mode=0o500)  # nor root's own
    blocked = runtime.directory / "interlock"
    # A directory in the place of the socket, whatever its name: the file system is full of them for nobody to remove.
    environ = runtime.environ()
    runtime.succeed(*JOB)
    (name,) = {path.name for path in blocked.iterdir() if path.suffix == ".sock"} or {""}
    if name:
        runtime.interlock("worker", "stop")
        (blocked / name).mkdir()
        (blocked / name / "x").touch()
        done = subprocess.run([*EDGE, *JOB], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        shutil.rmtree(blocked / name)


def test_it_holds_nothing_of_who_started_it(runtime: Runtime, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    (tmp_path / "here").mkdir()
    with open(tmp_path / "file", "w") as file:
        done = subprocess.Popen(
            [*EDGE, *JOB],
            env=runtime.environ(),
            cwd=tmp_path / "here",
            stdout=write,
            stderr=write,
            pass_fds=(write, file.fileno()),
        )
        os.close(write)
        assert done.wait() == 0
    with open(read, "rb") as reader:
        assert reader.read().startswith(b"usage")  # to its end, while the worker lives
    for pid in workers_of(runtime.directory):
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        opened = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        assert {place for place in opened if place.startswith("/")} == {"/dev/null"}
        session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3]
        assert int(session) != os.getsid(0)


def test_a_request_that_never_ends_holds_nobody_up(runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(runtime.worker("interlock")["socket"])
        client.sendall(b"00001000run")
        runtime.succeed(*JOB)
    assert runtime.served() == {"interlock": 2}


def few_files(runtime: Runtime) -> Runtime:
    shell = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    return Runtime(runtime.directory, runtime.more, shell)


def test_more_clients_than_it_may_have_files(runtime: Runtime) -> None:
    """They wait at the door, or do without it; none loses its output."""
    few = few_files(runtime)
    processes = [
        subprocess.Popen(
            [*few.prefix, *EDGE, *JOB],
            env=few.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(48)
    ]
    all_succeed(processes)


# What one edge leaves for the next


def test_variables_and_words_of_one_edge_are_not_those_of_the_next(runtime: Runtime, tmp_path: Path) -> None:
    """A process goes on to the next edge; and neither is what the worker was started with."""
    runtime.interlock("venv", tmp_path / "env")
    make_project(tmp_path / "p")
    words = ["prepare", tmp_path / "p", "--venv", tmp_path / "env", "--output", tmp_path / "out" / "core"]
    for number in range(3):
        spans = tmp_path / f"spans {number}"
        runtime.succeed(*words, "--stamp", f"{number}.stamp", cwd=tmp_path, INTERLOCK_TIMINGS=str(spans))
        assert {json.loads(line)["edge"] for line in spans.read_text().splitlines()} == {f"{number}.stamp"}
        before = spans.read_bytes()
        runtime.succeed(*words, cwd=tmp_path)
        assert spans.read_bytes() == before
    assert runtime.served() == {"interlock": 6}
    assert runtime.worker("interlock")["processes"] == 2


# Which code it has


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return the edge.py of an interlock that a test may change."""
    source = Path(EDGE[-1]).parent
    shutil.copytree(source, tmp_path / "lib" / "interlock", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "lib" / "interlock" / "edge.py"


def test_changed_code_is_not_run_by_a_worker_that_has_the_old(runtime: Runtime, copy: Path) -> None:
    help_of = copy.parent / "commands" / "install.py"
    text = help_of.read_text(encoding="utf-8")

    def told() -> str:
        return subprocess.check_output([*EDGE[:-1], copy, *JOB], env=runtime.environ(), text=True)

    assert "version 7" not in told()
    for number in range(8, 12):  # of another size each time: Python's own cache looks at that, and at whole seconds
        help_of.write_text(text.replace('"""', f'"""version {number} {"x" * number}', 1), encoding="utf-8")
        assert f"version {number} " in told()
        assert f"version {number} " in told()
    assert "version" not in runtime.succeed(*JOB).splitlines()[2]  # another interlock, another worker
    assert len({worker["socket"] for worker in runtime.workers()}) == 2


def test_another_version_has_another_worker(runtime: Runtime, copy: Path) -> None:
    command = [*EDGE[:-1], str(copy), *JOB]
    subprocess.run(command, env=runtime.environ(), check=True, stdout=subprocess.DEVNULL)
    (first,) = runtime.workers()
    (copy.parent / "__init__.py").write_text('__version__ = "99"\n', encoding="utf-8")
    subprocess.run(command, env=runtime.environ(), check=True, stdout=subprocess.DEVNULL)
    assert {worker["socket"] for worker in runtime.workers()} - {first["socket"]}


@pytest.mark.parametrize(
    "prefix",
    [
        "ulimit -n 500",
        "renice -n 3 -p $$ >/dev/null",
        "trap '' HUP",
        "echo 400 > /proc/self/oom_score_adj",
        "export TZ=Asia/Tokyo",
    ],
)
def test_who_has_inherited_other_things_has_another_worker(prefix: str, runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    Runtime(runtime.directory, prefix=("sh", "-c", f'{prefix}; exec "$@"', "sh")).succeed(*JOB)
    assert [worker["served"] for worker in runtime.workers()] == [1, 1]


@pytest.mark.parametrize("prefix", ["umask 077", "cd /", "exec 7>/dev/null", "export OTHER=x"])
def test_what_can_be_told_needs_no_other_worker(prefix: str, runtime: Runtime) -> None:
    runtime.succeed(*JOB)
    Runtime(runtime.directory, prefix=("sh", "-c", f'{prefix}; exec "$@"', "sh")).succeed(*JOB)
    assert runtime.served() == {"interlock": 2}
    assert len(runtime.workers()) == 1


def test_the_worker_runs_in_any_python_since_3_8() -> None:
    import ast

    for name in ("script", "server", "jobs", "programs"):
        path = Path(EDGE[-1]).parent / f"_worker_{name}.py"
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
