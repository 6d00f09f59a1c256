"""`interlock run`: the environment of the command, its exit code, and what it holds."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from holding import held_elsewhere
from interlock import journal
from interlock.commands import run
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import LockUnavailable
from interlock.lock_state import state
from interlock.locks import environment_lock_path, uv_lock_path
from interlock_runner import interlock, succeed

POSIX = pytest.mark.skipif(os.name == "nt", reason="shell scripts and signals")
SHOW = "import json, os, sys; print(json.dumps([sys.prefix, sys.argv[1:], dict(os.environ)]))"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return create_environment(str(tmp_path / "an env"), python=None, disk=Disk("fast"))[0]


def script(directory: str | Path, name: str, text: str) -> None:
    path = Path(directory, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize("locked", [(), ("--locked",)])
def test_a_command_has_the_surroundings_of_an_activated_environment(
    environment: Environment, locked: tuple[str, ...]
) -> None:
    words = ("run", "--venv", environment.path, *locked, "--", "python", "-c", SHOW, "a b", "--", "--locked", "")
    shown = succeed(*words, PYTHONHOME="", VIRTUAL_ENV="/elsewhere", VIRTUAL_ENV_PROMPT="elsewhere", KEPT="kept")
    prefix, arguments, variables = json.loads(shown)
    assert os.path.samefile(prefix, environment.path)
    assert arguments == ["a b", "--", "--locked", ""]
    assert variables["VIRTUAL_ENV"] == environment.path
    assert variables["PATH"].split(os.pathsep)[0] == os.path.dirname(environment.python)
    assert variables["KEPT"] == "kept"
    assert not {"PYTHONHOME", "VIRTUAL_ENV_PROMPT"} & set(variables)


def test_the_separator_may_be_left_away(environment: Environment) -> None:
    assert succeed("run", "--venv", environment.path, "python", "-c", "print(1)") == "1\n"


@pytest.mark.parametrize("locked", [(), ("--locked",)])
def test_the_exit_code_is_the_commands(environment: Environment, locked: tuple[str, ...]) -> None:
    result = interlock("run", "--venv", environment.path, *locked, "--", "python", "-c", "import sys; sys.exit(42)")
    assert result.returncode == 42


@POSIX
def test_the_environments_scripts_come_first(environment: Environment, tmp_path: Path) -> None:
    script(tmp_path / "path", "tool", "echo from PATH")
    path = f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}"
    assert succeed("run", "--venv", environment.path, "tool", PATH=path) == "from PATH\n"
    script(os.path.dirname(environment.python), "tool", "echo from the environment: $1")
    assert succeed("run", "--venv", environment.path, "tool", "x", PATH=path) == "from the environment: x\n"


@POSIX
def test_a_path_is_taken_as_it_is(environment: Environment, tmp_path: Path) -> None:
    script(tmp_path, "tool", "echo here")
    script(os.path.dirname(environment.python), "tool", "echo from the environment")
    assert succeed("run", "--venv", environment.path, "--", "./tool", cwd=tmp_path) == "here\n"


@POSIX
def test_an_environment_whose_path_has_the_separator_of_path_in_it(tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "a:b" / "env"), python=None, disk=Disk("fast"))
    shown = succeed("run", "--venv", environment.path, "python", "-c", "import sys; print(sys.prefix)")
    assert shown == f"{environment.path}\n"


def test_an_unknown_command_is_127(environment: Environment) -> None:
    result = interlock("run", "--venv", environment.path, "--", "no-such-tool")
    assert result.returncode == 127
    assert result.stderr.startswith(
        f"interlock: error: no-such-tool: no such command in {environment.path}, nor on PATH\n"
    )
    assert interlock("run", "--venv", environment.path, "--", "./no-such-tool").returncode == 127


@POSIX
def test_what_cannot_be_executed_is_126(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("", encoding="utf-8")
    for locked in ((), ("--locked",)):
        result = interlock("run", "--venv", environment.path, *locked, "--", str(tmp_path / "tool"))
        assert (result.returncode, result.stderr) == (
            126,
            f"interlock: error: cannot run {tmp_path / 'tool'}: Permission denied\n",
        )


def test_no_command_is_a_usage_error(environment: Environment) -> None:
    for words in ((), ("--",)):
        assert interlock("run", "--venv", environment.path, *words).returncode == 2


def test_no_environment_is_an_error(tmp_path: Path) -> None:
    result = interlock("run", "--venv", tmp_path / "none", "--", "python")
    assert result.returncode == 21
    assert "is not a virtual environment: nothing is there" in result.stderr


@POSIX
def test_locked_holds_off_changes_while_the_command_runs(environment: Environment, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    os.mkfifo(tmp_path / "go")
    code = f"open({str(tmp_path / 'started')!r}, 'w').close(); open({str(tmp_path / 'go')!r}).close()"
    command = [
        sys.executable,
        "-m",
        "interlock",
        "run",
        "--venv",
        environment.path,
        "--locked",
        "--",
        "python",
        "-c",
        code,
    ]
    with subprocess.Popen(command) as process:
        (tmp_path / "started").read_bytes()
        change = interlock("requirements", "--venv", environment.path, "--lock-timeout", "0.05")
        assert change.returncode == 30
        assert interlock("list", "--venv", environment.path, "--lock-timeout", "0.05").returncode == 0
        (tmp_path / "go").write_bytes(b"")
        assert process.wait() == 0
    assert interlock("requirements", "--venv", environment.path, "--lock-timeout", "30").returncode == 0


@pytest.mark.parametrize("locked", [["--locked"], []])
def test_a_command_starts_when_nobody_changes_the_environment(environment: Environment, locked: list[str]) -> None:
    with held_elsewhere(Path(environment_lock_path(environment.path))):
        words = ["run", "--venv", environment.path, *locked, "--lock-timeout", "0.05", "--", "python", "-c", ""]
        assert interlock(*words).returncode == 30


def test_without_locked_the_lock_is_free_while_the_command_runs(environment: Environment) -> None:
    code = "import sys\nfrom interlock.lock_state import state\nprint(*map(state, sys.argv[1:]))"
    paths = [environment_lock_path(environment.path), uv_lock_path(environment.path)]
    words = ["run", "--venv", environment.path, "--", sys.executable, "-c", code, *paths]
    assert succeed(*words) == "free free\n"
    assert succeed("run", "--venv", environment.path, "--locked", *words[3:]) == "shared shared\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the waiter is seen in /proc/locks")
def test_a_reader_below_a_locked_command_does_not_wait_for_who_waits_for_that(environment: Environment) -> None:
    command = [sys.executable, "-P", "-m", "interlock"]
    code = (
        "import subprocess, sys, time\nfrom interlock.holders import waiting\n"
        "while not waiting(sys.argv[1]): time.sleep(0.01)\n"
        f"subprocess.run([*{command!r}, 'list', '--venv', {environment.path!r}], check=True)\nprint('read')"
    )
    lock = environment_lock_path(environment.path)
    words = ["run", "--venv", environment.path, "--locked", "--", sys.executable, "-c", code, lock]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as reader:
        while state(lock) != "shared":
            time.sleep(0.01)
        with subprocess.Popen(
            [*command, "requirements", "--venv", environment.path], stderr=subprocess.DEVNULL
        ) as writer:
            assert reader.communicate()[0] == "read\n"
            assert (reader.returncode, writer.wait()) == (0, 0)


@POSIX
def test_who_may_not_lock_an_environment_may_run_in_it(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that root made with another tool; but not in the middle of a change that nobody finished."""

    def refused(path: str, **_: object) -> NoReturn:
        raise LockUnavailable("no") from PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(run, "reading", refused)
    arguments = argparse.Namespace(venv=environment.path, lock_timeout=None)
    assert run._look(arguments).path == environment.path
    Path(journal.journal_path(environment.path)).touch()
    with pytest.raises(LockUnavailable):
        run._look(arguments)


