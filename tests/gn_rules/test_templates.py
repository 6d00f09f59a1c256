"""The templates under `gn gen`, by a real GN: what they make of their arguments, and what they refuse, with which words."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gn_samples import (
    ACTIONS,
    EVERYTHING,
    STAMP_FILES,
    arguments,
    build_file,
    everywhere,
    gn_version,
    labels,
    minimal,
    project,
)
from gn_trees import TEMPLATES, TOOLCHAINS

if TYPE_CHECKING:
    from gn_trees import Tree

PUBLIC = [path for path in sorted(TEMPLATES.glob("*.gni")) if path.name != "internal.gni"]
LEAF = "my.leaf-package/BUILD.gn"


def outcome(tree: Tree, files: dict[str, str], *words: str) -> str:
    """Return what `gn gen` says of a minimal tree with other files."""
    tree.write({**minimal(), **files})
    return " ".join(tree.gen(*words, code=1).split())


def with_leaf(tree: Tree, *calls: str) -> str:
    return outcome(tree, {LEAF: build_file('interlock_project("my.leaf-package") {\n}\n', *calls)})


def rules(tree: Tree) -> Counter[str]:
    """Return how often each label's command is in the Ninja files, by what Ninja prints for it."""
    out = tree.root / "out"
    found = [line for path in out.rglob("*.ninja") for line in path.read_text(encoding="utf-8").splitlines()]
    return Counter(line.split()[3] for line in found if re.match(r"  description = (ACTION|INTERLOCK|PYTHON) //", line))


# The files themselves


@pytest.mark.parametrize("path", [*sorted(TEMPLATES.glob("*.gni")), TEMPLATES / "BUILD.gn"], ids=lambda path: path.name)
def test_the_files_are_formatted(gn: str, path: Path) -> None:
    done = subprocess.run([gn, "format", "--dry-run", path], capture_output=True, check=False)
    assert done.returncode == 0


def templates_in(text: str) -> dict[str, tuple[str, str]]:
    """Return the comment above each public template, and its body."""
    found = re.finditer(
        r'((?:^#[^\n]*\n)+)^template\("(interlock_\w+)"\) \{\n(.*?)^\}\n', text, re.MULTILINE | re.DOTALL
    )
    return {match[2]: (match[1], match[3]) for match in found if "internal" not in match[2]}


TEMPLATES_FOUND = {name: it for path in PUBLIC for name, it in templates_in(path.read_text(encoding="utf-8")).items()}


def test_all_templates_are_there() -> None:
    assert set(TEMPLATES_FOUND) == {
        "interlock_action",
        "interlock_action_foreach",
        "interlock_build_env",
        "interlock_check",
        "interlock_group",
        "interlock_project",
        "interlock_venv",
        "interlock_wheel",
        "interlock_workspace",
    }


@pytest.mark.parametrize("name", [name for name in TEMPLATES_FOUND if "action" not in name])
def test_every_argument_is_documented(name: str) -> None:
    comment, body = TEMPLATES_FOUND[name]
    described = comment[comment.index("# Arguments\n") :]
    documented = {
        word
        for line in re.findall(r"^#   ([a-z_, ]+)(?: \(.*\))?$", described, re.MULTILINE)
        for word in line.split(", ")
    }
    forwarded = re.findall(r'^ +"(data|deps|sources|testonly|visibility)",$', body, re.MULTILINE)
    used = set(re.findall(r"\binvoker\.(\w+)", body)) | set(forwarded) - {"target_name"}
    assert documented == used - {"target_name"}


def test_no_file_names_the_stamps_of_gn() -> None:
    for path in TEMPLATES.rglob("*"):
        if path.suffix in {".gni", ".gn", ".py", ".jinja"}:
            assert not re.search(r"obj/\S*\.stamp|phony/", path.read_text(encoding="utf-8")), path


# What is made of arguments


