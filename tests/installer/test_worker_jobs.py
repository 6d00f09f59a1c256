"""A script ends in a worker's child as it ends in a new process: its exit code, its output, what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("workers are on Linux", allow_module_level=True)

from interlock.backend_worker import SCRIPT
from interlock.client import Job, Worker, WorkerLost, submit
from worker_runtime import is_alive, runtime_in_tmp, wait_for

Run = Callable[..., "tuple[int, bytes, bytes]"]


class Scripts:
    """A worker that runs a script: what a backend's worker does, with a script of ours in the place of pyproject_hooks'."""

    def __init__(self, place: Path, environ: dict[str, str]) -> None:
        self.place, self.environ = place, environ
        self.script = place / "script.py"
        (place / "receipt").write_text("", encoding="utf-8")

    def worker(self, backend: str = "flit_core.buildapi") -> Worker:
        variables = {os.fsencode(name): os.fsencode(value) for name, value in self.environ.items()}
        command = [sys.executable, SCRIPT, "backend", str(self.script), backend, str(self.place / "receipt")]
        return Worker(command, variables, [b"test", *map(os.fsencode, command)])

    def start(self, *words: bytes, stdout: int = 1, stderr: int = 2, more: tuple[int, ...] = ()) -> Job:
        worker = self.worker()
        with open(os.devnull, "rb") as nothing:
            job = submit(
                worker,
                [os.fsencode(self.script), *words],
                cwd=os.fsencode(self.place),
                environ=worker.environ,
                descriptors=(nothing.fileno(), stdout, stderr, *more),
            )
        assert job is not None
        return job

    def fresh(self, *words: bytes) -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            [sys.executable, self.script, *words],
            cwd=self.place,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def forked(self, *words: bytes) -> tuple[int, bytes, bytes]:
        out, err = self.place / "out", self.place / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            job = self.start(*words, stdout=stdout.fileno(), stderr=stderr.fileno())
        try:
            code = job.wait(120)
        finally:
            job.close()
        return code, out.read_bytes(), err.read_bytes()


@pytest.fixture(scope="module")
def module_runtime() -> Iterator[dict[str, str]]:
    with runtime_in_tmp(INTERLOCK_WORKER_IDLE="300") as runtime:  # its end would kill what a job has left
        yield runtime.environ()


@pytest.fixture
def scripts(tmp_path: Path, module_runtime: dict[str, str]) -> Scripts:
    return Scripts(tmp_path, module_runtime)


@pytest.mark.parametrize(
    "body",
    [
        "print('done')",
        "sys.exit()",
        "sys.exit(7)",
        "sys.exit(-1)",
        "sys.exit(256)",
        "sys.exit(True)",
        "sys.exit('said')",
        "sys.exit(['a', 'list'])",
        "os._exit(9)",
        "raise ValueError('wrong')",
        "1 / 0",
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), signal.SIGSEGV)",
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGUSR1); time.sleep(60)",
        "print('out'); print('err', file=sys.stderr); os.write(1, b'straight')",
        "sys.stdout.write('no newline')",
        "sys.stdout.buffer.write(b'\\xff\\x00'); sys.stderr.write('\\udcff')",
        "print(ascii(sys.argv[1:]))",
        "print(sys.stdin.read() == '')",
        "import atexit; atexit.register(print, 'at the end'); print('before')",
        "import atexit; atexit.register(lambda: 1 / 0); sys.exit(3)",
        "from threading import *; Thread(target=lambda: (main_thread().join(), print('thread'))).start(); print('main')",
        "import threading; threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); sys.exit(4)",
        "import concurrent.futures as c; p = c.ThreadPoolExecutor(2); print(p.submit(pow, 2, 3).result())",
        "import multiprocessing as m; p = m.get_context('fork').Process(target=print, args=('x',)); p.start(); p.join()",
        "import subprocess; print(subprocess.run(['sh', '-c', 'echo $0; exit 3']).returncode)",
        "import subprocess; subprocess.Popen(['sleep', '0.1']); sys.exit(2)",
        "sys.stdout.close(); sys.exit(0)",
        "os.close(1); print('lost')",
        "import weakref\nclass A: pass\na = A(); weakref.finalize(a, print, 'finalized')",
        "import logging; logging.basicConfig(); logging.error('logged')",
        "import warnings; warnings.warn('warned')",
        "print(__name__, __file__, sys.argv[0] == __file__, sys.modules['__main__'].__file__ == __file__)",
        "import __main__; print(__main__.os is os)",
        "import pickle\nclass A: pass\nprint(pickle.loads(pickle.dumps(A())).__class__ is A)",
        "open('made', 'w').close(); print(oct(os.stat('made').st_mode))",
        "print(os.getcwd(), sys.path[0])",
        "print(signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1))",
        "signal.signal(signal.SIGCHLD, lambda *_: print('child')); import subprocess; subprocess.run(['true'])",
        "import subprocess; print(os.environ.get('HOME')); os.environ['A'] = 'b'; subprocess.run(['sh', '-c', 'echo $A'])",
        "import gc; print(gc.isenabled())",
    ],
)
def test_the_end_is_the_same(body: str, scripts: Scripts) -> None:
    scripts.script.write_text(f"import os, resource, signal, sys, time\n{body}\n", encoding="utf-8")
    words = (b"", b"a b", b"\xff\xfe\n", "ü".encode(), b"x" * 100_000)
    expected = scripts.fresh(*words)
    (scripts.place / "made").unlink(missing_ok=True)
    found = scripts.forked(*words)
    if b"Exception ignored" not in expected[2]:  # a lost output is not spoken of
        assert found[2] == expected[2]
    assert found[:2] == expected[:2]


def test_who_reads_the_output_waits_for_the_job_alone(scripts: Scripts) -> None:
    """Ninja waits for the end of a pipe: neither the worker nor another job may have it open."""
    scripts.script.write_text(
        "import sys, time\nprint('x', flush=True)\ntime.sleep(float(sys.argv[1]))", encoding="utf-8"
    )
    long_read, long_write = os.pipe()
    long = scripts.start(b"600", stdout=long_write)
    os.close(long_write)
    assert os.read(long_read, 1) == b"x"  # it runs
    for _ in range(3):
        read, write = os.pipe()
        job = scripts.start(b"0", stdout=write)
        os.close(write)
        with open(read, "rb") as reader:
            assert reader.read() == b"x\n"  # to its end, while the other one runs
        assert job.wait(120) == 0
        job.close()
    long.kill()
    with open(long_read, "rb") as reader:
        assert reader.read().strip() == b""
    assert long.wait(120) == -9
    long.close()


FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
with open("pids.tmp", "w") as writer:
    writer.write(f"{os.getpid()} {child.pid}")
os.rename("pids.tmp", "pids")
time.sleep(600)
"""


