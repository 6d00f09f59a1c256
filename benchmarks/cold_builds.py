"""Cold builds: no environment, no stamps, no egg-info, no worker; the caches of downloads and build environments are warm."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from measuring import Failed, alternate, progress
from peers import Peer, pip_edges, uv_edges, uv_once, uv_reused
from report import Row, Table
from workspaces import Workspace, hub, layered, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench import Bench

WARM_UP = 3  # projects
PIP_SPOKES = 64
GENEROUS = (
    "Peers: uv's defaults ask an index on the loopback interface; tuned is --no-deps --offline --no-build-isolation. Tuned "
    "forms and pip find an environment that was made before the clock starts, with the backend in it, bytecode compiled."
)
KEPT = (
    "interlock has built each project once before, and kept what its backend made (docs/explanation/kept.md); where `backends "
    "run` it has kept nothing, as for a first build."
)
OURS = "interlock: `interlock build -j128` from nothing, generation, the environment and the start of workers included."


def layers(bench: Bench) -> Table:
    """Measure setuptools projects in six layers against the five ways of uv and pip."""
    workspace = layered(bench.directory(), bench.size(128), "setuptools")
    title = f"{len(workspace.graph)} setuptools projects in 6 layers, cold"
    return _against_all(
        bench, workspace, Table("layers", title, peer="peer", notes=[OURS, KEPT, GENEROUS]), len(workspace.graph)
    )


def spokes(bench: Bench) -> Table:
    """Measure one hub with 500 hatchling projects that depend on it, the common real shape, the same way."""
    count = bench.size(500)
    workspace = hub(bench.directory(), count, "hatchling")
    title = f"a hub with {count} hatchling spokes, cold"
    return _against_all(bench, workspace, Table("spokes", title, peer="peer", notes=[OURS, KEPT, GENEROUS]), PIP_SPOKES)


def _against_all(bench: Bench, workspace: Workspace, table: Table, for_pip: int) -> Table:
    """Compare with the five; pip gets at most so many projects, and its time is scaled up."""
    jobs = bench.product.jobs
    rows: list[tuple[Peer, float | None]] = [
        (uv_edges(bench.tools, jobs), 30),
        (uv_edges(bench.tools, jobs, tuned=True), 10),
        (uv_once(bench.tools), 15),
        (uv_once(bench.tools, tuned=True), 4),
        (pip_edges(bench.tools, jobs), 20),
        (uv_reused(bench.tools), None),
    ]
    warm_up(bench, workspace.backend, *(peer for peer, _ in rows))
    table.rows = _compare(bench, workspace, rows, for_pip=for_pip)
    table.rows[-1].note = "uv builds nothing here"
    return table


def _compare(
    bench: Bench,
    workspace: Workspace,
    rows: Sequence[tuple[Peer, float | None]],
    *,
    way: Callable[[Workspace], float] | None = None,
    compare: str = "speed",
    for_pip: int = 0,
) -> list[Row]:
    """Let interlock, with every backend run and with what it has kept of that, and all peers take turns."""
    sides: list[Callable[[], float]] = _ours(bench, workspace, way or bench.product.build_cold)
    notes = []
    for peer, _ in rows:
        theirs, note = workspace, ""
        if peer.label.startswith("pip") and len(workspace.graph) > for_pip + 1:
            theirs = hub(bench.directory(), for_pip, workspace.backend)
            note = f"pip built {len(theirs.graph)} projects, times {len(workspace.graph) / len(theirs.graph):.1f}"
        sides.append(partial(_scaled, peer, theirs, len(workspace.graph) / len(theirs.graph)))
        notes.append(note)
    say = f"{len(workspace.graph)} of {workspace.backend}: all built, kept, {', '.join(peer.label for peer, _ in rows)}"
    first, ours, *others = alternate(bench.rounds, *sides, say=say, warm=False)
    return [
        Row(peer.label, ours, found, compare=compare, target=target, note=note, built=first)
        for (peer, target), found, note in zip(rows, others, notes, strict=True)
    ]


def _ours(bench: Bench, workspace: Workspace, cold: Callable[[Workspace], float]) -> list[Callable[[], float]]:
    """Return the two builds of interlock: with every backend run, and with what that has left."""

    def built() -> float:
        bench.product.forget(workspace)
        return cold(workspace)

    return [built, partial(cold, workspace)]


def _scaled(peer: Peer, workspace: Workspace, factor: float) -> float:
    return peer.cold(workspace) * factor


def warm_up(bench: Bench, backend: str, *peers: Peer) -> None:
    """Fill the caches of all sides with a small workspace: what they keep is by build requirement, not by project."""
    small = layered(bench.directory(), WARM_UP, backend, layers=1)
    bench.product.build_cold(small)
    for peer in peers:
        peer.cold(small)


def backends(bench: Bench) -> Table:
    """Measure other build backends: flit_core, hatchling, and uv_build, which uv runs without starting Python."""
    count = bench.size(128)
    table = Table(
        "backends", f"{count} projects in 6 layers, cold, by backend", peer="peer", notes=[OURS, KEPT, GENEROUS]
    )
    edges, once = uv_edges(bench.tools, bench.product.jobs), uv_once(bench.tools)
    tuned = uv_once(bench.tools, tuned=True)
    sides: dict[str, tuple[str, list[tuple[Peer, float | None]]]] = {
        "flit_core": ("speed", [(edges, 10), (tuned, None)]),
        "hatchling": ("speed", [(edges, 10), (tuned, None)]),
        "uv_build": ("cost", [(edges, None), (once, None), (tuned, 4)]),
    }
    for backend, (compare, rows) in sides.items():
        workspace = layered(bench.directory(), count, backend)
        warm_up(bench, backend, *(peer for peer, _ in rows))
        found = _compare(bench, workspace, rows, compare=compare)
        for row in found:
            row.label = f"{backend}: {row.label}"
        table.rows += found
    return table


def sync(bench: Bench) -> Table:
    """Measure `interlock sync`, which runs the same plan without Ninja."""
    count = bench.size(128)
    table = Table("sync", f"interlock sync, {count} setuptools projects in 6 layers, cold", peer="peer")
    if not bench.product.has("sync"):
        table.notes.append("This version has no `interlock sync`.")
        return table
    workspace = layered(bench.directory(), count, "setuptools")
    rows: list[tuple[Peer, float | None]] = [(uv_once(bench.tools, tuned=True), 4.0), (uv_once(bench.tools), None)]
    warm_up(bench, "setuptools", *(peer for peer, _ in rows))
    table.rows = _compare(bench, workspace, rows, way=bench.product.sync_cold)
    table.notes += [KEPT, GENEROUS]
    return table


def static(bench: Bench) -> Table:
    """Measure static editables against one uv process with uv_build, both of which run no backend."""
    count = bench.size(128)
    table = Table("static", f"static editables, {count} projects in 6 layers, cold", peer="one uv, uv_build, tuned")
    peer = uv_once(bench.tools, tuned=True)
    theirs = layered(bench.directory(), count, "uv_build")
    warm_up(bench, "uv_build", peer)
    for backend in ("uv_build", "setuptools", "hatchling"):
        mine = layered(bench.directory(), count, backend)
        write(mine.root, mine.graph, backend, extra='editable = "static"\n')
        if not bench.product.accepts(mine):
            table.notes.append("This version has no static editables.")
            return table
        ways = {"interlock build": bench.product.build_cold}
        if bench.product.has("sync"):
            ways["interlock sync"] = bench.product.sync_cold
        try:
            for way, measure in ways.items():
                ours, found = alternate(
                    bench.rounds, partial(measure, mine), partial(peer.cold, theirs), say=f"static, {backend}, {way}"
                )
                table.rows.append(Row(f"{backend}, {way}", ours, found, compare="cost", target=3))
        except Failed as error:
            progress(f"static, {backend}: {str(error)[-300:]}")
            table.notes.append(f"{backend}: this version refuses it.")
    table.notes.append(OURS)
    return table


def sizes(bench: Bench) -> Table:
    """Measure how cost grows with the number of projects, 32 to 2,048: for the chart."""
    table = Table("sizes", "cold builds of setuptools projects in 6 layers, by number", peer="peer", notes=[KEPT])
    sides = {"uv, an edge each": uv_edges(bench.tools, bench.product.jobs), "one uv": uv_once(bench.tools)}
    warm_up(bench, "setuptools", *sides.values())
    last = dict.fromkeys(sides, 0.0)
    for count in (32, 64, 128, 256, 512, 1024, 2048):
        if count > bench.size(2048):
            break
        workspace = layered(bench.directory(), count, "setuptools")
        names = [name for name in sides if last[name] * 2 <= bench.budget]
        found = _compare(bench, workspace, [(sides[name], None) for name in names]) if names else []
        for name, row in zip(names, found, strict=True):
            row.label, row.keys = f"{count}, {name}", {"projects": count, "peer": name}
            last[name] = row.theirs[-1]
            table.rows.append(row)
        if not names:
            first, ours = alternate(bench.rounds, *_ours(bench, workspace, bench.product.build_cold), warm=False)
            keys, note = {"projects": count, "peer": ""}, "peers: too long for --budget"
            table.rows.append(Row(f"{count}", ours, built=first, keys=keys, note=note))
    return table
