"""Measure everything that issue and documentation say about speed: one command, all tables, JSON.

    python benchmarks/run.py [--only layers --only lock] [--rounds 5] [--projects N] [--json FILE]

Peers (uv, pip, Ninja, build backends) are installed at pinned versions by the benchmark itself, into a cache. Sides take turns,
figures are medians, a ratio is taken round by round: ratios travel to other machines, seconds do not. With --only, the tables
that the JSON file has under other names stay in it. All of it takes hours on two cores, nearly all of that for peers;
--rounds 1 and --projects 16 give an idea in minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import Bench
from cold_builds import backends, layers, sizes, spokes, static, sync
from commits import lock_held
from edges import breakdown
from measuring import Failed, load, machine, now, progress
from memory import memory
from product import JOBS, Product
from report import save
from small_changes import every_day, generator
from toolbox import CACHE, toolbox

TABLES = {
    "layers": layers,
    "spokes": spokes,
    "backends": backends,
    "sync": sync,
    "static": static,
    "every-day": every_day,
    "gen": generator,
    "lock": lock_held,
    "memory": memory,
    "breakdown": breakdown,
    "sizes": sizes,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=TABLES, help="this table; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--projects", type=int, default=0, metavar="N", help="no workspace gets more")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N", help="-j of every Ninja")
    parser.add_argument(
        "--budget", type=float, default=300, metavar="SECONDS", help="longest peer in the table `sizes`"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), metavar="FILE")
    parser.add_argument("--python", default=sys.executable, help="of the interlock that is measured")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left in the cache's directory
    (CACHE / "work").mkdir(parents=True, exist_ok=True)
    failed = 0
    # On the file system of the caches: uv links files from its cache, as it does for everybody.
    with toolbox() as tools, tempfile.TemporaryDirectory(dir=CACHE / "work") as scratch:
        product = Product(tools.environ, options.python, options.jobs)
        versions = {**tools.versions(), **product.versions()}
        found = machine()
        print(" | ".join(f"{name}: {value}" for name, value in found.items()))
        print(" | ".join(f"{name} {value}" for name, value in versions.items()) + "\n", flush=True)
        for name in options.only or TABLES:
            bench = Bench(product, tools, Path(scratch) / name, options.rounds, options.projects, options.budget)
            measured = {"rounds": options.rounds, "when": now(), "load": load(), "projects": options.projects}
            progress(name)
            try:
                table = TABLES[name](bench)
            except Failed as error:
                progress(f"{name}: {error}")
                failed += 1
                continue
            finally:
                product.stop_workers()
                subprocess.run(["rm", "-rf", bench.scratch], check=False)  # a thousand projects: faster than shutil
            table.measured = measured
            print(table.text(), flush=True)
            save(options.json, [table], found, versions)
    if options.only is None and not failed:
        progress(f"written: {os.path.relpath(options.json)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
