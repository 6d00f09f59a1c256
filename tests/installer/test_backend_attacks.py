"""Build backends that misbehave, in real processes: a clear error or the right result, and the next build is whole."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock.durable import Disk
from interlock.environment import open_environment
from interlock.errors import BackendError, InterlockError, WheelError
from interlock.prepare import project_metadata
from interlock_runner import interlock, python_of, started, succeed
from measured import peak_memory
from worker_runtime import wait_for

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and forks are of POSIX")
START = [sys.executable, "-P", "-m", "interlock"]
MOST = 100 << 20


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody else is to have the locks of the build environment: who makes it is waited for, and that is said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backends") / "env"
    succeed("venv", path)
    return path


@pytest.fixture
def place(tmp_path: Path, environment: Path) -> Iterator[Path]:
    """A directory for one project; after the test its next build must be whole, at once, and leave nothing behind."""
    yield tmp_path
    project = tmp_path / "p"
    make_project(project, version="2.0")
    result = interlock(*words(tmp_path, environment), "--lock-timeout", "0")
    assert (result.returncode, result.stderr) == (0, "")
    assert "prepared core 2.0" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


def words(place: Path, environment: Path) -> list[str]:
    return ["prepare", str(place / "p"), "--venv", str(environment), "--output", str(place / "out" / "core")]


def prepare(place: Path, environment: Path, backend: str) -> subprocess.CompletedProcess[str]:
    (place / "out").mkdir(exist_ok=True)
    make_project(place / "p", backend=backend)
    return interlock(*words(place, environment))


def fails(place: Path, environment: Path, backend: str, code: int, message: str) -> str:
    result = prepare(place, environment, backend)
    assert result.returncode == code, result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.stderr.split("\n    ", 1)[0]
    assert "a bug in interlock" not in result.stderr
    assert os.listdir(place / "out") == []
    return result.stderr


def hook(body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"def build_editable(wheel_directory, config_settings=None, metadata_directory=None):\n{lines}\n"


# What it prints

TALKS = "import sys\nfor number in range(500_000): print('x' * 96, number)\nsys.stdout.flush()\n"


@POSIX
@pytest.mark.stress
def test_fifty_megabytes_of_output(place: Path, environment: Path) -> None:
    (place / "out").mkdir()
    make_project(place / "p", backend=hook(f"{TALKS}raise SystemExit(3)"))
    code, memory, output = peak_memory([*START, *words(place, environment)])
    assert (code, memory < MOST) == (40, True), f"{memory:,} bytes\n{output[-3000:]}"
    assert "(its exit code: 3)\n    ... (499980 lines before these)\n" in output
    assert output.count("\n    x") == 20
    assert "x 499999\n" in output
    make_project(place / "p", backend=hook(f"{TALKS}return wheel(wheel_directory)"))
    code, memory, output = peak_memory([*START, *words(place, environment)])
    assert (code, memory < MOST, output) == (0, True, "prepared core 1.0: 7 files\n")


@POSIX
def test_fifty_megabytes_without_the_end_of_a_line(place: Path, environment: Path) -> None:
    (place / "out").mkdir()
    make_project(place / "p", backend=hook("for _ in range(50): print('y' * (1 << 20), end='')\nraise SystemExit(3)"))
    code, memory, output = peak_memory([*START, *words(place, environment)])
    assert (code, memory < MOST, len(output) < 10_000) == (40, True, True)
    assert "\n    ...yyy" in output


def test_output_that_is_no_text(place: Path, environment: Path) -> None:
    message = fails(
        place,
        environment,
        hook(
            "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe caf\\xe9 \\x00\\r\\n\\n\\nlast\\n\\n')\nraise SystemExit(3)"
        ),
        40,
        r"\(its exit code: 3\)",
    )
    assert "\ufffd caf\ufffd \x00\n    \n    \n    last\n" in message


# How it ends


@POSIX
@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")])
def test_it_is_killed(number: int, name: str, place: Path, environment: Path) -> None:
    body = f"import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.kill(os.getpid(), {int(number)})"
    fails(place, environment, hook(body), 40, rf"failed in build_editable \(killed by {name}\)\n    \(no output\)")


def test_it_ends_without_an_answer(place: Path, environment: Path) -> None:
    fails(place, environment, hook("os._exit(0)"), 40, "failed in build_editable: .*output.json")


@POSIX
def test_a_daemon_that_keeps_the_output_open(place: Path, environment: Path) -> None:
    body = """
        import time
        if not os.path.exists("daemon") and os.fork() == 0:  # the first time
            os.setsid()
            with open("daemon", "w") as file:
                file.write(str(os.getpid()))
            time.sleep(600)
            os._exit(0)
        while not (os.path.exists("daemon") and os.path.getsize("daemon")):
            time.sleep(0.01)
        return wheel(wheel_directory)
    """
    result = prepare(place, environment, hook(textwrap.dedent(body)))
    daemon = int((place / "p" / "daemon").read_text())
    try:
        os.kill(daemon, 0)  # it is still there: nobody waited for it
        assert (result.returncode, result.stderr) == (0, "")
        succeed(*words(place, environment), "--lock-timeout", "0")  # nor has it the locks
    finally:
        os.kill(daemon, signal.SIGKILL)
        (place / "p" / "daemon").unlink()


# It hangs

HANGS = """
import signal, time
{ignore}
with open("hanging", "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""
IGNORES = "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)"


def hanging(place: Path, starter: subprocess.Popen[str]) -> int:
    """Wait until the backend hangs and return its process; `starter` is what has it started."""
    note = place / "p" / "hanging"
    while not (note.exists() and note.read_text()):
        assert starter.poll() is None, "it has ended"
        time.sleep(0.01)
    return int(note.read_text())


def parent(process: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(process)]))


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # gone since, or another kind of system
        return False


