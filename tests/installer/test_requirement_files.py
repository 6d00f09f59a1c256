"""Requirements files: what belongs together, what each line asks for, and which lines name a private project."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ConfigurationError
from interlock.requirement_files import RequirementSet, read_requirement_files

PRIVATE = frozenset({"my-core", "other"})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in its own directory: paths of local projects start there."""
    monkeypatch.chdir(tmp_path)


def write(path: str, *lines: str) -> str:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(*lines: str, constraints: tuple[str, ...] = (), **options: dict[str, str]) -> RequirementSet:
    files = [write("r.txt", *lines)]
    return read_requirement_files(
        files, [write("c.txt", *constraints)] if constraints else [], private=PRIVATE, **options
    )


def texts(found: RequirementSet) -> list[str]:
    return [line.text for line in found.requirements]


# Lines


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a", "", "  # all comment", "b  # why", "c#not-a-comment"], ["a", "b", "c#not-a-comment"]),
        (["a \\", "  >=1 \\", ",<2", "b"], ["a   >=1 ,<2", "b"]),
        (["a \\", "# a comment ends it \\", "b"], ["a", "b"]),
        (["a # comment \\", "b"], ["a"]),
        (["a \\"], ["a"]),
        (["a==1 \\", "  --hash=sha256:00 \\", "  --hash=sha256:11"], ["a==1   --hash=sha256:00   --hash=sha256:11"]),
        (["# nothing", ""], []),
    ],
)
def test_logical_lines_are_those_of_pip(lines: list[str], expected: list[str]) -> None:
    pytest.importorskip("pip")
    from pip._internal.req.req_file import preprocess

    assert texts(read(*lines)) == expected
    assert [line for _, line in preprocess("\n".join(lines))] == expected


@given(st.text(alphabet="ab #\\\n-=", max_size=40))
def test_any_text_has_the_logical_lines_that_pip_sees(text: str) -> None:
    pytest.importorskip("pip")
    from pip._internal.req.req_file import preprocess

    from interlock.requirement_files import _logical_lines

    assert list(_logical_lines(text)) == [(number, line) for number, line in preprocess(text)]


def test_each_line_knows_where_it_stands() -> None:
    found = read("a", "", "b \\", " >1", "c")
    assert [(line.file, line.number) for line in found.requirements] == [("r.txt", 1), ("r.txt", 3), ("r.txt", 5)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("größe\n".encode(), ["größe"]),
        (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]),
        ("a\n".encode("utf-16"), ["a"]),
        ("# -*- coding: latin-1 -*-\ngr\xf6\xdfe\n".encode("latin-1"), ["größe"]),
    ],
)
def test_encodings_are_those_of_pip(data: bytes, expected: list[str]) -> None:
    Path("r.txt").write_bytes(data)
    assert texts(read_requirement_files(["r.txt"], [])) == expected


def test_what_is_no_text_is_an_error() -> None:
    Path("r.txt").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigurationError, match=re.escape("r.txt is no text: ")):
        read_requirement_files(["r.txt"], [])


# Includes


@pytest.mark.parametrize(
    "line",
    [
        "-r sub/b.txt",
        "-rsub/b.txt",
        "--requirement sub/b.txt",
        "--requirement=sub/b.txt",
        '-r "sub/b.txt"',
        "-r 'sub/b.txt'",
    ],
)
def test_includes_are_read(line: str) -> None:
    write("sub/b.txt", "b")
    found = read("a", line, "c")
    assert texts(found) == ["a", "b", "c"]
    assert found.files == ["r.txt", "sub/b.txt"]


@pytest.mark.parametrize("line", ["-c sub/c.txt", "--constraint sub/c.txt", "--constraint=sub/c.txt"])
def test_constraints_of_requirements_files_are_read(line: str) -> None:
    write("sub/c.txt", "b<2")
    found = read("a", line)
    assert (texts(found), [line.text for line in found.constraints]) == (["a"], ["b<2"])
    assert found.files == ["r.txt", "sub/c.txt"]


