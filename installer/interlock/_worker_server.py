"""The loop of a worker: who comes, whose turn it is, how jobs ended. Part of `_worker_script`: any Python since 3.8."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import time

from interlock._worker_jobs import BEGUN, GUARDED, Client, Start, run_job, run_jobs

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

MOST_DESCRIPTORS = 1 << 14
PER_CLIENT = 8
"""The descriptors of a client that are allowed for: its connection, three standard ones, locks."""

MOST_TRIES = 3
"""How often a job is given to a process that ends before it has taken it on."""


class Process:
    """A child: the client whose job it runs, if it runs one, and the channel that brings it others, if it takes others."""

    def __init__(self, pid: int, channel: socket.socket | None = None) -> None:
        self.pid, self.channel = pid, channel
        self.client: Client | None = None

    def hand_over(self, client: Client) -> None:
        """Send a client's request to the process; an OSError says that it is about to end."""
        if self.channel is not None:
            sent = socket.send_fds(self.channel, [client.request], client.descriptors)
            # Not where all is sent: to send nothing to a process that has done the job by now, and ended, is an OSError too.
            if sent < len(client.request):
                self.channel.sendall(client.request[sent:])

    def heard(self) -> bytes | None:
        """Return the lines that have come from the process: None if there are none yet, b"" if there will be no more."""
        try:
            return self.channel.recv(4096, socket.MSG_DONTWAIT) if self.channel is not None else b""
        except BlockingIOError:
            return None
        except OSError:
            return b""


