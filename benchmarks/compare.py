"""Compare the speed of two commits of this repository, on this machine.

    python benchmarks/compare.py COMMIT_A COMMIT_B [--projects 32] [--rounds 5] [--json FILE]

Each commit gets a work tree and an environment of its own; the sides take turns, and each table has the ratio of B's time to
A's, round by round: below 1, B is faster. No peer runs. Names of commits are those of git, `.` is what lies here, uncommitted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measuring import Failed, alternate, figure_of, progress, ratio, run
from product import Product
from toolbox import CACHE, Toolbox, toolbox
from workspaces import Workspace, hub, layered

ROOT = Path(__file__).resolve().parents[1]
Measure = Callable[[Product, Workspace], float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT")
    parser.add_argument(
        "--projects", type=int, default=32, metavar="N", help="of a cold build; a hundred times as many for gen"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    (CACHE / "work").mkdir(parents=True, exist_ok=True)
    with toolbox() as tools, tempfile.TemporaryDirectory(dir=CACHE / "work") as scratch:
        trees: list[Path] = []
        try:
            products = [
                checked_out(tools, commit, Path(scratch, side), trees)
                for side, commit in zip("ab", options.commits, strict=True)
            ]
            return measured(products, Path(scratch), options)
        finally:
            for tree in trees:
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=False)


def checked_out(tools: Toolbox, commit: str, directory: Path, trees: list[Path]) -> Product:
    """Return the interlock of a commit, installed in an environment of its own; its caches and workers are its own too."""
    tree = ROOT
    if commit != ".":
        tree = directory / "tree"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", tree, commit], check=True)
        trees.append(tree)
    # The environments do not ask the benchmark's index: that has the peers alone.
    environ = {
        key: value
        for key, value in tools.environ.items()
        if not key.startswith(("UV_DEFAULT", "PIP_INDEX", "PIP_CONFIG"))
    }
    environment = directory / "env"
    run([tools.uv, "venv", "-q", "-p", sys.executable, environment], environ)
    run([tools.uv, "pip", "install", "-q", "--compile-bytecode", "-p", environment, "-e", f"{tree}[uv]"], environ)
    runtime = directory / "run"
    runtime.mkdir(mode=0o700)
    own = {"INTERLOCK_CACHE_DIR": str(directory / "cache"), "XDG_RUNTIME_DIR": str(runtime)}
    return Product({**tools.environ, **own}, str(environment / "bin" / "python"))


def cold(product: Product, workspace: Workspace) -> float:
    return product.build_cold(workspace)


def nothing(product: Product, workspace: Workspace) -> float:
    return product.build(workspace)


def one_change(product: Product, workspace: Workspace) -> float:
    name = list(workspace.graph)[len(workspace.graph) // 2]
    workspace.edit(name, f"{next(_versions)}.0")
    return product.build(workspace)


def gen(product: Product, workspace: Workspace) -> float:
    workspace.clear()
    return product.run("gen", "--root", workspace.root).seconds


_versions = iter(range(2, 1_000_000))


def measured(products: list[Product], scratch: Path, options: argparse.Namespace) -> int:
    """Measure and print each table."""
    count = options.projects
    cases: dict[str, tuple[Callable[[Path], Workspace], Measure]] = {
        f"cold, {count} setuptools projects": (lambda root: layered(root, count, "setuptools"), cold),
        f"cold, {count} hatchling projects": (lambda root: hub(root, count - 1, "hatchling"), cold),
        f"nothing to do, {count} projects": (lambda root: layered(root, count, "flit_core"), nothing),
        f"one change of {count} projects": (lambda root: layered(root, count, "flit_core"), one_change),
        f"gen, {count * 100:,} projects": (lambda root: hub(root, count * 100 - 1, "setuptools"), gen),
    }
    found = {}
    print(f"{'':<36}{options.commits[0][:16]:>18}{options.commits[1][:16]:>18}{'B over A':>10}")
    for number, (label, (make, measure)) in enumerate(cases.items()):
        roots = [make(scratch / f"{number}{side}") for side in "ab"]
        try:
            sides = [partial(measure, *side) for side in zip(products, roots, strict=True)]
            a, b = alternate(options.rounds, *sides, say=label)
        except Failed as error:
            progress(f"{label}: {error}")
            print(f"{label:<36}  one of them cannot do that")
            continue
        finally:
            for product in products:
                product.stop_workers()
        found[label] = {"a": a, "b": b, "ratio": ratio(b, a)}
        print(f"{label:<36}{figure_of(a):>18}{figure_of(b):>18}{ratio(b, a):>10.3f}", flush=True)
    if options.json:
        document = {"commits": options.commits, "tables": found}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if len(found) == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
