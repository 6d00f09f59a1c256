"""What a build environment is made from, and what earlier ones have shown to be needed.

    <cache>/build-environments/<key>.names.json       of the recipe with this key: names that are needed beyond those in it

A recipe names what a project asks for. What local build requirements need in turn, and which third-party ones need a project of
the workspace, only making the environment shows. It is noted, so that the next one to ask has the whole recipe, and the
whole key, at once.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interlock.cache import cache_directory, forget_files
from interlock.distribution import normalize
from interlock.documents import parse_json
from interlock.engine import find_engine
from interlock.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from interlock.durable import Disk
    from interlock.engine import Engine
    from interlock.interpreter import Interpreter

__all__ = ["SCHEMA", "Recipe", "environments_root", "forget", "make_recipe", "remember", "remembered", "spelled"]

SCHEMA = 2
NOTED = ("used", "left_out")

_SPECIFIER_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a build environment is made from: equal recipes have equal keys.

    `requires` are sorted and in one spelling. The names in `local` are a workspace's (normalised name: directory), and never
    asked of an index. `wanted_by` is the project that asks first, for messages. What only making the environment shows, is
    remembered for the next time: `used` are the names in `local` that are needed, however far down, and `left_out` the
    requirements that third-party distributions have of such names (`core[extra]`).
    """

    requires: tuple[str, ...]
    interpreter: Interpreter
    constraints: tuple[str, ...]
    local: Mapping[str, str]
    engine: Engine
    wanted_by: str = ""
    used: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names in `local` that are known to be needed: of all others nothing depends."""
        named = map(_name, (*self.requires, *self.left_out))
        return frozenset(name for name in (*named, *self.used) if name in self.local)

    @property
    def key(self) -> str:
        """SHA-256 (hex) of everything that decides what gets installed, indexes aside."""
        base = self.interpreter
        try:
            status = os.stat(base.executable)
            built = [status.st_mtime_ns, status.st_size]
        except OSError:
            built = []
        parts = [
            SCHEMA,
            [os.path.realpath(base.executable), base.version, base.implementation, base.soabi, built],
            self.requires,
            [_digest_of_file(path) for path in self.constraints],
            {name: self.local[name] for name in self.names},
            [each for each in self.left_out if _name(each) in self.local],
            self.engine.name,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def extended(self, requires: Iterable[str]) -> Recipe:
        """Return the recipe for more requirements."""
        return self.renewed([*self.requires, *requires])

    def renewed(self, requires: Iterable[str], wanted_by: str = "") -> Recipe:
        """Return the recipe for other requirements; what is known of these is not known of those."""
        return replace(self, requires=spelled(requires), wanted_by=wanted_by or self.wanted_by, used=(), left_out=())


def make_recipe(
    requires: Iterable[str],
    *,
    interpreter: Interpreter,
    constraints: Iterable[str] = (),
    local: Mapping[str, str] | None = None,
    engine: str = "auto",
    wanted_by: str = "",
) -> Recipe:
    """Make a recipe from build requirements, constraint files and the directories of a workspace's projects.

    Raises:
        ConfigurationError: a constraint file does not exist.
        EngineUnavailable: neither uv nor pip.
    """
    files = tuple(os.path.abspath(path) for path in constraints)
    directories = _absolute(tuple((local or {}).items()), os.getcwd())
    for path in files:
        if not os.path.exists(path):
            raise ConfigurationError(f"{path}, named for builds, does not exist", advice="Correct its path.")
    return Recipe(
        spelled(requires), interpreter, files, directories, find_engine(engine, interpreter=interpreter), wanted_by
    )


@functools.lru_cache(maxsize=2)
def _absolute(local: tuple[tuple[str, str], ...], here: str) -> Mapping[str, str]:
    """Return the directories by normalised name; those of a thousand projects are the same for each of them."""
    return {normalize(name): path and os.path.abspath(os.path.join(here, path)) for name, path in local}


def remembered(recipe: Recipe) -> Recipe:
    """Return a recipe with what was remembered of it."""
    if not recipe.local:
        return recipe
    note = _note(replace(recipe, used=(), left_out=()))
    used, left_out = ({each for each in note.get(part, ()) if _name(each) in recipe.local} for part in NOTED)
    return replace(
        recipe,
        used=tuple(sorted(used.union(recipe.used))),
        left_out=tuple(sorted(left_out.union(recipe.left_out))),
    )


def remember(recipe: Recipe, used: Collection[str], left_out: Collection[str], disk: Disk) -> bool:
    """Note what is needed beyond what a recipe knows; tell whether there is anything."""
    if recipe.names.issuperset(used) and set(recipe.left_out).issuperset(left_out):
        return False
    base = replace(recipe, used=(), left_out=())
    note = _note(base)
    # Nothing is taken out: the names that one workspace needs are not those of another one with an equal recipe.
    both = zip(NOTED, ({*recipe.used, *used}, {*recipe.left_out, *left_out}), strict=True)
    merged = {part: sorted(more.union(note.get(part, ()))) for part, more in both}
    disk.publish_if_changed(_note_path(base), json.dumps(merged).encode())
    return True


def _note(base: Recipe) -> dict[str, list[str]]:
    try:
        with open(_note_path(base), "rb") as reader:
            note = parse_json(reader.read())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _note_path(base: Recipe) -> str:
    return os.path.join(environments_root(), f"{base.key}.names.json")


def forget(root: str, older_than_days: float | None, disk: Disk) -> None:
    """Forget which names were needed: making an environment shows it again."""
    forget_files(root, older_than_days, disk, ending=".names.json")


def environments_root() -> str:
    return os.path.join(cache_directory(), "build-environments")


def spelled(requires: Iterable[str]) -> tuple[str, ...]:
    """Return requirements sorted and in one spelling, as far as that needs no parser."""
    return tuple(sorted({_respell(text) for text in requires}))


def _respell(text: str) -> str:
    text = text.strip()
    match = _NAME.match(text)
    if match is None or "@" in text or ";" in text:
        return _SPECIFIER_SPACE.sub(" ", text)
    return normalize(match[1]) + _SPECIFIER_SPACE.sub("", text[match.end() :])


def _name(requirement: str) -> str:
    match = _NAME.match(requirement)
    return normalize(match[1]) if match else ""


def _digest_of_file(path: str) -> str:
    with open(path, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
