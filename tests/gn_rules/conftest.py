"""Source trees that use the templates of this repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gn_trees import Tree, make_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path, gn: str) -> Tree:
    """Return an empty GN source tree with the templates, three toolchains, and the Ninja that interlock depends on."""
    from interlock_ninja.commands.build import ninja_program

    return make_tree(tmp_path / "tree", gn, ninja_program())
