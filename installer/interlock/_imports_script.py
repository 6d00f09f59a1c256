"""Run a Python program as `python` itself would, and write down which source files it imported.

    python _imports_script.py DEPFILE TARGET ROOT ENVIRONMENT INPUTS (-m MODULE | SCRIPT) [ARGUMENT ...]

It runs in an environment's own interpreter, without interlock: nothing but the standard library may be imported, and only what
a program can do without noticing. When the program ends, DEPFILE (Make's syntax, as Ninja reads it) names for TARGET each
file below ROOT, and not below ENVIRONMENT, that a module was loaded from, and those of the INPUTS (a line each, relative to
the current directory) that are there. What the program wrote to DEPFILE itself stays.
"""

from __future__ import annotations

# What python itself puts into the module that it runs.
PLAIN = {name: value for name, value in globals().items() if name.startswith("__")}

# A builtin: no import may look into the directory of this file, which python has put first on sys.path.
import sys  # noqa: E402

SAFE = getattr(sys.flags, "safe_path", False)
if __name__ == "__main__" and not SAFE:
    sys.path[0] = ""

import atexit  # noqa: E402
import io  # noqa: E402
import os  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType, TracebackType
    from typing import Any

# What ends a process without its exit handlers.
ABRUPT = ("_exit", "execv", "execve")

# Other ASCII characters cannot be named in a depfile, unless a backslash precedes them (stamp.is_expressible).
EXPRESSIBLE = frozenset("-+?\"'&,/_.~()}{%=@[]! #:$\\")


class Imports:
    """The depfile of one run."""

    def __init__(self, depfile: str, target: str, root: str, environment: str, inputs: str) -> None:
        # The program may change the directory.
        self.here = os.path.realpath(os.curdir)
        self.depfile = os.path.abspath(depfile)
        self.target = target
        self.root = os.path.join(os.path.realpath(root), "")
        self.environment = os.path.join(os.path.realpath(environment), "")
        self.inputs = inputs.splitlines()
        self.process = os.getpid()
        self.script = ""
        self.started_ns = 0
        self.theirs = ""
        # A file that is never there: what a program imported that ends past `finish`, nobody knows, so it runs again.
        self.written = f"{escaped(target)}: {escaped(os.path.relpath(self.depfile, self.here) + '.unknown')}\n"

    def start(self, script: str) -> None:
        """Leave a depfile for the worst case, and see to it that `finish` is called however the program ends."""
        self.script = script
        os.makedirs(os.path.dirname(self.depfile), exist_ok=True)
        with open(self.depfile, "w", encoding="utf-8", errors="surrogateescape") as writer:
            writer.write(self.written)
        self.started_ns = os.stat(self.depfile).st_mtime_ns
        atexit.register(self.finish)
        for name in ABRUPT:
            setattr(os, name, after(self.finish, getattr(os, name)))

    def finish(self) -> None:
        """Write the files of all modules, before what the program has written there."""
        if os.getpid() != self.process:
            return  # a child that was forked and ended like its parent
        inputs = {
            name for name in self.inputs if os.path.exists(os.path.join(self.here, name)) and is_expressible(name)
        }
        names = sorted(({self.name(file) for file in (self.script, *module_files())} | inputs) - {""})
        rule = "".join([f"{escaped(self.target)}:", *(f" \\\n  {escaped(name)}" for name in names), "\n"])
        try:
            with open(self.depfile, encoding="utf-8", errors="surrogateescape") as reader:
                there = reader.read()
        except OSError:
            there = self.written
        # It may have added to what it found there.
        kept = there.startswith(self.written)
        self.theirs = self.theirs + there[len(self.written) :] if kept else there
        self.written = rule + self.theirs
        with open(self.depfile, "w", encoding="utf-8", errors="surrogateescape") as writer:
            writer.write(self.written)

    def name(self, file: str) -> str:
        """Return a file as Ninja knows it, relative to the directory that this started in; "" for what is not to be named."""
        path = os.path.normpath(os.path.join(self.here, file))
        while not os.path.exists(path) and path != os.path.dirname(path):
            path = os.path.dirname(path)  # in an archive
        real = os.path.realpath(path)
        for each in (os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), real):
            if file and os.path.isfile(each) and each.startswith(self.root) and not self.is_own(each):
                name = os.path.relpath(each, self.here).replace(os.sep, "/")
                return name if is_expressible(name) else ""
        return ""

    def is_own(self, path: str) -> bool:
        """Tell whether a file is the environment's, or one that this run has made: an output is no input."""
        if path.startswith(self.environment) or path == os.path.realpath(os.path.join(self.here, self.target)):
            return True
        out = os.path.join(self.here, "")
        made_here = out != self.root and out.startswith(self.root) and path.startswith(out)
        return made_here and os.stat(path).st_mtime_ns >= self.started_ns