def test_as_little_as_possible_is_enough(tree: Tree) -> None:
    tree.write(
        {
            **minimal(),
            LEAF: build_file(
                'interlock_project("my.leaf-package") {\n}\n',
                'interlock_wheel("wheel") {\n}\n',
                'interlock_check("check") {\n}\n',
                'interlock_group("nobody") {\n  python_deps = []\n}\n',
                'interlock_build_env("nothing") {\n  requires = []\n}\n',
                'interlock_action("run") {\n  module = "x"\n  outputs = [ "$target_gen_dir/x" ]\n}\n',
                'interlock_action_foreach("each") {\n  script = "x.py"\n  sources = [ "a" ]\n'
                '  outputs = [ "$target_gen_dir/{{source_name_part}}.x" ]\n}\n',
            ),
            "lonely/BUILD.gn": build_file('interlock_venv("lonely") {\n  path = "$root_build_dir/venv"\n}\n'),
            "BUILD.gn": 'group("default") {\n  deps = [ "//build/venv", "//lonely" ]\n}\n',
        }
    )
    tree.gen()
    words = arguments(tree, "//lonely:lonely__venv")
    assert words[words.index("venv") + 1] == "venv"


def test_every_argument_has_an_effect(tree: Tree) -> None:
    tree.write(EVERYTHING)
    tree.gen()
    expected = {
        "//build/venv:venv__venv": "venv ../.venv --python",
        "//build/venv:venv__requirements": "-r gen/build/venv/venv.requirements.txt -r ../build/venv/requirements.txt"
        " -r gen/build/venv/made.txt -c ../build/venv/constraints.txt --directory ../build --private",
        "//build/venv:flit": "build-env --arguments gen/build/venv/venv.build.args --workspace",
        "//build/venv:check": "check --arguments gen/build/venv/venv.venv.args --labels gen/build/venv/venv.labels.txt --stamp",
        "//my.core-package:wheel": "wheel ../my.core-package --output wheels --arguments gen/build/venv/venv.build.args"
        " --workspace gen/build/venv/venv.projects.txt -C a=b",
        "//my.leaf-package:my.leaf-package__editable_prepare": "-C c=d --extra more"
        " --workspace gen/build/venv/venv.projects.txt --project My.Leaf-Package",
        "//my.leaf-package:my.leaf-package__editable_install": "--label //my.leaf-package:my.leaf-package"
        " --declared //my.core-package:my.core-package --defer nobody --verify my.leaf-package[more]"
        " --any-version my.core-package",
        "//my.leaf-package:table": "run --arguments gen/build/venv/venv.venv.args --locked"
        " --depfile gen/my.leaf-package/table.d --target gen/my.leaf-package/table.txt --root ../"
        " --declared //my.leaf-package:my.leaf-package --labels gen/build/venv/venv.labels.txt -- python -m leaf",
        "//my.leaf-package:each": "-- python ../my.leaf-package/each.py {{source}}",
    }
    for label, part in expected.items():
        assert part in " ".join(arguments(tree, label)), label
    generated = tree.root / "out" / "gen" / "build" / "venv"
    assert (generated / "venv.venv.args").read_text() == "--venv\n../.venv\n"
    assert (
        (generated / "venv.build.args")
        .read_text()
        .endswith("--build-constraint\n../build/venv/build-constraints.txt\n")
    )
    assert (generated / "venv.settings.args").read_text() == "-C\neditable_mode=compat\n-C\nx=y z\n"
    assert (generated / "venv.requirements.txt").read_text() == "iniconfig>=2\n"
    names = {"my.core-package": "my.core-package", "My.Leaf-Package": "my.leaf-package"}
    assert (generated / "venv.projects.txt").read_text().splitlines() == [
        f"{name}\t../../../../{directory}" for name, directory in names.items()
    ]
    stamp = "interlock/ninja_rules/__{0}_{0}__editable_install.stamp"
    assert (generated / "venv.labels.txt").read_text().splitlines() == [
        *(
            "\t".join(
                (name, f"../../../../{directory}", f"//{directory}:{directory}", declared, stamp.format(directory))
            )
            for (name, directory), declared in zip(
                names.items(), ("", "//my.core-package:my.core-package"), strict=True
            )
        ),
        "\t\t//libs:libs\t//my.leaf-package:my.leaf-package\t",
    ]


