"""The clients of a worker, and the processes that it forks for them. Part of `_worker_script`: any Python since 3.8."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

    from interlock._worker_programs import Program

__all__ = ["BEGUN", "GUARDED", "REFUSED", "Client", "Start", "run_job", "run_jobs"]

HEADER = 8
LARGEST_REQUEST = 1 << 26
MOST_DESCRIPTORS = 64
LONGEST_REPLY = 2000
BEGUN = b"+"
REFUSED = b"!"
OUTPUT_LOST = 120
"""What Python exits with where its last output cannot be written."""

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
GUARDED = (*PASSED_ON, signal.SIGCHLD)
"""The signals that mean something to the worker itself; between two jobs nobody's process hears them."""


class Start:
    """How the worker was when it started, which is how its client is: each job is to start like that."""

    def __init__(self) -> None:
        handlers = ((number, signal.getsignal(number)) for number in GUARDED)
        self.handlers = {number: handler for number, handler in handlers if handler is not None}
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.exit_handlers = atexit._ncallbacks()
        # Nobody writes to it. The worker alone has the one end, so when it is killed, who has the other end learns of it.
        self.lifeline, self.end_of_lifeline = os.pipe()


class Client:
    """A connection: first its request arrives, then a job runs for it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.data = b""
        self.descriptors: list[int] = []
        self.request = b""
        self.fields: list[bytes] = []
        self.pid = 0
        self.has_begun = False
        self.is_answered = False
        self.tries = 0
        self.signals: list[int] = []

    def receive(self) -> bool:
        """Take what has arrived: a part of the request, or signals for the job; False when the client is gone.

        Raises:
            ValueError: it is no request.
        """
        try:
            data, ancillary, flags, _ = self.connection.recvmsg(
                1 << 16, socket.CMSG_SPACE(4 * MOST_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return True
        except OSError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                ends = range(4, len(content) + 1, 4)
                self.descriptors += [int.from_bytes(content[end - 4 : end], sys.byteorder) for end in ends]
        if flags & socket.MSG_CTRUNC:
            raise ValueError("too many files are open")
        self.data += data
        if not self.fields and len(self.data) >= HEADER:
            end = HEADER + int(self.data[:HEADER], 16)
            if end > LARGEST_REQUEST:
                raise ValueError("too large a request")
            if len(self.data) >= end:
                self.request, self.data = self.data[:end], self.data[end:]
                self.fields = self.request[HEADER:].split(b"\0")
        if self.fields:
            for number in self.data:
                self.signal(number)
            self.data = b""
        return bool(data)

    @property
    def is_urgent(self) -> bool:
        """Whether its job comes before others that wait."""
        return len(self.fields) > 1 and bool(self.fields[1])

    def signal(self, number: int) -> None:
        """Send a signal to the job, when that has begun; one that still waits for its turn ends by it."""
        if not self.pid:
            self.reply(str(-number))
        elif self.has_begun or number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
        else:
            self.signals.append(number)

    def begin(self) -> None:
        """Note that its process runs its job: what was sent to that, and what it has open, is the process's alone."""
        self.has_begun = True
        self.let_go()
        for number in self.signals:
            self.signal(number)
        self.signals = []

    def reply(self, line: str) -> None:
        """Send the last line that the client hears."""
        self.pass_on(line.replace("\n", " ")[:LONGEST_REPLY].encode("utf-8", "replace"))

    def pass_on(self, line: bytes) -> None:
        """Send a line as it is; the first one is the answer, and nobody reads another."""
        if not self.is_answered:
            self.is_answered = True
            with contextlib.suppress(OSError):
                self.connection.send(line + b"\n")

    def close(self) -> None:
        """Let go of it: a job that still runs has nobody to run for."""
        if self.pid:
            self.signal(signal.SIGKILL)
        self.let_go()
        self.connection.close()

    def let_go(self) -> None:
        """Close what it has sent: a build tool waits until nobody has its pipes open."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


def run_job(client: Client, program: Program, start: Start) -> NoReturn:
    """Be the process that the client asked for. Runs in a child, its guarded signals blocked, and never returns."""
    try:
        lifeline = _hold_on(start)
        words = _put_on(client, client.descriptors[3:], start, lifeline)
    except (OSError, ValueError) as error:
        client.reply(f"!{error}")
        os._exit(1)
    code = _perform(words, program, start)
    with contextlib.suppress(OSError):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, 0)  # what it leaves running is nobody's any more
    os._exit(code)


def run_jobs(channel: socket.socket, program: Program, start: Start) -> NoReturn:
    """Be the process that one client after another asked for, as the worker sends them, until one of them fails.

    Its memory is its own after the first: a page that is shared with the worker costs a fault and a copy when it is written to,
    and Python writes to nearly each that it uses. A job that leaves a thread or an exit handler behind is the last one.
    """
    channel.setblocking(True)
    lifeline = -1
    while True:
        client = Client(channel)
        while not client.fields:
            if not client.receive():
                os._exit(0)
        try:
            lifeline = _hold_on(start) if lifeline < 0 else lifeline
            words = _put_on(client, [channel.fileno()], start, lifeline)
        except (OSError, ValueError) as error:
            client.reply(f"!{error}")
            os._exit(1)
        channel.sendall(BEGUN + b"\n")
        if code := _perform(words, program, start):
            os._exit(code)
        _put_off()
        client.reply("0")


def _hold_on(start: Start) -> int:
    """Let the kernel kill this process, and all of its group, when the worker is no more: its client then starts again.

    The signal is that of a pipe whose other end is closed (fcntl(2), F_SETSIG). Returns the descriptor that has to stay open.
    """
    os.setpgid(0, 0)
    descriptor = os.open(f"/proc/self/fd/{start.lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    os.close(start.end_of_lifeline)
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 1)
        os._exit(1)  # it has ended already
    return descriptor


def _perform(words: list[str], program: Program, start: Start) -> int:
    """Run the program and return its exit code, as the interpreter would; its output is flushed."""
    interrupted = False
    code = 1
    try:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, start.mask)
            code = program.run(words)
        except SystemExit as stop:
            code = _exit_code(stop.code)
        except BaseException as error:  # noqa: BLE001  as the interpreter does
            error = error.with_traceback(_without_our_frames(error.__traceback__))
            sys.excepthook(type(error), error, error.__traceback__)
            interrupted = isinstance(error, KeyboardInterrupt)
        code = _finish(code, program, start)
        signal.pthread_sigmask(signal.SIG_BLOCK, GUARDED)
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    return code & 0xFF


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that a new process would show."""
    while trace is not None and os.path.basename(trace.tb_frame.f_code.co_filename).startswith("_worker_"):
        trace = trace.tb_next
    return trace


