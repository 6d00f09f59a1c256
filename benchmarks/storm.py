"""Install under fire: what readers without a lock see, and what a SIGKILL leaves, through interlock, uv and pip.

    python benchmarks/storm.py [--seconds 15] [--kills 60] [--projects 4] [--tools interlock,uv,pip] [--format json]

The same editable projects (flit_core, no dependency to fetch, backend already there, each tool's caches warm) go into an
environment of each tool's own, made by `python -m venv`. One after the other:

* reinstalls: for so many seconds each project is installed from one checkout and then from another, which has the same
  version and other metadata; upgrades: the same between versions 1.0 and 2.0. Meanwhile processes without any lock import,
  read importlib.metadata, call entry points, run console scripts, `pip list` and `uv pip list` (tests/reader_storm.py).
  A bad read is an error, no metadata, a version that never was, or half a dist-info. "Retired" are those where a reader
  listed a directory that had left as a whole when it opened it: unavoidable for upgrades without a lock.
* kills: an install of all projects, killed with SIGKILL (all of its processes) at a moment drawn evenly, half of them from
  its whole duration, half from the time between its first and its last change of site-packages; those that come too late
  are not counted. Then an independent verifier (tests/verifier.py) says what a reader finds: RECORD against disk, half
  dist-infos, duplicates, missing distributions, imports. Then the same command runs again, to its end, and the verifier too.

Needs uv, and an index for flit_core and pip. Linux and macOS.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from reader_storm import Readers, Subject, Tally  # noqa: E402
from trees import pyproject, write_tree  # noqa: E402

UV = uv.find_uv_bin()
STORMS = {"reinstalls": (("one", "1.0"), ("two", "1.0")), "upgrades": (("one", "1.0"), ("next", "2.0"))}


@dataclass(frozen=True)
class World:
    """One tool's environment, and the checkouts that it installs from: `root`/<checkout>/<project>."""

    tool: str
    root: Path
    projects: tuple[str, ...]

    @property
    def environment(self) -> Path:
        return self.root / f"{self.tool}-env"

    @property
    def python(self) -> str:
        return str(self.environment / "bin" / "python")

    def install(self, checkout: str, *projects: str) -> list[str]:
        """Return the command that installs projects from a checkout, whatever is there already."""
        directories = [str(self.root / checkout / project) for project in projects or self.projects]
        editable = [word for directory in directories for word in ("-e", directory)]
        flags = ["-q", "--no-deps", "--no-build-isolation"]
        if self.tool == "uv":
            return [UV, "pip", "install", *flags, "--offline", "--reinstall", "-p", self.python, *editable]
        if self.tool == "pip":
            return [self.python, "-m", "pip", "install", *flags, "--no-index", "--force-reinstall", *editable]
        ours = f"{sys.executable} -P -m interlock editable --venv {self.environment}"
        return ["sh", "-c", " && ".join(f"{ours} {directory}" for directory in directories)]


@dataclass
class Storm:
    """What readers saw during so many installs."""

    installs: int = 0
    tally: Tally = field(default_factory=Tally)


@dataclass
class Kills:
    """How many kills left something broken: at once, and after the tool's next run; `left_over` is rubbish and no more."""

    kills: int = 0
    broken: int = 0
    after: int = 0
    left_over: int = 0
    failed: int = 0
    found: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)


def make_world(root: Path, tool: str, count: int) -> World:
    """Make an environment with pip and the backend, and the checkouts."""
    world = World(tool, root, tuple(f"storm-project-{number}" for number in range(count)))
    run([sys.executable, "-m", "venv", str(world.environment)])
    run([UV, "pip", "install", "-q", "--upgrade", "-p", world.python, "pip", "flit_core"])
    for checkout, number in {pair for steps in STORMS.values() for pair in steps}:
        for project in world.projects:
            module = project.replace("-", "_")
            scripts = f'[project.scripts]\n{project} = "{module}:main"\n{project}-{checkout} = "{module}:main"\n'
            more = f'description = "checkout {checkout}"\n{scripts}'
            source = f'"""{project}"""\n\n\ndef main():\n    print("{project}")\n'
            files = {"pyproject.toml": pyproject(project, "pip", version=number, more=more), f"{module}.py": source}
            write_tree(root / checkout / project, files)
        run(world.install(checkout))  # warms the caches
    return world