def test_inputs_and_deps_reach_the_edges(tree: Tree) -> None:
    tree.write(EVERYTHING)
    tree.gen()
    described = json.loads(tree.run_gn("desc", "out", "//*", "--format=json"))
    prepare = described["//my.leaf-package:my.leaf-package__editable_prepare"]
    assert {"//my.leaf-package/extra.cfg", "//my.leaf-package/extra.txt"} <= set(prepare["inputs"])
    assert {"//build/venv:flit", "//build/venv:made", "//build/venv:venv__venv"} == set(prepare["deps"])
    table = described["//my.leaf-package:table"]
    assert {"//build/venv:made", "//build/venv:venv__requirements", "//my.leaf-package:my.leaf-package"} <= set(
        table["deps"]
    )
    assert "//my.core-package:wheel" in table["deps"]
    assert table["sources"] == ["//my.leaf-package/extra.cfg"]
    assert table["response_file_contents"] == ["c d", "e"]
    assert table["metadata"] == {"something": ["of others"]}
    untested = {name for name, it in described.items() if not it["testonly"] and it["type"] != "generated_file"}
    assert untested == {"//build/venv:made"}  # all of them are testonly, with all that the templates make for them
    each = described["//my.leaf-package:each"]
    assert each["script"] == "//build/interlock/run_interlock.py"
    assert each["outputs"] == [f"//out/gen/my.leaf-package/{name}.txt" for name in "ab"]


def test_build_arguments_reach_the_edges(tree: Tree) -> None:
    tree.write(
        EVERYTHING | {"build/venv/BUILD.gn": EVERYTHING["build/venv/BUILD.gn"].replace("  python =", "  # python =")}
    )
    tree.gen(
        '--args=interlock_program="//tools/interlock" interlock_python=">=3.11" interlock_engine="pip"'
        ' interlock_offline=true interlock_durability="fast" interlock_install_pool_depth=7'
    )
    venv = arguments(tree, "//build/venv:venv__venv")
    assert venv[:5] == ["--program", "../tools/interlock", "venv", "../.venv", "--python"]
    assert venv[5] == ">=3.11"
    # Those that may ask an index, and those that write.
    for label in ("//build/venv:venv__requirements", "//build/venv:flit", "//my.core-package:wheel"):
        assert "--engine pip --offline --durability fast" in " ".join(arguments(tree, label)), label
    assert "--engine pip --offline" in " ".join(arguments(tree, "//my.leaf-package:my.leaf-package__editable_prepare"))
    assert "--durability fast" in " ".join(arguments(tree, "//my.leaf-package:my.leaf-package__editable_install"))
    assert arguments(tree, "//my.leaf-package:table")[:3] == ["--program", "../tools/interlock", "run"]
    ninja = (tree.root / "out" / "build.ninja").read_text()
    assert "pool build_interlock_install_pool\n  depth = 7\n" in ninja


def test_a_program_by_name_is_looked_up_on_path(tree: Tree) -> None:
    tree.write(minimal())
    tree.gen('--args=interlock_program="interlock"')
    assert arguments(tree, "//build/venv:venv__venv")[:3] == ["--program", "interlock", "venv"]


def test_a_project_elsewhere_is_named_by_directory_or_file(tree: Tree) -> None:
    for path in ("//my.leaf-package", "//my.leaf-package/", "//my.leaf-package/pyproject.toml", "../my.leaf-package"):
        tree.write(
            {
                **minimal(),
                "BUILD.gn": 'group("default") {\n  deps = [ "//other:leaf" ]\n}\n',
                "other/BUILD.gn": build_file(
                    f'interlock_project("leaf") {{\n  project_name = "my.leaf-package"\n  pyproject = "{path}"\n}}\n'
                ),
            }
        )
        tree.gen()
        words = arguments(tree, "//other:leaf__editable_prepare")
        assert words[1].rstrip("/") == "../my.leaf-package", path
        inputs = tree.run_gn("desc", "out", "//other:leaf__editable_prepare", "inputs").split()
        assert "//my.leaf-package/pyproject.toml" in inputs, path


# What is refused

