"""Many processes that create and use one environment at once: the scripts of uv #11219 and #14153."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from index_server import serve
from interlock.environment import open_environment
from interlock_runner import succeed

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
INTERLOCK = [sys.executable, "-P", "-m", "interlock"]
ALL_AT_ONCE = 100

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1200)]


def at_once(count: int, *command: str, **environ: str) -> list[tuple[int, str, str]]:
    """Start so many processes before waiting for the first; return exit code, output and errors of each."""
    surroundings = {**os.environ, **environ}
    started = [
        subprocess.Popen(
            [word.replace("@", str(number)) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=surroundings,
        )
        for number in range(count)
    ]
    ended = []
    for process in started:
        out, err = process.communicate()
        ended.append((process.returncode, out, err))
    return ended


class Reader(threading.Thread):
    """Looks at an environment all the time, and keeps what it saw that was not whole."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.seen, self.wrong, self.done = path, set[str](), list[str](), threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            if os.path.lexists(self.path):
                missing = [
                    name
                    for name in ("pyvenv.cfg", "bin/python", "bin/activate", "lib")
                    if not (self.path / name).exists()
                ]
                # It may have been deleted between the two looks: then nothing of it is there.
                if missing and os.path.lexists(self.path):
                    self.wrong += missing
                elif not missing:
                    self.seen.add(open_environment(str(self.path)).identity)


def test_a_hundred_creations_on_a_fresh_path(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        path = tmp_path / f"env{number}"
        reader = Reader(path)
        if os.name != "nt":
            reader.start()
        try:
            ended = at_once(ALL_AT_ONCE, *INTERLOCK, "venv", str(path))
        finally:
            reader.done.set()
            if reader.is_alive():
                reader.join()
        assert [(code, err) for code, _, err in ended if code] == []
        assert Counter(out.split()[0] for _, out, _ in ended) == {"created": 1, "kept": ALL_AT_ONCE - 1}
        assert reader.wrong == []
        assert reader.seen <= {open_environment(str(path)).identity}
        assert sorted(os.listdir(tmp_path)) == sorted(
            name for n in range(number + 1) for name in (f"env{n}", f"env{n}.interlock.lock")
        )


def test_a_hundred_creations_with_stamps_agree_on_one_identity(tmp_path: Path) -> None:
    """As many builds of one workspace: each with an out directory of its own."""
    path = tmp_path / "env"
    ended = at_once(
        ALL_AT_ONCE,
        *INTERLOCK,
        "venv",
        str(path),
        "--stamp",
        f"{tmp_path}/out@/v.stamp",
        "--depfile",
        f"{tmp_path}/out@/v.d",
    )
    assert [one for one in ended if one[0] or one[1]] == []
    assert len({stamp.read_bytes() for stamp in tmp_path.glob("out*/v.stamp")}) == 1
    assert len(list(tmp_path.glob("out*/v.stamp"))) == ALL_AT_ONCE


@pytest.mark.skipif(os.name == "nt", reason="the reports are shell scripts")
@pytest.mark.parametrize("count", [5, ALL_AT_ONCE])
def test_report_11219_creating_and_running_at_once(tmp_path: Path, count: int) -> None:
    """`rm -rf .venv`, then several `uv run python -c ...` at once: each has to say hello."""
    path = tmp_path / ".venv"
    interlock = " ".join(INTERLOCK)
    script = (
        f"{interlock} venv '{path}' && {interlock} run --venv '{path}' -- python -c 'print(\"Hello from process @\")'"
    )
    for _ in range(ROUNDS):
        shutil.rmtree(path, ignore_errors=True)
        ended = at_once(count, "sh", "-c", script)
        assert [(code, err) for code, _, err in ended if code] == []
        assert [out.splitlines()[-1] for _, out, _ in ended] == [f"Hello from process {n}" for n in range(count)]


@pytest.mark.skipif(os.name == "nt", reason="the reports are shell scripts")
def test_report_14153_creating_installing_and_running_at_once(tmp_path: Path) -> None:
    """`rm -r .venv`, then many `uv run` of a project with dependencies: no process meets half an installation."""
    path, count = tmp_path / ".venv", 20
    names = [f"third-party-{n}" for n in range(12)]
    (tmp_path / "requirements.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    interlock = " ".join(INTERLOCK)
    imports = ", ".join(name.replace("-", "_") for name in names)
    script = (
        f"{interlock} venv '{path}' && {interlock} requirements --venv '{path}' -r requirements.txt && "
        f"{interlock} run --locked --venv '{path}' -- python -c 'import {imports}; print(\"Hello from scratch!\")'"
    )
    with serve() as index:
        for name in names:
            index.add(name, "1.0")
        for _ in range(ROUNDS):
            shutil.rmtree(path, ignore_errors=True)
            ended = at_once(count, "sh", "-c", f"cd '{tmp_path}' && {script}", **index.environ)
            assert [(code, err) for code, _, err in ended if code] == []
            assert {out.splitlines()[-1] for _, out, _ in ended} == {"Hello from scratch!"}
            succeed("check", "--venv", path)


def test_creations_that_ask_for_different_interpreters_leave_a_whole_one(tmp_path: Path) -> None:
    """They replace each other's; each one that ends has been answered at that moment, and none breaks another."""
    path = tmp_path / "env"
    here = "{}.{}".format(*sys.version_info)
    other = next((v for v in ("3.13", "3.12", "3.11", "3.10") if v != here and _is_found(v)), None)
    if other is None:
        pytest.skip("needs a second Python")
    half = 10
    started = [
        subprocess.Popen([*INTERLOCK, "venv", str(path), "--python", (here, other)[n % 2]], stderr=subprocess.PIPE)
        for n in range(2 * half)
    ]
    errors = [process.communicate()[1] for process in started]
    assert [error for process, error in zip(started, errors, strict=True) if process.returncode] == []
    assert open_environment(str(path)).interpreter.short in {here, other}
    assert sorted(os.listdir(tmp_path)) == ["env", "env.interlock.lock"]
    succeed("check", "--venv", path)


def _is_found(version: str) -> bool:
    from interlock.errors import InterpreterNotFound
    from interlock.interpreter import find_interpreter

    try:
        find_interpreter(version)
    except InterpreterNotFound:
        return False
    return True
