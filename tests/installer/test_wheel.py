"""Wheels from a backend: right ones are read, each kind of wrong one is refused with its own words."""

from __future__ import annotations

import stat
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from wheels import WHEEL, make_wheel, record_line

from interlock.archive import check_path
from interlock.errors import InterlockError, RecordMismatch, UnsafePath, WheelError
from interlock.interpreter import Layout
from interlock.wheel import Member, open_wheel

LAYOUT = Layout("bin", "lib/python3.12/site-packages", "lib64/python3.12/site-packages", ".", "include/site/python3.12")
PURE, PLATFORM = LAYOUT.purelib, LAYOUT.platlib


def refuse(
    path: str, error: type[InterlockError], message: str, *, platform: str = "linux", largest: int = 1 << 20
) -> None:
    with pytest.raises(error, match=message) as caught:
        read_all(path, platform, largest)
    assert type(caught.value) is error
    assert "nothing was installed" in caught.value.advice or "Update interlock" in caught.value.advice


def read_all(path: str, platform: str, largest: int) -> None:
    with open_wheel(path, platform=platform, largest=largest) as wheel:
        assert wheel.members(LAYOUT)
        wheel.verify()


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def test_files_are_spread_over_the_layout(tmp_path: Path) -> None:
    files = {
        "core.pth": b"/src\n",
        "core-1.0.data/purelib/pure.py": b"",
        "core-1.0.data/platlib/native.so": b"",
        "core-1.0.data/scripts/run": b"#!python\n",
        "core-1.0.data/headers/core.h": b"",
        "core-1.0.data/data/share/core/x.txt": b"",
        "tool": b"#!/bin/sh\n",
    }
    path = make_wheel(tmp_path, files, modes={"tool": 0o755})
    with open_wheel(path) as wheel:
        assert (wheel.name, wheel.version, wheel.dist_info) == ("core", "1.0", "core-1.0.dist-info")
        assert wheel.members(LAYOUT) == [
            Member("core-1.0.data/scripts/run", "bin/run", executable=True, script=True),
            Member("core-1.0.data/headers/core.h", "include/site/python3.12/core/core.h", False, False),
            Member("core-1.0.dist-info/METADATA", f"{PURE}/core-1.0.dist-info/METADATA", False, False),
            Member("core-1.0.dist-info/WHEEL", f"{PURE}/core-1.0.dist-info/WHEEL", False, False),
            Member("core.pth", f"{PURE}/core.pth", False, False),
            Member("core-1.0.data/purelib/pure.py", f"{PURE}/pure.py", False, False),
            Member("tool", f"{PURE}/tool", executable=True, script=False),
            Member("core-1.0.data/platlib/native.so", f"{PLATFORM}/native.so", False, False),
            Member("core-1.0.data/data/share/core/x.txt", "share/core/x.txt", False, False),
        ]
        assert wheel.read("core.pth") == b"/src\n"


def test_a_compiled_wheel_goes_to_platlib(tmp_path: Path) -> None:
    with open_wheel(make_wheel(tmp_path, wheel=WHEEL.replace("true", "false"))) as wheel:
        assert wheel.library(LAYOUT) == PLATFORM


def test_longer_digests_are_verified_too(tmp_path: Path) -> None:
    files = {"a.py": b"a", "core-1.0.dist-info/WHEEL": WHEEL.encode()}
    metadata = b"Metadata-Version: 2.1\nName: core\nVersion: 1.0\n"
    files["core-1.0.dist-info/METADATA"] = metadata
    record = "".join(record_line(name, data, "sha512") for name, data in files.items())
    with open_wheel(make_wheel(tmp_path, files, record=record)) as wheel:
        assert wheel.read("a.py") == b"a"
    wrong = record.replace(record_line("a.py", b"a", "sha512"), record_line("a.py", b"b", "sha512"))
    refuse(make_wheel(tmp_path, files, record=wrong), RecordMismatch, "a.py is not what RECORD says it is")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../evil.py",
            "a/../../evil.py",
            "/etc/evil",
            "C:/evil",
            "c:evil",
            "a/C:evil",
            "..\\evil",
            "a\\b",
            "a/./b",
            "a//b",
        ),
        *("core-1.0.data/scripts/../../evil", "core-1.0.data/data//etc/evil", "nul\0.py", "a\rb.py", "", "./a"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    path = make_wheel(tmp_path, extra=[(member(name or "/"), b"evil")])
    refuse(path, UnsafePath, "whose name leads elsewhere")


@given(st.text(max_size=12))
def test_a_name_that_is_accepted_stays_inside(name: str) -> None:
    import ntpath
    import posixpath

    try:
        check_path(name, "x.whl", "linux")
    except UnsafePath:
        return
    for flavour in (posixpath, ntpath):
        joined = flavour.normpath(flavour.join("/env/lib", name))
        assert joined.replace("\\", "/").startswith("/env/lib/")


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, extra=[(member("link", stat.S_IFLNK | 0o777), b"/etc/passwd")])
    refuse(path, UnsafePath, "has a symbolic link: link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    refuse(
        make_wheel(tmp_path, extra=[(member("core.pth"), b"other")]), WheelError, "a name twice: core.pth and core.pth"
    )


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"a.py": b"", "A.py": b""})
    refuse(path, WheelError, "a name twice: a.py and A.py", platform="darwin")
    refuse(path, WheelError, "a name twice: a.py and A.py", platform="win32")
    with open_wheel(path, platform="linux") as wheel:
        assert len(wheel.members(LAYOUT)) == 4


