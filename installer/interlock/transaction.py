"""The commit: put a prepared distribution into an environment, whole or not at all; and its opposite, the removal.

The protocol, and why each step stands where it does, is in docs/explanation/commit.md.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interlock import journal
from interlock.access import changing
from interlock.changes import Change, changes_to_install, changes_to_remove
from interlock.distribution import normalize, scan
from interlock.environment import open_environment
from interlock.errors import (
    ChangedMeanwhile,
    DependencyMissing,
    EnvironmentMismatch,
    InterlockError,
    NotAnEnvironment,
)
from interlock.prepared import Requirement
from interlock.satisfy import requirements_of, unsatisfied
from interlock.staging import digest_of, discard, new_staging, staged, staged_root
from interlock.timings import span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from interlock.declared import Declared
    from interlock.distribution import Installed
    from interlock.durable import Disk
    from interlock.environment import Environment
    from interlock.prepared import Prepared

__all__ = ["Receipt", "commit", "uninstall"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a commit left in the environment; `changed` is False where all of it was there already."""

    environment: str
    name: str
    version: str
    digest: str
    changed: bool

    def as_stamp(self) -> dict[str, str]:
        """Return what the install edge's stamp says: nothing that changes while the meaning stays."""
        return {
            "edge": "install",
            "environment": self.environment,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
        }


def commit(
    prepared: Prepared,
    path: str,
    *,
    disk: Disk,
    defer: Collection[str] = (),
    verify: Collection[str] = (),
    any_version: Collection[str] = (),
    declared: Declared | None = None,
    timeout: float | None = None,
) -> Receipt:
    """Put a prepared distribution into the environment at a path, whole or not at all.

    Holds the environment lock only for what must be exclusive: staging is done before. Readers see the old distribution or
    the new one. `defer` names dependencies inside a cycle that come later, `verify` the distributions whose requirements
    are checked after this one (the cycle is complete then), `any_version` dependencies whose version does not matter. With
    `declared`, what it requires of the workspace must be declared by its target in the build.

    Raises:
        EnvironmentMismatch: it was prepared for another path or interpreter.
        UndeclaredDependency, DependencyMissing: nothing was changed (or, for `verify`, all members are in).
        LockTimeout, LockUnavailable, FileConflict (another distribution owns a path): nothing was changed.
        ChangedMeanwhile: what was put into place is not what is there now.
        DiskError: refused; nothing was changed, or (after the first rename) the next commit finishes it.

    Specification: packaging.python.org "Recording installed projects"; PEP 660; docs/explanation/commit.md.
    """
    environment = open_environment(path)
    _check_made_for(prepared, environment)
    deferred, lenient = {normalize(name) for name in defer}, {normalize(name) for name in any_version}
    with contextlib.ExitStack() as stack:
        staging, seen = _stage_early(prepared, path, environment, disk, stack), environment.identity
        with changing(path, disk=disk, timeout=timeout, subject=prepared.normalized) as environment:
            _check_made_for(prepared, environment)
            installed = scan(environment.site_packages)
            _require(prepared, installed, environment, deferred, lenient, declared)
            done = _is_installed(prepared, environment, installed)
            change = None if done else changes_to_install(prepared, installed, environment)
            if change is not None:
                same = seen in {"", environment.identity}
                if not (staging and same and os.path.isdir(staged_root(path, staging))):
                    # Somebody removed the distribution, or replaced the environment, while this waited for the lock.
                    staging = stack.enter_context(staged(prepared, path, disk))
                stack.callback(journal.sync_removal, environment.path, disk=disk)
                _carry_out(environment, change, staging, disk, prepared.normalized)
                _check_undisturbed(prepared, environment)
            journal.settle(environment.path, prepared.normalized, disk=disk)
            _verify(verify, environment, lenient)
    return Receipt(environment.identity, prepared.name, prepared.version, prepared.digest, change is not None)