def wait_until_gone(process: int) -> None:
    """What was killed takes a moment to be gone, where somebody else collects it."""
    wait_for(lambda: is_gone(process))


@POSIX
@pytest.mark.parametrize(
    ("number", "group", "ignore"),
    [
        (signal.SIGINT, True, ""),
        (signal.SIGTERM, False, ""),
        (signal.SIGHUP, True, ""),
        (signal.SIGTERM, True, IGNORES),
    ],
    ids=["INT", "TERM", "HUP", "TERM ignored"],
)
def test_an_edge_that_is_told_to_end_ends_its_backend(
    number: int, group: bool, ignore: str, place: Path, environment: Path
) -> None:
    """Ctrl-C goes to the whole group, `kill` to the edge alone."""
    (place / "out").mkdir()
    make_project(place / "p", backend=hook(HANGS.format(ignore=ignore)))
    with started([*START, *words(place, environment)], stderr=subprocess.PIPE, process_group=0) as edge:
        backend = hanging(place, edge)
        os.killpg(edge.pid, number) if group else os.kill(edge.pid, number)
        _, message = edge.communicate()
    assert (edge.returncode, message) == (130, "interlock: error: interrupted; nothing is left half-done\n")
    wait_until_gone(backend)
    assert os.listdir(place / "out") == []
    (place / "p" / "hanging").unlink()


@POSIX
@pytest.mark.parametrize(
    ("number", "ignore"), [(signal.SIGTERM, ""), (signal.SIGINT, IGNORES)], ids=["TERM", "INT ignored"]
)
def test_an_interrupted_ninja_ends_its_backends(
    number: int, ignore: str, place: Path, environment: Path, ninja: str
) -> None:
    (place / "out").mkdir()
    make_project(place / "p", backend=hook(HANGS.format(ignore=ignore)))
    command = subprocess.list2cmdline([*START, *words(place, environment)])
    build = place / "build.ninja"
    build.write_text(f"rule prepare\n  command = {command} && touch $out\nbuild stamp: prepare\n", encoding="utf-8")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started([ninja, "-C", str(place)], process_group=0, **pipes) as process:
        backend = hanging(place, process)
        edge = parent(backend)
        process.send_signal(number)
        output, _ = process.communicate()
    assert process.returncode != 0
    assert "interrupted by user" in output
    # Ninja waits for the shell in between, which may be gone before the edge has cleaned up.
    for each in (edge, backend):
        wait_until_gone(each)
    assert os.listdir(place / "out") == []
    assert not (place / "stamp").exists()
    for name in ("build.ninja", ".ninja_log", ".ninja_deps"):
        (place / name).unlink(missing_ok=True)
    (place / "p" / "hanging").unlink()


@POSIX
@pytest.mark.parametrize("ignore", ["", IGNORES], ids=["TERM", "TERM ignored"])
def test_a_generation_that_is_told_to_end_ends_the_backends_that_it_asks(ignore: str, tmp_path: Path) -> None:
    """They are asked in threads, which no signal reaches."""
    (tmp_path / "interlock.toml").write_text("", encoding="utf-8")
    names = [f"p{number}" for number in range(2)]  # as many as are asked at a time, on any machine
    for name in names:
        dynamic = 'dynamic = ["dependencies"]\n'
        make_project(tmp_path / name, name, project=dynamic, backend=hook(HANGS.format(ignore=ignore)))
    notes = [tmp_path / name / "hanging" for name in names]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with started([*START, "gen", "--root", str(tmp_path)], **pipes) as generation:
        while not any(note.exists() and note.read_text() for note in notes):
            time.sleep(0.01)
        generation.terminate()
        _, message = generation.communicate()
    assert (generation.returncode, message.endswith("interrupted; nothing is left half-done\n")) == (130, True), message
    for note in notes:
        written = note.read_text() if note.exists() else ""  # one that had just begun to write it is gone too
        if written:
            wait_until_gone(int(written))