def module_files() -> Iterator[str]:
    """Yield what modules say they were loaded from, without waking those that load when something is asked of them."""
    for module in list(sys.modules.values()):
        try:
            names = object.__getattribute__(module, "__dict__")
        except AttributeError:
            continue
        for file in (names.get("__file__"), getattr(names.get("__spec__"), "origin", None)):
            if isinstance(file, str):
                yield file


def after(first: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls another one first."""

    def called(*positional: Any, **named: Any) -> Any:
        first()
        return function(*positional, **named)

    called.__name__, called.__doc__ = function.__name__, function.__doc__
    return called


def escaped(path: str) -> str:
    """Escape a path as interlock.stamp.escape_make does; a test compares them."""
    text, backslashes = "", 0
    for character in path:
        if character == " ":
            text += "\\" * backslashes + "\\"
        elif character == "#" or (character == ":" and backslashes):
            text += "\\"
        elif character == "$" and not backslashes:
            text += "$"
        text += character
        backslashes = backslashes + 1 if character == "\\" else 0
    return f"{text}/." if path.endswith((":", "\\")) else text


def is_expressible(path: str) -> bool:
    """Tell whether a depfile can name a path, as interlock.stamp.is_expressible does; a test compares them."""
    before = ""
    for character in path:
        escapes = before == "\\" and character not in "\n\r\0"
        if not (escapes or character >= "\x80" or character in EXPRESSIBLE or character.isalnum()):
            return False
        before = character
    return True


def new_main(**names: Any) -> ModuleType:
    """Put a module in the place of this one that is as python makes it."""
    module = type(sys)("__main__")
    fresh: dict[str, Any] = {"__annotations__": {}} if "__annotations__" in PLAIN else {}
    module.__dict__.update(PLAIN, __doc__=None, **fresh, **names)
    sys.modules["__main__"] = module
    return module


def run_script(path: str) -> None:
    """Run a file as __main__."""
    if not SAFE:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    try:
        with io.open_code(path) as reader:
            source = reader.read()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(2) from None
    names = new_main(__file__=path, __loader__=type(PLAIN["__loader__"])("__main__", path)).__dict__
    exec(compile(source, path, "exec", dont_inherit=True), names)  # noqa: S102 - to run the program is what this is for


def run_module(name: str, *, is_option: bool) -> None:
    """Run a module as __main__, with the function by which python does it."""
    module = new_main()
    for gone in ("__file__", "__cached__"):
        module.__dict__.pop(gone, None)
    import runpy

    runpy._run_module_as_main(name, is_option)  # type: ignore[attr-defined]


def run(word: str, script: str) -> None:
    """Do what `python WORD` does: a module after -m, a directory or archive with a __main__, or a file.

    Python's manual, "Command line and environment".
    """
    if word == "-m":
        if not SAFE:
            sys.path[0] = os.getcwd()
        # As it is while the module is looked for.
        name, sys.argv[:2] = sys.argv[1], ["-m"]
        run_module(name, is_option=True)
    elif os.path.isdir(script) or is_archive(script):
        sys.path[:1] = [script, *sys.path[:1]] if SAFE else [script]
        run_module("__main__", is_option=False)
    else:
        run_script(script)


def is_archive(path: str) -> bool:
    """Tell whether Python would import from a file: an archive, which may have a program's first line before it."""
    import zipimport

    try:
        zipimport.zipimporter(path)
    except ImportError:
        return False
    return True


def main() -> None:
    *names, word = sys.argv[1:7]
    imports = Imports(*names)
    del sys.argv[:6]
    if hasattr(sys, "orig_argv"):
        del sys.orig_argv[1:7]
    # As Python spells it: absolute, and otherwise as it was given.
    script = "" if word == "-m" else os.path.join(os.getcwd(), word)
    imports.start(script)
    try:
        run(word, script)
    except SystemExit:
        raise
    except BaseException:
        hook = sys.excepthook
        sys.excepthook = lambda kind, error, trace: show(hook, kind, error, trace)
        raise


def show(
    hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Have an error shown without the frames of this file; what python does before and after that, it does itself."""
    sys.excepthook = hook
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    sys.last_traceback = trace
    hook(kind, error.with_traceback(trace), trace)


if __name__ == "__main__":
    main()
