"""Which backends, and which of their versions, static answers are known for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.static.answer import Question, release
from interlock.static.tree import NotStatic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.static.answer import Answer
    from interlock.static.project import StaticProject
    from interlock.static.tree import Tree

__all__ = ["BACKENDS", "Backend", "backend_of", "is_known", "static_answer"]


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend: its distribution, the module that has its answers, the ranges of its versions that are known.

    `companions` may be installed beside it: they do not change what it writes, or that is known. `hooks_require` is what it
    asks for when a wheel is to be editable.
    """

    distribution: str
    module: str
    known: tuple[tuple[str, str], ...]
    companions: frozenset[str] = frozenset()
    hooks_require: tuple[str, ...] = ()


HATCHLING = frozenset({"editables", "packaging", "pathspec", "pluggy", "tomli", "tomlkit", "trove-classifiers"})
BACKENDS = {
    "flit_core.buildapi": Backend("flit-core", "flit_core", (("3.12.0", "3.12.0"), ("4.1.0", "4.2.0"))),
    "hatchling.build": Backend("hatchling", "hatchling", (("1.27.0", "1.33.0"),), HATCHLING, ("editables~=0.3",)),
    "pdm.backend": Backend("pdm-backend", "pdm_backend", (("2.4.5", "2.5.0"),)),
    "poetry.core.masonry.api": Backend("poetry-core", "poetry_core", (("2.2.0", "2.5.0"),)),
    "setuptools.build_meta": Backend("setuptools", "setuptools", (("77.0.3", "84.2.1"),), frozenset({"wheel"})),
    "uv_build": Backend("uv-build", "uv_build", (("0.9.30", "0.13.6"),)),
}
"""By what [build-system] build-backend says."""

# They have no effect on any backend.
INERT = frozenset({"pip"})
SETTINGS = {"editable_mode": ("compat", "lenient")}


def backend_of(project: StaticProject) -> Backend:
    """Return the backend of a project.

    Raises:
        NotStatic: nothing is known of it.
    """
    if project.backend not in BACKENDS:
        raise NotStatic(f"its build backend is {project.backend or 'not named'}")
    return BACKENDS[project.backend]


def is_known(backend: Backend, installed: Mapping[str, str]) -> bool:
    """Tell whether the version of a backend that is installed, by normalised names, is one of those that are known."""
    version = release(installed.get(backend.distribution, ""))
    return any(release(oldest) <= version <= release(newest) for oldest, newest in backend.known)


def static_answer(
    project: StaticProject,
    tree: Tree,
    installed: Mapping[str, str],
    settings: Mapping[str, str | Sequence[str]],
    site_packages: Sequence[str] = (),
) -> Answer:
    """Return what the backend of a project would write for an editable install.

    `installed` are the versions in its build environment by normalised name, and `site_packages` its directories.

    Raises:
        NotStatic: that is not certain; with the reason.
    """
    backend = backend_of(project)
    text = installed.get(backend.distribution, "")
    if not is_known(backend, installed):
        ranges = " and ".join(
            oldest if oldest == newest else f"{oldest} to {newest}" for oldest, newest in backend.known
        )
        raise NotStatic(f"its build environment has {backend.distribution} {text or '(none)'}, and known are {ranges}")
    if others := sorted(set(installed) - {backend.distribution} - backend.companions - INERT):
        raise NotStatic(f"its build environment has {others[0]} too, which may change what the backend writes")
    for key, value in settings.items():
        if key not in SETTINGS or value not in SETTINGS[key]:
            raise NotStatic(f"it has the config setting {key}={value}")
    question = Question(
        project,
        tree,
        text,
        release(text),
        installed,
        tuple(site_packages),
        compat=settings.get("editable_mode") == "compat",
    )
    module = importlib.import_module(f"interlock.static.{backend.module}")
    found: Answer = module.answer(question)
    return found
