"""Small source trees for tests: a mapping of paths to texts, written below a directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["pyproject", "write_tree"]

BUILD_SYSTEM = '[build-system]\nrequires = ["flit_core>=3.11"]\nbuild-backend = "flit_core.buildapi"\n'


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below `root`, which is returned."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return root


def pyproject(name: str, *dependencies: str, version: str = "1.0", more: str = "", build: str = BUILD_SYSTEM) -> str:
    """Return a pyproject.toml; `more` are lines of [project], then other tables."""
    return (
        f"{build}[project]\nname = {json.dumps(name)}\nversion = {json.dumps(version)}\n"
        f"dependencies = {json.dumps(dependencies)}\n{more}\n"
    )
