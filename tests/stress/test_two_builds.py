"""Two builds at once on one environment, two checkouts with one cache, and readers against writers, 128 of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from index_server import serve
from interlock_runner import succeed, verify
from trees import pyproject, write_tree

sys.path.insert(0, str(Path(__file__).parents[1] / "installer"))
from projects import make_project

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
INTERLOCK = [sys.executable, "-P", "-m", "interlock"]
MANY = 128

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1200)]


def write_projects(libs: Path, number: int, count: int = 12) -> list[str]:
    """Write projects, all of which need the first, in a version of their own; return their modules."""
    modules = [f"two_{index}" for index in range(count)]
    for index, module in enumerate(modules):
        needs = modules[: min(index, 1)]
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
    for number in range(1, 1 + ROUNDS):
        modules = write_projects(inner / "libs", number)
        # With everything prepared, nothing but commits is left to meet each other.
        prepares = [f"{module}__editable_prepare" for module in modules]
        at_once([[*build(inner), *prepares], [*build(tmp_path), *prepares]])
        timings = tmp_path / f"timings{number}.jsonl"
        at_once([build(inner), build(tmp_path)], INTERLOCK_TIMINGS=str(timings))
        # Who comes second sees, under the lock, that it is there.
        spans = [json.loads(line) for line in timings.read_text(encoding="utf-8").splitlines()]
        commits = Counter(span["subject"] for span in spans if span["span"] == "commit")
        assert commits == {module.replace("_", "-"): 1 for module in modules}
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


# Asks for the lock again and again, until told to end: so many of them never let it go free by themselves.
READER = """
import sys, threading, time
from interlock.environment import open_environment
environment = open_environment(sys.argv[1])
waits, done = [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
while True:
    before = time.monotonic()
    with environment.shared():
        waits.append(time.monotonic() - before)
        time.sleep(0.05)
    if done.is_set():
        break
print(*waits)
"""


@pytest.mark.timeout(1200 * ROUNDS)
@pytest.mark.skipif(os.name == "nt", reason="without the gate, Windows promises no order")
def test_many_readers_and_as_many_writers_all_end(tmp_path: Path) -> None:
    """A stream of readers that never lets the lock go free does not starve the writers, nor they the readers."""
    root, timings = tmp_path / "ws", tmp_path / "timings.jsonl"
    modules = write_projects(root / "libs", 1, count=4)
    succeed("build", "--root", root)
    environment = root / ".venv"
    prepared = []
    for number in (2, 3):
        write_projects(root / "libs", number, count=4)
        for module in modules:
            prepared.append(str(tmp_path / f"{module}-{number}"))
            succeed("prepare", root / "libs" / module, "--venv", environment, "--output", prepared[-1])
    pipe = subprocess.PIPE
    reading = [sys.executable, "-c", READER, str(environment)]
    errors = (tmp_path / "errors").open("w+")  # not a pipe: who waits says so, and nobody reads that yet
    readers = [
        subprocess.Popen(reading, stdin=pipe, stdout=pipe, stderr=errors, text=True) for _ in range(MANY * ROUNDS)
    ]
    writing = [
        [*INTERLOCK, "install", prepared[number % len(prepared)], "--venv", str(environment)]
        for number in range(MANY * ROUNDS)
    ]
    locked = [*INTERLOCK, "run", "--locked", "--venv", str(environment), "--", "python", "-I", "-S", "-c", "pass"]
    at_once([*writing, locked], INTERLOCK_TIMINGS=str(timings))
    waits: dict[str, list[float]] = {"reader": [], "writer": []}
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.close()
    for reader in readers:
        assert reader.stdout is not None
        waits["reader"] += map(float, reader.stdout.read().split())
        assert reader.wait() == 0, (tmp_path / "errors").read_text(encoding="utf-8")
        reader.stdout.close()
    errors.close()
    spans = [json.loads(line) for line in timings.read_text(encoding="utf-8").splitlines()]
    waits["writer"] += [span["seconds"] for span in spans if span["span"] == "lock wait"]
    assert len(waits["writer"]) == MANY * ROUNDS
    assert len(waits["reader"]) >= MANY * ROUNDS
    for kind, seconds in waits.items():
        ordered = sorted(seconds)
        p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        print(f"{kind}: {len(ordered)} waits, p50 {p50:.3f} s, p99 {p99:.3f} s, max {ordered[-1]:.3f} s")
    verify(environment, [])