class Server:
    """Accepts clients, runs their jobs, and ends when nobody has come for a while."""

    def __init__(self, program: Program, listener: socket.socket, path: str, idle: float) -> None:
        self.program, self.listener, self.path, self.patience = program, listener, path, idle
        self.inode = os.stat(path).st_ino
        self.clients: dict[int, Client] = {}
        self.waiting: list[Client] = []
        self.processes: dict[int, Process] = {}
        self.channels: dict[int, Process] = {}
        self.idle: list[Process] = []
        self.served = 0
        self.is_open = True
        self.is_told_to_stop = False
        self.poll = select.poll()
        self.last_end = self.began = time.monotonic()
        self.start = Start()
        self.most_clients = self.make_room()

    def make_room(self) -> int:
        """Allow for as many open files as the worker may have, and return how many clients those are enough for."""
        soft, hard = self.start.descriptors
        most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft > most:
            most = soft
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return max(1, (most - 64) // PER_CLIENT)

    def serve(self) -> None:
        """Serve until nobody has come for a while, the program is stale, or somebody says stop."""
        ended, write = os.pipe()
        for end in (ended, write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "is_told_to_stop", True))
        self.listener.setblocking(False)
        self.poll.register(self.listener, select.POLLIN)
        self.poll.register(ended, select.POLLIN)
        last_seen = time.monotonic()
        while self.is_open or self.clients:
            pause = min(LOOK_EVERY, max(0.0, last_seen + self.patience - time.monotonic()) + 0.01)
            for number, _ in self.poll.poll(pause * 1000):
                if number == ended:
                    with contextlib.suppress(BlockingIOError):
                        os.read(ended, 4096)
                elif number in self.channels:
                    self.listen(self.channels[number])
                elif number in self.clients:
                    self.hear(self.clients[number])
                elif number == self.listener.fileno():
                    self.accept()
            self.reap()
            self.begin()
            if self.clients:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen >= self.patience or not self.is_there() or self.program.is_stale():
                self.stop()
            if self.is_told_to_stop:
                self.stop()

    def accept(self) -> None:
        """Let in whoever waits at the door, if it is the user whose worker this is, and as long as there is room."""
        while True:
            if len(self.clients) >= self.most_clients and self.is_open:
                self.poll.modify(self.listener, 0)
                return
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if int.from_bytes(credentials[4:8], sys.byteorder) != os.geteuid():
                connection.close()
                continue
            connection.setblocking(False)
            self.clients[connection.fileno()] = Client(connection)
            self.poll.register(connection, select.POLLIN)

    def hear(self, client: Client) -> None:
        """Take what a client has sent; a request that is complete waits for its turn."""
        known = bool(client.fields)
        try:
            if not client.receive():
                self.dismiss(client)
                return
            request = client.fields[0] if client.fields else b""
            urgent = client.is_urgent
        except (ValueError, IndexError) as error:
            self.refuse(client, str(error))
            return
        if client.is_answered:
            self.dismiss(client)
        elif known or not request:
            return
        elif request == b"run":
            at = next((i for i, one in enumerate(self.waiting) if urgent and not one.is_urgent), len(self.waiting))
            self.waiting.insert(at, client)
        else:
            self.is_told_to_stop |= request == b"stop"
            client.reply(self.status())
            self.dismiss(client)

    def refuse(self, client: Client, reason: str) -> None:
        """Send a client away; what it asked for is done without a worker."""
        client.reply(f"!{reason}")
        self.dismiss(client)

    def begin(self) -> None:
        """Start the jobs that have waited long enough."""
        while (client := self.whose_turn()) is not None:
            self.waiting.remove(client)
            if not self.program.refusal and self.program.is_stale():
                self.program.refusal = "what it has loaded has changed since"
                self.stop()
            if self.program.refusal:
                self.refuse(client, self.program.refusal)
                continue
            self.last_end = time.monotonic()
            try:
                self.give(client)
            except OSError as error:  # no more processes, no memory
                self.refuse(client, str(error))

    def whose_turn(self) -> Client | None:
        """Return who is next, None where nobody is, or all that wait have to wait on.

        Of urgent jobs (`install`) one at a time holds the environment. No more of them run than there are processors, and while
        one does, no more of the others: they would only take turns with the one that all wait for.
        """
        if time.monotonic() - self.last_end >= PATIENCE:
            return self.waiting[0] if self.waiting else None
        processors = len(os.sched_getaffinity(0))
        busy = [process.client for process in self.processes.values() if process not in self.idle]
        urgent = sum(client is not None and client.is_urgent for client in busy)
        if len(busy) >= processors * self.program.width:
            return None
        if urgent < processors and (first := next((one for one in self.waiting if one.is_urgent), None)):
            return first
        if urgent and len(busy) - urgent >= processors:
            return None
        return next((one for one in self.waiting if not one.is_urgent), None)

    def give(self, client: Client) -> None:
        """Give a client's job to a process."""
        if self.program.has_one_use:
            process = self.fork(client)
            self.take_on(process, client)
            client.begin()
        else:
            process = self.idle.pop() if self.idle else self.fork()
            self.take_on(process, client)
            try:
                process.hand_over(client)
            except OSError:
                self.hang_up(process)  # it is about to end: `reap` gives the job to another one

    def take_on(self, process: Process, client: Client) -> None:
        process.client, client.pid = client, process.pid
        client.tries += 1
        with contextlib.suppress(OSError):
            os.setpgid(process.pid, process.pid)  # whoever is first: the child does the same

    def fork(self, client: Client | None = None) -> Process:
        """Fork a process for a client's job, or for one job after another; until a job begins, no signal reaches it."""
        ours, theirs = (None, None) if client else socket.socketpair()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, GUARDED)
        try:
            pid = os.fork()
            if not pid:
                try:
                    if client:
                        run_job(client, self.program, self.start)
                    elif theirs:
                        run_jobs(theirs, self.program, self.start)
                finally:
                    os._exit(1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if theirs is not None:
                theirs.close()
        process = self.processes[pid] = Process(pid, ours)
        if ours is not None:
            self.channels[ours.fileno()] = process
            self.poll.register(ours, select.POLLIN)
        return process

    def listen(self, process: Process) -> None:
        """Hear from a process that it has begun a job, or how that has ended; or nothing more, if it has ended itself."""
        received = process.heard()
        if received is None:
            return
        if not received:
            self.hang_up(process)
        for line in received.splitlines():
            client = process.client
            if client is None:
                return
            if line == BEGUN:
                client.begin()
                continue
            self.last_end = time.monotonic()
            self.served += 1
            process.client, client.pid = None, 0
            client.pass_on(line)
            self.dismiss(client)
            self.idle.append(process)

    def hang_up(self, process: Process) -> None:
        """Give a process no more jobs."""
        if process.channel is not None:
            self.poll.unregister(process.channel)
            del self.channels[process.channel.fileno()]
            process.channel.close()
            process.channel = None
        if process in self.idle:
            self.idle.remove(process)

    def reap(self) -> None:
        """Tell clients how their jobs ended with their processes."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            process = self.processes[pid]
            self.listen(process)  # its last words
            self.hang_up(process)
            del self.processes[pid]
            self.last_end = time.monotonic()
            client = process.client
            if client is None:
                continue
            client.pid = 0
            if not client.has_begun and not client.is_answered:
                if client.tries < MOST_TRIES:
                    self.waiting.insert(0, client)
                else:
                    self.refuse(client, "its processes end")
                continue
            self.served += 1
            signaled = os.WIFSIGNALED(status)
            client.reply(str(-os.WTERMSIG(status) if signaled else os.WEXITSTATUS(status)))
            self.dismiss(client)

    def dismiss(self, client: Client) -> None:
        """Forget a client, and end its job if that still runs."""
        if self.clients.pop(client.connection.fileno(), None) is not None:
            self.poll.unregister(client.connection)
            if self.is_open:
                self.poll.modify(self.listener, select.POLLIN)
        if client in self.waiting:
            self.waiting.remove(client)
        if client.pid:
            process = self.processes[client.pid]
            process.client = None
            self.hang_up(process)  # it is killed: whatever it says now is not for the next one
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
        try:
            path = self.path[: -len(".sock")] + ".lock"
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                # Who holds it may be about to connect: that comes first, and then the end is tried once more.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.is_there() and os.path.samestat(os.fstat(lock), os.stat(path)):
                    os.unlink(self.path)
                    os.unlink(path)  # who waits for it looks whether it is still there
            finally:
                os.close(lock)
        except BlockingIOError:
            self.is_told_to_stop = True
            return
        except OSError:
            pass  # somebody has cleaned up
        self.is_open = False
        self.poll.unregister(self.listener)
        self.accept()
        self.listener.close()

    def status(self) -> str:
        """Return what `interlock worker status` shows, as JSON in a line."""
        facts = {
            "pid": os.getpid(),
            "runs": self.program.name,
            "python": sys.executable,
            "running": len(self.processes) - len(self.idle),
            "waiting": len(self.waiting),
            "processes": 1 + len(self.processes),
            "served": self.served,
            "seconds": round(time.monotonic() - self.began, 1),
            "memory": sum(map(_memory, [os.getpid(), *self.processes])),
            "refuses": self.program.refusal,
        }
        return json.dumps(facts)


def _memory(pid: int) -> int:
    """Return the bytes of memory that a process has: of what it shares with others, its share."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as reader:
        for line in reader:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) << 10
    return 0
