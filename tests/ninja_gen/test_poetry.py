"""[tool.poetry] in standard terms."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from interlock_ninja.pep508 import requirement
from interlock_ninja.poetry import Unclear, read_groups, read_poetry, to_specifier


@pytest.mark.parametrize(
    ("constraint", "specifier"),
    [
        # The tables of https://python-poetry.org/docs/dependency-specification
        ("^1.2.3", ">=1.2.3,<2.0.0"),
        ("^1.2", ">=1.2,<2.0"),
        ("^1", ">=1,<2"),
        ("^0.2.3", ">=0.2.3,<0.3.0"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3.0"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("*", ""),
        ("1.*", "==1.*"),
        ("1.2.*", "==1.2.*"),
        ("==1.2.*", "==1.2.*"),
        ("!=1.2.*", "!=1.2.*"),
        ("1.2.3", "==1.2.3"),
        ("=1.2.3", "==1.2.3"),
        (">= 1.2, < 1.5", ">=1.2,<1.5"),
        (">=1.2 <1.5", ">=1.2,<1.5"),
        ("^1.2,!=1.3", ">=1.2,<2.0,!=1.3"),
        ("~=1.4.5", "~=1.4.5"),
        ("^1.0a1", ">=1.0a1,<2.0"),
        ("^1!2.3", ">=1!2.3,<1!3.0"),
        ("v1.0", "==1.0"),
    ],
)
def test_constraints(constraint: str, specifier: str) -> None:
    assert to_specifier(constraint) == specifier


@pytest.mark.parametrize("constraint", ["^1 || ^2", "~2.7|^3.4", ">1.*", "latest", "1.2,", "^", "{version}", ">*"])
def test_what_has_no_certain_translation_is_left_to_the_backend(constraint: str) -> None:
    with pytest.raises(Unclear):
        to_specifier(constraint)


RELEASES = st.lists(st.integers(0, 4), min_size=1, max_size=3)


@given(RELEASES, RELEASES, st.sampled_from("^~"))
def test_caret_and_tilde_mean_what_poetry_says(wanted: list[int], other: list[int], operator: str) -> None:
    """Caret: the first number that is not zero stays. Tilde: the first two stay, or the one that is given."""
    version, candidate = (".".join(map(str, release)) for release in (wanted, other))
    padded, against = ((*release, 0, 0)[:3] for release in (wanted, other))
    if operator == "~":
        kept = min(2, len(wanted))
    else:
        kept = next((index + 1 for index, number in enumerate(wanted) if number), len(wanted))
    expected = against >= padded and against[:kept] == padded[:kept]
    assert SpecifierSet(to_specifier(operator + version)).contains(Version(candidate)) is expected


@given(st.text(max_size=12))
def test_any_text_gives_a_specifier_or_is_unclear(constraint: str) -> None:
    with contextlib.suppress(Unclear):
        SpecifierSet(to_specifier(constraint))


TABLES = {
    "dependencies": {
        "python": "^3.9",
        "plain": "^1.2",
        "pinned": {"version": "1.0", "extras": ["b", "a"]},
        "Opt": {"version": "*", "optional": True},
        "git-one": {"git": "https://h/r.git", "tag": "v1", "subdirectory": "py"},
        "url-one": {"url": "https://h/x.whl"},
        "path-one": {"path": "../core", "develop": True},
        "old": {"version": ">=1", "python": "<3.10", "platform": "linux"},
        "several": [
            {"version": "<2", "python": "~3.9"},
            {"version": ">=2", "markers": "python_version >= '3.10' or os_name == 'nt'"},
        ],
    },
    "extras": {"My_Extra": ["opt", "plain"]},
    "dev-dependencies": {"pytest": "^8"},
    "group": {"docs": {"dependencies": {"sphinx": "*", "odd": {"unheard": 1}}}, "dev": {"dependencies": {"ruff": "*"}}},
}


def test_dependencies_extras_and_groups(tmp_path: Path) -> None:
    found = read_poetry(TABLES, str(tmp_path / "leaf"))
    assert found.requires_python == ">=3.9,<4.0"
    assert found.dependencies == (
        "plain>=1.2,<2.0",
        "pinned[b,a]==1.0",
        "git-one @ git+https://h/r.git@v1#subdirectory=py",
        "url-one @ https://h/x.whl",
        f"path-one @ {(tmp_path / 'core').as_uri()}",
        'old>=1 ; python_version < "3.10" and sys_platform == "linux"',
        'several<2 ; python_version >= "3.9" and python_version < "3.10"',
        "several>=2 ; python_version >= '3.10' or os_name == 'nt'",
    )
    assert found.optional_dependencies == {"my-extra": ("Opt",)}
    assert found.groups == {"dev": ("pytest>=8,<9", "ruff"), "docs": ("sphinx",)}
    assert [requirement(line).name for line in found.dependencies]


@pytest.mark.parametrize(
    "dependencies",
    [
        {"python": {"version": "3"}},
        {"a": 1},
        {"a": {"unheard": 1}},
        {"a": "^1 || ^3"},
        {"a": {"git": "git@host:repo.git"}},
    ],
)
def test_unclear_dependencies(dependencies: dict[str, object]) -> None:
    with pytest.raises(Unclear):
        read_poetry({"dependencies": dependencies}, "/w")


def test_an_unclear_line_of_a_group_costs_only_itself() -> None:
    assert read_groups({"group": {"a": {"dependencies": {"x": "^1||^2", "y": "*"}}}}, "/w") == {"a": ("y",)}
