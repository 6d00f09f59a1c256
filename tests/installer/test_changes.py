"""What a commit may touch: its own, and nothing that belongs to others or lies outside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import InterlockError, MetadataError, UnsafePath
from interlock.transaction import commit, uninstall

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import listing, make_prepared, visible

DISK = Disk("fast")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_nothing_follows_a_symbolic_link_out_of_the_environment(tmp_path: Path, environment: Environment) -> None:
    site = Path(environment.site_packages[0])
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"pkg/a.py": "1\n"})
    commit(prepared, environment.path, disk=DISK)
    source = tmp_path / "source"
    os.rename(site / "pkg", source)
    (site / "pkg").symlink_to(source)
    with pytest.raises(UnsafePath, match="which a symbolic link leads out of"):
        commit(
            make_prepared(tmp_path / "2", environment, "core", "2.0", files={"pkg/a.py": "2\n"}),
            environment.path,
            disk=DISK,
        )
    uninstall(environment.path, ["core"], disk=DISK)
    assert (source / "a.py").read_text(encoding="utf-8") == "1\n"
    assert visible(environment) == []


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_a_link_inside_of_the_environment_is_another_name_of_a_directory(
    tmp_path: Path, environment: Environment
) -> None:
    """As lib64 is on some systems: what was listed under one name and comes under the other, stays."""
    site = Path(environment.site_packages[0])
    commit(make_prepared(tmp_path / "1", environment, "core", files={"pkg/a.py": "1\n"}), environment.path, disk=DISK)
    (site / "alias").symlink_to("pkg")
    commit(
        make_prepared(tmp_path / "2", environment, "core", "2.0", files={"alias/a.py": "2\n"}),
        environment.path,
        disk=DISK,
    )
    assert (site / "pkg" / "a.py").read_text(encoding="utf-8") == "2\n"


def test_a_file_that_another_distribution_lists_too_stays_until_the_last_one_goes(
    tmp_path: Path, environment: Environment
) -> None:
    site = Path(environment.site_packages[0])
    shared = {"ns/__init__.py": "\n", "odd, name.py": "\n"}
    for name in ("a", "b", "c"):
        commit(make_prepared(tmp_path / name, environment, name, files=shared), environment.path, disk=DISK)
    uninstall(environment.path, ["a"], disk=DISK)
    assert (site / "ns" / "__init__.py").exists()
    assert (site / "odd, name.py").exists()
    commit(make_prepared(tmp_path / "b2", environment, "b", "2.0", files={"b.py": "1\n"}), environment.path, disk=DISK)
    assert (site / "ns" / "__init__.py").exists()
    uninstall(environment.path, ["b", "c"], disk=DISK)
    assert not (site / "ns").exists()
    assert not (site / "odd, name.py").exists()


def test_distributions_that_share_a_file_and_go_together_leave_nothing(
    tmp_path: Path, environment: Environment
) -> None:
    before = listing(environment)
    for name in ("a", "b"):
        commit(make_prepared(tmp_path / name, environment, name, files={"ns.py": "\n"}), environment.path, disk=DISK)
    uninstall(environment.path, ["a", "b"], disk=DISK)
    assert listing(environment) == before


def test_a_record_that_cannot_be_read_stops_its_own_distribution_alone(
    tmp_path: Path, environment: Environment
) -> None:
    for name in ("a", "b"):
        commit(make_prepared(tmp_path / name, environment, name), environment.path, disk=DISK)
    record = Path(environment.site_packages[0]) / "a-1.0.dist-info" / "RECORD"
    record.write_bytes(b'a,b,c,d,e\n"' + b"x" * 140_000)
    before = listing(environment)
    with pytest.raises(InterlockError, match=r"a-1.0.dist-info.RECORD cannot be read"):
        commit(make_prepared(tmp_path / "a2", environment, "a", "2.0"), environment.path, disk=DISK)
    with pytest.raises(InterlockError, match=r"a-1.0.dist-info.RECORD cannot be read"):
        uninstall(environment.path, ["b", "a"], disk=DISK)
    assert listing(environment) == before
    # Of another file than what a has: a conflict, and all RECORDs are looked at.
    (Path(environment.site_packages[0]) / "c.py").write_text("stray\n", encoding="utf-8")
    commit(make_prepared(tmp_path / "c", environment, "c", files={"c.py": "1\n"}), environment.path, disk=DISK)
    uninstall(environment.path, ["b", "c"], disk=DISK)


def test_metadata_that_cannot_be_read_is_named(tmp_path: Path, environment: Environment) -> None:
    commit(make_prepared(tmp_path / "core", environment, "core"), environment.path, disk=DISK)
    path = Path(environment.site_packages[0]) / "core-1.0.dist-info" / "METADATA"
    path.write_text(path.read_text(encoding="utf-8") + "Requires-Dist: no requirement !\n", encoding="utf-8")
    leaf = make_prepared(tmp_path / "leaf", environment, "leaf", requires=("core[x]",))
    with pytest.raises(MetadataError, match="core 1.0 has a requirement that cannot be read"):
        commit(leaf, environment.path, disk=DISK)
