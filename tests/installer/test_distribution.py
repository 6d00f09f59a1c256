"""RECORD, METADATA and what a directory of distributions says."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.distribution import (
    Installed,
    RecordEntry,
    format_record,
    normalize,
    parse_metadata_header,
    parse_record,
    read_metadata_header,
    scan,
)

paths = st.text(st.characters(blacklist_characters="\\\0", blacklist_categories=("Cs",)), min_size=1)
entries = st.builds(
    RecordEntry,
    paths,
    st.sampled_from(["", "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"]),
    st.none() | st.integers(0, 10**12),
)


@given(st.lists(entries))
def test_a_record_is_read_as_it_was_written(written: list[RecordEntry]) -> None:
    assert parse_record(format_record(written)) == written


def test_a_record_is_the_csv_that_other_tools_read() -> None:
    text = format_record([RecordEntry('a "b", c.py', "sha256=x", 3), RecordEntry("core-1.0.dist-info/RECORD")])
    assert text == '"a ""b"", c.py",sha256=x,3\r\ncore-1.0.dist-info/RECORD,,\r\n'
    assert next(csv.reader(io.StringIO(text)))[0] == 'a "b", c.py'


def test_records_of_pip_and_of_windows_are_read() -> None:
    assert parse_record("a.py,sha256=x,1\r\n\r\n..\\..\\Scripts\\core.exe,sha256=y,2\r\n__pycache__/a.pyc,,\r\n") == [
        RecordEntry("a.py", "sha256=x", 1),
        RecordEntry("../../Scripts/core.exe", "sha256=y", 2),
        RecordEntry("__pycache__/a.pyc"),
    ]
    assert parse_record("only-a-path\n") == [RecordEntry("only-a-path")]


@pytest.mark.parametrize("text", [",sha256=x,1\n", "a,b,1,more\n", "a,sha256=x,many\n", "a\0b,,\n", "a" * 140_000])
def test_a_broken_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|invalid literal|no table"):
        parse_record(text)


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", fullmatch=True))
def test_names_are_normalised_as_the_specification_says(name: str) -> None:
    from packaging.utils import canonicalize_name

    assert normalize(name) == canonicalize_name(name)
    assert re.fullmatch("[a-z0-9-]+", normalize(name))


def test_a_scan_reads_directory_names_alone(tmp_path: Path) -> None:
    for name in (
        *("my.Core_package-1.0.dist-info", "core-1!2.0+local.1.dist-info", "core-3.dist-info"),
        *(
            "post-1.0_1.dist-info",
            "~ore-1.0.dist-info",
            ".tmp-1.0.dist-info",
            "core",
            "nothing.dist-info",
            "x.egg-info",
        ),
    ):
        (tmp_path / name).mkdir()
    found = scan([str(tmp_path), str(tmp_path / "missing")])
    assert {name: [one.version for one in group] for name, group in found.items()} == {
        "my-core-package": ["1.0"],
        "core": ["1!2.0+local.1", "3"],
        "post": ["1.0-1"],
    }
    assert found["my-core-package"][0].directory == str(tmp_path / "my.Core_package-1.0.dist-info")
    assert ("core" in found, "nothing" in found, found.get("nothing"), len(found)) == (True, False, None, 3)
    assert scan([str(tmp_path)], "core") == {"core": found["core"]}
    assert scan([str(tmp_path)], "nothing") == {}


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_a_scan_of_what_is_no_directory_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert scan([str(tmp_path / "file"), str(tmp_path / "missing"), str(tmp_path / "file" / "below")]) == {}


def test_one_directory_under_two_names_is_scanned_once(tmp_path: Path) -> None:
    (tmp_path / "lib" / "core-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "lib64").symlink_to("lib")
    assert [one.directory for one in scan([str(tmp_path / "lib"), str(tmp_path / "lib64")])["core"]] == [
        str(tmp_path / "lib" / "core-1.0.dist-info")
    ]


def test_the_name_is_spelled_as_in_metadata(tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text("Metadata-Version: 2.1\nName: My.Core\n\nName: body\n", encoding="utf-8")
    assert Installed("my-core", "1", str(tmp_path)).name == "My.Core"
    assert Installed("my-core", "1", str(tmp_path / "missing")).name == "my-core"


def test_a_header_ends_at_the_first_empty_line() -> None:
    text = (
        "Metadata-Version: 2.4\r\nName: Zoë\r\nRequires-Dist: a>=1\r\nrequires-dist: b ; extra == 'x'\r\n"
        "License: one\r\n        two: three\r\nnonsense\r\n\r\nRequires-Dist: body\r\n"
    )
    assert parse_metadata_header(text.splitlines(keepends=True)) == {
        "metadata-version": ["2.4"],
        "name": ["Zoë"],
        "requires-dist": ["a>=1", "b ; extra == 'x'"],
        "license": ["one\ntwo: three"],
    }


def test_a_missing_metadata_file_has_no_fields(tmp_path: Path) -> None:
    assert read_metadata_header(str(tmp_path / "METADATA")) == {}
    assert read_metadata_header(str(tmp_path / "no" / "METADATA")) == {}
