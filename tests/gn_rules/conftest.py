"""A real GN, and source trees that use the templates of this repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gn_trees import Tree, make_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session", params=["debian", "other"])
def gn(request: pytest.FixtureRequest, require_tool: Callable[..., str]) -> str:
    """Return a real GN: the one on PATH (Debian's of 2022 in CI), and the one that INTERLOCK_TEST_GN names, if it is set."""
    if request.param == "debian":
        return require_tool("gn", platforms=("linux", "darwin"))
    other = os.environ.get("INTERLOCK_TEST_GN")
    if not other:
        pytest.skip("INTERLOCK_TEST_GN names no second GN")
    return other


@pytest.fixture
def tree(tmp_path: Path, gn: str) -> Tree:
    """Return an empty GN source tree with the templates, three toolchains, and the Ninja that interlock depends on."""
    from interlock_ninja.commands.build import ninja_program

    return make_tree(tmp_path / "tree", gn, ninja_program())