def family(scripts: Scripts) -> tuple[Job, list[int]]:
    """Start a job that starts others, and return the processes."""
    scripts.script.write_text(FAMILY, encoding="utf-8")
    with open(os.devnull, "r+b") as null:
        job = scripts.start(stdout=null.fileno(), stderr=null.fileno())
    wait_for((scripts.place / "pids").exists)
    return job, [int(word) for word in (scripts.place / "pids").read_text().split()]


def test_a_job_whose_client_goes_is_killed_with_all_that_it_started(scripts: Scripts) -> None:
    job, pids = family(scripts)
    assert all(map(is_alive, pids))
    job.close()
    wait_for(lambda: not any(map(is_alive, pids)))


def test_a_job_whose_worker_is_killed_is_killed_with_all_that_it_started(scripts: Scripts) -> None:
    """Its client runs it once more: both at once would write to the same tree."""
    job, pids = family(scripts)
    worker = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        job.wait(120)
    wait_for(lambda: not any(map(is_alive, pids)))
    job.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_job_and_what_it_started(number: int, scripts: Scripts) -> None:
    job, pids = family(scripts)
    job.send_signal(number)
    assert job.wait(120) == -number
    job.close()
    wait_for(lambda: not any(map(is_alive, pids)))


def test_an_open_file_is_handed_on(scripts: Scripts) -> None:
    """The locks that guard what a hook writes: it keeps them, and so does what it starts without closing files."""
    scripts.script.write_text(
        "import os\nfor name in os.listdir('/proc/self/fd'):\n    try:\n        place = os.readlink(f'/proc/self/fd/{name}')\n"
        "    except OSError:\n        continue\n"
        "    if place.endswith('/lock'):\n        print(os.get_inheritable(int(name)))\n",
        encoding="utf-8",
    )
    with open(scripts.place / "lock", "w") as lock, open(scripts.place / "out", "w+b") as out:
        job = scripts.start(stdout=out.fileno(), more=(lock.fileno(),))
        assert job.wait(120) == 0
        job.close()
        out.seek(0)
        assert out.read() == b"True\n"
    assert scripts.forked() == (0, b"", b"")


