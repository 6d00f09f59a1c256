"""Globs of directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_ninja.globs import Listing, expand, is_match, list_directory
from trees import write_tree


@pytest.mark.parametrize(
    ("path", "pattern", "matched"),
    [
        ("libs/core", "libs/*", True),
        ("libs/core", "./libs/*/", True),
        ("libs/core", "libs", True),  # what lies below a match is excluded with it
        ("libs", "libs/*", False),
        ("libs/core", "*", True),
        ("libs/core", "core", False),
        ("libs/core", "**/core", True),
        ("core", "**/core", True),
        ("a/b/c/core", "a/**/core", True),
        ("a/core", "a/**/core", True),
        ("a/b", "a/**", True),
        ("libs/core2", "libs/core[0-9]", True),
        ("libs/[x]", "libs/[[]x]", True),
        ("libs/.hidden", "libs/*", False),
        ("libs/.hidden", "libs/.*", True),
        (".hidden/x", "**/x", True),
        ("a/{{ b }}", "a/{{*", True),
        (".", ".", True),
        ("a", ".", False),
        ("Libs", "libs", False),
    ],
)
def test_matching(path: str, pattern: str, matched: bool) -> None:
    assert is_match(path, pattern) is matched


def expanded(root: Path, pattern: str, avoid: str = "never") -> tuple[list[str], list[str]]:
    def listing(directory: str) -> Listing | None:
        return list_directory(str(root / directory))

    return expand(str(root), pattern, look=listing, avoid=lambda path: path.split("/")[-1] == avoid)


def test_expansion_names_what_it_listed(tmp_path: Path) -> None:
    write_tree(
        tmp_path, {"libs/b/x": "", "libs/a/x": "", "libs/.h/x": "", "libs/never/x": "", "apps/c/d/x": "", "top": ""}
    )
    assert expanded(tmp_path, "libs/*") == (["libs/a", "libs/b"], ["libs"])
    assert expanded(tmp_path, "libs/never") == (["libs/never"], [])
    assert expanded(tmp_path, "libs/.h") == (["libs/.h"], [])
    assert expanded(tmp_path, "apps/**") == (["apps", "apps/c", "apps/c/d"], ["apps", "apps/c", "apps/c/d"])
    assert expanded(tmp_path, "*/c/*")[0] == ["apps/c/d"]
    assert expanded(tmp_path, "nothing/*") == ([], [])
    assert expanded(tmp_path, ".") == (["."], [])
    assert expanded(tmp_path, "top") == ([], [])


PARTS = st.lists(st.sampled_from(["a", "b", "*", "**", "?"]), min_size=1, max_size=4)


@given(PARTS, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4))
def test_matching_is_what_its_definition_says(pattern: list[str], path: list[str]) -> None:
    def whole(wanted: list[str], parts: list[str]) -> bool:
        if not wanted:
            return not parts
        if wanted[0] == "**":
            return whole(wanted[1:], parts) or (bool(parts) and whole(wanted, parts[1:]))
        return bool(parts) and wanted[0] in {parts[0], "*", "?"} and whole(wanted[1:], parts[1:])

    expected = any(whole(pattern, path[:length]) for length in range(1, len(path) + 1))
    assert is_match("/".join(path), "/".join(pattern)) is expected
