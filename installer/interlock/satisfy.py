"""Whether what is installed satisfies what a distribution requires, in the terms of the environment's interpreter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.distribution import normalize, read_metadata_header
from interlock.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from packaging.markers import Marker

    from interlock.distribution import Installed
    from interlock.interpreter import Interpreter
    from interlock.prepared import Requirement

__all__ = ["parse_requirements", "requirements_of", "unsatisfied"]


def unsatisfied(
    requires: Iterable[Requirement],
    installed: Mapping[str, Sequence[Installed]],
    interpreter: Interpreter,
    *,
    defer: Collection[str] = (),
    any_version: Collection[str] = (),
) -> list[str]:
    """Return a line for each requirement that is not met: "core>=2, but core 1.0 is installed".

    Markers are already evaluated in `requires`; an extra of a dependency is followed into that dependency's own metadata.
    `defer` names distributions that need not be there yet, `any_version` those whose version does not matter.
    """
    return list(_problems(requires, installed, interpreter, frozenset(defer), frozenset(any_version), set()))


def _problems(
    requires: Iterable[Requirement],
    installed: Mapping[str, Sequence[Installed]],
    interpreter: Interpreter,
    defer: frozenset[str],
    any_version: frozenset[str],
    seen: set[tuple[str, str]],
) -> Iterator[str]:
    for requirement in requires:
        if requirement.name in defer:
            continue
        found = installed.get(requirement.name, ())
        if not found:
            yield f"{requirement.requirement}, but {requirement.name} is not installed"
            continue
        distribution = found[0]
        if requirement.specifier and requirement.name not in any_version:
            from packaging.specifiers import SpecifierSet

            if not SpecifierSet(requirement.specifier).contains(distribution.version, prereleases=True):
                yield f"{requirement.requirement}, but {distribution.name} {distribution.version} is installed"
        for extra in requirement.extras:
            if (requirement.name, extra) not in seen:
                seen.add((requirement.name, extra))
                wanted = requirements_of(distribution, interpreter, (extra,), only_extras=True)
                yield from _problems(wanted, installed, interpreter, defer, any_version, seen)


def requirements_of(
    distribution: Installed, interpreter: Interpreter, extras: Iterable[str] = (), *, only_extras: bool = False
) -> list[Requirement]:
    """Return what an installed distribution requires, its markers evaluated for an interpreter and these extras.

    With `only_extras`, only what the extras add.

    Raises:
        MetadataError: a line of its METADATA is no requirement.
    """
    path = os.path.join(distribution.directory, "METADATA")
    lines = read_metadata_header(path).get("requires-dist", ())
    try:
        return parse_requirements(lines, interpreter, extras, only_extras=only_extras)
    except ValueError as error:  # of packaging: a requirement, a specifier or a marker that is none
        raise MetadataError(
            f"{distribution.name} {distribution.version} has a requirement that cannot be read: {error} ({path})",
            advice=f"Install another version of {distribution.name}, or install it again if something damaged the file.",
        ) from error


def parse_requirements(
    lines: Iterable[str], interpreter: Interpreter, extras: Iterable[str] = (), *, only_extras: bool = False
) -> list[Requirement]:
    """Parse requirement lines and keep those whose markers hold for an interpreter and these extras (PEP 508).

    Raises:
        ValueError: a line is none, or has a marker that cannot be evaluated.
    """
    from packaging.requirements import Requirement as Parsed

    from interlock.prepared import Requirement

    chosen = list(extras)
    kept = []
    for line in lines:
        try:
            parsed = Parsed(line)
            base, more = _holds(parsed.marker, interpreter, chosen)
        except RecursionError as error:
            raise ValueError("a marker is nested too deep") from error
        except KeyError as error:  # `extras` and `dependency_groups` are of lock files (PEP 751)
            raise ValueError(f"{line!r} has a marker that means nothing here: {error}") from error
        if not (more if only_extras else base or more):
            continue
        name = f"{parsed.name}[{','.join(sorted(parsed.extras))}]" if parsed.extras else parsed.name
        kept.append(
            Requirement(
                requirement=f"{name} @ {parsed.url}" if parsed.url else f"{name}{parsed.specifier}",
                name=normalize(parsed.name),
                specifier=str(parsed.specifier),
                extras=tuple(sorted(parsed.extras)),
                url=parsed.url or "",
            )
        )
    return kept


def _holds(marker: Marker | None, interpreter: Interpreter, extras: Iterable[str]) -> tuple[bool, bool]:
    """Tell whether a requirement holds without any extra, and whether it does only with one of these."""
    if marker is None:
        return True, False
    if marker.evaluate({**interpreter.markers, "extra": ""}):
        return True, False
    return False, any(marker.evaluate({**interpreter.markers, "extra": extra}) for extra in extras)
