"""The reference of the commands is what the commands say."""

from __future__ import annotations

import sys

import pytest

from commands_reference import FILE, text


# argparse words its help differently from version to version.
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the file is written with Python 3.11")
def test_the_reference_is_what_the_commands_say() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run python tests/commands_reference.py"
