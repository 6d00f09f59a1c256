"""What was built becomes a prepared file, and takes the place of the one before unless that is the same."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.errors import DiskError, InterlockError, UsageError, WheelError
from interlock.prepared import File, Prepared, is_prepared, load_prepared, packed, seal
from interlock.python_support import check_python
from interlock.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.durable import Disk
    from interlock.environment import Environment
    from interlock.interpreter import Interpreter
    from interlock.link_plan import LinkPlan
    from interlock.prepared import Requirement
    from interlock.static.wheel import StaticWheel
    from interlock.wheel import Wheel

__all__ = ["check_output", "write_prepared"]


def check_output(output: str) -> None:
    """See to it that nothing is lost when a file takes the place of what is there.

    Raises:
        UsageError: that is something else than what interlock prepared.
    """
    if os.path.lexists(output) and not is_prepared(output):
        raise UsageError(
            f"{output} is nothing that interlock prepared, and would be replaced",
            advice="Give --output a name of its own, where nothing is yet.",
        )


def write_prepared(
    wheel: Wheel | StaticWheel,
    plan: LinkPlan,
    output: str,
    source: str,
    environment: Environment,
    extras: Iterable[str],
    disk: Disk,
) -> tuple[Prepared, bool]:
    """Write a wheel's final files and their manifest as the file `output`; tell whether anything has changed.

    The caller holds the source tree: what lies here under the names that are used meanwhile is what a killed process left.

    Raises:
        EnvironmentMismatch: it does not support the environment's Python.
        RecordMismatch, UnsafePath, WheelError: as `unpack`, or a requirement cannot be read.
    """
    requires_python = wheel.metadata.get("requires-python", [""])[0]
    check_python(f"{wheel.name} {wheel.version} ({source})", requires_python, environment)
    known = Prepared(
        path=output,
        name=wheel.name,
        normalized=normalize(wheel.name),
        version=wheel.version,
        source=source,
        dist_info=f"{wheel.library(environment.layout)}/{wheel.dist_info}",
        environment=environment.path,
        python=environment.interpreter.short,
        implementation=environment.interpreter.implementation,
        files=(),
        requires=_requires(wheel, environment.interpreter, extras),
        requires_python=requires_python,
        links=plan.links,
    )
    files: list[File] = []
    contents = unpack(wheel, environment, files, source=source, links=plan.links, replaced=plan.replaces)
    manifest = functools.cache(lambda: seal(replace(known, files=tuple(files))))
    changed = _write(output, packed(contents, manifest), manifest, disk)
    return manifest(), changed


def _write(output: str, parts: Iterable[bytes], manifest: Callable[[], Prepared], disk: Disk) -> bool:
    """Write a new file, and put it in its place unless the same is there whole; tell whether it was."""
    directory, name = os.path.split(output)
    new, old = os.path.join(directory, f".{name}.new.tmp"), os.path.join(directory, f".{name}.old.tmp")
    disk.make_directory(directory)
    try:
        disk.write_chunks(new, parts)
        if _is_intact(output, manifest().digest):
            return False
        _publish(new, output, old, disk)
        return True
    finally:
        for left in filter(os.path.lexists, (new, old)):
            with contextlib.suppress(DiskError):
                disk.remove_tree(left)


def _requires(wheel: Wheel | StaticWheel, interpreter: Interpreter, extras: Iterable[str]) -> tuple[Requirement, ...]:
    """Return what a distribution requires with these extras; an extra that names others of itself brings them in."""
    from interlock.satisfy import parse_requirements

    own, chosen = normalize(wheel.name), {normalize(extra) for extra in extras}
    while True:
        try:
            found = parse_requirements(wheel.metadata.get("requires-dist", ()), interpreter, sorted(chosen))
        except ValueError as error:
            raise WheelError(
                f"{wheel.name} {wheel.version} has a requirement that cannot be read: {error}",
                advice="Correct the project's dependencies (PEP 508).",
            ) from error
        more = {normalize(extra) for one in found if one.name == own for extra in one.extras} - chosen
        if not more:
            kept = {one.requirement: one for one in found if one.name != own}
            return tuple(kept[key] for key in sorted(kept))
        chosen |= more


def _publish(new: str, output: str, old: str, disk: Disk) -> None:
    # A version before this prepared a directory, in whose place no file can be renamed.
    aside = os.path.isdir(output)
    if aside:
        disk.remove_tree(old)
        disk.replace(output, old)
    try:
        disk.replace(new, output)
    except BaseException:
        if aside:
            disk.replace(old, output)
        raise
    disk.sync_directory(os.path.dirname(output))


def _is_intact(output: str, digest: str) -> bool:
    try:
        there = load_prepared(output)
        if there.digest != digest:
            return False
        for _, chunks in there.contents():
            for _ in chunks:
                pass
    except (InterlockError, OSError):
        return False
    return True
