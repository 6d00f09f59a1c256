"""Wheels that are made to do harm: whatever the archive is, nothing is written outside of the tree, nothing is unbounded."""

from __future__ import annotations

import bz2
import contextlib
import os
import re
import struct
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project
from wheels import WHEEL, make_wheel, record_line, unpack_below

from interlock.archive import LARGEST, LARGEST_TEXT, check_path, file_key, unpacked_limit
from interlock.environment import Environment, open_environment
from interlock.errors import InterlockError, RecordMismatch, UnsafePath, UsageError, WheelError
from interlock.prepared import File
from interlock.scripts import parse_scripts
from interlock.unpack import unpack
from interlock.wheel import open_wheel
from interlock_runner import succeed

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "150"))
INFO = "core-1.0.dist-info"
ENTRY_POINTS = f"{INFO}/entry_points.txt"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    path = tmp_path_factory.mktemp("attacks") / "env"
    venv.create(path, symlinks=os.name != "nt")
    return open_environment(str(path))


def install(path: str, environment: Environment, tree: Path, platform: str = "linux") -> None:
    unpack_below(tree, path, environment, platform=platform)


def refused(
    path: str, environment: Environment, tree: Path, error: type[InterlockError], message: str, platform: str = "linux"
) -> None:
    with pytest.raises(error, match=message) as caught:
        install(path, environment, tree, platform)
    assert type(caught.value) is error


def patched(path: str, change: Callable[[bytearray], None]) -> str:
    """Change the bytes of an archive."""
    data = bytearray(Path(path).read_bytes())
    change(data)
    Path(path).write_bytes(data)
    return path


def central(data: bytearray, name: str) -> int:
    """Return where the central directory has a file."""
    at = data.rindex(name.encode()) - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    return at


# Sizes


def test_the_limit_is_that_of_the_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert unpacked_limit() == LARGEST == 4 << 30
    path = make_wheel(tmp_path, {"large": bytes(100_000)})
    monkeypatch.setenv("INTERLOCK_UNPACKED_LIMIT", "100000")
    with pytest.raises(WheelError, match="unpacks to 100,") as caught, open_wheel(path):
        pass
    assert "the limit is 100,000" in caught.value.message
    assert "INTERLOCK_UNPACKED_LIMIT=100" in caught.value.advice
    monkeypatch.setenv("INTERLOCK_UNPACKED_LIMIT", "200000")
    with open_wheel(path) as wheel:
        assert b"".join(wheel.chunks("large")) == bytes(100_000)
    for wrong in ("0", "-1", "1e9", "4G", " 5", "x", "9" * 40, "１"):  # noqa: RUF001  a digit to int()
        monkeypatch.setenv("INTERLOCK_UNPACKED_LIMIT", wrong)
        with pytest.raises(UsageError, match="which is no number of bytes"), open_wheel(path):
            pass


def test_declared_sizes_count_without_unpacking(tmp_path: Path) -> None:
    def enlarge(data: bytearray) -> None:
        at = central(data, "core.pth") + 24
        data[at : at + 4] = struct.pack("<I", 0xFFFF_FFF0)

    path = patched(make_wheel(tmp_path), enlarge)
    with pytest.raises(WheelError, match=r"unpacks to 4,294,967,\d+ bytes; the limit is 1,000,000"):
        with open_wheel(path, largest=1_000_000):
            pass


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("declared", [10, 999, 1001, 5000])
def test_a_file_that_is_not_as_large_as_it_says(
    method: int, declared: int, tmp_path: Path, environment: Environment
) -> None:
    """Zipfile unpacks no more than what is declared: the rest would be hidden, even from the digest."""
    content, shown = b"x" * 1000, b"x" * min(declared, 1000)
    path = make_wheel(tmp_path, {"core.pth": shown}, extra=[])
    rewritten = tmp_path / "core-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(rewritten, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, content if name == "core.pth" else data)

    def lie(data: bytearray) -> None:
        import zlib

        at = central(data, "core.pth")
        data[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(shown))
        data[at + 24 : at + 28] = struct.pack("<I", declared)

    patched(str(rewritten), lie)
    refused(
        str(rewritten), environment, tmp_path / "tree", RecordMismatch, "core.pth (is not as large|cannot be unpacked)"
    )


