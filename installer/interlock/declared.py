"""What a target of a build declares, against what its project requires.

Where a build was not told that one project requires another, their order is luck: the requirement is there in one run and
missing in the next (astral-sh/uv#15335). The file of the workspace's names says which labels there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.errors import ConfigurationError, UndeclaredDependency
from interlock.satisfy import requirements_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from interlock.distribution import Installed
    from interlock.interpreter import Interpreter
    from interlock.prepared import Requirement

__all__ = ["Declared", "check_declared", "read_declared", "short_label", "stamps_behind"]


@dataclass(frozen=True, slots=True)
class Declared:
    """The label of a target, the labels of all projects by their normalized names, and the names that the target declares.

    `anything` tells whether it declares any label at all, `groups` whether one of these is a group: what that leads to, only
    the file knows. `stamps` are those of the installs of `names`, as the file spells them.
    """

    label: str
    labels: Mapping[str, str]
    names: frozenset[str]
    anything: bool
    groups: bool
    stamps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the file: `name` is normalized, "" for a group; `stamp` is that of the install, "" for a group."""

    name: str
    label: str
    declared: tuple[str, ...]
    stamp: str


def read_declared(path: str, label: str, declared: Iterable[str]) -> Declared:
    """Read from a file of labels which projects some of them lead to, groups taken for what they declare.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    rows = _rows(path)
    groups = {row.label for row in rows.values() if not row.name}
    seen = _reachable(rows, declared, through=groups)
    found = [rows[one] for one in seen if one in rows and rows[one].name]
    return Declared(
        label=label,
        labels={row.name: row.label for row in rows.values() if row.name},
        names=frozenset(row.name for row in found),
        anything=bool(seen),
        groups=not seen.isdisjoint(groups),
        stamps=tuple(sorted(row.stamp for row in found)),
    )


def stamps_behind(path: str, declared: Iterable[str] | None = None) -> list[str]:
    """Return the stamps of all installs that some labels lead to, whatever is between; of all there are without labels.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    rows = _rows(path)
    seen = rows.keys() if declared is None else _reachable(rows, declared, through=rows.keys())
    return sorted(rows[one].stamp for one in seen if one in rows and rows[one].name)


def _reachable(rows: Mapping[str, _Row], declared: Iterable[str], *, through: Collection[str]) -> set[str]:
    """Return some labels and those that are declared by them, and so on through the labels in `through`."""
    seen: set[str] = set()
    waiting = list(declared)
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            if one in through:
                waiting += rows[one].declared
    return seen


def _rows(path: str) -> dict[str, _Row]:
    """Return the lines of the file by their labels.

    A line has five columns with tabs between: a project's name, its directory, its label, the labels that it declares, with
    spaces between, and the stamp of its install. A line without a name is that of a group.
    """
    try:
        with open(path, encoding="utf-8") as reader:
            lines = [line.rstrip("\r").split("\t") for line in reader.read().split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"cannot read the labels of the workspace's projects from {path}: {reason}", advice="`gn gen` writes it."
        ) from None
    return {
        label: _Row(normalize(name) if name else "", label, tuple(declared.split()), stamp)
        for name, _, label, declared, stamp in (line for line in lines if len(line) == 5)
    }


def check_declared(
    who: str,
    requires: Iterable[Requirement],
    installed: Mapping[str, Sequence[Installed]],
    interpreter: Interpreter,
    declared: Declared,
    *,
    defer: Collection[str] = (),
) -> None:
    """Raise if a project requires another one of the workspace that its target does not declare, installed or not.

    What the extras that it asks of others require counts as required by it: it is what `unsatisfied` looks at. `defer` names
    projects that need not be declared; what their extras require is not looked at, for they may not be there yet.

    Raises:
        UndeclaredDependency: all of them, with the line to add.
    """
    missing: dict[str, str] = {}
    for requirement in _reached(requires, installed, interpreter, frozenset(defer), set()):
        name = requirement.name
        if name in declared.labels and name not in declared.names:
            missing.setdefault(declared.labels[name], requirement.requirement)
    if not missing:
        return
    lines = "".join(f"\n  {line}" for line in missing.values())
    labels = ", ".join(f'"{short_label(label)}"' for label in sorted(missing))
    assignment = "+=" if declared.anything else "="
    raise UndeclaredDependency(
        f"{who} requires projects that {declared.label} does not declare:{lines}",
        advice=f"Add to {declared.label}: python_deps {assignment} [ {labels} ]\n  Nothing was changed.",
    )


def _reached(
    requires: Iterable[Requirement],
    installed: Mapping[str, Sequence[Installed]],
    interpreter: Interpreter,
    defer: frozenset[str],
    seen: set[tuple[str, str]],
) -> Iterator[Requirement]:
    for requirement in requires:
        if requirement.name in defer:
            continue
        yield requirement
        for extra in requirement.extras:
            found = installed.get(requirement.name, ())
            if found and (requirement.name, extra) not in seen:
                seen.add((requirement.name, extra))
                wanted = requirements_of(found[0], interpreter, (extra,), only_extras=True)
                yield from _reached(wanted, installed, interpreter, defer, seen)


def short_label(label: str) -> str:
    """Return the shortest spelling of a label: "//libs/text" for "//libs/text:text" (`gn help labels`)."""
    directory, colon, name = label.rpartition(":")
    return directory if colon and directory.rpartition("/")[2] == name else label
