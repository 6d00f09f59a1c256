"""Prepared trees with links, made without a build backend: a wheel with a .pth, and all that prepare does with it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from wheels import make_wheel

from interlock.durable import Disk
from interlock.environment import Environment
from interlock.link_plan import plan_links
from interlock.pack import write_prepared
from interlock.prepared import Prepared
from interlock.wheel import open_wheel


def prepare_linked(directory: Path, environment: Environment, name: str, version: str, source: Path) -> Prepared:
    """Prepare a project with a `src` directory, which has to be one for links."""
    directory.mkdir(parents=True)
    with open_wheel(
        make_wheel(directory, {f"{name}.pth": f"{source}/src\n".encode()}, name=name, version=version)
    ) as wheel:
        plan = plan_links(wheel, environment.layout, str(source))
        assert plan.links, plan.why_not
        return write_prepared(wheel, plan, str(directory / "prepared"), str(source), environment, (), Disk("fast"))[0]


def links_of(environment: Environment) -> dict[str, str]:
    """Return the links of an environment and where they lead."""
    base = Path(environment.site_packages[0]).parent / "editable-packages"
    found = (Path(top, name) for top, names, files in os.walk(base) for name in (*names, *files))
    return {path.relative_to(base).as_posix(): os.readlink(path) for path in found if path.is_symlink()}


def content_of(directory: Path) -> dict[str, str]:
    """Return what is below a directory: digests of files, targets of links."""
    found = (Path(top, name) for top, names, files in os.walk(directory) for name in (*names, *files))
    return {
        path.relative_to(directory).as_posix(): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in found
    }
