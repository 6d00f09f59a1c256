"""Create an environment: built beside its place, renamed into it, so that nobody ever sees half of one.

Everything happens under the environment's lock, which lies beside it. The names that a creation uses for an instant:

    .NAME.interlock-new-TOKEN      the environment that is being built, complete before the next step
    .NAME.interlock-old-TOKEN      the one that it replaces, out of the way

NAME is the whole name, with the dot that it may begin with: `venv` and `.venv` in one directory share nothing.
A process that dies between the two renames leaves both, and the next creation finishes for it; any other left-over is
removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from typing import TYPE_CHECKING, Literal

from interlock.environment import is_elsewhere, open_environment, python_path, record_identity, record_identity_of_new
from interlock.errors import DiskError, InterlockError, InterpreterNotFound, NotAnEnvironment
from interlock.interpreter import find_interpreter, satisfies
from interlock.locks import Rank, environment_lock_path, gate_path, hold, inherited, uv_lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk
    from interlock.environment import Environment
    from interlock.interpreter import Interpreter

__all__ = ["Outcome", "create_environment", "make_environment"]

Outcome = Literal["created", "kept", "replaced"]
REFUSED = 3  # the exit code of _venv_script for what the operating system refused

CACHEDIR_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n"  # https://bford.info/cachedir/
GITIGNORE = b"*\n"
STATE = ".interlock"
# The modules that ensurepip runs make no world-writable files either.
SEED = (
    "import os, runpy, sys; os.umask(os.umask(0o002) | 0o002); sys.argv[1:] = ['--upgrade', '--default-pip']; "
    "runpy.run_module('ensurepip', run_name='__main__', alter_sys=True)"
)


def create_environment(
    path: str,
    *,
    python: str | None,
    seed: bool = False,
    disk: Disk,
    lock_timeout: float | None = None,
    started_ns: int | None = None,
) -> tuple[Environment, Outcome]:
    """Create the environment at a path, keep the one that is there, or replace it.

    A working environment whose base interpreter answers `python` (a spec as in `find_interpreter`, None for any) is kept
    with all that is installed in it; one of another interpreter, or a broken one, is replaced. With `seed` it gets pip.
    `started_ns` becomes the time of the files that a depfile names: not newer than the edge that made them.

    Raises:
        NotAnEnvironment: the path is something that must not be deleted.
        InterpreterNotFound: there is no such interpreter, or it cannot make environments.
        LockTimeout, LockUnavailable, DiskError: nothing was changed.
    """
    path = os.path.realpath(path)
    # An environment appears by one rename: one that is there is whole, and keeping it needs no lock.
    kept = _kept(path, python, disk)
    if kept is not None and kept.identity and (not seed or _has_pip(kept)):
        return kept, "kept"
    if kept is None:
        _check_replaceable(path)  # before a lock file is left beside what is no environment
    disk.make_directory(os.path.dirname(path))
    lock, gate, what = environment_lock_path(path), gate_path(path), f"environment {path}"
    with hold(lock, Rank.ENVIRONMENT, what=what, timeout=lock_timeout, gate=gate):
        _recover(path, disk)
        outcome: Outcome = "kept"
        if _kept(path, python, disk) is not None:
            environment = record_identity(path, new=False, disk=disk, mtime_ns=started_ns)
        else:
            _check_replaceable(path)
            interpreter = find_interpreter(python, disk=disk)
            there = os.path.isfile(os.path.join(path, "pyvenv.cfg"))
            environment = _put_new(path, interpreter, started_ns, disk, lock_timeout)
            outcome = "replaced" if there else "created"
        if seed and not _has_pip(environment):
            _seed(environment, lock_timeout)
            disk.adopt_tree(path, path)
    return environment, outcome


def make_environment(path: str, interpreter: Interpreter, disk: Disk, final_path: str | None = None) -> None:
    """Build an environment at a path that is free, without pip; all that it says of itself names `final_path`.

    Raises:
        InterpreterNotFound: the interpreter has no working `venv` module.
        DiskError: the file system refused.
    """
    path = os.path.abspath(path)
    final = final_path or path
    name = os.path.basename(final)
    prompt = os.path.basename(os.path.dirname(final)) or name if name == ".venv" else name
    disk.make_directory(os.path.dirname(path))
    _run_venv(interpreter, path, final, prompt)
    disk.write(os.path.join(path, "CACHEDIR.TAG"), CACHEDIR_TAG)
    disk.write(os.path.join(path, ".gitignore"), GITIGNORE)
    lines = [
        f"home = {os.path.dirname(interpreter.executable)}",
        "include-system-site-packages = false",
        f"version = {interpreter.version}",
        f"executable = {os.path.realpath(interpreter.executable)}",
        f"prompt = {prompt!r}",
    ]
    disk.write(os.path.join(path, "pyvenv.cfg"), "".join(line + "\n" for line in lines).encode())
    disk.adopt_tree(path, os.path.dirname(path))


def _run_venv(interpreter: Interpreter, path: str, final: str, prompt: str) -> None:
    import subprocess

    script = os.path.join(os.path.dirname(__file__), "_venv_script.py")
    command = [interpreter.executable, "-I", "-S", "-B", script, path, final, prompt]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, pass_fds=inherited())
    except OSError as error:
        raise _no_venv(interpreter, str(error)) from error
    last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    if done.returncode == REFUSED:
        raise DiskError(
            f"cannot create an environment at {final}: {last.partition(' ')[2]}",
            advice="Check the free space and the permissions of that directory; nothing was left there.",
        )
    if done.returncode != 0:
        raise _no_venv(interpreter, last)


def _no_venv(interpreter: Interpreter, detail: str) -> InterpreterNotFound:
    return InterpreterNotFound(
        f"{interpreter.executable} ({interpreter.version}) cannot make a virtual environment: {detail}",
        advice="Install its `venv` module (Debian: the package python3-venv) or choose another with --python.",
    )


def _kept(path: str, python: str | None, disk: Disk) -> Environment | None:
    """Return the environment at a path if it works and answers the spec."""
    try:
        environment = open_environment(path)
        whole = _is_made_by(path, environment.interpreter) and not is_elsewhere(path)
    except (NotAnEnvironment, InterpreterNotFound, FileNotFoundError):
        return None
    return environment if whole and satisfies(environment.interpreter, python, disk=disk) else None


def _is_made_by(path: str, interpreter: Interpreter) -> bool:
    """Tell whether an environment's site-packages are still those of its interpreter, and not of one it had before."""
    with open(os.path.join(path, "pyvenv.cfg"), encoding="utf-8", errors="replace") as reader:
        values = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in reader)}
    version = values.get("version") or values.get("version_info") or interpreter.version
    return version.split(".")[:2] == interpreter.version.split(".")[:2]