REFUSED = {
    "a venv without path": (
        'interlock_venv("other") {\n}\n',
        'has no path. Name the environment\'s directory: path = "//.venv"',
    ),
    "a venv's setting": (
        'interlock_venv("other") {\n  path = "//.other"\n  config_settings = [ "compat" ]\n}\n',
        'interlock_venv("other"): config_settings has "compat". Write "key=value".',
    ),
    "a project's setting": (
        'interlock_project("other") {\n  config_settings = [ "compat" ]\n}\n',
        'interlock_project("other"): config_settings has "compat". Write "key=value".',
    ),
    "a venv's editable": (
        'interlock_venv("other") {\n  path = "//.other"\n  editable = "fast"\n}\n',
        'interlock_venv("other"): editable is "fast". It is one of: backend, static, proof.',
    ),
    "a project's editable": (
        'interlock_project("other") {\n  editable = "static-if-possible"\n}\n',
        'interlock_project("other"): editable is "static-if-possible". It is one of: backend, static, proof.',
    ),
    "a wheel's setting": (
        'interlock_wheel("other") {\n  config_settings = [ "compat" ]\n}\n',
        'interlock_wheel("other"): config_settings has "compat". Write "key=value".',
    ),
    "no requires": (
        'interlock_build_env("other") {\n}\n',
        "has no requires. Copy it from [build-system] of the pyproject.toml.",
    ),
    "an empty group": ('interlock_group("other") {\n}\n', 'python_deps = [ "//my.core-package" ]'),
    "neither module nor script": (
        'interlock_action("other") {\n  outputs = [ "$target_gen_dir/x" ]\n}\n',
        'interlock_action("other") needs one of module and script: module = "my_tool" runs `python -m my_tool`',
    ),
    "module and script": (
        'interlock_action("other") {\n  module = "x"\n  script = "x.py"\n  outputs = [ "$target_gen_dir/x" ]\n}\n',
        'interlock_action("other") needs one of module and script',
    ),
    "no outputs": (
        'interlock_action("other") {\n  module = "x"\n}\n',
        'interlock_action("other") has no outputs. Name the files that it makes: outputs = [ "$target_gen_dir/other.h" ]',
    ),
    "empty outputs": (
        'interlock_action("other") {\n  module = "x"\n  outputs = []\n}\n',
        'interlock_action("other") has no outputs.',
    ),
    "no sources": (
        'interlock_action_foreach("other") {\n  script = "x.py"\n  outputs = [ "$target_gen_dir/{{source_name_part}}" ]\n}\n',
        'interlock_action_foreach("other") has no sources. It runs once for each: sources = [ "a.csv" ]',
    ),
    "a misspelt argument": (
        'interlock_group("other") {\n  python_deps = []\n  python_dep = []\n}\n',
        'You set the variable "python_dep"',
    ),
    "a misspelt argument of an action": (
        'interlock_action("other") {\n  module = "x"\n  outputs = [ "$target_gen_dir/x" ]\n  arg = []\n}\n',
        'You set the variable "arg"',
    ),
    "a label that is not there": (
        'interlock_group("other") {\n  python_deps = [ "//my.core-package:no" ]\n}\n',
        "//my.core-package:no",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_refused_with_the_fix(tree: Tree, case: str) -> None:
    call, message = REFUSED[case]
    assert message in with_leaf(tree, call)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ('interlock_engine="poetry"', 'interlock_engine is "poetry"; set it to "auto", "uv" or "pip" in args.gn.'),
        ('interlock_durability="none"', 'interlock_durability is "none"; set it to "full" or "fast" in args.gn.'),
    ],
)
def test_a_wrong_build_argument_is_refused(tree: Tree, argument: str, message: str) -> None:
    assert message in outcome(tree, {}, f"--args={argument}")


def test_the_pool_is_only_in_the_default_toolchain(tree: Tree) -> None:
    file = {"BUILD.gn": 'group("default") {\n  deps = [ "//build/interlock:x(//conf:second)" ]\n}\n'}
    assert 'name this one as ":install_pool($default_toolchain)"' in outcome(tree, file)


@pytest.mark.parametrize("name", ["a+b", "a b", "a$b", "ä", "a[b]", "a|b", "a'b", "a,b"])
def test_a_name_that_makes_no_rule_is_refused(tree: Tree, name: str) -> None:
    written = name.replace("$", "\\$")
    odd = "".join(character for character in name if character not in "ab")
    for call in (
        f'interlock_project("{written}") {{\n}}\n',
        f'interlock_action("{written}") {{\n  module = "x"\n  outputs = [ "$target_gen_dir/x" ]\n}}\n',
    ):
        message = with_leaf(tree, call)
        assert f"//my.leaf-package:{name}" in message
        assert (
            f'has "{odd}" in it, which Ninja does not allow in the name of a rule. Rename the target, or move it'
            in message
        )


