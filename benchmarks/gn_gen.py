"""Time `gn gen` of a large tree with and without interlock's rules in it.

    python benchmarks/gn_gen.py [--shape opentelemetry-python-contrib] [--targets 4000] [--rounds 11] [--gn gn]

The tree has the projects of a real monorepo (tests/data/monorepos) and C targets beside them, as the monorepos have that GN is
used for. Three trees are generated in turn: the C targets alone; with a plain `group` in place of each call of a template, the
least that any rule could cost; and with the BUILD.gn files that `interlock gn gen` writes. A fourth, with the exec_script
that these files do without: one process of Python at each `gn gen`, which does nothing. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from measuring import alternate, ratio  # noqa: E402

from gn_trees import make_tree  # noqa: E402
from monorepos import materialise  # noqa: E402

SIDES = ("C targets alone", "with plain groups", "with interlock's rules", "with plain groups and an exec_script")
C_TARGETS_A_DIRECTORY = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="opentelemetry-python-contrib")
    parser.add_argument("--targets", type=int, default=4000, help="C targets beside the projects")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--gn", default="gn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        trees = [Path(scratch) / str(number) for number in range(len(SIDES))]
        projects = [make_side(tree, side, options) for tree, side in zip(trees, SIDES, strict=True)]
        times = alternate(options.rounds, *(partial(generate, tree, options.gn) for tree in trees))
        print_table(times, options, projects[2])
    return 0


def make_side(root: Path, side: str, options: argparse.Namespace) -> int:
    """Make one of the trees; return the number of its projects."""
    make_tree(root, options.gn, "ninja")
    materialise(options.shape, root, third_party=False)
    (root / "interlock.toml").write_text("", encoding="utf-8")
    directories = [f"c/{number}" for number in range(options.targets // C_TARGETS_A_DIRECTORY)]
    for directory in directories:
        write_c_targets(root, directory)
    deps = [f"//{directory}" for directory in directories]
    if side != SIDES[0]:
        command = [sys.executable, "-m", "interlock", "gn", "gen"]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
        deps.append("//build/venv")
    if "groups" in side:
        for path in root.rglob("BUILD.gn"):
            if "interlock_" in path.read_text(encoding="utf-8"):
                path.write_text(as_groups(path.read_text(encoding="utf-8")), encoding="utf-8")
    lines = "".join(f'    "{dep}",\n' for dep in deps)
    extra = 'exec_script("//nothing.py")\n' if "exec_script" in side else ""
    (root / "nothing.py").write_text("", encoding="utf-8")
    (root / "BUILD.gn").write_text(f'{extra}group("all") {{\n  deps = [\n{lines}  ]\n}}\n', encoding="utf-8")
    return sum("interlock_project(" in path.read_text(encoding="utf-8") for path in root.rglob("BUILD.gn"))


def write_c_targets(root: Path, directory: str) -> None:
    """Write a BUILD.gn with source_sets, the last of which is the directory's own."""
    path = root / directory
    path.mkdir(parents=True)
    name = path.name
    texts = []
    for number in range(C_TARGETS_A_DIRECTORY):
        target = name if number == C_TARGETS_A_DIRECTORY - 1 else f"part{number}"
        deps = "" if number == 0 else f'  deps = [ ":part{number - 1}" ]\n'
        sources = "".join(f'    "{target}_{each}.c",\n' for each in range(5))
        texts.append(f'source_set("{target}") {{\n  sources = [\n{sources}  ]\n{deps}}}\n')
    (path / "BUILD.gn").write_text("\n".join(texts), encoding="utf-8")


def as_groups(text: str) -> str:
    """Return a BUILD.gn with a group for each call of a template."""
    calls = re.findall(r'^(interlock_\w+)\("([^"]+)"\) \{\n(.*?)^\}\n', text, re.MULTILINE | re.DOTALL)
    groups = []
    for template, name, body in calls:
        if template == "interlock_workspace":
            continue
        found = re.search(r"^  (?:python_deps|projects) = (\[.*?\])$", body, re.MULTILINE | re.DOTALL)
        groups.append(f'group("{name}") {{\n  deps = {found[1] if found else "[]"}\n}}\n')
    return "\n".join(groups)


def generate(root: Path, gn: str) -> float:
    """Run `gn gen` and return the seconds that it took."""
    started = time.perf_counter()
    subprocess.run([gn, "gen", "out", "-q"], cwd=root, check=True, capture_output=True)
    return time.perf_counter() - started


def print_table(times: list[list[float]], options: argparse.Namespace, projects: int) -> None:
    version = subprocess.run([options.gn, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{projects} projects, {options.targets} C targets, gn {version}, {options.rounds} rounds")
    print(f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    print(f"{'':38} {'median ms':>9} {'over the first':>15} {'over groups':>12}")
    for side, found in zip(SIDES, times, strict=True):
        ratios = [ratio(found, times[base]) for base in (0, 1)]
        print(f"{side:38} {statistics.median(found) * 1000:9.1f} {ratios[0]:15.2f} {ratios[1]:12.2f}")


if __name__ == "__main__":
    sys.exit(main())
