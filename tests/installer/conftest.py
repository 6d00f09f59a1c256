"""What the tests of the installer have in common."""

from __future__ import annotations

import os
import venv
from pathlib import Path

import pytest

from interlock.environment import Environment, open_environment


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Return a fresh environment, made by the standard library."""
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    return open_environment(str(tmp_path / "env"))
