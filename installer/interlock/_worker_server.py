"""The loop of a worker: who comes, whose turn it is, how jobs ended. Part of `_worker_script`: any Python since 3.8."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

from interlock._worker_jobs import Client, run_job, run_jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from interlock._worker_programs import Program

__all__ = ["Server"]

LOOK_EVERY = 1.0
"""The seconds between two looks whether what it serves is still there."""

PATIENCE = 1.0
"""The seconds after which one that waits gets a process beyond those that there should be, if none has ended meanwhile.

Memory is bounded where jobs are quick, and one that another one waits for (a build within a build) gets its turn.
"""


class Server:
    """Accepts clients, runs their jobs, and ends when nobody has come for a while."""

    def __init__(self, program: Program, listener: socket.socket, path: str, idle: float) -> None:
        self.program, self.listener, self.path, self.patience = program, listener, path, idle
        self.inode = os.stat(path).st_ino
        self.clients: dict[int, Client] = {}
        self.waiting: list[Client] = []
        self.running: dict[int, Client] = {}
        self.channels: dict[int, tuple[int, socket.socket]] = {}
        self.idle: list[tuple[int, socket.socket]] = []
        self.served = 0
        self.is_open = True
        self.poll = select.poll()
        self.last_end = time.monotonic()
        self.started = self.last_end

    def serve(self) -> None:
        """Serve until nobody has come for a while, the program is stale, or somebody says stop."""
        ended, write = os.pipe()
        for end in (ended, write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self.listener.setblocking(False)
        self.poll.register(self.listener, select.POLLIN)
        self.poll.register(ended, select.POLLIN)
        last_seen = time.monotonic()
        while self.is_open or self.clients:
            pause = min(LOOK_EVERY, max(0.0, last_seen + self.patience - time.monotonic()) + 0.01)
            for number, _ in self.poll.poll(pause * 1000):
                if number == ended:
                    os.read(ended, 4096)
                elif number == self.listener.fileno():
                    self.accept()
                elif number in self.channels:
                    self.end(*self.channels[number])
                elif number in self.clients:
                    self.hear(self.clients[number])
            self.reap()
            self.begin()
            if self.clients:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen >= self.patience or not self.is_there():
                self.stop()

    def accept(self) -> None:
        """Let in whoever waits at the door, if it is the user whose worker this is."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if int.from_bytes(credentials[4:8], sys.byteorder) != os.geteuid():
                connection.close()
                continue
            self.clients[connection.fileno()] = Client(connection)
            self.poll.register(connection, select.POLLIN)

    def hear(self, client: Client) -> None:
        """Take what a client has sent; a request that is complete waits for its turn."""
        known = bool(client.fields)
        try:
            if not client.receive():
                self.dismiss(client)
                return
        except ValueError:
            self.dismiss(client)
            return
        if client.fields and not known:
            if client.fields[0] == b"run":
                urgent = client.fields[1] == b"1"
                at = next((i for i, one in enumerate(self.waiting) if urgent and one.fields[1] != b"1"), None)
                self.waiting.insert(len(self.waiting) if at is None else at, client)
                return
            if client.fields[0] == b"stop":
                self.stop()
            client.reply(self.status())
            self.dismiss(client)

    def begin(self) -> None:
        """Start the jobs that have waited long enough."""
        processors = len(os.sched_getaffinity(0))
        while self.waiting:
            patient = time.monotonic() - self.last_end < PATIENCE
            if len(self.running) >= processors * self.program.width and patient:
                return
            client = self.waiting.pop(0)
            if not self.program.refusal and (not self.is_there() or self.program.is_stale()):
                self.program.refusal = "what it has loaded has changed since"
                self.stop()
            if self.program.refusal:
                client.reply(f"!{self.program.refusal}")
                self.dismiss(client)
                continue
            self.last_end = time.monotonic()
            client.pid = self.start(client)
            client.let_go()
            self.running[client.pid] = client
            self.served += 1

    def start(self, client: Client) -> int:
        """Give a client's job to a process and return its number."""
        if self.program.has_one_use:
            pid = os.fork()
            if not pid:
                run_job(client, self.program)
        else:
            pid, channel = self.idle.pop() if self.idle else self.child()
            sent = socket.send_fds(channel, [client.request], client.descriptors)
            channel.sendall(client.request[sent:])
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # whoever is first: the child does the same
        return pid

    def child(self) -> tuple[int, socket.socket]:
        """Fork a process for one job after another."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            ours.close()
            run_jobs(theirs, self.program)
        theirs.close()
        self.channels[ours.fileno()] = (pid, ours)
        self.poll.register(ours, select.POLLIN)
        return pid, ours

    def end(self, pid: int, channel: socket.socket) -> None:
        """Hear from a process that its job has ended; or nothing more, if it has ended itself."""
        line = b""
        with contextlib.suppress(OSError):
            line = channel.recv(4096)
        client = self.running.pop(pid, None) if line else None
        if client is None:
            self.poll.unregister(channel)
            del self.channels[channel.fileno()]
            self.idle = [one for one in self.idle if one[0] != pid]
            channel.close()
            return
        self.last_end = time.monotonic()
        client.pid = 0
        client.pass_on(line)
        self.dismiss(client)
        self.idle.append((pid, channel))

    def reap(self) -> None:
        """Tell clients how their jobs ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.last_end = time.monotonic()
            self.idle = [one for one in self.idle if one[0] != pid]
            client = self.running.pop(pid, None)
            if client is not None:
                client.pid = 0
                signaled = os.WIFSIGNALED(status)
                client.reply(str(-os.WTERMSIG(status) if signaled else os.WEXITSTATUS(status)))
                self.dismiss(client)

    def dismiss(self, client: Client) -> None:
        """Forget a client, and end its job if that still runs."""
        if self.clients.pop(client.connection.fileno(), None) is not None:
            self.poll.unregister(client.connection)
        if client in self.waiting:
            self.waiting.remove(client)
        client.close()

    def is_there(self) -> bool:
        """Tell whether a client would still find this worker, and not another one."""
        try:
            return os.stat(self.path).st_ino == self.inode
        except OSError:
            return False

    def stop(self) -> None:
        """Be found no more; who has found it already is still served."""
        if not self.is_open:
            return
        self.is_open = False
        with contextlib.suppress(OSError):
            lock = os.open(self.path[: -len(".sock")] + ".lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self.is_there():
                    os.unlink(self.path)
            finally:
                os.close(lock)
        self.accept()
        self.poll.unregister(self.listener)
        self.listener.close()

    def status(self) -> str:
        """Return what `interlock worker status` shows, as JSON in a line."""
        facts = {
            "pid": os.getpid(),
            "runs": self.program.name,
            "python": sys.executable,
            "running": len(self.running),
            "waiting": len(self.waiting),
            "served": self.served,
            "seconds": round(time.monotonic() - self.started, 1),
            "refuses": self.program.refusal,
        }
        return json.dumps(facts)
