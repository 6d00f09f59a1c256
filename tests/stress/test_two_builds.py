"""Two builds at once on one environment, two checkouts with one cache, and readers against writers, 128 of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from index_server import serve
from interlock_runner import python_of, succeed, verify
from trees import pyproject, write_tree

sys.path.insert(0, str(Path(__file__).parents[1] / "installer"))
from projects import make_project

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
INTERLOCK = [sys.executable, "-P", "-m", "interlock"]
MANY = 128

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1200)]


def write_projects(libs: Path, number: int, count: int = 8) -> list[str]:
    """Write projects, each of which needs the one before it, in a version of their own; return their modules."""
    modules = [f"two_{index}" for index in range(count)]
    for index, module in enumerate(modules):
        needs = modules[max(0, index - 1) : index]
        imports = "".join(f"    import {one}\n" for one in needs)
        more = f'description = "one of many"\n[project.scripts]\n{module} = "{module}:main"'
        write_tree(
            libs / module,
            {
                "pyproject.toml": pyproject(module, *needs, version=f"{number}.0", more=more),
                f"{module}.py": f'"""{module}"""\n\n\ndef main():\n{imports}    print("{module}")\n',
            },
        )
    return modules


def at_once(commands: list[list[str]], **environ: str) -> list[str]:
    """Start all, and return what each wrote; each must end with 0."""
    started = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environ}
        )
        for command in commands
    ]
    outputs = [process.communicate()[0] for process in started]
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def build(root: Path) -> list[str]:
    return [*INTERLOCK, "build", "--root", str(root), f"-j{MANY}"]


def test_two_out_directories_on_one_environment(tmp_path: Path) -> None:
    """A workspace, and one around it that has the same projects and the same environment: two Ninjas, two sets of stamps."""
    inner = tmp_path / "inner"
    environment = '[environments.venv]\npath = "{}"\n'
    write_tree(inner, {"interlock.toml": 'members = ["libs/*"]\n' + environment.format(".venv")})
    write_tree(tmp_path, {"interlock.toml": 'members = ["inner/libs/*"]\n' + environment.format("inner/.venv")})
    for number in range(1, 2 + ROUNDS):
        modules = write_projects(inner / "libs", number)
        at_once([build(inner), build(tmp_path)])
        verify(inner / ".venv", modules)
        for root in (inner, tmp_path):
            succeed("check", "--venv", inner / ".venv", "--stamps", root / "out")
        listed = json.loads(succeed("list", "--venv", inner / ".venv", "--format", "json"))
        assert {one["version"] for one in listed} == {f"{number}.0"}
        # Each may find that the other was the last to write something, and looks once more; then there is peace.
        for _ in range(2):
            outputs = at_once([build(inner), build(tmp_path)])
        assert all("no work to do" in output for output in outputs), outputs


def test_two_checkouts_with_one_cache(tmp_path: Path) -> None:
    """Each build environment is made once: its requirements are asked for once."""
    checkouts = [tmp_path / "one", tmp_path / "two"]
    names = [f"cached-{index}" for index in range(9)]
    for number in range(ROUNDS):
        cache = tmp_path / f"cache{number}"
        with serve() as index:
            for kind in range(3):
                index.add(f"build-tool-{kind}", "1.0")
            for checkout in checkouts:
                for position, name in enumerate(names):
                    make_project(checkout / name, name, f"{number}.0", requires=[f"build-tool-{position % 3}"])
            at_once([build(checkout) for checkout in checkouts], **index.environ, INTERLOCK_CACHE_DIR=str(cache))
            assert Counter(index.asked) == {f"build-tool-{kind}": 1 for kind in range(3)}
        assert len(list(cache.glob("build-environments/*/receipt.json"))) == 3
        for checkout in checkouts:
            verify(checkout / ".venv", [])
            listed = json.loads(succeed("list", "--venv", checkout / ".venv", "--format", "json"))
            assert {one["name"]: one["version"] for one in listed} == dict.fromkeys(names, f"{number}.0")


READER = """
import sys, time
from interlock.environment import open_environment
environment = open_environment(sys.argv[1])
for _ in range(int(sys.argv[2])):
    before = time.monotonic()
    with environment.shared():
        print(time.monotonic() - before)
        time.sleep(0.005)
"""


@pytest.mark.skipif(os.name == "nt", reason="without the gate, Windows promises no order")
def test_many_readers_and_as_many_writers_all_end(tmp_path: Path) -> None:
    """A stream of readers that never lets the lock go free does not starve the writers, nor they the readers."""
    root = tmp_path / "ws"
    write_projects(root / "libs", 1, count=4)
    succeed("build", "--root", root)
    environment = root / ".venv"
    tree = root / "out" / "interlock" / "venv" / "projects"
    prepared = []
    for number in (2, 3):
        modules = write_projects(root / "libs", number, count=4)
        for module in modules:
            output = tmp_path / f"{module}-{number}"
            succeed("prepare", root / "libs" / module, "--venv", environment, "--output", output)
            prepared.append(str(output))
    assert tree.is_dir()
    locked = [*INTERLOCK, "run", "--locked", "--venv", str(environment), "--", "python", "-I", "-c", "pass"]
    waits: dict[str, list[float]] = {"interlock install": [], "interlock run --locked": [], "environment.shared()": []}
    stop, guard = threading.Event(), threading.Lock()

    def timed(kind: str, command: list[str]) -> None:
        before = time.monotonic()
        result = subprocess.run(command, capture_output=True, text=True)
        with guard:
            waits[kind].append(time.monotonic() - before)
        assert result.returncode == 0, result.stderr

    def stream() -> None:
        """One of the readers that come again and again, until all others have ended."""
        while not stop.is_set():
            result = subprocess.run(
                [sys.executable, "-c", READER, str(environment), "20"], capture_output=True, text=True
            )
            with guard:
                waits["environment.shared()"] += map(float, result.stdout.split())
            assert result.returncode == 0, result.stderr

    streams = [threading.Thread(target=stream) for _ in range(4)]
    others = [
        threading.Thread(target=timed, args=(kind, command))
        for number in range(MANY)
        for kind, command in (
            (
                "interlock install",
                [*INTERLOCK, "install", prepared[number % len(prepared)], "--venv", str(environment)],
            ),
            ("interlock run --locked", locked),
        )
    ]
    for thread in [*streams, *others]:
        thread.start()
    for thread in others:
        thread.join()
    stop.set()
    for thread in streams:
        thread.join()
    assert len(waits["interlock install"]) == len(waits["interlock run --locked"]) == MANY
    for kind, seconds in waits.items():
        ordered = sorted(seconds)
        p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        print(f"{kind:<24}{len(ordered):>6} times, p50 {p50:.3f} s, p99 {p99:.3f} s, max {ordered[-1]:.3f} s")
    verify(environment, [])
    assert python_of(environment)
