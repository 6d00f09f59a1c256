"""A project: one directory of the workspace that can be installed, and what its metadata says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Project"]


@dataclass(frozen=True, slots=True)
class Project:
    """What is known of one project before anything is built.

    Paths are relative to the workspace's root with "/" between the parts; `directory` is "." for the root itself.
    Requirements are PEP 508 strings, each of which `packaging` has parsed; `groups` have their include-group expanded
    (PEP 735); the names of extras and groups are normalized. `origin` says where the metadata came from: "project", "poetry",
    "setup.cfg" or "backend". `metadata_file` is the file to name in messages; a change of any of `build_files` can change the
    metadata. `import_names` are the regular top-level packages that it ships, namespace packages aside, as far as that can be
    seen without building.
    """

    name: str
    normalized: str
    version: str
    directory: str
    requires_python: str
    dependencies: tuple[str, ...]
    optional_dependencies: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    build_requires: tuple[str, ...]
    build_backend: str
    origin: str
    metadata_file: str
    build_files: tuple[str, ...]
    import_names: tuple[str, ...]
