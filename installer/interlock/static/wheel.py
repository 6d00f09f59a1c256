"""A static answer in the place of a wheel: what `interlock.unpack` asks of one, without an archive."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from interlock.build_environment import environment_inputs, held, missing
from interlock.build_recipe import make_recipe
from interlock.build_requirements import source_tree
from interlock.distribution import parse_metadata_header
from interlock.errors import ConfigurationError
from interlock.static.backends import backend_of, static_answer
from interlock.static.project import read_project
from interlock.static.tree import NotStatic, Tree
from interlock.timings import span
from interlock.wheel import Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from interlock.durable import Disk
    from interlock.interpreter import Interpreter, Layout
    from interlock.prepare import BuildOptions
    from interlock.static.answer import Answer
    from interlock.wheel import Wheel

__all__ = ["StaticWheel", "check_equal", "refuse", "static_wheel"]


@dataclass(frozen=True, slots=True)
class StaticWheel:
    """A wheel that was never written; `path` is the project's directory, for messages.

    `record` has the content of each file by its name.
    """

    path: str
    name: str
    version: str
    dist_info: str
    metadata: Mapping[str, list[str]]
    record: Mapping[str, bytes]

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        yield self.record[name]

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self.record[name]

    def members(self, layout: Layout) -> list[Member]:
        """Return where each file goes, sorted by path."""
        found = [Member(name, f"{layout.purelib}/{name}", executable=False, script=False) for name in self.record]
        return sorted(found, key=lambda member: member.path)

    def library(self, layout: Layout) -> str:
        """Return the directory where the files go, relative to the environment."""
        return layout.purelib


@contextlib.contextmanager
def static_wheel(
    source: str, options: BuildOptions, interpreter: Interpreter, *, disk: Disk, timeout: float | None = None
) -> Iterator[tuple[StaticWheel | None, list[str], str]]:
    """Give what a project's backend would build, and what this was read from; or None, and the reason.

    Holds the build environment, whose backend's version is meant, and the source tree.

    Raises:
        EngineError: build requirements could not be installed.
    """
    with contextlib.ExitStack() as stack:
        try:
            with span("static", source):
                found, inputs = _answered(source, options, interpreter, stack, disk, timeout)
        except NotStatic as refused:
            stack.close()
            yield None, [], refused.reason
            return
        yield found, inputs, ""


def _answered(
    source: str,
    options: BuildOptions,
    interpreter: Interpreter,
    stack: contextlib.ExitStack,
    disk: Disk,
    timeout: float | None,
) -> tuple[StaticWheel, list[str]]:
    if os.name == "nt":
        raise NotStatic("static editables are not for Windows yet")
    if not options.isolation:
        raise NotStatic("its backend is that of the environment (--no-build-isolation)")
    tree = Tree(source)
    project = read_project(tree)
    backend = backend_of(project)
    recipe = make_recipe(
        project.requires,
        interpreter=interpreter,
        constraints=options.constraints,
        local=options.workspace,
        engine=options.engine,
        wanted_by=source,
    )
    build = stack.enter_context(held(recipe, disk=disk, timeout=timeout))
    if more := missing(build, recipe, backend.hooks_require) if backend.hooks_require else []:
        stack.close()
        recipe = recipe.extended(more)
        build = stack.enter_context(held(recipe, disk=disk, timeout=timeout))
    stack.enter_context(source_tree(source, disk=disk, timeout=timeout))
    answer = static_answer(project, tree, build.installed(), options.config_settings, build.site_packages)
    return _wheel(answer, source), [*tree.inputs, *environment_inputs(build, recipe)]


def refuse(source: str, reason: str) -> NoReturn:
    """Say that a project has no static answer, where one must be.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError(
        f"{source} cannot be static: {reason}",
        advice='Have it built by its backend (`editable = { NAME = "backend" }`), or change what is named.',
    )


def check_equal(static: StaticWheel, wheel: Wheel, layout: Layout) -> None:
    """Compare a static answer with what the backend has built.

    Raises:
        ConfigurationError: a file is in one of them alone, or differs; it names the file and the first difference.
    """
    theirs = {member.path: member for member in wheel.members(layout)}
    ours = {member.path: member for member in static.members(layout)}
    for path in sorted({*theirs, *ours}):
        problem = ""
        if path not in ours or path not in theirs:
            problem = f"{'the backend' if path in theirs else 'the static answer'} alone has {path}"
        elif theirs[path].executable or theirs[path].script:
            problem = f"{path} is executable"
        else:
            expected, found = b"".join(wheel.chunks(theirs[path].name)), static.read(ours[path].name)
            if expected != found:
                problem = f"{path} differs {_difference(expected, found)}"
        if problem:
            raise ConfigurationError(
                f"{static.name} {static.version} ({static.path}): its static editable is not what its backend makes: {problem}",
                advice=f'Please report this; until then, have it built: editable = {{ {static.name} = "backend" }}.',
            )


def _difference(expected: bytes, found: bytes) -> str:
    theirs, ours = expected.split(b"\n"), found.split(b"\n")
    for number, (one, other) in enumerate(zip(theirs, ours, strict=False), 1):
        if one != other:
            has, hasnt = (line.decode(errors="replace") for line in (one, other))
            return f"in line {number}: the backend has {has!r}, and not {hasnt!r}"
    return f"after line {min(len(theirs), len(ours))}"


def _wheel(answer: Answer, source: str) -> StaticWheel:
    text = answer.files[f"{answer.dist_info}/METADATA"].decode()
    metadata = parse_metadata_header(io.StringIO(text, newline=None))
    return StaticWheel(source, answer.name, answer.version, answer.dist_info, metadata, answer.files)
