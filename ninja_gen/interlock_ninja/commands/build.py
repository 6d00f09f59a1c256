"""Generate what is out of date, then build with the bundled Ninja, whose progress is shown.

TARGET is a name of the graph: `<env>__venv`, `<env>__requirements`, `<project>__editable_install`; none means everything.
With --trace, FILE says afterwards when each edge ran and where its time went, whether the build succeeded or not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from interlock.commands.run import become
from interlock.durable import Disk
from interlock.errors import DiskError, EngineUnavailable, UsageError
from interlock.timings import VARIABLE
from interlock_ninja.current import current_out

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock build`."""
    parser.add_argument("--root", help="the workspace's directory (default: found by walking up from here)")
    parser.add_argument("--strict", action="store_true", help="projects that cannot be read are errors, not warnings")
    parser.add_argument("-j", dest="jobs", metavar="N", type=int, help="edges at once (Ninja's own default otherwise)")
    parser.add_argument("-k", dest="keep_going", metavar="N", type=int, help="go on until N edges have failed; 0: all")
    parser.add_argument("-v", dest="verbose", action="store_true", help="show Ninja's command lines")
    parser.add_argument("--trace", metavar="FILE", help="write a trace of the build, for ui.perfetto.dev")
    parser.add_argument("targets", nargs="*", metavar="TARGET")


def run(arguments: argparse.Namespace) -> int:
    """Generate if needed and become Ninja, or wait for it to write a trace; the exit code is Ninja's."""
    began_ns = time.monotonic_ns()
    disk = Disk(arguments.durability)
    if arguments.trace:
        _check_trace(arguments.trace)
    ninja = ninja_program()
    out = None if arguments.strict else current_out(arguments.root)
    if out is None:
        out = _generate(arguments, disk, ninja)
    command = [ninja, "-C", out]
    command += [f"-j{arguments.jobs}"] if arguments.jobs is not None else []
    command += [f"-k{arguments.keep_going}"] if arguments.keep_going is not None else []
    command += ["-v"] if arguments.verbose else []
    environ = dict(os.environ)
    environ["INTERLOCK_DURABILITY"] = arguments.durability
    if arguments.lock_timeout is not None:
        environ["INTERLOCK_LOCK_TIMEOUT"] = str(arguments.lock_timeout)
    command += arguments.targets
    if arguments.trace:
        return _traced(command, environ, out, os.path.realpath(arguments.trace), began_ns, disk)
    return become(command, environ)


def _generate(arguments: argparse.Namespace, disk: Disk, ninja: str) -> str:
    """Generate, and return the out directory; all that is loaded for it would slow down a build that need not."""
    import threading

    from interlock_ninja.commands.gen import summary, tell, warn
    from interlock_ninja.generate import edge_command, generate, settle

    worker = threading.Thread(target=_start_worker, args=[edge_command()[1]], daemon=True)
    worker.start()
    generated = generate(arguments.root, disk=disk, strict=arguments.strict, progress=tell)
    worker.join()
    warn(generated)
    if generated.changed:
        print(summary(generated, check=False), flush=True)
    settle(generated, ninja)
    return os.path.dirname(generated.build_file)


def _start_worker(isolated: str) -> None:
    """Have the edges' worker started beside the generation: it takes as long as that."""
    if sys.platform == "linux":
        from interlock.own_worker import start_ahead

        start_ahead(isolated)


def ninja_program() -> str:
    """Return the Ninja that was installed with interlock.

    Raises:
        EngineUnavailable: the `ninja` distribution has no program on this platform.
    """
    import ninja

    name = os.path.join(ninja.BIN_DIR, "ninja.exe" if os.name == "nt" else "ninja")
    if not ninja.BIN_DIR or not os.path.exists(name):
        raise EngineUnavailable(
            "the `ninja` distribution that interlock depends on brings no program here",
            advice="Run `interlock gen` and then a Ninja of your own: `ninja -C out`.",
        )
    return name


def _check_trace(path: str) -> None:
    """Refuse before the build what could not be written after it."""
    directory = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        problem = "that is a directory"
    elif os.path.exists(path) and not os.path.isfile(path):
        problem = "that is no file, and would be replaced by one"  # /dev/stdout, /dev/null
    elif not os.path.isdir(directory):
        problem = f"there is no directory {directory}"
    else:
        return
    raise UsageError(
        f"--trace {path}: {problem}", advice="Name a file in a directory that is there: --trace trace.json"
    )


def _traced(command: list[str], environ: dict[str, str], out: str, path: str, began_ns: int, disk: Disk) -> int:
    """Run Ninja, write the trace however it ended, and return its exit code."""
    from interlock_ninja.trace import edge_runs, log_entries, read_spans, trace_text

    # A measurement that somebody asked for himself goes on into his file.
    mine = "" if environ.get(VARIABLE) else os.path.join(os.path.abspath(out), f".interlock-spans-{os.getpid()}")
    spans = mine or os.path.join(os.path.abspath(out), environ[VARIABLE])
    log = os.path.join(out, ".ninja_log")
    before, offset = _content(log), len(_content(spans))
    try:
        started_ns = time.monotonic_ns()
        code = _run_to_the_end(command, {**environ, VARIABLE: spans})
        ended_ns = time.monotonic_ns()
        runs = edge_runs(log_entries(before, _content(log)), read_spans(spans, offset), started_ns)
    finally:
        if mine:
            disk.remove(mine)
    what = " ".join(["interlock", *sys.argv[1:]])
    text = trace_text(runs, began_ns=began_ns, started_ns=started_ns, ended_ns=ended_ns, what=what)
    try:
        disk.publish(path, text.encode("utf-8", "surrogateescape"))
    except DiskError as error:
        if not code:
            raise
        sys.stderr.write(f"interlock: warning: no trace: {error}\n")
        return code
    print(f"trace of {len(runs)} edges in {path}: open it in https://ui.perfetto.dev (it stays on this machine)")
    return code


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as reader:
            return reader.read()
    except FileNotFoundError:
        return b""


def _run_to_the_end(command: list[str], environ: dict[str, str]) -> int:
    """Run Ninja and return its exit code; it decides what an interrupt means, and this process outlives it.

    Edges that are told to end may do so a little after Ninja. They inherit a pipe from it, which is at its end when they are.
    """
    import select
    import subprocess

    from interlock.programs import GRACE

    sys.stdout.flush()
    posix = sys.platform != "win32"
    reader, writer = os.pipe() if posix else (-1, -1)
    try:
        with _passing_on() as children:
            child = subprocess.Popen(command, env=environ, pass_fds=(writer,) if posix else ())
            children.append(child.pid)
            if posix:
                os.close(writer)
                writer = -1
            code = child.wait()
            if code and posix:
                select.select([reader], [], [], GRACE + 1)
    finally:
        for descriptor in (reader, writer):
            if descriptor >= 0:
                os.close(descriptor)
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _passing_on() -> Iterator[list[int]]:
    """Survive signals that end a process: the terminal's interrupt reaches the children too, others are sent on to them.

    A handler, not SIG_IGN, which a child would inherit. What this process was started to ignore stays ignored.
    """
    children: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        for child in () if number == signal.SIGINT and _from_terminal() else children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    try:
        yield children
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _from_terminal() -> bool:
    """Tell whether an interrupt is one that the terminal sends to all that run in its foreground."""
    if sys.platform == "win32":
        return True
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
