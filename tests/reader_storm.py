"""Readers of an environment that take no lock, for a storm of installs: what they read, and what of it was wrong.

A library for the driver, and the program that an environment's own python runs as one of the readers; standard library
only, and nothing is read twice: what was wrong once, is counted.

What reads `importlib.metadata` lists a directory first and opens files afterwards. Where the dist-info directory that was
listed has left as a whole by then, because another version took its place, a bad read says "retired": no installer can
keep that from a reader without a lock. Everything else that is bad is the installer's.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import itertools
import json
import os
import runpy
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RETIRED = "retired, "
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


@dataclass(frozen=True)
class Subject:
    """One project that the storm changes; `script` is a console script and prints `output`."""

    name: str
    module: str
    versions: tuple[str, ...]
    script: str
    output: str


@dataclass
class Tally:
    """How many reads there were of each kind, and each thing that was wrong with how often it was."""

    reads: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.reads.update(other.reads)
        self.bad.update(other.bad)

    @property
    def retired(self) -> Counter[str]:
        """What was wrong because a directory had left between two steps of one read."""
        return Counter({what: number for what, number in self.bad.items() if what.startswith(RETIRED)})


# What the environment's python does


class Wrong(Exception):
    """A reader found something that cannot be."""


def read_once(subjects: Sequence[Subject], site_packages: str, tally: Tally) -> None:
    """Do each kind of read once for each project."""
    importlib.invalidate_caches()
    for subject in subjects:
        for kind, read in READS.items():
            tally.reads[kind] += 1
            _gone.clear()
            try:
                read(subject, site_packages)
            except Exception as error:  # noqa: BLE001  whatever a reader is told is what is counted
                tally.bad[f"{RETIRED if _gone else ''}{kind}: {type(error).__name__}: {error}"] += 1


_gone: list[str] = []  # what the read at hand has opened in a directory that was listed, and is there no more


def watch_reads() -> None:
    """Note what `importlib.metadata` does not find, where not even the directory is there any more.

    The directory is open meanwhile: another one that has come in its place by the time of the look is not taken for it.
    """
    original = importlib.metadata.PathDistribution.read_text

    def read_text(self: importlib.metadata.PathDistribution, filename: str) -> str | None:
        path = str(self._path)
        try:
            directory = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            _gone.append(filename)
            return None
        try:
            text = original(self, filename)
            if text is None and not is_at(directory, path):
                _gone.append(filename)
            return text
        finally:
            os.close(directory)

    importlib.metadata.PathDistribution.read_text = read_text


def is_at(descriptor: int, path: str) -> bool:
    """Tell whether what is open is still what a path leads to."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def read_listing(subject: Subject, site_packages: str) -> None:
    """The directory alone: one distribution, or two while another version comes; never none."""
    found = [name for name in os.listdir(site_packages) if name.startswith(f"{subject.module}-")]
    if not 1 <= len(found) <= 2:
        raise Wrong(f"{len(found)} dist-info directories")


def read_half(subject: Subject, site_packages: str) -> None:
    """Every dist-info that is listed is whole for as long as it is there."""
    for name in os.listdir(site_packages):
        if name.startswith(f"{subject.module}-"):
            path = os.path.join(site_packages, name)
            try:
                directory = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # it has left as a whole: the read of "version" counts that
            try:
                missing = {"METADATA", "RECORD", "INSTALLER", "entry_points.txt"} - set(os.listdir(directory))
                if missing and is_at(directory, path):
                    raise Wrong(f"a dist-info without {', '.join(sorted(missing))}")
            finally:
                os.close(directory)


def read_version(subject: Subject, site_packages: str) -> None:
    version = importlib.metadata.version(subject.name)
    if version not in subject.versions:
        raise Wrong(f"version {version}")


def read_files(subject: Subject, site_packages: str) -> None:
    files = importlib.metadata.files(subject.name)
    if not files:
        raise Wrong("no files")


def read_requires(subject: Subject, site_packages: str) -> None:
    requires = importlib.metadata.requires(subject.name)
    if not requires:
        raise Wrong("no requirements")


def read_entry_point(subject: Subject, site_packages: str) -> None:
    found = importlib.metadata.entry_points(group="console_scripts", name=subject.script)
    if not found:
        raise Wrong("no entry point")
    for one in found:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            one.load()()
        if output.getvalue().strip() != subject.output:
            raise Wrong(f"entry point said {output.getvalue()!r}")


def read_import(subject: Subject, site_packages: str) -> None:
    sys.modules.pop(subject.module, None)
    importlib.import_module(subject.module)


READS: dict[str, Callable[[Subject, str], None]] = {
    "listing": read_listing,
    "half": read_half,
    "version": read_version,
    "files": read_files,
    "requires": read_requires,
    "entry point": read_entry_point,
    "import": read_import,
}


def main() -> None:
    """Read until standard input is closed, or once; print the tally."""
    if sys.argv[1:] == ["pip list"]:
        pip_list()
    mode, site_packages, text = sys.argv[1:]
    subjects = [Subject(**{**one, "versions": tuple(one["versions"])}) for one in json.loads(text)]
    tally, done = Tally(), threading.Event()
    watch_reads()
    if mode == "until told":
        threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    while True:
        read_once(subjects, site_packages, tally)
        if done.is_set() or mode == "once":
            break
    print(json.dumps({"reads": tally.reads, "bad": tally.bad}))


