"""BUILD.gn files for tests of the templates: each template with all of its arguments, in a tree that really builds."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from trees import pyproject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gn_trees import Tree

__all__ = [
    "ACTIONS",
    "EVERYTHING",
    "STAMP_FILES",
    "arguments",
    "below",
    "build_file",
    "everywhere",
    "gn_version",
    "install",
    "labels",
    "minimal",
    "prepare",
    "project",
    "with_ninja",
]

IMPORT = 'import("//build/interlock/interlock.gni")\n\n'

STAMP_FILES = 2193  # the first GN that does without: 50ecf4c8 of September 2024

# What does work, by label; all others are groups.
ACTIONS = (
    "//build/venv:venv__venv",
    "//build/venv:venv__requirements",
    "//build/venv:flit",
    "//build/venv:check",
    "//my.core-package:my.core-package__editable_prepare",
    "//my.core-package:my.core-package__editable_install",
    "//my.core-package:wheel",
    "//my.leaf-package:my.leaf-package__editable_prepare",
    "//my.leaf-package:my.leaf-package__editable_install",
    "//my.leaf-package:table",
    "//my.leaf-package:each",
)


def build_file(*calls: str) -> str:
    """Return the text of a BUILD.gn that calls templates of interlock."""
    return IMPORT + "\n".join(calls)


def project(name: str, *dependencies: str, version: str = "1.0", more: str = "", module: str = "") -> dict[str, str]:
    """Return the files of a project of one module, with their paths in the project's directory."""
    module = module or name.rpartition(".")[2].partition("-")[0]
    more = f'description = "A sample."\n{more}\n[tool.flit.module]\nname = "{module}"\n'
    return {
        "pyproject.toml": pyproject(name, *dependencies, version=version, more=more),
        f"{module}.py": f'"""The module of {name}."""\n\nNAME = "{name}"\n',
    }