def test_includes_are_relative_to_the_file_that_has_them() -> None:
    write("x/a.txt", "-r y/b.txt", "-c ../c.txt")
    write("x/y/b.txt", "-r ../../x/d.txt", "b")
    write("x/d.txt", "d")
    write("c.txt", "c")
    found = read_requirement_files(["x/a.txt"], [])
    assert found.files == ["x/a.txt", "x/y/b.txt", "x/d.txt", "c.txt"]
    assert texts(found) == ["d", "b"]


def test_files_that_include_each_other_are_read_once() -> None:
    write("a.txt", "a", "-r b.txt")
    write("b.txt", "b", "-r a.txt", "-r b.txt")
    assert texts(read_requirement_files(["a.txt", "b.txt", "./a.txt"], [])) == ["a", "b"]


def test_a_file_can_be_both_requirements_and_constraints() -> None:
    write("a.txt", "a==1")
    found = read_requirement_files(["a.txt"], ["a.txt"])
    assert (texts(found), [line.text for line in found.constraints], found.files) == (["a==1"], ["a==1"], ["a.txt"])


def test_variables_are_put_in() -> None:
    write("here/b.txt", "b")
    found = read(
        "-r ${PLACE}/b.txt",
        "${UNKNOWN}",
        "a @ https://${TOKEN}@x/a.whl",
        "$PLACE",
        environ={"PLACE": "here", "TOKEN": "s"},
    )
    # Secrets stay where they are: the engine puts them in itself.
    assert texts(found) == ["b", "${UNKNOWN}", "a @ https://${TOKEN}@x/a.whl", "$PLACE"]


def test_urls_are_left_to_the_engine() -> None:
    found = read("-r https://index.example/r.txt", "-c http://index.example/c.txt")
    assert texts(found) == ["-r https://index.example/r.txt"]
    assert [line.text for line in found.constraints] == ["-c http://index.example/c.txt"]


@pytest.mark.parametrize("kind", ["-r", "-c"])
def test_a_missing_include_is_an_error_that_names_the_line(kind: str) -> None:
    write("sub/b.txt", "", f"{kind} gone.txt")
    with pytest.raises(ConfigurationError) as caught:
        read("-r sub/b.txt")
    gone = os.path.join("sub", "gone.txt")
    assert caught.value.message == (
        f"cannot read the requirements file {gone} (included at {os.path.join('sub', 'b.txt')}:2): No such file or directory"
    )


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the requirements file gone\.txt: No such file"):
        read_requirement_files(["gone.txt"], [])
    with pytest.raises(ConfigurationError, match=r"cannot read the requirements file gone\.txt: No such file"):
        read_requirement_files([], ["gone.txt"])


# Private names


@pytest.mark.parametrize(
    "line",
    [
        "my-core",
        "My.Core",
        "my_core==1.0",
        "my-core[extra]>=1 ; python_version > '3'",
        "my-core @ file:///x/core",
        "my-core@https://x/core.whl",
        "my-core==1 --hash=sha256:00",
        "-e ./core",
        "--editable ./core",
        "--editable=./core",
        "-e ./core[extra]",
        "-e core",
        "./core",
        "./core[extra] ; python_version > '3'",
        "-e ./cfg",
        "-e ./setup",
        "-e ./poetry",
        "git+https://x/y.git#egg=my_core",
        "-e git+https://x/y.git#subdirectory=z&egg=my.core",
        "./dist/my_core-1.0-py3-none-any.whl",
        "./dist/my_core-1.0.tar.gz",
        "${CORE}",
    ],
)
def test_lines_that_name_a_private_project_are_left_out(line: str, tmp_path: Path) -> None:
    write("core/pyproject.toml", "[project]", 'name = "My.Core"')
    write("cfg/setup.cfg", "[metadata]", "name = my_core", "version = attr: x")
    write("setup/setup.py", "import setuptools", "setuptools.setup(name='my-core', packages=[])")
    write("poetry/pyproject.toml", "[tool.poetry]", 'name = "my-core"')
    found = read("a", line, "b", environ={"CORE": "my-core>=1"})
    assert texts(found) == ["a", "b"]
    assert [(one.text, one.number) for one in found.private] == [(line, 2)]
    assert found.requirements_text() == "a\nb\n"
    if not line.startswith(("-e", "--")):
        found = read("a", constraints=(line, "a<2"), environ={"CORE": "my-core>=1"})
        assert found.constraints_text() == "a<2\n"