def uninstall(path: str, names: Sequence[str], *, disk: Disk, timeout: float | None = None) -> list[Installed]:
    """Remove distributions from the environment at a path, each whole or not at all; return what was removed.

    Raises:
        InterlockError: one of the names is not installed, or its RECORD cannot be read; nothing was removed.
    """
    with (
        contextlib.ExitStack() as stack,
        changing(path, disk=disk, timeout=timeout, subject=", ".join(names)) as environment,
    ):
        installed = scan(environment.site_packages)
        if missing := [name for name in names if normalize(name) not in installed]:
            raise InterlockError(
                f"not installed in {environment.path}: {', '.join(missing)}",
                advice=f"`interlock list --venv {environment.path}` shows what is. Nothing was removed.",
            )
        # All of it is worked out before anything is touched: what cannot be read is found out in time.
        left, changes = dict(installed), {}
        for name in dict.fromkeys(normalize(name) for name in names):
            changes[name] = changes_to_remove(name, left, environment)
            del left[name]
        for name, change in changes.items():
            staging = new_staging()
            stack.callback(discard, path, staging, disk)
            stack.callback(journal.sync_removal, environment.path, disk=disk)
            _carry_out(environment, change, staging, disk, name)
            journal.settle(environment.path, name, disk=disk)
    return [distribution for name in changes for distribution in installed[name]]


def _stage_early(
    prepared: Prepared, path: str, environment: Environment, disk: Disk, stack: contextlib.ExitStack
) -> str:
    """Stage outside the lock, and the journal that is to be expected too; it is worked out again when the lock is held.

    Returns "" where all is installed, and where the environment went away or was replaced under it: then that is for later.
    """
    installed = scan(environment.site_packages)
    if _is_installed(prepared, environment, installed):
        return ""
    try:
        staging = stack.enter_context(staged(prepared, path, disk))
        if (change := _expected(prepared, installed, environment)) is not None:
            journal.write_ahead(environment.path, _entry(change, staging, prepared.normalized), disk=disk)
    except (FileNotFoundError, NotAnEnvironment):
        return ""
    return staging


def _expected(
    prepared: Prepared, installed: Mapping[str, Sequence[Installed]], environment: Environment
) -> Change | None:
    """Return what there will be to do if nothing changes until the lock is held; what is wrong is said then, if it still is."""
    try:
        return changes_to_install(prepared, installed, environment)
    except (InterlockError, OSError):
        return None


def _check_made_for(prepared: Prepared, environment: Environment) -> None:
    interpreter = environment.interpreter
    if os.path.normcase(prepared.environment) != os.path.normcase(environment.path):
        raise EnvironmentMismatch(
            f"{prepared.name} {prepared.version} was prepared for {prepared.environment}, not for {environment.path}",
            advice="Scripts and paths are final after prepare: run `interlock prepare` with this --venv.",
        )
    if (prepared.implementation, prepared.python) != (interpreter.implementation, interpreter.short):
        raise EnvironmentMismatch(
            f"{prepared.name} {prepared.version} was prepared for {prepared.implementation} {prepared.python}, but "
            f"{environment.path} has {interpreter.implementation} {interpreter.short}",
            advice="The environment was replaced since: run `interlock prepare` again, or let the build do it.",
        )


def _is_installed(
    prepared: Prepared, environment: Environment, installed: Mapping[str, Sequence[Installed]] | None = None
) -> bool:
    """Tell whether exactly these bytes are installed, and no other distribution of this name.

    `installed` is what `scan` has found just now, if it has.
    """
    name = prepared.normalized
    found = (installed or scan(environment.site_packages, name)).get(name, [])
    dist_info = environment.absolute(prepared.dist_info)
    if [os.path.realpath(one.directory) for one in found] != [os.path.realpath(dist_info)]:
        return False
    return _are_linked(prepared, environment) and all(
        digest_of(environment.absolute(file.path)) == file.sha256
        and (not file.executable or os.access(environment.absolute(file.path), os.X_OK))
        for file in reversed(prepared.files)  # RECORD is last, and differs when anything does
    )