def test_files_that_share_their_bytes(tmp_path: Path) -> None:
    """A bomb of overlapping files: each is small, their sum has no bound."""
    path = make_wheel(tmp_path, {"a.py": b"x" * 1000, "b.py": b"x" * 1000})

    def overlap(data: bytearray) -> None:
        first, second = central(data, "a.py"), central(data, "b.py")
        data[second + 42 : second + 46] = data[first + 42 : first + 46]

    patched(path, overlap)
    with pytest.raises(WheelError, match="has two files in one place: [ab].py and [ab].py"), open_wheel(path):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_zipfile_unpacks_without_a_bound(method: int, tmp_path: Path) -> None:
    assert len(bz2.compress(bytes(40 << 20))) < 100, "what one read would unpack"
    path = tmp_path / "core-1.0-py3-none-any.whl"
    with zipfile.ZipFile(make_wheel(tmp_path)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(WheelError, match="core.pth is not compressed as wheels are"), open_wheel(str(path)):
        pass


@pytest.mark.parametrize("name", ["WHEEL", "METADATA", "RECORD", "entry_points.txt"])
def test_a_text_of_many_megabytes(name: str, tmp_path: Path, environment: Environment) -> None:
    text = b"Wheel-Version: 1.0\nName: core\nVersion: 1.0\n" + b"\n" * LARGEST_TEXT
    texts = {} if name == "RECORD" else {f"{INFO}/{name}": text}
    path = make_wheel(tmp_path, {"core.pth": b"", **texts}, record=text.decode() if name == "RECORD" else None)
    refused(path, environment, tmp_path / "tree", WheelError, f"{name} has 16,777,\\d+ bytes; the limit is 16,777,216")


def test_a_wheel_file_of_megabytes_is_read(tmp_path: Path, environment: Environment) -> None:
    wheel = WHEEL + "".join(f"Tag: py3-none-any{number}\n" for number in range(100_000))
    install(make_wheel(tmp_path, wheel=wheel), environment, tmp_path / "tree")


def test_ten_thousand_files(tmp_path: Path, environment: Environment) -> None:
    files = {f"core/sub{number % 100}/m{number}.py": b"" for number in range(10_000)}
    lines = "".join(f"s{number} = core:main\n" for number in range(500))
    files |= {f"core-1.0.data/scripts/t{number}": b"#!python\n" for number in range(500)}
    install(
        make_wheel(tmp_path, {**files, ENTRY_POINTS: f"[console_scripts]\n{lines}".encode()}),
        environment,
        tmp_path / "tree",
    )
    assert sum(path.is_file() for path in (tmp_path / "tree").rglob("*")) == 10_000 + 500 + 500 + 7


# Archives


def test_archives_of_other_shapes_are_read(tmp_path: Path, environment: Environment) -> None:
    """zip64, sizes that follow the data, a comment, a stub in front, directories: none of it is an attack."""
    for number, shape in enumerate(("zip64", "streamed", "comment", "stub", "directories")):
        directory = tmp_path / shape
        directory.mkdir()
        path = make_wheel(directory, {"core.pth": b"/src\n", "core/x.py": b""})
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
        with open(path, "wb") as file:
            if shape == "stub":
                file.write(b"#!/bin/sh\n" * number)
            stream = Unseekable(file) if shape == "streamed" else file
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
                if shape == "directories":
                    archive.writestr("core/", b"")
                for name, data in members.items():
                    with archive.open(name, "w", force_zip64=shape == "zip64") as writer:
                        writer.write(data)
                archive.comment = b"PK\x01\x02 comment" if shape == "comment" else b""
        install(path, environment, directory / "tree")
        assert (directory / "tree" / environment.layout.purelib / "core.pth").read_bytes() == b"/src\n"


class Unseekable:
    """A stream as a pipe is one: zipfile writes data descriptors behind the data."""

    def __init__(self, file: object) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)  # type: ignore[attr-defined,no-any-return]

    def flush(self) -> None:
        self._file.flush()  # type: ignore[attr-defined]


def test_an_archive_in_the_comment_of_another(tmp_path: Path, environment: Environment) -> None:
    (tmp_path / "other").mkdir()
    inner = Path(make_wheel(tmp_path / "other", {"evil.pth": b"import evil\n"})).read_bytes()
    path = make_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = inner
    # Which of the two is read is zipfile's choice; it is one of them, whole.
    install(path, environment, tmp_path / "tree")
    found = {path.name for path in (tmp_path / "tree").rglob("*.pth")}
    assert found in ({"core.pth"}, {"evil.pth"})