@POSIX
def test_a_backend_that_starts_when_all_are_told_to_end_is_ended_too(tmp_path: Path) -> None:
    code = (
        "import os, threading\nfrom interlock.programs import Output, end_running\nend_running()\n"
        "def ask():\n    with Output() as output:\n"
        "        print(output.run(['sleep', '600'], cwd=None, env=os.environ))\n"
        "threading.Thread(target=ask).start()\n"
    )
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as asking:
        assert asking.communicate()[0] == "-9\n"


INTERRUPTED_START = """
import os, subprocess, sys
from interlock.programs import Output

class Slow(subprocess.Popen):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), int(sys.argv[1]))  # before anybody knows of the program

subprocess.Popen = Slow
try:
    with Output() as output:
        output.run(["sleep", "600"], cwd=None, env=os.environ)
except KeyboardInterrupt:
    print("interrupted")
"""


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_backend_is_ended_by_what_comes_while_it_starts(number: int) -> None:
    """On a busy machine the program may run long before the edge has noticed that it was started."""
    with started([sys.executable, "-c", INTERRUPTED_START, str(int(number))], stdout=subprocess.PIPE) as edge:
        pid, said = edge.communicate()[0].splitlines()
    assert (said, edge.returncode) == ("interrupted", 0)
    wait_until_gone(int(pid))


@POSIX
def test_an_edge_that_is_killed_leaves_its_backend_the_locks(place: Path, environment: Path) -> None:
    """What the backend writes is guarded until it ends; whoever waits is told for whom."""
    (place / "out").mkdir()
    make_project(place / "p", backend=hook(HANGS.format(ignore="")))
    with started([*START, *words(place, environment)], stderr=subprocess.DEVNULL) as edge:
        backend = hanging(place, edge)
        edge.kill()
    try:
        result = interlock(*words(place, environment), "--lock-timeout", "0")
        assert result.returncode == 30, result.stderr
    finally:
        os.kill(backend, signal.SIGKILL)
    wait_until_gone(backend)
    (place / "p" / "hanging").unlink()


# What it does to its surroundings


def test_it_changes_the_directory(place: Path, environment: Path) -> None:
    body = "os.chdir(os.path.dirname(os.getcwd()))\nreturn wheel(wheel_directory)"
    assert prepare(place, environment, hook(body)).returncode == 0


def test_it_deletes_its_own_tree(place: Path, environment: Path) -> None:
    body = "import shutil\nhere, made = os.getcwd(), wheel(wheel_directory)\nos.chdir(os.sep)\nshutil.rmtree(here)\nreturn made"
    result = prepare(place, environment, hook(body))
    # The wheel is whole: that is prepared. The tree is its owner's loss.
    assert (result.returncode, result.stderr) == (0, "")
    assert not (place / "p").exists()


def test_it_deletes_its_own_tree_and_fails(place: Path, environment: Path) -> None:
    body = "import shutil\nhere = os.getcwd()\nos.chdir(os.sep)\nshutil.rmtree(here)\nraise SystemExit(3)"
    fails(place, environment, hook(body), 40, r"failed in build_editable \(its exit code: 3\)")


def test_it_deletes_where_it_was_to_write(place: Path, environment: Path) -> None:
    body = "import shutil\nmade = wheel(wheel_directory)\nshutil.rmtree(os.path.dirname(wheel_directory))\nreturn made"
    fails(
        place, environment, hook(body), 40, "returned 'core-1.0-py3-none-any.whl' from build_editable, and made no .whl"
    )


