"""Ask a worker: a process that has a program's code loaded, and forks a child for each request, which runs it.

    <directory>/<key>.sock      where a worker listens; <directory> is this user's alone (mode 0700)
    <directory>/<key>.lock      held by who starts a worker, and by a worker that ends

A worker is asked only by one that is in its own situation: what a process inherits and no message can hand over (namespaces,
control group, limits, ...) is part of the key. Without a worker there is the plain path, a new process, which is the reference:
whatever goes wrong here, the answer is None or `WorkerLost`, and the caller takes that path.

Only what an interpreter has loaded at its start is imported, and `_socket`: each edge of each build pays for it. `__future__`
is not among that, so annotations that name what is not there yet are quoted.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Job", "Worker", "WorkerLost", "directory", "is_wanted", "ready", "settled", "situation", "submit"]

SWITCH = b"INTERLOCK_WORKER"
PROTOCOL = b"2"
HEADER = 8
"""The hexadecimal digits in front of a request that say how many bytes it has."""

VARYING = frozenset({"OLDPWD", "PWD", "PYTEST_CURRENT_TEST", "SHLVL", "_"})
"""What differs from edge to edge, shell to shell or test to test, and is nothing that a backend reads."""

REFUSED = b"!"
LONGEST_PATH = 107
"""The bytes that the path of a socket may have (unix(7))."""

# Of /proc/self/status: who the process is, what it may do, where it runs, and the signals that it blocks or ignores.
STATUS = (
    *(b"Uid:", b"Gid:", b"Groups:", b"Cap", b"NoNewPrivs:", b"Seccomp:", b"Speculation_", b"Cpus_allowed:"),
    *(b"Mems_allowed:", b"SigBlk:", b"SigIgn:", b"THP_enabled:"),
)
UMASK = b"Umask:"
LIBRARYS_SIGNALS = 1 << 31 | 1 << 32
"""Signals 32 and 33 (nptl(7)), as bits of a mask."""

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")

SIGKILL, SIGTERM = 9, 15
PEEK = 2  # MSG_PEEK of <sys/socket.h>


class WorkerLost(ConnectionError):
    """The worker went away before it said how a job ended, or it does not serve; the plain path is to be taken."""


class Worker:
    """Which worker: `command` starts it (with what `_worker_script` adds), `key` are all things that make it another one.

    `environ` is what it starts with.
    """

    __slots__ = ("command", "environ", "key")

    def __init__(self, command: "Sequence[str]", environ: "Mapping[bytes, bytes]", key: "Iterable[bytes]") -> None:
        self.command = tuple(command)
        self.environ = dict(environ)
        self.key = tuple(key)


class Job:
    """A request that a worker has taken on; the worker kills it when this connection ends."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "_socket.socket") -> None:
        self._connection = connection

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code, -N if signal N ended it.

        Raises:
            WorkerLost: the worker does not serve, or was killed.
            TimeoutError: it takes longer, in seconds.
        """
        self._connection.settimeout(timeout)
        try:
            # It is one line, which one send brings whole. It stays where it is, for each thread that asks.
            line = self._connection.recv(4096, PEEK).partition(b"\n")[0]
        except TimeoutError:
            raise
        except OSError as error:
            raise WorkerLost(str(error)) from error
        if not line or line.startswith(REFUSED):
            raise WorkerLost(line[1:].decode("utf-8", "replace") or "the worker went away")
        return int(line)

    def send_signal(self, number: int) -> None:
        """Send a signal to the job and what it has started."""
        try:  # noqa: SIM105  contextlib is not loaded
            self._connection.send(bytes([number]))
        except OSError:
            pass  # it has ended

    def terminate(self) -> None:
        """Ask the job to end."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Kill the job."""
        self.send_signal(SIGKILL)

    def close(self) -> None:
        """Let go of the job: it is killed, if it has not ended."""
        self._connection.close()


def settled(environ: "Mapping[str, str]") -> list[tuple[str, str]]:
    """Return the variables that a backend could read and that are the same for all of a build, sorted."""
    return sorted(pair for pair in environ.items() if pair[0] not in VARYING and not pair[0].startswith("INTERLOCK_"))


def is_wanted(environ: "Mapping[bytes, bytes]", platform: str = sys.platform) -> bool:
    """Tell whether a worker is to be asked: where a fork without exec is safe, and unless INTERLOCK_WORKER is 0."""
    return platform == "linux" and environ.get(SWITCH) != b"0"


def submit(
    worker: Worker,
    arguments: "Sequence[bytes]",
    *,
    cwd: bytes,
    environ: "Mapping[bytes, bytes]",
    descriptors: "Sequence[int]",
    urgent: bool = False,
) -> Job | None:
    """Let a worker run a command, started if it does not run; None where there can be none.

    `descriptors` are its standard input, output and error, and whatever else it is to have open. An `urgent` request comes
    before others that wait.
    """
    where, own = directory(environ), situation()
    if where is None or own is None:
        return None
    connection = _connect(worker, where, own[0])
    if connection is None:
        return None
    urgency = b"1" if urgent else b""
    fields = [b"run", urgency, cwd, own[1], b"%d" % len(descriptors), b"%d" % len(arguments), *arguments]
    fields += [name + b"=" + value for name, value in environ.items()]
    try:
        _send(connection, b"\0".join(fields), descriptors)
    except OSError:
        connection.close()
        return None
    return Job(connection)