@pytest.mark.parametrize(
    ("where", "what"),
    [
        *(
            (28, b"\xff\xff"),
            (30, b"\xff\xff"),
            (32, b"\xff\xff"),
            (42, b"\xff\xff\xff\x7f"),
            (20, b"\xff\xff\xff\x7f"),
        ),
        *((6, b"\xff\x00"), (8, b"\x00\x08"), (10, b"\x0c\x00"), (4, b"\xff\xff"), (12, b"\xff\xff\xff\xff")),
    ],
)
def test_a_central_directory_that_lies(where: int, what: bytes, tmp_path: Path, environment: Environment) -> None:
    def lie(data: bytearray) -> None:
        at = central(data, "core.pth") + where
        data[at : at + len(what)] = what

    path = patched(make_wheel(tmp_path), lie)
    with contextlib.suppress(WheelError):
        install(path, environment, tmp_path / "tree")


def test_a_name_that_is_no_utf8(tmp_path: Path, environment: Environment) -> None:
    def spoil(data: bytearray) -> None:
        at = central(data, "é.pth".replace("é", "é"))
        data[at + 46] = 0xFF

    path = patched(make_wheel(tmp_path, {"é.pth": b""}), spoil)
    refused(path, environment, tmp_path / "tree", WheelError, "is not a wheel: 'utf-8' codec can't decode")


def test_the_two_names_of_a_file_differ(tmp_path: Path, environment: Environment) -> None:
    """The name in front of the data is what a streaming unpacker would use."""

    def rename(data: bytearray) -> None:
        at = data.index(b"core.pth")
        data[at : at + 8] = b"evil.pth"

    path = patched(make_wheel(tmp_path), rename)
    refused(path, environment, tmp_path / "tree", RecordMismatch, "core.pth cannot be unpacked: File name in directory")


# What fails is not gone on with


def test_a_file_that_fails_its_digest_is_the_last_that_is_unpacked(tmp_path: Path, environment: Environment) -> None:
    good, bad = b"a" * (3 << 20), b"b" * (3 << 20)
    files = {"a.py": b"", "large.bin": bad}
    contents = {**files, f"{INFO}/METADATA": b"Name: core\nVersion: 1.0\n", f"{INFO}/WHEEL": WHEEL.encode()}
    record = "".join(record_line(name, good if name == "large.bin" else data) for name, data in contents.items())
    path = make_wheel(tmp_path, contents, record=record)
    found: list[File] = []
    with open_wheel(path) as wheel, pytest.raises(RecordMismatch, match="large.bin is not what RECORD says it is"):
        list(unpack(wheel, environment, found, source="/src"))
    assert "large.bin" not in {os.path.basename(file.path) for file in found}
    assert "RECORD" not in {os.path.basename(file.path) for file in found}


# Names


@pytest.mark.parametrize(
    "name",
    [
        *(
            "con",
            "CON.py",
            "core/aux",
            "nul.tar.gz",
            "com1",
            "LPT9.txt",
            "core/COM¹.py",
            "conin$",
            "CONOUT$.x",
            "nul .py",
        ),
        *(
            "core./x.py",
            "core.py.",
            "core.py ",
            "core /x.py",
            "...",
            "core.py:stream",
            "ab:c",
            "what?.py",
            "a*b",
            'a"b',
        ),
        *("a<b", "a>b", "a|b"),
    ],
)
def test_names_that_mean_another_file_on_windows(name: str, tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {name: b""})
    with pytest.raises(UnsafePath, match="means another on Windows"), open_wheel(path, platform="win32"):
        pass
    with open_wheel(path, platform="linux") as wheel:
        assert name in wheel.record


@pytest.mark.parametrize(
    "name", ["console.py", "auxiliary/x.py", "nulls.py", "com10.py", "com.py", "lpt.py", "a.con", ".x"]
)
def test_names_that_are_like_them(name: str) -> None:
    check_path(name, "x.whl", "win32")


def test_scripts_whose_names_are_windows_devices(tmp_path: Path, environment: Environment) -> None:
    path = make_wheel(tmp_path, {ENTRY_POINTS: b"[console_scripts]\naux = core:main\n"})
    install(path, environment, tmp_path / "tree", "linux")
    pytest.importorskip("distlib")
    refused(path, environment, tmp_path / "other", UnsafePath, "means another on Windows", "win32")