def below(directory: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{directory}/{path}": text for path, text in files.items()}


def minimal() -> dict[str, str]:
    """Return a tree of two projects, with as little written as possible; three toolchains ask for all of it."""
    return {
        "BUILD.gn": everywhere("//build/venv", "//my.leaf-package"),
        "build/venv/BUILD.gn": build_file(
            'interlock_venv("venv") {\n  path = "//.venv"\n  projects = [ "//my.leaf-package" ]\n}\n'
        ),
        **below("my.core-package", project("my.core-package")),
        "my.core-package/BUILD.gn": build_file('interlock_project("my.core-package") {\n}\n'),
        **below("my.leaf-package", project("my.leaf-package", "my.core-package>=1")),
        "my.leaf-package/BUILD.gn": build_file(
            'interlock_project("my.leaf-package") {\n  python_deps = [ "//my.core-package" ]\n}\n'
        ),
    }


def everywhere(*wanted: str) -> str:
    """Return a BUILD.gn whose default target depends on labels in all three toolchains."""
    return (
        f'group("default") {{\n  deps = []\n  foreach(name, [ "main", "second", "third" ]) {{\n'
        f"    foreach(label, {json.dumps(wanted)}) {{\n"
        '      deps += [ "$label(//conf:$name)" ]\n    }\n  }\n}\n'
    )


VENV = f"""\
interlock_venv("venv") {{
  path = "//.venv"
  python = "{sys.executable}"
  requirements = [
    "requirements.txt",
    "$target_gen_dir/made.txt",
  ]
  constraints = [ "constraints.txt" ]
  dependencies = [ "iniconfig>=2" ]
  build_constraints = [ "build-constraints.txt" ]
  config_settings = [
    "editable_mode=compat",
    "x=y z",
  ]
  directory = "//build"
  projects = [ "//libs" ]
  deps = [ ":made" ]
  testonly = true
  visibility = [ "*" ]
}}

copy("made") {{
  sources = [ "made.txt" ]
  outputs = [ "$target_gen_dir/made.txt" ]
}}

interlock_build_env("flit") {{
  requires = [ "flit_core>=3.11" ]
  venv = ":venv"
  testonly = true
  visibility = [ "*" ]
}}

interlock_check("check") {{
  venv = ":venv"
  testonly = true
  visibility = [ "*" ]
}}
"""

CORE = """\
interlock_project("my.core-package") {
  testonly = true
}

interlock_wheel("wheel") {
  pyproject = "//my.core-package/pyproject.toml"
  output_dir = "$root_out_dir/wheels"
  venv = "//build/venv"
  build_env = "//build/venv:flit"
  build_files = [ "pyproject.toml" ]
  config_settings = [ "a=b" ]
  deps = [ "//build/venv:made" ]
  inputs = [ "core.py" ]
  testonly = true
  visibility = [ "*" ]
}
"""

LEAF = """\
interlock_project("my.leaf-package") {
  pyproject = "."
  project_name = "My.Leaf-Package"
  venv = "//build/venv:venv"
  python_deps = [ "//my.core-package" ]
  build_files = [
    "pyproject.toml",
    "extra.cfg",
  ]
  inputs = [ "extra.txt" ]
  build_env = "//build/venv:flit"
  config_settings = [ "c=d" ]
  extras = [ "more" ]
  deps = [ "//build/venv:made" ]
  any_version = [ "my.core-package" ]
  deferred = [ "nobody" ]
  verify = [ "my.leaf-package[more]" ]
  testonly = true
  visibility = [ "*" ]
}

interlock_action("table") {
  module = "leaf"
  venv = "//build/venv"
  python_deps = [ ":my.leaf-package" ]
  outputs = [ "$target_gen_dir/table.txt" ]
  args = rebase_path(outputs, root_build_dir) + [
           "a b",
           "{{response_file_name}}",
         ]
  response_file_contents = [
    "c d",
    "e",
  ]
  data = [ "extra.txt" ]
  data_deps = [ "//build/venv:made" ]
  deps = [ "//build/venv:made" ]
  public_deps = [ "//my.core-package:wheel" ]
  depfile = "$target_gen_dir/table.d"
  inputs = [ "extra.txt" ]
  sources = [ "extra.cfg" ]
  locked = true
  metadata = {
    something = [ "of others" ]
  }
  pool = ":pool($default_toolchain)"
  testonly = true
  visibility = [ "*" ]
}

interlock_action_foreach("each") {
  script = "each.py"
  python_deps = [ "//libs" ]
  sources = [
    "a.csv",
    "b.csv",
  ]
  outputs = [ "$target_gen_dir/{{source_name_part}}.txt" ]
  args = [ "{{source}}" ] + rebase_path(outputs, root_build_dir)
  testonly = true
}

if (current_toolchain == default_toolchain) {
  pool("pool") {
    depth = 2
  }
}
"""

LIBS = """\
interlock_group("libs") {
  python_deps = [ "//my.leaf-package" ]
  testonly = true
  visibility = [ "*" ]
}
"""

LEAF_PY = '''\
"""Write what runs this, and with what."""

import json
import os
import sys
from pathlib import Path

import core

if __name__ == "__main__":
    output, argument, response = sys.argv[1:]
    facts = {
        "argument": argument,
        "response": Path(response).read_text(),
        "core": core.NAME,
        "prefix": sys.prefix,
        "VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV"),
        "PATH": os.environ["PATH"].split(os.pathsep)[0],
    }
    Path(output).write_text(json.dumps(facts))
'''

EACH_PY = """\
import sys
from pathlib import Path

import leaf

source, output = sys.argv[1:]
Path(output).write_text(Path(source).read_text().upper())
"""


def everything() -> dict[str, str]:
    wanted = ["//build/venv", "//build/venv:check", "//my.core-package:wheel", "//libs"]
    wanted += ["//my.leaf-package", "//my.leaf-package:table", "//my.leaf-package:each"]
    default = everywhere(*wanted).replace("  deps = []", "  testonly = true\n  deps = []", 1)
    return {
        "BUILD.gn": default,
        "build/venv/BUILD.gn": build_file(VENV),
        "build/venv/requirements.txt": "packaging\n",
        "build/venv/made.txt": "\n",
        "build/venv/constraints.txt": "packaging>=24\n",
        "build/venv/build-constraints.txt": "flit_core<5\n",
        "libs/BUILD.gn": build_file(LIBS),
        **below("my.core-package", project("my.core-package")),
        "my.core-package/BUILD.gn": build_file(CORE),
        **below(
            "my.leaf-package",
            project(
                "My.Leaf-Package",
                "my.core-package>=1",
                more='[project.optional-dependencies]\nmore = ["iniconfig"]\n',
                module="leaf",
            ),
        ),
        "my.leaf-package/leaf.py": LEAF_PY,
        "my.leaf-package/each.py": EACH_PY,
        "my.leaf-package/a.csv": "a\n",
        "my.leaf-package/b.csv": "b\n",
        "my.leaf-package/extra.cfg": "",
        "my.leaf-package/extra.txt": "",
        "my.leaf-package/BUILD.gn": build_file(LEAF),
    }


EVERYTHING = everything()


def gn_version(gn: str) -> int:
    """Return the number that a GN's `gn_version` has: 1000 for Debian's of 2022, which was built without its history."""
    return int(subprocess.run([gn, "--version"], capture_output=True, text=True, check=True).stdout.split()[0])


def labels(tree: Tree) -> list[str]:
    """Return all labels of a tree that was generated, with their toolchains."""
    return tree.run_gn("ls", "out", "*", "--all-toolchains").split()


def prepare(name: str) -> str:
    return f"//{name}:{name}__editable_prepare"


def install(name: str) -> str:
    return f"//{name}:{name}__editable_install"


def arguments(tree: Tree, label: str) -> list[str]:
    """Return the command line of an action, as GN has it."""
    described = json.loads(tree.run_gn("desc", "out", label, "args", "--format=json"))
    words: Iterable[str] = next(iter(described.values()))["args"]
    return list(words)


def with_ninja(tree: Tree, ninja: str) -> Tree:
    """Return a tree that another Ninja builds."""
    return replace(tree, ninja=ninja)
