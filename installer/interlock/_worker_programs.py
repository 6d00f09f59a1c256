"""What workers run: commands of interlock, or hooks of a build backend. Part of `_worker_script`: any Python since 3.8."""

from __future__ import annotations

import abc
import builtins
import contextlib
import importlib
import importlib.machinery
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["KNOWN", "Backend", "Own", "Program"]

_SETUPTOOLS = (
    "setuptools",
    "pkg_resources",
    "distutils",
    "_distutils_hack",
    "wheel",
    "packaging",
    "jaraco",
    "more_itertools",
)
KNOWN = {
    "setuptools.build_meta": _SETUPTOOLS,
    "setuptools.build_meta:__legacy__": _SETUPTOOLS,
    "hatchling.build": ("hatchling", "pathspec", "pluggy", "packaging", "trove_classifiers", "editables"),
    "flit_core.buildapi": ("flit_core",),
    "poetry.core.masonry.api": ("poetry",),
    "pdm.backend": ("pdm",),
    "uv_build": ("uv_build",),
}
"""The backends that a worker loads, and the packages that are theirs: plugins, of whoever, are not loaded here."""

MOST_OPEN = 1024
"""More files than a worker has open while it loads."""

LONGEST_TRIAL = 20.0
"""The seconds that a build of the made-up project may take."""

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")

MADE_UP = """\
[build-system]
requires = []
build-backend = "{backend}"

[project]
name = "made-up"
version = "1.0"
description = "nothing"
requires-python = ">=3.8"
dependencies = ["another>=1; python_version > '3'"]

[project.optional-dependencies]
more = ["another[extra]"]

[project.scripts]
made-up = "made_up:main"
"""


class Program(abc.ABC):
    """What a worker runs; `refusal` says why it cannot, if it cannot."""

    name = ""
    width = 1
    """How many jobs there are for a processor."""
    refusal = ""
    has_one_use = True
    """Whether a process runs one job, or goes on to the next where that left nothing in it."""

    def __init__(self) -> None:
        self.before: dict[str, tuple[int, int, int]] = {}

    @abc.abstractmethod
    def load(self) -> None:
        """Load the code."""

    def watch(self, paths: Iterable[str]) -> None:
        """Note what changes when what is loaded changes."""
        self.before.update((path, _written(path)) for path in paths)

    def is_stale(self) -> bool:
        """Tell whether a new process would run other code by now."""
        return any(_written(path) != before for path, before in self.before.items())

    @abc.abstractmethod
    def run(self, words: list[str]) -> int:
        """Run it, in a child, and return its exit code."""


class Own(Program):
    """The commands of interlock."""

    name = "interlock"
    has_one_use = False
    width = 2  # much of their time they wait, for a backend or for the disk

    def __init__(self) -> None:
        super().__init__()
        # Of a process that runs many jobs the time is that of all of them.
        self.has_one_use = resource.getrlimit(resource.RLIMIT_CPU)[0] != resource.RLIM_INFINITY

    def load(self) -> None:
        importlib.import_module("interlock.preload")
        files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
        self.watch(path for path in files if path.startswith(INSIDE))
        # Of other people's packages the directory: an installer puts new files in the place of old ones.
        others = {path for path in files if "-packages" in path and not path.startswith(INSIDE)}
        self.watch({path if os.path.dirname(path) in sys.path else os.path.dirname(path) for path in others})

    def run(self, words: list[str]) -> int:
        from interlock.cli import main

        sys.argv = ["interlock", *words]
        return main(words)


class Backend(Program):
    """The hooks of one build backend, in a build environment that never changes."""

    def __init__(self, hooks: str, backend: str, watched: str) -> None:
        super().__init__()
        self.hooks, self.name = hooks, backend
        self.watch(
            [watched, hooks, sys.executable, *(f"{INSIDE}_worker_{name}.py" for name in ("jobs", "programs", "server"))]
        )

    def load(self) -> None:
        if not getattr(sys.flags, "safe_path", False):
            sys.path.insert(0, os.path.dirname(self.hooks))
        for name in _modules_of_a_build(self.name):
            with contextlib.suppress(Exception):
                __import__(name)
        if len(os.listdir("/proc/self/task")) > 1:
            self.refusal = f"{self.name} has threads when it is loaded"
        with open(self.hooks, "rb") as reader:
            self.code = compile(reader.read(), self.hooks, "exec", dont_inherit=True)

    def run(self, words: list[str]) -> int:
        main = types.ModuleType("__main__")
        loader = importlib.machinery.SourceFileLoader("__main__", self.hooks)
        main.__dict__.update(__file__=self.hooks, __loader__=loader, __builtins__=builtins)
        usual = vars(sys.modules["__main__"])  # of a script, by this version of Python
        main.__dict__.update(
            (name, value) for name, value in (("__annotations__", {}), ("__cached__", None)) if name in usual
        )
        sys.argv, sys.modules["__main__"] = words, main
        exec(self.code, main.__dict__)  # noqa: S102  it is a script
        return 0


def _written(path: str) -> tuple[int, int, int]:
    """Return what changes when a file is written again."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _modules_of_a_build(backend: str) -> Iterator[str]:
    """Yield the modules that a backend has loaded after a build, in their order, as far as they are its own or Python's.

    A child builds the made-up project, so that no trace of a build is left in the worker but what is loaded.
    """
    read, write = os.pipe()
    directory = tempfile.mkdtemp(prefix="interlock-worker-")
    tempfile.tempdir = None  # each job finds its own
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        # Not the socket: while this worker loads, who waits there is to learn if it dies.
        os.closerange(3, write)
        os.closerange(write + 1, write + MOST_OPEN)
        try:
            os.write(write, "\n".join(_build(backend, directory)).encode())
        finally:
            os._exit(0)
    os.close(write)
    names = b""
    while select.select([read], [], [], LONGEST_TRIAL)[0]:
        part = os.read(read, 1 << 16)
        if not part:
            break
        names += part
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    os.close(read)
    os.waitpid(pid, 0)
    shutil.rmtree(directory, ignore_errors=True)
    yield from names.decode().split()


def _build(backend: str, directory: str) -> list[str]:
    """Build the made-up project in an empty directory, and return which modules that has loaded."""
    before = set(sys.modules)
    package = os.path.join(directory, "src", "made_up")
    os.makedirs(package)
    for path, text in (
        (os.path.join(directory, "pyproject.toml"), MADE_UP.format(backend=backend)),
        (os.path.join(package, "__init__.py"), '"""Nothing."""\n'),
    ):
        with open(path, "w", encoding="utf-8") as writer:
            writer.write(text)
    os.chdir(directory)
    name, _, attribute = backend.partition(":")
    hooks = importlib.import_module(name)
    hooks = getattr(hooks, attribute) if attribute else hooks
    with contextlib.suppress(Exception, SystemExit):
        hooks.get_requires_for_build_editable({})
        hooks.build_editable(directory, {}, None)
    own = KNOWN[backend]
    return [name for name in sys.modules if name not in before and (name.split(".")[0] in own or _is_pythons(name))]


def _is_pythons(name: str) -> bool:
    """Tell whether a module comes with Python."""
    path = getattr(sys.modules[name], "__file__", None)
    if path is None:
        return name in sys.builtin_module_names
    return os.path.realpath(path).startswith(os.path.dirname(os.path.realpath(os.__file__))) and "-packages" not in path
