"""Load everything that a `prepare` or an `install` edge loads, for a worker; a test compares it with what edges load."""

from __future__ import annotations

import contextlib
import importlib
import sysconfig
import weakref

LOADED = (
    "base64",
    "build",
    "configparser",
    "difflib",
    "email.parser",
    "encodings.cp437",
    "importlib.readers",
    "importlib.resources.readers",
    "interlock.backend_worker",
    "interlock.commands.editable",
    "interlock.commands.install",
    "interlock.commands.prepare",
    "interlock.declared",
    "interlock.worker_start",
    "packaging.markers",
    "packaging.requirements",
    "packaging.specifiers",
    "packaging.tags",
    "packaging.utils",
    "pyproject_hooks._in_process",
    "shlex",
    "zipfile",
)
OPTIONAL = ("uv._find_uv",)

# The first temporary directory of a process sets an exit handler for all of them: here, so that no job's is the first.
weakref.finalize(weakref.ref, print).detach()

for name in LOADED:
    importlib.import_module(name)
for name in OPTIONAL:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
sysconfig.get_config_vars()  # a module of its own, whose name differs
