"""What is fuzzed: each reader of something that others write, with samples of it and the errors that it may end with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from mutation import mutate_bytes, mutate_tree, to_json, to_toml

from interlock.check import check_environment
from interlock.declared import read_declared
from interlock.distribution import parse_metadata_header, parse_record, read_metadata_header
from interlock.durable import Disk
from interlock.environment import open_environment
from interlock.errors import InterlockError
from interlock.hooks import open_project
from interlock.inputs import project_inputs
from interlock.inventory import inventory
from interlock.journal import journal_path, recover
from interlock.link_plan import LinkPlan
from interlock.pack import write_prepared
from interlock.prepared import load_prepared
from interlock.requirement_files import read_requirement_files
from interlock.scripts import parse_scripts
from interlock.stamp import read_stamp
from interlock.wheel import open_wheel
from interlock_ninja.config import load_configuration
from interlock_ninja.globs import list_directory
from interlock_ninja.metadata import read_metadata
from interlock_ninja.source import Source

sys.path.insert(0, str(Path(__file__).parents[1] / "installer"))
from wheels import make_wheel

CANARY = "canary"
CONTENT = b"/src\n"
CONTENT_DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass(slots=True)
class Target:
    """One reader. `tree` gives samples that have a structure, which `write` turns into bytes."""

    name: str
    kinds: tuple[str, ...]
    samples: list[bytes]
    run: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = (InterlockError,)
    trees: list[Any] = field(default_factory=list)
    write: Callable[[Any], bytes] = to_json

    def make(self, random: Random) -> bytes:
        """Return an input."""
        if self.trees and random.random() < 0.6:
            data = self.write(mutate_tree(random.choice(self.trees), random))
            return mutate_bytes(data, self.kinds, self.samples, random) if random.random() < 0.1 else data
        return mutate_bytes(random.choice(self.samples), self.kinds, self.samples, random)


PYPROJECTS: list[dict[str, Any]] = [
    {
        "build-system": {"requires": ["setuptools>=64"], "build-backend": "setuptools.build_meta"},
        "project": {
            "name": "core",
            "dynamic": ["version", "readme"],
            "requires-python": ">=3.11",
            "dependencies": ["a>=1; python_version > '3'", "b[x] @ https://example.invalid/b.whl"],
            "optional-dependencies": {"all": ["core[x]"], "x": ["c~=1.0"]},
            "license": {"file": "LICENSE"},
            "license-files": ["LICEN[CS]E*"],
            "readme": {"file": "README.md"},
            "scripts": {"core": "core:main"},
        },
        "tool": {
            "setuptools": {
                "dynamic": {"version": {"attr": "core.__version__"}, "readme": {"file": ["README.md"]}},
                "packages": {"find": {"where": ["src"], "include": ["core*"]}},
                "package-dir": {"": "src"},
            }
        },
        "dependency-groups": {"dev": ["pytest", {"include-group": "lint"}], "lint": ["ruff"]},
    },
    {
        "build-system": {"requires": ["poetry-core"], "build-backend": "poetry.core.masonry.api"},
        "tool": {
            "poetry": {
                "name": "core",
                "version": "1.0",
                "packages": [{"include": "core", "from": "src"}],
                "dependencies": {
                    "python": "^3.11",
                    "a": {"version": "^1.2", "extras": ["x"], "optional": True, "markers": "os_name == 'nt'"},
                    "b": {"path": "../b", "develop": True},
                    "c": [{"version": "~1", "python": "<3"}, {"git": "https://example.invalid/c.git", "tag": "v1"}],
                    "d": "1.*",
                },
                "extras": {"all": ["a"]},
                "group": {"dev": {"optional": True, "dependencies": {"e": ">=1,<2||>=3"}}},
            }
        },
    },
    {
        "build-system": {"requires": ["hatchling"], "build-backend": "hatchling.build", "backend-path": ["."]},
        "project": {"name": "core", "dynamic": ["version", "dependencies"]},
        "tool": {
            "hatch": {"version": {"path": "core.py"}, "build": {"hooks": {"custom": {"path": "h.py"}}}},
            "uv": {
                "package": True,
                "workspace": {"members": ["*"], "exclude": ["x"]},
                "sources": {"a": {"workspace": True}},
            },
            "interlock": {"members": ["*"], "exclude": ["x/**"], "out": "out"},
            "pdm": {"version": {"source": "file", "path": "core.py"}},
            "flit": {"module": {"name": "core"}},
            "setuptools_scm": {"write_to": "core.py"},
        },
    },
]
CONFIGURATIONS: list[dict[str, Any]] = [
    {
        "members": ["packages/*", "libs/**"],
        "exclude": ["packages/old"],
        "out": "out",
        "durability": "fast",
        "engine": "uv",
        "internal-specifiers": "warn",
        "environments": {
            "dev": {"path": ".venv", "python": "3.11", "requirements": ["r.txt"], "extras": {"core": ["x"]}},
            "docs": {"path": "docs/.venv", "config-settings": {"core": {"a": "1", "b": ["1", "2"]}}},
        },
    }
]
SETUP_CFG = b"""[metadata]
name = core
version = attr: core.__version__
license_files = LICENSE, COPYING
long_description = file: README.md

