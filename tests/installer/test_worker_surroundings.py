"""What a hook finds around it is the same in a worker's child as in a new process, but for a list of known differences."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from worker_runtime import Runtime, runtime_in_tmp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are on Linux")

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.0"
"""

# Runs in each hook of setuptools, in the project's directory.
DUMP = """\
import gc, json, locale, os, resource, signal, subprocess, sys, tempfile, threading, time, warnings
before = set(sys.modules)

def status():
    lines = dict(line.rstrip("\\n").partition(":\\t")[::2] for line in open("/proc/self/status"))
    drop = (
        "Pid", "Tgid", "NStgid", "NSpid", "NSpgid", "NSsid", "PPid", "Vm", "Rss", "Hugetlb",
        "voluntary", "nonvol", "State", "FDSize", "Ngid", "SigQ",
        "Name",
    )
    return {key: value for key, value in lines.items() if not key.startswith(drop)}

def stream(one):
    return [one.encoding, one.errors, one.line_buffering, one.write_through, one.name, one.mode, one.isatty(),
            type(one.buffer).__name__, repr(one.newlines), one.closed]

def descriptors():
    found = {}
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            place = os.readlink("/proc/self/fd/%d" % number)
        except OSError:
            continue
        flags = [line.split()[1] for line in open("/proc/self/fdinfo/%d" % number) if line.startswith("flags")]
        found[number] = [place, *flags]
    return sorted(found.values())

main = sys.modules["__main__"]
seen = {
    "environ": sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in os.environb.items()),
    "environ of a program": sorted(subprocess.check_output(["env", "-0"]).decode("latin-1").split("\\0")),
    "orig_argv": sys.orig_argv,
    "argv": [word.rpartition(".tmp-")[0] or word for word in sys.argv],
    "cwd": os.getcwd(), "umask": os.umask(0o22), "path": sys.path,
    "flags": repr(sys.flags), "executable": [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix],
    "bytecode": [sys.dont_write_bytecode, sys.pycache_prefix], "options": [sys.warnoptions, repr(sys._xoptions)],
    "streams": [*map(stream, (sys.stdin, sys.stdout, sys.stderr)), sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__],
    "encodings": [sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), locale.getlocale(), sys.getdefaultencoding()],
    "locale": locale.setlocale(locale.LC_ALL), "time": [time.tzname, time.timezone],
    "signals": {number: repr(signal.getsignal(number)) for number in signal.valid_signals()},
    "status": status(), "descriptors": descriptors(),
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")},
    "nice": os.nice(0), "affinity": sorted(os.sched_getaffinity(0)), "tempdir": [tempfile.tempdir, tempfile.gettempdir()],
    "threads": [thread.name for thread in threading.enumerate()], "tasks": len(os.listdir("/proc/self/task")),
    "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()], "recursion": [sys.getrecursionlimit(), sys.getswitchinterval()],
    "finders": [one.__name__ for one in sys.path_hooks],
    "more finders": [getattr(one, "__name__", type(one).__name__) for one in sys.meta_path],
    "hooks": [sys.excepthook is sys.__excepthook__, sys.gettrace(), sys.getprofile(), threading.excepthook.__name__],
    "main": {key: repr(value).split(" object at")[0] for key, value in vars(main).items() if key.startswith("__")},
    "own group": os.getpgrp() == os.getpid(), "session": os.getsid(0) == os.getppid(),
    "terminal": open("/proc/self/stat").read().rpartition(")")[2].split()[4],
    "resources": open("/proc/self/oom_score_adj").read() + open("/proc/self/cgroup").read(),
    "warnings": len(warnings.filters) and [repr(one[:3]) for one in warnings.filters],
    "frozen": gc.get_freeze_count() > 0, "modules": sorted(before),
    "user site": sys.modules["site"].ENABLE_USER_SITE if "site" in sys.modules else None,
}
os.umask(seen["umask"])
with open("seen.json", "a") as writer:
    writer.write(json.dumps(seen) + "\\n")

from setuptools import setup
setup()
"""

# What is not the same, and why that is so.
KNOWN = {
    "orig_argv": "the command line of the worker: only a process of its own has one of its own",
    "own group": "a job is a process group, so that it can be killed with what it has started",
    "descriptors": "the pipe that tells of the worker's end; it is not inherited by a program",
    "frozen": "what is loaded is taken out of the garbage collector's sight before the fork",
    "modules": "what the worker has loaded; all that a new process has loaded at this point is among it",
}


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with runtime_in_tmp() as runtime:
        yield runtime


@pytest.fixture
def place(tmp_path: Path, runtime: Runtime) -> Path:
    runtime.interlock("venv", tmp_path / "env")
    make(tmp_path / "p", DUMP)
    return tmp_path


