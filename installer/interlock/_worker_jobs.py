"""The clients of a worker, and the processes that it forks for them. Part of `_worker_script`: any Python since 3.8."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from interlock._worker_programs import Program

__all__ = ["Client", "run_job", "run_jobs"]

HEADER = 8
LARGEST_REQUEST = 1 << 26
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Client:
    """A connection: first its request arrives, then a job runs for it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.data = b""
        self.descriptors: list[int] = []
        self.request = b""
        self.fields: list[bytes] = []
        self.pid = 0

    def receive(self) -> bool:
        """Take what has arrived: a part of the request, or signals for the job; False when the client is gone."""
        try:
            data, ancillary, _, _ = self.connection.recvmsg(
                1 << 16, socket.CMSG_SPACE(256), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            )
        except BlockingIOError:
            return True
        except OSError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                ends = range(4, len(content) + 1, 4)
                self.descriptors += [int.from_bytes(content[end - 4 : end], sys.byteorder) for end in ends]
        self.data += data
        if not self.fields and len(self.data) >= HEADER:
            end = HEADER + int(self.data[:HEADER], 16)
            if end > LARGEST_REQUEST:
                return False
            if len(self.data) >= end:
                self.request, self.data = self.data[:end], self.data[end:]
                self.fields = self.request[HEADER:].split(b"\0")
        if self.fields:
            for number in self.data:
                self.signal(number)
            self.data = b""
        return bool(data)

    def signal(self, number: int) -> None:
        """Send a signal to the job; one that has not begun ends by it."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
        else:
            self.reply(str(-number))

    def reply(self, line: str) -> None:
        """Send the last line that the client hears."""
        self.pass_on(line.encode("utf-8", "replace") + b"\n")

    def pass_on(self, line: bytes) -> None:
        """Send a line as it is."""
        with contextlib.suppress(OSError):
            self.connection.send(line)

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


def run_job(client: Client, program: Program) -> NoReturn:
    """Be the process that the client asked for. Runs in a child, and never returns."""
    try:
        words = _put_on(client, client.descriptors[3:])
    except OSError as error:
        client.reply(f"!{error}")
        os._exit(1)
    os._exit(_perform(words, program))


def run_jobs(channel: socket.socket, program: Program) -> NoReturn:
    """Be the process that one client after another asked for, as the worker sends them, until one of them fails.

    Its memory is its own after the first: a page that is shared with the worker costs a fault and a copy when it is written to,
    and Python writes to nearly each that it uses.
    """
    while True:
        client = Client(channel)
        channel.setblocking(True)
        while not client.fields:
            if not client.receive():
                os._exit(0)
        try:
            words = _put_on(client, [channel.fileno()])
        except OSError as error:
            client.reply(f"!{error}")
            os._exit(1)
        if code := _perform(words, program):
            os._exit(code)
        _put_off()
        client.reply("0")


def _perform(words: list[str], program: Program) -> int:
    """Run the program and return its exit code, its output flushed."""
    code = 1
    try:
        try:
            code = program.run(words)
        finally:
            _finish()
    except SystemExit as stop:
        code = _exit_code(stop.code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001  as the interpreter does
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return code & 0xFF


def _put_on(client: Client, kept: list[int]) -> list[str]:
    """Take on what the client has sent of itself, and nothing else; return the words of its command line.

    Of what else is open, `kept` stays.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, _, cwd, mask, ignored, count, *rest = client.fields
    os.setpgid(0, 0)
    numbers = [int(word) for word in ignored.split(b",") if word]
    for one in PASSED_ON:
        plain = signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL
        signal.signal(one, signal.SIG_IGN if one in numbers else plain)
    os.chdir(cwd)
    os.umask(int(mask, 8))
    for number, descriptor in enumerate(client.descriptors[:3]):
        os.dup2(descriptor, number)
    previous = 2
    for descriptor in [*sorted(kept), 1 << 20]:
        os.closerange(previous + 1, descriptor)
        previous = descriptor
    for descriptor in client.descriptors[3:]:
        os.set_inheritable(descriptor, True)
    words, variables = rest[: int(count)], rest[int(count) :]
    os.environb.clear()
    os.environb.update((name, value) for name, _, value in (pair.partition(b"=") for pair in variables))
    _open_streams()
    return [os.fsdecode(word) for word in words]


def _put_off() -> None:
    """Let go of what the client sent: it is not to wait for the next one."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.chdir("/")
    tempfile.tempdir = None


def _open_streams() -> None:
    """Open the standard streams as the interpreter does when it starts."""
    sys.stdin = sys.__stdin__ = open(0, encoding=sys.__stdin__.encoding, errors=sys.__stdin__.errors, closefd=False)  # type: ignore[union-attr,misc]  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, f"__{name}__")
        lines = number == 2 or os.isatty(number)
        new = open(number, "w", encoding=old.encoding, errors=old.errors, closefd=False, buffering=1 if lines else -1)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _finish() -> None:
    """Do what the interpreter does at its end and os._exit does not: threads, exit handlers."""
    if "threading" in sys.modules:
        import threading

        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    import atexit

    atexit._run_exitfuncs()


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    sys.stderr.write(f"{code}\n")
    return 1
