"""Run the command of one edge to its end, as Ninja does: in a process group of its own, with nothing to read.

Several threads run one each; `end` and `kill` are for all of them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EdgeRunner", "words_of"]


def words_of(command: bytes) -> list[str] | str:
    """Return the words of a command line, as the shell that Ninja starts would; on Windows it is taken whole."""
    text = command.decode("utf-8", "surrogateescape")
    return text if os.name == "nt" else shlex.split(text)


class EdgeRunner:
    """Starts edges, and knows those that run."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._ending = False

    def run(self, words: Sequence[str] | str, *, cwd: str, env: Mapping[str, str], output: int) -> int:
        """Run a command and return its exit code, 128 and more for a signal; 130 where all are told to end.

        `output` is the descriptor that it prints to.

        Raises:
            OSError: it does not start.
        """
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

    def end(self) -> None:
        """Tell all edges to end; none begins any more."""
        with self._guard:
            self._ending = True
            for process in self._running:
                _send(process, _polite())

    def kill(self) -> None:
        """Kill those that still run, with what they have started."""
        with self._guard:
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
