"""Whether an environment has a Python that a project supports."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.errors import EnvironmentMismatch
from interlock.inputs import read_pyproject

if TYPE_CHECKING:
    from interlock.environment import Environment

__all__ = ["check_python", "check_static_python"]


def check_static_python(source: str, environment: Environment) -> None:
    """Refuse early what pyproject.toml excludes: backends say it less well.

    Raises:
        EnvironmentMismatch: it does.
    """
    project = read_pyproject(source).get("project")
    if isinstance(project, dict) and isinstance(wanted := project.get("requires-python"), str):
        check_python(f"{project.get('name')} ({os.path.join(source, 'pyproject.toml')})", wanted, environment)


def check_python(who: str, wanted: str, environment: Environment) -> None:
    """Refuse an environment whose Python is not `wanted`, the specifiers of a Requires-Python; `who` is for the message.

    Raises:
        EnvironmentMismatch: it is not.
    """
    if not wanted:
        return
    from packaging.specifiers import SpecifierSet

    actual = environment.interpreter.markers["python_full_version"]
    try:
        supported = SpecifierSet(wanted).contains(actual, prereleases=True)
    except ValueError:
        return  # pip reads such a field as none at all
    if not supported:
        raise EnvironmentMismatch(
            f"{who} requires Python {wanted}, but {environment.path} has Python {actual}",
            advice="Give the environment another interpreter (`interlock venv --python`, `python` in the configuration), "
            "or leave the project out of it.",
        )
