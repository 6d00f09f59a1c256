"""The worker of interlock's own edges, as its client sees it. Imports as little as `client`, for the same reason."""

import sys

from interlock import __version__
from interlock.client import Job, Worker, is_wanted, ready, submit

TYPE_CHECKING = False

__all__ = ["COMMANDS", "own_worker", "run_in_worker", "start_ahead", "submit_edge"]

COMMANDS = frozenset({"editable", "install", "prepare"})
"""The commands that there are many of; each of the others runs once in a build."""

# What the C library and the interpreter read when they start, so that no worker can be told later.
AT_START = (
    *(b"LANG", b"LC_", b"LD_", b"LOCPATH", b"GCONV_PATH", b"TZ", b"MALLOC_", b"GLIBC_", b"OPENSSL_", b"PYTHON"),
    *(b"PATH", b"HOME", b"INTERLOCK_WORKER"),
)

INTERRUPTED = 130
ENDS_WITHIN = 10.0
"""The seconds that a job has to end by itself when it is told to; what it has started has fewer (`programs`)."""

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def own_worker(environ: "Mapping[bytes, bytes]", isolated: str) -> Worker:
    """Return the worker that has this version of interlock loaded, in this interpreter, started with -I or -P."""
    import posix

    here = __file__.rpartition("/")[0]
    executable = posix.stat(sys.executable)
    start = {name: value for name, value in environ.items() if name.startswith(AT_START)}
    key = [
        b"own",
        __version__.encode(),
        f"{here}\0{sys.executable}\0{executable.st_ino}\0{executable.st_mtime_ns}\0{isolated}".encode(
            "utf-8", "surrogateescape"
        ),
        *(name + b"=" + value for name, value in sorted(start.items())),
    ]
    command = [sys.executable, isolated, f"{here}/_worker_script.py", "own"]
    return Worker(command, start, key)


def run_in_worker(words: list[str]) -> None:
    """Let the worker run an edge, and end this process as that ends; return where there is no worker for it."""
    import posix

    try:
        isolated = "-I" if sys.flags.isolated else "-P"
        job = submit_edge(words, isolated, posix.getcwdb(), posix.environ, (0, 1, 2))
        if job is not None:
            _end_as(_wait(job))
    except KeyboardInterrupt:  # nothing was begun, or the worker ends it
        sys.stderr.write("interlock: error: interrupted; nothing is left half-done\n")
        posix._exit(INTERRUPTED)
    except OSError:
        pass  # no worker, or one that was killed: the edge runs here, from its start; what was begun is safe to repeat


def start_ahead(isolated: str) -> None:
    """Have the worker get ready while the build that will ask for it is still being written."""
    import posix

    try:
        if is_wanted(posix.environ):
            ready(own_worker(posix.environ, isolated), posix.environ)
    except OSError:
        pass  # edges find out by themselves


def submit_edge(
    words: "Sequence[str]", isolated: str, cwd: bytes, environ: "Mapping[bytes, bytes]", descriptors: "Sequence[int]"
) -> Job | None:
    """Let the worker run a command of interlock; None where there is no worker for it.

    Raises:
        OSError: a worker cannot be had here and now.
    """
    if not words or words[0] not in COMMANDS or not is_wanted(environ) or any(_is_own(word) for word in words):
        return None
    arguments = [word.encode("utf-8", "surrogateescape") for word in words]
    worker = own_worker(environ, isolated)
    return submit(worker, arguments, cwd=cwd, environ=environ, descriptors=descriptors, urgent=words[0] == "install")


def _is_own(word: str) -> bool:
    """Tell whether a word leads to what this process alone has: an open file (`--labels <(...)`), its terminal."""
    return "/dev/fd/" in word or "/dev/tty" in word or "/proc/" in word


def _wait(job: Job) -> int:
    """Wait for a job, and hand on the signals that would end this process.

    The first one is an interrupt here too: a worker that is stopped itself (SIGSTOP) hands on nothing, and says nothing.
    """
    import _signal  # type: ignore[import-not-found]  # signal loads enum

    told: list[int] = []

    def hand_on(received: int, _: object) -> None:
        job.send_signal(received)
        told.append(received)
        if len(told) == 1:
            raise KeyboardInterrupt

    handlers = {number: _signal.getsignal(number) for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)}
    try:
        for number, handler in handlers.items():
            if handler != _signal.SIG_IGN:
                _signal.signal(number, hand_on)
        return job.wait()
    except KeyboardInterrupt:
        if not told:
            raise
        try:
            return job.wait(ENDS_WITHIN)
        except TimeoutError:
            job.close()
            return -told[0]
    finally:
        for number, handler in handlers.items():
            _signal.signal(number, handler)


def _end_as(code: int) -> None:
    """End this process: with an exit code, or by a signal."""
    import posix

    if code < 0:
        import _signal

        try:  # noqa: SIM105  contextlib is not loaded
            _signal.signal(-code, _signal.SIG_DFL)
        except OSError:
            pass  # SIGKILL
        posix.kill(posix.getpid(), -code)
    posix._exit(code & 0xFF)
