"""Check a GN tree: do the targets of interlock's templates say what the metadata of their projects says?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.environment import is_environment, open_environment
from interlock.errors import NotAnEnvironment
from interlock.interpreter import find_interpreter, satisfies
from interlock_gn.rule_names import bad_names
from interlock_gn.source_tree import short_label
from interlock_gn.targets import read_targets
from interlock_gn.undeclared import compare, stub
from interlock_ninja.config import Configuration, EnvironmentConfig
from interlock_ninja.discovery import PROJECT_FILES
from interlock_ninja.workspace import read_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.durable import Disk
    from interlock.interpreter import Interpreter
    from interlock_gn.gn_program import Evaluation
    from interlock_gn.targets import ProjectTarget, Targets, VenvTarget
    from interlock_gn.undeclared import Finding
    from interlock_ninja.dynamic import Ask
    from interlock_ninja.project import Project

__all__ = ["Checked", "Problem", "check_tree"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, or, in `Checked.notes`, worth a look.

    `target` is the label that it is about, "" for none; `details` are lines that say more. `additions` are what to add to
    variables of that target: strings as the BUILD.gn spells them.
    """

    kind: str
    target: str
    message: str
    details: tuple[str, ...] = ()
    additions: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found, each in a stable order."""

    targets: Targets
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]


def check_tree(
    gn: Evaluation,
    *,
    disk: Disk | None = None,
    progress: Callable[[str], None] | None = None,
    ask: Ask | None = None,
) -> Checked:
    """Compare all environments of a tree with the metadata of their projects, and look at the names of Ninja's rules.

    `disk`, `progress` and `ask` are for metadata that only a build backend knows, as of read_workspace.

    Raises:
        ConfigurationError: GN finds something wrong in the tree.
        InterpreterNotFound: nothing answers to the `python` of an environment.
    """
    targets = read_targets(gn)
    found = _Found()
    for label in sorted(targets.venvs):
        _check_environment(gn, targets, targets.venvs[label], found, _Reading(disk, progress, ask))
    for name in bad_names(targets.actions, gn.out):
        who = " and ".join(name.labels)
        if name.refused:
            message = f"{who} makes no rule of Ninja: {name.refused!r} is in the name"
        else:
            message = f"{who} make one rule of Ninja, {name.rule}: it refuses the second one"
        found.problems.append(
            Problem("rule-name", name.labels[0], message, ("Rename one of the targets, or move it.",))
        )
    return Checked(targets, tuple(found.problems), tuple(found.notes))


@dataclass(slots=True)
class _Found:
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Reading:
    disk: Disk | None
    progress: Callable[[str], None] | None
    ask: Ask | None


def _check_environment(gn: Evaluation, targets: Targets, venv: VenvTarget, found: _Found, reading: _Reading) -> None:
    own = {label: each for label, each in targets.projects.items() if each.venv == venv.label}
    interpreter = _interpreter(gn, venv, reading.disk)
    read = _read(gn, venv, own, interpreter, reading, found)
    _check_names(gn, own, read, found)
    _check_membership(targets, venv, found)
    known = {label: read.get(label) or stub(target.name) for label, target in own.items()}
    for finding in compare(targets, venv, known, interpreter.markers):
        kept = found.notes if finding.kind == "unused" else found.problems
        kept.append(_described(finding, targets, venv))


def _interpreter(gn: Evaluation, venv: VenvTarget, disk: Disk | None) -> Interpreter:
    """Return the interpreter of an environment as its edge chooses it: that of the one that is there, if it will do."""
    spec = venv.python or None
    if is_environment(venv.path):
        try:
            there = open_environment(venv.path).interpreter
        except NotAnEnvironment:
            return find_interpreter(spec, root=gn.out, disk=disk)
        if satisfies(there, spec, root=gn.out, disk=disk):
            return there
    return find_interpreter(spec, root=gn.out, disk=disk)


def _read(
    gn: Evaluation,
    venv: VenvTarget,
    own: Mapping[str, ProjectTarget],
    interpreter: Interpreter,
    reading: _Reading,
    found: _Found,
) -> dict[str, Project]:
    """Return the metadata of an environment's projects by label, without those whose metadata cannot be read."""
    directories: dict[str, str] = {}
    for label, target in own.items():
        if any(os.path.isfile(os.path.join(target.directory, name)) for name in PROJECT_FILES):
            directories[label] = os.path.relpath(target.directory, gn.root).replace(os.sep, "/")
        elif os.path.join(target.directory, "").startswith(os.path.join(gn.out, "")):
            what = f"{target.directory} is made by the build: its requirements were not looked at"
            found.notes.append(Problem("generated", label, what))
        else:
            what = f"there is no project in {target.directory}: neither pyproject.toml, setup.cfg nor setup.py"
            found.problems.append(Problem("metadata", label, what, ("Name its directory with `pyproject`.",)))
    if not directories:
        return {}
    configuration = _configuration(gn, venv, interpreter, sorted(set(directories.values())))
    workspace = read_workspace(
        configuration=configuration, disk=reading.disk, progress=reading.progress, ask=reading.ask
    )
    # One directory may have two names, through a symbolic link.
    real = {label: _real(gn, directory) for label, directory in directories.items()}
    by_directory = {_real(gn, project.directory): project for project in workspace.projects}
    reasons = {_real(gn, each.path): each.reason for each in workspace.skipped}
    for label, directory in real.items():
        if directory not in by_directory:
            reason = reasons.get(directory, "it cannot be read")
            found.problems.append(Problem("metadata", label, f"the metadata of {label}: {reason}"))
    return {label: by_directory[directory] for label, directory in real.items() if directory in by_directory}