def _are_linked(prepared: Prepared, environment: Environment) -> bool:
    if not prepared.links:
        return True
    from interlock.links import is_in_place

    return all(is_in_place(environment.absolute(link.path), link.target) for link in prepared.links)


def _check_undisturbed(prepared: Prepared, environment: Environment) -> None:
    """Look once more, under the lock: pip takes none, and two that write at once can leave half of each."""
    if not _is_installed(prepared, environment):
        raise ChangedMeanwhile(
            f"{prepared.name} {prepared.version} was put into {environment.path}, and something else is there now: another "
            "tool changed it at the same moment",
            advice="pip and tools like it take no lock (uv and interlock exclude each other): let it end, then build again.",
        )


def _require(
    prepared: Prepared,
    installed: Mapping[str, Sequence[Installed]],
    environment: Environment,
    deferred: set[str],
    any_version: set[str],
    declared: Declared | None,
) -> None:
    # A requirement on itself (pkg[extra] of pkg) is met by this very commit.
    deferred = {*deferred, prepared.normalized}
    if declared is not None:
        from interlock.declared import check_declared

        check_declared(prepared.name, prepared.requires, installed, environment.interpreter, declared, defer=deferred)
    problems = unsatisfied(
        prepared.requires, installed, environment.interpreter, defer=deferred, any_version=any_version
    )
    if problems:
        raise _dependency_missing(f"{prepared.name} {prepared.version}", problems, environment)


def _verify(members: Collection[str], environment: Environment, any_version: set[str]) -> None:
    """Check the requirements of a cycle's members, each a name or `name[extra,...]`, now that all of them are installed."""
    installed = scan(environment.site_packages) if members else {}
    for member in sorted(set(members)):
        name, _, listed = member.rstrip("]").partition("[")
        extras = tuple(extra for extra in listed.split(",") if extra)
        wanted = [replace(Requirement.named(normalize(name)), extras=extras)]
        wanted += [
            one for own in installed.get(normalize(name), ()) for one in requirements_of(own, environment.interpreter)
        ]
        problems = unsatisfied(wanted, installed, environment.interpreter, any_version=any_version)
        if problems:
            raise _dependency_missing(
                f"{member} (in a dependency cycle)", problems, environment, "its members are installed"
            )


def _dependency_missing(
    who: str, problems: Sequence[str], environment: Environment, state: str = "nothing was changed"
) -> DependencyMissing:
    listing = "".join(f"\n  {who} needs {problem}" for problem in problems)
    return DependencyMissing(
        f"requirements of {who} are not met in {environment.path}:{listing}",
        advice="Add what is somebody else's to the requirements of the environment. A project of the workspace is installed by "
        f"its <project>__editable_install edge: let this edge depend on that. No index was asked; {state}.",
    )


def _carry_out(environment: Environment, change: Change, staging: str, disk: Disk, name: str) -> None:
    with span("commit", name):
        entry = _entry(change, staging, name)
        _check_writable(environment, change, _proven(entry.operations), disk)
        journal.perform(environment.path, entry, disk=disk)


def _entry(change: Change, staging: str, name: str) -> journal.Journal:
    return journal.Journal(staging, change.operations(staging), change.directories, name)


def _proven(operations: Iterable[journal.Operation]) -> set[str]:
    """Return the directories where a refusal comes in time: what is done up to then can be undone, or is nothing."""
    found = set()
    for verb, *paths in operations:
        if verb == "retire":  # it makes a directory to put things aside
            break
        found.add(posixpath.dirname(paths[1] if verb in {"replace", "exchange"} else paths[0]))
        if verb != "directory":
            break
    return found


def _check_writable(environment: Environment, change: Change, proven: Collection[str], disk: Disk) -> None:
    """Find out before the first rename what would be refused after it; for `proven` directories that rename tells as well.

    A directory can be renamed to another place only by one who may write into it.
    """
    for relative in dict.fromkeys((*change.directories, *change.retires)):
        directory = environment.absolute(relative) if relative else environment.path
        if os.path.isdir(directory) and not os.path.islink(directory):
            disk.probe(directory, by_trying=relative not in proven)