def subjects(world: World, versions: tuple[str, ...]) -> list[Subject]:
    """Return what the readers look for."""
    return [Subject(name, name.replace("-", "_"), versions, name, name) for name in world.projects]


def storm(world: World, steps: tuple[tuple[str, str], ...], seconds: float) -> Storm:
    """Install in turn, and read meanwhile."""
    result = Storm()
    run(world.install(steps[0][0]))
    readers = Readers(world.environment, subjects(world, tuple(number for _, number in steps)), uv=UV)
    with readers.at_work() as tally:
        end = time.monotonic() + seconds
        checkouts = itertools.cycle([checkout for checkout, _ in reversed(steps)])
        for checkout in checkouts:
            for project in world.projects:
                run(world.install(checkout, project))
                result.installs += 1
            if time.monotonic() > end:
                break
    result.tally = tally
    return result


def kill_often(world: World, kills: int, aimed: bool, chance: random.Random, progress: Callable[[str], None]) -> Kills:
    """Kill installs, and look at what they leave; `aimed` is at the time in which site-packages changes."""
    result = Kills()
    checkouts = itertools.cycle(("two", "one"))
    lasts = Install(world, next(checkouts)).lasts(aimed)
    # Where the machine is uneven, many a kill comes too late.
    for checkout in itertools.islice(checkouts, 4 * kills):
        if result.kills == kills:
            break
        killed = Install(world, checkout).kill(chance.uniform(0, lasts), aimed)
        found = problems(world) if killed else set()
        # A journal is how interlock knows what to finish; by itself it is in no reader's way.
        found.discard("a journal was left behind")
        result.kills += killed
        result.broken += bool(found)
        result.found.update(found)
        try:
            took = run(world.install(checkout))
            lasts = lasts if aimed else took
        except subprocess.CalledProcessError:
            result.failed += 1
        found = problems(world)
        rubbish = {one for one in found if one.startswith("~")}
        result.after += bool(found - rubbish)
        result.left_over += bool(rubbish) and found == rubbish
        result.problems.update(found)
        if found:
            renew(world)
            run(world.install(checkout))
        progress(f"{result.kills} kills")
    return result