def _configuration(gn: Evaluation, venv: VenvTarget, interpreter: Interpreter, directories: list[str]) -> Configuration:
    """Return the configuration of a workspace that has just the projects of one environment."""
    import glob

    settings: dict[str, str | tuple[str, ...]] = {}
    for setting in venv.settings:
        key, _, value = setting.partition("=")
        before = settings.get(key)
        settings[key] = value if before is None else (*((before,) if isinstance(before, str) else before), value)
    environment = EnvironmentConfig(
        name="venv",
        path=venv.path,
        python=interpreter.executable,
        projects=None,
        extras={},
        groups={},
        requirements=(),
        constraints=(),
        build_constraints=venv.build_constraints,
        config_settings={"*": settings} if settings else {},
    )
    return Configuration(
        root=gn.root,
        file=None,
        members=tuple(map(glob.escape, directories)),
        exclude=(),
        out=gn.out,
        durability="full",
        engine="auto",
        internal_specifiers="error",
        environments=(environment,),
    )


def _check_names(gn: Evaluation, own: Mapping[str, ProjectTarget], read: Mapping[str, Project], found: _Found) -> None:
    """Find targets with another name than their project's, and projects of one name in two directories."""
    owners: dict[str, dict[str, str]] = {}
    for label, project in sorted(read.items()):
        said = own[label].name
        if normalize(said) != project.normalized:
            target = label.rpartition(":")[2]
            message = f"{label} calls its project {said}, and {project.metadata_file} says {project.name}"
            advice = f'Rename the target, or set its project_name = "{project.name}"'
            if said != target:
                advice = f'Set its project_name = "{project.name}"'
            found.problems.append(Problem("name", label, message, (advice,)))
        owners.setdefault(project.normalized, {}).setdefault(_real(gn, project.directory), label)
    for name, places in owners.items():
        if len(places) > 1:
            labels = sorted(places.values())
            message = f"{' and '.join(labels)} install two projects of one name, {name}, into one environment"
            found.problems.append(Problem("duplicate", labels[0], message, ("Give one of them another `venv`.",)))


def _check_membership(targets: Targets, venv: VenvTarget, found: _Found) -> None:
    """Find projects that an environment names and another one installs, and those that it installs and does not name."""
    members = targets.members(venv)
    for label in sorted(members):
        if (other := targets.projects[label].venv) != venv.label:
            message = f"{venv.label} leads to {label}, which is installed into {other}"
            advice = f'Set its venv = "{short_label(venv.label)}", or take it out of `projects` and `python_deps`.'
            found.problems.append(Problem("environment", label, message, (advice,)))
    for label, target in sorted(targets.projects.items()):
        if target.venv == venv.label and label not in members:
            message = f"{label} is installed into {venv.label}, whose `projects` do not lead to it"
            advice = f'To build it with all others, add to these: "{short_label(label)}"'
            found.notes.append(Problem("unlisted", label, message, (advice,)))


def _described(finding: Finding, targets: Targets, venv: VenvTarget) -> Problem:
    label = finding.target.label
    directory = label.rpartition(":")[0]
    details = tuple(f"{_who(finding, each.project, each.file)} requires {each.requirement}" for each in finding.missing)
    details += tuple(
        f"{each} is complete only with {last}, the last of their dependency cycle" for each, last in finding.lasts
    )
    additions = tuple(
        (variable, tuple(_spelled(value, directory) if variable == "python_deps" else value for value in values))
        for variable, values in finding.additions
    )
    if finding.kind == "unused":
        named = ", ".join(_spelled(each, directory) for each in finding.unused)
        return Problem("unused", label, f"{label} declares {named}, which no requirement of its project asks for")
    if finding.kind == "cycle":
        message = f"{label} is one of {len(finding.cycle)} that require each other: {', '.join(finding.cycle)}"
        return Problem("cycle", label, message, details, additions)
    if finding.kind == "absent":
        where = ", ".join(
            f"{each.label} installs it into {targets.projects[each.label].venv}"
            for each in finding.missing
            if each.label
        )
        message = f"{label} requires what has no target in {venv.label}: {where}"
        advice = f'Give it one more interlock_project, with venv = "{short_label(venv.label)}", and declare that.'
        return Problem("absent", label, message, (*details, advice))
    labels = [*(each.label for each in finding.missing), *(last for _, last in finding.lasts)]
    named = ", ".join(dict.fromkeys(labels))
    return Problem(finding.kind, label, f"{label} does not declare {named}", details, additions)


def _who(finding: Finding, project: str, file: str) -> str:
    """Return who has a requirement: the file alone, where it is that of the target's own project."""
    if normalize(project) == normalize(finding.target.name):
        return file
    return f"{file} ({project}, in an extra that is asked of it,)"


def _spelled(label: str, directory: str) -> str:
    """Return a label as the BUILD.gn of a directory names it."""
    return label.removeprefix(directory) if label.startswith(f"{directory}:") else short_label(label)


def _real(gn: Evaluation, directory: str) -> str:
    return os.path.realpath(os.path.join(gn.root, directory))
