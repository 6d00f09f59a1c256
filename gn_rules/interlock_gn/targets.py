"""The targets of a GN tree that interlock's templates have made, as GN evaluates them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from interlock_gn.source_tree import system_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from interlock_gn.gn_program import Evaluation

__all__ = ["ProjectTarget", "Targets", "VenvTarget", "read_targets"]

_METADATA = "__metadata"
_PROJECTS_FILE = ".projects.txt"


@dataclass(frozen=True, slots=True)
class ProjectTarget:
    """An interlock_project. `directory` is absolute; `venv` and `declared` are labels; `name` is what the BUILD.gn says.

    `extras`, `deferred` and `verify` are as they stand in the command lines of its actions. No label has a toolchain.
    """

    label: str
    name: str
    directory: str
    venv: str
    declared: tuple[str, ...]
    extras: tuple[str, ...]
    deferred: tuple[str, ...]
    verify: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VenvTarget:
    """An interlock_venv. `path` is absolute, `python` a spec or "", `projects` the labels that it names itself.

    `settings` are "key=value" for build backends; `build_constraints` are absolute paths of files.
    """

    label: str
    path: str
    python: str
    projects: tuple[str, ...]
    settings: tuple[str, ...]
    build_constraints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Targets:
    """All of them, by label. `groups` has the labels that each interlock_group names.

    `actions` are the labels of all actions of the tree, whoever made them, with the toolchain unless it is the default one.
    """

    projects: Mapping[str, ProjectTarget]
    groups: Mapping[str, tuple[str, ...]]
    venvs: Mapping[str, VenvTarget]
    actions: tuple[str, ...]

    def led_to(self, labels: Iterable[str]) -> frozenset[str]:
        """Return the labels of the projects that labels lead to: a project to itself, a group to what it names."""
        found: set[str] = set()
        seen: set[str] = set()
        waiting = list(labels)
        while waiting:
            label = waiting.pop()
            if label in seen:
                continue
            seen.add(label)
            waiting += self.groups.get(label, ())
            if label in self.projects:
                found.add(label)
        return frozenset(found)

    def members(self, venv: VenvTarget) -> frozenset[str]:
        """Return the labels of what belongs to an environment: what its `projects` lead to, and what these declare."""
        found: set[str] = set()
        waiting = set(self.led_to(venv.projects))
        while waiting:
            label = waiting.pop()
            found.add(label)
            waiting |= self.led_to(self.projects[label].declared) - found
        return frozenset(found)


def read_targets(gn: Evaluation) -> Targets:
    """Ask GN for the targets of a tree, as its BUILD.gn files are now.

    Raises:
        ConfigurationError: GN finds something wrong in the tree.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        asked = pool.map(partial(gn.describe, "//*"), ("metadata", "args"))
        metadata, arguments = asked
        venvs = pool.map(partial(_venv, gn), *_labels_of_venvs(metadata))
    described = {venv.label: (venv, directory) for venv, directory in venvs}
    directories = {label: directory for label, (_, directory) in described.items()}
    return Targets(
        projects={each.label: each for each in _projects(metadata, arguments, directories)},
        groups={label: declared for name, _, label, declared, _ in _lines(metadata) if not name},
        venvs={label: venv for label, (venv, _) in described.items()},
        actions=tuple(sorted(label for label, said in arguments.items() if "args" in said)),
    )


def _labels_of_venvs(metadata: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the targets with the projects of each environment, and what its own metadata says."""
    targets, said = [], []
    for label, each in metadata.items():
        for venv in each.get("metadata", {}).get("interlock_venv", ()):
            targets.append(_beside(label, "__venv", "__projects"))
            said.append(venv)
    return targets, said


def _venv(gn: Evaluation, target: str, said: Mapping[str, str]) -> tuple[VenvTarget, str]:
    """Return an environment, and the absolute path of its target_gen_dir."""
    (described,) = gn.describe(target).values()
    file = system_path(gn.root, described["outputs"][0])
    base = file.removesuffix(_PROJECTS_FILE)
    build = _words(f"{base}.build.args")
    venv = VenvTarget(
        label=said["label"],
        path=said["path"],
        python=said["python"],
        projects=tuple(_plain(dep).removesuffix(_METADATA) for dep in described.get("deps", ())),
        settings=_values(_words(f"{base}.settings.args"), "-C"),
        build_constraints=tuple(
            os.path.normpath(os.path.join(gn.out, path)) for path in _values(build, "--build-constraint")
        ),
    )
    return venv, os.path.dirname(file)


def _lines(metadata: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str, tuple[str, ...], str]]:
    """Yield (name, directory, label, declared labels, target) for each project and group; name and directory "" for these."""
    for target, each in metadata.items():
        for line in each.get("metadata", {}).get("interlock_project", ()):
            name, directory, label, declared, _ = line.split("\t")
            yield name, directory, label, tuple(declared.split()), target


def _projects(
    metadata: Mapping[str, Mapping[str, Any]],
    arguments: Mapping[str, Mapping[str, Any]],
    directories: Mapping[str, str],
) -> Iterator[ProjectTarget]:
    """Yield the projects; `directories` are those that the paths of each environment's projects are relative to."""
    for name, directory, label, declared, target in _lines(metadata):
        if not name:
            continue
        (line,) = metadata[target]["metadata"]["interlock_in_venv"]
        venv = line.split(" ")[1]
        prepare = arguments.get(_beside(target, _METADATA, "__editable_prepare"), {}).get("args", [])
        install = arguments.get(_beside(target, _METADATA, "__editable_install"), {}).get("args", [])
        yield ProjectTarget(
            label=label,
            name=name,
            directory=os.path.normpath(os.path.join(directories[venv], directory)),
            venv=venv,
            declared=declared,
            extras=_values(prepare, "--extra"),
            deferred=_values(install, "--defer"),
            verify=_values(install, "--verify"),
        )


def _beside(label: str, suffix: str, other: str) -> str:
    """Return the label of another target of the same template: "//a:v__venv(//t:x)" -> "//a:v__projects(//t:x)"."""
    plain, parenthesis, toolchain = label.partition("(")
    return f"{plain.removesuffix(suffix)}{other}{parenthesis}{toolchain}"


def _plain(label: str) -> str:
    return label.partition("(")[0]


def _values(words: Sequence[str], option: str) -> tuple[str, ...]:
    return tuple(words[position + 1] for position, word in enumerate(words[:-1]) if word == option)


def _words(path: str) -> list[str]:
    """Return the lines of a file that `gn gen` writes; [] before it has."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as reader:
            return reader.read().splitlines()
    except FileNotFoundError:
        return []