class Install:
    """One install of all projects, in a session of its own."""

    def __init__(self, world: World, checkout: str) -> None:
        self.site_packages = next(world.environment.glob("lib/python*/site-packages"))
        self.before = self.changed()
        null = subprocess.DEVNULL
        self.process = subprocess.Popen(
            world.install(checkout), stdout=null, stderr=null, start_new_session=True, env=ENVIRON
        )
        self.started = time.monotonic()

    def changed(self) -> int:
        return self.site_packages.stat().st_mtime_ns

    def lasts(self, aimed: bool) -> float:
        """Let it end; return how long it took, or how long from its first to its last change."""
        first = last = self.started
        while self.process.poll() is None:
            if aimed and (now := self.changed()) != self.before:
                first = time.monotonic() if first == self.started else first
                self.before, last = now, time.monotonic()
            time.sleep(0.0005 if aimed else 0.01)
        return last - first if aimed else time.monotonic() - self.started

    def kill(self, seconds: float, aimed: bool) -> bool:
        """Kill all of it so many seconds after its start or first change; tell whether it was still at work."""
        while aimed and self.changed() == self.before and self.process.poll() is None:
            time.sleep(0.0005)
        time.sleep(seconds)
        # Build backends can be in a process group of their own.
        listed = subprocess.run(
            ["ps", "-o", "pid=", "-s", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        at_work = self.process.poll() is None
        for pid in [self.process.pid, *map(int, listed.stdout.split())] if at_work else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return at_work


def problems(world: World) -> set[str]:
    """Return what the independent verifier finds, and which distributions are not there."""
    names = list(world.projects)
    modules = [name.replace("-", "_") for name in names]
    command = [world.python, "-I", str(TESTS / "verifier.py"), *modules]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    missing = (
        "import sys\nfrom importlib.metadata import distributions\n"
        "found = {one.metadata['Name'] for one in distributions() if one.metadata}\n"
        "print(*sorted(set(sys.argv[1:]) - found))\n"
    )
    absent = subprocess.run([world.python, "-I", "-c", missing, *names], capture_output=True, text=True, check=False)
    return {*result.stderr.splitlines(), *(f"{name} is not installed" for name in absent.stdout.split())}


def renew(world: World) -> None:
    """Make the environment anew: what is broken must not be counted twice."""
    run([sys.executable, "-m", "venv", "--clear", str(world.environment)])
    run([UV, "pip", "install", "-q", "--upgrade", "-p", world.python, "pip", "flit_core"])


def run(command: list[str]) -> float:
    """Run a command and return its wall time."""
    started = time.monotonic()
    subprocess.run(command, capture_output=True, check=True, env=ENVIRON)
    return time.monotonic() - started


ENVIRON = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
ENVIRON.pop("VIRTUAL_ENV", None)


def main() -> None:
    """Let each tool through the same, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--projects", type=int, default=4)
    parser.add_argument("--tools", default="interlock,uv,pip")
    parser.add_argument("--seed", type=int, default=15335, help="of the moments of the kills")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "storms": {}, "kills": {}}
    with tempfile.TemporaryDirectory(prefix="interlock-storm-") as directory:
        ENVIRON["INTERLOCK_CACHE_DIR"] = os.path.join(directory, "cache")
        for tool in arguments.tools.split(","):
            world = make_world(Path(directory), tool, arguments.projects)
            results["machine"]["pip"] = run_text([world.python, "-m", "pip", "--version"]).split()[1]
            results["storms"][tool] = {}
            for name, steps in STORMS.items():
                tell(f"{tool}: {name}")
                results["storms"][tool][name] = storm(world, steps, arguments.seconds)
            tell(f"{tool}: kills")
            chance = random.Random(arguments.seed)
            results["kills"][tool] = {
                name: kill_often(world, arguments.kills // 2, name == "at work on files", chance, tell)
                for name in ("any moment", "at work on files")
            }
    if arguments.format == "json":
        print(json.dumps(results, indent=1, default=vars))
    else:
        print_tables(results)


def tell(line: str) -> None:
    """Show progress, apart from the result."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "interlock": version("interlock"),
        "uv": run_text([UV, "--version"]).split()[1],
    }


def run_text(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def print_tables(results: dict[str, Any]) -> None:
    """Print what people read."""
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    print(f"\n{'readers during':<24}{'installs':>9}{'reads':>9}{'bad':>7}{'retired':>9}{'bad, %':>9}")
    for tool, storms in results["storms"].items():
        for name, one in storms.items():
            reads, bad = one.tally.reads.total(), one.tally.bad.total()
            print(
                f"{tool + ', ' + name:<24}{one.installs:>9}{reads:>9}{bad - one.tally.retired.total():>7}"
                f"{one.tally.retired.total():>9}{100 * bad / reads:>9.2f}"
            )
    heads = ("kills", "broken", "after next run", "left-overs", "next run failed")
    print(f"\n{'SIGKILL of an install':<28}" + "".join(f"{head:>{len(head) + 3}}" for head in heads))
    for tool, moments in results["kills"].items():
        for name, one in moments.items():
            values = (one.kills, one.broken, one.after, one.left_over, one.failed)
            shown = "".join(f"{value:>{len(head) + 3}}" for head, value in zip(heads, values, strict=True))
            print(f"{tool + ', ' + name:<28}" + shown)
    for tool, storms in results["storms"].items():
        for name, one in storms.items():
            print_most(f"{tool}, {name}: the most frequent bad reads", one.tally.bad)
    for tool, moments in results["kills"].items():
        for name, one in moments.items():
            print_most(f"{tool}, SIGKILL, {name}: found at once", one.found)
            print_most(f"{tool}, SIGKILL, {name}: found after the next run", one.problems)


def print_most(title: str, counted: Counter[str]) -> None:
    if counted:
        print(f"\n{title}")
        for what, number in counted.most_common(6):
            print(f"{number:>8}  {what[:110]}")


if __name__ == "__main__":
    main()
