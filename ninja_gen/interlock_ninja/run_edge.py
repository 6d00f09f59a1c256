"""Run the command of one edge to its end, as Ninja does: in a process group of its own, with nothing to read.

Several threads run one each; `end` and `kill` are for all of them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import interlock
from interlock.client import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.client import Job

__all__ = ["EdgeRunner", "words_of"]

# Of `python -I -S edge.py prepare ...`, all but the second word: this interpreter, this interlock.
PROGRAM = [sys.executable, "-S", os.path.join(os.path.dirname(os.path.abspath(interlock.__file__)), "edge.py")]


def words_of(command: bytes) -> list[str] | str:
    """Return the words of a command line, as the shell that Ninja starts would; on Windows it is taken whole."""
    text = command.decode("utf-8", "surrogateescape")
    return text if os.name == "nt" else shlex.split(text)


class EdgeRunner:
    """Starts edges, and knows those that run."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._jobs: set[Job] = set()
        self._guard = threading.Lock()
        self._ending = False

    def run(self, words: Sequence[str] | str, *, cwd: str, env: Mapping[str, str], output: int) -> int:
        """Run a command and return its exit code, 128 and more for a signal; 130 where all are told to end.

        `output` is the descriptor that it prints to.

        Raises:
            OSError: it does not start.
        """
        if (code := self._run_in_worker(words, cwd, env, output)) is not None:
            return code
        with self._guard:
            if self._ending:
                return 128 + signal.SIGINT
            # Groups keep the terminal's interrupt to this process, which passes it on once.
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=None if os.name == "nt" else 0,
            )
            self._running.add(process)
        try:
            code = process.wait()
        finally:
            with self._guard:
                self._running.discard(process)
        return 128 - code if code < 0 else code

    def _run_in_worker(self, words: Sequence[str] | str, cwd: str, env: Mapping[str, str], output: int) -> int | None:
        """Do what the program in the command would do: ask the worker that it would ask; None where it has none."""
        if sys.platform != "linux" or isinstance(words, str) or [words[0], *words[2:4]] != PROGRAM:
            return None
        from interlock.own_worker import submit_edge

        environ = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        with open(os.devnull, "rb") as nothing:
            descriptors = (nothing.fileno(), output, output)
            try:
                job = submit_edge(words[4:], words[1], os.fsencode(cwd), environ, descriptors)
            except OSError:
                job = None
        if job is None:
            return None
        with self._guard:
            self._jobs.add(job)
            if self._ending:
                job.send_signal(_polite())
        try:
            code = job.wait()
        except WorkerLost:
            return None
        finally:
            with self._guard:
                self._jobs.discard(job)
            job.close()
        return 128 - code if code < 0 else code

    def end(self) -> None:
        """Tell all edges to end; none begins any more."""
        with self._guard:
            self._ending = True
            for job in self._jobs:
                job.send_signal(_polite())
            for process in self._running:
                _send(process, _polite())

    def kill(self) -> None:
        """Kill those that still run, with what they have started."""
        with self._guard:
            for job in self._jobs:
                job.kill()
            for process in self._running:
                _send(process, getattr(signal, "SIGKILL", signal.SIGTERM))


def _polite() -> signal.Signals:
    """Return the signal that edges heed: not the one that this process was started to ignore, as they are then too."""
    return signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "nt":
            if number is not signal.SIGINT:  # the console has sent that one to all
                process.kill()
        else:
            os.killpg(process.pid, number)