def test_a_file_url_names_a_local_project(tmp_path: Path) -> None:
    write("core/pyproject.toml", "[project]", 'name = "my-core"')
    assert texts(read(f"-e {(tmp_path / 'core').as_uri()}", (tmp_path / "core").as_uri())) == []


@pytest.mark.parametrize(
    "line",
    [
        "my-core-extras",
        "third[my-core]",
        "./vendored",
        "-e ./vendored",
        "./unreadable",
        "-e ./nowhere",
        "git+https://x/my-core.git",
        "https://x/third-1.0.tar.gz",
    ],
)
def test_other_lines_stay_as_they_are(line: str) -> None:
    write("vendored/pyproject.toml", "[project]", 'name = "third"')
    write("unreadable/pyproject.toml", "[project", "project = 1")
    write("unreadable/setup.cfg", "no section")
    write("unreadable/setup.py", "def (")
    found = read(line)
    assert texts(found) == [line]
    assert found.private == []


@pytest.mark.parametrize("text", ["project = 1", "[project]\nname = 1", "[tool]\npoetry = 3", "tool = []"])
def test_metadata_of_odd_types_names_nothing(text: str) -> None:
    write("odd/pyproject.toml", text)
    assert texts(read("./odd")) == ["./odd"]


def test_options_are_kept_for_the_engine() -> None:
    options = ["--index-url https://index.example/simple", "--pre", "-i https://x", "--no-binary :all:"]
    found = read("a", *options, "my-core")
    assert found.requirements_text() == "".join(f"{line}\n" for line in [*options, "a"])


def test_links_stay_where_they_were() -> None:
    write("sub/r.txt", "--find-links wheels", "-f ../elsewhere", "--find-links=https://x/wheels", "a")
    os.mkdir("sub/wheels")
    found = read_requirement_files(["sub/r.txt"], [], private=PRIVATE)
    assert [line.text for line in found.options] == [
        f"--find-links {os.path.abspath('sub/wheels')}",
        "-f ../elsewhere",
        "--find-links=https://x/wheels",
    ]


def test_files_of_local_projects_are_known() -> None:
    write("vendored/pyproject.toml", "[project]", 'name = "third"')
    write("vendored/setup.py", "")
    write("wheels/third-1.0-py3-none-any.whl", "")
    write("core/pyproject.toml", "[project]", 'name = "my-core"')
    found = read(
        "-e ./vendored", "./wheels/third-1.0-py3-none-any.whl", "./core", f"x @ {Path('vendored').absolute().as_uri()}"
    )
    assert found.local[:3] == [
        "./vendored/pyproject.toml",
        "./vendored/setup.py",
        "./wheels/third-1.0-py3-none-any.whl",
    ]
    assert not [path for path in found.local if "core" in path]


def test_relative_paths_start_from_the_directory_that_is_given(tmp_path: Path) -> None:
    """The files of opentelemetry-python say `-e opentelemetry-sdk` in opentelemetry-sdk/: from the root."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "pyproject.toml").write_text('[project]\nname = "my.core"\n', encoding="utf-8")
    listed = tmp_path / "core" / "requirements.txt"
    listed.write_text("-e core\nthird\n./other\n", encoding="utf-8")
    found = read_requirement_files([str(listed)], [], private={"my-core"}, directory=str(tmp_path))
    assert [line.text for line in found.private] == ["-e core"]
    assert [line.text for line in found.requirements] == ["third", "./other"]
