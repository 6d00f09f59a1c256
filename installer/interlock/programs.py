"""Run a build backend or an engine: its output kept, its end that of its own process, and no longer life than ours.

What it prints goes to a file without a name. So 50 MB of it are in nobody's memory, and a daemon that it leaves behind, with
the output still open, keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Protocol, Self

from interlock.locks import inherited

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

__all__ = ["LAST_LINES", "Output", "end_running", "go_on", "told_to_end"]

LAST_LINES = 20
LONGEST_LINE = 2000
"""The most characters of a line that are shown, the last ones."""

GRACE = 3.0
"""The seconds that a program has to end by itself, when this process is told to."""

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Running(Protocol):
    """A program that runs: a process of ours, or a job of a worker."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """Kill it."""


_running: set[Running] = set()
_are_ended = threading.Event()


class _Told:
    """Whether an interrupt has come while the main thread starts a program, which is when it has to wait."""

    waits = False
    came = False


class Output:
    """What programs print; a context manager, after which nothing is left of it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def run(self, command: Sequence[str], *, cwd: str | None, env: Mapping[str, str]) -> int:
        """Run a program to its end and return its exit code.

        It inherits the locks that this thread holds: what they guard is what it writes, so they last as long as it does. When
        this process is interrupted or told to end, the program is too, before KeyboardInterrupt goes on.

        Raises:
            OSError: it does not start.
        """
        with told_to_end():
            start = functools.partial(
                subprocess.Popen,
                list(command),
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.STDOUT,
                pass_fds=inherited(),
            )
            return _wait(start)

    def run_hook(self, command: Sequence[str], receipt: str, *, cwd: str, env: Mapping[str, str]) -> int:
        """Run a hook as `run` does, by a worker if there can be one for the build environment with this receipt.

        Where the worker is lost, the hook runs once more: what it began to write lies in a directory that is given to it anew.
        """
        if sys.platform != "linux":  # what workers are made of is not there to be imported (Windows)
            return self.run(command, cwd=cwd, env=env)
        from interlock.backend_worker import WorkerLost, submit_hook

        with told_to_end(), open(os.devnull, "rb") as nothing:
            out = self._file.fileno()
            descriptors = (nothing.fileno(), out, out, *inherited())
            job = submit_hook(command, receipt, cwd=cwd, environ=env, descriptors=descriptors)
            if job is not None:
                try:
                    return _wait(lambda: job)
                except WorkerLost:
                    self._file.seek(0)
                    self._file.truncate()
                finally:
                    job.close()
        return self.run(command, cwd=cwd, env=env)

    def text(self) -> str:
        """Return all of it."""
        self._file.seek(0)
        return self._file.read().decode("utf-8", "replace")

    def last_lines(self) -> str:
        """Return the last lines for a message, each on a line of its own and indented, and how many were before them."""
        lines: deque[str] = deque(maxlen=LAST_LINES)
        count = blank = 0
        for line in self._lines():
            if not line.strip():
                blank += 1 if count else 0  # none before the first line, none after the last
                continue
            lines.extend([""] * min(blank, LAST_LINES))
            lines.append(line)
            count, blank = count + blank + 1, 0
        shown = [f"... ({count - LAST_LINES} lines before these)"] if count > LAST_LINES else []
        return "".join(f"\n    {line}" for line in (*shown, *lines)) or "\n    (no output)"

    def _lines(self) -> Iterator[str]:
        """Yield the lines without their ends, of a long one the last part."""
        self._file.seek(0)
        reader = io.TextIOWrapper(self._file, encoding="utf-8", errors="replace")
        try:
            line = ""
            while part := reader.readline(LONGEST_LINE):
                # A part is the end of a line, or as long as it may be.
                line = part if not line else f"...{(line + part)[-LONGEST_LINE:]}"
                if part.endswith("\n"):
                    yield line[:-1]
                    line = ""
            if line:
                yield line
        finally:
            reader.detach()


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt what is done in the block, as SIGINT does; other threads have no say in that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal that the caller of this process has it ignore (nohup) stays ignored.
    usual = (signal.SIG_DFL, signal.default_int_handler)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
    previous = {number: handler for number, handler in handlers.items() if handler in usual}
    for number in previous:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    if not _Told.waits:
        raise KeyboardInterrupt
    _Told.came = True


@contextlib.contextmanager
def _told_later() -> Iterator[None]:
    """Let an interrupt wait for the end of the block: a program that is there, and nobody knows of, would never be ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Told.came, _Told.waits = False, True
    try:
        yield
    finally:
        _Told.waits = False
        if _Told.came:
            raise KeyboardInterrupt


def go_on() -> None:
    """Let programs run again, when no thread is left of those whose programs were ended."""
    _are_ended.clear()


def end_running() -> None:
    """End the programs that other threads run: an interrupt reaches the main thread alone."""
    _are_ended.set()
    _end(list(_running))


def _wait(start: Callable[[], Running]) -> int:
    started: list[Running] = []
    try:
        with _told_later():
            started.append(process := start())
        _running.add(process)
        if _are_ended.is_set():  # it was started at the moment in which all others were told to end
            process.kill()
        return process.wait()
    except KeyboardInterrupt:
        _end(started)
        raise
    finally:
        _running.difference_update(started)


def _end(processes: Collection[Running]) -> None:
    """End programs: ask all, wait, and kill those that do not listen."""
    end = time.monotonic() + GRACE
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(max(0.0, end - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError, ConnectionError, KeyboardInterrupt):
        pass
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            # A worker may have ended, and its jobs with it; or it is stopped, and does that when it goes on.
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                process.wait(GRACE)