def test_a_file_where_a_directory_is(tmp_path: Path) -> None:
    refuse(
        make_wheel(tmp_path, {"a": b"", "a/b/c.py": b""}),
        WheelError,
        "has a for a file and for the directory of a/b/c.py",
    )


def test_two_files_for_one_place(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"a.py": b"1", "core-1.0.data/purelib/a.py": b"2"})
    refuse(path, WheelError, f"two files for {PURE}/a.py: a.py and core-1.0.data/purelib/a.py")


@pytest.mark.parametrize("name", ["core-1.0.data/elsewhere/a.py", "core-1.0.data/loose", "core-1.0.data/data"])
def test_a_data_directory_that_is_not_specified(name: str, tmp_path: Path) -> None:
    refuse(make_wheel(tmp_path, {name: b""}), WheelError, "a file that belongs nowhere")


def test_what_unpacks_to_too_much(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"bomb": bytes(3 << 20)})
    assert Path(path).stat().st_size < 10_000
    refuse(path, WheelError, r"unpacks to 3,146,\d{3} bytes; the limit is 1,048,576")


def test_another_version_of_the_format(tmp_path: Path) -> None:
    refuse(make_wheel(tmp_path, wheel=WHEEL.replace("1.0", "2.0")), WheelError, "has version 2.0 of the wheel format")
    refuse(make_wheel(tmp_path, wheel="Tag: x\n"), WheelError, "does not say which version of the wheel format")
    with open_wheel(make_wheel(tmp_path, wheel=WHEEL.replace("1.0", "1.9"))):
        pass


def test_metadata_must_fit(tmp_path: Path) -> None:
    def made(text: bytes) -> str:
        return make_wheel(tmp_path, {"core-1.0.dist-info/METADATA": text})

    refuse(
        made(b"Name: other\nVersion: 1.0\n"),
        WheelError,
        "core-1.0.dist-info does not fit METADATA, which says other 1.0",
    )
    refuse(made(b"Name: core\nVersion: 1.1\n"), WheelError, "does not fit METADATA, which says core 1.1")
    refuse(made(b"Name: core\nVersion: one\n"), WheelError, "does not fit METADATA, which says core one")
    refuse(made(b"Name: core\n"), WheelError, "no Name or no Version")
    refuse(made(b"Name: \xff\n"), WheelError, "METADATA is not UTF-8")
    with open_wheel(made(b"Name: CORE\nVersion: 1.0.0\n")) as wheel:
        assert wheel.name == "CORE"


def test_how_many_dist_info_directories(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"other-1.0.dist-info/METADATA": b"Name: other\n"})
    refuse(path, WheelError, "one .dist-info directory and has core-1.0.dist-info, other-1.0.dist-info")
    empty = tmp_path / "empty.whl"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("core.pth", "")
    refuse(str(empty), WheelError, "one .dist-info directory and has none")


def test_a_record_that_does_not_fit(tmp_path: Path) -> None:
    good = {"core.pth": b"/src\n"}
    rest = "core-1.0.dist-info/METADATA,sha256=x,\ncore-1.0.dist-info/WHEEL,sha256=x,\n"
    line = record_line("core.pth", b"/src\n")
    for record, message in (
        (rest, "RECORD does not list core.pth"),
        (line + rest + "gone.py,sha256=x,1\n", "RECORD lists, but the wheel has no gone.py"),
        ("core.pth,,5\n" + rest, "no SHA-256 or better digest of core.pth"),
        ("core.pth,md5=x,5\n" + rest, "no SHA-256 or better digest of core.pth"),
        (line + "core.pth,sha256=other,5\n" + rest, "two entries for core.pth"),
        (line + "a,b,c,d\n" + rest, "RECORD cannot be read"),
        (record_line("core.pth", b"/else\n") + rest, "is not what RECORD says it is"),
        (line.replace(",5\n", ",6\n") + rest, "is not what RECORD says it is"),
    ):
        refuse(make_wheel(tmp_path, good, record=record), RecordMismatch, message)
    refuse(make_wheel(tmp_path, good, record=""), WheelError, "has no core-1.0.dist-info/RECORD")


def test_missing_and_broken_parts(tmp_path: Path) -> None:
    text = tmp_path / "text.whl"
    text.write_bytes(b"no archive")
    refuse(str(text), WheelError, "is not a wheel")
    refuse(str(tmp_path / "missing.whl"), WheelError, "is not a wheel")
    path = Path(make_wheel(tmp_path, {"core.pth": b"x" * 4000}))
    data = bytearray(path.read_bytes())
    start = data.index(b"core.pth") + len(b"core.pth")
    data[start + 2 : start + 6] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    refuse(str(path), RecordMismatch, "core.pth cannot be unpacked")


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = Path(make_wheel(tmp_path))
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    refuse(str(path), WheelError, "has an encrypted file: core.pth")
