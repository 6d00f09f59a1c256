"""Running what is measured: wall time, peak memory, sides that take turns, and the machine that it was on."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Failed(Exception):
    """A command that is measured failed; the message has its output."""


@dataclass(frozen=True)
class Ran:
    """A command that ran: seconds, the most memory of it or any one process that it waited for (bytes), what it printed."""

    seconds: float
    memory: int
    output: str


# Who is started counts the memory of the process that it was forked from: so a small one is between.
_MEASURE = """
import os, sys, time
started = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.monotonic() - started
with open(sys.argv[1], "w") as writer:
    writer.write(f"{seconds} {usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)}")
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


def run(command: Sequence[str | Path], environ: Mapping[str, str], *, cwd: Path | None = None) -> Ran:
    """Run a command to its end; its output only matters when it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        measured, printed = os.path.join(scratch, "measured"), os.path.join(scratch, "printed")
        # Files, not pipes: a daemon that keeps one open keeps nobody waiting.
        with open(printed, "wb") as output:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _MEASURE, measured, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=cwd,
                check=False,
            )
        said, numbers = Path(printed).read_text("utf-8", "replace"), []
        if os.path.exists(measured):
            numbers = Path(measured).read_text("utf-8").split()
    if done.returncode or len(numbers) != 2:
        raise Failed(f"{' '.join(map(str, command))[:300]} failed ({done.returncode}):\n{said[-4000:]}")
    return Ran(float(numbers[0]), int(numbers[1]), said)


def alternate(rounds: int, *sides: Callable[[], float], say: str = "", warm: bool = True) -> list[list[float]]:
    """Let sides take turns `rounds` times, and to `warm` up once before; return what each measured, round by round."""
    found: list[list[float]] = [[] for _ in sides]
    for number in range(0 if warm else 1, rounds + 1):
        for side, values in zip(sides, found, strict=True):
            value = side()
            if number:
                values.append(value)
        if say and number:
            progress(f"{say}, round {number}: " + " | ".join(f"{values[-1]:.3g}" for values in found))
    return found


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which this part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def figure_of(samples: Sequence[float]) -> str:
    """Return the median, in seconds or milliseconds, for people."""
    middle = statistics.median(samples)
    return f"{middle * 1000:.1f} ms" if middle < 1 else f"{middle:.2f} s"


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios, round by round: machines differ and drift."""
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def progress(line: str) -> None:
    """Say what is going on, beside the tables."""
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    found = {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as reader:
        found["processor"] = next(line for line in reader if line.startswith("model name")).partition(":")[2].strip()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    return found


def load() -> str:
    """Return how busy the machine is with other things: its load over the last minute."""
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (OSError, AttributeError):
        return "unknown"


def now() -> str:
    """Return the moment, for people."""
    return time.strftime("%Y-%m-%d %H:%M")
