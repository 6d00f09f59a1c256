"""What a real GN says of the targets that the templates make, and how it is asked."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gn_samples import build_file
from interlock.errors import ConfigurationError
from interlock_gn.gn_program import find_gn, open_out
from interlock_gn.targets import ProjectTarget, VenvTarget, read_targets

if TYPE_CHECKING:
    from pathlib import Path

    from gn_trees import Tree

VENV = """\
interlock_venv("venv") {
  path = "//.venv"
  python = ">=3.11"
  projects = [
    "//libs",
    "//leaf",
  ]
  config_settings = [ "editable_mode=compat" ]
  build_constraints = [ "constraints.txt" ]
}
"""
LEAF = """\
interlock_project("leaf") {
  project_name = "my.leaf"
  pyproject = "python"
  python_deps = [
    ":more",
    "//libs",
  ]
  extras = [ "x" ]
  deferred = [ "later" ]
  verify = [ "core[y]" ]
}

interlock_project("more") {
  venv = ":own"
}

interlock_venv("own") {
  path = "$root_build_dir/own"
}

action("tool") {
  script = "BUILD.gn"
  outputs = [ "$target_gen_dir/tool" ]
}
"""


@pytest.fixture
def described(tree: Tree) -> Tree:
    tree.write(
        {
            "BUILD.gn": 'group("default") {\n  deps = [ "//build/venv(//conf:second)", "//build/venv", "//leaf:tool" ]\n}\n',
            "build/venv/BUILD.gn": build_file(VENV),
            "build/venv/constraints.txt": "",
            "libs/BUILD.gn": build_file('interlock_group("libs") {\n  python_deps = [ "//core" ]\n}\n'),
            "core/BUILD.gn": build_file('interlock_project("core") {\n}\n'),
            "core/pyproject.toml": "",
            "leaf/BUILD.gn": build_file(LEAF),
            "leaf/pyproject.toml": "",
        }
    )
    return tree


def test_all_targets_are_as_gn_evaluates_them(described: Tree) -> None:
    described.gen()
    root = str(described.root)
    targets = read_targets(open_out(f"{root}/out", described.gn))
    assert targets.projects == {
        "//core:core": ProjectTarget("//core:core", "core", f"{root}/core", "//build/venv:venv", (), (), (), ()),
        "//leaf:leaf": ProjectTarget(
            "//leaf:leaf",
            "my.leaf",
            f"{root}/leaf/python",
            "//build/venv:venv",
            ("//leaf:more", "//libs:libs"),
            ("x",),
            ("later",),
            ("core[y]",),
        ),
        "//leaf:more": ProjectTarget("//leaf:more", "more", f"{root}/leaf", "//leaf:own", (), (), (), ()),
    }
    assert targets.groups == {"//libs:libs": ("//core:core",)}
    assert targets.venvs == {
        "//build/venv:venv": VenvTarget(
            "//build/venv:venv",
            f"{root}/.venv",
            ">=3.11",
            ("//leaf:leaf", "//libs:libs"),
            ("editable_mode=compat",),
            (f"{root}/build/venv/constraints.txt",),
        ),
        "//leaf:own": VenvTarget("//leaf:own", f"{root}/out/own", "", (), (), ()),
    }
    assert {"//leaf:tool", "//core:core__editable_install", "//build/venv:venv__venv"} <= set(targets.actions)
    assert not {"//core:core", "//leaf:leaf__metadata", "//:default"} & set(targets.actions)
    assert targets.led_to(["//libs:libs", "//nowhere:x"]) == {"//core:core"}
    assert targets.members(targets.venvs["//build/venv:venv"]) == {"//core:core", "//leaf:leaf", "//leaf:more"}


def test_a_toolchain_other_than_the_default_one_says_the_same(described: Tree) -> None:
    described.gen()
    before = read_targets(open_out(str(described.root / "out"), described.gn))
    described.gen('--args=interlock_toolchain="//conf:second"')
    after = read_targets(open_out(str(described.root / "out"), described.gn))
    assert (after.projects, after.groups, after.venvs) == (before.projects, before.groups, before.venvs)
    assert "//core:core__editable_install(//conf:second)" in after.actions


def test_what_build_files_print_is_passed_over(described: Tree) -> None:
    described.gen()
    before = read_targets(open_out(str(described.root / "out"), described.gn))
    text = (described.root / "BUILD.gn").read_text(encoding="utf-8")
    described.write({"BUILD.gn": 'print("{")\nprint("{}")\nprint("{ \\"//x:x\\": {} }")\nprint("ERROR")\n' + text})
    assert "ERROR" in described.gen()
    assert read_targets(open_out(str(described.root / "out"), described.gn)) == before


def test_build_files_are_read_as_they_are_now(described: Tree) -> None:
    described.gen()
    described.write({"libs/BUILD.gn": build_file('interlock_group("libs") {\n  python_deps = []\n}\n')})
    assert read_targets(open_out(str(described.root / "out"), described.gn)).groups == {"//libs:libs": ()}


def test_an_out_directory_elsewhere_with_a_dotfile_of_its_own(described: Tree, tmp_path: Path) -> None:
    """`gn gen --root=... --dotfile=...` is in no args.gn."""
    dotfile = tmp_path / "dot files" / "other.gn"
    dotfile.parent.mkdir()
    (described.root / ".gn").rename(dotfile)
    out = tmp_path / "o ut"
    described.run_gn("gen", str(out), f"--root={described.root}", f"--dotfile={dotfile}")
    evaluation = open_out(str(out), described.gn)
    assert evaluation.root == str(described.root)
    assert "//core:core" in read_targets(evaluation).projects


def test_the_gn_that_made_the_directory_is_asked(described: Tree, tmp_path: Path) -> None:
    mine = tmp_path / "my gn"
    shutil.copy(described.gn, mine)
    described.gen()
    assert os.path.samefile(open_out(str(described.root / "out")).program, described.gn)
    replace(described, gn=str(mine)).gen("--script-executable=my_python")
    assert open_out(str(described.root / "out")).switches == ("--root=./..", "--script-executable=my_python")
    assert os.path.samefile(open_out(str(described.root / "out")).program, mine)
    assert os.path.samefile(open_out(str(described.root / "out"), described.gn).program, described.gn)


def test_what_is_wrong_in_the_tree_is_told_in_gn_s_words(described: Tree) -> None:
    described.gen()
    described.write({"libs/BUILD.gn": "x = \n"})
    with pytest.raises(ConfigurationError, match=r"(?s)gn desc.*libs/BUILD\.gn:1:3: Expected right-hand side"):
        read_targets(open_out(str(described.root / "out"), described.gn))


def test_a_directory_that_gn_gen_was_not_run_for(tree: Tree) -> None:
    out = tree.root / "out"
    with pytest.raises(ConfigurationError, match="there is no directory") as caught:
        open_out(str(out), tree.gn)
    assert "gn gen" in caught.value.advice
    out.mkdir()
    with pytest.raises(ConfigurationError, match=r"has no args\.gn"):
        open_out(str(out), tree.gn)
    (out / "args.gn").touch()
    with pytest.raises(ConfigurationError, match=r"has no build\.ninja") as caught:
        open_out(str(out), tree.gn)
    assert "until it succeeds" in caught.value.advice
    (out / "build.ninja").write_text("rule cc\n  command = cc\n")
    with pytest.raises(ConfigurationError, match="was not written by GN"):
        open_out(str(out), tree.gn)


def test_a_gn_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no program nonesuch") as caught:
        find_gn("nonesuch")
    assert "--gn PROGRAM" in caught.value.advice
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no `gn` on PATH"):
        find_gn(None)


def test_a_tree_without_our_templates_has_nothing_of_ours(tree: Tree) -> None:
    tree.write({"BUILD.gn": 'group("default") {\n}\n'})
    tree.gen()
    targets = read_targets(open_out(str(tree.root / "out"), tree.gn))
    assert json.dumps([dict(targets.projects), dict(targets.venvs), targets.actions]) == "[{}, {}, []]"
