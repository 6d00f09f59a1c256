"""JSON and TOML of others: whatever is wrong with it is a ValueError, and so an error of the reader that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.documents import parse_json, parse_toml
from interlock.errors import InterlockError
from interlock.hooks import open_project
from interlock.inputs import read_pyproject
from interlock.prepared import load_prepared
from interlock.stamp import read_stamp
from interlock_ninja.config import load_configuration

DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_json, DEEP),
        (parse_json, b"\xff"),
        (parse_json, "{"),
        (parse_json, "9" * 5000),
        (parse_toml, f"x = {DEEP}"),
        (parse_toml, b"x = '\xff'"),
        (parse_toml, "x"),
        (parse_toml, "x = " + "9" * 5000),
        (parse_toml, "[a]\n[a]\n"),
    ],
)
def test_what_cannot_be_read(parse: Callable[[Any], object], text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_what_can_be_read() -> None:
    assert parse_json(b'{"a": [1]}') == {"a": [1]}
    assert parse_toml(b"a = 'b'") == parse_toml("a = 'b'") == {"a": "b"}


def test_readers_of_what_is_nested_too_deep(tmp_path: Path) -> None:
    for name, text in {
        "manifest.json": DEEP,
        "pyproject.toml": f"x = {DEEP}",
        "interlock.toml": f"members = {DEEP}",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_stamp(str(tmp_path / "manifest.json")) is None
    assert read_pyproject(str(tmp_path)) == {}
    (tmp_path / "prepared").write_bytes(b"interlock prepared 3\n" + DEEP.encode() + b"%020d\n" % len(DEEP))
    with pytest.raises(InterlockError, match="is nothing that this version of interlock prepares"):
        load_prepared(str(tmp_path / "prepared"))
    readers: list[Callable[[str], object]] = [
        *(load_prepared, load_configuration, lambda path: open_project(path, reproduce=""))
    ]
    for reader in readers:
        with pytest.raises(InterlockError):
            reader(str(tmp_path))