def test_names_that_macos_takes_for_one(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9.py", "cafe\u0301.py"
    assert file_key(composed, "darwin") == file_key(decomposed.upper(), "darwin")
    path = make_wheel(tmp_path, {composed: b"", decomposed: b""})
    with pytest.raises(WheelError, match="has a name twice"), open_wheel(path, platform="darwin"):
        pass
    with open_wheel(path, platform="linux"):
        pass


def test_a_name_that_no_system_takes(tmp_path: Path, environment: Environment) -> None:
    refused(
        make_wheel(tmp_path, {"x" * 6001: b""}),
        environment,
        tmp_path / "tree",
        UnsafePath,
        "a name of 6,001 characters",
    )


@pytest.mark.parametrize("name", ["..", ".", "-", "a/b", "core\u0000", "cöre", "_core", "core-"])
def test_distributions_whose_names_are_none(name: str, tmp_path: Path) -> None:
    """Headers go to a directory of that name."""
    metadata = f"Name: {name}\nVersion: 1.0\n".encode()
    path = make_wheel(tmp_path, {f"{INFO}/METADATA": metadata, "core-1.0.data/headers/x.h": b""})
    other = f"{re.sub('[^.a-zö]', '_', name)}-1.0.dist-info"
    # The directory's name fits: as long as it can be one.
    renamed = tmp_path / "renamed.whl"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(renamed, "w") as archive:
        for member in old.namelist():
            data = old.read(member).replace(INFO.encode(), other.encode())
            archive.writestr(member.replace(INFO, other), data)
    with pytest.raises(WheelError, match="a Name that is none|leads elsewhere|does not fit"), open_wheel(str(renamed)):
        pass


def test_directories_whose_names_normalise_alike(tmp_path: Path) -> None:
    for other in ("Core-1.0.dist-info", "core-1.0.0.dist-info", "c-o-r-e-1.0.dist-info"):
        path = make_wheel(tmp_path, {f"{other}/METADATA": b"Name: core\nVersion: 1.0\n"})
        with pytest.raises(WheelError, match="must have one .dist-info directory and has"), open_wheel(path):
            pass
    with open_wheel(
        make_wheel(tmp_path, {"my_core-1.0.dist-info/METADATA": b"Name: My.Core\nVersion: 1.0\n"}, name="my-core")
    ) as wheel:
        assert (wheel.name, wheel.dist_info) == ("My.Core", "my_core-1.0.dist-info")


def test_a_distribution_that_is_spelled_otherwise_takes_the_place_of_the_other(tmp_path: Path) -> None:
    env = tmp_path / "env"
    succeed("venv", env)
    for name in ("My.Core", "my-core", "MY_CORE"):
        make_project(tmp_path / name, name)
        succeed("editable", tmp_path / name, "--venv", env)
        (found,) = env.rglob("*.dist-info")
        assert found.name == f"{name.replace('-', '_').replace('.', '_')}-1.0.dist-info"
        succeed("check", "--venv", env)


def test_metadata_lines_end_where_they_end(tmp_path: Path) -> None:
    """Characters that `str.splitlines` takes for ends of lines add no field."""
    text = (
        "Name: core\nVersion: 1.0\nSummary: a\u2028Requires-Dist: evil\x0bRequires-Dist: evil\x85Requires-Dist: evil\n"
    )
    with open_wheel(make_wheel(tmp_path, {f"{INFO}/METADATA": text.encode()})) as wheel:
        assert "requires-dist" not in wheel.metadata
    text = "Name: core\rVersion: 1.0\r\nRequires-Dist: a\rRequires-Dist: b\n"
    with open_wheel(make_wheel(tmp_path, {f"{INFO}/METADATA": text.encode()})) as wheel:
        assert wheel.metadata["requires-dist"] == ["a", "b"]


# Entry points


@pytest.mark.parametrize(
    "line",
    [
        *(
            "../evil = core:main",
            "a/b = core:main",
            "a\\b = core:main",
            ".. = core:main",
            ". = core:main",
            " = core:main",
        ),
        *(
            "a:b = core:main",
            "a\x1b[31m = core:main",
            "core = core",
            "core = core:",
            "core = :main",
            "core = core:main()",
        ),
        *(
            "core = core:main;import os",
            "core = core main",
            "core = os:system('x')",
            "core = import:main",
            "core = a.1b:c",
        ),
        *(
            "core = core:main.class",
            "core = core:\u00b2x",
            "core = core:a\u00b2",
            "core = core:lambda",
            "core = core::main",
        ),
        *(
            "core = core:main #x",
            "core = core:main [x] y",
            'core = core:"',
            "core = core:main\x00",
            "core = ..core:main",
        ),
    ],
)
def test_entry_points_that_are_no_scripts(line: str) -> None:
    with pytest.raises(WheelError, match="declares a script that cannot be made"):
        parse_scripts(f"[console_scripts]\n{line}\n", "x.whl")


@pytest.mark.parametrize(
    "name", ["$(touch x)", "`id`", "a;b", "a b", "a|b", "-rf", "'", '"', "&", "*", "~", "%PATH%", "é"]
)
def test_names_with_shell_metacharacters_are_names(
    name: str, tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are files of these names, in the scripts directory, and their text has nothing of the name."""
    monkeypatch.chdir(tmp_path)
    install(
        make_wheel(tmp_path, {ENTRY_POINTS: f"[console_scripts]\n{name} = core:main\n".encode()}),
        environment,
        tmp_path / "tree",
    )
    scripts = tmp_path / "tree" / environment.layout.scripts
    assert [path.name for path in scripts.iterdir()] == [name]
    assert "sys.exit(main())" in (scripts / name).read_text(encoding="utf-8")


def test_entry_points_that_are_one_on_some_platforms(tmp_path: Path, environment: Environment) -> None:
    path = make_wheel(tmp_path, {ENTRY_POINTS: b"[console_scripts]\ncore = core:main\nCORE = core:main\n"})
    install(path, environment, tmp_path / "tree", "linux")
    refused(path, environment, tmp_path / "other", WheelError, "has two files for", "darwin")


# Whatever the archive is

PIECES = [
    "..",
    ".",
    "",
    "a",
    "A",
    "core.py",
    "bin",
    "lib",
    "lib64",
    "pyvenv.cfg",
    ".interlock",
    "core-1.0.data",
    "purelib",
    "data",
]
PIECES += [
    "scripts",
    "headers",
    "core-1.0.dist-info",
    "con",
    "x.",
    "x ",
    "C:",
    "\\",
    "\\..\\",
    "é",
    "e\u0301",
    "\n",
    "\x7f",
    "RECORD",
]
NAMES = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), min_size=1, max_size=5).map("/".join)


@settings(max_examples=ROUNDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.tuples(NAMES, st.sampled_from([0o100644, 0o100755, 0o120777, 0o040755, 0, 0o010644])), max_size=4
    ),
    platform=st.sampled_from(["linux", "darwin", "win32"]),
    recorded=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_written_outside_of_the_tree(
    names: list[tuple[str, int]], platform: str, recorded: bool, environment: Environment
) -> None:
    with tempfile.TemporaryDirectory() as place:
        outer = Path(place, "outer")
        tree = outer / "deep" / "tree"
        tree.mkdir(parents=True)
        members = []
        record = ""
        for name, mode in names:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name.encode("utf-8", "replace").decode()
            info.create_system, info.external_attr = 3, mode << 16
            members.append((info, b"evil"))
            record += record_line(f'"{name}"', b"evil") if recorded else ""
        contents = {f"{INFO}/METADATA": b"Name: core\nVersion: 1.0\n", f"{INFO}/WHEEL": WHEEL.encode()}
        record += "".join(record_line(name, data) for name, data in contents.items())
        path = make_wheel(Path(place), contents, record=record, extra=members)
        with contextlib.suppress(InterlockError):
            install(path, environment, tree, platform)
        assert set(os.listdir(place)) == {"outer", os.path.basename(path)}
        assert (os.listdir(outer), os.listdir(outer / "deep")) == (["deep"], ["tree"])
        assert not any(path.is_symlink() for path in tree.rglob("*"))
        assert not (tree / "pyvenv.cfg").exists()


@settings(max_examples=2 * ROUNDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8))
def test_an_archive_with_wrong_bytes_is_refused_or_read(changes: list[tuple[int, int]], tmp_path: Path) -> None:
    path = make_wheel(tmp_path)
    data = bytearray(Path(path).read_bytes())
    for at, byte in changes:
        data[at % len(data)] = byte
    Path(path).write_bytes(data)
    with contextlib.suppress(InterlockError), open_wheel(path) as wheel:
        wheel.verify()
