"""What happens all day in a tree that is built: nothing, one change; and generating the graph."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from measuring import alternate, progress, run
from report import Row, Table
from workspaces import Workspace, hub

if TYPE_CHECKING:
    from pathlib import Path

    from bench import Bench

QUICK = 3  # times as many rounds: these take milliseconds


def generator(bench: Bench) -> Table:
    """Measure `interlock gen`: 1,000 projects, 10,000, and its memory."""
    table = Table("gen", "interlock gen, nothing written before")
    medians, small, large = {}, bench.size(1000), bench.size(1000) * 10
    for count, target in ((small, 1.0), (large, None)):
        workspace = hub(bench.directory(), count - 1, "setuptools")
        memory: list[float] = []

        def generate(workspace: Workspace = workspace, memory: list[float] = memory) -> float:
            workspace.clear()
            ran = bench.product.run("gen", "--root", workspace.root)
            memory.append(ran.memory / 2**20)
            return ran.seconds

        (seconds,) = alternate(bench.rounds, generate, say=f"gen, {count} projects")
        medians[count] = seconds
        table.rows.append(Row(f"{count:,} projects", seconds, target=target))
        table.rows.append(
            Row(f"{count:,} projects, peak memory", memory[1:], unit="MB", target=500 if count == large else None)
        )
        shutil.rmtree(workspace.root)
    linear = Row(f"{large:,} over {small:,} (10 is linear)", medians[large], medians[small], compare="cost", target=12)
    table.rows.insert(4, linear)
    return table


def built(bench: Bench, count: int) -> Workspace:
    """Return a workspace with so many projects that has been built: flit_core, whose builds are the shortest."""
    workspace = hub(bench.directory(), count - 1, "flit_core")
    progress(f"building {count} projects to begin with")
    bench.product.build(workspace)
    return workspace


def every_day(bench: Bench) -> Table:
    """Measure a tree of 1,000 projects: nothing to do, one project changed."""
    count = bench.size(1000)
    table = Table("every-day", f"a tree of {count:,} projects (flit_core, a hub) that is built", peer="plain edges")
    workspace, rounds = built(bench, count), bench.rounds * QUICK
    out = workspace.root / "out"
    ninja, environ = bench.product.ninja, bench.tools.environ
    commands = run([ninja, "-C", out, "-t", "commands", "all"], environ).output
    edges = len(commands.splitlines())
    kinds = [plain_edges(workspace, edges, own=own) for own in (True, False)]
    for directory in kinds:
        run([ninja, "-C", directory], environ)

    def nothing(directory: Path) -> float:
        ran = run([ninja, "-C", directory, f"-j{bench.product.jobs}"], environ)
        if "no work to do" not in ran.output:
            raise SystemExit(f"{directory}: there was work to do:\n{ran.output[-2000:]}")
        return ran.seconds * 1000

    ours, *theirs = alternate(rounds, *(lambda each=each: nothing(each) for each in (out, *kinds)))
    labels = (f"ninja, nothing to do ({edges:,} edges)", "the same, beside edges that read no depfile")
    for label, plain in zip(labels, theirs, strict=True):
        table.rows.append(Row(label, ours, plain, unit="ms", compare="cost", target=1.3))
    (seconds,) = alternate(rounds, lambda: bench.product.build(workspace) * 1000)
    table.rows.append(Row("interlock build, nothing to do", seconds, unit="ms", target=150))
    changed, versions = list(workspace.graph)[count // 2], iter(range(2, 1_000_000))

    def one_change() -> float:
        workspace.edit(changed, f"{next(versions)}.0")
        return run([ninja, "-C", out, f"-j{bench.product.jobs}"], environ).seconds

    def one_project() -> float:
        (out / f"{changed}__editable_prepare").unlink()
        return run([ninja, "-C", out, f"-j{bench.product.jobs}"], environ).seconds

    (seconds,) = alternate(bench.rounds, one_change, say="one change")
    table.rows.append(Row("one pyproject.toml changed: ninja to done", seconds, target=1))
    (seconds,) = alternate(bench.rounds, one_project)
    table.rows.append(Row("one stamp of a prepare edge missing: ninja to done", seconds))
    return table


def plain_edges(workspace: Workspace, count: int, *, own: bool) -> Path:
    """Write a build.ninja with as many edges that only touch their output, two for each project, the second after the first.

    With `own`, each has a file of its own and a depfile that names it, as an edge of a compiler has. Otherwise the two share
    the project's pyproject.toml, and there is no depfile.
    """
    out = workspace.root / ("out-plain" if own else "out-plain-bare")
    out.mkdir(exist_ok=True)
    names = list(workspace.graph)
    lines = ["rule touch", "  command = touch $out"]
    if own:
        lines = [
            "rule touch",
            "  command = echo $out: $in > $out.d && touch $out",
            "  depfile = $out.d",
            "  deps = gcc",
        ]
    for number in range(count):
        name = names[number // 2 % len(names)]
        before = f" | {number - 1}.stamp" if number % 2 else ""
        source = f"src/{name.replace('-', '_')}/__init__.py" if own and number % 2 else "pyproject.toml"
        lines.append(f"build {number}.stamp: touch ../{name}/{source}{before}")
    (out / "build.ninja").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out