def _finish(code: int, program: Program, start: Start) -> int:
    """Do what the interpreter does at its end and os._exit does not: threads, exit handlers, the output.

    A process that goes on to the next job does it where there is something to do, and then ends with this one.
    """
    threading = sys.modules.get("threading")
    threads = threading is not None and threading.active_count() > 1
    last = program.has_one_use or code != 0 or threads or atexit._ncallbacks() > start.exit_handlers
    if last:
        for end in (getattr(threading, "_shutdown", None), atexit._run_exitfuncs):
            with contextlib.suppress(Exception, SystemExit):
                if end is not None:
                    end()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):
            code, last = OUTPUT_LOST, True
    if last and not program.has_one_use:
        os._exit(code & 0xFF)
    return code


def _put_on(client: Client, kept: list[int], start: Start, lifeline: int) -> list[str]:
    """Take on what the client has sent of itself, and nothing else; return the words of its command line.

    Of what else is open, `kept` stays.
    """
    _, _, cwd, mask, descriptors, count, *rest = client.fields
    if len(client.descriptors) != int(descriptors):
        raise ValueError("not all that is to be open has arrived")
    signal.set_wakeup_fd(-1)
    for number, handler in start.handlers.items():
        signal.signal(number, signal.SIG_IGN)  # what has come for an earlier job is forgotten
        signal.signal(number, handler)
    os.chdir(cwd)
    os.umask(int(mask, 8))
    words, variables = rest[: int(count)], rest[int(count) :]
    os.environb.clear()
    os.environb.update((name, value) for name, _, value in (pair.partition(b"=") for pair in variables))
    for standard, descriptor in enumerate(client.descriptors[:3]):
        os.dup2(descriptor, standard)
    previous = 2
    for descriptor in [*sorted({*kept, lifeline}), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]:
        os.closerange(previous + 1, descriptor)
        previous = descriptor
    resource.setrlimit(resource.RLIMIT_NOFILE, start.descriptors)
    for descriptor in client.descriptors[3:]:
        os.set_inheritable(descriptor, True)
    if sys.stdout is not None and not getattr(sys.stdout, "write_through", False):
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    return [os.fsdecode(word) for word in words]


def _put_off() -> None:
    """Let go of what the client sent: it is not to wait for the next one."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.chdir("/")
    tempfile.tempdir = None


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    sys.stderr.write(f"{code}\n")
    return 1
