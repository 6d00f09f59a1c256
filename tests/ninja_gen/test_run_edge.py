"""One command, as Ninja would run it, and how all of them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock_ninja.run_edge import EdgeRunner, words_of

PATIENCE = 120.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands are shell scripts")


def run(runner: EdgeRunner, *words: str, cwd: Path) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        code = runner.run(words, cwd=os.fspath(cwd), env={**os.environ, "WORD": "told"}, output=output.fileno())
        output.seek(0)
        return code, output.read().decode()


def test_a_command_runs_where_and_with_what_it_is_told(tmp_path: Path) -> None:
    code, printed = run(EdgeRunner(), "sh", "-c", "pwd; echo $WORD >&2; cat; exit 7", cwd=tmp_path)
    assert code == 7
    assert printed == f"{tmp_path.resolve()}\ntold\n"


def test_a_signal_is_a_code(tmp_path: Path) -> None:
    assert run(EdgeRunner(), "sh", "-c", "kill -9 $$", cwd=tmp_path)[0] == 137


@pytest.mark.parametrize("command", [b"a 'b c' d\\ e", b"x ''", b"'\xff'"])
def test_words_are_those_of_the_shell(command: bytes, tmp_path: Path) -> None:
    (tmp_path / "show").write_text('for word in "$@"; do printf "%s\\0" "$word"; done', encoding="utf-8")
    shown = subprocess.run(b"sh show " + command, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    assert [os.fsencode(word) for word in words_of(command)] == shown.split(b"\0")[:-1]


def test_a_daemon_keeps_nobody_waiting(tmp_path: Path) -> None:
    code, _ = run(EdgeRunner(), "sh", "-c", "sleep 600 & echo $! > pid", cwd=tmp_path)
    os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), signal.SIGKILL)  # it is still there
    assert code == 0


# No shell: while it becomes another program, it forgets an interrupt that comes then.
HEEDS = [sys.executable, "-I", "-S", "-c", "import time; open('up', 'w').close(); time.sleep(600)"]
DEAF = ["sh", "-c", "trap '' INT TERM; echo > up; sleep 600; sleep 600"]


@pytest.mark.parametrize(("words", "code"), [(HEEDS, 130), (DEAF, 137)], ids=["heeds", "deaf"])
def test_all_end_when_told_to(tmp_path: Path, words: list[str], code: int) -> None:
    """The second is deaf: it is killed, with its children."""
    runner = EdgeRunner()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(runner, *words, cwd=tmp_path)[0]))
    thread.start()
    wait_for(lambda: (tmp_path / "up").exists() and runner._running)
    (group,) = [process.pid for process in runner._running]
    runner.end()
    thread.join(0.3 if code == 137 else PATIENCE)
    assert bool(codes) is (code == 130)
    runner.kill()
    thread.join(PATIENCE)
    assert codes == [code]
    wait_for(lambda: not members(group))
    assert run(runner, "true", cwd=tmp_path)[0] == 130, "nothing begins any more"


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


def members(group: int) -> list[str]:
    """Return the processes of a group that have not ended; whoever has to learn of the end of one may take his time."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [line[-1] for line in lines if line[0] == str(group) and line[1][0] not in "ZX"]