def _check_replaceable(path: str) -> None:
    """Refuse to put an environment where something is that nobody would want deleted."""
    advice = "Nothing was changed. Choose another path, or move what is there away."
    if os.path.ismount(path):
        raise NotAnEnvironment(
            f"cannot create an environment at {path}: it is a mount point, and an environment is renamed into its place",
            advice=f"Use a directory below it: {os.path.join(path, 'venv')}",
        )
    # One look at the directory: another process may be putting an environment there at this moment.
    try:
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise NotAnEnvironment(f"cannot create an environment at {path}: it is a file", advice=advice) from None
    # What is left of one that somebody deleted while others still wrote there, is one: nothing else has that directory.
    if names and "pyvenv.cfg" not in names and STATE not in names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise NotAnEnvironment(
            f"cannot create an environment at {path}: it is a directory without pyvenv.cfg that is not empty ({shown})",
            advice=advice,
        )


def _put_new(
    path: str, interpreter: Interpreter, started_ns: int | None, disk: Disk, timeout: float | None
) -> Environment:
    """Build an environment beside its place and rename it in; what is there already, goes."""
    token = secrets.token_hex(4)
    built, old = _beside(path, "new", token), _beside(path, "old", token)
    started = disk.clock_ns(os.path.dirname(path)) if started_ns is None else started_ns
    try:
        make_environment(built, interpreter, disk, path)
        disk.set_mtime(os.path.join(built, "pyvenv.cfg"), started)
        environment = record_identity_of_new(built, path, interpreter, disk=disk, mtime_ns=started)
        # Readers who may not write in the environment need the file to be there.
        disk.write(uv_lock_path(built), b"")
        if os.path.isdir(path):
            disk.adopt_tree(built, path)
        disk.sync_tree(built)
        # The old one goes out of the way only when the new one would be found again after a power loss.
        disk.sync_directory(os.path.dirname(path))
        with _undisturbed(path, timeout):
            if not disk.remove_directory(path) and os.path.lexists(path):
                disk.replace(path, old)
            _put_in_place(built, path, disk)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(path):
            with contextlib.suppress(OSError, DiskError):
                disk.replace(old, path)
        # With the old one out of the way and its place free, the new one is for the next creation to put in.
        if not os.path.lexists(old):
            _discard(built, disk)
        raise
    disk.sync_directory(os.path.dirname(path))
    _discard(old, disk)
    return environment


