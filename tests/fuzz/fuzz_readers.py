"""Give the readers of everything that others write nearly right inputs, and look for what is neither an answer nor an error.

    python tests/fuzz/fuzz_readers.py --minutes 10 [--seed N] [--only NAME] [--finds DIRECTORY]

An input that ends in another exception than the reader's own, or that takes more than 10 s of CPU, is a find: it is written
to the directory of finds and named with the seed that makes it again. The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import tempfile
import time
import traceback
import venv
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))
from targets import Target, all_targets

from interlock.durable import Disk
from interlock.environment import record_identity

LONGEST = 10.0  # seconds of CPU for one input
BATCH = 50


class Hang(BaseException):
    """One input took too long; no handler for exceptions may take it for its own."""


@contextmanager
def limited() -> Iterator[None]:
    """Let a block take no more than `LONGEST` seconds of CPU, where the platform can count them."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def attempt(target: Target, data: bytes) -> tuple[str, str]:
    """Give one input to a target; return how it ended and, for a find, the traceback."""
    try:
        with limited():
            target.run(data)
    except target.allowed as error:
        return type(error).__name__, ""
    except (Exception, Hang) as error:  # noqa: BLE001  every other exception is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "interlock" in frame.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"FIND {type(error).__name__} at {where}", traceback.format_exc(limit=-12)
    return "read", ""


def fuzz(
    targets: list[Target],
    seed: int,
    enough: Callable[[int], bool],
    found: Callable[[Target, bytes, int, str, str], None],
) -> dict[str, Counter[str]]:
    """Try inputs, a batch for each target in turn, until it is enough; return how many ended how, by target."""
    ends: dict[str, Counter[str]] = {target.name: Counter() for target in targets}
    tried = 0
    while not enough(tried):
        for target in targets:
            for _ in range(BATCH):
                own = int.from_bytes(hashlib.sha256(f"{seed} {tried}".encode()).digest()[:6], "big")
                data = target.make(Random(own))
                end, trace = attempt(target, data)
                ends[target.name][end] += 1
                tried += 1
                if trace and ends[target.name][end] == 1:
                    found(target, data, own, end, trace)
    return ends


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--only", default="", metavar="NAME", help="targets whose name has this in it")
    parser.add_argument("--finds", type=Path, default=Path("finds"), metavar="DIRECTORY")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.minutes * 60
    finds: list[str] = []

    def found(target: Target, data: bytes, own: int, what: str, trace: str) -> None:
        arguments.finds.mkdir(exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in f"{target.name} {what}")
        (arguments.finds / f"{name}.input").write_bytes(data)
        (arguments.finds / f"{name}.txt").write_text(f"{target.name}, input {own}\n{trace}", encoding="utf-8")
        finds.append(f"{target.name}: {what}")
        print(finds[-1], flush=True)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        environment = Path(directory, "place", "env")
        venv.create(environment)
        record_identity(str(environment), new=True, disk=Disk("fast"))
        work = Path(directory, "work")
        work.mkdir()
        targets = [one for one in all_targets(work, str(environment)) if arguments.only in one.name]
        ends = fuzz(targets, arguments.seed, lambda _: time.monotonic() > end, found)
    for name, counts in ends.items():
        print(f"{counts.total():>9,}  {name}: {', '.join(f'{count:,} {what}' for what, count in counts.most_common())}")
    print(f"{sum(one.total() for one in ends.values()):>9,}  inputs with seed {arguments.seed}; finds: {len(finds)}")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
