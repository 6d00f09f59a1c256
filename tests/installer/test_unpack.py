"""A wheel's files become those of an installed distribution."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import sys
import venv
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from wheels import make_wheel, unpack_below

from interlock.distribution import parse_record
from interlock.environment import Environment, open_environment
from interlock.errors import UnsafePath, WheelError
from interlock.prepared import File
from interlock.unpack import _belongs_to_environment, unpack
from interlock.wheel import open_wheel

ENTRY_POINTS = "core-1.0.dist-info/entry_points.txt"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    path = tmp_path_factory.mktemp("unpack") / "env"
    venv.create(path, symlinks=os.name != "nt")
    return open_environment(str(path))


def unpacked(
    tmp_path: Path, environment: Environment, files: dict[str, bytes], source: str = "/src/core"
) -> tuple[File, ...]:
    tmp_path.mkdir(exist_ok=True)
    return unpack_below(tmp_path / "tree", make_wheel(tmp_path, files), environment, source=source)


def test_what_an_installer_adds(tmp_path: Path, environment: Environment) -> None:
    source = str(tmp_path / "a b é#?%")
    files = unpacked(tmp_path, environment, {"core.pth": b"/src\n"}, source)
    base = tmp_path / "tree" / environment.layout.purelib
    info = base / "core-1.0.dist-info"
    assert sorted(path.name for path in info.iterdir()) == [
        *("INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL", "direct_url.json")
    ]
    assert (info / "INSTALLER").read_bytes() == b"interlock\n"
    assert (info / "REQUESTED").read_bytes() == b""
    text = (info / "direct_url.json").read_text(encoding="utf-8")
    assert text == json.dumps({"dir_info": {"editable": True}, "url": Path(source).as_uri()})
    assert "a%20b%20%C3%A9%23%3F%25" in text
    assert files[-1].path.endswith("/RECORD")


def test_record_lists_everything_with_its_digest(tmp_path: Path, environment: Environment) -> None:
    contents = {"core.pth": b"/src\n", ENTRY_POINTS: b"[console_scripts]\ncore = core:main\n"}
    files = unpacked(tmp_path, environment, contents)
    library = tmp_path / "tree" / environment.layout.purelib
    entries = parse_record((library / "core-1.0.dist-info" / "RECORD").read_text(encoding="utf-8"))
    listed = {os.path.normpath(library / entry.path): entry for entry in entries}
    on_disk = {str(path) for path in (tmp_path / "tree").rglob("*") if path.is_file()}
    assert set(listed) == on_disk == {str(tmp_path / "tree" / file.path) for file in files}
    for path, entry in listed.items():
        data = Path(path).read_bytes()
        if path.endswith("RECORD"):
            assert (entry.digest, entry.size) == ("", None)
        else:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (entry.digest, entry.size) == (f"sha256={digest}", len(data))
    for file in files:
        assert hashlib.sha256((tmp_path / "tree" / file.path).read_bytes()).hexdigest() == file.sha256
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)


@pytest.mark.skipif(os.name == "nt", reason="no executable bit")
def test_scripts_are_executable(tmp_path: Path, environment: Environment) -> None:
    contents = {"core-1.0.data/scripts/plain": b"#!python\n", ENTRY_POINTS: b"[gui_scripts]\nwindow = core:main\n"}
    files = {file.path: file for file in unpacked(tmp_path, environment, contents)}
    for name in ("plain", "window"):
        path = f"{environment.layout.scripts}/{name}"
        assert files[path].executable
        assert os.access(tmp_path / "tree" / path, os.X_OK)
    assert sum(file.executable for file in files.values()) == 2


def test_scripts_that_setuptools_made_for_entry_points_are_left_out(tmp_path: Path, environment: Environment) -> None:
    names = ["core", "core.exe", "core-script.py", "core.pya", "other"]
    contents = {f"core-1.0.data/scripts/{name}": b"#!python\nold\n" for name in names}
    contents[ENTRY_POINTS] = b"[console_scripts]\ncore = core:main\n"
    files = [file.path for file in unpacked(tmp_path, environment, contents)]
    scripts = environment.layout.scripts
    assert [path for path in files if path.startswith(scripts + "/")] == [f"{scripts}/other", f"{scripts}/core"]
    assert b"old" not in (tmp_path / "tree" / scripts / "core").read_bytes()


def test_what_a_wheel_says_of_its_installer_is_replaced(tmp_path: Path, environment: Environment) -> None:
    contents = {f"core-1.0.dist-info/{name}": b"theirs" for name in ("INSTALLER", "REQUESTED", "direct_url.json")}
    unpacked(tmp_path, environment, contents)
    for path in (tmp_path / "tree").rglob("core-1.0.dist-info/*"):
        assert path.read_bytes() != b"theirs"


@pytest.mark.parametrize(
    "name",
    [
        *("core-1.0.data/data/pyvenv.cfg", "core-1.0.data/data/.interlock/journal.json", "core-1.0.data/data/.lock"),
        *("core-1.0.data/scripts/python", "core-1.0.data/scripts/python3.12", "core-1.0.data/scripts/Python.exe"),
        *("core-1.0.data/scripts/python3.13t", "core-1.0.data/scripts/pypy3.10", "core-1.0.data/scripts/activate"),
        *("core-1.0.data/scripts/activate.fish", "core-1.0.data/scripts/Activate.ps1"),
        *("core-1.0.data/scripts/activate_this.py", "core-1.0.data/scripts/deactivate.bat"),
        *("core-1.0.data/data/lib64/python3/site-packages/other.py", "core-1.0.data/data/lib64"),
    ],
)
def test_the_environments_own_files_are_out_of_reach(name: str, tmp_path: Path, environment: Environment) -> None:
    with pytest.raises(UnsafePath, match="which is a part of the environment itself"):
        unpacked(tmp_path, environment, {name: b""})


@pytest.mark.parametrize("platform", ["win32", "darwin", "linux"])
@pytest.mark.parametrize("path", [".Interlock/journal.json", ".LOCK", "PyVenv.CFG", "{SCRIPTS}/python"])
def test_capitals_lead_to_the_same_file_on_some_platforms(environment: Environment, path: str, platform: str) -> None:
    path = path.replace("{SCRIPTS}", environment.layout.scripts.swapcase())
    assert _belongs_to_environment(path, environment, platform) is (platform != "linux")


def test_two_names_for_one_file_on_some_platforms(tmp_path: Path, environment: Environment) -> None:
    contents = {"core-1.0.data/data/share/a": b"", "core-1.0.data/data/SHARE/A": b""}
    with open_wheel(make_wheel(tmp_path, contents)) as wheel, pytest.raises(WheelError, match="has two files for"):
        list(unpack(wheel, environment, [], source="/s", platform="darwin"))
    unpacked(tmp_path, environment, contents)


@pytest.mark.parametrize(
    "path", ["{scripts}/activate-global-python-argcomplete", "{scripts}/pythonic", "lib/x", "share/activate", "x/.lock"]
)
def test_what_is_a_projects_own(environment: Environment, path: str) -> None:
    assert not _belongs_to_environment(path.format(scripts=environment.layout.scripts), environment, "darwin")


def test_lib64_is_the_library_where_the_interpreter_says_so(environment: Environment) -> None:
    interpreter = environment.interpreter
    layout = dataclasses.replace(interpreter.layout, platlib="lib64/python3.12/site-packages")
    fedora = dataclasses.replace(environment, interpreter=dataclasses.replace(interpreter, layout=layout))
    path = "lib64/python3.12/site-packages/fast.so"
    assert _belongs_to_environment(path, environment, "linux")
    assert not _belongs_to_environment(path, fedora, "linux")


def test_an_entry_point_cannot_be_the_python(tmp_path: Path, environment: Environment) -> None:
    with pytest.raises(UnsafePath, match="would replace bin/python3|would replace Scripts/python3"):
        unpacked(tmp_path, environment, {ENTRY_POINTS: b"[console_scripts]\npython3 = core:main\n"})


def test_a_data_file_in_the_place_of_a_script(tmp_path: Path, environment: Environment) -> None:
    scripts = environment.layout.scripts
    contents = {f"core-1.0.data/data/{scripts}/core": b"", ENTRY_POINTS: b"[console_scripts]\ncore = core:main\n"}
    with pytest.raises(WheelError, match=f"has two files for {scripts}/core"):
        unpacked(tmp_path, environment, contents)


@pytest.mark.parametrize(("inside", "outside"), [("pkg/a", "pkg/a/b"), ("pkg/a/b", "pkg/a")])
def test_a_file_in_the_place_of_a_directory(
    inside: str, outside: str, tmp_path: Path, environment: Environment
) -> None:
    """Two parts of a wheel that meet in the environment; each alone is as it should be."""
    outside = f"core-1.0.data/data/{environment.layout.purelib}/{outside}"
    with pytest.raises(WheelError, match="has two files for"):
        unpacked(tmp_path, environment, {inside: b"", outside: b""})
    assert unpacked(tmp_path / "one", environment, {inside: b""})
    assert unpacked(tmp_path / "other", environment, {outside: b""})


def test_a_directory_in_the_place_of_a_file_of_the_installer(tmp_path: Path, environment: Environment) -> None:
    with pytest.raises(WheelError, match="has two files for .*/INSTALLER"):
        unpacked(tmp_path, environment, {"core-1.0.dist-info/INSTALLER/x": b""})