def make(project: Path, setup: str) -> Path:
    project.mkdir(parents=True, exist_ok=True)
    (project / "pyproject.toml").write_text(PYPROJECT.format(name=project.name), encoding="utf-8")
    (project / "setup.py").write_text(setup, encoding="utf-8")
    return project


def seen(place: Path, runtime: Runtime, worker: str, **environ: str) -> list[dict[str, Any]]:
    """Return what both hooks of a project see."""
    for left in ("p/seen.json", "p/p.egg-info", "p/build"):
        path = place / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(place / "out", ignore_errors=True)
    words = ("prepare", place / "p", "--venv", place / "env", "--output", place / "out" / "p")
    before = runtime.served().get("setuptools.build_meta", 0)
    runtime.succeed(*words, cwd=place, INTERLOCK_WORKER=worker, **environ)
    hooks = runtime.served().get("setuptools.build_meta", 0) - before
    assert hooks == (2 if worker == "1" else 0)
    return [json.loads(line) for line in (place / "p" / "seen.json").read_text(encoding="utf-8").splitlines()]


def compare(place: Path, runtime: Runtime, **environ: str) -> None:
    fresh, forked = (seen(place, runtime, worker, **environ) for worker in "01")
    assert len(fresh) == len(forked) == 2
    for one, other in zip(fresh, forked, strict=True):
        for each in (one, other):
            each["environ"].remove(["INTERLOCK_WORKER", "0" if each is one else "1"])
            each["environ of a program"].remove("INTERLOCK_WORKER=" + ("0" if each is one else "1"))
        different = {key for key in one if one[key] != other[key]}
        assert different <= set(KNOWN), {key: (one[key], other[key]) for key in different - set(KNOWN)}
        assert set(one["modules"]) <= set(other["modules"]), set(one["modules"]) - set(other["modules"])
        assert len(other["descriptors"]) == len(one["descriptors"]) + 1


def test_it_is_the_same(place: Path, runtime: Runtime) -> None:
    compare(place, runtime)


@pytest.mark.parametrize(
    "environ",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "TZ": "Asia/Tokyo"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1:replace", "SOURCE_DATE_EPOCH": "1", "CC": "nobody's cc"},
        {
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore::UserWarning",
            "PYTHONOPTIMIZE": "1",
        },
        {"ODD\udcff": "\udcfe=\n\x01", "EMPTY": "", "SPACES": "  a  b ", "BIG": "x" * 120_000, "BIGGER": "y" * 80_000},
        {"SETUPTOOLS_SCM_PRETEND_VERSION": "3", "PIP_NO_INDEX": "1", "PWD": "/nowhere", "SHLVL": "7"},
    ],
    ids=["C", "utf-8", "python", "odd", "tools"],
)
def test_variables_arrive_as_they_are(environ: dict[str, str], place: Path, runtime: Runtime) -> None:
    compare(place, runtime, **environ)


def test_temporary_files_go_where_the_client_says(place: Path, runtime: Runtime) -> None:
    for name in ("one", "other"):
        (place / name).mkdir()
        compare(place, runtime, TMPDIR=str(place / name))
        assert seen(place, runtime, "1", TMPDIR=str(place / name))[0]["tempdir"] == [None, str(place / name)]


def inherited_by(prefix: str, place: Path, runtime: Runtime) -> None:
    """Compare what hooks see when edges are started by a shell that has run `prefix`."""
    shell = ["sh", "-c", f'{prefix}\nexec "$@"', "sh"]
    compare(place, Runtime(runtime.directory, runtime.more, (*shell,)))


@pytest.mark.parametrize(
    "prefix",
    [
        "umask 077",
        "umask 0002",
        "trap '' INT HUP QUIT TERM",
        "trap '' USR1 CHLD TSTP",
        "ulimit -n 500",
        "ulimit -S -n 500",
        "ulimit -c 0; ulimit -s 4096",
        "renice -n 5 -p $$ >/dev/null",
        "taskset -p 1 $$ >/dev/null",
        "exec 7>/dev/null 8</dev/null",
        "echo 500 > /proc/self/oom_score_adj",
    ],
)
def test_what_a_process_inherits(prefix: str, place: Path, runtime: Runtime) -> None:
    if "taskset" in prefix and shutil.which("taskset") is None:
        pytest.skip("no taskset")
    compare(place, runtime)  # there is a worker already, of somebody who has inherited other things
    inherited_by(prefix, place, runtime)
    compare(place, runtime)


def test_blocked_signals_are_inherited(place: Path, runtime: Runtime) -> None:
    compare(place, runtime)
    numbers = [signal.SIGTERM, signal.SIGUSR1, signal.SIGWINCH]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        compare(place, runtime)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
