"""Where in the BUILD.gn files the problems of a check are, and how they are mended there."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.errors import ConfigurationError
from interlock_gn.build_syntax import parse
from interlock_gn.edit import Addition, edit_text, statement
from interlock_gn.gn_program import Formatter
from interlock_gn.source_tree import system_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.durable import Disk
    from interlock_gn.build_syntax import BuildFile
    from interlock_gn.check import Problem
    from interlock_gn.gn_program import Evaluation

__all__ = ["BuildFiles", "Place", "Repair", "mend", "restore_and_explain"]

FUNCTION = "interlock_project"


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the source tree, relative to its root, "" if none is known, and a line in it, 0 if none is known."""

    file: str
    line: int


@dataclass(slots=True)
class BuildFiles:
    """The BUILD.gn files of a tree, each read once."""

    gn: Evaluation
    _read: dict[str, BuildFile | None] = field(default_factory=dict)
    _of: dict[str, str] = field(default_factory=dict)

    @property
    def formatter(self) -> Formatter:
        return Formatter(self.gn.program)

    def path(self, label: str) -> str:
        """Return the absolute path of the BUILD.gn with a target, "" where it cannot be found."""
        if label not in self._of:
            self._of[label] = self._path(label)
        return self._of[label]

    def place(self, label: str) -> Place:
        """Return where a target is defined."""
        path = self.path(label)
        file = self._file(path) if path else None
        if file is None:
            return Place("", 0)
        return Place(self.shown(path), file.line_of(FUNCTION, _name(label)))

    def shown(self, path: str) -> str:
        """Return a path as messages name it: relative to the root of the source tree."""
        relative = os.path.relpath(path, self.gn.root).replace(os.sep, "/")
        return path if relative.startswith("../") else relative

    def lines(self, problem: Problem) -> list[str]:
        """Return the lines to add for a problem."""
        path = self.path(problem.target)
        file = self._file(path) if path else None
        call = file.find(FUNCTION, _name(problem.target))[0] if file else None
        return [
            statement(addition, defined=call is None or bool(call.touching(addition.variable)))
            for addition in _additions(problem)
        ]

    def _path(self, label: str) -> str:
        directory = system_path(self.gn.root, label.partition(":")[0])
        usual = os.path.join(directory, "BUILD.gn")
        if (file := self._file(usual)) is not None and file.line_of(FUNCTION, _name(label)):
            return usual
        others = self.gn.build_files(label.partition(":")[0])
        for path in others:
            if (other := self._file(path)) is not None and other.line_of(FUNCTION, _name(label)):
                return path
        return usual if file is not None else ""

    def _file(self, path: str) -> BuildFile | None:
        if path not in self._read:
            try:
                with open(path, "rb") as reader:
                    self._read[path] = parse(self.formatter, reader.read())
            except OSError:
                self._read[path] = None
        return self._read[path]


@dataclass(slots=True)
class Repair:
    """What was edited: additions by file, why others were not made by their target, and what the files had before."""

    made: dict[str, tuple[Addition, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    before: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    def take_back(self, disk: Disk) -> None:
        """Give the files back what they had."""
        for path, (text, mode) in self.before.items():
            disk.publish(path, text, mode=mode)


def mend(files: BuildFiles, problems: Iterable[Problem], *, disk: Disk) -> Repair:
    """Make the additions of problems in the BUILD.gn files.

    Raises:
        DiskError: a file cannot be written; those before it are edited.
    """
    repair = Repair()
    wanted: dict[str, list[tuple[Addition, str]]] = {}
    for problem in problems:
        if not problem.additions:
            continue
        path = files.path(problem.target)
        if not path:
            repair.refused[problem.target] = "its BUILD.gn was not found"
        wanted.setdefault(os.path.realpath(path) if path else "", []).extend(
            (addition, problem.target) for addition in _additions(problem)
        )
    wanted.pop("", None)
    for path, additions in sorted(wanted.items()):
        _mend_file(files, path, additions, repair, disk)
    return repair


def _mend_file(
    files: BuildFiles, path: str, additions: Sequence[tuple[Addition, str]], repair: Repair, disk: Disk
) -> None:
    with open(path, "rb") as reader:
        text = reader.read()
    new, refused, made = edit_text(files.formatter, text, [addition for addition, _ in additions])
    _note(repair, additions, refused)
    if new == text:
        return
    mode = stat.S_IMODE(os.stat(path).st_mode)
    disk.publish(path, new, mode=mode)
    repair.before[path] = (text, mode)
    repair.made[files.shown(path)] = made


def _note(repair: Repair, additions: Sequence[tuple[Addition, str]], refused: Mapping[Addition, str]) -> None:
    for addition, label in additions:
        if addition in refused:
            repair.refused[label] = refused[addition]


def restore_and_explain(repair: Repair, error: ConfigurationError, disk: Disk) -> ConfigurationError:
    """Take all edits back and return the error that says why."""
    repair.take_back(disk)
    return ConfigurationError(
        "GN refuses the tree with these edits, which were taken back:\n"
        + "\n".join(f"  {file}: {', '.join(each.target for each in made)}" for file, made in repair.made.items())
        + f"\n{error.message}",
        advice="Run this without --fix, and add the lines by hand.",
    )


def _additions(problem: Problem) -> list[Addition]:
    return [Addition(_name(problem.target), variable, values) for variable, values in problem.additions]


def _name(label: str) -> str:
    return label.rpartition(":")[2]