def test_a_directory_that_makes_no_rule_is_refused(tree: Tree) -> None:
    files = {
        "x+y/BUILD.gn": build_file('interlock_project("p") {\n}\n'),
        "BUILD.gn": 'group("default") {\n  deps = [ "//x+y:p" ]\n}\n',
    }
    assert '//x+y:p__editable_prepare has "+" in it' in outcome(tree, files)


PROJECT = 'interlock_project("{}") {{\n  pyproject = "//my.core-package"\n}}\n'
ACTION = 'interlock_action("{}") {{\n  module = "x"\n  outputs = [ "$target_gen_dir/{}.x" ]\n}}\n'


@pytest.mark.parametrize("toolchain", ["", "//conf:second"])
@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (PROJECT.format("c"), PROJECT.format("b_c"), ("//a/b:c__editable_install", "//a:b_c__editable_install")),
        (ACTION.format("c", "c"), ACTION.format("b_c", "b_c"), ("//a/b:c__rule", "//a:b_c__rule")),
        (
            PROJECT.format("c"),
            ACTION.format("b_c__editable_install", "x"),
            ("//a/b:c__editable_install", "//a:b_c__editable_install"),
        ),
    ],
    ids=["projects", "actions", "a project and an action"],
)
def test_labels_that_make_one_rule_are_refused(
    tree: Tree, first: str, second: str, both: tuple[str, str], toolchain: str
) -> None:
    wanted = [f"//{where}:{call.split(chr(34))[1]}" for where, call in (("a/b", first), ("a", second))]
    files = {
        "a/b/BUILD.gn": build_file(first),
        "a/BUILD.gn": build_file(second),
        "BUILD.gn": f'group("default") {{\n  deps = {json.dumps(wanted)}\n}}\n',
    }
    message = outcome(tree, files, f'--args=interlock_toolchain="{toolchain}"')
    assert "Duplicate output file" in message
    assert all(label in message for label in both)


# Toolchains


@pytest.mark.parametrize("toolchain", ["", "//conf:main", "//conf:third", "//short"])
def test_three_toolchains_do_the_work_once(tree: Tree, toolchain: str) -> None:
    tree.write(EVERYTHING | {"short/BUILD.gn": TOOLCHAINS.replace('[ "main", "second", "third" ]', '[ "short" ]')})
    tree.gen(f'--args=interlock_toolchain="{toolchain}"')
    where = {"": "//conf:main", "//short": "//short:short"}.get(toolchain, toolchain)
    assert rules(tree) == Counter(f"{label}({where})" for label in ACTIONS)
    pools = [
        line
        for path in (tree.root / "out").rglob("*.ninja")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("pool ") and "interlock" in line
    ]
    assert pools == ["pool build_interlock_install_pool"]
    planned = tree.build("-n")
    assert planned.count("//my.leaf-package:my.leaf-package__editable_install(") == 1


@pytest.mark.parametrize("toolchain", ["", "//conf:second"])
def test_every_label_leads_to_the_work_in_each_toolchain(tree: Tree, toolchain: str) -> None:
    wanted = [*ACTIONS, "//libs:libs__editable_install", "//libs:libs__editable_prepare", "//build/venv", "//libs"]
    text = everywhere(*wanted).replace("deps = []", "testonly = true\n  deps = []", 1)
    tree.write({**EVERYTHING, "BUILD.gn": text})
    tree.gen(f'--args=interlock_toolchain="{toolchain}"')
    where = toolchain or "//conf:main"
    end = f"//build/venv:venv__venv({where})"
    for name in ("main", "second", "third"):
        for start in (f"{label}(//conf:{name})" for label in wanted):
            assert start == end or "No non-data paths" not in tree.run_gn("path", "out", start, end), start