def pip_list() -> None:
    """Be `pip list --format json`, and say on stderr what it listed and then did not find."""
    watch_reads()
    sys.argv[1:] = ["list", "--format", "json"]
    try:
        runpy.run_module("pip", run_name="__main__")
    finally:
        if _gone:
            sys.stderr.write(f"\n{RETIRED}{_gone}\n")


# What the driver does


class Readers:
    """Readers at work: long-lived processes, fresh interpreters, console scripts, `pip list` and `uv pip list`."""

    def __init__(self, environment: Path, subjects: Sequence[Subject], *, long_lived: int = 1, uv: str = "") -> None:
        self.environment, self.subjects, self.long_lived, self.uv = environment, subjects, long_lived, uv
        self.python = str(environment / SCRIPTS / "python")
        self.programs = 0  # that have read and ended
        self.tally, self.done, self.guard = Tally(), threading.Event(), threading.Lock()
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site_packages = subprocess.run([self.python, "-c", ask], capture_output=True, text=True).stdout.strip()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Tally]:
        """Read for the length of a `with` block; the tally is complete after it."""
        lasting = [self._lasting() for _ in range(self.long_lived)]
        programs = threading.Thread(target=self._repeat)
        programs.start()
        try:
            yield self.tally
        finally:
            self.done.set()
            for process in lasting:
                out, err = process.communicate()
                self._take("long-lived", process.returncode, out, err)
            programs.join()

    def _lasting(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self._reader("until told"), stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def _reader(self, mode: str) -> list[str]:
        listed = json.dumps([asdict(subject) for subject in self.subjects])
        return [self.python, "-I", os.path.abspath(__file__), mode, self.site_packages, listed]

    def _programs(self) -> list[Callable[[], None]]:
        quick = [self._fresh, self._scripts] + ([self._uv_list] if self.uv else [])
        return [*quick * 4, self._pip_list]  # which takes as long as all others

    def _repeat(self) -> None:
        for read in itertools.cycle(self._programs()):
            read()
            self.programs += 1
            if self.done.is_set():
                break

    def _take(self, kind: str, code: int, out: str, err: str) -> None:
        with self.guard:
            self.tally.reads[f"{kind} process"] += 1
            # A .pth file that cannot be read is a complaint of `site`, and not a failure.
            if code or err:
                last = (err.strip().splitlines() or [""])[-1]
                self.tally.bad[f"{kind} process: exit code {code}, {last}"] += 1
            if code == 0:
                self.tally.add(Tally(**{key: Counter(value) for key, value in json.loads(out).items()}))

    def _fresh(self) -> None:
        result = subprocess.run(self._reader("once"), capture_output=True, text=True)
        self._take("fresh", result.returncode, result.stdout, result.stderr)

    def _count(self, kind: str, problem: str, gone: str = "") -> None:
        with self.guard:
            self.tally.reads[kind] += 1
            if problem:
                self.tally.bad[f"{gone}{kind}: {problem.replace(str(self.environment), '<environment>')}"] += 1

    def _scripts(self) -> None:
        for subject in self.subjects:
            program = str(self.environment / SCRIPTS / subject.script)
            try:
                result = subprocess.run([program], capture_output=True, text=True)
            except OSError as error:
                self._count("console script", f"{type(error).__name__}: {error.strerror}")
                continue
            said = result.stdout.strip() == subject.output and not result.stderr
            last = (result.stderr.strip().splitlines() or [result.stdout])[-1]
            self._count("console script", "" if said else f"exit code {result.returncode}, {last}")

    def _pip_list(self) -> None:
        self._listed("pip list", [self.python, "-I", os.path.abspath(__file__), "pip list"])

    def _uv_list(self) -> None:
        self._listed("uv pip list", [self.uv, "pip", "list", "--format", "json", "-p", self.python])

    def _listed(self, kind: str, command: list[str]) -> None:
        environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        result = subprocess.run(command, capture_output=True, text=True, env=environ)
        said = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("Using Python")]
        gone = RETIRED if said and said[-1].startswith(RETIRED) else ""
        said = [line for line in said if not line.startswith(RETIRED)]
        last = said[-1] if said else ""
        listed = [(one["name"], one["version"]) for one in json.loads(result.stdout or "[]")]
        for subject in self.subjects:
            versions = {version for name, version in listed if name == subject.name}
            wrong = "" if versions and versions <= set(subject.versions) else f"versions {sorted(versions)}"
            if result.returncode:
                wrong = f"exit code {result.returncode}"
            self._count(kind, f"{wrong} {last}".strip(), gone)


def wait_for(seconds: float, writers: Sequence[threading.Thread], enough: Callable[[], bool]) -> None:
    """Wait so long and until it is enough, but no longer than the writers are at work: one that ended early has failed."""
    end = time.monotonic() + seconds
    while (time.monotonic() < end or not enough()) and all(writer.is_alive() for writer in writers):
        time.sleep(0.05)


if __name__ == "__main__":
    main()
