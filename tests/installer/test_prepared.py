"""The manifest of a prepared distribution: what it says, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import InterlockError, UnsafePath
from interlock.prepared import File, Prepared, Requirement, load_prepared, manifest_text, seal

RECORD = "lib/python3.12/site-packages/core-1.0.dist-info/RECORD"


def example(directory: Path, **changes: Any) -> Prepared:
    prepared = Prepared(
        directory=str(directory),
        name="Core",
        normalized="core",
        version="1.0",
        source="/src/core",
        dist_info="lib/python3.12/site-packages/core-1.0.dist-info",
        environment="/env",
        python="3.12",
        implementation="cpython",
        files=(File("bin/core", "ab" * 32, 3, True), File(RECORD, "cd" * 32, 4, False)),
        requires=(Requirement("leaf[x]>=1", "leaf", ">=1", ("x",), ""),),
        requires_python=">=3.8",
    )
    return seal(replace(prepared, **changes))


def store(prepared: Prepared) -> Prepared:
    Path(prepared.directory, "manifest.json").write_bytes(manifest_text(prepared))
    return prepared


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    prepared = store(example(tmp_path))
    assert load_prepared(str(tmp_path)) == prepared
    assert prepared.path_of(prepared.files[0]) == str(tmp_path / "tree" / "bin" / "core")


def test_the_digest_is_of_the_content_and_of_nothing_else(tmp_path: Path) -> None:
    assert example(tmp_path).digest == example(tmp_path / "elsewhere").digest
    others = [
        example(tmp_path, version="1.1"),
        example(tmp_path, environment="/other"),
        example(tmp_path, requires=()),
        example(tmp_path, files=(File(RECORD, "cd" * 32, 4, True),)),
    ]
    assert len({example(tmp_path).digest, *(one.digest for one in others)}) == 5


def test_the_manifest_has_the_documented_keys(tmp_path: Path) -> None:
    data = json.loads(manifest_text(example(tmp_path)))
    assert sorted(data) == [
        *(
            "digest",
            "dist_info",
            "environment",
            "files",
            "implementation",
            "links",
            "name",
            "normalized",
            "python",
            "requires",
        ),
        *("requires_python", "schema", "source", "version"),
    ]
    assert data["schema"] == 2


def test_nothing_prepared_says_which_edge_was_missed(tmp_path: Path) -> None:
    with pytest.raises(InterlockError, match="nothing is prepared in") as caught:
        load_prepared(str(tmp_path / "no"))
    assert "__editable_prepare" in caught.value.advice


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"digest": "x", "schema": 2}', "\x00\xff"])
def test_a_manifest_of_another_kind_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(InterlockError, match="not a manifest that this version"):
        load_prepared(str(tmp_path))


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    store(example(tmp_path))
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"/env"', '"/other"'), encoding="utf-8")
    with pytest.raises(InterlockError, match="was edited"):
        load_prepared(str(tmp_path))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside", "lib/../../outside", "lib\\x", "C:/x", "", "./x", "a//b", "a/."]
)
def test_a_path_out_of_the_environment_is_refused(path: str, tmp_path: Path) -> None:
    store(example(tmp_path, files=(File(path, "ab" * 32, 3, False),)))
    with pytest.raises(UnsafePath, match="outside of the environment"):
        load_prepared(str(tmp_path))
    store(example(tmp_path, dist_info=path))
    with pytest.raises(UnsafePath, match="outside of the environment"):
        load_prepared(str(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": 1}, {"version": None}, {"source": ["/src"]}, {"environment": "a\0b"}, {"dist_info": {}}),
        *(
            {"files": (File("a", "", True, False),)},
            {"files": (File("a", "", 1, 0),)},
            {"files": (File([], "", 1, True),)},
        ),  # type: ignore[arg-type]
        {"requires": (Requirement("a", "a", "", (1,), ""),)},  # type: ignore[arg-type]
        {"requires": (Requirement("a", {}, "", (), ""),)},  # type: ignore[arg-type]
    ],
)
def test_a_manifest_whose_values_are_of_another_kind_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    """Its digest is right: somebody wrote it that way."""
    store(example(tmp_path, **changes))
    with pytest.raises(InterlockError, match="not a manifest that this version"):
        load_prepared(str(tmp_path))


def test_loading_is_cheap() -> None:
    code = "import sys, interlock.prepared; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"packaging", "zipfile", "subprocess", "email", "interlock.hooks", "interlock.wheel"} & set(loaded)
