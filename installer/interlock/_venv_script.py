"""Build a virtual environment in one directory whose scripts say that it is in another.

Runs in the interpreter that the environment is for, so it keeps to Python 3.8 and the standard library:
`python -I -S _venv_script.py BUILT FINAL PROMPT`. Exit code 3: the line on stderr is "ERRNO message" of the operating system.
pyvenv.cfg is left to the caller.
"""

from __future__ import annotations

import os
import sys
import venv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import SimpleNamespace

REFUSED = 3


class Builder(venv.EnvBuilder):
    """The stdlib's builder, with another path than the one it writes to in what the environment says of itself."""

    def __init__(self, final: str, prompt: str) -> None:
        super().__init__(symlinks=os.name != "nt", with_pip=False, prompt=prompt)
        self.final = final

    def create_configuration(self, context: SimpleNamespace) -> None:
        """Write no pyvenv.cfg: the stdlib's would name the directory that is about to be renamed."""

    def setup_scripts(self, context: SimpleNamespace) -> None:
        """Write the activate scripts; only the paths inside the text are the final ones."""
        actual = dict(vars(context))
        context.env_dir = self.final
        context.env_name = os.path.basename(self.final)
        context.env_exe = os.path.join(self.final, os.path.relpath(context.env_exe, actual["env_dir"]))
        try:
            super().setup_scripts(context)
        finally:
            vars(context).update(actual)


def main(built: str, final: str, prompt: str) -> int:
    # venv refuses a path with PATH's separator in it, because activating cannot work there; everything else does.
    os.pathsep = "\0"
    os.umask(os.umask(0o002) | 0o002)  # what others may write, others may make run
    try:
        Builder(final, prompt).create(built)
    except OSError as error:
        sys.stderr.write(f"{error.errno} {error.filename or built}: {error.strerror or error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
