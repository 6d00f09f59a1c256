"""Calls of the GN templates with defaults, for tests."""

from __future__ import annotations

from typing import Any

from interlock_gn.calls import Calls, EnvironmentCall, ProjectCall


def environment_call(target: str, **more: Any) -> EnvironmentCall:
    lists = ("requirements", "constraints", "dependencies", "build_constraints", "config_settings", "projects")
    fields: dict[str, Any] = {"path": f"//.{target}", "python": "", "directory": "", **dict.fromkeys(lists, ())}
    return EnvironmentCall(target, **{**fields, **more})


def project_call(directory: str, target: str, **more: Any) -> ProjectCall:
    lists = ("python_deps", "build_files", "config_settings", "extras", "deferred", "verify", "any_version")
    fields: dict[str, Any] = {
        **dict.fromkeys(("project_name", "pyproject", "venv", "build_env"), ""),
        **dict.fromkeys(lists, ()),
    }
    return ProjectCall(directory, target, **{**fields, **more})


def calls_of(*environments: EnvironmentCall) -> Calls:
    return Calls(environments, (), (), ())