[options]
install_requires =
    a>=1; python_version > "3"
    file: requirements.txt
package_dir =
    = src
packages = find:
python_requires = >=3.11

[options.packages.find]
where = src

[options.extras_require]
x = c
"""
RECORD = (
    b"core.pth,sha256=WbAx-SrF0ytE8LPLO1bBr5kZ,17\r\ncore-1.0.dist-info/METADATA,sha256=abc,51\n../../../bin/core,,\n"
)
METADATA = (
    b"Metadata-Version: 2.1\nName: core\nVersion: 1.0\nSummary: one\n  two\nRequires-Python: >=3.8\n"
    b"Requires-Dist: a>=1; extra == 'x'\nRequires-Dist: core[x]; extra == 'all'\nProvides-Extra: x\n\nText\nName: no\n"
)
ENTRY_POINTS = (
    b"[console_scripts]\ncore = core.cli:main\nb = a.b:c.d [x]\n# c\n[gui_scripts]\nw=core:main\n[other]\nx = y\n"
)
REQUIREMENTS = (
    b"--index-url https://example.invalid/simple\n-r other.txt\na==1 --hash=sha256:00\n-e ../core\nb @ file:///b\\\n-1.whl\n"
    b"./c; python_version > '3'  # text\n-c x\n"
)


def all_targets(directory: Path, environment: str) -> list[Target]:
    """Return the targets, which write below `directory` and into an environment that is theirs."""
    return [
        *_projects(directory),
        *_formats(directory),
        *_installed(directory, environment),
        *_wheels(directory, environment),
    ]


def _projects(directory: Path) -> list[Target]:
    root = directory / "workspace"
    (root / "src").mkdir(parents=True)
    for name, text in {"core.py": "__version__ = '1'\n", "README.md": "", "LICENSE": "", "r.txt": "x\n"}.items():
        (root / name).write_text(text)
        (root / "src" / name).write_text(text)

    def project(_: bytes) -> None:
        listing = list_directory(str(root))
        assert listing is not None
        source = Source(str(root), ".", listing.files, listing.folders)
        _tolerate(lambda: read_metadata(source))
        _tolerate(lambda: read_metadata(source, explicit=True))
        _tolerate(lambda: open_project(str(root), reproduce=""))
        _tolerate(lambda: read_requirement_files([], [], private={"core"}, directory=str(root)))
        project_inputs(str(root))

    def only(name: str, data: bytes, then: Callable[[bytes], None]) -> None:
        for other in ("pyproject.toml", "setup.cfg", "interlock.toml"):
            (root / other).unlink(missing_ok=True)
        (root / name).write_bytes(data)
        then(data)

    def configuration(_: bytes) -> None:
        load_configuration(str(root))

    pyprojects = [to_toml(one) for one in PYPROJECTS]
    configurations = [to_toml(one) for one in CONFIGURATIONS]
    both = lambda data: (only("pyproject.toml", data, project), only("pyproject.toml", data, configuration))  # noqa: E731
    return [
        Target("pyproject.toml", ("toml",), pyprojects, both, trees=PYPROJECTS, write=to_toml),
        Target("setup.cfg", ("ini",), [SETUP_CFG], lambda data: only("setup.cfg", data, project)),
        Target(
            "interlock.toml",
            ("toml",),
            configurations,
            lambda data: only("interlock.toml", data, configuration),
            trees=CONFIGURATIONS,
            write=to_toml,
        ),
    ]


def _formats(directory: Path) -> list[Target]:
    path = directory / "one"
    manifest = {
        "schema": 3,
        "name": "core",
        "normalized": "core",
        "version": "1.0",
        "source": "/src",
        "dist_info": "lib/core-1.0.dist-info",
        "environment": "/env",
        "python": "3.11",
        "implementation": "cpython",
        "files": [{"path": "lib/core.pth", "sha256": CONTENT_DIGEST, "size": 5, "executable": False}],
        "requires": [{"requirement": "a>=1", "name": "a", "specifier": ">=1", "extras": ["x"], "url": ""}],
        "requires_python": ">=3.8",
        "links": [{"path": "lib/editable-packages/core", "target": "/src/core"}],
        "digest": "",
    }
    for name in ("other.txt", "x"):
        (directory / name).write_text("a\n")
    prepared = directory / "prepared"

    def sealed(data: bytes) -> bytes:
        # A manifest whose digest is right is read further than one that was edited.
        try:
            content = json.loads(data)
            del content["digest"]
            text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
            return json.dumps({**content, "digest": hashlib.sha256(text).hexdigest()}).encode()
        except (ValueError, TypeError, KeyError, RecursionError):
            return data

    def with_file(data: bytes, read: Callable[[str], object]) -> None:
        path.write_bytes(data)
        read(str(path))

    def with_manifest(data: bytes) -> None:
        prepared.write_bytes(b"interlock prepared 3\na\n" + sealed(data) + b"%020d\n" % len(sealed(data)))
        load_prepared(str(prepared))

    def with_prepared(data: bytes) -> None:
        prepared.write_bytes(data)
        for _, chunks in load_prepared(str(prepared)).contents():
            for _ in chunks:
                pass

    whole = b"interlock prepared 3\n" + CONTENT + sealed(to_json(manifest))
    whole += b"%020d\n" % len(sealed(to_json(manifest)))
    stamp = {"edge": "install", "project": "core", "version": "1.0", "digest": "00", "identity": "x"}
    labels = b"core\tpackages/core\t//core:core\t//a:a //b:b\tout/core.stamp\n\tx\t//g:g\t//core:core\t\n"
    return [
        Target("manifest", ("json",), [to_json(manifest)], with_manifest, trees=[manifest]),
        Target("prepared", ("json",), [whole], with_prepared),
        Target("stamp", ("json",), [to_json(stamp)], lambda data: with_file(data, read_stamp), trees=[stamp]),
        Target("RECORD", ("csv",), [RECORD], lambda data: parse_record(data.decode()), (ValueError,)),
        Target("METADATA", ("header",), [METADATA], lambda data: with_file(data, read_metadata_header), ()),
        Target(
            "METADATA of a wheel",
            ("header",),
            [METADATA],
            lambda data: parse_metadata_header([data.decode("latin-1")]),
            (),
        ),
        Target(
            "entry_points.txt",
            ("ini",),
            [ENTRY_POINTS],
            lambda data: parse_scripts(data.decode("utf-8", "replace"), "x"),
        ),
        Target(
            "labels",
            ("tabs",),
            [labels],
            lambda data: with_file(data, lambda name: read_declared(name, "//core:core", ["//core:core"])),
        ),
        Target(
            "requirements.txt",
            ("requirements",),
            [REQUIREMENTS],
            lambda data: with_file(
                data, lambda name: read_requirement_files([name], [], private={"a"}, directory=str(directory))
            ),
        ),
    ]


def _installed(directory: Path, environment: str) -> list[Target]:
    """Files of an environment, as `check`, `list` and the recovery of a journal read them; the canary must stay."""
    library = Path(open_environment(environment).site_packages[0])
    stamps = directory / "stamps"
    stamps.mkdir()

    def ask() -> None:
        _tolerate(lambda: inventory(environment))
        _tolerate(lambda: check_environment(environment, stamps=str(stamps)))

    def with_distribution(name: str, data: bytes) -> None:
        info = library / "core-1.0.dist-info"
        shutil.rmtree(info, ignore_errors=True)
        info.mkdir()
        contents = {"RECORD": RECORD, "METADATA": METADATA, "entry_points.txt": ENTRY_POINTS, name: data}
        for file, content in contents.items():
            (info / file).write_bytes(content)
        ask()

    def with_stamp(data: bytes) -> None:
        (stamps / "core.install.stamp").write_bytes(data)
        (stamps / "core.stamp").write_bytes(data)
        ask()

    def with_journal(data: bytes) -> None:
        # An environment of its own, new each time: a wrong journal may take apart what it likes, but nothing else.
        shutil.rmtree(place, ignore_errors=True)
        other = place / "env"
        (other / ".interlock/staging/1-00/b").mkdir(parents=True)
        (other / ".interlock/staging/1-00/a.pth").write_text("x")
        (other / relative / "core-1.0.dist-info").mkdir(parents=True)
        (other / relative / "old.pth").write_text("x")
        (other / "link").symlink_to(place)
        (place / CANARY).write_text(CANARY)
        Path(journal_path(str(other))).write_bytes(data)
        recover(str(other), disk=Disk("fast"))
        assert (place / CANARY).read_text() == CANARY
        assert sorted(os.listdir(place)) == [CANARY, "env"]

    place = directory / "journals"
    relative = "lib/python3/site-packages"
    journal = {
        "schema": 1,
        "distribution": "core",
        "staging": ".interlock/staging/1-00",
        "operations": [
            ["directory", f"{relative}/sub"],
            ["replace", ".interlock/staging/1-00/a.pth", f"{relative}/sub/a.pth"],
            ["exchange", ".interlock/staging/1-00/b", f"{relative}/core-1.0.dist-info", "00"],
            ["retire", f"{relative}/core-1.0.dist-info"],
            ["remove", f"{relative}/old.pth"],
            ["remove-directory", f"{relative}/sub"],
        ],
        "directories": [relative],
    }
    direct = {"url": "file:///src/core", "dir_info": {"editable": True}, "subdirectory": "x"}
    stamp = {"edge": "install", "project": "core", "version": "1.0", "environment": "0", "digest": "x", "requires": []}
    return [
        Target(
            "direct_url.json, installed",
            ("json",),
            [to_json(direct)],
            lambda data: with_distribution("direct_url.json", data),
            trees=[direct],
        ),
        Target("RECORD, installed", ("csv",), [RECORD], lambda data: with_distribution("RECORD", data)),
        Target("METADATA, installed", ("header",), [METADATA], lambda data: with_distribution("METADATA", data)),
        Target("stamp, checked", ("json",), [to_json(stamp)], with_stamp, trees=[stamp]),
        Target("journal.json", ("json",), [to_json(journal)], with_journal, trees=[journal]),
    ]


def _wheels(directory: Path, environment: str) -> list[Target]:
    """Wheels, damaged in their bytes or wrong in one file: whatever comes, nothing is written outside of the tree."""
    place, output = directory / "wheels", directory / "unpacked"
    place.mkdir()
    opened = open_environment(environment)
    files = {"core.pth": b"/src\n" * 40, "core-1.0.data/scripts/run": b"#!python\n", "core-1.0.data/data/share/x": b""}
    entry_points = {"core-1.0.dist-info/entry_points.txt": ENTRY_POINTS}
    made = Path(make_wheel(place, {**files, **entry_points}))
    sample = made.read_bytes()
    with zipfile.ZipFile(made) as archive:
        record = archive.read("core-1.0.dist-info/RECORD")

    def install(path: str) -> None:
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        before = sorted(os.listdir(directory))
        try:
            with open_wheel(path) as wheel:
                write_prepared(wheel, LinkPlan(), str(output / "it"), "/src", opened, ["x", "all"], Disk("fast"))
                assert load_prepared(str(output / "it")).name
        finally:
            assert os.listdir(output) in ([], ["it"])
            assert sorted(os.listdir(directory)) == before

    def raw(data: bytes) -> None:
        path = place / "core-1.0-py3-none-any.whl"
        path.write_bytes(data)
        install(str(path))

    def with_file(name: str) -> Callable[[bytes], None]:
        def run(data: bytes) -> None:
            contents = {**files, **entry_points, f"core-1.0.dist-info/{name}": data}
            if name == "RECORD":
                del contents[f"core-1.0.dist-info/{name}"]
            install(make_wheel(place, contents, record=data.decode("latin-1") if name == "RECORD" else None))

        return run

    wheel = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return [
        Target("wheel", ("zip", "header"), [sample], raw),
        Target("METADATA in a wheel", ("header",), [METADATA], with_file("METADATA")),
        Target("WHEEL in a wheel", ("header",), [wheel], with_file("WHEEL")),
        Target("entry_points.txt in a wheel", ("ini",), [ENTRY_POINTS], with_file("entry_points.txt")),
        Target("RECORD in a wheel", ("csv",), [record], with_file("RECORD")),
    ]


def _tolerate(call: Callable[[], object]) -> None:
    with contextlib.suppress(InterlockError):
        call()
