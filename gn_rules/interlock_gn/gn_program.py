"""The program `gn`: which one it is, and how it is run on an out directory, again as it was run when that was made."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from interlock.errors import ConfigurationError

__all__ = ["Evaluation", "Formatter", "find_gn", "open_out"]

# What was said to `gn gen` and is not kept in args.gn: GN says it again in the command that regenerates build.ninja.
_REPEATED = ("--dotfile=", "--root=", "--root-target=", "--script-executable=", "--threads=")
_COMMAND = re.compile(r"^rule gn\n(?:  .*\n)*?  command = (.*)$", re.MULTILINE)
_ESCAPED = re.compile(r"\$([$ :])")


@dataclass(frozen=True, slots=True)
class Formatter:
    """`gn format`, which needs no source tree."""

    program: str

    def tree(self, text: bytes) -> dict[str, Any]:
        """Return the syntax tree of a BUILD.gn; lines and columns start at 1, columns count bytes.

        Raises:
            ConfigurationError: it is not GN.
        """
        said = _run(self.program, ["format", "--dump-tree=json", "--stdin"], ".", text)
        # The formatted text follows, where it is read from standard input.
        answer: dict[str, Any] = json.JSONDecoder(strict=False).raw_decode(said.decode("utf-8", "replace"))[0]
        return answer

    def format(self, text: bytes) -> bytes:
        """Return the text as `gn format` leaves it; its lines end in a line feed alone.

        Raises:
            ConfigurationError: it is not GN.
        """
        return _run(self.program, ["format", "--stdin"], ".", text)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """GN, asked about an out directory that it has made; each question evaluates all BUILD.gn files as they are now.

    `out` and `root`, that of the source tree, are absolute. `switches` are those of the command that made the directory.
    """

    program: str
    out: str
    root: str
    switches: tuple[str, ...]

    def describe(self, pattern: str, *what: str) -> dict[str, dict[str, Any]]:
        """Return what `gn desc` says of the targets that a pattern matches, by label.

        A label has its toolchain behind it unless that is the default one.

        Raises:
            ConfigurationError: GN finds something wrong in the tree, or matches nothing.
        """
        said = self.ask("desc", ".", pattern, *what, "--format=json")
        answer = _last_object(said)
        if answer is None:
            raise ConfigurationError(
                f"{self.program} desc said no JSON of {pattern} in {self.out}:\n{said.strip()}",
                advice="Run `gn --version`: this needs a GN from 2022 or later.",
            )
        return answer

    def build_files(self, directory: str) -> list[str]:
        """Return the absolute paths of the BUILD.gn files of a directory ("//libs/text") that `gn gen` has read.

        They may have another extension, or be in a tree of their own (`gn help dotfile`: secondary_source).
        """
        try:
            with open(os.path.join(self.out, "build.ninja.d"), encoding="utf-8", errors="surrogateescape") as reader:
                text = reader.read()
        except OSError:
            return []
        paths = [re.sub(r"\\(.)", r"\1", each) for each in re.findall(r"(?:\\.|[^\s\\])+", text)]
        tail = re.compile(rf"(.*/)?{re.escape(directory.strip('/'))}/?BUILD(\.\w+)?\.gn")
        found = [os.path.normpath(os.path.join(self.out, each)) for each in paths if tail.fullmatch(each)]
        return sorted((each for each in found if os.path.isfile(each)), key=len)

    def ask(self, *words: str) -> str:
        """Run a command of GN in the out directory and return what it wrote.

        Raises:
            ConfigurationError: it failed; the message has what it said.
        """
        return _run(self.program, [*self.switches, *words], self.out).decode("utf-8", "replace")


def find_gn(named: str | None, *, also: str = "") -> str:
    """Return the GN to run: the one that the user named, or `also`, if it is there, or that on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    found = shutil.which(named or "gn")
    if not named and also and os.access(also, os.X_OK):
        return also
    if found is None:
        raise ConfigurationError(
            f"there is no program {named}" if named else "there is no `gn` on PATH",
            advice="Name the GN that builds this tree: --gn PROGRAM. Debian has one in its package generate-ninja.",
        )
    return os.path.abspath(found)


def open_out(out: str, program: str | None = None) -> Evaluation:
    """Open an out directory for which `gn gen` has been run; `program` is the GN to ask, None for the one that made it.

    Raises:
        ConfigurationError: it is none, or there is no GN.
    """
    directory = os.path.abspath(out)
    if not os.path.isdir(directory):
        raise ConfigurationError(f"there is no directory {directory}", advice=f"Run `gn gen {out}` first.")
    for name in ("args.gn", "build.ninja"):
        if not os.path.isfile(os.path.join(directory, name)):
            raise ConfigurationError(
                f"{directory} is no out directory of GN, or `gn gen` failed: it has no {name}",
                advice=f"Run `gn gen {out}` until it succeeds; what GN says then is what to mend first.",
            )
    made_by, words = _regeneration(os.path.join(directory, "build.ninja"))
    switches = tuple(word for word in words if word.startswith(_REPEATED))
    root = next((word.partition("=")[2] for word in switches if word.startswith("--root=")), None)
    if root is None:
        raise ConfigurationError(
            f"{directory}/build.ninja was not written by GN: it does not say how GN writes it again",
            advice="Name the out directory of a GN build, the one that `gn gen OUT` was run for.",
        )
    also = os.path.normpath(os.path.join(directory, made_by)) if "/" in made_by or os.sep in made_by else ""
    root = os.path.normpath(os.path.join(directory, root))
    return Evaluation(find_gn(program, also=also), directory, root, switches)


def _regeneration(path: str) -> tuple[str, list[str]]:
    """Return how a build.ninja has GN write it again: the program and its switches; "" and [] where it says nothing."""
    with open(path, encoding="utf-8", errors="surrogateescape") as reader:
        found = _COMMAND.search(reader.read(1 << 16))
    program, *pieces = re.split(r" (?=-)| (?=gen \.$)", _ESCAPED.sub(r"\1", found[1] if found else ""))
    # GN quotes some values and leaves the spaces of paths as they are: a piece is a switch, whatever it is split into.
    return program.strip('"'), [" ".join(shlex.split(piece, posix=os.name != "nt")).strip('"') for piece in pieces]


def _last_object(text: str) -> dict[str, dict[str, Any]] | None:
    """Return the JSON object that a text ends with: a GN before 2024-05 lets print() of BUILD.gn files come before it."""
    for start in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            found = json.loads(text[start.start() :])
        except ValueError:
            continue
        return found if isinstance(found, dict) else None
    return None


def _run(program: str, words: list[str], directory: str, text: bytes | None = None) -> bytes:
    try:
        done = subprocess.run([program, *words], cwd=directory, input=text or b"", capture_output=True, check=False)
    except OSError as error:
        raise ConfigurationError(
            f"cannot run {program}: {error.strerror}", advice="Name the GN that builds this tree: --gn PROGRAM."
        ) from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        command = next(word for word in words if not word.startswith("--"))
        raise ConfigurationError(f"`gn {command}` failed:\n{said}", advice="Mend what GN complains about first.")
    return done.stdout
