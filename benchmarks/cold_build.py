"""Build one workspace cold, through interlock and through one `uv pip install -e` an edge, and compare.

    python benchmarks/cold_build.py [--projects 32] [--layers 6] [--backend setuptools] [--rounds 3] [--jobs 128]

Both sides run under the same Ninja with the same -j, on the same generated workspace: setuptools projects in layers, each of
which depends on two of the layer above, `editable_mode=compat`, as in report 15335. A round starts without environment and
without stamps; caches of downloads and of build environments are warm for both. The sides alternate; the figures are
medians, and the ratio is taken round by round, because machines differ and drift. Needs uv; prints where interlock's
time went, from INTERLOCK_TIMINGS.
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
from collections import defaultdict
from pathlib import Path

import ninja
import uv

NINJA = os.path.join(ninja.BIN_DIR, "ninja")
UV = uv.find_uv_bin()
BACKENDS = {
    "setuptools": (
        '["setuptools>=77"]',
        "setuptools.build_meta",
        '[tool.setuptools]\npackages = ["{module}"]\npackage-dir = {{"" = "src"}}\n',
    ),
    "hatchling": (
        '["hatchling"]',
        "hatchling.build",
        '[tool.hatch.build.targets.wheel]\npackages = ["src/{module}"]\n',
    ),
    "flit_core": ('["flit_core>=3.11"]', "flit_core.buildapi", ""),
}


def make_workspace(root: Path, projects: int, layers: int, backend: str) -> dict[str, list[str]]:
    """Write the projects and return each one's dependencies, in layers."""
    requires, module_name, tool = BACKENDS[backend]
    per_layer = -(-projects // layers)
    graph: dict[str, list[str]] = {}
    for number in range(projects):
        layer, name = number // per_layer, f"bench-project-{number:03}"
        above = (
            [f"bench-project-{index:03}" for index in range((layer - 1) * per_layer, layer * per_layer)]
            if layer
            else []
        )
        graph[name] = [above[(number + offset) % len(above)] for offset in range(min(2, len(above)))]
        module = name.replace("-", "_")
        directory = root / name
        (directory / "src" / module).mkdir(parents=True)
        (directory / "src" / module / "__init__.py").write_text(f'"""{name}"""\n', encoding="utf-8")
        (directory / "pyproject.toml").write_text(
            f'[build-system]\nrequires = {requires}\nbuild-backend = "{module_name}"\n\n'
            f'[project]\nname = "{name}"\nversion = "1.0"\n'
            f'description = "one of many"\ndependencies = {json.dumps(graph[name])}\n\n' + tool.format(module=module),
            encoding="utf-8",
        )
    settings = '[environments.venv.config-settings]\neditable_mode = "compat"\n' if backend == "setuptools" else ""
    (root / "interlock.toml").write_text(f'members = ["bench-project-*"]\n{settings}', encoding="utf-8")
    return graph


def write_uv_ninja(root: Path, graph: dict[str, list[str]], backend: str, tuned: bool) -> Path:
    """Write the build file of report 15335: uv venv, then one `uv pip install -e` for each project."""
    out = root / "out-uv"
    out.mkdir(exist_ok=True)
    flags = "--no-deps --offline --no-build-isolation" if tuned else ""
    settings = "--config-settings editable_mode=compat" if backend == "setuptools" else ""
    requires = " ".join(json.loads(BACKENDS[backend][0])) + (" editables" if backend == "hatchling" else "")
    create = f"{UV} venv -q --clear {root / 'uv-env'}"
    if tuned:
        create += f" && {UV} pip install -q --compile-bytecode -p {root / 'uv-env'} '{requires}'"
    lines = [
        "rule venv",
        f"  command = {create} && touch $out",
        "rule editable",
        f"  command = {UV} pip install -q -p {root / 'uv-env'} -e {root}/$project {settings} {flags} && touch $out",
        "build venv.stamp: venv",
    ]
    for name, dependencies in graph.items():
        before = " ".join(["venv.stamp", *(f"{one}.stamp" for one in dependencies)])
        lines += [f"build {name}.stamp: editable | {before}", f"  project = {name}"]
    (out / "build.ninja").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def clear(root: Path) -> None:
    """Remove environments, stamps and what backends left in the sources."""
    for name in ("out", "out-uv", "uv-env", ".venv"):
        shutil.rmtree(root / name, ignore_errors=True)
    for path in root.glob("*/src/*.egg-info"):
        shutil.rmtree(path)


def run(command: list[str], environ: dict[str, str]) -> float:
    """Run a command and return its wall time; its output only matters when it fails."""
    started = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}")
    return time.monotonic() - started


