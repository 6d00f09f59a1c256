"""Run a Python program as `python` itself would, and write down which source files it imported.

    python _imports_script.py DEPFILE TARGET ROOT ENVIRONMENT (-m MODULE | SCRIPT) [ARGUMENT ...]

It runs in an environment's own interpreter, without interlock: nothing but the standard library may be imported, and only what
a program can do without noticing. When the program ends, DEPFILE (Make's syntax, as Ninja reads it) names for TARGET each
file below ROOT, and not below ENVIRONMENT, that a module was loaded from. What the program wrote to DEPFILE itself stays.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import runpy
import sys
import types


class Imports:
    """The depfile of one run."""

    def __init__(self, depfile: str, target: str, root: str, environment: str) -> None:
        # The program may change the directory.
        self.here = os.path.realpath(os.curdir)
        self.depfile = os.path.abspath(depfile)
        self.target = target
        self.root = os.path.join(os.path.realpath(root), "")
        self.environment = os.path.join(os.path.realpath(environment), "")
        self.process = os.getpid()
        self.first = ""

    def start(self, script: str) -> None:
        """Leave a depfile that is true so far: a program that ends without a farewell has one too."""
        self.first = self.rule([script] if script else [])
        os.makedirs(os.path.dirname(self.depfile), exist_ok=True)
        with open(self.depfile, "w", encoding="utf-8", errors="surrogateescape") as writer:
            writer.write(self.first)
        atexit.register(self.finish, script)

    def finish(self, script: str) -> None:
        """Write the files of all modules, after what the program has written there."""
        if os.getpid() != self.process:
            return  # a child that was forked and ended like its parent
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        text = self.rule([script, *(file for file in files if isinstance(file, str))])
        try:
            with open(self.depfile, encoding="utf-8", errors="surrogateescape") as reader:
                there = reader.read()
        except OSError:
            there = ""
        if there in {"", self.first}:
            there = ""
        elif not there.endswith("\n"):
            there += "\n"
        with open(self.depfile, "w", encoding="utf-8", errors="surrogateescape") as writer:
            writer.write(there + text)

    def rule(self, files: list[str]) -> str:
        names = sorted({name for name in map(self.name, files) if name})
        return "".join([f"{escaped(self.target)}:", *(f" \\\n  {escaped(name)}" for name in names), "\n"])

    def name(self, file: str) -> str:
        """Return a file as Ninja knows it, relative to the directory that this started in; "" for what is not to be named."""
        path = os.path.realpath(os.path.join(self.here, file))
        if not path.startswith(self.root) or path.startswith(self.environment) or not os.path.isfile(path):
            return ""
        # Ninja has no escape for these.
        return "" if re.search(r"[;<>|*^\t\r\n]", path) else os.path.relpath(path, self.here).replace(os.sep, "/")


def escaped(path: str) -> str:
    """Escape a path as interlock.stamp.escape_make does; a test compares them."""

    def one(match: re.Match[str]) -> str:
        backslashes, character = match.groups()
        if character == " ":
            return str(backslashes * 2 + "\\ ")
        if character == "#" or (character == ":" and backslashes):
            return f"{backslashes}\\{character}"
        return "$$" if character == "$" and not backslashes else str(backslashes + character)

    text = re.sub(r"(\\*)([ #:$])", one, path)
    return f"{text}/." if path.endswith((":", "\\")) else text


def run_script(path: str) -> None:
    """Run a file as __main__."""
    with io.open_code(path) as reader:
        code = compile(reader.read(), path, "exec", dont_inherit=True)
    module = sys.modules["__main__"]
    module.__dict__.update(__file__=path, __builtins__=__builtins__, __cached__=None)
    exec(code, module.__dict__)  # noqa: S102 - to run the program is what this is for


def run(word: str, script: str) -> None:
    """Do what `python WORD` does: a module after -m, a directory or archive with a __main__, or a file.

    Python's manual, "Command line and environment".
    """
    safe = getattr(sys.flags, "safe_path", False)
    if script and not os.path.isdir(script) and not zipfile_like(script):
        if not safe:
            sys.path[0] = os.path.dirname(os.path.realpath(script))
        run_script(script)
        return
    if word == "-m":
        del sys.argv[:1]
        if not safe:
            sys.path[0] = os.getcwd()
    else:
        sys.path[:1] = [script, *sys.path[:1]] if safe else [script]
    runpy._run_module_as_main(sys.argv[0] if word == "-m" else "__main__", word == "-m")  # type: ignore[attr-defined]


def zipfile_like(path: str) -> bool:
    """Tell whether Python would import from a file: an archive, which may have a program's first line before it."""
    try:
        import zipimport

        zipimport.zipimporter(path)
    except ImportError:
        return False
    return True


def main() -> int:
    *names, word = sys.argv[1:6]
    imports = Imports(*names)
    del sys.argv[:5]
    # As Python spells it: absolute, and otherwise as it was given.
    script = "" if word == "-m" else os.path.join(os.getcwd(), word)
    own = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    imports.start(script)
    try:
        run(word, script)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - shown as Python shows it, without the frames of this file
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals is own.__dict__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