def test_it_writes_into_the_environment(place: Path, environment: Path) -> None:
    """Nobody can keep it from that; `check` finds what it has changed of what others own."""
    make_project(place / "other", name="other")
    succeed("editable", place / "other", "--venv", environment)
    assert "no problem" in succeed("check", "--venv", environment).lower()
    library = subprocess.check_output(
        [python_of(environment), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    body = f"open(os.path.join({library!r}, 'other-1.0.pth'), 'a').write('# evil')\nreturn wheel(wheel_directory)"
    assert prepare(place, environment, hook(body)).returncode == 0
    result = interlock("check", "--venv", environment)
    assert result.returncode != 0
    assert re.search("other-1.0.pth has .* bytes, not the .* of its RECORD", result.stdout)
    succeed("editable", place / "other", "--venv", environment)
    assert "no problem" in succeed("check", "--venv", environment).lower()
    shutil.rmtree(place / "other")


# What it returns


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        ("'../core-1.0-py3-none-any.whl'", "'../core-1.0-py3-none-any.whl'"),
        ("os.path.abspath('core-1.0-py3-none-any.whl')", "'.*core-1.0-py3-none-any.whl'"),
        ("'core-2.0-py3-none-any.whl'", "'core-2.0-py3-none-any.whl'"),
        ("'backend.py'", "'backend.py'"),
        ("''", "''"),
        ("'.'", "'.'"),
        ("'..'", "'..'"),
        ("'a\\0.whl'", r"'a\\x00.whl'"),
        ("'x' * 5000 + '.whl'", "'xxx"),
    ],
)
def test_it_returns_the_name_of_something_else(returned: str, shown: str, place: Path, environment: Path) -> None:
    body = f"wheel(wheel_directory)\nwheel(os.path.dirname(wheel_directory))\nwheel(os.getcwd())\nreturn {returned}"
    fails(place, environment, hook(body), 40, f"returned {shown}.* from build_editable, and made no .whl of that name")
    (place / "p" / "core-1.0-py3-none-any.whl").unlink()


@pytest.mark.parametrize("returned", ["None", "7", "['a.whl']", "{}", "True"])
def test_it_returns_no_name(returned: str, place: Path, environment: Path) -> None:
    fails(place, environment, hook(f"return {returned}"), 40, "returned nothing of use from build_editable")


@pytest.mark.parametrize("returned", ["object()", "b'x.whl'", "float"])
def test_it_returns_what_cannot_be_sent(returned: str, place: Path, environment: Path) -> None:
    fails(place, environment, hook(f"return {returned}"), 40, "TypeError: Object of type")


@pytest.mark.parametrize(
    ("made", "code", "message"),
    [
        ("open(path, 'wb').write(b'garbage' * 1000)", 50, "is not a wheel: File is not a zip file"),
        ("open(path, 'wb')", 50, "is not a wheel: File is not a zip file"),
        ("os.mkdir(path)", 40, "and made no .whl of that name"),
        ("os.symlink(wheel(os.getcwd()), path)", 40, "and made no .whl of that name"),
        ("os.mkfifo(path)", 40, "and made no .whl of that name"),
    ],
    ids=["garbage", "empty", "directory", "link", "pipe"],
)
@POSIX
def test_it_makes_no_wheel(made: str, code: int, message: str, place: Path, environment: Path) -> None:
    body = f"path = os.path.join(wheel_directory, 'x-1.0-py3-none-any.whl')\n{made}\nreturn os.path.basename(path)"
    fails(place, environment, hook(body), code, message)
    (place / "p" / "core-1.0-py3-none-any.whl").unlink(missing_ok=True)


METADATA_HOOK = """
def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    info = os.path.join(metadata_directory, "core-1.0.dist-info")
    os.mkdir(info)
    path = os.path.join(info, "METADATA")
    {made}
    return {returned}
"""
INFO = "os.path.basename(info)"


@POSIX
@pytest.mark.parametrize(
    ("made", "returned", "error", "message"),
    [
        ("open(path, 'wb').write(b'Name: \\xff')", INFO, WheelError, "METADATA that cannot be read: 'utf-8'"),
        ("pass", INFO, WheelError, "METADATA that cannot be read: .*No such file"),
        ("os.mkfifo(path)", INFO, WheelError, "METADATA that is none"),
        ("os.mkdir(path)", INFO, WheelError, "METADATA that is none"),
        ("open(path, 'wb').truncate(17 << 20)", INFO, WheelError, "METADATA that is none"),
        (
            "pass",
            "'../x.dist-info'",
            BackendError,
            "returned '../x.dist-info' from prepare_metadata_for_build_editable",
        ),
        ("pass", "'.'", BackendError, "returned '.' from"),
        ("pass", "''", BackendError, "returned '' from"),
        ("os.rename(info, path := info + 'x')", INFO, BackendError, "and made no .dist-info of that name"),
        (
            "os.symlink('/', info + '.dist-info')",
            "os.path.basename(info) + '.dist-info'",
            BackendError,
            "made no .dist-info",
        ),
    ],
)
def test_it_makes_no_metadata(
    made: str, returned: str, error: type[InterlockError], message: str, tmp_path: Path, environment: Path
) -> None:
    project = make_project(tmp_path / "p", backend=METADATA_HOOK.format(made=made, returned=returned))
    interpreter = open_environment(str(environment)).interpreter
    with pytest.raises(error, match=message) as caught:
        project_metadata(str(project), interpreter=interpreter, disk=Disk("fast"))
    assert type(caught.value) is error