def ready(worker: Worker, environ: "Mapping[bytes, bytes]") -> None:
    """Have a worker get ready for requests that come soon, if there can be one."""
    where, own = directory(environ), situation()
    if where is not None and own is not None and (connection := _connect(worker, where, own[0])) is not None:
        connection.close()


def situation() -> tuple[bytes, bytes] | None:
    """Return what this process has from its parent and a worker could not be told, and the umask (octal); None where unknown.

    The umask is read where reading it does not change it: other threads make files.
    """
    import posix

    try:
        root = posix.stat("/")
        lines = _read("/proc/self/status").splitlines()
        umask = next((line.split()[1] for line in lines if line.startswith(UMASK)), None)
        parts = [
            *(_link(f"/proc/self/ns/{name}") for name in NAMESPACES),
            b"%d %d %d %d" % (root.st_dev, root.st_ino, posix.getpriority(posix.PRIO_PROCESS, 0), _policy()),
            _read("/proc/sys/kernel/random/boot_id"),  # another host may share the directory
            *(_read(f"/proc/self/{name}") for name in ("cgroup", "limits", "oom_score_adj")),
            *(_without_own(line) for line in lines if line.startswith(STATUS)),
            _personality(),
        ]
    except OSError:
        return None
    return None if umask is None else (b"\n".join(parts), umask)


def _policy() -> int:
    import posix

    try:
        return posix.sched_getscheduler(0)
    except OSError:  # musl has none
        return -1


def _without_own(line: bytes) -> bytes:
    """Return a line of /proc/self/status without the signals of the C library, which it takes when a thread starts."""
    name, _, value = line.partition(b"\t")
    return b"%s%x" % (name, int(value, 16) & ~LIBRARYS_SIGNALS) if name in {b"SigIgn:", b"SigBlk:"} else line


def directory(environ: "Mapping[bytes, bytes]") -> bytes | None:
    """Return the directory of this user's sockets, made where it is missing; None where nobody else is kept out of it.

    $XDG_RUNTIME_DIR/interlock (XDG Base Directory Specification); else interlock-<uid> in TMPDIR, or in /tmp.
    """
    import posix

    uid = posix.geteuid()
    runtime = environ.get(b"XDG_RUNTIME_DIR", b"")
    if runtime.startswith(b"/") and _is_private(runtime, uid):
        path = runtime.rstrip(b"/") + b"/interlock"
    else:
        base = environ.get(b"TMPDIR", b"")
        path = (base if base.startswith(b"/") else b"/tmp").rstrip(b"/") + b"/interlock-%d" % uid
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError:
        return None
    return path if _is_private(path, uid) else None


def connect(path: bytes) -> "_socket.socket | None":
    """Connect to the worker that listens at a path, if it is this user's; None where nobody listens."""
    import _socket

    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    except OSError:
        return None  # a sandbox without sockets
    try:
        connection.connect(path)
        if peer(connection) == _own_uid():
            return connection
    except OSError:
        pass
    connection.close()
    return None


def peer(connection: "_socket.socket") -> int:
    """Return the user id at the other end of a connection (unix(7), SO_PEERCRED)."""
    import _socket

    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def _own_uid() -> int:
    import posix

    return posix.geteuid()


def _connect(worker: Worker, where: bytes, own: bytes) -> "_socket.socket | None":
    """Connect to a worker, and start it if need be."""
    path = where + b"/" + _digest(b"\0".join([PROTOCOL, *worker.key, own])) + b".sock"
    if len(path) > LONGEST_PATH:
        return None
    found = connect(path)
    if found is None:
        from interlock.worker_start import start

        found = start(worker, path)
    return found


def _digest(data: bytes) -> bytes:
    """Return 24 hexadecimal digits that stand for some bytes: SipHash with two keys, which each interpreter has built in.

    hashlib's functions are libraries to load. Nobody else comes into the directory where the name is, so it need not be
    hard to find other bytes of the same digest.
    """
    import _imp

    return (_imp.source_hash(1, data) + _imp.source_hash(2, data)).hex()[:24].encode()


def _send(connection: "_socket.socket", request: bytes, descriptors: "Sequence[int]") -> None:
    import _socket

    data = b"%0*x" % (HEADER, len(request)) + request
    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    sent = connection.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    if sent < len(data):
        connection.sendall(data[sent:])


def _is_private(path: bytes, uid: int) -> bool:
    """Tell whether a directory belongs to a user, and to nobody else."""
    import posix

    try:
        status = posix.lstat(path)
    except OSError:
        return False
    return status.st_mode & 0o170077 == 0o040000 and status.st_uid == uid


def _personality() -> bytes:
    """Return the execution domain (personality(2), setarch(8)); b"" where nobody may read it."""
    try:
        return _read("/proc/self/personality")
    except OSError:
        return b""


def _link(path: str) -> bytes:
    """Return where a link leads; b"" where there is none: a kernel without that kind of namespace."""
    import posix

    try:
        return posix.readlink(path.encode())
    except FileNotFoundError:
        return b""


def _read(path: str) -> bytes:
    import posix

    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(descriptor, 1 << 16)
    finally:
        posix.close(descriptor)
