"""What of a pyproject.toml is plain, and what is refused, with a reason that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.static.project import read_project
from interlock.static.requirement import parse_requirement
from interlock.static.tree import NotStatic, Tree

BASE = '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n[project]\nname = "core"\n'
STATIC = f'{BASE}version = "1.0"\n'


def read(directory: Path, text: str) -> Tree:
    (directory / "pyproject.toml").write_text(text, encoding="utf-8")
    return Tree(str(directory))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('dynamic = ["version"]', "its version is dynamic"),
        ('dynamic = ["readme", "version"]', "its readme and its version are dynamic"),
        ("", "its `version` is missing"),
        ('version = "1.0-1"', "its `version` has '1.0-1'"),
        ('version = "1.0"\nimport-names = ["x"]', "it has `project.import-names`"),
        ('version = "1.0"\ndescription = "a\\u2028b"', "its `description` is no plain line"),
        ('version = "1.0"\nreadme = "README.md"', "there is no such file"),
        ('version = "1.0"\nreadme = "../README.md"', "which is no plain path"),
        ('version = "1.0"\nreadme = "pyproject.toml"', "its readme is neither Markdown"),
        ('version = "1.0"\nlicense = "mit"', "its `license` is 'mit'"),
        ('version = "1.0"\nlicense = "MIT OR"', "its `license` is 'MIT OR'"),
        ('version = "1.0"\nlicense = "MIT OR ISC AND MIT"', "its `license` is"),
        ('version = "1.0"\nlicense = { file = "x" }', "it has `project.license.file`"),
        ('version = "1.0"\nlicense-files = ["**/x"]', "its `license-files` has '**/x'"),
        ('version = "1.0"\nauthors = [{}]', "its `authors` is no list of tables"),
        ('version = "1.0"\nauthors = [{ name = "a\\tb" }]', "its `authors` has"),
        ('version = "1.0"\nkeywords = ["a,b"]', "its `keywords` has 'a,b'"),
        ('version = "1.0"\nkeywords = ["a", "a"]', "its `keywords` has a text twice"),
        ('version = "1.0"\nscripts = {}', "its `scripts` is empty"),
        ('version = "1.0"\nscripts = { a = "b:c [x]" }', "its `scripts` has"),
        ('version = "1.0"\nrequires-python = "===3.9"', "requires-python has '===3.9'"),
        ('version = "1.0"\noptional-dependencies = { A = [], a = [] }', "has an extra in two spellings"),
        ('version = "1.0"\nlicense = "MIT"\nclassifiers = ["License :: Free"]', "a license expression and a license classifier"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused(more: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(NotStatic) as caught:
        read_project(read(tmp_path, BASE + more))
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = ", "is no TOML"),
        ('[build-system]\nrequires = []\nbackend-path = ["."]', "it has `build-system.backend-path`"),
        ("[build-system]\nrequires = []", "it has no [project]"),
    ],
)
def test_a_file_without_a_project_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(NotStatic, match=reason.replace("[", r"\[")):
        read_project(read(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    ["a @ https://x", "a>=1;", "a>=1.0.*", "a~=1", "a>=01", "a>=1,>=1", "a[x,x]", "a[B]", "a; extra == 'x'", "a; (os_name == 'nt')"],  # noqa: E501
)  # fmt: skip
def test_requirements_that_backends_may_write_differently_are_refused(text: str) -> None:
    with pytest.raises(NotStatic, match="dependencies"):
        parse_requirement(text, "dependencies")


def test_a_requirement_in_parts() -> None:
    found = parse_requirement("Foo.Bar[b,a] >= 1, <2.0 ; python_version<\"3.11\"and os_name == 'nt'", "x")
    assert (found.name, found.extras, found.specifiers) == ("Foo.Bar", ("b", "a"), (">=1", "<2.0"))
    assert found.packaging() == "Foo.Bar[a,b]<2.0,>=1"
    assert found.marker_text() == 'python_version < "3.11" and os_name == "nt"'


def test_links_and_programs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("x", encoding="utf-8")
    (tmp_path / "README.md").symlink_to("other.md")
    with pytest.raises(NotStatic, match="symbolic link"):
        read_project(read(tmp_path, f'{STATIC}readme = "README.md"'))
    (tmp_path / "other.md").chmod(0o755)
    with pytest.raises(NotStatic, match="executable"):
        read_project(read(tmp_path, f'{STATIC}readme = "other.md"'))


@pytest.mark.parametrize("content", [b"a\r\nb", b"\xff", b"\xef\xbb\xbfx", b"  \n", b"a\x0cb"])
def test_a_readme_that_libraries_read_differently_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(content)
    with pytest.raises(NotStatic, match=r"README\.md"):
        read_project(read(tmp_path, f'{STATIC}readme = "README.md"'))