def quantile(values: list[float], part: float) -> float:
    """Return the value below which this part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def print_spans(path: Path) -> None:
    """Print where the time of all interlock edges went, and how long the environment lock was held."""
    spans: dict[str, list[float]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        spans[record["span"]].append(record["seconds"] * 1000)
    print(f"\n{'span, of all rounds':<24}{'count':>7}{'sum s':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, values in sorted(spans.items()):
        p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
        print(f"{name:<24}{len(values):>7}{sum(values) / 1000:>9.2f}{p50:>9.2f}{p99:>9.2f}{max(values):>9.2f}")


def print_start() -> None:
    """Print what an edge pays before it does anything: an interpreter, and interlock's command line."""
    started = []
    for _ in range(20):
        before = time.monotonic()
        subprocess.run([sys.executable, "-P", "-m", "interlock", "--version"], capture_output=True, check=True)
        started.append((time.monotonic() - before) * 1000)
    print(f"{'process start, an edge':<24}{'':>7}{'':>9}{quantile(started, 0.5):>9.2f}{quantile(started, 0.99):>9.2f}")


def main() -> None:
    """Alternate the two sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=32)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--backend", choices=BACKENDS, default="setuptools")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=128)
    parser.add_argument("--tuned", action="store_true", help="uv with --no-deps --offline --no-build-isolation")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as directory:
        root = Path(directory)
        graph = make_workspace(root, arguments.projects, arguments.layers, arguments.backend)
        timings = root / "timings.jsonl"
        environ = {**os.environ, "INTERLOCK_CACHE_DIR": str(root / "cache")}
        environ.pop("VIRTUAL_ENV", None)
        interlock = [sys.executable, "-P", "-m", "interlock", "build", "--root", str(root), f"-j{arguments.jobs}"]
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(arguments.rounds + 1):  # the first round warms the caches and is not counted
            clear(root)
            measured = {**environ, "INTERLOCK_TIMINGS": str(timings)} if number else environ
            mine = run(interlock, measured)
            clear(root)
            out = write_uv_ninja(root, graph, arguments.backend, arguments.tuned)
            other = run([NINJA, "-C", str(out), f"-j{arguments.jobs}"], environ)
            if number:
                ours.append(mine)
                theirs.append(other)
                print(f"round {number}: interlock {mine:.1f} s, uv {other:.1f} s, ratio {other / mine:.2f}", flush=True)
        form = "tuned" if arguments.tuned else "defaults"
        print(
            f"\n{arguments.projects} {arguments.backend} projects, {arguments.layers} layers, -j{arguments.jobs}, "
            f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {version()}"
        )
        ratios = [other / mine for mine, other in zip(ours, theirs, strict=True)]
        print(f"{'':<32}{'min s':>8}{'median s':>10}{'max s':>8}")
        for label, values in (("interlock", ours), (f"uv pip install -e, {form}", theirs)):
            print(f"{label:<32}{min(values):>8.1f}{statistics.median(values):>10.1f}{max(values):>8.1f}")
        print(f"uv's time over interlock's: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print_spans(timings)
        print_start()


def version() -> str:
    """Return what `uv --version` prints."""
    return subprocess.run([UV, "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
