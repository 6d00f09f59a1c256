"""What people see of a build while it goes on: a bar on a terminal, a line for each edge elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress as RichProgress

    from interlock_ninja.build_file import BuildEdge
    from interlock_ninja.sync import Outcome, Ran, Reporter

__all__ = ["Progress", "reporter"]

Progress = Literal["bar", "lines", "none"]


@contextlib.contextmanager
def reporter(progress: Progress, *, verbose: bool = False) -> Iterator[Reporter]:
    """Yield what shows the edges of a build; afterwards nothing of a bar is left on the terminal."""
    if progress == "none":
        yield _Nothing()
    elif progress == "lines":
        yield _Lines(verbose=verbose)
    else:
        bar = _Bar()
        try:
            yield bar
        finally:
            bar.stop()


class _Nothing:
    def started(self, edge: BuildEdge, outcome: Outcome) -> None:
        pass

    def finished(self, ran: Ran, outcome: Outcome) -> None:
        pass


class _Lines:
    """As Ninja where it is not on a terminal: a line when an edge is done, then what the edge printed."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose

    def started(self, edge: BuildEdge, outcome: Outcome) -> None:
        pass

    def finished(self, ran: Ran, outcome: Outcome) -> None:
        name = ran.edge.command_line if self._verbose else ran.edge.description
        sys.stdout.write(f"{_head(outcome)} {name}\n{_printed(ran)}")
        sys.stdout.flush()


class _Bar:
    """One line at the bottom of the terminal: how far, for how long, and what runs; failures and output above it."""

    def __init__(self) -> None:
        self._running: dict[bytes, str] = {}
        self._shown: tuple[RichProgress, Console] | None = None

    def started(self, edge: BuildEdge, outcome: Outcome) -> None:
        self._running[edge.output] = edge.description
        self._show(outcome)

    def finished(self, ran: Ran, outcome: Outcome) -> None:
        from rich.text import Text

        self._running.pop(ran.edge.output, None)
        progress, console = self._show(outcome)
        if printed := _printed(ran):
            # Not cut into lines of the terminal's width: paths stay whole for who copies them.
            text = Text.from_ansi(f"{_head(outcome)} {ran.edge.description}\n{printed}".rstrip("\n"))
            console.print(text, soft_wrap=True)
        progress.refresh()

    def stop(self) -> None:
        if self._shown is not None:
            self._shown[0].stop()

    def _show(self, outcome: Outcome) -> tuple[RichProgress, Console]:
        if self._shown is None:
            # Loaded where it is used: no other command does, and this one only where there is work.
            self._shown = _start_bar()
        progress, _ = self._shown
        running = ", ".join(self._running.values())
        progress.update(progress.task_ids[0], completed=len(outcome.ran), total=outcome.total, description=running)
        return self._shown


def _start_bar() -> tuple[RichProgress, Console]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(file=sys.stdout, highlight=False)
    what = TextColumn(
        "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    progress = Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        what,
        console=console,
        transient=True,
        expand=True,
    )
    progress.add_task("", total=None)
    progress.start()
    return progress, console


def _head(outcome: Outcome) -> str:
    return f"[{len(outcome.ran)}/{outcome.total}]"


def _printed(ran: Ran) -> str:
    """Return what is shown of an edge below its line, complete: why it failed, and all that it printed."""
    text = f"FAILED: {ran.edge.description} (exit code {ran.code})\n" if ran.code else ""
    if ran.printed:
        text += ran.printed if ran.printed.endswith("\n") else f"{ran.printed}\n"
    return text
