"""The file of a workspace's names: what it says, and what engines make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.engine import Engine
from interlock.errors import ConfigurationError
from interlock.workspace_names import read_workspace_names, withhold, workspace_names_text


@pytest.fixture
def names(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "names.txt"


def test_names_alone(names: Path) -> None:
    names.write_text("# the workspace\nMy.Core\n\nother  # why\n", encoding="utf-8")
    assert read_workspace_names(str(names)) == {"my-core": "", "other": ""}


def test_names_with_directories(names: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = names.parents[1]
    monkeypatch.chdir(root)
    text = workspace_names_text([("b", "../with # and space"), ("a", str(root / "absolute")), ("c", "../.")])
    assert text.startswith("a\t")
    names.write_text(text, encoding="utf-8")
    expected = {"a": str(root / "absolute"), "b": str(root / "with # and space"), "c": str(root)}
    assert read_workspace_names("out/names.txt") == expected


def test_a_name_that_two_directories_claim_has_none(names: Path) -> None:
    names.write_text("a\tone\na\ttwo\na\ttwo\nb\tone\nb\t./one\n", encoding="utf-8")
    assert read_workspace_names(str(names)) == {"a": "", "b": str(names.parent / "one")}


def test_a_file_that_cannot_be_read(names: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"from .*names\.txt: No such file"):
        read_workspace_names(str(names))
    names.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="it is not UTF-8"):
        read_workspace_names(str(names))


def test_an_engine_without_private_names_is_as_it_was(tmp_path: Path) -> None:
    engine = Engine("pip", ("python",))
    assert withhold(engine, "python", [], str(tmp_path), disk=Disk("fast")) == (engine, [])
    assert list(tmp_path.iterdir()) == []