def test_what_a_killed_process_left_is_finished_before_a_command_starts(environment: Environment) -> None:
    site = Path(environment.site_packages[0])
    staging = Path(environment.path, ".interlock", "staging", "1-aa")
    staging.mkdir(parents=True)
    (staging / "late.py").write_text("print('late')\n", encoding="utf-8")
    place = (site / "late.py").relative_to(environment.path).as_posix()
    operations = (("replace", ".interlock/staging/1-aa/late.py", place),)
    journal.write(environment.path, journal.Journal(".interlock/staging/1-aa", operations, ()), disk=Disk("fast"))
    assert succeed("run", "--venv", environment.path, "--", "python", "-m", "late") == "late\n"


@POSIX
def test_a_command_that_is_killed_gives_the_code_a_shell_would(environment: Environment) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    result = interlock("run", "--venv", environment.path, "--locked", "--", "python", "-c", code)
    assert result.returncode == 128 + signal.SIGTERM


@POSIX
def test_an_interrupt_while_the_command_starts_is_its_own_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    try:
        code = run.become([sys.executable, "-c", "raise SystemExit(5)"], dict(os.environ), wait=True)
    except KeyboardInterrupt:
        pytest.fail("it was taken for one of interlock's")
    assert code == 5
    assert signal.getsignal(signal.SIGINT) is before


@POSIX
def test_an_interrupt_is_the_commands_to_handle(environment: Environment, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    code = (
        "import sys, time\n"
        "try:\n"
        f"    open({str(tmp_path / 'started')!r}, 'w').close(); time.sleep(600)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(5)\n"
    )
    command = [
        sys.executable,
        "-m",
        "interlock",
        "run",
        "--venv",
        environment.path,
        "--locked",
        "--",
        "python",
        "-c",
        code,
    ]
    with subprocess.Popen(command, start_new_session=True) as process:
        (tmp_path / "started").read_bytes()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 5