def test_a_toolchain_of_a_venv_makes_no_difference(tree: Tree) -> None:
    tree.write(
        {
            **minimal(),
            LEAF: build_file(
                'interlock_project("my.leaf-package") {\n  venv = "//build/venv(//conf:second)"\n}\n',
                'interlock_check("check") {\n  venv = "//build/venv(//conf:second)"\n}\n',
            ),
        }
    )
    tree.gen()
    for label in ("//my.leaf-package:my.leaf-package__editable_install", "//my.leaf-package:check"):
        words = arguments(tree, label)
        assert words[words.index("--arguments") + 1] == "gen/build/venv/venv.venv.args"


# Stamps of GN


@pytest.mark.parametrize("without", [True, False])
def test_gn_may_do_without_stamp_files(tree: Tree, without: bool) -> None:
    if gn_version(tree.gn) < STAMP_FILES:
        pytest.skip("this GN has no no_stamp_files")
    tree.write(EVERYTHING)
    dotfile = tree.root / ".gn"
    dotfile.write_text(dotfile.read_text() + f"no_stamp_files = {str(without).lower()}\n")
    tree.gen()
    texts = "".join(path.read_text(encoding="utf-8") for path in (tree.root / "out").rglob("*.ninja"))
    assert ("obj/default.stamp" in texts) is not without
    assert "interlock/ninja_rules/__build_venv_venv__venv.stamp:" in texts
    assert rules(tree) == Counter(f"{label}(//conf:main)" for label in ACTIONS)
    tree.build("-n")


# Paths with spaces


def test_an_out_directory_outside_of_a_tree_with_a_space(tree: Tree, tmp_path: Path) -> None:
    spaced = tmp_path / "a tree"
    tree.root.rename(spaced)
    moved = type(tree)(spaced, tree.gn, tree.ninja)
    moved.write(minimal())
    out = str(tmp_path / "out")
    if gn_version(tree.gn) >= 2081:
        moved.run_gn("gen", out)
        command = moved._run([tree.ninja, "-C", out, "-t", "commands", "venv__venv"], 0)
        assert shlex.split(command.splitlines()[-1])[1] == "../a tree/build/interlock/run_interlock.py"
    else:
        message = " ".join(moved.run_gn("gen", out, code=1).split())
        assert 'This GN is too old for the space in "../a tree/build/interlock/run_interlock.py"' in message
        assert "Take a GN of 2023-03 or later; or an out directory inside of the source tree" in message
        moved.gen()


def test_an_interpreter_with_a_space(tree: Tree, tmp_path: Path) -> None:
    tree.write(minimal())
    dotfile = tree.root / ".gn"
    dotfile.write_text('buildconfig = "//conf/BUILDCONFIG.gn"\nscript_executable = "/a b/python"\n')
    if gn_version(tree.gn) >= 2081:
        tree.gen()
        command = tree.build("-t", "commands", "venv__venv").splitlines()[-1]
        assert shlex.split(command)[0] == "/a b/python"
    else:
        assert 'This GN is too old for the space in "/a b/python"' in tree.gen(code=1)


def test_a_project_directory_with_a_space_and_a_plus(tree: Tree) -> None:
    files = {f"odd +dir/{name}": text for name, text in project("odd").items()}
    file = build_file('interlock_project("odd") {\n  pyproject = "//odd +dir"\n}\n')
    tree.write(
        {**minimal(), **files, "odd/BUILD.gn": file, "BUILD.gn": 'group("default") {\n  deps = [ "//odd" ]\n}\n'}
    )
    tree.gen()
    assert "../odd +dir" in arguments(tree, "//odd:odd__editable_prepare")
    assert labels(tree)


def test_two_environments_in_one_place_are_named_both(tree: Tree) -> None:
    calls = [
        f'interlock_venv("{name}") {{\n  path = "{path}"\n}}' for name, path in (("a", "//.venv"), ("b", "../../.venv"))
    ]
    tree.write(
        {"build/venv/BUILD.gn": build_file(*calls), "BUILD.gn": 'group("all") {\n  deps = [ "//build/venv:a" ]\n}\n'}
    )
    said = tree.gen(code=1)
    assert "Duplicate output file" in said
    assert "//build/venv:a__path" in said
    assert "//build/venv:b__path" in said