def test_where_the_directory_is_gone_the_job_is_refused(scripts: Scripts) -> None:
    scripts.script.write_text("print('ran')", encoding="utf-8")
    worker = scripts.worker()
    with open(os.devnull, "r+b") as null:
        job = submit(
            worker,
            [os.fsencode(scripts.script)],
            cwd=b"/nowhere",
            environ=worker.environ,
            descriptors=(null.fileno(),) * 3,
        )
    assert job is not None
    with pytest.raises(WorkerLost, match="nowhere"):
        job.wait(120)
    job.close()
    assert scripts.forked()[:2] == (0, b"ran\n")


def test_a_variable_that_cannot_be_set_is_refused(scripts: Scripts) -> None:
    scripts.script.write_text("print('ran')", encoding="utf-8")
    worker = scripts.worker()
    with open(os.devnull, "r+b") as null:
        job = submit(
            worker,
            [os.fsencode(scripts.script)],
            cwd=b"/",
            environ={**worker.environ, b"": b"x"},
            descriptors=(null.fileno(),) * 3,
        )
    assert job is not None
    with pytest.raises(WorkerLost):
        job.wait(120)
    job.close()


def test_no_job_leaves_a_trace_in_the_next(scripts: Scripts) -> None:
    scripts.script.write_text(
        "import builtins, os, sys, tempfile, json, signal\n"
        "print(sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)), sys.path, tempfile.tempdir, sys.argv)\n"
        "print(getattr(builtins, 'mine', None), json.loads.__module__, signal.getsignal(15), sys.getrecursionlimit())\n"
        "print('made_up' in sys.modules, sys.dont_write_bytecode, len(os.listdir('/proc/self/fd')) < 9)\n"
        "os.environ['LEFT'] = os.environ['PATH'] = 'behind'; os.chdir('/'); sys.path[:] = []; tempfile.tempdir = '/x'\n"
        "builtins.mine = 1; json.loads = print; signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.setrecursionlimit(99)\n"
        "sys.modules['made_up'] = sys; os.open('/', 0)\n",
        encoding="utf-8",
    )
    first = scripts.forked(b"x")
    assert first[0] == 0, first
    assert scripts.forked(b"x") == scripts.forked(b"x") == first == scripts.fresh(b"x")


def test_a_backend_that_has_threads_is_refused(scripts: Scripts) -> None:
    """A fork of a process with threads may hang for ever."""
    (scripts.place / "flit_core").mkdir()
    (scripts.place / "flit_core" / "__init__.py").write_text("", encoding="utf-8")
    (scripts.place / "flit_core" / "buildapi.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
        encoding="utf-8",
    )
    scripts.environ = {**scripts.environ, "PYTHONPATH": str(scripts.place)}
    scripts.script.write_text("print('ran')", encoding="utf-8")
    with pytest.raises(WorkerLost, match="has threads"):
        scripts.forked()


def test_the_worker_is_refused_where_its_program_has_changed(scripts: Scripts) -> None:
    scripts.script.write_text("import time\nprint('old', flush=True)\ntime.sleep(600)", encoding="utf-8")
    read, write = os.pipe()
    running = scripts.start(stdout=write)  # a worker that does nothing looks by itself each second, and ends
    os.close(write)
    with open(read, "rb") as reader:
        assert reader.readline() == b"old\n"
        scripts.script.write_text("print('new')", encoding="utf-8")
        with pytest.raises(WorkerLost, match="changed"):
            scripts.forked()
        assert scripts.forked() == (0, b"new\n", b"")  # by another worker
        running.kill()
    assert running.wait(120) == -9  # what had begun goes on
    running.close()
