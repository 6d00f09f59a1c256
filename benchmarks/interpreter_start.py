"""Start an interpreter, and import, in an environment with many editable projects, in every form that could be had.

    python benchmarks/interpreter_start.py [--projects 500] [--rounds 25] [--json FILE]

One environment a form, all with the same projects (`src/project_NNN/`, a package with a deep module) and the same dist-info
directories. Forms:

    empty               nothing but dist-info directories
    installed           copies of the packages in site-packages: what no editable install can beat
    pth each            one .pth with one path a project: what pip, uv and every backend write
    pth merged          one .pth with all paths
    finder              one .pth with a line of code, and a finder on sys.meta_path: type checkers cannot follow it
    links in site       symbolic links in site-packages
    links beside site   symbolic links in one directory, and one .pth with its path: what `links = true` makes

The forms take turns, and each figure is a median, less that of the empty environment in the same round; `start` is
`python -c pass`, `first`, `last` and `deep` import a project's package, that of the last one, and one of its modules four
levels down, and `missing` is an import that fails (an optional dependency, say). All in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP = "a/b/c/d"
FINDER = """\
import sys
from importlib.machinery import PathFinder


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [MAPPING[name]]) if name in MAPPING else None


sys.meta_path.append(Finder)
"""


def make_projects(root: Path, count: int) -> dict[str, Path]:
    """Write the projects and return each one's directory of packages by the name of its package."""
    projects = {}
    for number in range(count):
        name = f"project_{number:04}"
        source = root / "libs" / name / "src"
        deep = source / name / DEEP
        deep.mkdir(parents=True)
        for directory in (deep, *deep.parents):
            if directory == source:
                break
            (directory / "__init__.py").write_text("", encoding="utf-8")
        (deep / "module.py").write_text("VALUE = 1\n", encoding="utf-8")
        projects[name] = source
    return projects


def write_nothing(site: Path, projects: dict[str, Path]) -> None:
    """Leave the environment as it is."""


def write_each(site: Path, projects: dict[str, Path]) -> None:
    for name, source in projects.items():
        (site / f"_{name}.pth").write_text(f"{source}\n", encoding="utf-8")


def write_merged(site: Path, projects: dict[str, Path]) -> None:
    (site / "all.pth").write_text("".join(f"{source}\n" for source in projects.values()), encoding="utf-8")


def write_finder(site: Path, projects: dict[str, Path]) -> None:
    mapping = {name: str(source) for name, source in projects.items()}
    (site / "_editable_finder.py").write_text(f"MAPPING = {mapping!r}\n{FINDER}", encoding="utf-8")
    (site / "all.pth").write_text("import _editable_finder\n", encoding="utf-8")


def write_links(site: Path, projects: dict[str, Path]) -> None:
    for name, source in projects.items():
        (site / name).symlink_to(source / name)


def write_links_beside(site: Path, projects: dict[str, Path]) -> None:
    beside = site.parent / "editable-packages"
    beside.mkdir()
    write_links(beside, projects)
    for name, source in projects.items():
        (beside / f".{name}.links").write_text(json.dumps({name: str(source / name)}), encoding="utf-8")
    (site / "interlock.pth").write_text("../editable-packages\n", encoding="utf-8")


def write_copies(site: Path, projects: dict[str, Path]) -> None:
    for name, source in projects.items():
        shutil.copytree(source / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))


FORMS: dict[str, Callable[[Path, dict[str, Path]], None]] = {
    "empty": write_nothing,
    "installed": write_copies,
    "pth each": write_each,
    "pth merged": write_merged,
    "finder": write_finder,
    "links in site": write_links,
    "links beside site": write_links_beside,
}


def make_environment(path: Path, form: str, projects: dict[str, Path]) -> str:
    """Make an environment in a form and return its python."""
    venv.create(path, symlinks=True)
    site = next(path.glob("lib/python*/site-packages"))
    for name in projects:
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n", encoding="utf-8")
    FORMS[form](site, projects)
    return str(path / "bin" / "python")


def milliseconds(python: str, code: str) -> float:
    """Return how long a process takes."""
    started = time.perf_counter()
    subprocess.run([python, "-I", "-c", code], check=True)
    return (time.perf_counter() - started) * 1000


def measure(pythons: dict[str, str], codes: dict[str, str], rounds: int) -> dict[str, dict[str, float]]:
    """Return for each form and each program the median, in milliseconds, of what it takes over the empty environment."""
    found: dict[str, dict[str, list[float]]] = {form: {what: [] for what in codes} for form in pythons}
    for number in range(rounds + 1):  # the first writes the bytecode and is not counted
        bare = milliseconds(pythons["empty"], codes["start"])
        for form, python in pythons.items():
            for what, code in codes.items():
                if form == "empty" and what not in {"start", "missing"}:
                    continue
                took = milliseconds(python, code)
                if number:
                    found[form][what].append(took if form == "empty" and what == "start" else took - bare)
    return {
        form: {what: round(statistics.median(values), 2) for what, values in one.items() if values}
        for form, one in found.items()
    }


def main() -> None:
    """Make the environments, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    last = f"project_{arguments.projects - 1:04}"
    codes = {
        "start": "pass",
        "first": "import project_0000",
        "last": f"import {last}",
        "deep": f"import {last}.{DEEP.replace('/', '.')}.module",
        "missing": "try:\n    import not_there\nexcept ImportError:\n    pass",
    }
    with tempfile.TemporaryDirectory(prefix="interlock-start-") as directory:
        root = Path(os.path.realpath(directory))
        projects = make_projects(root, arguments.projects)
        pythons = {form: make_environment(root / f"env-{number}", form, projects) for number, form in enumerate(FORMS)}
        figures = measure(pythons, codes, arguments.rounds)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    print(
        f"{arguments.projects} projects, medians of {arguments.rounds}, ms over `python -I -c pass` when empty, {machine}"
    )
    print(f"{'':<20}" + "".join(f"{what:>10}" for what in codes))
    for form, one in figures.items():
        sign = "" if form == "empty" else "+"
        cells = (f"{one[what]:{sign}.1f}" if what in one else "" for what in codes)
        print(f"{form:<20}" + "".join(f"{cell:>10}" for cell in cells))
    if arguments.json:
        data = {"projects": arguments.projects, "rounds": arguments.rounds, "machine": machine, "figures": figures}
        Path(arguments.json).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
