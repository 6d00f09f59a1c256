"""Generate what is out of date, then build with the bundled Ninja, whose progress is shown.

TARGET is a name of the graph: `<env>__venv`, `<env>__requirements`, `<project>__editable_install`; none means everything.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.commands.run import become
from interlock.durable import Disk
from interlock.errors import EngineUnavailable
from interlock_ninja.commands.gen import summary, tell, warn
from interlock_ninja.generate import current_out, generate, settle

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock build`."""
    parser.add_argument("--root", help="the workspace's directory (default: found by walking up from here)")
    parser.add_argument("--strict", action="store_true", help="projects that cannot be read are errors, not warnings")
    parser.add_argument("-j", dest="jobs", metavar="N", type=int, help="edges at once (Ninja's own default otherwise)")
    parser.add_argument("-k", dest="keep_going", metavar="N", type=int, help="go on until N edges have failed; 0: all")
    parser.add_argument("-v", dest="verbose", action="store_true", help="show Ninja's command lines")
    parser.add_argument("targets", nargs="*", metavar="TARGET")


def run(arguments: argparse.Namespace) -> int:
    """Generate if needed and become Ninja; the exit code is Ninja's."""
    disk = Disk(arguments.durability)
    ninja = ninja_program()
    out = None if arguments.strict else current_out(arguments.root)
    if out is None:
        generated = generate(arguments.root, disk=disk, strict=arguments.strict, progress=tell)
        warn(generated)
        if generated.changed:
            print(summary(generated, check=False), flush=True)
        out = os.path.dirname(generated.build_file)
        settle(generated, ninja)
    command = [ninja, "-C", out]
    command += [f"-j{arguments.jobs}"] if arguments.jobs is not None else []
    command += [f"-k{arguments.keep_going}"] if arguments.keep_going is not None else []
    command += ["-v"] if arguments.verbose else []
    environ = dict(os.environ)
    environ["INTERLOCK_DURABILITY"] = arguments.durability
    if arguments.lock_timeout is not None:
        environ["INTERLOCK_LOCK_TIMEOUT"] = str(arguments.lock_timeout)
    return become([*command, *arguments.targets], environ)


def ninja_program() -> str:
    """Return the Ninja that was installed with interlock.

    Raises:
        EngineUnavailable: the `ninja` distribution has no program on this platform.
    """
    import ninja

    name = os.path.join(ninja.BIN_DIR, "ninja.exe" if os.name == "nt" else "ninja")
    if not ninja.BIN_DIR or not os.path.exists(name):
        raise EngineUnavailable(
            "the `ninja` distribution that interlock depends on brings no program here",
            advice="Run `interlock gen` and then a Ninja of your own: `ninja -C out`.",
        )
    return name
