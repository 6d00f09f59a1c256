"""How things stand with an environment and with the cache: looked at, never changed, not even made."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from interlock.cache import cache_directory, cache_path
from interlock.environment import is_elsewhere, open_environment
from interlock.errors import InterlockError
from interlock.findings import Finding
from interlock.holders import describe_holders, holders, waiting
from interlock.journal import damaged_path, journal_path
from interlock.lock_state import state
from interlock.locks import environment_lock_path, uv_lock_path

if TYPE_CHECKING:
    from interlock.environment import Environment

__all__ = ["look_at_cache", "look_at_environment", "nearest_directory"]


def look_at_environment(path: str) -> list[Finding]:
    """Say what an environment is, who holds its locks, and what an interrupted commit left in it."""
    try:
        environment = open_environment(path)
    except InterlockError as error:
        return [Finding("environment", "problem", error.message, error.advice)]
    lock = environment_lock_path(environment.path)
    return [
        _identity(environment),
        Finding("interpreter", "ok", f"{environment.interpreter.version}  {environment.interpreter.executable}"),
        _writable(environment),
        _lock("lock", lock),
        _lock("uv's lock", uv_lock_path(environment.path)),
        _journal(environment.path, busy=_held(lock)),
    ]


def look_at_cache() -> list[Finding]:
    """Say where the cache is, and whether anybody else could have put something there."""
    path = cache_path()
    if not os.path.isdir(path):
        above = nearest_directory(path)
        if os.access(above, os.W_OK | os.X_OK):
            return [Finding("cache", "ok", f"{path}, made when it is first needed")]
        advice = "Set INTERLOCK_CACHE_DIR to a directory that this user may write to."
        return [Finding("cache", "problem", f"{path} is not there, and {above} cannot be written", advice)]
    try:
        cache_directory()
    except InterlockError as error:
        return [Finding("cache", "problem", error.message, error.advice)]
    return [Finding("cache", "ok", f"{path}, mode {stat.S_IMODE(os.stat(path).st_mode):04o}")]


def nearest_directory(path: str) -> str:
    """Return a path, or where it is not there yet the nearest directory above it that is."""
    path = os.path.abspath(path)
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _identity(environment: Environment) -> Finding:
    if is_elsewhere(environment.path):
        advice = (
            f"Its scripts name the place that it was moved from. Make it anew: `interlock venv {environment.path}`."
        )
        return Finding("identity", "problem", f"{environment.identity}, noted for another path", advice)
    if not environment.identity:
        return Finding("identity", "note", "none yet: another tool made it; the first commit gives it one")
    return Finding("identity", "ok", environment.identity)


def _writable(environment: Environment) -> Finding:
    refused = [each for each in (environment.path, *environment.site_packages) if not os.access(each, os.W_OK)]
    if refused:
        return Finding(
            "writing", "note", f"{refused[0]} cannot be written by this user", "It can be read and used all the same."
        )
    return Finding("writing", "ok", "this user may change it")


def _held(lock: str) -> bool:
    try:
        return state(lock) == "exclusive"
    except InterlockError:
        return False


def _lock(topic: str, path: str) -> Finding:
    try:
        how = state(path)
    except InterlockError as error:
        return Finding(topic, "problem", error.message, "Look at its mode (`ls -l`), and at the file system's lines.")
    if how == "free":
        return Finding(topic, "ok", f"free  {path}")
    ended = [each for each in holders(path) if not each.alive]
    waits = len(waiting(path))
    text = f"{how}: held by {describe_holders(path)}{f', {waits} waiting' if waits else ''}"
    advice = "End the process that goes on, if it should not (`fuser -v` on the lock file names it)." if ended else ""
    return Finding(topic, "note", text, advice)


def _journal(environment: str, *, busy: bool) -> Finding:
    if os.path.lexists(damaged_path(environment)):
        advice = f"`interlock check --venv {environment}` names the distribution; installing it again mends it."
        return Finding("journal", "problem", "a commit could not be finished, and was set aside", advice)
    if not os.path.lexists(journal_path(environment)):
        return Finding("journal", "ok", "none left")
    if busy:
        return Finding("journal", "ok", "of the commit that is going on")
    return Finding(
        "journal", "note", "of a commit that was interrupted", "The next command that takes the lock finishes it."
    )