def _put_in_place(built: str, path: str, disk: Disk) -> None:
    """Rename a built environment to its path, which was free a moment ago.

    Who was about to stage files in the one that was there, makes its directory anew: that goes out of the way.
    """
    while True:
        try:
            disk.replace(built, path)
        except (OSError, DiskError):
            if not _holds_state_only(path):
                _check_replaceable(path)
                raise
            aside = _beside(path, "old", secrets.token_hex(4))
            disk.replace(path, aside)
            _discard(aside, disk)
        else:
            return


def _holds_state_only(path: str) -> bool:
    """Tell whether a directory has nothing in it but what a process staged there after the environment had gone."""
    try:
        return os.listdir(path) == [STATE]
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextlib.contextmanager
def _undisturbed(path: str, timeout: float | None) -> Iterator[None]:
    """Let no uv work in the environment that is about to be replaced."""
    if not os.path.isdir(path):
        yield
        return
    with contextlib.ExitStack() as stack:
        if os.path.isfile(os.path.join(path, "pyvenv.cfg")):
            what = f"environment {path} (uv's lock)"
            stack.enter_context(hold(uv_lock_path(path), Rank.UV, what=what, timeout=timeout))
        if sys.platform == "win32":
            stack.close()  # a directory with an open file in it cannot be renamed there
        yield


def _recover(path: str, disk: Disk) -> None:
    """Finish or remove what a creation left that died."""
    parent, name = os.path.split(path)
    prefix = f".{name}.interlock-"
    left = [entry for entry in os.listdir(parent) if entry.startswith(prefix)]
    tokens = {entry.rpartition("-")[2] for entry in left if entry.startswith(prefix + "old-")}
    for token in sorted(tokens):
        built = _beside(path, "new", token)
        free = not os.path.lexists(path) or _holds_state_only(path)
        if free and os.path.lexists(built):
            _put_in_place(built, path, disk)
            disk.sync_directory(parent)
    for entry in left:
        if entry.startswith((prefix + "old-", prefix + "new-")):
            _discard(os.path.join(parent, entry), disk)


def _beside(path: str, what: str, token: str) -> str:
    parent, name = os.path.split(path)
    return os.path.join(parent, f".{name}.interlock-{what}-{token}")


def _discard(path: str, disk: Disk) -> None:
    # A child of the process that died may still write there: what stays now, goes with the next creation.
    with contextlib.suppress(OSError, DiskError):
        disk.remove_tree(path)


def _has_pip(environment: Environment) -> bool:
    return any(os.path.isdir(os.path.join(directory, "pip")) for directory in environment.site_packages)


def _seed(environment: Environment, timeout: float | None) -> None:
    """Install the pip that the interpreter brings along (ensurepip)."""
    import subprocess

    command = [python_path(environment.path), "-I", "-c", SEED]
    what = f"environment {environment.path} (uv's lock)"
    with hold(uv_lock_path(environment.path), Rank.UV, what=what, timeout=timeout):
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, pass_fds=inherited())
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InterlockError(
            f"cannot put pip into {environment.path}: {last}",
            advice="Leave --seed away (interlock and `uv pip` need no pip inside), or install the interpreter's ensurepip "
            "(Debian: the package python3-venv). The environment is there and works.",
        )
